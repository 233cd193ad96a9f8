"""Profile one bundle on several devices at once: a live line, a latency table and a run in the history for each."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from common import sha256_bytes
from common.console import one_line, progress
from edge.bundle.manifest import Artifact
from edge.bundle.reader import Bundle
from edge.devices.base import Device, problem_of
from edge.devices.local import LocalDevice
from edge.errors import EdgeError, MeasurementError
from edge.profiling.history import Recorder
from edge.profiling.latency_table import Run
from edge.profiling.measure import Settings, finished
from edge.profiling.profile import finished_run, profile_bundle

if TYPE_CHECKING:
    from rich.progress import Progress

LONGEST_NAME = 150
"""Characters of a serial in a file's name, of which file systems allow 255."""


@dataclass(frozen=True)
class Job:
    """What is to be measured."""

    bundle: Bundle
    artifact: Artifact
    widths: tuple[int, ...] | None
    threads: tuple[int, ...]
    """Each is a run; a device makes one after the other."""
    settings: Settings
    resume: bool | None = None
    """True keeps the runs of these settings that are finished and goes on with one that was begun, False makes all
    from the start, None goes on with one that was begun and makes the finished ones anew."""


def chosen_devices(
    wanted: str, runner: str | None, runtime: str, cores: str | None, fixed_performance: bool, screen: bool
) -> list[Device]:
    """Return the devices that a name stands for: `local`, a serial, `any` for the only one that adb sees, or `all`."""
    if wanted == "local":
        if cores or fixed_performance or screen:
            raise MeasurementError("--cores, --fixed-performance and --screen are for Android devices; leave them out")
        return [LocalDevice(runner or "python")]  # type: ignore[arg-type]
    from edge.devices.adb.device import AdbDevice, Options
    from edge.devices.adb.executable import choose_devices
    from edge.devices.adb.runners import find_device_runner
    from edge.devices.adb.settings import Wanted

    name = find_device_runner(runner, runtime).name
    options = Options(cores=cores, wanted=Wanted(fixed_performance, screen))
    return [AdbDevice(serial, name, options) for serial in choose_devices(None if wanted == "any" else wanted)]


def profile_devices(job: Job, devices: Sequence[Device], out: Path) -> tuple[list[tuple[Path, Run]], list[str]]:
    """Make a job's runs on every device, all at the same time; return each with its latency table, and what went wrong.

    One device's table is `out`; of several, each has its serial in the name. A single device's error is raised. After
    Ctrl-C every device ends at its next block, and what it changed is undone.
    """
    places = [out if len(devices) == 1 else table_of(out, device.name) for device in devices]
    problems: list[str] = []
    stopped = Event()

    def make_runs(device: Device, place: Path, line: Line) -> list[Run]:
        runs: list[Run] = []
        try:
            for threads in job.threads:
                line.warm_up(threads)
                runs.append(_run(job, device, threads, place, line, problems))
        except EdgeError as error:
            if len(devices) == 1:
                raise
            problems.append(problem_of(device.name, error))
        return runs

    with progress() as bar, ThreadPoolExecutor(len(devices)) as pool:
        work = [(device, place, Line(bar, device.name, stopped)) for device, place in zip(devices, places, strict=True)]
        try:
            made = list(pool.map(lambda item: make_runs(*item), work)) if len(work) > 1 else [make_runs(*work[0])]
        except BaseException:
            stopped.set()
            raise
    return [(place, run) for place, runs in zip(places, made, strict=True) for run in runs], problems


class Line:
    """The live progress of one device, which is at one thread count at a time, and whether it is to go on."""

    def __init__(self, bar: "Progress", name: str, stopped: Event) -> None:
        """Add a line to the display; `stopped` is set when the device is to end."""
        self._bar, self._name, self._stopped = bar, one_line(name), stopped
        self._task = bar.add_task(self._name, total=None)

    def warm_up(self, threads: int) -> None:
        """Begin a run."""
        self._bar.reset(self._task, description=f"{self._name}, {threads} thread(s): warming up")

    def go_on(self) -> None:
        """Raise MeasurementError when the device is to end."""
        if self._stopped.is_set():
            raise MeasurementError("interrupted; the same command with --resume goes on")

    def show(self, run: Run, settings: Settings) -> None:
        """Show how far a run is: units that are known well enough, of all."""
        done = sum(finished(entry, settings) for entry in run.entries)
        blocks = sum(len(entry.blocks_ms) for entry in run.entries)
        text = f"{self._name}, {run.threads} thread(s): measuring, {blocks} blocks"
        self._bar.update(self._task, completed=done, total=len(run.entries), description=text)


def table_of(out: Path, serial: str) -> Path:
    """Return the latency table of one of several devices: no two serials have the same, and none leaves the folder."""
    name = quote(serial, safe="")
    if len(name) > LONGEST_NAME:
        name = f"+{sha256_bytes(serial.encode())}"  # no quoted serial has a plus
    return out.with_name(f"{out.stem}-{name}{out.suffix}")


def _run(job: Job, device: Device, threads: int, out: Path, line: Line, problems: list[str]) -> Run:
    """Return the job's run of one device and thread count, and keep it in the history."""
    how: Any = {"widths": job.widths, "threads": threads, "settings": job.settings}
    if job.resume and (kept := finished_run(job.artifact, device, out, **how)):
        return kept
    recorder = Recorder(job.bundle.place.resolve().name)

    def on_block(run: Run) -> None:
        line.show(run, job.settings)
        recorder.keep(run)

    how |= {"restart": job.resume is False, "on_block": on_block, "go_on": line.go_on}
    run = profile_bundle(job.bundle, job.artifact, device, out, **how)
    if warning := recorder.finish(run):
        problems.append(warning)
    return run
