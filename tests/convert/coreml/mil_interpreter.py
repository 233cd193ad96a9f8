"""Runs the MIL programs of an .mlpackage where there is no Core ML: NumPy and torch, operation by operation.

Reads packages with coremltools' own generated classes and shares no code with what it checks. It shows that graph and
weights are right; how a neural engine rounds it cannot show. Two ways to compute:

    exact      float64 throughout, on the constants that the package holds: what is left of differences are mistakes
    rounded    float32 arithmetic, every result rounded to the type that the program gives it, float16 or float32
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from convert.quiet import quiet

with quiet():
    from coremltools.proto import MIL_pb2, Model_pb2

Mode = Literal["exact", "rounded"]
Value = Any
MODEL, WEIGHTS = "Data/com.apple.CoreML/model.mlmodel", "Data/com.apple.CoreML/weights/weight.bin"
TYPES = {
    MIL_pb2.DataType.FLOAT16: np.float16,
    MIL_pb2.DataType.FLOAT32: np.float32,
    MIL_pb2.DataType.INT8: np.int8,
    MIL_pb2.DataType.INT32: np.int32,
    MIL_pb2.DataType.BOOL: np.bool_,
}
STORED = {1: np.float16, 2: np.float32, 4: np.int8}
IMMEDIATE = {"floats": np.float32, "ints": np.int32, "bools": np.bool_}


class Interpreter:
    """One package, ready to run."""

    def __init__(self, package: Mapping[str, bytes], mode: Mode) -> None:
        self.specification = Model_pb2.Model.FromString(package[MODEL])
        self._weights = package.get(WEIGHTS, b"")
        self._mode = mode
        self.operations: set[str] = set()
        """The types of the operations that have run."""

    @torch.no_grad()
    def run(self, function: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the named outputs of a function for named inputs."""
        found = self.specification.mlProgram.functions[function]
        block = found.block_specializations[found.opset]
        declared = {one.name: TYPES[one.type.tensorType.dataType] for one in found.inputs}
        values: dict[str, Value] = {
            name: self._given(torch.from_numpy(np.asarray(value)), declared[name]) for name, value in inputs.items()
        }
        for operation in block.operations:
            arguments = {
                name: [values[one.name] if one.HasField("name") else self._value(one.value) for one in bound.arguments]
                for name, bound in operation.inputs.items()
            }
            single = {name: value[0] if len(value) == 1 else value for name, value in arguments.items()}
            attributes = {name: self._value(value) for name, value in operation.attributes.items()}
            self.operations.add(operation.type)
            (output,) = operation.outputs
            result = OPERATIONS[operation.type](attributes | single)
            values[output.name] = self._given(result, TYPES.get(output.type.tensorType.dataType))
        return {name: values[name].numpy() for name in block.outputs}

    def _given(self, value: Value, declared: Any) -> Value:
        """Return a result as the program gives it on: in its declared type, or as exactly as can be."""
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value.double() if isinstance(value, Tensor) and declared is np.float32 else value
        if self._mode == "exact":
            return value.double()
        return value.half().float() if declared is np.float16 else value.float()

    def _value(self, value: Any) -> Value:
        kind = value.type.tensorType
        shape = [size.constant.size for size in kind.dimensions]
        if value.HasField("blobFileValue"):
            return torch.from_numpy(self._blob(value.blobFileValue.offset, kind.dataType).reshape(shape))
        tensor = value.immediateValue.tensor
        which = tensor.WhichOneof("value")
        if which == "strings":
            return tensor.strings.values[0]
        if which == "bytes":
            array: np.ndarray = np.frombuffer(tensor.bytes.values, TYPES[kind.dataType])
        else:
            array = np.array(getattr(tensor, which).values, dtype=IMMEDIATE[which])
        return torch.from_numpy(array.reshape(shape).copy())

    def _blob(self, offset: int, declared: int) -> np.ndarray:
        sentinel, stored, size, start, _ = struct.unpack_from("<IIQQQ", self._weights, offset)
        assert sentinel == 0xDEADBEEF, f"nothing at byte {offset} of weight.bin"
        assert STORED[stored] is TYPES[declared], f"type {stored} at byte {offset}, declared {declared}"
        return np.frombuffer(self._weights[start : start + size], STORED[stored]).copy()


Arguments = Mapping[str, Value]


