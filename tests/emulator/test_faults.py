"""Each fault happens when it should, and adb reports it the way it does for a real device."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulator.device import Emulator
from tests.emulator.fixtures import SECONDS_TO_ANSWER, Adb, wait_until

Start = Callable[..., Emulator]
PATH = "/data/local/tmp/file"
MEGABYTES = 3_000_000
CUT = 1_000_001


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file to push."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(MEGABYTES))
    return path


def wait_for_state(adb: Adb, serial: str, state: str) -> None:
    """Wait until adb says that the device is in a state; its server notices a moment after the device changes."""
    assert adb(f"wait-for-any-{state}", serial=serial).returncode == 0


def test_a_device_that_vanishes_in_mid_push_keeps_exactly_what_came_before(
    adb: Adb, emulator: Start, file: Path
) -> None:
    device = emulator()
    serial = adb.connect(device)
    fault = device.faults.vanish("push", "file", at=CUT)
    done = adb("push", str(file), PATH, serial=serial)
    assert done.returncode == 1 and b"failed to read copy response: EOF" in done.stderr
    assert fault.happened.is_set()
    assert device.path(PATH).read_bytes() == file.read_bytes()[:CUT]
    assert [(entry.bytes, entry.complete) for entry in device.log] == [(CUT, False)]


def test_a_device_that_vanishes_in_mid_pull_has_sent_exactly_what_came_before(
    adb: Adb, emulator: Start, file: Path
) -> None:
    device = emulator()
    serial = adb.connect(device)
    device.path(PATH).write_bytes(file.read_bytes())
    device.faults.vanish("pull", at=CUT)
    assert adb("pull", PATH, str(file.with_name("back")), serial=serial).returncode == 1
    assert device.log.pulled == {PATH: CUT}


def test_a_device_that_vanishes_in_mid_command_has_answered_exactly_what_came_before(adb: Adb, emulator: Start) -> None:
    device = emulator()
    serial = adb.connect(device)
    device.faults.vanish("command", "seq", lines=3)
    done = adb("shell", "seq 10; echo @rc=$?", serial=serial)
    assert (done.stdout, done.returncode) == (b"1\n2\n3\n", 255)


def test_exec_out_gives_status_0_for_a_device_that_vanishes(adb: Adb, emulator: Start) -> None:
    device = emulator()
    serial = adb.connect(device)
    device.faults.vanish("command", "seq", lines=3)
    done = adb("exec-out", "seq 10; echo @rc=$?", serial=serial)
    assert (done.stdout, done.returncode) == (b"1\n2\n3\n", 0)


def test_what_runs_goes_on_while_the_device_is_away(adb: Adb, emulator: Start) -> None:
    device = emulator()
    serial = adb.connect(device)
    device.faults.vanish("command", "mkfifo")
    command = "cd /data/local/tmp; mkfifo gate; read -r line <gate; echo $line >gone; echo end >gate"
    assert adb("shell", command, serial=serial).returncode == 255
    device.shell("cd /data/local/tmp; while [ ! -p gate ]; do sleep 0.01; done; echo still >gate; read -r line <gate")
    assert device.path("/data/local/tmp/gone").read_text() == "still\n"


def test_a_device_that_comes_back_is_found_by_adb_itself(adb: Adb, emulator: Start) -> None:
    device = emulator()
    serial = adb.connect(device)
    device.faults.vanish_after("exit 4", back_after=0.1)
    assert adb("shell", "exit 4", serial=serial).returncode == 4
    wait_for_state(adb, serial, "disconnect")
    wait_for_state(adb, serial, "device")
    assert adb("shell", "echo hello again", serial=serial).stdout == b"hello again\n"


def test_a_device_that_is_away_refuses_connections_until_it_is_plugged_in(adb: Adb, emulator: Start) -> None:
    device = emulator()
    device.unplug()
    assert b"Connection refused" in adb("connect", device.serial).stdout
    device.plug_in()
    adb.connect(device)


def test_the_fault_hits_the_request_that_was_meant(adb: Adb, emulator: Start) -> None:
    device = emulator()
    serial = adb.connect(device)
    fault = device.faults.truncate("echo", nth=2)
    commands = ["echo 1", "true", "echo 2", "echo 3"]
    assert [adb("shell", command, serial=serial).stdout for command in commands] == [b"1\n", b"", b"", b"3\n"]
    assert fault.happened.is_set()


def test_output_is_cut_or_turned_to_garbage_and_the_status_does_not_tell(adb: Adb, emulator: Start) -> None:
    device = emulator()
    serial = adb.connect(device)
    device.faults.truncate("seq", lines=2)
    device.faults.garble("echo", at=3)
    cut = adb("shell", "seq 5", serial=serial)
    garbled = adb("shell", "echo 123456", serial=serial)
    assert (cut.stdout, cut.returncode) == (b"1\n2\n", 0)
    assert (garbled.stdout, garbled.returncode) == (b"123\x00\x01\x02\x03", 0)


def test_a_full_disk_ends_a_push(adb: Adb, emulator: Start, file: Path) -> None:
    device = emulator(free_bytes=MEGABYTES + 10)
    serial = adb.connect(device)
    assert adb("push", str(file), PATH, serial=serial).returncode == 0
    done = adb("push", str(file), PATH + "-2", serial=serial)
    assert done.returncode == 1 and b"remote write failed: No space left on device" in done.stderr
    assert not device.path(PATH + "-2").exists()


def test_a_denied_folder_refuses_pushes_and_commands(adb: Adb, emulator: Start, file: Path) -> None:
    device = emulator()
    serial = adb.connect(device)
    device.faults.deny("/data/local/tmp")
    pushed = adb("push", str(file), PATH, serial=serial)
    made = adb("shell", "mkdir /data/local/tmp/folder", serial=serial)
    assert pushed.returncode == 1 and b"remote couldn't create file: Permission denied" in pushed.stderr
    assert made.returncode == 1 and b"Permission denied" in made.stderr
    device.faults.allow()
    assert adb("push", str(file), PATH, serial=serial).returncode == 0


def test_a_command_that_hangs_outlives_its_client(adb: Adb, emulator: Start) -> None:
    device = emulator()
    serial = adb.connect(device)
    fault = device.faults.hang("runner")
    with adb.start("shell", "runner", serial=serial) as process:
        wait_until(lambda: "sleep 1000" in device.processes().values())
        assert process.poll() is None and fault.happened.is_set()
        process.kill()
    assert adb("shell", "true", serial=serial).returncode == 0  # by now the device knows that the client is gone
    assert "sleep 1000" in device.processes().values()


def test_a_delay_comes_before_every_answer(adb: Adb, emulator: Start) -> None:
    device = emulator()
    serial = adb.connect(device)
    device.faults.delay = 3600
    with adb.start("shell", "echo late", serial=serial) as process:
        wait_until(lambda: "echo late" in device.log.commands)
        assert process.poll() is None and device.log[0].bytes == 0
        process.kill()


def test_a_slow_command_begins_late_and_its_output_trickles_but_all_of_it_comes(adb: Adb, emulator: Start) -> None:
    device = emulator()
    serial = adb.connect(device)
    late = device.faults.slow("seq", before=0.2, each=0.01)
    done = adb("shell", "seq 5; exit 3", serial=serial)
    assert (done.stdout, done.returncode) == (b"1\n2\n3\n4\n5\n", 3)
    assert late.happened.is_set()
    device.faults.slow("echo", each=3600)
    with adb.start("shell", "echo slowly", serial=serial) as process:
        wait_until(lambda: device.log[-1].bytes == len(b"slowly\n"))
        assert process.poll() is None, "the device has the output, and keeps it for another hour"
        process.kill()


def test_an_old_device_gives_no_status_and_ends_lines_with_carriage_returns(
    adb: Adb, emulator: Start, file: Path
) -> None:
    device = emulator(shell_v2=False, sdk=23)
    serial = adb.connect(device)
    done = adb("shell", "echo out; echo err >&2; exit 3", serial=serial)
    assert (done.stdout, done.stderr, done.returncode) == (b"out\r\nerr\r\n", b"", 0)
    assert adb("push", str(file), PATH, serial=serial).returncode == 0
    assert adb("pull", PATH, str(file.with_name("back")), serial=serial).returncode == 0
    assert file.with_name("back").read_bytes() == file.read_bytes()


def test_a_device_is_unauthorized_until_the_user_accepts_the_key(adb: Adb, emulator: Start) -> None:
    device = emulator(authorized=False)
    assert b"failed to authenticate" in adb("connect", device.serial).stdout
    assert f"{device.serial}\tunauthorized" in adb("devices").stdout.decode()
    assert b"device unauthorized" in adb("shell", "true", serial=device.serial).stderr
    device.state.authorized = True
    wait_for_state(adb, device.serial, "device")
    assert adb("shell", "echo accepted", serial=device.serial).stdout == b"accepted\n"


def test_two_devices_leave_a_command_without_a_serial_undecided(adb: Adb, emulator: Start) -> None:
    for device in (emulator(), emulator()):
        adb.connect(device)
    done = adb("shell", "true")
    assert done.returncode == 1 and b"more than one device" in done.stderr


def test_the_server_can_be_killed_and_the_device_connected_again(adb: Adb, emulator: Start) -> None:
    device = emulator()
    serial = adb.connect(device)
    with adb.start("shell", "echo begun; sleep 3600", serial=serial) as process:
        assert process.stdout and process.stdout.readline() == b"begun\n"
        adb("kill-server")
        assert process.wait(SECONDS_TO_ANSWER) == 255
    adb.connect(device)
    assert adb("shell", "echo again", serial=serial).stdout == b"again\n"
