"""What can go wrong while a phone is profiled, each time through the real adb: nothing is lost, and a line says why."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.bundle.manifest import Artifact
from edge.bundle.reader import Bundle
from edge.cli import main
from edge.devices.adb import client
from edge.devices.adb.client import Adb
from edge.devices.adb.device import AdbDevice, Options
from edge.devices.adb.executable import choose_devices
from edge.devices.adb.facts import read_conditions
from edge.devices.adb.runners.native import variable
from edge.devices.adb.store import ROOT
from edge.errors import DeviceError, DeviceGoneError, DeviceLostError, MeasurementError, RuntimeUnavailableError
from edge.profiling import Run, Settings, load_latency, profile_bundle
from edge.profiling.statistics import samples_ms
from tests.devices.adb.conftest import Phone
from tests.emulator.fixtures import Adb as RealAdb

pytestmark = pytest.mark.usefixtures("scripted_runner")

Start = Callable[..., Phone]
Profile = Callable[..., Run]
RUNNER = " pid="
"""What the command that starts the runner has in it, and no other."""
LOADED = 4
"""Lines of the runner's output before its first block: its process number and three programs."""
GONE = Options(back_within_s=0.5, cool_down_s=0.0)
PATIENT = Options(back_within_s=60.0, cool_down_s=0.0)


@pytest.fixture
def profile(bundle: Bundle, artifact: Artifact, tmp_path: Path) -> Profile:
    def run(target: Phone, options: Options = PATIENT, **more: Any) -> Run:
        device = AdbDevice(target.serial, "native", options, more.pop("sleep", lambda _: None))
        settings = Settings(min_runs=30, max_runs=30)
        return profile_bundle(bundle, artifact, device, tmp_path / "l.json", settings=settings, **more)

    return run


def assert_whole(run: Run) -> None:
    """Every unit has every block, and none is a made-up or half one."""
    assert run.complete
    cost = {"prefix": 1.0, "tail_00": 2.0, "tail_01": 3.0}
    for entry in run.entries:
        assert samples_ms(entry) == [sum(cost[name] for name in entry.programs)] * 30, entry.programs


@pytest.mark.parametrize("at", [0, 1000])
def test_a_phone_that_vanishes_in_a_push_and_comes_back_gets_the_whole_file(
    phone: Start, profile: Profile, at: int
) -> None:
    target = phone()
    fault = target.emulator.faults.vanish("push", at=at, nth=2, back_after=0.3)
    assert_whole(profile(target))
    assert fault.happened.is_set()


def test_a_push_to_a_phone_that_stays_away_leaves_nothing_that_counts(phone: Start, profile: Profile) -> None:
    target = phone()
    target.emulator.faults.vanish("push", at=10)
    with pytest.raises(DeviceLostError, match=r"did not come back within 0\.5 s"):
        profile(target, GONE)
    left = list(target.emulator.path(ROOT).iterdir())
    assert [path.name for path in left if not path.name.endswith(".part")] == []


def test_a_phone_that_vanishes_in_a_command_and_comes_back_is_asked_again(phone: Start, profile: Profile) -> None:
    target = phone()
    target.emulator.faults.vanish("command", "getprop", lines=3, back_after=0.3)
    run = profile(target)
    assert run.environment["model"] == "Pixel 8"
    assert_whole(run)


@pytest.mark.parametrize("lines", [LOADED + 1, LOADED + 17, LOADED + 30])
def test_a_phone_that_vanishes_in_a_block_and_comes_back_is_profiled_to_the_end(
    phone: Start, profile: Profile, lines: int
) -> None:
    target = phone()
    fault = target.emulator.faults.vanish("command", RUNNER, lines=lines, back_after=0.3)
    assert_whole(profile(target))
    assert fault.happened.is_set()
    assert "dsnet-edge" not in target.adb.shell(["ps", "-ef"]), "the runner that was left behind is ended too"


