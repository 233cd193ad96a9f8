"""`dsnet profile --runner native`: the Python profiler asks, the native runner measures."""

import os
import shutil
from pathlib import Path

import pytest

from edge.cli import main
from edge.profiling import load_latency
from tests.native.conversation import Command
from tests.native.data import NETWORKS
from tests.runtime import golden

QUICK = ("--min-runs", "6", "--max-runs", "6")


def dsnet(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.fixture
def installed(runner: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `dsnet` find the runner that the tests built."""
    monkeypatch.setitem(os.environ, "DSNET_RUNNER", runner[0])


@pytest.mark.usefixtures("installed")
def test_runs_of_both_runners_lie_side_by_side_in_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = Path(shutil.copytree(NETWORKS / "first", tmp_path / "bundle"))
    words = (bundle, "--runtime", "executorch", "--precision", "int8", "--out", tmp_path / "latency.json", *QUICK)
    for runner in ("native", "python", "native"):
        assert dsnet("profile", *words, "--runner", runner) == 0
    native, python = load_latency(tmp_path / "latency.json").runs
    assert (native.runner, python.runner) == ("native", "python")
    assert "dsnet-runner" in native.environment["runtime_version"]
    assert [entry.programs for entry in native.entries] == [entry.programs for entry in python.entries]
    assert all(len(block) == 10 for entry in native.entries for block in entry.blocks_ms)
    assert "native runner, 1 thread(s)" in capsys.readouterr().out


def test_what_cannot_run_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(os.environ, "DSNET_RUNNER", str(tmp_path / "absent"))
    out = ("--out", tmp_path / "latency.json")
    assert dsnet("profile", golden.FOLDER, "--runner", "native", *out) == 2
    assert "the native runner runs executorch artifacts, not litert ones" in capsys.readouterr().err
    words = ("--runtime", "executorch", "--precision", "int8", "--runner")
    assert dsnet("profile", NETWORKS / "first", *words, "native", *out) == 2
    assert "no native runner at" in capsys.readouterr().err
    assert dsnet("profile", NETWORKS / "first", *words, "phone", *out) == 2
    assert "unknown runner 'phone'; valid for --runner: python, native" in capsys.readouterr().err
