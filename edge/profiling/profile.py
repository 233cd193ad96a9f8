"""From a bundle and a device to a run in a latency table."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.bundle.manifest import Artifact
from edge.devices.base import Device, RemoteWorkload, Workload
from edge.errors import DeviceLostError, MeasurementError
from edge.profiling.latency_table import FORMAT, LatencyTable, QualityWarning, Run, load_latency, save_latency
from edge.profiling.measure import Settings, Unit, finished, measure
from edge.profiling.quality import quality_warnings
from edge.profiling.statistics import samples_ms
from edge.runtime.route import Route

if TYPE_CHECKING:
    from edge.bundle.reader import Bundle
DEFAULT_SETTINGS = Settings()


def profile_bundle(
    bundle: "Bundle",
    artifact: Artifact,
    device: Device,
    out: Path,
    *,
    widths: Iterable[int] | None = None,
    threads: int = 1,
    settings: Settings = DEFAULT_SETTINGS,
    restart: bool = False,
    on_block: Callable[[Run], None] = lambda _: None,
    seconds: Callable[[], float] = time.monotonic,
    go_on: Callable[[], None] = lambda: None,
) -> Run:
    """Measure an artifact on a device and keep the run in the latency table `out`, which is written after every block.

    The run replaces the one of the same device, runtime, precision, runner, threads, sustained work and artifact; an
    unfinished one of the same settings is continued. `widths` None means all. `on_block` sees the run after every
    block; `go_on` may raise before one. Raises MeasurementError when an unfinished run of other settings is in the way,
    and what the device raises.
    """
    units = plan_units(artifact, widths)
    table = _table(out)
    with device.open(bundle, artifact, resident_programs(artifact, units), threads) as workload:
        fresh = _new_run(device, workload, artifact, threads, units, settings)
        run = fresh if restart else _continued(table, fresh, out)

        def record(measured: Run) -> None:
            save_latency(out, with_run(table, measured))
            on_block(measured)

        try:
            run = measure(workload, run, units, settings, record, seconds, go_on)
        except DeviceLostError as error:
            raise DeviceLostError(
                f"{error}; finished blocks are in {out}: the same command with --resume goes on"
            ) from error
        run = _judged(run, settings, workload.warnings() if isinstance(workload, RemoteWorkload) else [])
        record(run)
    return run


def finished_run(
    artifact: Artifact, device: Device, out: Path, *, widths: Iterable[int] | None, threads: int, settings: Settings
) -> Run | None:
    """Return the complete run that `profile_bundle` would replace, if it is of the same units and settings.

    Nothing is asked of the device: it may be away.
    """
    key = (
        device.name, artifact.runtime, artifact.precision, device.runner, threads, settings.sustained_seconds,
        artifact.sha256,
    )  # fmt: skip
    wanted = _method(plan_units(artifact, widths), settings)
    old = next((run for run in _table(out).runs if run.complete and _key(run) == key), None)
    return old if old and all(old.environment.get(name) == value for name, value in wanted.items()) else None


def add_run(out: Path, run: Run) -> None:
    """Add a finished run to the latency table `out`, in the place of the one with the same key if there is one."""
    save_latency(out, with_run(_table(out), run))


def plan_units(artifact: Artifact, widths: Iterable[int] | None = None) -> list[Unit]:
    """Return what to time: every program that the widths run, alone, and each width from end to end.

    Raises BundleError naming the widths there are.
    """
    route = Route.of(artifact)
    chosen = list(route.paths) if widths is None else sorted(set(widths))
    for width in chosen:
        route.path(width)
    whole: list[Unit] = [route.end_to_end[width] for width in chosen]
    alone: list[Unit] = [(name,) for unit in whole for name in unit]
    return list(dict.fromkeys([*alone, *whole]))


def resident_programs(artifact: Artifact, units: Iterable[Unit]) -> tuple[str, ...]:
    """Return the names of the programs that `units` run, in the artifact's order."""
    used = {name for unit in units for name in unit}
    return tuple(program.name for program in artifact.programs if program.name in used)


def with_run(table: LatencyTable, run: Run) -> LatencyTable:
    """Return the table with `run` in it, in the place of the one with the same key if there is one."""
    runs = [run if _key(old) == _key(run) else old for old in table.runs]
    return table.model_copy(update={"runs": runs if any(old is run for old in runs) else [*runs, run]})


def _table(out: Path) -> LatencyTable:
    return load_latency(out) if out.exists() else LatencyTable(format=FORMAT, runs=[])


def _key(run: Run) -> tuple[object, ...]:
    return (
        run.device, run.runtime, run.precision, run.runner, run.threads, run.sustained_seconds, run.artifact_sha256,
    )  # fmt: skip


def _method(units: list[Unit], settings: Settings) -> dict[str, Any]:
    """Return what is measured and how: a part of a run's environment."""
    return {"settings": settings.record(), "units": [list(unit) for unit in units]}


def _new_run(
    device: Device, workload: Workload, artifact: Artifact, threads: int, units: list[Unit], settings: Settings
) -> Run:
    return Run(
        device=device.name,
        environment={
            **device.fingerprint(),
            "runtime_version": workload.runtime_version,
            **_method(units, settings),
        },
        runtime=artifact.runtime,
        precision=artifact.precision,
        runner=device.runner,
        threads=threads,
        sustained_seconds=settings.sustained_seconds,
        artifact_sha256=artifact.sha256,
        seed=settings.seed,
        entries=[],
        complete=False,
    )


def _continued(table: LatencyTable, fresh: Run, out: Path) -> Run:
    """Return the unfinished run that `fresh` would repeat, else `fresh`."""
    old = next((run for run in table.runs if _key(run) == _key(fresh) and not run.complete), None)
    if old is None:
        return fresh
    changed = [name for name, value in fresh.environment.items() if old.environment.get(name) != value]
    if changed:
        raise MeasurementError(
            f"{out} holds an unfinished run with other {', '.join(changed)}; "
            "use the same options on the same machine to continue it, or --restart to start over"
        )
    return old


def _judged(run: Run, settings: Settings, noticed: list[QualityWarning]) -> Run:
    """Return the run with its warnings, complete unless the budget ended before a unit had its minimum of runs."""
    complete = all(finished(entry, settings) or len(samples_ms(entry)) >= settings.min_runs for entry in run.entries)
    if not complete:
        return run
    warnings = [*run.warnings, *noticed, *quality_warnings(run, settings.ci)]
    return run.model_copy(update={"warnings": warnings, "complete": True})
