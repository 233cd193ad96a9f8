"""`dsnet convert` and `dsnet hydrate` as users call them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.bundle.reader import open_bundle
from edge.cli import main
from tests.convert.supernets import trained_like
from train.checkpoint import save_checkpoint

CHECKPOINT = trained_like()


def dsnet(*words: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, a labelled and an unlabelled folder of images, and a bundle of widths 0 and 3 in int8."""
    root = tmp_path_factory.mktemp("convert")
    save_checkpoint(root / "net.safetensors", CHECKPOINT.spec, CHECKPOINT.tensors, {})
    generator = np.random.default_rng(0)
    for label in range(10):
        (root / "labelled" / str(label)).mkdir(parents=True)
        (root / "plain").mkdir(exist_ok=True)
        picture = Image.fromarray(generator.integers(0, 255, (40, 40, 3), np.uint8))
        picture.save(root / "labelled" / str(label) / "a.png")
        picture.convert("L").save(root / "plain" / f"{label}.png")
    (root / "labelled" / ".thumbs").mkdir()
    words = ("convert", root / "net.safetensors", "--data", root / "labelled", "--widths", "0,3", "--out", root / "b")
    assert dsnet(*words) == 0
    return root


def test_a_conversion_serves_the_widths_asked_for_and_measures_accuracy_on_labelled_images(folder: Path) -> None:
    artifact = open_bundle(folder / "b").artifact("litert", "int8")
    assert [program.name for program in artifact.programs] == ["prefix", "tail_00", "tail_03"]
    assert [(entry.width, entry.images) for entry in artifact.accuracy] == [(0, 10), (3, 10)]
    assert artifact.provenance["images"] == {"name": "labelled", "count": 10, "labelled": True}
    assert artifact.provenance["float_max_relative_difference"] <= 1e-4
    widths = open_bundle(folder / "b").manifest.widths
    assert widths[0].channels == [8, 16, 24, 32, 32, 64]


def test_a_second_precision_joins_the_bundle_and_keeps_its_own_provenance(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--data", folder / "plain", "--images", 4, "--precision", "wi8", "--precision", "wi8", "--json")
    assert dsnet("convert", folder / "net.safetensors", *words, "--widths", "3", "--out", folder / "b") == 0
    printed = json.loads(capsys.readouterr().out)
    assert [(item["runtime"], item["precision"]) for item in printed] == [("litert", "int8"), ("litert", "wi8")]
    assert printed[1]["provenance"]["images"] == {"name": "plain", "count": 4, "labelled": False}
    assert printed[1]["accuracy"] == []
    assert dsnet("verify", folder / "b") == 0


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--noise", "--widths", "0,4"], "widths [0, 4] are not ascending choices of 0…3"),
        (["--noise", "--widths", "wide"], "--widths 'wide' is not a list of widths; give all, or indices such as 0,3"),
        (["--noise", "--precision", "fp16"], "unknown precision fp16; valid for --precision with litert: int8, wi8"),
        (["--noise", "--frontend", "nope"], "unknown front end 'nope'; valid for --frontend: onnx2tf, litert-torch"),
        (
            ["--noise", "--runtime", "tflite"],
            "'tflite'; valid for --runtime: litert, executorch, coreml",
        ),
        ([], "name the images to calibrate on: either --data FOLDER or --noise"),
        (["--noise", "--classes", "three.txt"], "3 class names for a network of 10 classes; change --classes"),
        (["--noise", "--classes", "twice.txt"], "class 'a' is named twice"),
        (["--noise", "--classes", "binary.txt"], "is not a text file in UTF-8"),
        (["--noise", "--classes", "absent.txt"], "no file absent.txt for --classes"),
        (["--data", "absent"], "absent does not exist"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_costs_one_line_and_no_work(
    words: list[str], error: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    Path("three.txt").write_text("a\nb\nc\n")
    Path("twice.txt").write_text("a\n" * 10)
    Path("binary.txt").write_bytes(bytes(range(128, 256)))
    assert dsnet("convert", "net.safetensors", *words, "--out", "never") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert error in line
    assert not Path("never").exists()


def test_a_place_that_cannot_be_written_is_refused_before_the_images_are_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").write_text("not a folder")
    words = ("convert", folder / "net.safetensors", "--data", folder / "absent", "--out", folder / "file")
    assert dsnet(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be written" in line, line


def test_a_bundle_of_another_network_is_replaced_only_when_asked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = trained_like(seed=1)
    save_checkpoint(folder / "other.safetensors", other.spec, other.tensors, {})
    words = (
        "convert",
        folder / "other.safetensors",
        "--noise",
        "--widths",
        "0",
        "--precision",
        "wi8",
        "--out",
        folder / "c",
    )
    assert dsnet("convert", folder / "net.safetensors", "--noise", "--widths", "0", "--out", folder / "c") == 0
    capsys.readouterr()
    assert dsnet(*words) == 2
    assert "choose a new --out, or --replace it" in capsys.readouterr().err
    assert open_bundle(folder / "c").artifact("litert", "int8")
    assert dsnet(*words, "--replace") == 0
    assert [path.name for path in (folder / "c" / "litert").iterdir()] == ["model_wi8.tflite"]


def test_hydrate_writes_a_plain_file_for_a_width(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ai_edge_litert.interpreter import Interpreter

    options = ("--precision", "int8", "--widths", 3, "--json")
    assert dsnet("hydrate", folder / "b", *options, "--out", folder / "w3.tflite") == 0
    assert json.loads(capsys.readouterr().out)["widths"] == [3]
    interpreter = Interpreter(model_path=str(folder / "w3.tflite"))
    assert sorted(interpreter.get_signature_list()) == ["prefix", "tail_03"]
    assert dsnet("hydrate", folder / "b", *options, "--as", "monolithic", "--out", folder / "m3.tflite") == 0
    assert list(Interpreter(model_path=str(folder / "m3.tflite")).get_signature_list()) == ["net_03"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--widths", "2"], "width 2 is not in this artifact, which has 0, 3; change --widths"),
        (["--widths", "x"], "--widths 'x' is not a list of widths; give all, or indices such as 0,3"),
        (
            ["--widths", "0,3", "--as", "monolithic"],
            "--as monolithic makes one width of 2 a program; name it with --widths",
        ),
        (["--widths", "0", "--as", "pte"], "unknown form 'pte'; valid for --as with litert: tflite, monolithic"),
        (["--widths", "0", "--runtime", "onnx"], "no onnx int8 artifact; the bundle has: litert int8"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_hydrate_says_what_the_bundle_has(
    words: list[str], error: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dsnet("hydrate", folder / "b", "--precision", "int8", *words, "--out", folder / "never.tflite") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert error in line
    assert not (folder / "never.tflite").exists()
