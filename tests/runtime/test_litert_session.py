import os

import numpy as np
import pytest

from edge.bundle.manifest import Artifact
from edge.errors import BundleError
from edge.runtime import LiteRtSession
from tests.runtime import golden

PROGRAMS = ["prefix", "tail_00", "tail_01"]


def with_root(program: str, root_offset: int | None) -> Artifact:
    """The golden artifact with another root offset for one program."""
    programs = [
        item.model_copy(update={"root_offset": root_offset}) if item.name == program else item
        for item in golden.artifact().programs
    ]
    return golden.artifact().model_copy(update={"programs": programs})


@pytest.mark.parametrize("threads", [1, 2])
def test_every_program_answers_as_the_golden_file_says(threads: int) -> None:
    session = LiteRtSession(golden.content(), golden.artifact(), PROGRAMS, threads)
    for number in range(len(golden.ANSWERS)):
        prefix = session.run("prefix", {"image": golden.image(number)})
        tails = {name: session.run(name, {"features": prefix["features"]})["logits"] for name in PROGRAMS[1:]}
        assert prefix["features"].dtype == np.int8
        for name, found in {**prefix, **tails}.items():
            off = np.abs(found.astype(float) - golden.answer(number, name, found).astype(float)).max()
            assert off == 0, f"image {number}, {name}: off by up to {off}"


def test_programs_opened_together_answer_like_programs_opened_alone() -> None:
    """Each root is put into the same file in turn: opening the next must not change those open already."""
    features = golden.answer(0, "features", np.zeros((1, 2, 2, 8), np.int8))
    together = LiteRtSession(golden.content(), golden.artifact(), PROGRAMS)
    for name in PROGRAMS[1:]:
        alone = LiteRtSession(golden.content(), golden.artifact(), [name])
        expected, found = (session.run(name, {"features": features})["logits"] for session in (alone, together))
        assert np.abs(expected - found).max() == 0, f"{name}: {expected} alone, {found} together"


def test_only_the_programs_asked_for_are_resident() -> None:
    session = LiteRtSession(golden.content(), golden.artifact(), ["tail_01"])
    assert session.programs == ("tail_01",)
    with pytest.raises(BundleError, match="prefix is not resident; this session opened tail_01"):
        session.run("prefix", {"image": golden.image(0)})


def test_a_file_without_further_roots_answers_the_same() -> None:
    whole = with_root("tail_01", None)
    features = golden.answer(0, "features", np.zeros((1, 2, 2, 8), np.int8))
    found = LiteRtSession(golden.content(), whole, ["tail_01"]).run("tail_01", {"features": features})["logits"]
    assert np.abs(found - golden.answer(0, "tail_01", found)).max() == 0, found


def test_opening_is_silent_and_stderr_works_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    LiteRtSession(golden.content(), golden.artifact(), PROGRAMS)
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"


def test_outputs_are_copies() -> None:
    session = LiteRtSession(golden.content(), golden.artifact(), ["prefix"])
    first = session.run("prefix", {"image": golden.image(0)})["features"]
    kept = first.copy()
    session.run("prefix", {"image": golden.image(1)})
    assert np.array_equal(first, kept), f"{(first != kept).sum()} values changed"


def test_the_runtime_names_itself() -> None:
    version = LiteRtSession(golden.content(), golden.artifact(), ["prefix"]).runtime_version
    assert version.startswith(("ai-edge-litert ", "tflite-runtime ")), version


def test_an_unknown_program_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(BundleError, match=r"no program tail_07 .*; choose from prefix, tail_00, tail_01"):
        LiteRtSession(golden.content(), golden.artifact(), ["tail_07"])


def test_a_root_offset_outside_the_file_is_refused() -> None:
    with pytest.raises(BundleError, match="root_offset 999999 of prefix lies outside its file"):
        LiteRtSession(golden.content(), with_root("prefix", 999_999), ["prefix"])


@pytest.mark.parametrize("root", [5, 1000, 3000])
def test_a_root_offset_at_no_root_is_refused(root: int) -> None:
    with pytest.raises(BundleError, match=r"litert/model\.tflite, opened for prefix: ") as error:
        LiteRtSession(golden.content(), with_root("prefix", root), ["prefix"])
    assert "\n" not in str(error.value)


def test_a_program_without_a_root_is_opened_after_one_with_a_root() -> None:
    """The whole file must be seen again, not the root put there for the program before."""
    features = golden.answer(0, "features", np.zeros((1, 2, 2, 8), np.int8))
    session = LiteRtSession(golden.content(), with_root("tail_01", None), ["tail_00", "tail_01"])
    found = session.run("tail_01", {"features": features})["logits"]
    assert np.abs(found - golden.answer(0, "tail_01", found)).max() == 0, found


def test_the_root_of_another_program_is_refused() -> None:
    roots = {program.name: program.root_offset for program in golden.artifact().programs}
    with pytest.raises(BundleError, match="no signature prefix, only tail_00"):
        LiteRtSession(golden.content(), with_root("prefix", roots["tail_00"]), ["prefix"])


def test_a_manifest_that_describes_other_tensors_is_refused() -> None:
    prefix = golden.artifact().programs[0]
    wider = prefix.outputs[1].model_copy(update={"shape": [1, 4]})
    changed = prefix.model_copy(update={"outputs": [prefix.outputs[0], wider]})
    with pytest.raises(BundleError, match=r"outputs of prefix are .*\(1, 2\).* in the file and .*\(1, 4\)"):
        LiteRtSession(golden.content(), golden.artifact().model_copy(update={"programs": [changed]}), ["prefix"])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "prefix takes image; given: nothing"),
        ({"picture": golden.image(0)}, "prefix takes image; given: picture"),
        ({"image": golden.image(0)[0]}, r"image of prefix must be float32 \[1, 8, 8, 3\], not float32 \[8, 8, 3\]"),
        ({"image": golden.image(0).astype(np.int8)}, "must be float32 .* not int8"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_in_one_line(inputs: dict[str, np.ndarray], message: str) -> None:
    session = LiteRtSession(golden.content(), golden.artifact(), ["prefix"])
    with pytest.raises(BundleError, match=message) as error:
        session.run("prefix", inputs)
    assert "\n" not in str(error.value)
