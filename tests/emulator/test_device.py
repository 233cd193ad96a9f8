"""What runs on the device, and what it says about itself."""

import hashlib
import shutil
import struct
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
    device = emulator(model=model)
    assert device.shell("getprop ro.product.model") == f"{model}\n"
    assert f"\n[ro.product.model]: [{model}]\n" in device.shell("getprop")


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
    assert device.shell("id -u; whoami") == "2000\nshell\n"
    refused = device.shell(f"echo broken 2>&1 >{tmp_path}/of-this-machine; rm {tmp_path}/of-this-machine 2>&1; echo $?")
    assert refused.endswith("1\n") and (tmp_path / "of-this-machine").read_text() == "untouched"


def test_a_device_has_only_androids_tools(emulator: Start) -> None:
    assert emulator().shell("for tool in python3 bash gcc jq perl; do which $tool; done; echo end") == "end\n"


def test_tools_are_installed_and_removed(emulator: Start) -> None:
    device = emulator()
    device.install_tool("am", '#!/system/bin/sh\necho "Starting: $2"\n')
    device.remove_tool("timeout")
    assert device.shell("am start app; timeout 5 true 2>/dev/null; echo $?") == "Starting: app\n127\n"


def test_packages_are_listed(emulator: Start) -> None:
    device = emulator(packages=("com.android.settings", "org.example.demo"))
    assert device.shell("pm list packages example; cmd package list packages") == (
        "package:org.example.demo\npackage:com.android.settings\npackage:org.example.demo\n"
    )
    assert device.shell("pm path org.example.demo; pm path org.example; echo $?") == (
        "package:/data/app/org.example.demo/base.apk\n1\n"
    )


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


def arm64_program(text: bytes, status: int) -> bytes:
    """Return a static ELF program for arm64 that writes `text` and exits with `status`."""
    header_bytes, instructions, base = 64 + 56, 8, 0x400000
    move = [
        0xD2800000 | value << 5 | register
        for register, value in ((0, 1), (2, len(text)), (8, 64), (0, status), (8, 93))
    ]
    address = 0x10000000 | (instructions - 1) << 5 | 1  # adr x1, text: 7 instructions further
    call = 0xD4000001
    code = struct.pack("<8I", move[0], address, move[1], move[2], call, move[3], move[4], call)
    size = header_bytes + len(code) + len(text)
    elf = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 183, 1, base + header_bytes, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    return elf + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 4096) + code + text


def able(device: Emulator) -> Emulator:
    """Return the device where the kernel lets it choose what starts arm64 programs; skips elsewhere."""
    if not device.sandbox.handles_arm64:
        pytest.skip("binfmt_misc needs Linux 6.7 for a device of its own")
    return device


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Return an arm64 program to push."""
    path = tmp_path / "program"
    path.write_bytes(arm64_program(b"ran on arm64\n", 7))
    path.chmod(0o755)
    return path


def test_arm64_programs_run_where_arm64_is_claimed(emulator: Start, adb: Adb, program: Path) -> None:
    if shutil.which("qemu-aarch64-static") is None:
        pytest.skip("no qemu-aarch64-static; apt-get install qemu-user-static")
    serial = adb.connect(able(emulator(abis=("arm64-v8a",))))
    assert adb("push", str(program), "/data/local/tmp/program", serial=serial).returncode == 0
    done = adb("shell", "cd /data/local/tmp && sha256sum program && ./program", serial=serial)
    assert done.stdout.endswith(b"ran on arm64\n") and done.returncode == 7
    assert done.stdout.decode().startswith(hashlib.sha256(program.read_bytes()).hexdigest())


def test_arm64_programs_are_refused_where_arm64_is_not_claimed(emulator: Start, adb: Adb, program: Path) -> None:
    serial = adb.connect(able(emulator(abis=("x86_64",))))
    assert adb("push", str(program), "/data/local/tmp/program", serial=serial).returncode == 0
    done = adb("shell", "/data/local/tmp/program", serial=serial)
    assert done.returncode == 126 and b"program: not executable: 64-bit ELF file" in done.stderr


def test_an_installed_app_runs_with_its_extras_in_a_process_of_its_name_until_it_is_stopped(emulator: Start) -> None:
    device = emulator()
    device.install_app("org.example.app", 'echo "$1 and $2" >/sdcard/said; sleep 1000')
    assert device.shell("cmd package list packages example") == "package:org.example.app\n"
    started = device.shell("am start -S -n org.example.app/.Main -e one 'a b' -e two c")
    assert "cmp=org.example.app/.Main" in started
    wait_until(lambda: device.path("/sdcard/said").is_file())
    assert device.path("/sdcard/said").read_text() == "a b and c\n"
    first = device.shell("pidof org.example.app")
    device.shell("am start -S -n org.example.app/.Main")
    wait_until(lambda: device.shell("pidof org.example.app || true") not in ("", first))
    device.shell("am force-stop org.example.app")
    wait_until(lambda: not [line for line in device.processes().values() if "org.example.app" in line])


def test_an_app_that_is_not_installed_is_not_started(emulator: Start) -> None:
    said = emulator().shell("am start -n org.example.app/.Main; echo $?")
    assert said.endswith("Error: Activity class {org.example.app/.Main} does not exist.\n1\n")
