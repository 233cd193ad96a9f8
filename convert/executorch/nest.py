"""Step 2, nest: every constant of every program as a slice of one store; the files without them as templates.

The stock exporter names a constant by the SHA-256 of its bytes. So no hook into it is needed: the bytes that a layer's
slice must have give the name, and a name that is not there means that the exporter has changed, which is an error.
In int8 the scales of weights are known too, and those of biases are products of them with an activation's scale. What
is left (biases) is stored as it is, equal and prefix-equal ones once.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import sha256_bytes
from convert.errors import ExportError
from convert.fold import Float, Tensors, batch_norm, fold, weight_slice
from convert.quantized_weights import QuantizedWeights, payload_at, scale_at
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


@dataclass(frozen=True)
class Source:
    """Where constants come from: the supernet's tensors, and the shared integers, None in float32."""

    tensors: Tensors = field(repr=False)
    epsilon: float
    weights: QuantizedWeights | None = field(repr=False)

    def widest(self, name: str, uses: Sequence[LayerSlice]) -> Array:
        """Return a layer's weight, not folded, at the widest range that programs use."""
        if self.weights is not None:
            return _stored_layout(self.weights[name].payload, uses[0])
        widest = max(uses, key=lambda piece: (piece.out_channels, piece.in_channels))
        return _stored_layout(weight_slice(self.tensors, widest), widest)

    def weight(self, piece: LayerSlice) -> Array:
        """Return the weight that a program has at one width."""
        if self.weights is not None:
            return _stored_layout(payload_at(self.weights[piece.name], piece), piece)
        return _stored_layout(fold(self.tensors, piece, self.epsilon)[0], piece)

    def folded_scale(self, piece: LayerSlice) -> Float | None:
        """Return what folding multiplies a float weight by, per output channel; None where nothing is folded."""
        if self.weights is not None or piece.statistics is None:
            return None
        return batch_norm(self.tensors, piece, self.epsilon).scale

    def quantization_scale(self, piece: LayerSlice) -> Float | None:
        """Return the scales of an integer weight, per output channel."""
        return scale_at(self.weights[piece.name], self.tensors, piece, self.epsilon) if self.weights else None


def nest(plans: Sequence[ProgramPlan], files: Sequence[bytes], source: Source) -> Nested:
    """Return the nested form of the programs' stock files."""
    regions = [constant_regions(file) for file in files]
    store = _Store()
    for name, uses in uses_of_layers(plans).items():
        _add_layer(store, name, uses, source)
    _check_weights_found(plans, regions, source)
    for file, found in zip(files, regions, strict=True):
        _add_bias_scales(store, file, found)
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

    def values(self, piece: Slice) -> Float:
        """Return the elements of an unscaled slice of a float32 vector."""
        return np.frombuffer(self.data, np.float32, piece.shape[2], self.tensors[piece.tensor].offset).copy()


def _stored_layout(weight: Array, piece: LayerSlice) -> Array:
    """Return a weight OIHW as XNNPACK reads it: [O, kernel positions, I], depthwise [1, kernel positions, C]."""
    positions = weight.reshape(*weight.shape[:2], -1)
    return np.ascontiguousarray(positions.transpose((1, 2, 0) if piece.layer.kind == "depthwise" else (0, 2, 1)))


def _add_layer(store: _Store, name: str, uses: Sequence[LayerSlice], source: Source) -> None:
    """Add a layer's weight and its scales, and what every program uses of them."""
    widest = store.add(f"{name}.weight", source.widest(name, uses))
    every: Float | None = None
    # The widest first: without batch norm, narrower scales are what its begin with.
    for piece in sorted(uses, key=lambda piece: -piece.out_channels):
        values, scale = source.weight(piece), source.folded_scale(piece)
        scaled = {} if scale is None else {"scale": store.add(f"{name}.scale", scale.reshape(1, 1, -1))}
        axis = {} if scale is None else {"axis": 2 if piece.layer.kind == "depthwise" else 0}
        _add_slice(store, "", values, {"tensor": widest, "shape": list(values.shape), **scaled, **axis})
        if (vector := source.quantization_scale(piece)) is None:
            continue
        every = vector if piece.statistics is not None or every is None else every
        place = store.add(f"{name}.scale", every.reshape(1, 1, -1))
        _add_slice(store, SCALE, vector, {"tensor": place, "shape": [1, 1, vector.size]})


def _add_slice(store: _Store, prefix: str, values: Array, fields: Mapping[str, Any]) -> None:
    key = prefix + sha256(values.tobytes()).hexdigest()
    if key not in store.slices:
        store.slices[key] = Slice.model_validate({"key": key, **fields})


def _check_weights_found(plans: Sequence[ProgramPlan], regions: Sequence[Sequence[Region]], source: Source) -> None:
    """Refuse programs in which the exporter wrote another weight than the layer's slice."""
    for plan, found in zip(plans, regions, strict=True):
        there = {region.key for region in found}
        for piece in plan.layers:
            if sha256(source.weight(piece).tobytes()).hexdigest() not in there:
                raise ExportError(
                    f"program {plan.name}: the weight of {piece.name} is not in what ExecuTorch exported; this version "
                    "of ExecuTorch lays weights out in another way"
                )


def _add_bias_scales(store: _Store, file: bytes, regions: Sequence[Region]) -> None:
    """Add the scales of a program's biases: a weight's scale times the scale of the activation that it meets."""
    scales = [region for region in regions if region.key.startswith(SCALE)]
    known = [store.slices[region.key] for region in scales if region.key in store.slices]
    for region in (region for region in scales if region.key not in store.slices):
        wanted = np.frombuffer(file, np.float32, region.bytes // 4, region.offset)
        for piece in known:
            factor = _factor(wanted, store.values(piece)) if piece.shape[2] == wanted.size else None
            if factor is not None:
                scale = store.add("activation.scale", np.full((1, 1, 1), factor, np.float32))
                store.slices[region.key] = piece.model_copy(update={"key": region.key, "scale": scale, "axis": 0})
                break


def _factor(wanted: Float, vector: Float) -> np.float32 | None:
    """Return the float32 f with vector · f == wanted in every bit, if there is one."""
    near = wanted[0] / vector[0]
    # Division and multiplication round: the factor is the quotient or a neighbour of it.
    for factor in (near, np.nextafter(near, np.float32(0)), np.nextafter(near, np.float32(np.inf))):
        if np.array_equal(vector * factor, wanted):
            return np.float32(factor)
    return None


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
