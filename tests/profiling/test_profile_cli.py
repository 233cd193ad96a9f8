import json
from pathlib import Path

import pytest

from edge.cli import main
from edge.profiling import load_latency
from tests.runtime import golden

QUICK = ("--min-runs", "10", "--max-runs", "20")


def dsnet(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of one command."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_profile_measures_a_real_bundle_on_this_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "latency.json"
    status, text, err = dsnet(capsys, "profile", golden.FOLDER, "--out", out, *QUICK, "--json")
    assert status == 0, err
    found = json.loads(text)
    assert [unit["programs"] for unit in found["units"]][-1] == ["prefix", "tail_01"]
    assert all(0 < unit["p50_ms"] <= unit["p99_ms"] for unit in found["units"])
    assert found["environment"]["logical_cores"] >= 1
    (run,) = load_latency(out).runs
    assert run.complete
    assert run.device == "local"
    assert {len(entry.blocks_ms) for entry in run.entries} <= {1, 2}


def test_profile_prints_a_table_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "latency.json"
    status, text, _ = dsnet(capsys, "profile", golden.FOLDER, "--out", out, *QUICK, "--widths", "0")
    assert status == 0
    assert "local, litert int8, python runner, 1 thread(s)" in text
    assert "wrote" in text
    assert [entry.programs for entry in load_latency(out).runs[0].entries][-1] == ["prefix", "tail_00"]


def test_several_thread_counts_are_one_command_and_a_list_of_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "latency.json"
    command = ("profile", golden.FOLDER, "--out", out, *QUICK, "--widths", "0", "--threads", "2,1,2")
    status, text, err = dsnet(capsys, *command, "--json")
    assert status == 0, err
    assert [result["threads"] for result in json.loads(text)] == [1, 2]
    measured = load_latency(out).runs
    status, text, _ = dsnet(capsys, *command, "--resume")
    assert status == 0
    assert "1 thread(s)" in text and "2 thread(s)" in text
    assert load_latency(out).runs == measured, "both were finished"
    status, text, _ = dsnet(capsys, *command[:-1], "1", "--restart", "--json")
    assert json.loads(text)["threads"] == 1, "one run is no list"
    assert load_latency(out).runs[0] != measured[0]
    assert load_latency(out).runs[1] == measured[1]


def test_sustained_speed_is_named_wherever_the_run_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    command = ("profile", golden.FOLDER, "--out", tmp_path / "latency.json", *QUICK, "--widths", "0")
    assert "1 thread(s), milliseconds" in dsnet(capsys, *command)[1]
    assert "1 thread(s), sustained 1 s, milliseconds" in dsnet(capsys, *command, "--sustained", "1")[1]
    burst, sustained = load_latency(tmp_path / "latency.json").runs
    assert (burst.sustained_seconds, sustained.sustained_seconds) == (None, 1)
    listed = dsnet(capsys, "profile", "list")[1]
    assert listed.count("sustained 1 s") == 1
    assert "sustained 1 s" in dsnet(capsys, "profile", "show", 2)[1]
    assert "sustained 1 s" not in dsnet(capsys, "profile", "show", 1)[1]
    assert "speed: burst → sustained 1 s" in dsnet(capsys, "profile", "diff", 1, 2)[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--ci", "fast"), "--ci 'fast' is no fraction between 0 and 1; give a percentage such as 2%"),
        (("--ci", "200%"), "--ci '200%' is no fraction"),
        (("--min-runs", "100", "--max-runs", "10"), "--min-runs 100 is above --max-runs 10; raise --max-runs"),
        (("--widths", "0;1"), "--widths '0;1' is not a list of widths; give all, or indices such as 0,3"),
        (("--widths", "0,9"), "no width 9 in this artifact; choose from 0, 1"),
        (("--threads", "1,0"), "--threads '1,0' is not a list of thread counts; give 1 … 1024, such as 1,4"),
        (("--threads", "1025"), "--threads '1025' is not a list of thread counts"),
        (("--threads", "four"), "--threads 'four' is not a list of thread counts"),
        (("--sustained", "0"), "--sustained 0 is out of range; give 1 … 86400 seconds"),
        (("--sustained", "nan"), "--sustained nan is out of range"),
        (("--precision", "wi8"), "no wi8 artifact; the bundle has: litert int8"),
    ],
)
def test_a_wrong_option_is_one_line_and_writes_nothing(
    options: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, text, err = dsnet(capsys, "profile", golden.FOLDER, "--out", tmp_path / "l.json", *options)
    assert (status, text) == (2, "")
    assert message in err
    assert err.count("\n") == 1, err
    assert not (tmp_path / "l.json").exists()


def test_a_folder_in_the_tables_place_is_called_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = dsnet(capsys, "profile", golden.FOLDER, "--out", tmp_path, *QUICK)
    assert status == 2
    assert f"{tmp_path}: a folder; give the path of a file" in err


def test_a_latency_table_that_cannot_be_read_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "l.json"
    out.write_text("precious notes")
    status, _, err = dsnet(capsys, "profile", golden.FOLDER, "--out", out, *QUICK)
    assert status == 2
    assert "l.json" in err
    assert out.read_text() == "precious notes"
