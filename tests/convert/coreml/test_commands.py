"""The commands on a Core ML bundle, as a user types them."""

import json
from pathlib import Path

import numpy as np
import pytest

from edge.bundle.reader import open_bundle
from edge.cli import main
from edge.runtime.decisions import Decision
from edge.runtime.predictions import FORMAT, Metadata, Predictions, save_predictions


def dsnet(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def bundle(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Core ML bundle of the golden supernet; tests must not change it."""
    out = tmp_path_factory.mktemp("coreml") / "b"
    said = ("--author", "An author", "--licence", "A licence", "--description", "What it is")
    assert dsnet("convert", golden / "supernet.safetensors", "--runtime", "coreml", *said, "--out", out) == 0
    return out


def test_conversion_needs_no_images_and_prints_the_size_of_everything(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--runtime", "coreml", "--precision", "int8", "--deployment-target", "iOS16", "--out", tmp_path / "b")
    assert dsnet("convert", golden / "supernet.safetensors", *words) == 0
    manifest = open_bundle(tmp_path / "b").manifest
    (artifact,) = manifest.artifacts
    size = artifact.bytes + sum(item.bytes for item in manifest.weights)
    assert f"coreml int8: {size:,} bytes for 3 programs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--deployment-target", "iOS12"), "unknown --deployment-target iOS12; valid: iOS16, iOS17, iOS18, iOS26"),
        (("--image-input", "jpeg"), "unknown --image-input jpeg; valid: tensor, pixels"),
        (("--precision", "wi8"), "unknown precision wi8; valid for --precision with coreml: fp16, fp32, int8"),
    ],
)
def test_unknown_choices_are_refused_with_the_valid_ones(
    words: tuple[str, str], error: str, golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--runtime", "coreml", *words, "--out", str(tmp_path / "b"))
    assert dsnet("convert", golden / "supernet.safetensors", *words) == 2
    assert error in capsys.readouterr().err


def test_hydrate_writes_one_package_for_chosen_widths(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from coremltools.models import MLModel

    out = tmp_path / "Model.mlpackage"
    assert dsnet("hydrate", bundle, "--widths", 1, "--out", out) == 0
    assert "widths 1 of coreml fp16" in capsys.readouterr().out
    specification = MLModel(str(out), skip_model_load=True).get_spec()
    assert sorted(specification.mlProgram.functions) == ["prefix", "tail_01"]
    assert specification.description.metadata.author == "An author"
    assert dsnet("hydrate", bundle, "--widths", 0, "--as", "packages", "--out", tmp_path / "all") == 0
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["prefix.mlpackage", "tail_00.mlpackage"]
    assert dsnet("hydrate", bundle, "--widths", 0, "--out", tmp_path / "Model.zip") == 2
    assert "choose an --out that ends in .mlpackage" in capsys.readouterr().err


def test_the_bundle_verifies_and_says_what_only_a_mac_can_check(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dsnet("verify", bundle, "--json") == 0
    outcomes = {check["claim"]: check["outcome"] for check in json.loads(capsys.readouterr().out)["checks"]}
    assert outcomes["coreml fp16 prefix package"] == outcomes["coreml fp16 package with all functions"] == "pass"
    assert "fail" not in outcomes.values()


def test_an_iphone_is_calibrated_by_imported_times_and_stand_in_predictions(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    copy = Path(shutil.copytree(bundle, tmp_path / "b"))
    more = ("--runtime", "executorch", "--precision", "fp32", "--noise", "--images", 2)
    golden_supernet = Path(__file__).parents[2] / "golden" / "supernet.safetensors"
    assert dsnet("convert", golden_supernet, *more, "--out", copy) == 0
    opened = open_bundle(copy)
    generator = np.random.default_rng(0)
    metadata = Metadata(
        format=FORMAT, runtime="executorch", precision="fp32", data="noise", data_sha256="0" * 64,
        artifact_sha256=opened.artifact("executorch", "fp32").sha256, widths=[0, 1],
        decisions=[Decision(widths=[0, 1], choices=[0, 1])],
    )  # fmt: skip
    answers = Predictions(
        metadata,
        generator.standard_normal((300, 2)).astype(np.float32),
        generator.random((300, 2)) < (0.5, 0.7),
        np.ones((300, 2), np.float32),
        np.full((300, 2), 0.5, np.float32),
        np.zeros(300, np.int32),
    )
    save_predictions(tmp_path / "predictions.npz", answers)
    times = {"prefix+tail_00": [1.0] * 9, "prefix+tail_01": [2.0] * 9}
    (tmp_path / "iphone.json").write_text(json.dumps({"device": "iPhone 15", "samples_ms": times}))
    latency, coreml = tmp_path / "latency.json", ("--runtime", "coreml", "--precision", "fp16")
    assert dsnet("profile", "import", tmp_path / "iphone.json", "--bundle", copy, *coreml, "--out", latency) == 0
    calibrate = ("calibrate", copy, "--latency", latency, "--predictions", tmp_path / "predictions.npz")
    assert dsnet(*calibrate, *coreml, "--budget", "1.5ms") == 2
    assert "or let them --stand-in" in capsys.readouterr().err
    assert dsnet(*calibrate, *coreml, "--budget", "1.5ms", "--stand-in") == 0
    assert "the predictions are of executorch fp32" in capsys.readouterr().err
    point = open_bundle(copy).operating_point("mean-1.5ms")
    assert (point.runtime, point.device, point.runner) == ("coreml", "iPhone 15", "imported")
    assert point.stand_in_sha256 == opened.artifact("executorch", "fp32").sha256
    assert point.expected_mean_ms <= 1.5
    out = tmp_path / "Model.mlpackage"
    assert dsnet("hydrate", copy, *coreml, "--widths", "all", "--operating-points", "--out", out) == 0
    assert b"mean-1.5ms" in (out / "Data" / "com.apple.CoreML" / "model.mlmodel").read_bytes()
