"""Profile one bundle on several devices at once: a live line, a latency table and a run in the history for each."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from common.console import progress
from edge.bundle.manifest import Artifact
from edge.bundle.reader import Bundle
from edge.devices.base import Device
from edge.devices.local import LocalDevice
from edge.errors import EdgeError, MeasurementError
from edge.profiling.history import Recorder
from edge.profiling.latency_table import Run
from edge.profiling.measure import Settings, finished
from edge.profiling.profile import profile_bundle


@dataclass(frozen=True)
class Job:
    """What is to be measured."""

    bundle: Bundle
    artifact: Artifact
    widths: tuple[int, ...] | None
    threads: int
    settings: Settings
    restart: bool


def chosen_devices(
    wanted: str, runner: str | None, runtime: str, cores: str | None, fixed_performance: bool, screen: bool
) -> list[Device]:
    """Return the devices that a name stands for: `local`, a serial, or `all` that adb sees."""
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
    return [AdbDevice(serial, name, options) for serial in choose_devices(wanted)]


def profile_devices(job: Job, devices: Sequence[Device], out: Path) -> tuple[dict[Path, Run], list[str]]:
    """Measure a job on every device, all at the same time; return the runs by latency table, and what went wrong.

    One device's table is `out`; of several, each has its serial in the name. A single device's error is raised. After
    Ctrl-C every device ends at its next block, and what it changed is undone.
    """
    places = [out if len(devices) == 1 else table_of(out, device.name) for device in devices]
    problems: list[str] = []
    stopped = Event()
    with progress() as bar, ThreadPoolExecutor(len(devices)) as pool:
        lines = [bar.add_task(f"{device.name}: warming up", total=None) for device in devices]

        def measure(number: int) -> Run | None:
            device = devices[number]

            def show(run: Run) -> None:
                if stopped.is_set():
                    raise MeasurementError("interrupted; the same command goes on")
                done = sum(finished(entry, job.settings) for entry in run.entries)
                blocks = sum(len(entry.blocks_ms) for entry in run.entries)
                text = f"{device.name}: measuring, {blocks} blocks"
                bar.update(lines[number], completed=done, total=len(run.entries), description=text)

            try:
                return _measured(job, device, places[number], show, problems)
            except EdgeError as error:
                if len(devices) == 1:
                    raise
                problems.append(f"{device.name}: {error}")
                return None

        try:
            runs = list(pool.map(measure, range(len(devices)))) if len(devices) > 1 else [measure(0)]
        except BaseException:
            stopped.set()
            raise
    return {place: run for place, run in zip(places, runs, strict=True) if run is not None}, problems


def table_of(out: Path, serial: str) -> Path:
    """Return the latency table of one of several devices."""
    return out.with_name(f"{out.stem}-{re.sub(r'[^A-Za-z0-9._-]', '_', serial)}{out.suffix}")


def _measured(job: Job, device: Device, out: Path, show: Callable[[Run], None], problems: list[str]) -> Run:
    recorder = Recorder(job.bundle.place.resolve().name)

    def on_block(run: Run) -> None:
        show(run)
        recorder.keep(run)

    run = profile_bundle(
        job.bundle, job.artifact, device, out,
        widths=job.widths, threads=job.threads, settings=job.settings, restart=job.restart, on_block=on_block,
    )  # fmt: skip
    if warning := recorder.finish(run):
        problems.append(warning)
    return run
