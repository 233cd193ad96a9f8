"""The runner, built once per machine and configuration into build/native-test, for whatever this machine can build."""

import fcntl
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import pytest

from edge.bundle.reader import Bundle, open_bundle
from tests.native.conversation import Command
from tests.native.data import NETWORKS

REPOSITORY = Path(__file__).parents[2]
SOURCE = REPOSITORY / "edge" / "native"
BUILDS = REPOSITORY / "build" / "native-test"
TOOLCHAIN = SOURCE / "aarch64-linux.cmake"
ARM64_LIBRARIES = Path("/usr/aarch64-linux-gnu")
ARM64_COMPILERS = ("aarch64-linux-gnu-g++", "aarch64-linux-gnu-g++-12")


@pytest.fixture(scope="session")
def runner() -> Command:
    """Return the command that starts the runner, built as it ships; the other two are Debug, which builds faster."""
    return [str(build("x86-64", executorch_root()))]


@pytest.fixture(scope="session")
def sanitized() -> Command:
    """Return the command that starts the runner as AddressSanitizer and UndefinedBehaviorSanitizer watch it."""
    return [str(build("sanitized", executorch_root(), "-DDSNET_SANITIZE=ON", "-DCMAKE_BUILD_TYPE=Debug"))]


@pytest.fixture(scope="session")
def arm64() -> Callable[[str], Command]:
    """Return the command that starts the arm64 runner in an emulator of a given CPU."""
    if which("qemu-aarch64-static") is None:
        pytest.skip("no qemu-aarch64-static; apt-get install qemu-user-static")
    if not any(which(name) for name in ARM64_COMPILERS) or not ARM64_LIBRARIES.is_dir():
        pytest.skip("no compiler for arm64; apt-get install g++-12-aarch64-linux-gnu")
    executorch_root()
    path = build("arm64", arm64_wheel(), f"-DCMAKE_TOOLCHAIN_FILE={TOOLCHAIN}", "-DCMAKE_BUILD_TYPE=Debug")
    return lambda cpu: ["qemu-aarch64-static", "-cpu", cpu, "-L", str(ARM64_LIBRARIES), str(path)]


@pytest.fixture(scope="session")
def first() -> Bundle:
    """Return the bundle of a small network, in fp32 and int8; tests must not write to it."""
    return open_bundle(NETWORKS / "first")


@pytest.fixture(scope="session")
def second() -> Bundle:
    """Return the same network with other weights, in fp32."""
    return open_bundle(NETWORKS / "second")


@pytest.fixture(scope="session")
def two_gates() -> Bundle:
    """Return the bundle of a network with two gates and five widths, in fp32 and int8."""
    return open_bundle(NETWORKS / "two_gates")


def build(name: str, root: Path, *options: str) -> Path:
    """Return the runner of one configuration, built where it is not up to date."""
    folder = BUILDS / name
    with locked(folder):
        run("cmake", "-S", str(SOURCE), "-B", str(folder), f"-DEXECUTORCH_ROOT={root}", *options)
        run("cmake", "--build", str(folder), "--parallel", "2")
    return folder / "dsnet-runner"


def executorch_root() -> Path:
    """Return the folder of the installed ExecuTorch; skips where the runner cannot be built."""
    for tool in ("cmake", "g++"):
        if which(tool) is None:
            pytest.skip(f"no {tool}; apt-get install g++ cmake")
    header = subprocess.run(["g++", "-E", "-x", "c++", "-"], input=b"#include <nlohmann/json.hpp>", capture_output=True)
    if header.returncode != 0:
        pytest.skip("no nlohmann/json.hpp; apt-get install nlohmann-json3-dev")
    spec = find_spec("executorch")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("ExecuTorch is not installed; pip install executorch")
    return Path(next(iter(spec.submodule_search_locations)))


def arm64_wheel() -> Path:
    """Return the folder of ExecuTorch for arm64, of the installed version; skips where it cannot be downloaded."""
    folder = BUILDS / f"executorch-{version('executorch')}-aarch64"
    with locked(folder):
        if not (folder / "executorch").is_dir():
            download = subprocess.run(
                [
                    *(sys.executable, "-m", "pip", "download", f"executorch=={version('executorch')}", "--no-deps"),
                    *("--only-binary=:all:", "--platform", "manylinux_2_28_aarch64", "-q", "-d", str(folder)),
                ],
                capture_output=True,
                text=True,
            )
            if download.returncode != 0:
                pytest.skip(f"ExecuTorch's wheel for arm64 cannot be downloaded: {download.stderr.strip()[-200:]}")
            (wheel,) = folder.glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                kept = [name for name in archive.namelist() if name.split("/")[1] in ("include", "lib", "version.py")]
                archive.extractall(folder / "unpacking", kept)
            (folder / "unpacking" / "executorch").rename(folder / "executorch")
    return folder / "executorch"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes of the same test run out of a folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(*command: str) -> None:
    """Run a build step; what it wrote is the failure's message."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
