import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from common.images import MAX_FILE_BYTES
from edge.bundle.manifest import Share
from edge.bundle.writer import write_manifest
from edge.cli import main
from edge.runtime import load_predictions
from tests.runtime import golden
from tests.runtime.pictures import write_pictures

BUNDLE = str(golden.FOLDER)


def dsnet(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of one command."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    status, out, err = dsnet(capsys, *arguments, "--json")
    assert status == 0, err
    return json.loads(out)


def test_run_prints_class_width_and_time_of_every_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_pictures(tmp_path / "set")
    found = run_json(capsys, "run", BUNDLE, folder, "--operating-point", "balanced")
    assert [item["image"] for item in found["images"]][:2] == ["circle/0.png", "circle/1.png"]
    assert {item["class_name"] for item in found["images"]} <= {"circle", "square", "triangle"}
    assert all(item["total_ms"] > 0 for item in found["images"])
    assert sum(item["share"] for item in found["shares"]) == pytest.approx(1)
    assert found["mean_ms"] == pytest.approx(sum(item["total_ms"] for item in found["images"]) / 6)
    assert (found["precision"], found["threads"], found["artifact_sha256"]) == ("int8", 1, golden.artifact().sha256)


def test_run_prints_a_table_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_pictures(tmp_path / "set")
    status, out, _ = dsnet(capsys, "run", BUNDLE, folder / "circle" / "0.png", "--width", 1)
    assert status == 0
    assert "0.png" in out
    assert "1 images, mean" in out
    assert "width 1: 100.0%" in out


def test_run_reports_unreadable_images_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_pictures(tmp_path / "set")
    (folder / "square" / "0.png").write_bytes(b"no image")
    found = run_json(capsys, "run", BUNDLE, folder, "--width", 0)
    assert len(found["images"]) == 5
    assert found["skipped"] == ["square/0.png is not an image that Pillow can read"]


def test_one_file_too_large_is_left_out_like_any_unreadable_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = write_pictures(tmp_path / "set"), tmp_path / "p.npz"
    with (folder / "square" / "0.png").open("r+b") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    ran = run_json(capsys, "run", BUNDLE, folder, "--width", 0)
    predicted = run_json(capsys, "predict", BUNDLE, "--data", folder, "--out", out, "--skip-bad")
    assert (len(ran["images"]), predicted["images"]) == (5, 5)
    assert ran["skipped"] == predicted["skipped"]
    assert "square/0.png has 268435457 bytes" in ran["skipped"][0]


def test_run_fails_when_no_image_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    status, _, err = dsnet(capsys, "run", BUNDLE, tmp_path, "--width", 0)
    assert status == 2
    assert "none of the 1 images" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give either --operating-point or --width; operating points of this bundle: fast, balanced"),
        (["--operating-point", "fast", "--width", 0], "give either --operating-point or --width"),
        (["--operating-point", "slow"], "no operating point 'slow'; valid: fast, balanced"),
        (["--operating-point", "fast", "--precision", "wi8"], "is for litert int8, not wi8"),
        (["--width", 5], "no width 5 in this artifact; choose from 0, 1"),
        (["--width", 0, "--runtime", "coreml"], "no coreml artifact; the bundle has: litert int8"),
        (
            ["--operating-point", "fast", "--operating-point", "balanced"],
            "several --operating-point are for --adaptive",
        ),
        (["--operating-point", "fast", "--target-ms", 5], "--target-ms is what --adaptive keeps"),
        (["--adaptive"], "--adaptive needs --target-ms, or --operating-point, the one whose latency to keep first"),
        (["--adaptive", "--width", 0, "--target-ms", 5], "--adaptive switches between two or more operating points"),
        (["--adaptive", "--operating-point", "fast"], "of this bundle: fast, balanced"),
        (
            ["--adaptive", "--runtime", "coreml", "--target-ms", 5],
            "--adaptive switches between two or more operating points",
        ),
        (["--adaptive", "--target-ms", 5], "fast does not say what an image of widths [0] takes (mean_ms)"),
    ],
)
def test_run_refuses_a_wrong_choice_in_one_line(
    options: list[object], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = dsnet(capsys, "run", BUNDLE, write_pictures(tmp_path / "set"), *options)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1, err
    assert out == ""


def test_run_refuses_thresholds_of_another_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = shutil.copytree(golden.FOLDER, tmp_path / "bundle")
    manifest = golden.bundle().manifest
    stale = [point.model_copy(update={"artifact_sha256": "0" * 64}) for point in manifest.operating_points]
    write_manifest(copy, manifest.model_copy(update={"operating_points": stale}))
    status, _, err = dsnet(capsys, "run", copy, write_pictures(tmp_path / "set"), "--operating-point", "fast")
    assert status == 2
    assert "thresholds of another bundle" in err


@pytest.fixture
def timed_bundle(tmp_path: Path) -> Path:
    """Return the golden bundle, calibrated on a device so fast that this one is a million times slower."""
    copy, manifest = shutil.copytree(golden.FOLDER, tmp_path / "bundle"), golden.bundle().manifest
    points = []
    for point, mean_ms, accuracy in zip(manifest.operating_points, (1e-6, 2e-6), (0.7, 0.8), strict=True):
        shares = [Share(width=width, share=1 / len(point.widths), mean_ms=mean_ms) for width in point.widths]
        changes = {"shares": shares, "expected_mean_ms": mean_ms, "calibration_accuracy": accuracy}
        points.append(point.model_copy(update=changes))
    write_manifest(copy, manifest.model_copy(update={"operating_points": points}))
    return copy


def test_run_adaptive_says_when_it_switched_and_how_often_each_point_answered(
    timed_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_pictures(tmp_path / "set")
    found = run_json(capsys, "run", timed_bundle, folder, "--adaptive", "--target-ms", 3e-6)
    assert [item["operating_point"] for item in found["images"]] == ["balanced"] * 4 + ["fast"] * 2
    shares = {item["operating_point"]: item["share"] for item in found["operating_points"]}
    assert shares == pytest.approx({"balanced": 4 / 6, "fast": 2 / 6})
    (switch,) = found["switches"]
    assert (switch["image"], switch["from"], switch["to"]) == (found["images"][4]["image"], "balanced", "fast")
    assert switch["slowdown"] == found["images"][4]["slowdown"] > 1.05
    assert [item["width"] for item in found["shares"]] == [0, 1]


def test_run_adaptive_tells_people_too(timed_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--operating-point", "balanced", "--operating-point", "fast", "--adaptive", "--target-ms", 3e-6)
    status, out, err = dsnet(capsys, "run", timed_bundle, write_pictures(tmp_path / "set"), *options)
    assert status == 0, err
    lines = " ".join(out.split())
    assert "balanced -> fast, the device takes" in lines
    assert "operating points: balanced: 66.7%, fast: 33.3%" in lines


def test_run_of_one_operating_point_names_it_and_does_not_switch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run_json(capsys, "run", BUNDLE, write_pictures(tmp_path / "set"), "--operating-point", "balanced")
    assert found["operating_points"] == [{"operating_point": "balanced", "share": 1.0}]
    assert found["switches"] == []


def test_predict_writes_what_the_bundle_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = write_pictures(tmp_path / "set"), tmp_path / "p.npz"
    found = run_json(capsys, "predict", BUNDLE, "--data", folder, "--out", out)
    written = load_predictions(out)
    assert found["images"] == len(written.label) == 6
    assert [item["top1"] for item in found["widths"]] == pytest.approx(written.hit.mean(axis=0).tolist())
    assert found["data_sha256"] == written.metadata.data_sha256


def test_predict_keeps_a_spread_of_the_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = write_pictures(tmp_path / "set"), tmp_path / "p.npz"
    run_json(capsys, "predict", BUNDLE, "--data", folder, "--out", out, "--limit", 3)
    assert load_predictions(out).label.tolist() == [0, 1, 2]


def test_predict_stops_at_a_bad_image_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = write_pictures(tmp_path / "set"), tmp_path / "p.npz"
    (folder / "square" / "0.png").write_bytes(b"no image")
    status, _, err = dsnet(capsys, "predict", BUNDLE, "--data", folder, "--out", out)
    assert status == 2
    assert "square/0.png is not an image" in err
    assert not out.exists()


def test_predict_skips_bad_images_with_a_count_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = write_pictures(tmp_path / "set"), tmp_path / "p.npz"
    (folder / "square" / "0.png").write_bytes(b"no image")
    status, text, err = dsnet(capsys, "predict", BUNDLE, "--data", folder, "--out", out, "--skip-bad")
    assert status == 0, err
    assert "1 unreadable images left out" in " ".join(text.split())
    assert len(load_predictions(out).label) == 5
