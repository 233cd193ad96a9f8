"""The commands that show the history. `dsnet` itself prints their errors in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from edge.errors import MeasurementError
from edge.profiling import QualityWarning, Run
from edge.profiling.history import record_run
from edge.profiling.history_cli import diff_runs, list_runs, show_run
from tests.profiling.runs import NARROW, WIDE, a_run, entry, noisy_blocks

HOSTILE = "\x1b[2J[red]evil[/red]\r\n\u202egolden"
SPELLED_OUT = "\\x1b[2J[red]evil[/red] \\u202egolden"


@pytest.fixture(autouse=True)
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DSNET_HISTORY", str(tmp_path / "runs.sqlite"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "runs.sqlite"


def dsnet_profile(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Stdout of one command of the group."""
    app = typer.Typer()
    for name, command in (("list", list_runs), ("show", show_run), ("diff", diff_runs)):
        app.command(name)(command)
    typer.main.get_command(app).main([str(argument) for argument in arguments], standalone_mode=False)
    return capsys.readouterr().out


def measured(ms: float, seed: int, **changes: Any) -> Run:
    entries = (entry(NARROW, noisy_blocks(2, 10, seed)), entry(WIDE, noisy_blocks(ms, 10, seed + 100)))
    return a_run(*entries, canary_reference_ms=1 + seed / 1e6, **changes)


def test_list_shows_runs_newest_first(capsys: pytest.CaptureFixture[str]) -> None:
    record_run(measured(4, 1), "ds_mbv1", None)
    record_run(measured(4, 2, device="phone", complete=False), "ds_mbv1", None)
    text = dsnet_profile(capsys, "list")
    assert text.index("phone") < text.index("local")
    assert text.count("unfinished") == 1
    assert "phone" not in dsnet_profile(capsys, "list", "--device", "local")
    found = json.loads(dsnet_profile(capsys, "list", "--limit", "1", "--json"))
    assert [(run["id"], run["device"], run["samples"]) for run in found["runs"]] == [(2, "phone", 200)]


def test_an_empty_history_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert dsnet_profile(capsys, "list") == "no such runs; dsnet profile keeps every run it measures\n"
    assert json.loads(dsnet_profile(capsys, "list", "--json")) == {"runs": []}


def test_show_prints_times_facts_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    warning = QualityWarning(code="throttled", message="it got hot", remedy="let it cool down")
    record_run(measured(4, 1, warnings=[warning]), "ds_mbv1", None)
    text = dsnet_profile(capsys, "show", 1)
    assert "run 1: ds_mbv1 on local (1 warning)" in text
    assert "prefix+tail_01" in text
    assert "runtime_version" in text
    assert "throttled: it got hot; let it cool down" in text


def test_show_as_json_has_every_sample(capsys: pytest.CaptureFixture[str]) -> None:
    run = measured(4, 1)
    record_run(run, "ds_mbv1", None)
    found = json.loads(dsnet_profile(capsys, "show", 1, "--json"))
    assert Run.model_validate(found["run"]) == run
    assert found["bundle"] == "ds_mbv1"
    assert [unit["runs"] for unit in found["units"]] == [100, 100]


def test_diff_says_by_how_much_and_whether_that_is_more_than_noise(capsys: pytest.CaptureFixture[str]) -> None:
    record_run(measured(4, 1), "ds_mbv1", None)
    record_run(measured(5, 2, threads=2, complete=False), "ds_mbv1", None)
    lines = dsnet_profile(capsys, "diff", 1, 2).splitlines()
    (same,) = [line for line in lines if "tail_00" in line]
    (slower,) = [line for line in lines if "tail_01" in line]
    assert "no difference beyond uncertainty" in same
    assert "slower" in slower
    assert "warning: more than the times differ: threads: 1 → 2" in lines
    assert "warning: B: unfinished; dsnet profile show 2 says more" in lines
    found = json.loads(dsnet_profile(capsys, "diff", 1, 2, "--json"))
    assert (found["a"]["id"], found["b"]["id"]) == (1, 2)
    assert found["units"][1]["interval"]["low"] < found["units"][1]["b_over_a"] < found["units"][1]["interval"]["high"]
    assert found["changed"] == [{"name": "threads", "a": 1, "b": 2}]


def test_diff_of_runs_that_have_little_in_common_says_what_it_cannot_compare(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record_run(a_run(entry(NARROW, [[1.0] * 10] * 3), entry(("prefix",), [[1.0]])), "a", None)
    record_run(a_run(entry(NARROW, [[2.0] * 10]), entry(WIDE, [[1.0]])), "b", None)
    text = dsnet_profile(capsys, "diff", 1, 2)
    assert "not comparable: too few blocks" in text
    assert "only in A: prefix\n" in text
    assert "only in B: prefix+tail_01\n" in text


def test_times_taken_run_by_run_are_said_to_be_so(capsys: pytest.CaptureFixture[str]) -> None:
    for device in ("iPhone", "iPad"):
        record_run(a_run(entry(NARROW, [noisy_blocks(1, 1, 0)[0]]), device=device), "b", None)
    assert "their intervals take every run for independent" in dsnet_profile(capsys, "diff", 1, 2)


def test_hostile_names_reach_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    warning = QualityWarning(code=HOSTILE, message=HOSTILE, remedy=HOSTILE)
    hostile = {"device": HOSTILE, "precision": HOSTILE, "runner": HOSTILE, "warnings": [warning]}
    record_run(measured(4, 1, facts={HOSTILE: HOSTILE}, **hostile), HOSTILE, None)
    unit = entry((HOSTILE, "[bold]"), noisy_blocks(1, 10, 0))
    record_run(a_run(unit, **hostile), HOSTILE, None)
    for arguments in (("list",), ("show", 1), ("show", 2), ("diff", 1, 2), ("diff", 2, 2)):
        text = dsnet_profile(capsys, *arguments)
        assert "\\u202egolden" in text
        assert "[red]" in text, "not read as markup"
        strange = {char for char in text if not char.isprintable() and char != "\n"}
        assert strange == set(), arguments
    assert SPELLED_OUT in dsnet_profile(capsys, "show", 1)


@pytest.mark.parametrize("arguments", [("show", 3), ("diff", 1, 3), ("diff", 3, 1)])
def test_an_unknown_run_is_one_line(
    arguments: tuple[object, ...], history: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_run(a_run(), "b", None)
    with pytest.raises(MeasurementError) as refused:
        dsnet_profile(capsys, *arguments)
    assert str(refused.value) == f"{history}: no run 3; dsnet profile list shows those there are"


@pytest.mark.parametrize("number", ["0", "-1", "one", str(2**63)])
def test_what_is_no_number_of_a_run_is_a_usage_error(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.TyperException):
        dsnet_profile(capsys, "show", "--", number)


def test_a_history_that_cannot_be_read_is_one_line(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history.write_text("precious notes\n" * 1000)
    for arguments in (("list",), ("show", 1), ("diff", 1, 1)):
        with pytest.raises(MeasurementError, match="no history of runs; let"):
            dsnet_profile(capsys, *arguments)
