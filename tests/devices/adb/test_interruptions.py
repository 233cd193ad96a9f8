"""`dsnet profile` as a process that is interrupted or killed: the phone's settings come back, finished blocks stay."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.bundle.reader import Bundle
from edge.cli import main
from edge.devices.adb.settings import pending
from edge.profiling import load_latency
from tests.devices.adb.conftest import Phone
from tests.emulator.fixtures import wait_until

pytestmark = pytest.mark.usefixtures("scripted_runner")

DSNET = (sys.executable, "-c", "from edge.cli import main; main()")
ENDLESS = ("--min-runs", "1000000", "--max-runs", "1000000")
BEFORE = {"system": {"screen_brightness": "120", "screen_brightness_mode": "1"}}


@pytest.fixture
def profiling(phone: Callable[..., Phone], bundle: Bundle, tmp_path: Path) -> tuple[Phone, "subprocess.Popen[bytes]"]:
    """A phone, and a process with a group of its own, as a terminal makes it, that is in the midst of profiling it."""
    target, out = phone(settings=BEFORE), tmp_path / "l.json"
    chosen = ("--runtime", "executorch", "--precision", "fp32", "--device", target.serial)
    command = [*DSNET, "profile", str(bundle.root), *chosen, *ENDLESS, "--fixed-performance", "--screen"]
    process = subprocess.Popen([*command, "--out", str(out)], start_new_session=True, stderr=subprocess.PIPE)
    wait_until(lambda: process.poll() is not None or (out.exists() and blocks(out) > 2))
    assert process.poll() is None, process.communicate()
    assert target.emulator.state.fixed_performance
    return target, process


def blocks(table: Path) -> int:
    """Finished blocks of the only run in a table."""
    (run,) = load_latency(table).runs
    return sum(len(entry.blocks_ms) for entry in run.entries)


def assert_as_before(phone: Phone) -> None:
    settings = {name: values for name, values in phone.emulator.state.settings.items() if values}
    assert settings == BEFORE
    assert not phone.emulator.state.fixed_performance
    assert pending() == []


def assert_runner_ended(phone: Phone) -> None:
    wait_until(lambda: "dsnet-edge" not in phone.adb.shell(["ps", "-ef"]))


def test_ctrl_c_sets_everything_back_before_the_process_ends(
    profiling: tuple[Phone, "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    target, process = profiling
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, b"interrupted\n")
    assert_as_before(target)
    assert_runner_ended(target)
    assert blocks(tmp_path / "l.json") > 2


def test_after_a_kill_everything_is_set_back_when_the_phone_is_seen_again(
    profiling: tuple[Phone, "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    target, process = profiling
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert_runner_ended(target)
    assert pending() == [target.serial]
    with pytest.raises(SystemExit):
        main(["devices"])
    assert_as_before(target)
    assert blocks(tmp_path / "l.json") > 2
