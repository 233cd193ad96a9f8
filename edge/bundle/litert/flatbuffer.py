"""LiteRT flatbuffers as plain lists: read them, and write them with every repeated part stored once.

A `GraphFile` is a list of programs (a subgraph with named inputs and outputs) over one list of constants. `write` emits

    main root ─┬─ program 0 ─┐
    root 0 ────┤             ├─ operator codes, tensors …  ── buffers ──▶ constants, aligned to 16 bytes,
    root 1 ────┴─ program 1 ─┘                                            after the flatbuffer

The main root lists every program as a signature. Each further root lists one program alone: put its offset into the
file's first 4 bytes and a stock runtime loads (and unpacks) that program only. All roots share every table below
them.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edge.errors import BundleError

ALIGNMENT = 16
MAX_FILE_BYTES = (1 << 31) - 1
"""Flatbuffer offsets are signed 32-bit."""
MAX_NAME_LENGTH = 255

Bytes = NDArray[np.uint8]
NOTHING: Bytes = np.zeros(0, np.uint8)


@contextmanager
def doubting() -> Iterator[None]:
    """Turn whatever Python raises on a file that contradicts itself into a BundleError of one line."""
    try:
        yield
    except BundleError:
        raise
    except Exception as error:  # the generated reader follows any offset; numpy and struct fail in their own ways
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise BundleError(f"not a readable LiteRT file, its parts do not hold together: {reason}") from error


@dataclass
class Program:
    """One subgraph. Tensors name their constants by index into the file's `constants` (0 means none)."""

    name: str
    graph: Any
    """schema.SubGraphT"""
    inputs: list[str]
    """Signature names of `graph.inputs`, in order."""
    outputs: list[str]
    codes: list[Any]
    """schema.OperatorCodeT list that the operators' `opcodeIndex` refers to."""


@dataclass
class Constants:
    """Byte strings stored once: equal ones share their place, and one that is a prefix of another is a view of it."""

    data: list[Bytes] = field(default_factory=lambda: [NOTHING])

    def add(self, array: NDArray[Any]) -> int:
        """Return the index to give to a tensor whose constant has these bytes."""
        self.data.append(np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8))
        return len(self.data) - 1

    def places(self) -> tuple[list[tuple[int, int]], bytes]:
        """Return (offset, size) per constant and the bytes they point into; offsets are multiples of ALIGNMENT."""
        longest_first = sorted(range(len(self.data)), key=lambda index: -self.data[index].size)
        starts: dict[bytes, list[tuple[int, Bytes]]] = {}
        places, blob = [(0, 0)] * len(self.data), bytearray()
        for index in longest_first:
            data = self.data[index]
            candidates = starts.setdefault(data[:ALIGNMENT].tobytes(), [])
            offset = next((at for at, other in candidates if np.array_equal(other[: data.size], data)), None)
            if offset is None:
                blob += bytes(-len(blob) % ALIGNMENT)
                offset = len(blob)
                candidates.append((offset, data))
                blob += data.tobytes()
            places[index] = (offset, data.size)
        return places, bytes(blob)


@dataclass
class GraphFile:
    """Programs over shared constants: the content of one LiteRT file."""

    programs: list[Program]
    constants: Constants

    def program(self, name: str) -> Program:
        """Return one program by name; BundleError if the file has none of that name."""
        for program in self.programs:
            if program.name == name:
                return program
        raise _no_program(name, [program.name for program in self.programs])


