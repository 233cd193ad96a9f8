"""How the real adb binary sees a device, runs commands on it and transfers files."""

import hashlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulator.device import Emulator
from tests.emulator.fixtures import SECONDS_TO_ANSWER, Adb, wait_until
from tests.emulator.state import DeviceState

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


@pytest.mark.parametrize("shell_v2", [True, False])
def test_folders_are_listed_pushed_and_pulled(adb: Adb, emulator: Start, tmp_path: Path, shell_v2: bool) -> None:
    serial = adb.connect(emulator(shell_v2=shell_v2))
    for name in ("one", "inner/two"):
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    assert adb("push", str(tmp_path / "folder"), "/data/local/tmp/", serial=serial).returncode == 0
    listed = adb("ls", "/data/local/tmp/folder", serial=serial).stdout.decode().splitlines()
    assert {line.split()[-1]: line.split()[1] for line in listed}["one"] == "00000003"
    assert adb("pull", "/data/local/tmp/folder", str(tmp_path / "back"), serial=serial).returncode == 0
    assert (tmp_path / "back" / "inner" / "two").read_text() == "inner/two"


def test_a_pushed_file_keeps_its_mode_and_time(adb: Adb, emulator: Start, tmp_path: Path) -> None:
    serial = adb.connect(emulator())
    (tmp_path / "program").write_text("#!/system/bin/sh\necho ran\n")
    (tmp_path / "program").chmod(0o755)
    os.utime(tmp_path / "program", (1_700_000_000, 1_700_000_000))
    adb("push", str(tmp_path / "program"), "/data/local/tmp/program", serial=serial)
    done = adb("shell", "stat -c '%a %Y' /data/local/tmp/program; /data/local/tmp/program", serial=serial)
    assert done.stdout == b"755 1700000000\nran\n"


@pytest.mark.parametrize("how", [("shell", "-T"), ("exec-out",)])
def test_long_streams_arrive_whole_also_when_the_reader_is_slow(
    adb: Adb, emulator: Start, how: tuple[str, ...]
) -> None:
    device = emulator()
    serial = adb.connect(device)
    content = os.urandom(THIRTY_MB // 3)
    done = adb("shell", "-T", "sleep 0.1; cat >/data/local/tmp/stream", serial=serial, stdin=content)
    assert done.returncode == 0
    assert device.path("/data/local/tmp/stream").read_bytes() == content
    with adb.start(*how, "cat /data/local/tmp/stream", serial=serial) as process:
        assert process.stdout
        received = bytearray(process.stdout.read(1))
        wait_until(lambda: device.log[-1].bytes > 0)
        received += process.stdout.read()
    assert bytes(received) == content


def test_what_is_no_adb_packet_fails_the_test(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="the emulator itself failed"), Emulator(DeviceState(), tmp_path) as device:
        host, port = device.serial.split(":")
        with socket.create_connection((host, int(port)), SECONDS_TO_ANSWER) as connection:
            connection.sendall(bytes(24))
            assert connection.recv(1) == b""
