"""What runs on the device, and what it says about itself."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulator.device import Emulator
from tests.emulator.fixtures import Adb, wait_until
from tests.emulator.state import Cluster, DeviceState

Start = Callable[..., Emulator]
MODEL_NAMES = ["Pixel 8", "$(reboot)", "; exit 9 #", "a'b\"c`d", "-n", "\\t%s", "größer", "*", "two\nlines"]


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_getprop_gives_any_model_name_as_it_is(emulator: Start, model: str) -> None:
    assert emulator(model=model).shell("getprop ro.product.model") == f"{model}\n"


def test_getprop_lists_all_and_gives_defaults(emulator: Start) -> None:
    device = emulator(abis=("arm64-v8a", "armeabi-v7a"), properties={"debug.mine": "yes"})
    listed = device.shell("getprop").splitlines()
    assert {"[ro.product.cpu.abilist]: [arm64-v8a,armeabi-v7a]", "[debug.mine]: [yes]"} <= set(listed)
    assert device.shell("getprop ro.none; getprop ro.none other; uname -m") == "\nother\naarch64\n"


def test_proc_and_sys_show_the_clusters(emulator: Start) -> None:
    device = emulator(clusters=(Cluster(4, 1_800_000), Cluster(2, 2_400_000)), ram_bytes=6 << 30, abis=("arm64-v8a",))
    cpu = "/sys/devices/system/cpu"
    assert device.shell(f"cat {cpu}/possible {cpu}/cpu5/cpufreq/cpuinfo_max_freq") == "0-5\n2400000\n"
    assert device.shell(f"cat {cpu}/cpufreq/policy4/related_cpus; ls {cpu}/cpufreq") == "4 5\npolicy0\npolicy4\n"
    assert device.shell("grep -c ^processor /proc/cpuinfo; grep MemTotal /proc/meminfo; nproc").split() == [
        *("6", "MemTotal:", str(6 << 20), "kB", "6")
    ]


def test_a_hot_device_shows_it_everywhere_and_cools_down(emulator: Start) -> None:
    device = emulator(clusters=(Cluster(2, 2_000_000),))
    look = (
        "cat /sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq $EMULATOR/canary_slowdown; echo;"
        "dumpsys thermalservice | grep 'Thermal Status'; dumpsys battery | grep temperature"
    )
    device.state.throttle(2.0, status=4)
    assert device.shell(look) == "1000000\n2.0\nThermal Status: 4\n  temperature: 430\n"
    device.state.cool_down()
    assert device.shell(look) == "2000000\n1.0\nThermal Status: 0\n  temperature: 275\n"


def test_settings_and_fixed_performance_mode_are_kept_in_the_state(emulator: Start, adb: Adb) -> None:
    device = emulator(settings={"system": {"screen_brightness": "100"}})
    serial = adb.connect(device)
    changes = "settings put system screen_brightness 10; svc power stayon true"
    adb("shell", f"{changes}; cmd power set-fixed-performance-mode-enabled true", serial=serial)
    assert device.state.settings == {
        "system": {"screen_brightness": "10"},
        "global": {"stay_on_while_plugged_in": "15"},
    }
    assert device.state.fixed_performance is True
    device.state.settings = {"system": {"screen_brightness": "20"}}
    device.state.fixed_performance = False
    shown = device.shell("settings get system screen_brightness; settings get global stay_on_while_plugged_in")
    assert shown == "20\nnull\n"


def test_taskset_refuses_cores_that_the_device_does_not_have(emulator: Start) -> None:
    device = emulator(clusters=(Cluster(4, 1_800_000),))
    assert device.shell("taskset f echo ran; taskset f0 echo never 2>&1; echo $?").splitlines() == [
        *("ran", "taskset: sched_setaffinity: Invalid argument", "1")
    ]


def test_commands_are_an_ordinary_user_and_cannot_write_outside_the_device(emulator: Start, tmp_path: Path) -> None:
    (tmp_path / "of-this-machine").write_text("untouched")
    device = emulator()
    assert device.shell("id -u") == "2000\n"
    refused = device.shell(f"echo broken 2>&1 >{tmp_path}/of-this-machine; rm {tmp_path}/of-this-machine 2>&1; echo $?")
    assert refused.endswith("1\n") and (tmp_path / "of-this-machine").read_text() == "untouched"


def test_a_device_has_only_androids_tools(emulator: Start) -> None:
    assert emulator().shell("for tool in python3 bash gcc jq perl; do which $tool; done; echo end") == "end\n"


def test_processes_end_with_the_device(tmp_path: Path) -> None:
    with Emulator(DeviceState(), tmp_path) as device:
        device.shell("sleep 3600 >/dev/null 2>&1 &")
        wait_until(lambda: "sleep 3600" in device.processes().values())
        holder = Path(f"/proc/{device.sandbox.process}")
        assert holder.exists()
    assert not holder.exists()


def test_this_machines_processor_shows_through_when_asked(emulator: Start) -> None:
    device = emulator(host_cpu=True)
    assert device.shell("cat /sys/devices/system/cpu/possible") == Path("/sys/devices/system/cpu/possible").read_text()
    assert device.shell("cat /proc/version") == Path("/proc/version").read_text()


def test_storage_outlives_the_device(tmp_path: Path) -> None:
    for expected in ("", "kept\n"):
        with Emulator(DeviceState(), tmp_path) as device:
            assert device.shell("cat /sdcard/note 2>/dev/null; echo kept >/sdcard/note") == expected


def test_x86_64_programs_run_as_they_are(emulator: Start) -> None:
    device = emulator()
    shutil.copy("/bin/true", device.path("/data/local/tmp/program"))
    assert device.shell("/data/local/tmp/program && echo ran") == "ran\n"