@doubting()
def read(data: bytes | memoryview, names: Collection[str] | None = None) -> GraphFile:
    """Parse a LiteRT file; every signature becomes a program, or only the named ones.

    Constants are views of `data`; those that no program read here uses are left empty. Raises BundleError for bytes
    that are no such file, that hold a subgraph without a signature of its own, or that lack a named program. What the
    programs mean is not looked at: see `soundness.check_sound`.
    """
    if len(data) < 8 or not schema.Model.ModelBufferHasIdentifier(data, 0):
        raise BundleError("not a LiteRT file: its bytes 4 to 7 are not 'TFL3'")
    model = schema.Model.GetRootAs(data, 0)
    signatures = _signatures(model)
    if missing := sorted(set(names or ()) - set(signatures)):
        raise _no_program(missing[0], signatures)
    codes = [schema.OperatorCodeT.InitFromObj(model.OperatorCodes(n)) for n in range(model.OperatorCodesLength())]
    programs = [
        _program(name, schema.SubGraphT.InitFromObj(model.Subgraphs(signature.subgraphIndex)), codes, signature)
        for name, signature in signatures.items()
        if names is None or name in names
    ]
    used = {tensor.buffer for program in programs for tensor in program.graph.tensors}
    buffers = range(model.BuffersLength())
    if 4 * len(buffers) > len(data):
        raise BundleError(f"{len(buffers)} constants do not fit into this LiteRT file of {len(data)} bytes")
    return GraphFile(
        programs, Constants([_constant(data, model.Buffers(n)) if n in used else NOTHING for n in buffers])
    )


def write(file: GraphFile, shared: bool, tensor_names: bool = False) -> tuple[bytes, dict[str, int]]:
    """Return the file's bytes and each program's root offset.

    `shared`: constants are stored once, after the flatbuffer, and one root per program is added (a nested file).
    Otherwise every constant is stored inside the flatbuffer, as any LiteRT tool of any age expects (a plain file);
    there are no further roots then. `tensor_names`: keep them. Otherwise tensors are nameless: signatures name what
    callers use, the rest would be private bytes.
    """
    canonical = _canonical(file, tensor_names)
    if not shared:
        return _pack(canonical, [(0, 0)] * len(canonical.constants.data), inline=True)
    places, blob = canonical.constants.places()
    length = len(_pack(canonical, [(ALIGNMENT, size) for _, size in places], inline=False)[0])
    base = length + (-length % 64)
    shifted = [(base + offset, size) for offset, size in places]
    flat, roots = _pack(canonical, shifted, inline=False)
    if base + len(blob) > MAX_FILE_BYTES:
        raise BundleError(f"the file would have {base + len(blob)} bytes; LiteRT files end at {MAX_FILE_BYTES}")
    return flat + bytes(base - len(flat)) + blob, roots


class _SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """A builder that stores equal vectors of numbers once and aligns byte vectors as tensors need it."""

    def __init__(self) -> None:
        super().__init__(1 << 20)
        self._vectors: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: NDArray[Any]) -> int:  # noqa: N802 (flatbuffers' own name)
        content = x.astype(x.dtype.newbyteorder("<"), copy=False).tobytes()
        key = (x.dtype.str, content)
        if key not in self._vectors:
            self.StartVector(x.itemsize, x.size, ALIGNMENT if x.dtype == np.uint8 else x.dtype.alignment)
            start = self.Head() - len(content)
            self.head = start
            self.Bytes[start : start + len(content)] = content
            self._vectors[key] = self.EndVector()
        return self._vectors[key]

    def table(self, start: Callable[[Any], None], end: Callable[[Any], int], *fields: Callable[[Any], None]) -> int:
        """Write one table from its field writers."""
        start(self)
        for write_field in fields:
            write_field(self)
        return end(self)

    def offsets(self, tables: Sequence[int]) -> int:
        """Write a vector of table offsets."""
        self.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            self.PrependUOffsetTRelative(table)
        return int(self.EndVector())


class _PackedOnce:
    """Stands in for a table that several parents share: packed at its first use, referred to from then on."""

    def __init__(self, table: Any) -> None:
        self._table, self._offset = table, 0

    def Pack(self, builder: Any) -> int:  # noqa: N802 (the generated code calls it)
        self._offset = self._offset or self._table.Pack(builder)
        return self._offset


