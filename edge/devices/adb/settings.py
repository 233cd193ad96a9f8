"""Settings of a device that are changed for a measurement, and always changed back.

Before anything is changed, the commands that undo it are written to a file on this machine. They are removed when they
have run, and only then: after a crash or with the device gone they wait until that device is seen again.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import atomic_write, sha256_bytes
from edge.bundle.records import parse_json
from edge.devices.adb.client import Adb
from edge.errors import DeviceError, DeviceGoneError, DeviceLostError

Commands = list[list[str]]

STATE_VARIABLE = "XDG_STATE_HOME"
PERFORMANCE = ["cmd", "power", "set-fixed-performance-mode-enabled"]
SCREEN = (
    ("global", "stay_on_while_plugged_in", "7"),
    ("system", "screen_brightness_mode", "0"),
    ("system", "screen_brightness", "10"),
)
"""Awake on any charger, and the screen dark: it heats the device, and a sleeping one slows down."""
VALUE = re.compile(r"[A-Za-z0-9_.,:+-]{1,100}")
REMEDY = "see docs/profiling.md to undo it by hand"


@dataclass(frozen=True)
class Wanted:
    """What is to be set while measuring."""

    fixed_performance: bool = False
    """Android's fixed-performance mode (Android 11 and newer): clocks that the device can hold."""
    screen: bool = False
    """Keep awake, with a dark screen."""


NOTHING = Wanted()


@contextmanager
def changed(adb: Adb, wanted: Wanted) -> Iterator[None]:
    """Set what is wanted; on leaving, however that happens, set what was there before.

    A device that is gone is waited for; if it does not come back, the file keeps what to undo.
    """
    adb.persistently(lambda: restore(adb))
    undo: Commands = []
    if wanted.fixed_performance:
        _check_performance(adb)
        undo.append([*PERFORMANCE, "false"])
    if wanted.screen:
        undo += [_undo(adb, namespace, key) for namespace, key, _ in SCREEN]
    if not undo:
        yield
        return
    _keep(adb.serial, undo)
    gone = False
    try:
        adb.persistently(lambda: apply(adb, wanted))
        yield
    except DeviceGoneError:
        gone = True
        raise
    finally:
        _undo_now(adb, gone)


def restore(adb: Adb) -> bool:
    """Undo what an earlier run could not; returns whether there was anything. For whenever a device is seen."""
    path = _file(adb.serial)
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return False
    for command in _kept(text, path)[1]:
        done = adb.try_shell(command)
        if done.status != 0 and not _is_so(adb, command):
            said = " ".join(done.text.split())[:200]
            raise DeviceError(f"{adb.serial}: {' '.join(command)} failed ({said}); it is kept in {path}, {REMEDY}")
    path.unlink()
    return True


def pending() -> list[str]:
    """Return the serials of devices that have something to undo."""
    return sorted(_kept(path.read_bytes(), path)[0] for path in _folder().glob("*.json"))


def _undo_now(adb: Adb, gone: bool) -> None:
    """Restore; a device that stays away is no reason to hide why it was left. The file says what is still to do."""
    with suppress(DeviceLostError):
        adb.persistently(lambda: restore(adb), tries=1 if gone else 3)


def apply(adb: Adb, wanted: Wanted) -> None:
    """Set what is wanted; `changed` is for whoever wants it undone."""
    if wanted.fixed_performance:
        adb.shell([*PERFORMANCE, "true"])
    for namespace, key, value in SCREEN if wanted.screen else ():
        adb.shell(["settings", "put", namespace, key, value])


def _check_performance(adb: Adb) -> None:
    """Refuse a device without fixed-performance mode, which it tells when the mode is switched off."""
    done = adb.persistently(lambda: adb.try_shell([*PERFORMANCE, "false"]))
    if done.status != 0:
        said = " ".join(done.text.split())[:200]
        raise DeviceError(f"{adb.serial} has no fixed-performance mode ({said}); measure without it")


def _is_so(adb: Adb, command: Sequence[str]) -> bool:
    """Return whether a setting that may not be written is what it should be: then it was never changed."""
    if command[0] != "settings":
        return False
    value = adb.shell(["settings", "get", *command[2:4]]).strip()
    return value == (command[4] if command[1] == "put" else "null")


def _undo(adb: Adb, namespace: str, key: str) -> list[str]:
    """Return the command that sets what is set now; raises DeviceError for a value that no setting of these has."""
    value = adb.persistently(lambda: adb.shell(["settings", "get", namespace, key])).strip()
    if value == "null":
        return ["settings", "delete", namespace, key]
    if not VALUE.fullmatch(value):
        raise DeviceError(f"{adb.serial}: setting {key} cannot be read ({value[:100]!r}); measure without changing it")
    return ["settings", "put", namespace, key, value]


def _keep(serial: str, undo: Commands) -> None:
    with atomic_write(_file(serial)) as temporary:
        temporary.write_text(json.dumps({"serial": serial, "undo": undo}), encoding="utf-8")


def _kept(data: bytes, path: Path) -> tuple[str, Commands]:
    """Return the serial and the kept commands: such as are written here, and no others."""
    try:
        kept: Any = parse_json(data)
        commands: Commands = kept["undo"]
        if all(_is_ours(command) for command in commands):
            return str(kept["serial"]), commands
    except (ValueError, TypeError, KeyError, IndexError):
        pass
    raise DeviceError(f"{path} does not hold what to undo on a device; {REMEDY}, then delete it")


def _is_ours(command: Sequence[str]) -> bool:
    names = {(namespace, key) for namespace, key, _ in SCREEN}
    if command == [*PERFORMANCE, "false"]:
        return True
    program, verb, namespace, key, *value = command
    if (program, verb) == ("settings", "delete") and not value:
        return (namespace, key) in names
    is_value = len(value) == 1 and VALUE.fullmatch(value[0]) is not None
    return (program, verb) == ("settings", "put") and (namespace, key) in names and is_value


def _file(serial: str) -> Path:
    return _folder() / f"{sha256_bytes(serial.encode())[:32]}.json"


def _folder() -> Path:
    state = os.environ.get(STATE_VARIABLE) or Path.home() / ".local" / "state"
    return Path(state) / "dsnet-edge" / "undo"
