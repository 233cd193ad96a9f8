"""Step 2, nest: every constant of every package as a slice of one store; what is left of the files as templates.

coremltools folds nothing here (`convert.fold` did), but rounds: the bytes that a layer's constant must have are known,
and one that is not in the package means that coremltools has changed, which is an error. What is no slice of a weight
(biases, int8 scales) is stored as it is, equal and prefix-equal ones once.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import sha256_bytes
from convert.coreml.options import Precision
from convert.errors import ExportError
from convert.fold import Float, Tensors, batch_norm, bias_slice, fold, weight_slice
from convert.nested_store import Array, NestedFiles, NestedStore, in_stored_order
from convert.quantized_weights import QuantizedWeights, payload_at
from convert.slice_plan import LayerSlice, ProgramPlan, WeightLevels, uses_of_layers, weight_levels, widest
from edge.bundle.coreml.blobs import HEADER, read_blobs
from edge.bundle.coreml.package import WEIGHTS, Package, program_path
from edge.bundle.nested.recipe import DTYPES, Region

INLINE_ELEMENTS = 10
"""coremltools puts constants with fewer elements into the model file."""
UNDERFLOW_ELEMENTS = 400
"""In constants with fewer elements, coremltools keeps what rounds to zero from becoming zero."""
SMALLEST = np.float16(2.0**-24)


def masters(tensors: Tensors, plans: Sequence[ProgramPlan], precision: Precision) -> Tensors:
    """Return the tensors that a precision starts from: in fp16, weights are rounded before anything is folded in.

    The float reference of an fp16 artifact is thus the network with float16 weights: each weight differs by at most
    2⁻¹¹ of itself from the checkpoint's. Weights beyond float16's range are an ExportError.
    """
    if precision != "fp16":
        return tensors
    rounded = dict(tensors)
    for name in {f"{piece.name}.weight" for plan in plans for piece in plan.layers}:
        with np.errstate(over="ignore"):
            rounded[name] = tensors[name].astype(np.float16).astype(np.float32)
        if not np.isfinite(rounded[name]).all():
            raise ExportError(f"{name} holds values beyond float16's range; convert with --precision fp32")
    return rounded


def as_coremltools_rounds(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return values in float16 with what coremltools does to small constants: a lost value becomes ±2⁻²⁴."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float16)
    if values.size < UNDERFLOW_ELEMENTS:
        lost = (rounded == 0) & (np.abs(values) > np.finfo(np.float32).smallest_subnormal)
        rounded[lost] = np.copysign(SMALLEST, values[lost])
    return rounded


@dataclass(frozen=True)
class Source:
    """Where constants come from: the masters, and in int8 the shared integers."""

    tensors: Tensors = field(repr=False)
    epsilon: float
    precision: Precision
    weights: QuantizedWeights | None = field(repr=False)

    def master(self, uses: Sequence[LayerSlice], levels: WeightLevels) -> Array:
        """Return a layer's weight, not folded, at the widest range that programs use, as the store holds it."""
        piece = widest(uses)
        if self.weights is not None:
            weight: Array = self.weights[piece.name].payload
        else:
            dtype = DTYPES["float16" if self.precision == "fp16" else "float32"]
            weight = weight_slice(self.tensors, piece).astype(dtype)
        return _in_three_axes(in_stored_order(weight, levels), piece)

    def weight(self, piece: LayerSlice) -> Array:
        """Return a layer's weight as the package must hold it."""
        if self.weights is not None:
            return payload_at(self.weights[piece.name], piece)
        folded, _ = fold(self.tensors, piece, self.epsilon)
        return as_coremltools_rounds(folded) if self.precision == "fp16" else folded

    def bias(self, piece: LayerSlice) -> Array:
        """Return a layer's bias as the package must hold it."""
        bias = bias_slice(self.tensors, piece, self.epsilon)
        return bias if self.precision == "fp32" else as_coremltools_rounds(bias)

    def folded_scale(self, piece: LayerSlice) -> Float | None:
        """Return what folding multiplies a float weight by, per output channel; None where nothing is folded."""
        if self.weights is not None or piece.statistics is None:
            return None
        return batch_norm(self.tensors, piece, self.epsilon).scale


def nest(plans: Sequence[ProgramPlan], packages: Sequence[Package], source: Source) -> NestedFiles:
    """Return the weights of the programs' packages in nested form, with templates of the packages' files."""
    store, levels = NestedStore(), weight_levels(plans)
    for name, uses in uses_of_layers(plans).items():
        _add_layer(store, levels[name], uses, source)
    files: dict[str, tuple[bytes, list[Region]]] = {}
    rest: dict[str, bytes] = {}
    for plan, package in zip(plans, packages, strict=True):
        regions = _regions(package)
        _check_constants_found(plan, {region.key for region in regions}, source)
        for path, content in package.items():
            files[program_path(plan.name, path)] = content, regions if path == WEIGHTS else []
        rest |= {region.key: package[WEIGHTS][region.offset : region.offset + region.bytes] for region in regions}
    store.add_the_rest(rest)
    return store.finish(files)


def _add_layer(store: NestedStore, levels: WeightLevels, uses: Sequence[LayerSlice], source: Source) -> None:
    """Add the slices that one layer's weight is at every width."""
    master = store.add(f"{levels.name}.weight", source.master(uses, levels))
    for piece in uses:
        values = source.weight(piece)
        scaling: dict[str, Any] = {}
        if (scale := source.folded_scale(piece)) is not None:
            scaling = {"scale": store.add(f"{piece.name}.scale", scale.reshape(1, 1, -1)), "axis": 0}
            scaling |= {"cast": "float16"} if source.precision == "fp16" else {}
        key = _key(values)
        shape = _in_three_axes(values, piece).shape
        store.add_slice(key, master, shape, levels.positions(piece.kernel), **scaling)
        # Where coremltools kept a value from underflowing, the weight is no slice: it is stored with the rest.
        if values.size < UNDERFLOW_ELEMENTS and sha256_bytes(store.bytes_of(key)) != key:
            del store.slices[key]


def _check_constants_found(plan: ProgramPlan, there: Collection[str], source: Source) -> None:
    """Refuse a package in which coremltools wrote another weight or bias than the layer's."""
    for piece in plan.layers:
        for what, values in (("weight", source.weight(piece)), ("bias", source.bias(piece))):
            if values.size >= INLINE_ELEMENTS and _key(values) not in there:
                raise ExportError(
                    f"the {what} of layer {piece.name} is not in what coremltools exported for {plan.name}; "
                    "values beyond float16's range need --precision fp32, and other versions of coremltools may "
                    "fold or round in another way"
                )


def _in_three_axes(weight: Array, piece: LayerSlice) -> Array:
    """Return a weight OIHW, or [O, I, pixels], as [O, I, pixels], depthwise [C, pixels, 1].

    Every width is a prefix of each axis, and no order changes.
    """
    outs, ins = weight.shape[:2]
    return np.ascontiguousarray(weight).reshape((outs, -1, 1) if piece.layer.kind == "depthwise" else (outs, ins, -1))


def _key(values: Array) -> str:
    return sha256_bytes(np.ascontiguousarray(values).tobytes())


def _regions(package: Package) -> list[Region]:
    """Return where the constants of a package's weight.bin lie, each named by its SHA-256."""
    blobs = read_blobs(package[WEIGHTS]) if WEIGHTS in package else {}
    return [
        Region(sha256(blob.data).hexdigest(), offset + HEADER.size, len(blob.data)) for offset, blob in blobs.items()
    ]
