"""This machine as a device."""

import gc
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import psutil  # type: ignore[import-untyped]

from edge.bundle.manifest import Artifact, Program
from edge.devices.base import Workload
from edge.devices.native import NativeWorkload
from edge.devices.timed_policy import timed_nodes
from edge.errors import MeasurementError
from edge.runtime.one_image import OneImage
from edge.runtime.open_session import open_session
from edge.runtime.policy import decided
from edge.runtime.route import GATE_LOGITS, IMAGE, Route, feed, real_values
from edge.runtime.session import Array, Session

if TYPE_CHECKING:
    from edge.bundle.reader import Bundle

Runner = Literal["python", "native"]
RUNNERS: tuple[Runner, ...] = get_args(Runner)
CANARY_RUNS = 5
REST_SECONDS, MOST_RESTS = 0.1, 20
"""How long other programs are waited for before a block is measured again, and how often."""
CANARY_MATRIX = np.ones((96, 96), np.int32)
"""Multiplied without a BLAS, in about 0.5 ms."""
CANARY_VECTOR = np.ones(1 << 20, np.float32)
IMAGE_SEED = 0


class LocalDevice:
    """The machine this process runs on."""

    name = "local"

    def __init__(self, runner: Runner = "python") -> None:
        """`runner`: `python` runs programs in this process, `native` in dsnet-runner, for ExecuTorch."""
        if runner not in RUNNERS:
            raise MeasurementError(f"unknown runner {runner!r}; valid for --runner: {', '.join(RUNNERS)}")
        self.runner = runner

    def fingerprint(self) -> dict[str, Any]:
        """Return CPU model, cores, governor, memory, operating system and Python; None where a fact cannot be read."""
        return {
            "cpu": _cpu_model(),
            "machine": platform.machine(),
            "logical_cores": psutil.cpu_count(),
            "physical_cores": psutil.cpu_count(logical=False),
            "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
            "governor": _governor(),
            "memory_bytes": psutil.virtual_memory().total,
            "os": platform.system(),
            "kernel": platform.release(),
            "python": platform.python_version(),
        }

    @contextmanager
    def open(self, bundle: "Bundle", artifact: Artifact, programs: Sequence[str], threads: int) -> Iterator[Workload]:
        """Load programs of an artifact in this process, or in one of the native runner."""
        if self.runner == "native":
            with NativeWorkload(bundle, artifact, programs, threads) as workload:
                yield workload
            return
        yield LocalWorkload(open_session(bundle, artifact, programs, threads), artifact)


class LocalWorkload:
    """A session's programs, timed in this process on one image of Gaussian noise."""

    def __init__(
        self,
        session: Session,
        artifact: Artifact,
        clock: Callable[[], int] = perf_counter_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take a session that holds all programs of some widths; `clock` counts nanoseconds and never goes back."""
        self._session = session
        self._programs = {program.name: program for program in artifact.programs}
        self._clock, self._sleep = clock, sleep
        inputs = (tensor for program in artifact.programs for tensor in program.inputs)
        shape = next(tensor.shape for tensor in inputs if tensor.name == IMAGE)
        noise = np.random.default_rng(IMAGE_SEED).standard_normal(shape, np.float32)
        self._image: Array = noise
        self._alone = OneImage(session, noise)
        self._chains = Route.of(artifact).chains
        self._nodes = timed_nodes(artifact)

    takes_turns = True
    most_rests = MOST_RESTS

    @property
    def runtime_version(self) -> str:
        """Return the runtime's name and version."""
        return self._session.runtime_version

    def run_block(self, programs: Sequence[str], runs: int) -> list[float]:
        """Run the programs one after the other `runs` times; returns milliseconds per run."""
        chain = [self._programs[name] for name in programs]
        given = self._inputs(chain[0])
        samples = []
        with _no_garbage_collection():
            for _ in range(runs):
                tensors = dict(given)
                start = self._clock()
                for program in chain:
                    outputs = self._session.run(program.name, feed(program, tensors))
                    tensors.update(outputs)
                    if program is not chain[-1]:
                        self._decide(program, outputs)
                samples.append((self._clock() - start) / 1e6)
        return samples

    def _inputs(self, program: Program) -> dict[str, Array]:
        """Return the image and, for a program that is timed alone, what those before it really give for this image.

        They run once, but not when the workload is opened: that would hide how long their very first run takes.
        """
        if all(tensor.name == IMAGE for tensor in program.inputs):
            return {IMAGE: self._image}
        resident = set(self._session.programs)
        ways = (chain[: chain.index(program)] for chain in self._chains.values() if program in chain)
        way = next(way for way in ways if resident.issuperset(before.name for before in way))
        return self._alone.after(*way)

    def _decide(self, program: Program, outputs: Mapping[str, Array]) -> None:
        """Do what dynamic inference does after a gate; what follows is given, so the result does not matter."""
        if node := self._nodes.get(program.name):
            decided(node, real_values(program, outputs, GATE_LOGITS))

    def canary_ms(self) -> float:
        """Return the mean time of an integer product in the nearest caches and a sum over 4 MiB, on one core.

        Networks need both, and what else runs on a machine slows either. The mean, as a median of runs this short would
        miss the time that another program has the core.
        """
        start = self._clock()
        for _ in range(CANARY_RUNS):
            _ = CANARY_MATRIX @ CANARY_MATRIX
            CANARY_VECTOR.sum()
        return (self._clock() - start) / 1e6 / CANARY_RUNS

    def cool_down(self) -> None:
        """Let other programs finish."""
        self._sleep(REST_SECONDS)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep the collector out of timed runs, as `timeit` does."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    return named.get("model name") or named.get("Hardware") or platform.processor() or None


def _governor() -> str | None:
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text(encoding="ascii").strip()
    except OSError:
        return None
