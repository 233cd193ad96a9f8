"""What calibration works from: one run of a latency table and the predictions of the same artifact."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common import sha256_file
from common.console import listed
from edge.bundle.reader import Bundle
from edge.calibration.budget import Blocks, Floats
from edge.errors import CalibrationError
from edge.profiling.latency_table import LatencyTable, Run, load_latency
from edge.runtime.decisions import check_decisions
from edge.runtime.predictions import Predictions, load_predictions
from edge.runtime.route import Route


@dataclass(frozen=True)
class Inputs:
    """A latency run and predictions that belong together, and the digests of the files they came from."""

    run: Run
    predictions: Predictions
    route: Route
    """Which programs run at each width of the artifact that was measured."""
    macs: Mapping[int, int]
    """Multiply-accumulates of each width."""
    latency_sha256: str
    predictions_sha256: str
    stand_in: bool = False
    """Whether the predictions are another artifact's of the same bundle."""


@dataclass(frozen=True)
class Selection:
    """Which artifact and which run to use; None stands for the only one there is."""

    runtime: str | None = None
    precision: str | None = None
    device: str | None = None
    threads: int | None = None
    runner: str | None = None
    sustained: bool = False
    """Whether the device's sustained speed is meant, not that of a burst."""

    def __str__(self) -> str:
        threads = None if self.threads is None else f"{self.threads} threads"
        runner = self.runner and f"by {self.runner}"
        place = self.device and f"on {self.device}"
        speed = "sustained" if self.sustained else None
        return " ".join(filter(None, (self.runtime, self.precision, place, threads, runner, speed)))

    def fits(self, run: Run) -> bool:
        """Return whether a run is of the artifact, device and threads asked for."""
        wanted = {name: value for name, value in vars(self).items() if name != "sustained" and value is not None}
        sustained = run.sustained_seconds is not None
        return sustained == self.sustained and all(getattr(run, name) == value for name, value in wanted.items())


def load_inputs(
    bundle: Bundle, latency: Path, predictions: Path, selection: Selection | None = None, stand_in: bool = False
) -> Inputs:
    """Read a latency table and predictions and make sure that they are of this bundle's artifact.

    Runtime and precision are those of the predictions unless `selection` says otherwise. With `stand_in`, predictions
    of another artifact of the bundle are taken, for an artifact that cannot run where the images are. Raises an
    EdgeError that says which file does not fit and what to run again.
    """
    wanted = selection or Selection()
    found = load_predictions(predictions)
    metadata = found.metadata
    if stand_in:
        artifact = bundle.artifact(wanted.runtime, wanted.precision)
    else:
        artifact = bundle.artifact(wanted.runtime or metadata.runtime, wanted.precision or metadata.precision)
    answering = bundle.artifact(metadata.runtime, metadata.precision) if stand_in else artifact
    if (answering.runtime, answering.precision) != (metadata.runtime, metadata.precision):
        raise CalibrationError(
            f"{predictions}: predictions of {metadata.runtime} {metadata.precision}, not of {artifact.runtime} "
            f"{artifact.precision}; leave out --runtime and --precision, or run dsnet predict "
            f"--runtime {artifact.runtime} --precision {artifact.precision}, or let them --stand-in"
        )
    if metadata.artifact_sha256 != answering.sha256:
        raise _of_another_bundle(str(predictions), metadata.artifact_sha256, answering.sha256, "predict")
    check_decisions(found, bundle, str(predictions))
    table = load_latency(latency)
    fitting = replace(wanted, runtime=artifact.runtime, precision=artifact.precision)
    run = find_run(table, fitting, str(latency), artifact.sha256)
    macs = {width.index: width.macs for width in bundle.manifest.widths}
    return Inputs(
        run, found, Route.of(artifact), macs, sha256_file(latency), sha256_file(predictions), answering is not artifact
    )


def find_run(
    table: LatencyTable, selection: Selection, origin: str = "latency table", artifact_sha256: str | None = None
) -> Run:
    """Return the one complete run that fits; raises CalibrationError that lists the runs there are.

    With `artifact_sha256`, runs of other artifacts in the same table (of bundles converted before) do not count.
    """
    fitting = [run for run in table.runs if selection.fits(run)]
    if fitting and artifact_sha256 is not None:
        strangers = fitting
        fitting = [run for run in fitting if run.artifact_sha256 == artifact_sha256]
        if not fitting:
            raise _of_another_bundle(origin, strangers[0].artifact_sha256, artifact_sha256, "profile")
    if len(fitting) != 1:
        there = "; ".join(
            str(
                Selection(
                    run.runtime, run.precision, run.device, run.threads, run.runner, run.sustained_seconds is not None
                )
            )
            for run in fitting or table.runs
        )
        problem = (
            "several runs fit; choose with --device, --threads and --runner" if fitting else f"no run of {selection}"
        )
        raise CalibrationError(f"{origin}: {problem}; valid: {there or 'none, run dsnet profile'}")
    if not fitting[0].complete:
        raise CalibrationError(
            f"{origin}: the run of {selection} is not complete; run dsnet profile again to resume it"
        )
    return fitting[0]


def end_to_end_samples(run: Run, route: Route, widths: Sequence[int]) -> list[Floats]:
    """Return all samples, in milliseconds, of one image from end to end at each width, the gates included.

    Raises CalibrationError naming the widths that the run has no samples for.
    """
    return [np.concatenate(blocks) for blocks in end_to_end_blocks(run, route, widths)]


def end_to_end_blocks(run: Run, route: Route, widths: Sequence[int], turns: bool = True) -> list[Blocks]:
    """Return the same samples block by block, as they were measured.

    With `turns`, half of them, where the run has such, are of images that came after one at another width
    (`Entry.turns_ms`): with several widths in use, about every second image does.
    """
    units = route.end_to_end
    found = [unit_blocks(run, units.get(width, ()), turns) for width in widths]
    missing = [width for width, blocks in zip(widths, found, strict=True) if not blocks]
    if missing:
        raise CalibrationError(
            f"the latency run on {run.device} has no end-to-end samples of widths {listed(missing)}; "
            "run dsnet profile again for all widths"
        )
    return found


def unit_blocks(run: Run, programs: tuple[str, ...], turns: bool = True) -> Blocks:
    """Return the samples, in milliseconds, of programs that were timed together; none where they were not."""
    entries = [entry for entry in run.entries if tuple(entry.programs) == programs]
    rows = (block for entry in entries for block in (*entry.blocks_ms, *(entry.turns_ms if turns else ())))
    return tuple(np.array(block, np.float64) for block in rows)


def _of_another_bundle(origin: str, found: str, expected: str, command: str) -> CalibrationError:
    return CalibrationError(
        f"{origin}: of another bundle (artifact {found[:12]}…, expected {expected[:12]}…); run dsnet {command} again"
    )
