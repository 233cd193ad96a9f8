"""The commands on an ExecuTorch bundle, as a user types them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.bundle.reader import Bundle, open_bundle
from edge.cli import main
from tests.convert.executorch.conversions import CHECKPOINT

INT8 = ("--runtime", "executorch", "--precision", "int8")


def dsnet(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder of three images in each of ten classes."""
    generator = np.random.default_rng(0)
    for name in "abcdefghij":
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(3):
            pixels = generator.integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path / "images"


def test_the_line_from_profile_to_run(
    executorch_bundle: Bundle, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, latency, predictions = tmp_path / "b", tmp_path / "latency.json", tmp_path / "predictions.npz"
    shutil.copytree(executorch_bundle.root, bundle)
    quick = ("--min-runs", 6, "--max-runs", 6)
    assert dsnet("profile", bundle, *INT8, "--out", latency, *quick) == 0
    assert dsnet("predict", bundle, *INT8, "--data", images, "--out", predictions) == 0
    tables = ("--latency", latency, "--predictions", predictions)
    assert dsnet("calibrate", bundle, *tables, "--budget", "1000ms") == 0
    capsys.readouterr()
    assert dsnet("run", bundle, images / "a", "--operating-point", "mean-1000ms", "--json") == 0
    answered = json.loads(capsys.readouterr().out)
    assert (answered["runtime"], answered["precision"], len(answered["images"])) == ("executorch", "int8", 3)


def test_converting_for_another_runtime_adds_to_the_bundle(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the golden supernet, whose programs lower in a second."""
    supernet, bundle = golden / "supernet.safetensors", tmp_path / "b"
    assert dsnet("convert", supernet, "--noise", "--images", 2, "--widths", "0", "--out", bundle) == 0
    more = ("--runtime", "executorch", "--precision", "fp32")
    assert dsnet("convert", supernet, "--noise", "--images", 2, "--widths", "0", *more, "--out", bundle) == 0
    manifest = open_bundle(bundle).manifest
    assert [(item.runtime, item.precision) for item in manifest.artifacts] == [
        ("litert", "int8"),
        ("executorch", "fp32"),
    ]
    assert [item.role for item in manifest.weights] == ["store", "recipe", "template"]
    capsys.readouterr()
    assert dsnet("profile", bundle, "--out", tmp_path / "latency.json") == 2
    assert "several artifacts fit; choose with --runtime and --precision" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--frontend", "litert-torch"), "--frontend is for litert, not executorch; leave it out"),
        (("--author", "me"), "are for coreml, not executorch; leave them out"),
    ],
)
def test_options_of_another_runtime_are_refused(
    words: tuple[str, str], error: str, golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--noise", "--runtime", "executorch", "--out", tmp_path / "b")
    assert dsnet("convert", golden / "supernet.safetensors", *more, *words) == 2
    assert error in capsys.readouterr().err


@pytest.mark.parametrize(
    ("form", "files"),
    [
        ("pte", ["w.pte"]),
        ("ptd", ["w.pte", "w.ptd"]),
        ("programs", ["w.pte/prefix.pte", "w.pte/tail_03.pte"]),
    ],
)
def test_hydrate_writes_each_form(
    form: str, files: list[str], executorch_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--widths", 3, "--as", form, "--out", tmp_path / "w.pte", "--json")
    assert dsnet("hydrate", executorch_bundle.root, *INT8, *words) == 0
    assert [item["file"] for item in json.loads(capsys.readouterr().out)["files"]] == [str(tmp_path / f) for f in files]
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(files)


def test_programs_are_hydrated_without_torch(executorch_bundle: Bundle, tmp_path: Path) -> None:
    words = ["hydrate", str(executorch_bundle.root), *INT8, "--widths", "0", "--as", "programs", "--out", str(tmp_path)]
    absent = "import sys\nsys.modules['torch'] = sys.modules['executorch'] = None\n"
    code = f"{absent}from edge.cli import main\nmain({words!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tail_00.pte").exists()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--widths", "1"), "width 1 is not in this artifact, which has 0, 3; change --widths"),
        (
            ("--widths", "0", "--as", "tflite"),
            "unknown form 'tflite'; valid for --as with executorch: pte, ptd, programs",
        ),
        (
            ("--widths", "0", "--precision", "wi8"),
            "no executorch wi8 artifact; the bundle has: executorch fp32, executorch int8",
        ),
    ],
    ids=["width", "form", "precision"],
)
def test_hydrate_says_what_there_is(
    words: tuple[str, ...], error: str, executorch_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dsnet("hydrate", executorch_bundle.root, *INT8, *words, "--out", tmp_path / "never.pte") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert error in line
    assert not (tmp_path / "never.pte").exists()


def test_another_precision_of_the_runtime_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from train.checkpoint import save_checkpoint

    save_checkpoint(tmp_path / "net.safetensors", CHECKPOINT.spec, CHECKPOINT.tensors, {})
    words = ("--noise", "--runtime", "executorch", "--precision", "wi8", "--out", tmp_path / "b")
    assert dsnet("convert", tmp_path / "net.safetensors", *words) == 2
    assert "unknown precision wi8; valid for --precision with executorch: fp32, int8" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
