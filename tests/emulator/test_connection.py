"""How the real adb binary sees a device, runs commands on it and transfers files."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from tests.emulator.device import Emulator
from tests.emulator.fixtures import Adb

Start = Callable[..., Emulator]
THIRTY_MB = 30_000_000


def test_adb_lists_the_device_with_its_model(adb: Adb, emulator: Start) -> None:
    serial = adb.connect(emulator(model="Pixel 8", product="shiba", device="shiba"))
    (line,) = [line for line in adb("devices", "-l").stdout.decode().splitlines() if line.startswith(serial)]
    assert line.split()[1:5] == ["device", "product:shiba", "model:Pixel_8", "device:shiba"]


def test_shell_passes_both_outputs_and_the_exit_status(adb: Adb, emulator: Start) -> None:
    serial = adb.connect(emulator())
    done = adb("shell", "echo out; echo err >&2; exit 7", serial=serial)
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 7)


def test_a_program_answers_lines_while_its_input_is_open(adb: Adb, emulator: Start) -> None:
    serial = adb.connect(emulator())
    loop = 'while read -r line; do echo "{\\"got\\": $line}"; done; exit 3'
    with adb.start("shell", "-T", loop, serial=serial) as process:
        assert process.stdin and process.stdout
        for number in range(50):
            process.stdin.write(b"%d\n" % number)
            process.stdin.flush()
            assert json.loads(process.stdout.readline()) == {"got": number}
        process.stdin.close()
        assert process.wait() == 3


def test_files_arrive_byte_for_byte_in_both_directions(adb: Adb, emulator: Start, tmp_path: Path) -> None:
    device = emulator()
    serial = adb.connect(device)
    sent = tmp_path / "sent"
    sent.write_bytes(os.urandom(THIRTY_MB))
    digest = hashlib.sha256(sent.read_bytes()).hexdigest()
    assert adb("push", str(sent), "/data/local/tmp/a/b/bundle", serial=serial).returncode == 0
    shown = adb("shell", "sha256sum /data/local/tmp/a/b/bundle", serial=serial).stdout.decode()
    assert shown == f"{digest}  /data/local/tmp/a/b/bundle\n"
    assert adb("pull", "/data/local/tmp/a/b/bundle", str(tmp_path / "back"), serial=serial).returncode == 0
    assert hashlib.sha256((tmp_path / "back").read_bytes()).hexdigest() == digest
    assert device.log.pushed == device.log.pulled == {"/data/local/tmp/a/b/bundle": THIRTY_MB}


def test_the_state_answers_getprop_and_dumpsys_and_changes_while_the_device_runs(adb: Adb, emulator: Start) -> None:
    device = emulator(model="; reboot #", battery_level=40)
    serial = adb.connect(device)
    assert adb("shell", "getprop ro.product.model", serial=serial).stdout == b"; reboot #\n"
    assert b"  level: 40\n" in adb("shell", "dumpsys battery", serial=serial).stdout
    device.state.battery_level = 39
    assert b"  level: 39\n" in adb("shell", "dumpsys battery", serial=serial).stdout
