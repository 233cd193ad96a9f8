"""Commands, files and facts through the real adb."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.devices.adb.client import Adb, quoted
from edge.devices.adb.executable import ADB_VARIABLE, find_adb
from edge.devices.adb.facts import read_facts
from edge.devices.adb.store import ROOT, Store
from edge.errors import DeviceError, DeviceGoneError, DeviceLostError, RuntimeUnavailableError
from tests.devices.adb.conftest import Phone
from tests.emulator.fixtures import Adb as RealAdb

Start = Callable[..., Phone]
HOSTILE = [
    "; touch /data/local/tmp/pwned #",
    "$(touch /data/local/tmp/pwned)",
    "`touch /data/local/tmp/pwned`",
    "'; touch /data/local/tmp/pwned; '",
    '"; touch /data/local/tmp/pwned; "',
    "a\ntouch /data/local/tmp/pwned\n",
    "--help",
    "-n",
    "*",
    "~",
    "\\",
    "",
    "ünïcödé 漢字 \u202e",
]


def assert_not_injected(phone: Phone) -> None:
    assert not phone.emulator.path("/data/local/tmp/pwned").exists()


@pytest.mark.parametrize("argument", HOSTILE)
def test_an_argument_arrives_as_it_is_and_is_never_run(phone: Start, argument: str) -> None:
    target = phone()
    assert target.adb.shell(["printf", "%s", argument]) == argument
    assert target.adb.script('printf "%s" "$1"', argument) == argument
    assert_not_injected(target)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_no_argument_is_ever_anything_but_itself(started: Phone, arguments: list[str]) -> None:
    said = started.adb.shell(["printf", "%s|", *arguments])
    assert said == "".join(f"{argument}|" for argument in arguments)


@pytest.fixture
def started(phone: Start) -> Phone:
    return phone()


def test_a_zero_byte_is_refused_as_no_shell_can_pass_it() -> None:
    with pytest.raises(DeviceError, match="zero byte"):
        quoted(["a\0b"])


@pytest.mark.parametrize("serial", ["", "a\0b"])
def test_what_is_no_serial_is_refused(serial: str) -> None:
    with pytest.raises(DeviceError, match="no serial"):
        Adb(serial, Path("adb"))


@pytest.mark.parametrize("serial", ["; touch pwned", "$(touch pwned)", "-a", "x device"])
def test_a_hostile_serial_is_a_device_that_is_not_there(
    phone: Start, serial: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DeviceLostError, match="not found"):
        Adb(serial).shell(["true"])
    assert not (tmp_path / "pwned").exists()


SERIALS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(SERIALS, st.sampled_from(HOSTILE[:-2])))
def test_no_serial_is_ever_run(started: Phone, serial: str) -> None:
    with pytest.raises(DeviceError):
        Adb(serial).shell(["true"])
    assert_not_injected(started)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(st.characters(exclude_categories=["Cs", "Cc"])), st.sampled_from(HOSTILE)))
def test_no_model_name_is_ever_run(started: Phone, model: str) -> None:
    started.emulator.state.model = model
    assert read_facts(started.adb).model in (model or None, model.strip() or None)
    assert_not_injected(started)


@pytest.mark.parametrize(
    ("serial", "connects"),
    [
        ("192.168.0.7:5555", True),
        ("phone.local:40001", True),
        ("[::1]:5555", True),
        ("[fe80::1%wlan0]:5555", True),
        ("emulator-5554", False),
        ("0A281JEC200123", False),
        ("adb-R5CT1234-abcdef._adb-tls-connect._tcp", False),
        ("adb-R5CT1234-abcdef (2)._adb-tls-connect._tcp", False),
        ("[fe80::1%wlan0; reboot]:5555", False),
    ],
)
def test_a_lost_device_is_connected_to_only_where_its_serial_is_a_host_and_a_port(
    serial: str, connects: bool, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    blind = tmp_path / "adb"
    blind.write_text(f'#!/bin/sh\necho "$*" >> "{said}"\n')
    blind.chmod(0o755)
    with pytest.raises(DeviceGoneError):
        Adb(serial, blind, back_within_s=0).wait()
    assert (f"connect {serial}" in said.read_text().splitlines()) is connects


def test_a_phone_at_an_ipv6_address_is_connected_again(phone: Start, adb: RealAdb) -> None:
    target = phone(host="::1")
    adb("kill-server")
    target.adb.wait()
    assert target.adb.shell(["echo", target.serial]).startswith("[::1]:")


@pytest.mark.parametrize("model", HOSTILE[:5])
def test_a_hostile_model_name_is_only_a_name(phone: Start, model: str) -> None:
    target = phone(model=model)
    assert read_facts(target.adb).model == model
    assert_not_injected(target)


def test_facts_are_what_the_phone_is(phone: Start) -> None:
    target = phone(abis=("arm64-v8a", "armeabi-v7a"), thermal_status=2, battery_level=40)
    facts = read_facts(target.adb)
    assert (facts.manufacturer, facts.model, facts.soc) == ("Google", "Pixel 8", "Tensor G3")
    assert (facts.android, facts.sdk, facts.kernel) == ("14", 34, "5.15.137-android14-11")
    assert facts.abis == ("arm64-v8a", "armeabi-v7a")
    assert [(cluster.max_khz, cluster.cores) for cluster in facts.clusters] == [
        (1704000, (0, 1, 2, 3)),
        (2367000, (4, 5, 6, 7)),
        (2914000, (8,)),
    ]
    assert (facts.cores, facts.memory_bytes) == (9, 8 << 30)
    assert (facts.battery.level_percent, facts.battery.plugged, facts.thermal_status) == (40, True, 2)
    assert facts.tools == {}
    assert "battery" not in facts.fingerprint(), "what changes from one run to the next is no part of it"


def test_cores_are_chosen_by_speed_or_by_mask(phone: Start) -> None:
    facts = read_facts(phone().adb)
    assert facts.mask("big") == "1f0"
    assert facts.mask("0xf0") == "f0"
    for wrong, message in (("all", "valid for --cores: big"), ("0x0", "valid"), ("0xf000", "all of them are 0x1ff")):
        with pytest.raises(DeviceError, match=message):
            facts.mask(wrong)


def test_facts_that_cannot_be_read_are_none_with_the_text_kept(phone: Start) -> None:
    target = phone()
    target.emulator.install_tool("dumpsys", '#!/system/bin/sh\necho "Cannot find service: $1"\n')
    target.emulator.install_tool("uname", "#!/system/bin/sh\nexit 1\n")
    facts = read_facts(target.adb)
    assert (facts.battery.level_percent, facts.thermal_status, facts.kernel) == (None, None, None)
    assert facts.unparsed["battery"] == "Cannot find service: battery\n"
    assert facts.unparsed["thermal_status"] == "Cannot find service: thermalservice\n"
    assert "uname" in facts.unparsed["kernel"]


def test_a_file_is_pushed_once_and_named_by_its_hash(phone: Start, tmp_path: Path) -> None:
    target = phone()
    file = tmp_path / "; odd 'name' $(x)"
    file.write_bytes(os.urandom(100_000))
    store = Store(target.adb)
    remote = store.ensure(file)
    assert target.emulator.path(remote).read_bytes() == file.read_bytes()
    assert store.ensure(file) == remote
    again = Store(target.adb)
    assert (again.ensure(file), again.pushed_bytes, store.pushed_bytes) == (remote, 0, 100_000)
    assert len(target.emulator.log.pushed) == 1


def test_a_file_of_the_wrong_size_on_the_phone_does_not_count(phone: Start, tmp_path: Path) -> None:
    target = phone()
    file = tmp_path / "file"
    file.write_bytes(b"whole")
    remote = Store(target.adb).ensure(file)
    target.emulator.path(remote).write_bytes(b"who")
    assert Store(target.adb).ensure(file) == remote
    assert target.emulator.path(remote).read_bytes() == b"whole"


def test_libraries_keep_their_names_in_a_folder_of_their_own(phone: Start, tmp_path: Path) -> None:
    target = phone()
    files = [tmp_path / "liba.so", tmp_path / "lib b;.so"]
    for file in files:
        file.write_text(file.name)
    folder = Store(target.adb).folder(files)
    assert Store(target.adb).folder(files) == folder
    for file in files:
        assert target.adb.shell(["cat", f"{folder}/{file.name}"]) == file.name


def test_cleaning_removes_everything_and_the_next_file_is_pushed_again(phone: Start, tmp_path: Path) -> None:
    target = phone()
    file = tmp_path / "file"
    file.write_bytes(b"content")
    store = Store(target.adb)
    store.folder([file])
    target.emulator.path(f"{ROOT}/0.part").write_bytes(b"half")
    assert store.clean() == len("content") + len("half")
    assert not target.emulator.path(ROOT).exists()
    assert store.clean() == 0
    assert target.emulator.path(store.ensure(file)).read_bytes() == b"content"


def test_what_killed_pushes_have_left_is_removed_and_nothing_else(phone: Start, tmp_path: Path) -> None:
    target = phone()
    file = tmp_path / "file"
    file.write_bytes(b"content")
    folder = Store(target.adb).folder([file])
    before = set(target.emulator.path(ROOT).iterdir())
    target.emulator.path(f"{ROOT}/a.part").write_bytes(b"half")
    target.emulator.path(f"{ROOT}/folder-b.part").mkdir()
    Store(target.adb).remove_parts()
    assert set(target.emulator.path(ROOT).iterdir()) == before
    assert target.adb.shell(["cat", f"{folder}/file"]) == "content"


def test_a_file_is_pulled_whole(phone: Start, tmp_path: Path) -> None:
    target = phone()
    data = os.urandom(300_000)
    target.emulator.path("/data/local/tmp/result").write_bytes(data)
    target.adb.pull("/data/local/tmp/result", tmp_path / "result")
    assert (tmp_path / "result").read_bytes() == data


def test_a_phone_that_vanishes_in_a_pull_and_comes_back_gives_the_whole_file(phone: Start, tmp_path: Path) -> None:
    target = phone()
    data = os.urandom(300_000)
    target.emulator.path("/data/local/tmp/result").write_bytes(data)
    fault = target.emulator.faults.vanish("pull", at=100_000, back_after=0.1)
    target.adb.persistently(lambda: target.adb.pull("/data/local/tmp/result", tmp_path / "result"))
    assert fault.happened.is_set()
    assert (tmp_path / "result").read_bytes() == data


def test_what_is_on_a_phone_that_cannot_hash_is_pulled_also_when_it_vanishes_and_comes_back(
    phone: Start, tmp_path: Path
) -> None:
    target = phone()
    for tool in ("sha256sum", "toybox"):
        target.emulator.install_tool(tool, "#!/system/bin/sh\necho not found\nexit 127\n")
    file = tmp_path / "file"
    file.write_bytes(os.urandom(50_000))
    fault = target.emulator.faults.vanish("pull", at=10_000, back_after=0.1)
    remote = Store(target.adb).ensure(file)
    assert fault.happened.is_set()
    assert target.emulator.path(remote).read_bytes() == file.read_bytes()
    assert target.emulator.log.pulled.popitem()[1] > len(file.read_bytes()), "once in part, once whole"


def test_a_size_that_cannot_be_read_is_an_error_and_not_zero(phone: Start, tmp_path: Path) -> None:
    target = phone()
    target.emulator.path("/data/local/tmp/x").write_bytes(b"x")
    target.emulator.install_tool("wc", "#!/system/bin/sh\necho many\n")
    with pytest.raises(DeviceError, match="size of /data/local/tmp/x cannot be read: 'many'"):
        target.adb.pull("/data/local/tmp/x", tmp_path / "x")


def test_a_phone_without_timeout_still_answers(phone: Start) -> None:
    target = phone()
    target.emulator.install_tool("timeout", "#!/system/bin/sh\nexit 127\n")
    assert Adb(target.serial).shell(["echo", "x"]) == "x\n"


def test_a_failing_command_says_what_the_device_said(phone: Start) -> None:
    with pytest.raises(DeviceError, match=r"'cat /no/such' failed \(1\): .*No such file"):
        phone().adb.shell(["cat", "/no/such"])


def test_adb_is_what_the_variable_names_or_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = tmp_path / "adb"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    monkeypatch.setenv(ADB_VARIABLE, str(mine))
    assert find_adb() == mine
    monkeypatch.setenv(ADB_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(RuntimeUnavailableError, match="which is no program"):
        find_adb()
    monkeypatch.delenv(ADB_VARIABLE)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_adb() == mine
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr("edge.devices.adb.executable.find_spec", lambda _: None)
    with pytest.raises(RuntimeUnavailableError, match="pip install adbutils"):
        find_adb()


def test_an_interruption_leaves_no_timer_that_keeps_the_process_from_ending(
    phone: Callable[..., Phone], monkeypatch: pytest.MonkeyPatch
) -> None:
    adb, started = phone().adb, list[threading.Timer]()
    start = threading.Timer.start

    def interrupted(timer: threading.Timer) -> None:
        start(timer)
        started.append(timer)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Timer, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        adb.shell(["true"])
    (timer,) = started
    timer.join(60)
    assert timer.daemon and not timer.is_alive()
