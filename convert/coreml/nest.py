"""Step 2, nest: every constant of every package as a slice of one store; what is left of the files as templates.

coremltools folds nothing here (`convert.fold` did), but rounds: the bytes that a layer's constant must have are known,
and one that is not in the package means that coremltools has changed, which is an error. What is no slice of a weight
(biases, int8 scales) is stored as it is, equal and prefix-equal ones once.
"""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from common import sha256_bytes
from convert.coreml.options import Precision
from convert.errors import ExportError
from convert.fold import Tensors, batch_norm, bias_slice, fold, weight_slice
from convert.quantized_weights import QuantizedWeights, payload_at
from convert.slice_plan import LayerSlice, ProgramPlan, uses_of_layers
from edge.bundle.coreml.blobs import HEADER, read_blobs
from edge.bundle.coreml.package import WEIGHTS, Package, program_path
from edge.bundle.nested.recipe import ALIGNMENT, DTYPES, FORMAT, PlainFile, Recipe, Slice, StoredTensor
from edge.bundle.nested.weights import NestedWeights

Array = NDArray[np.generic]
INLINE_ELEMENTS = 10
"""coremltools puts constants with fewer elements into the model file."""
UNDERFLOW_ELEMENTS = 400
"""In constants with fewer elements, coremltools keeps what rounds to zero from becoming zero."""
SMALLEST = np.float16(2.0**-24)


@dataclass(frozen=True)
class Nested:
    """All packages of one precision without their weights, and the weights."""

    recipe: bytes = field(repr=False)
    store: bytes = field(repr=False)
    template: bytes = field(repr=False)


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


def nest(
    plans: Sequence[ProgramPlan],
    packages: Sequence[Package],
    tensors: Tensors,
    epsilon: float,
    precision: Precision,
    weights: QuantizedWeights | None,
) -> Nested:
    """Return the nested form of the programs' packages; `tensors` are the masters, `weights` the integers in int8."""
    builder = _Builder(tensors, epsilon, precision, weights)
    for uses in uses_of_layers(plans).values():
        builder.add_weight(uses)
    for plan, package in zip(plans, packages, strict=True):
        builder.check_all_found(plan, package)
    builder.add_the_rest(packages)
    template, files = builder.templates(plans, packages)
    recipe = Recipe(
        format=FORMAT,
        store_bytes=len(builder.store),
        template_bytes=len(template),
        tensors=builder.tensors,
        slices=list(builder.slices.values()),
        files=files,
    )
    text = json.dumps(recipe.model_dump(mode="json", exclude_none=True), separators=(",", ":"))
    return Nested(text.encode(), bytes(builder.store), template)