def _pack(file: GraphFile, places: list[tuple[int, int]], inline: bool) -> tuple[bytes, dict[str, int]]:
    builder = _SharingBuilder()
    codes = file.programs[0].codes
    buffers = []
    for data, (offset, size) in zip(file.constants.data, places, strict=True):
        buffer = schema.BufferT()
        if inline and data.size:
            buffer.data = data
        elif size:
            buffer.offset, buffer.size = offset, size
        buffers.append(buffer.Pack(builder))
    code_vector = builder.offsets([code.Pack(builder) for code in codes])
    buffer_vector = builder.offsets(buffers)
    shared_tables: dict[Any, _PackedOnce] = {}
    graphs = [_pack_graph(builder, program.graph, shared_tables) for program in file.programs]

    def root(members: list[int]) -> int:
        signatures = [_signature(file.programs[m], position).Pack(builder) for position, m in enumerate(members)]
        graph_vector, signature_vector = builder.offsets([graphs[m] for m in members]), builder.offsets(signatures)
        return builder.table(
            schema.ModelStart,
            schema.ModelEnd,
            lambda b: schema.ModelAddVersion(b, 3),
            lambda b: schema.ModelAddOperatorCodes(b, code_vector),
            lambda b: schema.ModelAddSubgraphs(b, graph_vector),
            lambda b: schema.ModelAddBuffers(b, buffer_vector),
            lambda b: schema.ModelAddSignatureDefs(b, signature_vector),
        )

    single = [] if inline else [root([number]) for number in range(len(file.programs))]
    builder.Finish(root(list(range(len(file.programs)))), b"TFL3")
    packed = bytes(builder.Output())
    return packed, {program.name: len(packed) - at for program, at in zip(file.programs, single, strict=False)}


def _pack_graph(builder: Any, graph: Any, shared_tables: dict[Any, _PackedOnce]) -> int:
    """Pack a subgraph; tensors with equal quantization or sparsity refer to one table."""
    kept = [(tensor, tensor.quantization, tensor.sparsity) for tensor in graph.tensors]
    try:
        for tensor, quantization, sparsity in kept:
            for name, table in (("quantization", quantization), ("sparsity", sparsity)):
                if table is not None:
                    setattr(tensor, name, shared_tables.setdefault(_content(table), _PackedOnce(table)))
        return int(graph.Pack(builder))
    finally:
        for tensor, quantization, sparsity in kept:
            tensor.quantization, tensor.sparsity = quantization, sparsity


def _canonical(file: GraphFile, tensor_names: bool) -> GraphFile:
    """Return the file with codes and constants numbered by first use, so that equal contents give equal bytes."""
    codes: dict[tuple[int, int, Any], int] = {}
    code_list: list[Any] = []
    constants, numbers = Constants(), {0: 0}
    programs = []
    for program in file.programs:
        graph = schema.SubGraphT()
        graph.__dict__.update(program.graph.__dict__)
        graph.name, graph.operators, graph.tensors = None, [], []
        for operator in program.graph.operators:
            code = program.codes[operator.opcodeIndex]
            key = (code.builtinCode, code.version, code.customCode)
            if key not in codes:
                codes[key] = len(code_list)
                code_list.append(code)
            graph.operators.append(_copy(operator, opcodeIndex=codes[key]))
        for tensor in program.graph.tensors:
            if tensor.buffer not in numbers:
                numbers[tensor.buffer] = constants.add(file.constants.data[tensor.buffer])
            name = tensor.name if tensor_names else None
            graph.tensors.append(_copy(tensor, buffer=numbers[tensor.buffer], name=name))
        programs.append(Program(program.name, graph, program.inputs, program.outputs, code_list))
    return GraphFile(programs, constants)


def _copy(table: Any, **changes: Any) -> Any:
    """Return a shallow copy of an object-API table with some fields replaced.

    Lists of numbers become arrays, which pack faster.
    """
    made = type(table)()
    made.__dict__.update(table.__dict__)
    for name, value in made.__dict__.items():
        if isinstance(value, list) and value and isinstance(value[0], (int, np.integer)):
            setattr(made, name, np.asarray(value, np.int32))
    made.__dict__.update(changes)
    return made


