"""`dsnet demo` with training cut to an epoch: every step of the line runs on real images."""

from pathlib import Path

import pytest

from edge.bundle.reader import open_bundle
from edge.cli import main


def test_the_walk_leaves_every_file_of_the_line_and_refuses_a_strangers_folder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    with pytest.raises(SystemExit) as stop:
        main(["demo", "--out", str(out), "--epochs", "1"])
    assert not stop.value.code, capfd.readouterr().err
    left = {path.name for path in out.iterdir()}
    expected = {"data", "supernet.safetensors", "bundle", "latency.json", "predictions.npz", "predictions_test.npz"}
    assert expected <= left
    points = open_bundle(out / "bundle").manifest.operating_points
    assert len(points) == 3
    printed = capfd.readouterr().out
    for command in ("train supernet", "train gate", "convert", "profile", "predict", "calibrate", "run"):
        assert f"$ dsnet {command}" in printed
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(SystemExit) as stop:
        main(["demo", "--out", str(tmp_path / "mine")])
    assert stop.value.code == 2
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
