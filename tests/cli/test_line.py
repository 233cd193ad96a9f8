"""The whole line from a checkpoint to answers, of networks with their gate beside the trunk or without a gate."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edge import cli
from edge.bundle.reader import open_bundle
from train import StageSpec, SupernetSpec
from train.data import write_digits

Run = Callable[..., tuple[int, str, str]]
SPEC = SupernetSpec(
    "small_v2", 32, 10, StageSpec((8, 16), 1, 2), (StageSpec((8, 16), 2, 2, expansion=2),), gates=(),
    activation="relu6", family="mobilenet_v2", head=StageSpec((32,), 1, 1, kernel=1),
)  # fmt: skip


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(word) for word in words])
        captured = capfd.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an untrained gate-less network and real images of digits."""
    folder = tmp_path_factory.mktemp("line")
    (folder / "spec.json").write_text(SPEC.to_json())
    write_digits(folder / "digits")
    with pytest.raises(SystemExit):
        cli.main(["init", "--spec", str(folder / "spec.json"), "--out", str(folder / "net.safetensors")])
    return folder


def measured(run: Run, checkpoint: Path, images: Path) -> tuple[Path, list[list[str]]]:
    """Convert, verify, profile and predict; return the bundle and the program chains that were timed."""
    bundle = checkpoint.with_suffix("")
    for words in (
        ("convert", checkpoint, "--data", images, "--precision", "int8", "--out", bundle),
        ("verify", bundle),
        ("inspect", bundle),
        ("profile", bundle, "--min-runs", 10, "--max-runs", 10, "--out", bundle.with_suffix(".json")),
        ("predict", bundle, "--data", images, "--out", bundle.with_suffix(".npz")),
    ):
        status, _, err = run(*words)
        assert status == 0, err
    (table,) = json.loads(bundle.with_suffix(".json").read_text())["runs"]
    return bundle, [entry["programs"] for entry in table["entries"]]


def test_a_network_with_a_side_gate_is_calibrated_and_routes_images(run: Run, workplace: Path) -> None:
    gated, images = workplace / "gated.safetensors", workplace / "digits" / "calibration"
    status, _, err = run(
        "train", "gate", "--checkpoint", workplace / "net.safetensors", "--data", workplace / "digits",
        "--epochs", 1, "--batch-size", 64, "--out", gated,
    )  # fmt: skip
    assert status == 0, err
    bundle, timed = measured(run, gated, images)
    assert timed == [["gate"], ["net_00"], ["net_01"], ["gate", "net_00"], ["gate", "net_01"]]
    given = ("--latency", bundle.with_suffix(".json"), "--predictions", bundle.with_suffix(".npz"))
    status, _, err = run("calibrate", bundle, *given, "--budget", "1000ms", "--name", "easy")
    assert status == 0, err
    picture = next((images / "3").glob("*.png"))
    status, out, err = run("run", bundle, picture, "--operating-point", "easy", "--json")
    assert status == 0, err
    (answer,) = json.loads(out)["images"]
    assert answer["width"] in (0, 1)
    for options in ((), ("--as", "monolithic")):
        status, _, err = run("hydrate", bundle, "--widths", 1, *options, "--out", workplace / "one.tflite")
        assert status == 0, err


def test_a_network_without_a_gate_runs_at_the_width_asked_for_and_has_nothing_to_calibrate(
    run: Run, workplace: Path
) -> None:
    images = workplace / "digits" / "calibration"
    bundle, timed = measured(run, workplace / "net.safetensors", images)
    assert timed == [["net_00"], ["net_01"]]
    assert open_bundle(bundle).manifest.gates == []
    given = ("--latency", bundle.with_suffix(".json"), "--predictions", bundle.with_suffix(".npz"))
    status, _, err = run("calibrate", bundle, *given, "--budget", "5ms")
    assert (status, len(err.splitlines())) == (2, 1), err
    assert "no gate logits, so there is nothing to choose by; valid here: --policy cascade" in err
    status, out, err = run("run", bundle, next((images / "3").glob("*.png")), "--width", 1, "--json")
    assert status == 0, err
    assert [answer["width"] for answer in json.loads(out)["images"]] == [1]
