"""`model.mlmodel` without coremltools: its functions, what goes in and out, where they refer to weight.bin, metadata.

Numbers are the fields of coremltools' Model.proto, MIL.proto and FeatureTypes.proto.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edge.bundle.coreml.protobuf import (
    BYTES,
    VARINT,
    Field,
    child,
    children,
    decoded,
    integer,
    integers,
    map_order,
    message,
    parse,
    serialise,
    text,
)
from edge.errors import BundleError

MODEL_VERSION, MODEL_DESCRIPTION, MODEL_PROGRAM = 1, 2, 502
DESCRIPTION_INPUT, DESCRIPTION_OUTPUT, DESCRIPTION_METADATA = 1, 10, 100
DESCRIPTION_FUNCTIONS, DESCRIPTION_DEFAULT = 20, 21
FUNCTION_NAME, FUNCTION_INPUT, FUNCTION_OUTPUT = 1, 2, 3
PROGRAM_VERSION, PROGRAM_FUNCTIONS = 1, 2
METADATA_USER_DEFINED = 100
KEY, VALUE = 1, 2
BLOB_FILE, BLOB_OFFSET = 1, 2
VALUE_TYPE, VALUE_BLOB = 2, 5
WEIGHTS = b"@model_path/weights/weight.bin"
SINGLE = "main"
"""What the function of a package with one function is called."""

CHILDREN: dict[str, dict[int, str]] = {
    "Function": {3: "BlockEntry"},
    "BlockEntry": {VALUE: "Block"},
    "Block": {3: "Operation"},
    "Operation": {2: "ArgumentEntry", 4: "Block", 5: "ValueEntry"},
    "ArgumentEntry": {VALUE: "Argument"},
    "Argument": {1: "Binding"},
    "Binding": {2: "Value"},
    "ValueEntry": {VALUE: "Value"},
}
"""MIL message → the fields through which a value in weight.bin can be reached, and their messages."""
MAX_DEPTH = 40
"""Messages inside messages; programs of ours have eleven."""

ARRAY_TYPES = {65568: "float32", 65552: "float16", 131080: "int8", 131104: "int32"}
COLOURS = {10: "GRAYSCALE", 20: "RGB", 30: "BGR"}
TENSOR_TYPES = {10: "float16", 11: "float32", 21: "int8", 31: "uint8", 23: "int32"}
"""MIL's DataType → NumPy's name."""


@dataclass(frozen=True)
class Feature:
    """One input or output of a function."""

    name: str
    kind: str
    """"float32", "float16", "int8", "int32" for an array; "RGB", … for an image."""
    shape: tuple[int, ...]
    """Of an image: (height, width)."""


@dataclass(frozen=True)
class Function:
    """One function of a model file."""

    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    body: bytes = field(repr=False)
    """MIL's Function message."""
    interface: tuple[Field, ...] = field(repr=False)
    """The fields of its FunctionDescription, but for the name."""


@dataclass(frozen=True)
class ModelFile:
    """A model.mlmodel of type mlProgram."""

    version: int
    """The specification version: 7 from iOS 16 on, 8: 17, 9: 18, 10: 26."""
    functions: Mapping[str, Function]
    default_function: str
    metadata: bytes = field(repr=False)
    """The Metadata message."""

    @property
    def user_metadata(self) -> dict[str, str]:
        """Return the user-defined metadata."""
        entries = map(parse, children(parse(self.metadata), METADATA_USER_DEFINED))
        return {decoded(child(entry, KEY)): decoded(child(entry, VALUE)) for entry in entries}


@dataclass(frozen=True)
class Constant:
    """A reference of a program to weight.bin."""

    offset: int
    dtype: str
    shape: tuple[int, ...]


def read_model(data: bytes) -> ModelFile:
    """Return what a model.mlmodel holds; a BundleError for anything but a sound mlProgram."""
    model = parse(data)
    description = parse(child(model, MODEL_DESCRIPTION))
    bodies = {
        decoded(child(entry, KEY)): child(entry, VALUE)
        for entry in map(parse, children(parse(child(model, MODEL_PROGRAM)), PROGRAM_FUNCTIONS))
    }
    interfaces = _interfaces(description)
    if not bodies or set(bodies) != set(interfaces):
        raise BundleError(
            f"a model file describes the functions {', '.join(sorted(interfaces)) or 'none'} and holds "
            f"{', '.join(sorted(bodies)) or 'none'}; copy the bundle again"
        )
    functions = {}
    for name, interface in interfaces.items():
        inputs, outputs = (tuple(map(_feature, children(interface, n))) for n in (FUNCTION_INPUT, FUNCTION_OUTPUT))
        functions[name] = Function(inputs, outputs, bodies[name], tuple(interface))
    return ModelFile(
        integer(model, MODEL_VERSION),
        functions,
        decoded(child(description, DESCRIPTION_DEFAULT)) or SINGLE,
        child(description, DESCRIPTION_METADATA),
    )