def test_a_phone_that_vanishes_between_blocks_and_comes_back_is_profiled_to_the_end(
    phone: Start, profile: Profile
) -> None:
    target = phone()
    fault = target.emulator.faults.vanish_after("thermalservice", nth=3, back_after=0.3)
    assert_whole(profile(target))
    assert fault.happened.is_set()


def test_what_a_killed_push_has_left_is_gone_when_the_phone_is_profiled_again(phone: Start, profile: Profile) -> None:
    target = phone()
    target.emulator.faults.vanish("push", at=10)
    with pytest.raises(DeviceLostError):
        profile(target, GONE)
    assert list(target.emulator.path(ROOT).glob("*.part"))
    target.emulator.plug_in()
    assert_whole(profile(target))
    assert list(target.emulator.path(ROOT).glob("*.part")) == []


def test_resume_goes_on_with_a_phone_that_was_lost(
    phone: Start, profile: Profile, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, out = phone(), tmp_path / "l.json"
    target.emulator.faults.vanish("command", RUNNER, lines=LOADED + 30)
    with pytest.raises(DeviceLostError, match="the same command with --resume goes on"):
        profile(target, GONE)
    (kept,) = load_latency(out).runs
    target.emulator.plug_in()
    chosen = ["--runtime", "executorch", "--precision", "fp32", "--min-runs", "30", "--max-runs", "30"]
    command = ["profile", str(bundle.root), *chosen, "--out", str(out), "--device", target.serial, "--resume"]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert not ended.value.code, capsys.readouterr().err
    (run,) = load_latency(out).runs
    assert_whole(run)
    assert [entry.first_run_ms for entry in run.entries] == [entry.first_run_ms for entry in kept.entries]
    asked = len(target.emulator.log)
    with pytest.raises(SystemExit):
        main(command)
    assert load_latency(out).runs == [run], "finished: it stays as it is"
    assert {entry.kind for entry in target.emulator.log[asked:]} <= {"command"}


def test_of_a_phone_that_stays_away_finished_blocks_are_kept_and_the_same_command_goes_on(
    phone: Start, profile: Profile, tmp_path: Path
) -> None:
    target = phone()
    target.emulator.faults.vanish("command", RUNNER, lines=LOADED + 30)
    with pytest.raises(DeviceLostError, match=r"l\.json: the same command with --resume goes on"):
        profile(target, GONE)
    (kept,) = load_latency(tmp_path / "l.json").runs
    finished = sum(len(entry.blocks_ms) for entry in kept.entries)
    assert 0 < finished < 15
    assert not kept.complete
    target.emulator.plug_in()
    run = profile(target)
    assert_whole(run)
    assert [entry.first_run_ms for entry in run.entries] == [entry.first_run_ms for entry in kept.entries]


def test_the_server_of_adb_killed_in_mid_run_is_started_again(phone: Start, profile: Profile, adb: RealAdb) -> None:
    target, seen = phone(), list[Run]()

    def kill_once(run: Run) -> None:
        seen.append(run)
        if len(seen) == 4:
            adb("kill-server")

    assert_whole(profile(target, on_block=kill_once))
    assert len(seen) > 15


def test_a_full_disk_is_one_line_that_says_how_much_is_needed(phone: Start, profile: Profile) -> None:
    target = phone(free_bytes=1000)
    with pytest.raises(DeviceError, match=r"no space for .* \([0-9]+ bytes\) in /data/local/tmp/dsnet-edge; free some"):
        profile(target)


def test_a_folder_that_may_not_be_written_is_one_line(phone: Start, profile: Profile) -> None:
    target = phone()
    target.emulator.faults.deny(ROOT)
    with pytest.raises(DeviceError, match="Permission denied"):
        profile(target)


def test_a_runner_built_for_another_machine_is_refused_before_it_is_pushed(
    phone: Start, profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + b"\xb7\0" + bytes(100))
    monkeypatch.setenv(variable("x86_64"), str(foreign))
    target = phone()
    with pytest.raises(RuntimeUnavailableError, match="is built for arm64-v8a, but the device runs x86_64"):
        profile(target)
    assert target.emulator.log.pushed == {}


def test_an_abi_without_a_runner_says_where_one_was_looked_for(phone: Start, profile: Profile) -> None:
    target = phone(abis=("riscv64",))
    with pytest.raises(RuntimeUnavailableError, match=r"no native runner for riscv64; .*DSNET_RUNNER_RISCV64"):
        profile(target)


def test_a_runner_that_cannot_start_there_says_what_the_device_said(
    phone: Start, profile: Profile, scripted_runner: Path
) -> None:
    scripted_runner.write_text("#!/no/such/interpreter\n")
    with pytest.raises(RuntimeUnavailableError, match="does not run there"):
        profile(phone())


def test_a_phone_before_android_7_is_profiled_all_the_same(phone: Start, profile: Profile) -> None:
    assert_whole(profile(phone(shell_v2=False, sdk=23)))


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("garbage", "its answer cannot be read"),
        ("truncate", r"ended without an answer \(exit status 3\)"),
        ("die", r"ended without an answer \(exit status 139\): .*out of luck"),
        ("refuse", "no such method"),
    ],
)
def test_a_runner_that_babbles_or_dies_is_one_line_and_not_a_lost_phone(
    phone: Start, profile: Profile, mode: str, message: str
) -> None:
    target = phone()
    target.misbehave(mode)
    with pytest.raises((MeasurementError, RuntimeUnavailableError), match=message) as caught:
        profile(target)
    assert not isinstance(caught.value, DeviceLostError)
    assert "\n" not in str(caught.value)