class _Builder:
    """The store and the slices that packages use of it."""

    def __init__(self, source: Tensors, epsilon: float, precision: Precision, weights: QuantizedWeights | None) -> None:
        self.store = bytearray()
        self.tensors: list[StoredTensor] = []
        self.slices: dict[str, Slice] = {}
        self._source, self._epsilon, self._precision, self._weights = source, epsilon, precision, weights
        self._places: dict[tuple[str, bytes], int] = {}

    def add_weight(self, uses: Sequence[LayerSlice]) -> None:
        """Add the slices that one layer's weight is at every width."""
        widest = max(uses, key=lambda piece: (piece.out_channels, piece.in_channels))
        if self._weights is not None:
            master: Array = self._weights[widest.name].payload
        else:
            master = weight_slice(self._source, widest).astype(
                DTYPES["float16" if self._precision == "fp16" else "float32"]
            )
        for piece in uses:
            self._add_slice(f"{widest.name}.weight", master, piece)

    def _add_slice(self, name: str, master: Array, piece: LayerSlice) -> None:
        values = self._weight(piece)
        scale: int | None = None
        if self._weights is None and piece.statistics is not None:
            vector = batch_norm(self._source, piece, self._epsilon).scale
            scale = self._add(f"{piece.name}.scale.{piece.statistics}", vector.reshape(1, 1, -1))
        added = Slice(
            key=_key(values),
            tensor=self._add(name, _in_three_axes(master)),
            shape=list(_in_three_axes(values).shape),
            scale=scale,
            axis=None if scale is None else 0,
            cast="float16" if self._precision == "fp16" and scale is not None else None,
        )
        self.slices.setdefault(added.key, added)

    def _weight(self, piece: LayerSlice) -> Array:
        """Return a layer's weight as the package must hold it."""
        if self._weights is not None:
            return payload_at(self._weights[piece.name], piece)
        folded, _ = fold(self._source, piece, self._epsilon)
        return as_coremltools_rounds(folded) if self._precision == "fp16" else folded

    def _bias(self, piece: LayerSlice) -> Array:
        bias = bias_slice(self._source, piece, self._epsilon)
        return bias if self._precision == "fp32" else as_coremltools_rounds(bias)

    def check_all_found(self, plan: ProgramPlan, package: Package) -> None:
        """Refuse a package in which coremltools wrote another weight or bias than the layer's."""
        there = {_digest(content) for _, content in _constants(package)}
        for piece in plan.layers:
            for what, values in (("weight", self._weight(piece)), ("bias", self._bias(piece))):
                if values.size >= INLINE_ELEMENTS and _key(values) not in there:
                    raise ExportError(
                        f"the {what} of layer {piece.name} is not in what coremltools exported for {plan.name}; "
                        "values beyond float16's range need --precision fp32, and other versions of coremltools may "
                        "fold or round in another way"
                    )

    def add_the_rest(self, packages: Sequence[Package]) -> None:
        """Store what is no slice of a weight, as bytes. What another constant begins with is a slice of that."""
        self._drop_slices_that_differ()
        rest = {
            key: bytes(content)
            for package in packages
            for _, content in _constants(package)
            if (key := _digest(content)) not in self.slices
        }
        longer = b""
        # In this order, whatever begins with a constant comes right before it.
        for key, content in sorted(rest.items(), key=lambda item: (item[1], item[0]), reverse=True):
            if not longer.startswith(content):
                longer = content
            vector = np.frombuffer(longer, np.int8).reshape(1, 1, -1)
            self.slices[key] = Slice(key=key, tensor=self._add("bytes", vector), shape=[1, 1, len(content)])

    def _drop_slices_that_differ(self) -> None:
        """Leave to `add_the_rest` the few small weights in which coremltools kept a value from underflowing."""
        if self._precision != "fp16":
            return
        nested = NestedWeights(
            Recipe(
                format=FORMAT, store_bytes=len(self.store), template_bytes=1,
                tensors=self.tensors, slices=list(self.slices.values()), files=[],
            ),
            bytes(self.store),
            b"\0",
        )  # fmt: skip
        for number, (key, piece) in enumerate(list(self.slices.items())):
            small = np.prod(piece.shape) < UNDERFLOW_ELEMENTS
            if small and sha256_bytes(nested.slice(number)) != key:
                del self.slices[key]

    def templates(self, plans: Sequence[ProgramPlan], packages: Sequence[Package]) -> tuple[bytes, list[PlainFile]]:
        """Return the template file and the description of every package's files; equal literals lie there once."""
        index = {key: number for number, key in enumerate(self.slices)}
        template, places, files = bytearray(), dict[bytes, tuple[int, int]](), []
        for plan, package in zip(plans, packages, strict=True):
            for path, content in package.items():
                literals, pieces = _taken_apart(content, package if path == WEIGHTS else {}, index)
                if literals not in places:
                    compress = zlib.compressobj(level=9, wbits=-zlib.MAX_WBITS)
                    stream = compress.compress(literals) + compress.flush()
                    places[literals] = len(template), len(stream)
                    template += stream
                offset, size = places[literals]
                files.append(
                    PlainFile(
                        path=program_path(plan.name, path),
                        bytes=len(content),
                        sha256=sha256_bytes(content),
                        offset=offset,
                        compressed_bytes=size,
                        literal_bytes=len(literals),
                        pieces=pieces,
                    )
                )
        return bytes(template), files

    def _add(self, name: str, values: Array) -> int:
        """Store an array [a, b, c] unless it is there, and return its index."""
        content = np.ascontiguousarray(values).tobytes()
        place = self._places.get((values.dtype.name, content))
        if place is None:
            self.store += bytes(-len(self.store) % ALIGNMENT)
            fields = {"name": name, "dtype": values.dtype.name, "shape": list(values.shape), "offset": len(self.store)}
            self.tensors.append(StoredTensor.model_validate(fields))
            self.store += content
            place = self._places[values.dtype.name, content] = len(self.tensors) - 1
        return place


def _in_three_axes(weight: Array) -> Array:
    """Return a weight OIHW as [O, I, positions], in which every width is a prefix of each axis."""
    return np.ascontiguousarray(weight).reshape(*weight.shape[:2], -1)


def _key(values: Array) -> str:
    return sha256_bytes(np.ascontiguousarray(values).tobytes())


def _digest(data: memoryview) -> str:
    return sha256(data).hexdigest()


def _constants(package: Package) -> Iterator[tuple[int, memoryview]]:
    """Yield every constant of a package's weight.bin with the offset of its data."""
    if WEIGHTS in package:
        for offset, blob in read_blobs(package[WEIGHTS]).items():
            yield offset + HEADER.size, blob.data


def _taken_apart(content: bytes, package: Package, index: Mapping[str, int]) -> tuple[bytes, list[list[int]]]:
    """Return a file's literal bytes and its pieces; a file without constants is all literal."""
    literals, pieces, end = bytearray(), [], 0
    for start, data in _constants(package):
        literals += content[end:start]
        pieces.append([start - end, index[_digest(data)]])
        end = start + len(data)
    return bytes(literals + content[end:]), pieces
