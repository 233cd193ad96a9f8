"""Step 2, nest: every constant of every program as a slice of one store; the files without them as templates.

The stock exporter names a constant by the SHA-256 of its bytes. So no hook into it is needed: the bytes that a layer's
slice must have give the name, and a name that is not there means that the exporter has changed, which is an error.
What is no slice of a weight (biases, scales) is stored as it is, equal and prefix-equal ones once.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from common import sha256_bytes
from convert.errors import ExportError
from convert.fold import Float, Tensors, batch_norm, fold, weight_slice
from convert.quantized_weights import QuantizedWeights, payload_at
from convert.slice_plan import LayerSlice, ProgramPlan, uses_of_layers
from edge.bundle.executorch.pte import Region, constant_regions, merge
from edge.bundle.nested.recipe import ALIGNMENT, DTYPES, FORMAT, PlainFile, Recipe, Slice, StoredTensor

Array = NDArray[np.generic]
SCALE = "scale_"
"""What ExecuTorch puts before the hash of per-channel scales."""


@dataclass(frozen=True)
class Nested:
    """All programs of one precision, without weights, and the weights."""

    program: bytes = field(repr=False)
    recipe: Recipe = field(repr=False)
    store: bytes = field(repr=False)
    template: bytes = field(repr=False)


def nest(
    plans: Sequence[ProgramPlan],
    files: Sequence[bytes],
    tensors: Tensors,
    epsilon: float,
    weights: QuantizedWeights | None,
) -> Nested:
    """Return the nested form of the programs' stock files; `weights` are the shared integers, None in float32."""
    regions = [constant_regions(file) for file in files]
    store = _Store()
    for name, uses in uses_of_layers(plans).items():
        widest = _stored_layout(_widest(name, uses, tensors, weights), uses[0])
        for piece in uses:
            _add_weight(store, name, widest, piece, tensors, epsilon, weights)
    _check_all_found(plans, regions, store)
    _add_the_rest(store, files, regions)
    template, plain_files = _templates(plans, files, regions, store)
    recipe = Recipe(
        format=FORMAT,
        store_bytes=len(store.data),
        template_bytes=len(template),
        tensors=store.tensors,
        slices=list(store.slices.values()),
        files=plain_files,
    )
    return Nested(merge(files), recipe, bytes(store.data), template)


class _Store:
    """Tensors back to back, and the slices that programs use of them."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.tensors: list[StoredTensor] = []
        self.slices: dict[str, Slice] = {}
        self.layer_keys: dict[str, str] = {}
        """Layer name and range → key of its weight."""
        self._places: dict[tuple[str, bytes], int] = {}

    def add(self, name: str, values: Array) -> int:
        """Store an array [a, b, c] unless it is there, and return its index."""
        dtype, content = values.dtype.name, np.ascontiguousarray(values).tobytes()
        place = self._places.get((dtype, content))
        if place is None:
            self.data += bytes(-len(self.data) % ALIGNMENT)
            shape = [int(size) for size in values.shape]
            assert dtype in DTYPES
            self.tensors.append(
                StoredTensor.model_validate({"name": name, "dtype": dtype, "shape": shape, "offset": len(self.data)})
            )
            self.data += content
            place = self._places[dtype, content] = len(self.tensors) - 1
        return place


def _widest(name: str, uses: Sequence[LayerSlice], tensors: Tensors, weights: QuantizedWeights | None) -> Array:
    """Return a layer's weight at the widest range that programs use, OIHW."""
    if weights is not None:
        return weights[name].payload
    return weight_slice(tensors, max(uses, key=lambda piece: (piece.out_channels, piece.in_channels)))


def _stored_layout(weight: Array, piece: LayerSlice) -> Array:
    """Return a weight OIHW as XNNPACK reads it: [O, kernel positions, I], depthwise [1, kernel positions, C]."""
    positions = weight.reshape(*weight.shape[:2], -1)
    return np.ascontiguousarray(positions.transpose((1, 2, 0) if piece.layer.kind == "depthwise" else (0, 2, 1)))


