"""Builds what nested weights are outside of a runtime's own file: a store, a recipe and templates (docs/bundle.md).

The same for every runtime: each says which slices its constants are, and where they lie in its plain files.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import sha256_bytes
from convert.slice_plan import WeightLevels
from edge.bundle.nested.recipe import ALIGNMENT, PlainFile, Recipe, Region, Slice, StoredTensor, format_for
from edge.bundle.nested.weights import NestedWeights

Array = NDArray[np.generic]
PlainFiles = Mapping[str, tuple[bytes, Sequence[Region]]]
"""Path → a plain file and where its constants lie, in the order of their offsets."""


@dataclass(frozen=True)
class NestedFiles:
    """A store, its recipe and its templates, not yet on disk."""

    recipe: Recipe = field(repr=False)
    store: bytes = field(repr=False)
    template: bytes = field(repr=False)

    @property
    def weights(self) -> NestedWeights:
        """Return them as a reader sees them."""
        return NestedWeights(self.recipe, self.store, self.template)


class NestedStore:
    """Tensors back to back, and the slices that programs use of them, by key."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.tensors: list[StoredTensor] = []
        self.slices: dict[str, Slice] = {}
        self._places: dict[tuple[str, bytes], int] = {}

    def add(self, name: str, values: Array) -> int:
        """Store an array [a, b, c] unless it is there, and return its index."""
        content = np.ascontiguousarray(values).tobytes()
        place = self._places.get((values.dtype.name, content))
        if place is None:
            self.data += bytes(-len(self.data) % ALIGNMENT)
            fields = {"name": name, "dtype": values.dtype.name, "shape": list(values.shape), "offset": len(self.data)}
            self.tensors.append(StoredTensor.model_validate(fields))
            self.data += content
            place = self._places[values.dtype.name, content] = len(self.tensors) - 1
        return place

    def add_slice(
        self, key: str, tensor: int, shape: Sequence[int], positions: Sequence[int] | None = None, **scaling: Any
    ) -> None:
        """Add a slice unless its key is there; `scaling` is scale and axis, or cast, where it has them.

        `positions` says which of the tensor's positions each of the slice's is; None: the first ones in their order.
        """
        if key not in self.slices:
            named = list(positions or ())
            gathered = None if named == list(range(len(named))) else named
            self.slices[key] = Slice(key=key, tensor=tensor, shape=list(shape), positions=gathered, **scaling)

    def add_the_rest(self, constants: Mapping[str, bytes]) -> None:
        """Store constants that are no slice yet, as bytes. What another one begins with is a slice of that."""
        rest = {key: content for key, content in constants.items() if key not in self.slices}
        longer = b""
        # In this order, whatever begins with a constant comes right before it.
        for key, content in sorted(rest.items(), key=lambda item: (item[1], item[0]), reverse=True):
            if not longer.startswith(content):
                longer = content
            vector = np.frombuffer(longer, np.int8).reshape(1, 1, -1)
            self.add_slice(key, self.add("bytes", vector), [1, 1, len(content)])

    def bytes_of(self, key: str) -> bytes:
        """Return what a reader will make of a slice."""
        tensors = {number: self.tensors[number] for number in self._tensors_of(key)}
        numbers = {number: index for index, number in enumerate(tensors)}
        piece = self.slices[key]
        moved = {"tensor": numbers[piece.tensor], "scale": None if piece.scale is None else numbers[piece.scale]}
        recipe = Recipe(
            format=format_for([piece]), store_bytes=len(self.data), template_bytes=1,
            tensors=list(tensors.values()), slices=[piece.model_copy(update=moved)], files=[],
        )  # fmt: skip
        with memoryview(self.data) as store:
            return NestedWeights(recipe, store, b"\0").slice(0)

    def finish(self, files: PlainFiles) -> NestedFiles:
        """Return the store with its recipe and the templates of the runtime's plain files."""
        template, plain = self._templates(files)
        recipe = Recipe(
            format=format_for(self.slices.values()),
            store_bytes=len(self.data),
            template_bytes=len(template),
            tensors=self.tensors,
            slices=list(self.slices.values()),
            files=plain,
        )
        return NestedFiles(recipe, bytes(self.data), template)

    def _tensors_of(self, key: str) -> list[int]:
        piece = self.slices[key]
        return [piece.tensor] if piece.scale is None else [piece.tensor, piece.scale]

    def _templates(self, files: PlainFiles) -> tuple[bytes, list[PlainFile]]:
        """Return the template file and the description of every plain file; equal literals lie there once."""
        index = {key: number for number, key in enumerate(self.slices)}
        template, places, plain = bytearray(), dict[bytes, tuple[int, int]](), []
        for path, (content, regions) in files.items():
            literals, pieces = _taken_apart(content, regions, index)
            if literals not in places:
                compress = zlib.compressobj(level=9, wbits=-zlib.MAX_WBITS)
                stream = compress.compress(literals) + compress.flush()
                places[literals] = len(template), len(stream)
                template += stream
            offset, size = places[literals]
            plain.append(
                PlainFile(
                    path=path,
                    bytes=len(content),
                    sha256=sha256_bytes(content),
                    offset=offset,
                    compressed_bytes=size,
                    literal_bytes=len(literals),
                    pieces=pieces,
                )
            )
        return bytes(template), plain


def in_stored_order(weight: Array, levels: WeightLevels) -> Array:
    """Return a layer's widest weight OIHW with its pixels in the order in which they are stored: [O, I, pixels]."""
    pixels = weight.reshape(*weight.shape[:2], -1)
    return pixels[:, :, np.argsort(levels.positions(weight.shape[-1]))]


def _taken_apart(content: bytes, regions: Sequence[Region], index: Mapping[str, int]) -> tuple[bytes, list[list[int]]]:
    """Return a file's literal bytes and its pieces; a file without constants is all literal."""
    literals, pieces, end = bytearray(), [], 0
    for region in regions:
        literals += content[end : region.offset]
        pieces.append([region.offset - end, index[region.key]])
        end = region.offset + region.bytes
    return bytes(literals + content[end:]), pieces
