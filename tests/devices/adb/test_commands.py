"""`dsnet devices` and `dsnet profile --device`, as a user types them, through the real adb."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.bundle.reader import Bundle
from edge.cli import main
from edge.profiling import load_latency
from tests.devices.adb.conftest import Phone

Start = Callable[..., Phone]
QUICK = ("--runtime", "executorch", "--precision", "fp32", "--min-runs", "6", "--max-runs", "6")


def dsnet(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_devices_lists_this_machine_and_phones_with_what_can_run(
    phone: Start, scripted_runner: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scripted_runner.exists()
    first = phone(model="Pixel Test")
    assert dsnet("devices", "--json") == 0
    listed = {device["serial"]: device for device in json.loads(capsys.readouterr().out)["devices"]}
    assert set(listed) == {"local", first.serial}
    assert listed[first.serial]["model"] == "Pixel Test"
    assert listed[first.serial]["can_run"]["native"] is None
    assert "benchmark_model" in listed[first.serial]["can_run"]["benchmark_model"]
    assert dsnet("devices") == 0
    assert "local" in capsys.readouterr().out


def test_a_phone_that_is_away_keeps_no_other_from_being_listed(
    phone: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    away = phone()
    away.emulator.unplug()
    assert dsnet("devices") == 0
    printed = capsys.readouterr()
    assert "local" in printed.out
    # adb may have forgotten it already; if not, its line says what to do.
    lines = [line for line in printed.err.splitlines() if away.serial in line]
    assert all("unplug it and plug it in again" in line for line in lines), printed.err


def test_one_phone_is_profiled_into_the_table_named(
    phone: Start, scripted_runner: Path, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scripted_runner.exists()
    target = phone()
    out = tmp_path / "latency.json"
    assert dsnet("profile", bundle.root, *QUICK, "--device", target.serial, "--out", out, "--json") == 0
    (run,) = load_latency(out).runs
    assert (run.device, run.runner, run.complete) == (target.serial, "native", True)
    result = json.loads(capsys.readouterr().out)
    assert result["device"] == target.serial
    assert "conditions" not in result["environment"]


def test_all_phones_are_profiled_at_once_each_into_a_table_of_its_own(
    phone: Start, scripted_runner: Path, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scripted_runner.exists()
    serials = sorted(phone().serial for _ in range(2))
    assert dsnet("profile", bundle.root, *QUICK, "--device", "all", "--out", tmp_path / "l.json") == 0
    tables = sorted(tmp_path.glob("l-*.json"))
    assert sorted(load_latency(path).runs[0].device for path in tables) == serials
    capsys.readouterr()
    assert dsnet("profile", "list", "--json") == 0
    assert {entry["device"] for entry in json.loads(capsys.readouterr().out)["runs"]} == set(serials)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--device", "nobody"), "no device 'nobody'; adb sees"),
        (("--device", "local", "--cores", "big"), "are for Android devices; leave them out"),
        (("--device", "all", "--runner", "python"), "no runner 'python' for executorch artifacts on a device; valid"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    words: tuple[str, ...],
    error: str,
    phone: Start,
    bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    phone()
    assert dsnet("profile", bundle.root, *QUICK, *words, "--out", tmp_path / "l.json") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert error in line
