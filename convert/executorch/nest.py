"""Step 2, nest: every constant of every program as a slice of one store; the files without them as templates.

The stock exporter names a constant by the SHA-256 of its bytes. So no hook into it is needed: the bytes that a layer's
slice must have give the name, and a name that is not there means that the exporter has changed, which is an error.
In int8 the scales of weights are known too, and those of biases are products of them with an activation's scale. What
is left (biases) is stored as it is, equal and prefix-equal ones once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common import sha256_bytes
from convert.errors import ExportError
from convert.fold import Float, Tensors, batch_norm, fold, weight_slice
from convert.nested_store import Array, NestedFiles, NestedStore, in_stored_order
from convert.quantized_weights import QuantizedWeights, payload_at, scale_at
from convert.slice_plan import LayerSlice, ProgramPlan, WeightLevels, uses_of_layers, weight_levels, widest
from edge.bundle.executorch import SCALE
from edge.bundle.executorch.pte import constant_regions
from edge.bundle.nested.recipe import Region


@dataclass(frozen=True)
class Source:
    """Where constants come from: the supernet's tensors, and the shared integers, None in float32."""

    tensors: Tensors = field(repr=False)
    epsilon: float
    weights: QuantizedWeights | None = field(repr=False)

    def widest(self, uses: Sequence[LayerSlice], levels: WeightLevels) -> Array:
        """Return a layer's weight, not folded, at the widest range that programs use, as the store holds it."""
        piece = widest(uses)
        weight = weight_slice(self.tensors, piece) if self.weights is None else self.weights[piece.name].payload
        return _stored_layout(in_stored_order(weight, levels), piece)

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


def nest(plans: Sequence[ProgramPlan], files: Sequence[bytes], source: Source) -> NestedFiles:
    """Return the weights of the programs' stock files in nested form, with templates of those files."""
    regions = [constant_regions(file) for file in files]
    store, levels = NestedStore(), weight_levels(plans)
    for name, uses in uses_of_layers(plans).items():
        _add_layer(store, levels[name], uses, source)
    _check_weights_found(plans, regions, source)
    rest: dict[str, bytes] = {}
    for file, found in zip(files, regions, strict=True):
        _add_bias_scales(store, file, found)
        rest |= {region.key: file[region.offset : region.offset + region.bytes] for region in found}
    _check_named_by_content(rest)
    store.add_the_rest(rest)
    placed = zip(plans, files, regions, strict=True)
    return store.finish({f"{plan.name}.pte": (file, found) for plan, file, found in placed})


def _stored_layout(weight: Array, piece: LayerSlice) -> Array:
    """Return a weight OIHW, or [O, I, pixels], as XNNPACK reads it: [O, pixels, I], depthwise [1, pixels, C]."""
    positions = weight.reshape(*weight.shape[:2], -1)
    return np.ascontiguousarray(positions.transpose((1, 2, 0) if piece.layer.kind == "depthwise" else (0, 2, 1)))


def _add_layer(store: NestedStore, levels: WeightLevels, uses: Sequence[LayerSlice], source: Source) -> None:
    """Add a layer's weight and its scales, and what every program uses of them."""
    name = levels.name
    weight = store.add(f"{name}.weight", source.widest(uses, levels))
    every: Float | None = None
    # The widest first: without batch norm, narrower scales are what its scales begin with.
    for piece in sorted(uses, key=lambda piece: -piece.out_channels):
        values = source.weight(piece)
        scaling: dict[str, Any] = {}
        if (scale := source.folded_scale(piece)) is not None:
            axis = 2 if piece.layer.kind == "depthwise" else 0
            scaling = {"scale": store.add(f"{name}.scale", scale.reshape(1, 1, -1)), "axis": axis}
        store.add_slice(_key(values), weight, values.shape, levels.positions(piece.kernel), **scaling)
        if (vector := source.quantization_scale(piece)) is not None:
            every = vector if every is None or piece.statistics is not None else every
            place = store.add(f"{name}.scale", every.reshape(1, 1, -1))
            store.add_slice(SCALE + _key(vector), place, [1, 1, vector.size])


def _key(values: Array) -> str:
    return sha256_bytes(values.tobytes())


def _check_weights_found(plans: Sequence[ProgramPlan], regions: Sequence[Sequence[Region]], source: Source) -> None:
    """Refuse programs in which the exporter wrote another weight than the layer's slice."""
    for plan, found in zip(plans, regions, strict=True):
        there = {region.key for region in found}
        for piece in plan.layers:
            if _key(source.weight(piece)) not in there:
                raise ExportError(
                    f"program {plan.name}: the weight of {piece.name} is not in what ExecuTorch exported; this version "
                    "of ExecuTorch lays weights out in another way"
                )


def _check_named_by_content(constants: Mapping[str, bytes]) -> None:
    for key, content in constants.items():
        if sha256_bytes(content) != key.removeprefix(SCALE):
            raise ExportError(f"constant {key} is not named by its content; weight caches would mix it up")


def _add_bias_scales(store: NestedStore, file: bytes, regions: Sequence[Region]) -> None:
    """Add the scales of a program's biases: a weight's scale times the scale of the activation that it meets."""
    scales = [region for region in regions if region.key.startswith(SCALE)]
    known = [region.key for region in scales if region.key in store.slices]
    for region in (region for region in scales if region.key not in store.slices):
        wanted = np.frombuffer(file, np.float32, region.bytes // 4, region.offset)
        for key in known:
            piece = store.slices[key]
            same_size = piece.shape[2] == wanted.size
            factor = _factor(wanted, np.frombuffer(store.bytes_of(key), np.float32)) if same_size else None
            if factor is not None:
                scale = store.add("activation.scale", np.full((1, 1, 1), factor, np.float32))
                store.add_slice(region.key, piece.tensor, piece.shape, scale=scale, axis=0)
                break


def _factor(wanted: Float, vector: Float) -> np.float32 | None:
    """Return the float32 f with vector · f == wanted in every bit, if there is one."""
    near = wanted[0] / vector[0]
    # Division and multiplication round: the factor is the quotient or a neighbour of it.
    for factor in (near, np.nextafter(near, np.float32(0)), np.nextafter(near, np.float32(np.inf))):
        if np.array_equal(vector * factor, wanted):
            return np.float32(factor)
    return None
