"""What a pickle of `torch.save` claims, found without running it: the globals it names, the memory it asks for.

`torch.load(weights_only=True)` runs no code, but it allocates whatever a file asks for, and grows a storage that is too
small for its tensor. So each pickle is first walked with stand-ins on the stack. Only the operations that `torch.save`
writes are known here, after their descriptions in the standard library's `pickletools`; any other refuses the file.
"""

import math
import pickletools
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

from train.errors import CheckpointError, listed

PROTOCOL = 2
"""The pickle protocol of `torch.save`, and the only one that `weights_only` reads in full."""
ELEMENT_BYTES = {
    "torch.FloatStorage": 4, "torch.DoubleStorage": 8, "torch.HalfStorage": 2, "torch.BFloat16Storage": 2,
    "torch.LongStorage": 8, "torch.IntStorage": 4, "torch.ShortStorage": 2, "torch.CharStorage": 1,
    "torch.ByteStorage": 1, "torch.BoolStorage": 1, "torch.QInt8Storage": 1, "torch.QUInt8Storage": 1,
    "torch.QInt32Storage": 4,
}  # fmt: skip
CONTAINERS = ("collections.OrderedDict", "argparse.Namespace")
PLAIN_TENSOR = "torch._utils._rebuild_tensor_v2"
PLAIN_TENSOR_ARGUMENTS = 6
"""Storage, offset, shape, strides, whether it has a gradient, hooks; a seventh holds flags such as "negated"."""
TENSOR_MAKERS = (PLAIN_TENSOR, "torch._utils._rebuild_qtensor")
MAKERS = (*CONTAINERS, *TENSOR_MAKERS, "torch._utils._rebuild_parameter")
QUANTIZERS = ("torch.per_tensor_affine", "torch.per_channel_affine", "torch.per_channel_affine_float_qparams")
ALLOWED = {*ELEMENT_BYTES, *MAKERS, *QUANTIZERS}
"""Quantized tensors are read as far as their names, so that they can be refused by name."""
MAX_OPERATIONS = 2_000_000
"""Operations walked of one pickle: the published network with the most tensors has 124,000."""
MAX_SIDE = 2**31 - 1
MAX_DIMENSIONS = 8
"""The longest side of a tensor."""

Operations = list[tuple[pickletools.OpcodeInfo, Any]]


@dataclass(frozen=True)
class StorageClaim:
    """The memory behind tensors."""

    key: str
    elements: int
    element_bytes: int

    @property
    def bytes(self) -> int:
        """Return the size of the storage in bytes."""
        return self.elements * self.element_bytes


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(frozen=True)
class _Made:
    by: str


class _UnusualPickleError(Exception):
    """A pickle that `torch.save` would not have written."""


_MARK = _Made("mark")


def storage_claims(path: Path, pickle: BytesIO) -> list[StorageClaim]:
    """Walk the pickle at the position of `pickle`, to its end; return each storage it asks for, once.

    A global outside ALLOWED, an operation that `torch.save` does not write and a tensor larger than its storage are a
    CheckpointError.
    """
    try:
        found = islice(pickletools.genops(pickle), MAX_OPERATIONS + 1)
        operations: Operations = [(opcode, argument) for opcode, argument, _ in found]
    except (ValueError, OverflowError, IndexError) as error:
        raise CheckpointError(f"{path} is truncated or no file of torch.save; copy it again") from error
    if len(operations) > MAX_OPERATIONS:
        raise CheckpointError(f"{path}: its pickle has over {MAX_OPERATIONS} operations; save the state dict alone")
    _check_globals(path, operations)
    try:
        return _walk(operations)
    except (_UnusualPickleError, IndexError, KeyError) as error:
        what = str(error) if isinstance(error, _UnusualPickleError) else "operands are missing"
        raise CheckpointError(
            f"{path}: its pickle is not as torch.save writes it ({what}); save the state dict again with torch.save"
        ) from error


def _check_globals(path: Path, operations: Operations) -> None:
    refused = sorted({name for name in _globals(operations) if name not in ALLOWED})
    if not refused:
        return
    raise CheckpointError(
        f"{path} would run {listed(refused)} when unpickled, nothing was run; valid: tensors, dicts and "
        "argparse.Namespace; save the state dict alone with torch.save"
    )


def _globals(operations: Operations) -> Iterable[str]:
    strings: list[str] = []
    for opcode, argument in operations:
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(strings[-2:])
        elif isinstance(argument, str):
            strings.append(argument)


