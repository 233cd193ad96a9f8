"""Nested LiteRT files from memory: what the app hands to Android's interpreter, which first verifies the flatbuffer.

Android's library is not here, but the desktop's `CompiledModel` asks the same verifier for what it is given in memory.
"""

import struct
from pathlib import Path

import pytest
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.interpreter import Interpreter

from edge.bundle.reader import open_bundle

NOWHERE = 0x7FFFFFFF


def with_root(content: bytes, root: int) -> bytes:
    """Return the file as `liteRtProgram` gives it to a runtime: with another root in its first four bytes."""
    return struct.pack("<I", root) + content[4:]


@pytest.fixture(scope="module")
def roots(golden: Path) -> tuple[bytes, dict[str, int]]:
    """Return the golden nested file and the root of each of its programs."""
    artifact = open_bundle(golden / "bundle").manifest.artifacts[0]
    content = (golden / "bundle" / artifact.file).read_bytes()
    return content, {program.name: program.root_offset or 0 for program in artifact.programs}


def test_every_root_is_a_model_of_its_own_that_passes_the_verifier(roots: tuple[bytes, dict[str, int]]) -> None:
    content, programs = roots
    found = {
        name: list(CompiledModel.from_buffer(with_root(content, root)).get_signature_list())
        for name, root in programs.items()
    }
    assert found == {name: [name] for name in programs}


def test_the_verifier_is_asked(roots: tuple[bytes, dict[str, int]]) -> None:
    with pytest.raises(RuntimeError, match="Invalid flatbuffer"):
        CompiledModel.from_buffer(with_root(roots[0], NOWHERE))


def test_the_interpreter_runs_every_root_from_memory(roots: tuple[bytes, dict[str, int]]) -> None:
    content, programs = roots
    for name, root in programs.items():
        interpreter = Interpreter(model_content=with_root(content, root))
        interpreter.allocate_tensors()
        interpreter.invoke()
        assert list(interpreter.get_signature_list()) == [name]
