"""Slices and plain files from nested weights. Needs no runtime and no torch: copying, one product, one rounding."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from common import sha256_bytes
from edge.bundle.nested.recipe import DTYPES, FORMAT, WITHOUT_POSITIONS, PlainFile, Recipe
from edge.bundle.records import MAX_JSON_BYTES, parse_record
from edge.errors import BundleError

if TYPE_CHECKING:
    from edge.bundle.manifest import Artifact, WeightsFile
    from edge.bundle.reader import Bundle

Role = Literal["store", "recipe", "template"]


@dataclass(frozen=True)
class NestedWeights:
    """A store with its recipe and templates."""

    recipe: Recipe
    store: bytes | memoryview = field(repr=False)
    template: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a store or template of another size than the recipe's: its offsets were checked against that."""
        for name, found, expected in (
            ("store", len(self.store), self.recipe.store_bytes),
            ("template", len(self.template), self.recipe.template_bytes),
        ):
            if found != expected:
                raise BundleError(f"the recipe is for a {name} of {expected} bytes, not {found}; copy the bundle again")

    @cached_property
    def keys(self) -> Mapping[str, int]:
        """Return the index of every slice by its key."""
        return {piece.key: index for index, piece in enumerate(self.recipe.slices)}

    @property
    def paths(self) -> list[str]:
        """Return the paths of the plain files that can be rebuilt."""
        return [file.path for file in self.recipe.files]

    def tensor(self, index: int) -> np.ndarray:
        """Return a stored tensor, [a, b, c], as a view of the store."""
        tensor = self.recipe.tensors[index]
        count = tensor.bytes // DTYPES[tensor.dtype].itemsize
        return np.frombuffer(self.store, DTYPES[tensor.dtype], count, tensor.offset).reshape(tensor.shape)

    def slice(self, index: int) -> bytes:
        """Return the bytes of one constant."""
        piece = self.recipe.slices[index]
        a, b, c = piece.shape
        values = self.tensor(piece.tensor)[:a, piece.positions or slice(b), :c]
        if piece.scale is not None:
            assert piece.axis is not None
            scale = self.tensor(piece.scale)[0, 0, : piece.shape[piece.axis]]
            values = values.astype(np.float32, copy=False) * (scale[:, None, None] if piece.axis == 0 else scale)
        if piece.cast is not None:
            with np.errstate(over="ignore"):
                values = values.astype(DTYPES[piece.cast])
        return np.ascontiguousarray(values).tobytes()

    def file(self, path: str) -> bytes:
        """Return one plain file; a BundleError if it is not what conversion wrote, byte for byte."""
        plain = self._named(path)
        literals, done, parts = self._literals(plain), 0, []
        for count, index in plain.pieces:
            parts += [literals[done : done + count], self.slice(index)]
            done += count
        data = b"".join([*parts, literals[done:]])
        if sha256_bytes(data) != plain.sha256:
            raise BundleError(f"{path}: the rebuilt file is not the one that was converted; copy the bundle again")
        return data

    def constants(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Return the constants of some plain files by key, in the order in which the files have them."""
        indices = dict.fromkeys(index for path in paths for _, index in self._named(path).pieces)
        return {self.recipe.slices[index].key: self.slice(index) for index in indices}

    def _named(self, path: str) -> PlainFile:
        for plain in self.recipe.files:
            if plain.path == path:
                return plain
        raise BundleError(f"no file {path} in this recipe; it has {', '.join(self.paths)}")

    def _literals(self, plain: PlainFile) -> bytes:
        stream = self.template[plain.offset : plain.offset + plain.compressed_bytes]
        inflate = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        try:
            literals = inflate.decompress(stream, plain.literal_bytes)
        except zlib.error as error:
            raise BundleError(f"{plain.path}: its template is damaged ({error}); copy the bundle again") from error
        if len(literals) != plain.literal_bytes:
            raise BundleError(f"{plain.path}: its template has {len(literals)} bytes, not {plain.literal_bytes}")
        return literals


def parse_recipe(data: bytes, origin: str) -> Recipe:
    """Return the checked recipe in `data`; a BundleError, in one line, for anything else."""
    _check_size(len(data), origin)
    return parse_record(data, Recipe, FORMAT, origin, oldest=WITHOUT_POSITIONS)


def _check_size(size: int, origin: str) -> None:
    if size > MAX_JSON_BYTES:
        raise BundleError(f"{origin}: larger than the limit of {MAX_JSON_BYTES} bytes")


def open_nested_weights(bundle: "Bundle", artifact: "Artifact") -> NestedWeights:
    """Return the nested weights of an artifact, every file's hash checked."""
    files = weights_files(bundle, artifact)
    origin = bundle.place / files["recipe"].file
    _check_size(files["recipe"].bytes, str(origin))
    recipe = parse_recipe(bundle.verified_bytes(files["recipe"]), str(origin))
    sizes: dict[Role, int] = {"store": recipe.store_bytes, "template": recipe.template_bytes}
    for role, expected in sizes.items():
        if (found := files[role].bytes) != expected:
            raise BundleError(f"{origin}: for a {role} of {expected} bytes, not {found}; copy the bundle again")
    return NestedWeights(recipe, bundle.verified_bytes(files["store"]), bundle.verified_bytes(files["template"]))


def weights_files(bundle: "Bundle", artifact: "Artifact") -> "dict[Role, WeightsFile]":
    """Return the store, recipe and template that belong to an artifact; a BundleError if one is missing."""
    found = {
        item.role: item
        for item in bundle.manifest.weights
        if (item.runtime, item.precision) == (artifact.runtime, artifact.precision)
    }
    missing = [role for role in ("store", "recipe", "template") if role not in found]
    if missing:
        raise BundleError(
            f"{bundle.place}: {artifact.runtime} {artifact.precision} has no {' and no '.join(missing)} in `weights`"
        )
    return found