def _convolution(given: Arguments) -> Tensor:
    padding = [int(size) for size in given["pad"]] if given["pad_type"] == "custom" else [0, 0, 0, 0]
    assert given["pad_type"] in ("custom", "valid"), given["pad_type"]
    top, bottom, left, right = padding
    x = functional.pad(given["x"], (left, right, top, bottom))
    weight, bias = given["weight"].to(x.dtype), given["bias"].to(x.dtype)
    strides, dilations = [int(n) for n in given["strides"]], [int(n) for n in given["dilations"]]
    return functional.conv2d(x, weight, bias, strides, 0, dilations, int(given["groups"]))


def _pool(given: Arguments) -> Tensor:
    assert given["pad_type"] == "valid" or not given["pad"].any()
    return functional.avg_pool2d(given["x"], given["kernel_sizes"].tolist(), given["strides"].tolist())


def _max_pool(given: Arguments) -> Tensor:
    assert given["pad_type"] in ("valid", "custom") and not given["ceil_mode"]
    top, bottom, left, right = given["pad"].tolist()
    padded = functional.pad(given["x"], (left, right, top, bottom), value=-torch.inf)
    return functional.max_pool2d(padded, given["kernel_sizes"].tolist(), given["strides"].tolist())


def _mean(given: Arguments) -> Tensor:
    return torch.mean(given["x"], given["axes"].tolist(), bool(given["keep_dims"]))


def _product(given: Arguments) -> Tensor:
    x, y = given["x"], given["y"].to(given["x"].dtype)
    product: Tensor = (x.mT if given["transpose_x"] else x) @ (y.mT if given["transpose_y"] else y)
    return product


def _layer_norm(given: Arguments) -> Tensor:
    x = given["x"]
    assert given["axes"].tolist() in ([-1], [x.ndim - 1])
    gamma, beta = given["gamma"].to(x.dtype), given["beta"].to(x.dtype)
    return functional.layer_norm(x, x.shape[-1:], gamma, beta, float(given["epsilon"]))


def _dequantized(integers: Tensor, scale: Tensor) -> Tensor:
    """Return integers times a scale in the scale's own type: what is rounded is the weight, once."""
    product: Tensor = integers.float() * scale.float()
    return product.to(scale.dtype)


def _affine(given: Arguments) -> Tensor:
    assert int(given["zero_point"]) == 0
    integers = given["quantized_data"]
    shape = [1] * integers.ndim
    shape[int(given["axis"])] = -1
    return _dequantized(integers, given["scale"].reshape(shape))


def _blockwise(given: Arguments) -> Tensor:
    assert "offset" not in given
    return _dequantized(given["data"], given["scale"])


def _clip(given: Arguments) -> Tensor:
    clipped: Tensor = given["x"].clamp(float(given["alpha"]), float(given["beta"]))
    return clipped


def _thresholded(given: Arguments) -> Tensor:
    x: Tensor = given["x"]
    return torch.where(x >= float(given["alpha"]), x, torch.zeros((), dtype=x.dtype))


def _pairwise(operation: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Arguments], Tensor]:
    return lambda given: operation(given["x"], given["y"].to(given["x"].dtype))


def _single(operation: Callable[[Tensor], Tensor]) -> Callable[[Arguments], Tensor]:
    return lambda given: operation(given["x"])


OPERATIONS: dict[str, Callable[[Arguments], Value]] = {
    "const": lambda given: given["val"],
    "constexpr_affine_dequantize": _affine,
    "constexpr_blockwise_shift_scale": _blockwise,
    "conv": _convolution,
    "avg_pool": _pool,
    "max_pool": _max_pool,
    "reduce_mean": _mean,
    "reshape": lambda given: given["x"].reshape(given["shape"].tolist()),
    "cast": lambda given: given["x"],  # to the declared type of the output
    "mul": _pairwise(torch.mul),
    "add": _pairwise(torch.add),
    "relu": _single(functional.relu),
    "relu6": _single(functional.relu6),
    "clip": _clip,
    "transpose": lambda given: given["x"].permute(given["perm"].tolist()),
    "matmul": _product,
    "softmax": lambda given: given["x"].softmax(int(given["axis"])),
    "layer_norm": _layer_norm,
    "silu": _single(functional.silu),
    "sigmoid": _single(torch.sigmoid),
    "thresholded_relu": _thresholded,
    "sigmoid_hard": lambda given: (given["x"] * float(given["alpha"]) + float(given["beta"])).clamp(0, 1),
}