def test_a_runner_that_hangs_is_ended_on_the_phone(phone: Start, profile: Profile) -> None:
    target = phone()
    target.misbehave("hang")
    with pytest.raises(MeasurementError, match="no answer from dsnet-runner for 2 s; it was ended"):
        profile(target, Options(answer_s=2))
    (program,) = [name for name in target.emulator.log.pushed if name.endswith(".part")][:1]
    digest = program.removeprefix(f"{ROOT}/")[:64]
    assert digest not in target.adb.shell(["ps", "-ef"])


def test_garbage_instead_of_an_answer_is_a_lost_phone_and_asked_for_again(phone: Start, profile: Profile) -> None:
    target = phone()
    fault = target.emulator.faults.garble("getprop")
    assert_whole(profile(target))
    assert fault.happened.is_set()


def test_a_runner_whose_first_words_are_garbage_is_started_again(phone: Start, profile: Profile) -> None:
    target = phone()
    fault = target.emulator.faults.garble(RUNNER)
    assert_whole(profile(target, Options(answer_s=5)))
    assert fault.happened.is_set()


def test_an_answer_that_ends_early_is_a_lost_phone_and_asked_for_again(phone: Start, profile: Profile) -> None:
    target = phone()
    fault = target.emulator.faults.truncate("getprop", lines=2)
    run = profile(target)
    assert run.environment["model"] == "Pixel 8"
    assert fault.happened.is_set()


@pytest.mark.parametrize("match", ["getprop", RUNNER, "thermalservice"])
@pytest.mark.parametrize("slow", [{"before": 2.0}, {"each": 0.0005}], ids=["late", "trickling"])
def test_a_slow_answer_is_waited_for_and_is_no_lost_phone(
    phone: Start, profile: Profile, match: str, slow: dict[str, Any]
) -> None:
    target = phone()
    fault = target.emulator.faults.slow(match, **slow)
    run = profile(target)
    assert fault.happened.is_set()
    assert_whole(run)
    assert run.environment["model"] == "Pixel 8"
    assert {conditions["thermal_status"] for conditions in run.environment["conditions"]} == {0}
    asked = target.emulator.log.commands
    assert [sum(word in command for command in asked) for word in (RUNNER, "getprop")] == [1, 1], "nothing twice"


