"""`dsnet profile import`: times measured elsewhere become a run of the latency table, or one line says why not."""

import json
from pathlib import Path

import pytest

from edge.cli import main
from edge.errors import MeasurementError
from edge.profiling import load_latency, summarise
from edge.profiling.import_samples import imported_run
from tests.runtime import golden
from tests.runtime.recording import artifact, net

CSV = "programs,sample_ms,device\n" + "".join(
    f"{programs},{1 + number / 10},iPhone 15\n" for programs in ("tail_00", "prefix+tail_00") for number in range(8)
)


def dsnet(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def imported(path: Path, out: Path, *options: object) -> int:
    return dsnet("profile", "import", path, "--bundle", golden.FOLDER, "--out", out, *options)


def test_csv_samples_become_a_complete_run_of_the_bundles_artifact(tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_text(CSV)
    assert imported(tmp_path / "samples.csv", tmp_path / "latency.json") == 0
    (run,) = load_latency(tmp_path / "latency.json").runs
    assert (run.device, run.runner, run.complete) == ("iPhone 15", "imported", True)
    assert run.artifact_sha256 == golden.artifact().sha256
    assert [entry.programs for entry in run.entries] == [["tail_00"], ["prefix", "tail_00"]]
    assert summarise(run.entries[1]).p50_ms == pytest.approx(1.35)
    assert [warning.code for warning in run.warnings] == ["imported"]


def test_json_samples_are_read_too_and_a_flag_names_the_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = {"samples_ms": {"prefix+tail_01": [2.0, 2.1, 2.2, 2.3, 2.4, 2.5]}}
    (tmp_path / "samples.json").write_text(json.dumps(samples))
    assert imported(tmp_path / "samples.json", tmp_path / "latency.json") == 2
    assert "does not say on which device it was measured; name it with --device" in capsys.readouterr().err
    assert imported(tmp_path / "samples.json", tmp_path / "latency.json", "--device", "iPad", "--json") == 0
    assert json.loads(capsys.readouterr().out)["units"][0]["runs"] == 6


def test_importing_again_replaces_the_run_and_keeps_the_others(tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_text(CSV)
    for device in ("one", "two", "two"):
        assert imported(tmp_path / "samples.csv", tmp_path / "latency.json", "--device", device) == 0
    assert [run.device for run in load_latency(tmp_path / "latency.json").runs] == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("a.txt", "", "samples are read from .csv or .json files"),
        ("a.csv", "program,ms\ntail_00,1\n", "needed: programs, sample_ms"),
        ("a.csv", "programs,sample_ms\ntail_00,fast\n", 'line 2: "fast" is no time in milliseconds'),
        ("a.csv", "programs,sample_ms\ntail_00,-1\n", 'line 2: "-1" is no time in milliseconds'),
        ("a.csv", "programs,sample_ms\ntail_00,0.0\n", 'line 2: "0.0" is no time in milliseconds'),
        ("a.csv", "programs,sample_ms\ntail_00,3,1\n", "line 2: not as many fields as the header has"),
        ("a.csv", "programs,sample_ms\ntail_00\n", "line 2: not as many fields as the header has"),
        ("a.csv", "programs,sample_ms\ntail_00,nan\n", 'line 2: "nan" is no time in milliseconds'),
        ("a.csv", "programs,sample_ms\ntail_77,1\n", "no 'tail_77' in this artifact; valid: prefix, tail_00"),
        ("a.csv", "programs,sample_ms\ntail_00,1\n", "1 sample(s) of tail_00; a median needs 6"),
        ("a.csv", "programs,sample_ms,device\ntail_00,1,a\ntail_00,1,b\n", "samples of several devices (a, b)"),
        ("a.json", '{"samples_ms": {}}', "samples_ms: "),
        ("a.json", '{"samples_ms": {"tail_00": ["1"]}}', "samples_ms.tail_00[0]: "),
        ("a.json", '{"samples_ms": {"tail_00": [0]}}', "samples_ms.tail_00[0]: input should be greater than 0"),
        ("a.json", "[1]", "input should be"),
        ("a.json", "[", "not JSON"),
    ],
)
def test_what_is_no_table_of_samples_is_refused_in_one_line(
    name: str, text: str, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(text)
    assert imported(tmp_path / name, tmp_path / "latency.json", "--device", "phone") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert error in line
    assert not (tmp_path / "latency.json").exists()


def test_of_many_programs_the_first_are_listed_and_counted() -> None:
    many = artifact(*map(net, range(20)))
    with pytest.raises(MeasurementError, match=r"valid: net_00, .*, net_07, … \(20 in all\)$"):
        imported_run(many, {"net_77": [1.0]}, "phone", "imported", 1, "samples.csv")


@pytest.mark.parametrize("device", ["a\nb", "\x1b[31mred", "\udcff", "x" * 129, ""])
def test_a_device_has_a_printable_name(device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "samples.json").write_text(json.dumps({"device": device, "samples_ms": {"tail_00": [1.0] * 6}}))
    assert imported(tmp_path / "samples.json", tmp_path / "latency.json") == 2
    assert not (tmp_path / "latency.json").exists()
    capsys.readouterr()


def test_the_default_command_still_is_profile(capsys: pytest.CaptureFixture[str]) -> None:
    assert dsnet("profile", "--help") == 0
    assert "dsnet profile import" in capsys.readouterr().out
    assert dsnet("profile", "no-such-bundle", "--out", "latency.json") == 2
    assert "no-such-bundle: no such bundle" in capsys.readouterr().err
