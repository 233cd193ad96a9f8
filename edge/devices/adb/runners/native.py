"""dsnet-runner on a device: ExecuTorch artifacts, all programs resident in one process."""

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.bundle.manifest import Artifact
from edge.devices.adb.facts import Facts
from edge.devices.adb.process import RemoteProcess
from edge.devices.adb.runners.base import OpenWorkload, Place
from edge.devices.native import RunnerWorkload, artifact_files, check_runtime, parse_version
from edge.errors import RuntimeUnavailableError
from edge.profiling.latency_table import QualityWarning

if TYPE_CHECKING:
    from edge.bundle.reader import Bundle

BUILDS = Path(__file__).parents[4] / "build"
MACHINES = {"arm64-v8a": 183, "armeabi-v7a": 40, "x86_64": 62, "x86": 3}
"""ABI → what an ELF file for it has as e_machine."""
WITH_LIBRARIES = 'LD_LIBRARY_PATH="$1"; export LD_LIBRARY_PATH; shift; exec "$@"'


class NativeRunner:
    """The runner of this project."""

    name = "native"
    runtimes = ("executorch",)

    def missing(self, facts: Facts) -> str | None:
        """Return what is missing: a runner built for one of the device's ABIs."""
        try:
            find_binary(facts.abis)
        except RuntimeUnavailableError as error:
            return str(error)
        return None

    def open(
        self, place: Place, bundle: "Bundle", artifact: Artifact, programs: Sequence[str], threads: int
    ) -> OpenWorkload:
        """Push runner, libraries and the artifact's files, and load the programs in one process."""
        check_runtime(artifact)
        binary = find_binary(place.facts.abis)
        files = artifact_files(bundle, artifact)
        program = place.store.ensure(binary)
        paths = {role: place.store.ensure(path) for role, path in files.items()}
        command = [*_with_libraries(place, binary), *place.pinned([program])]
        said = place.adb.try_shell([*command, "--version"], place.answer_s)
        if said.status != 0:
            text = " ".join(said.text.split())[:300]
            raise RuntimeUnavailableError(
                f"{place.adb.serial}: {binary} does not run there ({text or said.status}); is it built for this device?"
            )
        version = parse_version(str(binary), said.text)
        process = RemoteProcess(place.adb, command, program, threads, place.answer_s)
        return NativeOnDevice(process, version, artifact, programs, paths)


class NativeOnDevice(RunnerWorkload):
    """Programs in a runner's process on a device."""

    def warnings(self) -> list[QualityWarning]:
        """Return nothing: whatever is wrong ends this runner."""
        return []


def find_binary(abis: Sequence[str]) -> Path:
    """Return the runner for the first ABI that has one: $DSNET_RUNNER_<ABI>, else build/native-<abi>/dsnet-runner.

    Raises RuntimeUnavailableError, naming where it was looked for, when there is none, or one for another machine.
    """
    for abi in abis:
        named = os.environ.get(variable(abi))
        path = Path(named) if named else BUILDS / f"native-{abi}" / "dsnet-runner"
        if path.is_file():
            _check_machine(path, abi)
            return path
        if named:
            raise RuntimeUnavailableError(f"${variable(abi)} names {named}, which is no file; build it: docs/native.md")
    names = ", ".join(abis) or "unknown ABI"
    where = " or ".join(f"${variable(abi)}" for abi in abis[:1]) or "DSNET_RUNNER_<ABI>"
    raise RuntimeUnavailableError(
        f"no native runner for {names}; build one into build/native-{abis[0] if abis else '<abi>'} (docs/native.md), "
        f"or let {where} name it"
    )


def variable(abi: str) -> str:
    """Return the environment variable that names the runner for an ABI: DSNET_RUNNER_ARM64_V8A."""
    return f"DSNET_RUNNER_{abi.upper().replace('-', '_')}"


def _check_machine(path: Path, abi: str) -> None:
    """Refuse a binary for another machine before it is pushed; scripts pass."""
    with path.open("rb") as file:
        header = file.read(20)
    if len(header) < 20 or not header.startswith(b"\x7fELF"):
        return
    (machine,) = struct.unpack("<H", header[18:20])
    if machine != MACHINES.get(abi, machine):
        built = {number: name for name, number in MACHINES.items()}.get(machine, f"machine {machine}")
        raise RuntimeUnavailableError(f"{path} is built for {built}, but the device runs {abi}; build it for {abi}")


def _with_libraries(place: Place, binary: Path) -> list[str]:
    """Return what to put before the runner so that it finds the libraries in `lib/` beside it, where there are any."""
    folder = binary.parent / "lib"
    libraries = sorted(path for path in folder.glob("*.so*") if path.is_file())
    return ["sh", "-c", WITH_LIBRARIES, "sh", place.store.folder(libraries)] if libraries else []
