"""A program on slices of the store gives what its plain file gives, bit for bit."""

from pathlib import Path

import pytest

from edge.bundle.reader import Bundle, open_bundle
from tests.native.conversation import Command, answers, images, load, load_plain
from tests.native.data import NETWORKS

TAILS = ("tail_00", "tail_01")


WAYS = (
    *(("first", ("prefix", tail)) for tail in TAILS),
    *(("kernels", ("prefix", tail)) for tail in TAILS),
    ("two_gates", ("prefix", "stage_1_00", "tail_00_01")),
    ("two_gates", ("prefix", "stage_1_01", "tail_01_00")),
)
"""Networks, and what their images pass through in a row."""


def outputs_of(
    runner: Command, bundle: Bundle, way: tuple[str, ...], precision: str, folder: Path, *options: str
) -> dict[str, bytes]:
    """Run programs in a row from the store, then from plain files; returns every unit's outputs."""
    images(bundle, 1).tofile(folder / "image")
    plain = [f"plain_{name}" for name in way]
    answers(
        runner,
        [
            *(load(bundle, name, precision) for name in way),
            *(load_plain(bundle, name, folder, precision) for name in way),
            {"do": "image", "file": str(folder / "image")},
            # Twice in a row: what the first run leaves behind must not change the second.
            {"do": "block", "units": way, "runs": 2},
            {"do": "block", "units": plain, "runs": 2},
            *({"do": "outputs", "unit": unit, "to": str(folder / unit)} for unit in (*way, *plain)),
        ],
        *options,
    )
    return {unit: (folder / unit).read_bytes() for unit in (*way, *plain)}


@pytest.mark.parametrize(("network", "way"), WAYS)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("options", [(), ("--threads", "2"), ("--weight-cache",)])
def test_slices_and_plain_files_give_equal_bytes(
    runner: Command, network: str, way: tuple[str, ...], precision: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    outputs = outputs_of(runner, open_bundle(NETWORKS / network), way, precision, tmp_path, *options)
    for name in way:
        assert outputs[name] == outputs[f"plain_{name}"], name
        assert any(outputs[name]), name


def test_widths_and_images_make_a_difference(runner: Command, first: Bundle, tmp_path: Path) -> None:
    images(first, 1, seed=1).tofile(tmp_path / "other")
    written = ("narrow", "wide", "other")
    answers(
        runner,
        [
            *(load(first, name) for name in ("prefix", *TAILS)),
            {"do": "block", "units": ["prefix", "tail_00"], "runs": 1},
            {"do": "outputs", "unit": "tail_00", "to": str(tmp_path / written[0])},
            {"do": "block", "units": ["prefix", "tail_01"], "runs": 1},
            {"do": "outputs", "unit": "tail_01", "to": str(tmp_path / written[1])},
            {"do": "image", "file": str(tmp_path / "other")},
            {"do": "block", "units": ["prefix", "tail_01"], "runs": 1},
            {"do": "outputs", "unit": "tail_01", "to": str(tmp_path / written[2])},
        ],
    )
    assert len({(tmp_path / name).read_bytes() for name in written}) == 3


def test_the_features_of_int8_programs_are_int8_on_both_sides(runner: Command, first: Bundle) -> None:
    prefix, tail = answers(runner, [load(first, name, "int8") for name in ("prefix", "tail_01")])
    assert prefix["outputs"][0]["dtype"] == "int8"
    assert tail["inputs"] == [prefix["outputs"][0]]


def test_without_an_image_every_process_runs_on_the_same_noise(runner: Command, first: Bundle, tmp_path: Path) -> None:
    for name in ("one", "two"):
        answers(
            runner,
            [
                load(first, "prefix"),
                {"do": "block", "units": ["prefix"], "runs": 1},
                {"do": "outputs", "unit": "prefix", "to": str(tmp_path / name)},
            ],
        )
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_whole_unscaled_slices_are_not_copied(runner: Command, first: Bundle) -> None:
    narrow, wide, plain = answers(
        runner,
        [load(first, "prefix"), load(first, "tail_01", unit="wide"), load(first, "tail_00", unit="narrow")],
    )
    assert all(answer["copied_bytes"] > 0 and answer["zero_copy"] > 0 for answer in (narrow, wide, plain))