def write_multifunction(model: ModelFile) -> bytes:
    """Return a model.mlmodel as coremltools writes it (deterministically: maps are sorted)."""
    described = [
        message(DESCRIPTION_FUNCTIONS, [text(FUNCTION_NAME, name), *function.interface])
        for name, function in model.functions.items()
    ]
    bodies = [
        message(PROGRAM_FUNCTIONS, [text(KEY, name), Field(VALUE, BYTES, model.functions[name].body)])
        for name in sorted(model.functions, key=map_order)
    ]
    return serialise(
        [
            Field(MODEL_VERSION, VARINT, model.version),
            message(
                MODEL_DESCRIPTION,
                [
                    *described,
                    text(DESCRIPTION_DEFAULT, model.default_function),
                    Field(DESCRIPTION_METADATA, BYTES, model.metadata),
                ],
            ),
            message(MODEL_PROGRAM, [Field(PROGRAM_VERSION, VARINT, 1), *bodies]),
        ]
    )


def constants(function: bytes) -> list[Constant]:
    """Return every reference of a MIL function to weight.bin, in the order of the file."""
    found: list[Constant] = []

    def note(value: list[Field]) -> list[Field]:
        found.append(_constant(value))
        return value

    _each_value(function, "Function", note)
    return found


def with_offsets(function: bytes, offsets: Mapping[int, int]) -> bytes:
    """Return a MIL function whose references to weight.bin point elsewhere: old offset → new offset."""

    def move(value: list[Field]) -> list[Field]:
        return [_moved(part, offsets) if part.number == VALUE_BLOB else part for part in value]

    return _each_value(function, "Function", move)


def with_user_metadata(data: bytes, values: Mapping[str, str]) -> bytes:
    """Return a model.mlmodel with entries added to its user-defined metadata, or replaced; nothing else changes."""

    model = parse(data)
    description = parse(child(model, MODEL_DESCRIPTION))
    metadata = parse(child(description, DESCRIPTION_METADATA))
    entries = {decoded(child(parse(entry), KEY)): entry for entry in children(metadata, METADATA_USER_DEFINED)}
    entries |= {key: serialise([text(KEY, key), text(VALUE, value)]) for key, value in values.items()}
    changed = [
        *(part for part in metadata if part.number != METADATA_USER_DEFINED),
        *(Field(METADATA_USER_DEFINED, BYTES, entries[key]) for key in sorted(entries, key=map_order)),
    ]
    others = (part for part in description if part.number != DESCRIPTION_METADATA)
    described = message(MODEL_DESCRIPTION, [*others, message(DESCRIPTION_METADATA, changed)])
    return serialise(described if part.number == MODEL_DESCRIPTION else part for part in model)


def _interfaces(description: Sequence[Field]) -> dict[str, list[Field]]:
    """Return each function's description without its name, its fields numbered as in FunctionDescription."""
    listed = [parse(entry) for entry in children(description, DESCRIPTION_FUNCTIONS)]
    if listed:
        return {
            decoded(child(entry, FUNCTION_NAME)): [part for part in entry if part.number != FUNCTION_NAME]
            for entry in listed
        }
    numbers = {DESCRIPTION_INPUT: FUNCTION_INPUT, DESCRIPTION_OUTPUT: FUNCTION_OUTPUT}
    return {
        SINGLE: [Field(numbers[part.number], part.kind, part.value) for part in description if part.number in numbers]
    }


def _feature(data: bytes) -> Feature:
    fields = parse(data)
    kind = parse(child(fields, 3))
    name, array, image = decoded(child(fields, 1)), child(kind, 5), child(kind, 4)
    if image:
        picture = parse(image)
        colour = integer(picture, 3)
        return Feature(name, COLOURS.get(colour, f"colour {colour}"), (integer(picture, 2), integer(picture, 1)))
    layout = parse(array)
    number = integer(layout, 2)
    return Feature(name, ARRAY_TYPES.get(number, f"type {number}"), tuple(integers(layout, 1)))


def _constant(value: Sequence[Field]) -> Constant:
    tensor = parse(child(parse(child(value, VALUE_TYPE)), 1))
    shape = tuple(integer(parse(child(parse(size), 1)), 1) for size in children(tensor, 3))
    number = integer(tensor, 1)
    blob = parse(child(value, VALUE_BLOB))
    if child(blob, BLOB_FILE) != WEIGHTS:
        raise BundleError(f"a model file refers to {child(blob, BLOB_FILE)[:80]!r}, not to {WEIGHTS.decode()}")
    return Constant(integer(blob, BLOB_OFFSET), TENSOR_TYPES.get(number, f"type {number}"), shape)


def _moved(blob: Field, offsets: Mapping[int, int]) -> Field:
    assert isinstance(blob.value, bytes)
    fields = parse(blob.value)
    offset = offsets[integer(fields, BLOB_OFFSET)]
    return message(
        blob.number,
        [Field(BLOB_OFFSET, VARINT, offset) if part.number == BLOB_OFFSET else part for part in fields],
    )


def _each_value(data: bytes, kind: str, change: Callable[[list[Field]], list[Field]], depth: int = 0) -> bytes:
    """Return a message with every Value that lies in weight.bin replaced by what `change` makes of it."""
    if depth > MAX_DEPTH:
        raise BundleError(f"a model file nests messages more than {MAX_DEPTH} deep; copy the bundle again")
    fields = parse(data)
    if kind == "Value":
        return serialise(change(fields)) if children(fields, VALUE_BLOB) else data
    below = CHILDREN[kind]
    changed = []
    for part in fields:
        # Most of a program refers to nothing; what does names the file.
        if isinstance(part.value, bytes) and part.number in below and WEIGHTS in part.value:
            part = Field(part.number, part.kind, _each_value(part.value, below[part.number], change, depth + 1))
        changed.append(part)
    return serialise(changed)
