"""`dsnet report` as a user meets it."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from edge.cli import main
from tests.report.cases import Files


def report(files: Files, out: Path, *arguments: str) -> int:
    """Run the command and return its exit status."""
    inputs = ["--latency", str(files.latency), "--predictions", str(files.predictions), "--out", str(out)]
    with pytest.raises(SystemExit) as ended:
        main(["report", str(files.root), *inputs, *arguments])
    return int(ended.value.code or 0)


def test_one_command_writes_one_file(written: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out" / "report.html"
    assert report(written, out, "--images", str(written.images)) == 0
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
    assert "Easy and hard images" in out.read_text(encoding="utf-8")
    assert f"{out.stat().st_size:,} bytes, 8 figures" in capsys.readouterr().out


def test_figures_are_written_for_slides(written: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "figures"
    assert report(written, tmp_path / "report.html", "--figures", str(folder), "--json") == 0
    assert sorted(json.loads(capsys.readouterr().out)["figures"]) == sorted(map(str, folder.iterdir()))
    assert {path.suffix for path in folder.iterdir()} == {".svg", ".png"}
    assert "top-1 accuracy" in (folder / "tradeoff-1.svg").read_text(encoding="utf-8")
    assert Image.open(folder / "tradeoff-1.png").width == 1600


def test_peers_stand_beside_the_widths(written: Files, tmp_path: Path) -> None:
    peers, out = tmp_path / "peers.json", tmp_path / "report.html"
    peers.write_text('[{"name": "A small network", "accuracy": 0.7, "mean_ms": 2.5}]')
    assert report(written, out, "--peers", str(peers)) == 0
    assert "A small network" in out.read_text(encoding="utf-8")


def test_switching_is_simulated_with_recorded_slowdowns(written: Files, tmp_path: Path) -> None:
    slowdowns, out = tmp_path / "slowdowns.json", tmp_path / "report.html"
    slowdowns.write_text(json.dumps([1.0] * 300 + [1.5] * 300))
    assert report(written, out, "--slowdowns", str(slowdowns)) == 0
    assert "AdaptivePolicy with a recorded trace" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_without_the_extra_the_line_says_what_to_install(
    written: Files,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    missing: str,
) -> None:
    for name in [name for name in sys.modules if name.startswith(("edge.report", missing))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert report(written, tmp_path / "report.html") == 2
    said = f"error: dsnet report needs {missing}, which is not installed: pip install 'dsnet-edge[report]'\n"
    assert capsys.readouterr().err == said
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--operating-point", "absent"], "no operating point 'absent'; valid: fast"),
        (["--limit", "0"], "--limit"),
        (["--peers", "absent.json"], "absent.json: no such file"),
        (["--images", "absent"], "absent does not exist"),
    ],
)
def test_mistakes_cost_one_line(
    written: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    images = [] if "--images" in arguments else ["--images", str(written.images)]
    assert report(written, tmp_path / "report.html", *images, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "report.html").exists()