def _walk(operations: Operations) -> list[StorageClaim]:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    claims: dict[str, StorageClaim] = {}
    states: dict[int, _Made] = {}  # copied when they are set, so one that is set often would fill the memory
    if operations[0][0].name != "PROTO":
        raise _UnusualPickleError("no protocol")
    for opcode, argument in operations:
        match opcode.name:
            case "PROTO":
                if argument != PROTOCOL:
                    raise _UnusualPickleError(f"protocol {argument}, valid: {PROTOCOL}")
            case "STOP":
                break
            case "MARK":
                stack.append(_MARK)
            case "GLOBAL":
                stack.append(_Global(argument.replace(" ", ".")))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE" | "SHORT_BINSTRING":
                stack.append(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append(None)
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_SET":
                stack.append(_Made(opcode.name))
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "TUPLE":
                stack.append(tuple(_to_mark(stack)))
            case "APPENDS":
                _to_mark(stack)
            case "SETITEMS":
                _check_keys(_to_mark(stack)[::2])
            case "APPEND":
                stack.pop()
            case "SETITEM":
                _check_keys(stack[-2:-1])
                del stack[-2:]
            case "REDUCE" | "NEWOBJ":
                arguments, maker = stack.pop(), stack.pop()
                stack.append(_made(maker, arguments))
            case "BUILD":
                state = stack.pop()
                if stack[-1] not in map(_Made, CONTAINERS) or not isinstance(state, _Made) or id(state) in states:
                    raise _UnusualPickleError("a state for what has none, or one state for several")
                states[id(state)] = state
            case "BINPERSID":
                claim = _storage(stack.pop())
                if claims.setdefault(claim.key, claim) != claim:
                    raise _UnusualPickleError(f"two claims on storage {claim.key:.40}")
                stack.append(claim)
            case other:
                raise _UnusualPickleError(f"operation {other}")
    return list(claims.values())


def _check_keys(keys: list[Any]) -> None:
    """Refuse keys other than texts and numbers: hashing tuples of tuples overflows the stack, or never ends."""
    if not all(isinstance(key, str | int) for key in keys):
        raise _UnusualPickleError("a key that is neither text nor number")


def _to_mark(stack: list[Any]) -> list[Any]:
    """Remove and return what is above the topmost mark, the mark removed too."""
    items = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _storage(identity: Any) -> StorageClaim:
    """Return the claim of ("storage", type, key, device, elements), with a view's None behind it in old files."""
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[5:] not in ((), (None,)):
        raise _UnusualPickleError("a storage without type, key and size")
    word, kind, key, _, elements = identity[:5]
    if word != "storage" or not isinstance(kind, _Global) or kind.name not in ELEMENT_BYTES:
        raise _UnusualPickleError("a storage of no known type")
    if not isinstance(key, str) or not _counts(elements):
        raise _UnusualPickleError("a storage whose key or size is none")
    return StorageClaim(key, elements, ELEMENT_BYTES[kind.name])


def _made(maker: Any, arguments: Any) -> _Made:
    if not isinstance(maker, _Global) or maker.name not in MAKERS or not isinstance(arguments, tuple):
        raise _UnusualPickleError("a call of what is no function")
    if maker.name in CONTAINERS and arguments:
        raise _UnusualPickleError(f"{maker.name} with arguments")
    if maker.name in TENSOR_MAKERS:
        _check_tensor(arguments)
    if maker.name == PLAIN_TENSOR and len(arguments) > PLAIN_TENSOR_ARGUMENTS:
        raise _UnusualPickleError("a tensor with metadata")
    return _Made(maker.name)


def _check_tensor(arguments: tuple[Any, ...]) -> None:
    """Refuse a tensor (storage, offset, shape, strides, …) that its storage cannot hold."""
    storage, offset, shape, strides = arguments[:4] if len(arguments) > 4 else (None,) * 4
    sides = shape if isinstance(shape, tuple) else (None,)
    steps = strides if isinstance(strides, tuple) else (None,)
    if not isinstance(storage, StorageClaim) or len(sides) != len(steps) or not _counts(offset, *sides, *steps):
        raise _UnusualPickleError("a tensor without storage, shape and strides")
    if len(sides) > MAX_DIMENSIONS:
        raise _UnusualPickleError(f"a tensor of {len(sides)} dimensions, valid: up to {MAX_DIMENSIONS}")
    last = offset + sum((side - 1) * step for side, step in zip(sides, steps, strict=True))
    count = math.prod(sides)
    if count > storage.elements or (count and last >= storage.elements) or any(side > MAX_SIDE for side in sides):
        shown = " × ".join(f"{side}" for side in sides[:8])
        raise _UnusualPickleError(f"a tensor of {shown:.80} elements in a storage of {storage.elements}")


def _counts(*values: Any) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62 for value in values)
