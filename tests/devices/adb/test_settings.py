"""Whatever is set on a phone for a measurement is set back: always, and if need be later."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.devices.adb.client import Adb
from edge.devices.adb.settings import Wanted, changed, pending, restore
from edge.errors import DeviceError, DeviceGoneError
from tests.devices.adb.conftest import Phone

Start = Callable[..., Phone]
BOTH = Wanted(fixed_performance=True, screen=True)
BEFORE = {"system": {"screen_brightness": "120", "screen_brightness_mode": "1"}}
"""`stay_on_while_plugged_in` has no value before, and must have none afterwards."""


def settings(phone: Phone) -> dict[str, dict[str, str]]:
    return {name: values for name, values in phone.emulator.state.settings.items() if values}


def assert_untouched(phone: Phone) -> None:
    assert settings(phone) == BEFORE
    assert not phone.emulator.state.fixed_performance
    assert pending() == []


def test_settings_are_changed_inside_and_back_afterwards(phone: Start) -> None:
    target = phone(settings=BEFORE)
    with changed(target.adb, BOTH):
        assert target.emulator.state.fixed_performance
        inside = settings(target)
        assert inside["global"]["stay_on_while_plugged_in"] == "7"
        assert inside["system"]["screen_brightness"] == "10"
    assert_untouched(target)


def test_nothing_is_touched_that_was_not_asked_for(phone: Start) -> None:
    target = phone(settings=BEFORE)
    with changed(target.adb, Wanted()):
        pass
    with changed(target.adb, Wanted(fixed_performance=True)):
        assert settings(target) == BEFORE
    assert [command for command in target.emulator.log.commands if "settings" in command] == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_an_interruption_sets_everything_back(phone: Start, error: type[BaseException]) -> None:
    target = phone(settings=BEFORE)
    with pytest.raises(error), changed(target.adb, BOTH):
        raise error
    assert_untouched(target)


def test_a_phone_that_was_unplugged_and_comes_back_is_set_back(phone: Start) -> None:
    target = phone(settings=BEFORE)
    with changed(target.adb, BOTH):
        target.emulator.unplug()
        target.emulator.plug_in()
    assert_untouched(target)


def test_a_phone_that_stays_away_is_set_back_the_next_time_it_is_seen(phone: Start) -> None:
    target = phone(settings=BEFORE)
    impatient = Adb(target.serial, back_within_s=0.2)
    with changed(impatient, BOTH):
        target.emulator.unplug()
    assert pending() == [target.serial]
    target.emulator.plug_in()
    target.adb.wait()
    assert target.emulator.state.fixed_performance, "still on: nobody could set it back"
    assert restore(target.adb)
    assert_untouched(target)
    assert not restore(target.adb), "once is enough"


def test_a_phone_that_is_given_up_on_in_mid_run_is_set_back_at_the_next_run(phone: Start) -> None:
    target = phone(settings=BEFORE)
    with pytest.raises(DeviceGoneError), changed(target.adb, BOTH):
        target.emulator.unplug()
        raise DeviceGoneError("gone")
    target.emulator.plug_in()
    target.adb.wait()
    with changed(target.adb, Wanted()):
        assert_untouched(target)


def test_values_from_before_a_crash_are_restored_and_not_those_that_the_crash_left(phone: Start) -> None:
    target = phone(settings=BEFORE)
    crashed = changed(target.adb, BOTH)
    crashed.__enter__()  # and never left, as when the process is killed
    with changed(target.adb, BOTH):
        pass
    assert_untouched(target)


def test_a_phone_without_fixed_performance_mode_says_so_and_stays_as_it_was(phone: Start) -> None:
    target = phone(settings=BEFORE)
    target.emulator.install_tool("cmd", "#!/system/bin/sh\necho Unknown command\nexit 255\n")
    with pytest.raises(DeviceError, match="no fixed-performance mode"), changed(target.adb, BOTH):
        raise AssertionError("not entered")
    assert settings(target) == BEFORE
    assert pending() == []


def test_settings_that_may_not_be_written_say_so_and_leave_nothing_to_undo(phone: Start) -> None:
    target = phone(settings=BEFORE)
    get = 'case "$3" in screen_brightness) echo 120 ;; screen_brightness_mode) echo 1 ;; *) echo null ;; esac'
    denied = "echo SecurityException: no WRITE_SECURE_SETTINGS; exit 255"
    target.emulator.install_tool("settings", f'#!/system/bin/sh\n[ "$1" = get ] || {{ {denied}; }}\n{get}\n')
    with pytest.raises(DeviceError, match="WRITE_SECURE_SETTINGS"), changed(target.adb, Wanted(screen=True)):
        raise AssertionError("not entered")
    assert pending() == []


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"undo": 1}', '{"undo": [["rm", "-rf", "/"]]}', '{"undo": [["settings", "put", "global", "x", "1"]]}'],
)
def test_a_file_that_holds_other_commands_is_not_obeyed(phone: Start, tmp_path: Path, text: str) -> None:
    target = phone()
    with changed(target.adb, BOTH):
        (file,) = (tmp_path / "state").rglob("*.json")
        good, asked = file.read_text(), len(target.emulator.log.commands)
        file.write_text(text)
        with pytest.raises(DeviceError, match="does not hold what to undo"):
            restore(target.adb)
        assert len(target.emulator.log.commands) == asked
        file.write_text(good)
    assert json.loads(good)["serial"] == target.serial
