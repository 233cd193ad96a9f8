"""The device's file system and processes, isolated from this machine's by Linux' namespaces."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from tests.emulator import render
from tests.emulator.state import DeviceState

HERE = Path(__file__).parent
QEMU = "qemu-aarch64-static"
ARM64_LIBRARIES = "/usr/aarch64-linux-gnu"
GROUPS = "root:x:0:\nshell:x:2000:\n"
USERS = "root:x:0:0::/:/system/bin/sh\nshell:x:2000:2000::/:/system/bin/sh\n"
TOOLBOX = (HERE / "toybox.txt").read_text().split()
"""What Android's toybox has and tests may use. There is no python, awk or bash on a phone."""


class NoSandboxError(Exception):
    """This machine does not let an ordinary user make namespaces."""


class Sandbox:
    """Runs commands as the device does."""

    def __init__(self, state: DeviceState, folder: Path, support: Path) -> None:
        """`folder` is what the device keeps (data, sdcard), `support` what it is made of."""
        self.state = state
        self.folder = folder
        self.support = support
        self._written: dict[Path, str] = {}
        self._writing = Lock()
        for name in ("data/local/tmp", "sdcard/Download"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._install_tools()
        render.write_files(support / "etc", {"passwd": USERS, "group": GROUPS}, {})
        self.write_state()
        self._nsenter = shutil.which("nsenter") or "/usr/bin/nsenter"
        self._holder: subprocess.Popen[str] | None = None
        self.process = 0
        """The device's first process, as this machine numbers it."""
        self.handles_arm64 = False
        """Whether arm64 programs run where arm64 is claimed, and are refused where not, as on a phone."""

    def start(self) -> None:
        """Make the namespaces."""
        root = self.support / "root"
        root.mkdir()
        places = [str(path) for path in (root, self.folder, self.support)]
        options = ["host" if self.state.host_cpu else "state", self._arm64_interpreter()]
        self._holder = subprocess.Popen(
            [sys.executable, "-I", "-S", str(HERE / "holder.py"), *places, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None and self._holder.stderr is not None
        process, _, arm64 = self._holder.stdout.readline().strip().partition(" ")
        if not process:
            self.stop()
            reasons = self._holder.stderr.read().strip().splitlines() or [f"exit status {self._holder.returncode}"]
            raise NoSandboxError(f"no user namespaces on this machine: {reasons[-1]}")
        self.process = int(process)
        self.handles_arm64 = arm64 == "True"

    def stop(self) -> None:
        """End every process of the device."""
        if self._holder is not None:
            assert self._holder.stdin is not None
            self._holder.stdin.close()
            self._holder.wait()

    def argv(self, command: str) -> list[str]:
        """Return how this machine runs a shell command on the device."""
        namespaces = ["--user", "--mount", "--pid", "--root", "--wd", "--preserve-credentials"]
        return [self._nsenter, "--target", str(self.process), *namespaces, "--", "/system/bin/sh", "-c", command]

    def environment(self) -> dict[str, str]:
        """Return the environment of the device's commands."""
        return {
            "PATH": "/system/bin",
            "HOME": "/",
            "TMPDIR": "/data/local/tmp",
            "ANDROID_DATA": "/data",
            "EMULATOR": "/system/emulator",
            "QEMU_LD_PREFIX": ARM64_LIBRARIES,
            "QEMU_CPU": "cortex-a76",
        }

    def path(self, path: str) -> Path:
        """Return where this machine sees a path of the device."""
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise FileNotFoundError(2, "No such file or directory")
        return Path(f"/proc/{self.process}/root", *parts)

    def write_state(self, changed: str = "") -> None:
        """Bring the device's files up to date with the state, of which `changed` was assigned."""
        with self._writing:  # tests assign in one thread, transfers in another
            if changed == "settings":
                self._forget("settings")
            if changed == "fixed_performance":
                self._forget("fixed_performance")
            render.write_files(self.support / "state", render.tool_files(self.state), self._written)
            render.write_files(self.support / "sys", render.sys_files(self.state), self._written)
            if not (self.support / "proc").exists():  # these are mounted one by one, so they cannot be replaced later
                render.write_files(self.support / "proc", render.proc_files(self.state), self._written)

    def processes(self) -> dict[int, str]:
        """Return the command lines of what runs on the device, by its own process numbers."""
        found = {}
        for folder in self.path("/proc").iterdir():
            if folder.name.isdigit() and folder.name != "1":
                with suppress(OSError):  # it has just ended
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        return {number: line for number, line in found.items() if line}

    def _arm64_interpreter(self) -> str:
        qemu = shutil.which(QEMU) if "arm64-v8a" in self.state.abis else None
        return qemu or "/system/bin/not-executable"

    def _forget(self, name: str) -> None:
        """Remove what commands of the device may have changed."""
        place = self.support / "state" / name
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        self._written = {path: text for path, text in self._written.items() if not path.is_relative_to(place)}

    def read_settings(self) -> dict[str, dict[str, str]]:
        """Return the settings as the device's commands left them."""
        folder = self.support / "state" / "settings"
        files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
        found: dict[str, dict[str, str]] = {}
        for path in files:
            found.setdefault(path.parent.name, {})[path.name] = path.read_text()
        return found

    def read_fixed_performance(self) -> bool:
        """Return whether the device's commands left fixed-performance mode on."""
        return (self.support / "state" / "fixed_performance").read_text().strip() == "true"

    def install_tool(self, name: str, script: str) -> None:
        """Put a program into the device's PATH."""
        path = self.support / "system" / "bin" / name
        path.unlink(missing_ok=True)
        path.write_text(script)
        path.chmod(0o755)

    def remove_tool(self, name: str) -> None:
        """Take a program out of the device's PATH."""
        (self.support / "system" / "bin" / name).unlink()

    def _install_tools(self) -> None:
        (self.support / "system" / "bin").mkdir(parents=True)
        (self.support / "system" / "emulator").mkdir()
        for name in TOOLBOX:
            program = toybox_of_android(name) or shutil.which(name)
            if program is not None:
                (self.support / "system" / "bin" / name).symlink_to(program)
        (self.support / "system" / "bin" / "sh").symlink_to(shutil.which("mksh") or "/bin/sh")
        for tool in sorted((HERE / "tools").iterdir()):
            self.install_tool(tool.name, tool.read_text())


@cache
def toybox_of_android(name: str) -> str | None:
    """Return the path of toybox, Android's own tools, where it is installed and has this one."""
    toybox = shutil.which("toybox")
    if toybox is None:
        return None
    known = subprocess.run([toybox], capture_output=True, text=True).stdout.split()
    return toybox if name in known else None


@contextmanager
def sandbox_of(state: DeviceState, folder: Path) -> Iterator[Sandbox]:
    """Yield a running sandbox; its processes end with it, its files in `folder` stay."""
    in_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # hundreds of small files take a while on a disk
    with TemporaryDirectory(prefix="android-", dir=in_memory) as support:
        sandbox = Sandbox(state, folder.resolve(), Path(support).resolve())
        sandbox.start()
        try:
            yield sandbox
        finally:
            sandbox.stop()
