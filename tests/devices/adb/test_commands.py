"""`dsnet devices` and `dsnet profile --device`, as a user types them, through the real adb."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.bundle.reader import Bundle
from edge.cli import main
from edge.devices.adb.store import ROOT
from edge.profiling import load_latency
from tests.devices.adb.conftest import Phone

Start = Callable[..., Phone]
QUICK = ("--runtime", "executorch", "--precision", "fp32", "--min-runs", "6", "--max-runs", "6")


def dsnet(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_devices_lists_this_machine_and_phones_with_what_can_run(
    phone: Start, scripted_runner: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert scripted_runner.exists()
    first = phone(model="Pixel Test")
    assert dsnet("devices", "--json") == 0
    listed = {device["serial"]: device for device in json.loads(capsys.readouterr().out)["devices"]}
    assert set(listed) == {"local", first.serial}
    assert listed[first.serial]["model"] == "Pixel Test"
    assert listed[first.serial]["can_run"]["native"] is None
    assert "benchmark_model" in listed[first.serial]["can_run"]["benchmark_model"]
    monkeypatch.setenv("COLUMNS", "200")
    assert dsnet("devices") == 0
    shown = capsys.readouterr().out
    for fact in (
        "local", first.serial, "Pixel Test", "Tensor G3", "x86_64", "Android 14, kernel 5.15.137-android14-11",
        "9: 4×1.7 GHz + 4×2.4 GHz + 1×2.9 GHz", "8.0 GiB", "85% 28 °C", "native",
    ):  # fmt: skip
        assert fact in shown


def test_a_hostile_model_name_reaches_no_terminal(phone: Start, capsys: pytest.CaptureFixture[str]) -> None:
    phone(model="\x1b[2J[red]evil[/red] $(reboot)", soc="[/]\x07")
    assert dsnet("devices") == 0
    shown = capsys.readouterr().out
    assert "\\x1b[2J[red]evil[/red] $(reboot)" in shown
    assert {char for char in shown if not char.isprintable()} == {"\n"}


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


def test_several_thread_counts_are_measured_on_one_phone_in_one_command_and_pushed_once(
    phone: Start, scripted_runner: Path, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scripted_runner.exists()
    target, out = phone(), tmp_path / "l.json"
    command = ("profile", bundle.root, *QUICK, "--device", "any", "--threads", "1,4", "--out", out, "--json")
    assert dsnet(*command) == 0
    assert [result["threads"] for result in json.loads(capsys.readouterr().out)] == [1, 4]
    assert [(run.device, run.threads) for run in load_latency(out).runs] == [(target.serial, 1), (target.serial, 4)]
    starts = [line for line in target.emulator.log.commands if " pid=" in line]
    assert ["--threads 4" in line for line in starts] == [False, True]
    pushed = [entry.what for entry in target.emulator.log if entry.kind == "push"]
    assert len(pushed) == len(set(pushed))


def test_of_two_phones_any_is_neither(
    phone: Start, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = phone(), phone()
    assert dsnet("profile", bundle.root, *QUICK, "--device", "any", "--out", tmp_path / "l.json") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert one.serial in line and other.serial in line
    assert "name one with --device, or all of them: all" in line


def test_clean_removes_all_that_is_ours_and_says_how_much_that_was(
    phone: Start, scripted_runner: Path, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scripted_runner.exists()
    first, second = phone(), phone()
    assert dsnet("profile", bundle.root, *QUICK, "--device", "all", "--out", tmp_path / "l.json") == 0
    size = sum(file.stat().st_size for file in first.emulator.path(ROOT).iterdir())
    assert size > 1000
    capsys.readouterr()
    assert dsnet("devices", "--clean", first.serial) == 0
    assert capsys.readouterr().out == f"{first.serial}: removed {ROOT}, {size} bytes\n"
    assert not first.emulator.path(ROOT).exists()
    assert second.emulator.path(ROOT).exists()
    assert dsnet("devices", "--clean", "all", "--json") == 0
    cleaned = json.loads(capsys.readouterr().out)["cleaned"]
    assert {item["serial"]: item["freed_bytes"] for item in cleaned} == {first.serial: 0, second.serial: size}
    assert not second.emulator.path(ROOT).exists()


def test_what_cannot_be_removed_is_one_line_and_a_failure(phone: Start, capsys: pytest.CaptureFixture[str]) -> None:
    target = phone()
    target.emulator.install_tool("rm", "#!/system/bin/sh\necho rm: Permission denied; exit 1\n")
    assert dsnet("devices", "--clean", target.serial) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{target.serial}: 'rm -rf {ROOT}' failed")
    assert dsnet("devices", "--clean", "nobody") == 2
    assert "no device 'nobody'; adb sees" in capsys.readouterr().err


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
