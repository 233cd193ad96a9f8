"""Files whose numbers lie are refused before a runtime, which checks none of them, opens them."""

from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edge import BundleError
from edge.bundle.litert.flatbuffer import GraphFile, read
from edge.bundle.litert.hydrate import hydrate
from edge.bundle.litert.soundness import check_sound
from edge.runtime import LiteRtSession
from tests.bundle.litert.golden_file import (
    TAIL,
    Change,
    artifact,
    changed,
    constant,
    content,
    nested,
    with_block_columns,
    with_block_rows,
)


def tensor(number: int, **fields: Any) -> Change:
    """Return the change of some fields of one tensor of TAIL."""
    return lambda file: vars(file.program(TAIL).graph.tensors[number]).update(fields)


def operator(number: int, **fields: Any) -> Change:
    """Return the change of some fields of one operator of TAIL."""
    return lambda file: vars(file.program(TAIL).graph.operators[number]).update(fields)


def graph(**fields: Any) -> Change:
    """Return the change of some fields of TAIL's subgraph."""
    return lambda file: vars(file.program(TAIL).graph).update(fields)


def sparsity(**fields: Any) -> Change:
    """Return the change of some fields of the nested weight's sparsity table."""
    return lambda file: vars(nested(file).sparsity).update(fields)


def dimension(number: int, **fields: Any) -> Change:
    """Return the change of some fields of one dimension of the nested weight's sparsity table."""
    return lambda file: vars(nested(file).sparsity.dimMetadata[number]).update(fields)


def vector(number: int, side: str, values: list[int]) -> Change:
    """Return the change of one index vector of the nested weight, to int32 numbers."""

    def change(file: GraphFile) -> None:
        made = schema.Int32VectorT()
        made.values = np.array(values, np.int32)
        kind = schema.SparseIndexVector.Int32Vector
        dimension(number, **{side: made, f"{side}Type": kind})(file)

    return change


def shortened(find: Any) -> Change:
    """Return the change that takes the last byte of a tensor's constant."""

    def change(file: GraphFile) -> None:
        index = find(file).buffer
        file.constants.data[index] = file.constants.data[index][:-1]

    return change