def test_a_phone_that_takes_long_to_greet_is_back_all_the_same(phone: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "GRACE_SECONDS", 0.2)
    target = phone()
    target.emulator.faults.delay = 1
    Adb(target.serial, back_within_s=30).wait()
    assert Adb(target.serial).shell(["echo", "here"]) == "here\n"


def test_conditions_that_take_too_long_are_unknown_and_end_no_run(phone: Start) -> None:
    target = phone()
    target.emulator.install_tool("dumpsys", "#!/system/bin/sh\nsleep 600\n")
    conditions = read_conditions(target.adb, timeout_s=1)
    assert (conditions["thermal_status"], conditions["battery_c"]) == (None, None)
    assert len(conditions["khz"]) == 9


def test_a_command_that_hangs_is_ended_in_time(phone: Start) -> None:
    target = phone()
    with pytest.raises(DeviceError, match="took over 1 s"):
        target.adb.shell(["sleep", "600"], timeout_s=1)
    assert "sleep 600" not in target.adb.shell(["ps", "-ef"])


def test_an_unauthorized_phone_says_what_to_do(phone: Start) -> None:
    target = phone()
    target.emulator.unplug()
    target.emulator.state.authorized = False
    target.emulator.plug_in()
    with pytest.raises(DeviceGoneError, match="unauthorized: unlock it and accept this computer"):
        Adb(target.serial, back_within_s=5).wait()
    with pytest.raises(DeviceError, match="unauthorized: unlock it and accept this computer"):
        choose_devices(target.serial)
    with pytest.raises(DeviceError, match="unauthorized: unlock it and accept this computer"):
        target.adb.shell(["true"])


def test_of_two_phones_none_is_chosen_silently(phone: Start) -> None:
    one, other = phone(), phone()
    with pytest.raises(DeviceError, match="name one with --device, or all of them: all"):
        choose_devices(None)
    assert {one.serial, other.serial} <= set(choose_devices("all"))
    assert choose_devices(other.serial) == [other.serial]
    with pytest.raises(DeviceError, match="no device 'third'"):
        choose_devices("third")


def test_a_hot_phone_rests_and_its_block_is_measured_again(phone: Start, profile: Profile) -> None:
    target, rests = phone(), list[float]()

    def rest(seconds: float) -> None:
        rests.append(seconds)
        target.emulator.state.canary_slowdown = 1.0

    def heat_up(run: Run) -> None:
        if sum(len(entry.blocks_ms) for entry in run.entries) == 2:
            target.emulator.state.canary_slowdown = 1.5

    run = profile(target, Options(cool_down_s=7), sleep=rest, on_block=heat_up)
    assert_whole(run)
    assert rests == [7]
    assert run.environment["remeasured_blocks"] == 1
    assert "cool_down_given_up" not in [warning.code for warning in run.warnings]


def test_a_phone_that_stays_hot_is_given_up_on_honestly(phone: Start, profile: Profile) -> None:
    target, rests = phone(), list[float]()

    def heat_up(_: Run) -> None:
        target.emulator.state.canary_slowdown = 1.5

    run = profile(target, sleep=rests.append, on_block=heat_up)
    assert run.complete
    assert len(rests) == 5, "one block's worth of rests, then none"
    codes = [warning.code for warning in run.warnings]
    assert "cool_down_given_up" in codes
    assert "throttled" in codes


def test_the_phone_that_was_away_is_the_one_that_is_waited_for(phone: Start) -> None:
    target = phone()
    target.emulator.unplug()
    with pytest.raises(DeviceLostError, match=r"did not come back within 0\.2 s"):
        Adb(target.serial, back_within_s=0.2).wait()
    target.emulator.plug_in()
    target.adb.wait()
    assert Adb(target.serial).shell(["echo", "here"]) == "here\n"