def _add_weight(
    store: _Store,
    name: str,
    widest: Array,
    piece: LayerSlice,
    tensors: Tensors,
    epsilon: float,
    weights: QuantizedWeights | None,
) -> None:
    """Add the slice that a layer's weight is at one width."""
    values: Array = payload_at(weights[name], piece) if weights is not None else fold(tensors, piece, epsilon)[0]
    expected = _stored_layout(values, piece)
    key = sha256(expected.tobytes()).hexdigest()
    store.layer_keys[f"{name} {expected.shape} {piece.statistics}"] = key
    if key in store.slices:
        return
    scale: Float | None = None
    if weights is None and piece.statistics is not None:
        scale = batch_norm(tensors, piece, epsilon).scale
    axis = 2 if piece.layer.kind == "depthwise" else 0
    store.slices[key] = Slice(
        key=key,
        tensor=store.add(f"{name}.weight", widest),
        shape=[int(size) for size in expected.shape],
        scale=None if scale is None else store.add(f"{name}.scale.{piece.statistics}", scale.reshape(1, 1, -1)),
        axis=None if scale is None else axis,  # type: ignore[arg-type]
    )


def _check_all_found(plans: Sequence[ProgramPlan], regions: Sequence[Sequence[Region]], store: _Store) -> None:
    """Refuse a program in which the exporter wrote another weight than the layer's slice."""
    there = {region.key for found in regions for region in found}
    missing = [what for what, key in store.layer_keys.items() if key not in there]
    if missing:
        raise ExportError(
            f"{len(missing)} weights are not in what ExecuTorch exported for {plans[0].name} … {plans[-1].name}, "
            f"first {missing[0]}; this version of ExecuTorch lays weights out in another way"
        )


def _add_the_rest(store: _Store, files: Sequence[bytes], regions: Sequence[Sequence[Region]]) -> None:
    """Store what is no slice of a weight, as bytes. What another constant begins with is a slice of that."""
    rest: dict[str, bytes] = {}
    for file, found in zip(files, regions, strict=True):
        for region in found:
            content = file[region.offset : region.offset + region.bytes]
            if sha256_bytes(content) != region.key.removeprefix(SCALE):
                raise ExportError(f"constant {region.key} is not named by its content; weight caches would mix it up")
            if region.key not in store.slices:
                rest[region.key] = content
    longer = b""
    # In this order, whatever begins with a constant comes right before it.
    for key, content in sorted(rest.items(), key=lambda item: (item[1], item[0]), reverse=True):
        if not longer.startswith(content):
            longer = content
        vector = np.frombuffer(longer, np.int8).reshape(1, 1, -1)
        store.slices[key] = Slice(key=key, tensor=store.add("bytes", vector), shape=[1, 1, len(content)])


def _templates(
    plans: Sequence[ProgramPlan], files: Sequence[bytes], regions: Sequence[Iterable[Region]], store: _Store
) -> tuple[bytes, list[PlainFile]]:
    """Return the template file and the description of every program's plain file."""
    index: Mapping[str, int] = {key: number for number, key in enumerate(store.slices)}
    template, plain = bytearray(), []
    for plan, file, found in zip(plans, files, regions, strict=True):
        literals, pieces, end = bytearray(), [], 0
        for region in found:
            literals += file[end : region.offset]
            pieces.append([region.offset - end, index[region.key]])
            end = region.offset + region.bytes
        literals += file[end:]
        compress = zlib.compressobj(level=9, wbits=-zlib.MAX_WBITS)
        stream = compress.compress(bytes(literals)) + compress.flush()
        plain.append(
            PlainFile(
                path=f"{plan.name}.pte",
                bytes=len(file),
                sha256=sha256_bytes(file),
                offset=len(template),
                compressed_bytes=len(stream),
                literal_bytes=len(literals),
                pieces=pieces,
            )
        )
        template += stream
    return bytes(template), plain