def ints(*numbers: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.array(numbers, np.int32)


DENSE, INT8, STRING = schema.DimensionType.DENSE, schema.TensorType.INT8, schema.TensorType.STRING
LIES: dict[str, tuple[Change, str]] = {
    "block row outside": (with_block_rows([0, 1, 2, 0, 1, 200]), "tensor 4: nested index vectors .* point outside"),
    "block row below zero": (vector(0, "arrayIndices", [0, 1, 2, 0, 1, -1]), "tensor 4: nested .* point outside"),
    "block column outside": (with_block_columns([0, 0, 0, 1, 1, 200]), "tensor 4: nested .* point outside"),
    "block twice": (with_block_columns([0, 0, 0, 1, 1, 0]), "tensor 4: nested .* or at one block twice"),
    "block missing": (with_block_columns([0, 0, 0, 1, 1]), "tensor 4: nested .* do not name the 6 blocks"),
    "rows from the second on": (vector(0, "arraySegments", [1, 6]), "tensor 4: nested .* do not name"),
    "endless rows": (vector(0, "arraySegments", [0, 2**31 - 1]), "tensor 4: nested .* do not name"),
    "endless columns": (vector(1, "arraySegments", [0, 1, 2, 3, 4, 5, 2**31 - 1]), "tensor 4: nested .* do not name"),
    "columns backwards": (vector(1, "arraySegments", [0, 5, 2, 3, 4, 5, 6]), "tensor 4: nested .* do not name"),
    "dense rows": (dimension(0, format=DENSE), "tensor 4: a nested weight needs compressed"),
    "compressed taps": (dimension(2, format=schema.DimensionType.SPARSE_CSR), "tensor 4: nested blocks .* do not fit"),
    "zero block": (dimension(5, denseSize=0), "tensor 4: nested blocks .* do not fit"),
    "block that does not divide": (dimension(5, denseSize=7), "tensor 4: nested blocks .* do not fit"),
    "no block map": (sparsity(blockMap=None), "tensor 4: a sparse tensor with traversal order"),
    "other block map": (sparsity(blockMap=ints(0, 9)), "tensor 4: a sparse tensor with .* block map .*9"),
    "other traversal": (sparsity(traversalOrder=ints(0, 1, 2, 3, 4, 5)), "tensor 4: a sparse tensor with traversal"),
    "nested weight too short": (shortened(nested), "tensor 4: .* needs 192 values; its buffer has 191"),
    "constant too short": (shortened(constant), "tensor 1: needs 128 bytes; its constant has 127"),
    "absurd shape": (tensor(10, shape=ints(1, 2_000_000_000)), r"tensor 10: shape \[1, 2000000000\]; sizes start at 1"),
    "shape that wraps around": (tensor(9, shape=ints(*[1 << 16] * 4)), "tensor 9: shape"),
    "size below one": (tensor(9, shape=ints(-1, 3)), r"tensor 9: shape \[-1, 3\]"),
    "too many dimensions": (tensor(9, shape=ints(*[1] * 9)), "tensor 9: 9 dimensions; the limit is 8"),
    "type without a size": (tensor(9, type=STRING), "tensor 9: type 5; programs hold types"),
    "nested weight of another type": (tensor(4, type=schema.TensorType.FLOAT32), "tensor 4: a nested weight of type"),
    "scales for another shape": (tensor(6, shape=ints(2)), "tensor 6: 3 scales along dimension 0 do not fit"),
    "operator of a missing input": (operator(0, inputs=ints(0, 99, 2)), "operator 0: tensor 99; the program has 11"),
    "operator of an input below none": (operator(0, inputs=ints(0, -2, 2)), "operator 0: tensor -2"),
    "operator of a missing output": (operator(0, outputs=ints(-1)), "operator 0: tensor -1"),
    "operator of a missing scratch": (operator(0, intermediates=ints(11)), "operator 0: tensor 11"),
    "operator that writes to a constant": (operator(0, outputs=ints(1)), "operator 0: tensor 1 is written to"),
    "operator that reads what nothing gave": (operator(0, inputs=ints(10, 1, 2)), "operator 0: tensor 10 is read, but"),
    "DENSIFY of a dense weight": (operator(1, inputs=ints(1)), "operator 1: DENSIFY must make a nested weight"),
    "DENSIFY to a smaller weight": (tensor(5, shape=ints(3, 2, 2, 8)), "operator 1: DENSIFY must make"),
    "DENSIFY of nothing": (operator(1, inputs=ints(-1)), "operator 1: DENSIFY takes one tensor"),
    "constant as an input": (graph(inputs=ints(1)), "inputs: tensor 1 is written to, but is a constant"),
    "missing output": (graph(outputs=ints(77)), "outputs: tensor 77; the program has 11"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_session_refuses_the_file_in_one_line_before_the_runtime_opens_it(lie: str) -> None:
    change, message = LIES[lie]
    data, roots = changed(change)
    programs = [p.model_copy(update={"root_offset": roots[p.name]}) for p in artifact().programs]
    with pytest.raises(
        BundleError, match=rf"litert/model\.tflite, opened for {TAIL}: program {TAIL}: {message}"
    ) as error:
        LiteRtSession(data, artifact().model_copy(update={"programs": programs}), [TAIL])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("lie", LIES)
def test_a_session_looks_at_every_program_of_a_file_that_it_opens_whole(lie: str) -> None:
    change, message = LIES[lie]
    programs = [p.model_copy(update={"root_offset": None}) for p in artifact().programs]
    with pytest.raises(BundleError, match=rf"opened for prefix: program {TAIL}: {message}"):
        LiteRtSession(changed(change)[0], artifact().model_copy(update={"programs": programs}), ["prefix"])


@pytest.mark.parametrize("lie", LIES)
def test_hydration_refuses_the_file(lie: str) -> None:
    change, message = LIES[lie]
    with pytest.raises(BundleError, match=rf"program {TAIL}: {message}"):
        hydrate(changed(change)[0], [TAIL])


def test_the_golden_file_is_sound() -> None:
    check_sound(read(content()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (operator(0, opcodeIndex=99), "operator 0: operator code 99; the file has 5"),
        (tensor(3, buffer=4000), "tensor 3: constant 4000; the file has"),
        (sparsity(dimMetadata=None), "parts do not hold together: TypeError"),
        (graph(tensors=None), "parts do not hold together: TypeError"),
    ],
)
def test_numbers_and_tables_that_the_file_lacks_are_refused(change: Change, message: str) -> None:
    file = read(content())
    change(file)
    with pytest.raises(BundleError, match=message):
        check_sound(file)


def test_nested_weights_that_expand_without_end_are_refused() -> None:
    """One stored weight may be named by any number of tensors, and each costs the runtime its expansion."""
    file, elements = read(content()), 1 << 22
    weight = nested(file)
    weight.shape, weight.sparsity.traversalOrder, weight.sparsity.blockMap = (
        ints(1, 1, 1, elements),
        ints(3, 0, 1, 2),
        None,
    )
    sizes = (elements, 1, 1, 1)
    weight.sparsity.dimMetadata = [schema.DimensionMetadataT(denseSize=size) for size in sizes]
    weight.quantization = None
    file.constants.data[weight.buffer] = np.zeros(elements, np.uint8)
    file.program(TAIL).graph.tensors += [weight] * 64
    with pytest.raises(BundleError, match=rf"program {TAIL}: its nested weights have 272629760 elements in all"):
        check_sound(file)


def repacked(change: Any) -> bytes:
    """Return the golden file's tables after a change of the whole model."""
    model = schema.ModelT.InitFromPackedBuf(content())
    change(model)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output()) + bytes(len(content()))


def metadata(buffer: int) -> Any:
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"min_runtime_version", buffer
    return entry


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: vars(model).update(signatureDefs=None), "has no signatures, so it names no programs"),
        (lambda model: vars(model).update(signatureDefs=model.signatureDefs[1:]), "do not name its 3 subgraphs"),
        (lambda model: vars(model.signatureDefs[1]).update(subgraphIndex=0), "do not name its 3 subgraphs"),
        (lambda model: vars(model.signatureDefs[1]).update(subgraphIndex=3), "do not name its 3 subgraphs"),
        (lambda model: vars(model.signatureDefs[1]).update(signatureKey=b"prefix"), "do not name its 3 subgraphs"),
        (lambda model: vars(model.signatureDefs[1]).update(signatureKey=b"a\nb"), "printable"),
        (
            lambda model: vars(model.signatureDefs[1].inputs[0]).update(tensorIndex=99),
            "tail_00: its signature does not",
        ),
        (lambda model: vars(model.signatureDefs[0].outputs[1]).update(name=b"features"), "prefix: its signature does"),
        (lambda model: vars(model).update(metadata=[metadata(999)]), "metadata 0 of this LiteRT file lies in none"),
        (lambda model: vars(model.buffers[1]).update(data=np.ones(4, np.uint8)), "lies inside this flatbuffer and at"),
    ],
)
def test_a_file_that_hides_parts_from_its_signatures_is_not_read(change: Any, message: str) -> None:
    with pytest.raises(BundleError, match=message) as error:
        read(repacked(change))
    assert "\n" not in str(error.value)


MODEL_VECTORS = {"operator codes": 6, "subgraphs": 8, "buffers": 12, "signatures": 18}
"""Where each vector's field stands in the model's vtable, in bytes."""


@pytest.mark.parametrize("vector_name", MODEL_VECTORS)
def test_a_list_that_claims_billions_of_entries_is_refused_before_anything_of_that_length_is_made(
    vector_name: str,
) -> None:
    data = bytearray(content())
    table = schema.Model.GetRootAs(data)._tab
    length_at = table.Vector(table.Offset(MODEL_VECTORS[vector_name])) - 4
    data[length_at : length_at + 4] = (0xFFFF_FFF0).to_bytes(4, "little")
    with pytest.raises(BundleError) as error:
        read(bytes(data))
    assert "\n" not in str(error.value)


def test_a_repacked_file_is_read_when_nothing_is_changed() -> None:
    assert [program.name for program in read(repacked(vars)).programs] == ["prefix", "tail_00", "tail_01"]