def _content(value: Any) -> Any:
    """Return a hashable stand-in for an object-API value: equal for values that pack to the same bytes."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tobytes()
    if isinstance(value, list):
        return tuple(_content(item) for item in value)
    if hasattr(value, "__dict__"):
        return type(value).__name__, tuple((name, _content(item)) for name, item in sorted(value.__dict__.items()))
    return value


def _signature(program: Program, subgraph: int) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = program.name.encode(), subgraph
    signature.inputs = [
        _tensor_map(name, index) for name, index in zip(program.inputs, program.graph.inputs, strict=True)
    ]
    signature.outputs = [
        _tensor_map(name, index) for name, index in zip(program.outputs, program.graph.outputs, strict=True)
    ]
    return signature


def _tensor_map(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), int(index)
    return entry


def _no_program(name: str, known: Collection[str]) -> BundleError:
    return BundleError(f"no program {name!r} in this LiteRT file; it has: {', '.join(sorted(known))}")


def _signatures(model: Any) -> dict[str, Any]:
    """Return the signatures by name: one per subgraph, because a runtime unpacks the subgraphs without one too."""
    tables = [schema.SignatureDefT.InitFromObj(model.SignatureDefs(n)) for n in range(model.SignatureDefsLength())]
    if not tables:
        raise BundleError("this LiteRT file has no signatures, so it names no programs")
    signatures = {_text(table.signatureKey): table for table in tables}
    graphs, numbers = model.SubgraphsLength(), sorted(table.subgraphIndex for table in tables)
    if len(signatures) != len(tables) or graphs != len(tables) or numbers != list(range(len(tables))):
        raise BundleError(f"the {len(tables)} signatures of this LiteRT file do not name its {graphs} subgraphs")
    for number in range(model.MetadataLength()):
        if model.Metadata(number).Buffer() >= model.BuffersLength():
            raise BundleError(f"metadata {number} of this LiteRT file lies in none of its buffers")
    return signatures


def _text(name: bytes) -> str:
    """Return a stranger's name, fit to be shown."""
    text = name[: MAX_NAME_LENGTH + 1].decode()
    if not text or not text.isprintable() or len(text) > MAX_NAME_LENGTH:
        raise BundleError(f"a name in this LiteRT file is not 1…{MAX_NAME_LENGTH} printable characters")
    return text


def _constant(data: bytes | memoryview, buffer: Any) -> Bytes:
    """Return a buffer's bytes, inside the flatbuffer or after it."""
    offset, size, inline = buffer.Offset(), buffer.Size(), not buffer.DataIsNone()
    if offset <= 1:
        return np.asarray(buffer.DataAsNumpy(), np.uint8) if inline else NOTHING
    if inline:
        raise BundleError(f"a constant lies inside this flatbuffer and at {offset}; runtimes differ in which they take")
    if offset + size > len(data):
        raise BundleError(f"a constant of {size} bytes at {offset} lies outside this file of {len(data)} bytes")
    return np.frombuffer(data, np.uint8, size, offset)


def _program(name: str, graph: Any, codes: list[Any], signature: Any) -> Program:
    inputs, outputs = _names(name, graph.inputs, signature.inputs), _names(name, graph.outputs, signature.outputs)
    return Program(name, graph, inputs, outputs, codes)


def _names(program: str, tensors: Any, entries: list[Any]) -> list[str]:
    """Return the signature's name of each of the tensors, which are all of a graph's inputs or all of its outputs."""
    names = {entry.tensorIndex: _text(entry.name) for entry in entries}
    if sorted(entry.tensorIndex for entry in entries) != sorted(tensors) or len(set(names.values())) != len(entries):
        raise BundleError(f"program {program}: its signature does not name each input and output of its subgraph once")
    return [names[index] for index in tensors]
