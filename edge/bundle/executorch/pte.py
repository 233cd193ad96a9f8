"""ExecuTorch program files, taken apart and put together by ExecuTorch's own serializer.

One of the two modules of `edge` that load torch (the other is the ExecuTorch session): the serializer brings it.
"""

from collections.abc import Mapping, Sequence
from copy import copy

from executorch.exir._serialize._named_data_store import NamedDataStore
from executorch.exir._serialize._program import (
    PTEFile,
    _flatbuffer_to_program,
    _get_extended_header,
    deserialize_pte_binary,
    serialize_pte_binary,
)
from executorch.exir._serialize.data_serializer import DataEntry, DataPayload
from executorch.exir.schema import Buffer, ExecutionPlan, Tensor
from executorch.extension.flat_tensor.serialize.serialize import FlatTensorSerializer

from edge.bundle.nested.recipe import Region
from edge.errors import BundleError

ALIGNMENT = 16
"""Of constants in bytes, as the XNNPACK backend asks for."""


def constant_regions(data: bytes) -> list[Region]:
    """Return where the named constants of a program file lie, in the order of their offsets; no two overlap."""
    header = _get_extended_header(data)
    if header is None:
        raise BundleError("not an ExecuTorch program file with segments")
    program = _flatbuffer_to_program(data[: header.program_size])
    by_segment = {entry.segment_index: entry.key for entry in reversed(program.named_data or [])}
    regions = [
        Region(key, header.segment_base_offset + program.segments[index].offset, program.segments[index].size)
        for index, key in by_segment.items()
    ]
    return sorted(regions, key=lambda region: region.offset)


def merge(files: Sequence[bytes]) -> bytes:
    """Return one program file with the methods of all `files` and without their named constants.

    Constants outside of delegates have no names and stay, equal ones once.
    """
    merged: PTEFile | None = None
    for data in files:
        parsed = deserialize_pte_binary(data)
        program = parsed.program
        if parsed.mutable_data:
            raise BundleError(f"method {program.execution_plan[0].name} has a state")
        if merged is None:
            merged = PTEFile(program, None, None)
            continue
        for plan in program.execution_plan:
            _move_constants(plan, program.constant_buffer, merged.program.constant_buffer)
        first = len(merged.program.backend_delegate_data)
        for plan in program.execution_plan:
            for delegate in plan.delegates:
                delegate.processed.index += first
        merged.program.execution_plan.extend(program.execution_plan)
        merged.program.backend_delegate_data.extend(program.backend_delegate_data)
    assert merged is not None
    return bytes(serialize_pte_binary(merged, extract_delegate_segments=True))


def methods(data: bytes) -> dict[str, int]:
    """Return how many delegates each method of a program file has, by name."""
    return {plan.name: len(plan.delegates) for plan in deserialize_pte_binary(data).program.execution_plan}


def with_constants(data: bytes, names: Sequence[str], constants: Mapping[str, bytes]) -> bytes:
    """Return a program file with some methods of `data`, and the constants in it."""
    return _serialized(_chosen(data, names), constants)


def without_constants(data: bytes, names: Sequence[str]) -> bytes:
    """Return a program file with some methods of `data`, which looks its constants up elsewhere."""
    return _serialized(_chosen(data, names), {})


def data_file(constants: Mapping[str, bytes]) -> bytes:
    """Return a .ptd file of constants."""
    payload = DataPayload(
        buffers=list(constants.values()),
        named_data={key: DataEntry(index, ALIGNMENT, None) for index, key in enumerate(constants)},
    )
    return bytes(FlatTensorSerializer().serialize(payload))


def _chosen(data: bytes, names: Sequence[str]) -> PTEFile:
    """Return the parsed file with only the named methods and their delegates' data."""
    try:
        program = deserialize_pte_binary(data).program
    except Exception as error:  # whatever a forged file makes of ExecuTorch's own reader
        raise BundleError(f"the program file is damaged ({type(error).__name__}); copy the bundle again") from error
    plans = {plan.name: plan for plan in program.execution_plan}
    if missing := [name for name in names if name not in plans]:
        raise BundleError(f"the program file has no method {missing[0]}; it has {', '.join(plans)}")
    chosen, every = [plans[name] for name in names], program.backend_delegate_data
    kept = []
    for plan in chosen:
        for delegate in plan.delegates:
            kept.append(every[delegate.processed.index])
            delegate.processed = copy(delegate.processed)
            delegate.processed.index = len(kept) - 1
    constants = program.constant_buffer[:1]  # the first stands for none
    for plan in chosen:
        _move_constants(plan, program.constant_buffer, constants)
    program.execution_plan, program.backend_delegate_data, program.constant_buffer = chosen, kept, constants
    return PTEFile(program, None, None)


def _move_constants(plan: ExecutionPlan, source: Sequence[Buffer], target: list[Buffer]) -> None:
    """Let a method read the constants outside of its delegates from `target`, where they are added if not yet there."""
    for value in plan.values:
        tensor = value.val
        if isinstance(tensor, Tensor) and tensor.data_buffer_idx:
            constant = source[tensor.data_buffer_idx]
            if constant not in target[1:]:
                target.append(constant)
            tensor.data_buffer_idx = target.index(constant, 1)


def _serialized(file: PTEFile, constants: Mapping[str, bytes]) -> bytes:
    store = NamedDataStore()
    for key, value in constants.items():
        store.add_named_data(key, value, ALIGNMENT)
    file.named_data = store.get_named_data_store_output() if constants else None
    return bytes(serialize_pte_binary(file, extract_delegate_segments=True))
