"""From a bundle, its latency table and its predictions to the sections of a report.

The one module of the report that calls the calibration: every figure of an operating point is computed there.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from common import sha256_file
from edge.bundle.manifest import OperatingPoint
from edge.bundle.reader import Bundle
from edge.calibration.budget import Budget, Condition
from edge.calibration.inputs import Inputs, Selection, end_to_end_samples
from edge.calibration.operating_point import evaluate_point
from edge.calibration.warnings import calibration_warnings
from edge.errors import CalibrationError, ReportError
from edge.profiling.latency_table import Entry, LatencyTable, Run, load_latency
from edge.profiling.show import how
from edge.profiling.statistics import summarise
from edge.report.adaptive import Simulation, simulation
from edge.report.content import DynamicPoint, Section, StaticWidth
from edge.runtime.decisions import check_decisions
from edge.runtime.predictions import Predictions, load_predictions
from edge.runtime.route import Route


class Gathered:
    """A latency table and predictions of a bundle, each read once and known to be of it."""

    def __init__(
        self,
        bundle: Bundle,
        latency: Path,
        predictions: Sequence[Path],
        slowdowns: Sequence[float] | None = None,
    ) -> None:
        """Read the files; raises an EdgeError that says which one does not fit. `slowdowns` are for simulations."""
        self._bundle = bundle
        self._artifacts = {artifact.sha256: artifact for artifact in bundle.manifest.artifacts}
        self._macs = {width.index: width.macs for width in bundle.manifest.widths}
        self._slowdowns = slowdowns
        self._table = load_latency(latency)
        self._latency = latency, sha256_file(latency)
        self._predictions: dict[str, tuple[Predictions, str]] = {}
        for path in predictions:
            self._add(path)

    def sections(self) -> list[Section]:
        """Return a section for each complete run of the bundle; raises ReportError where there is none."""
        runs = [run for run in self._table.runs if not self._problem(run)]
        if not runs:
            reasons = "; ".join(self.left_out()) or "it is empty"
            raise ReportError(f"{self._latency[0]}: no run to show: {reasons}; run dsnet profile")
        return [self._section(str(number), run, runs) for number, run in enumerate(runs, 1)]

    def left_out(self) -> list[str]:
        """Return the runs and the operating points that no section shows, and why."""
        runs = [run for run in self._table.runs if not self._problem(run)]
        homeless = [point for point in self._bundle.manifest.operating_points if not _run_of(point, runs)]
        return [
            *(f"{run.device}, {how(run)}: {why}" for run in self._table.runs if (why := self._problem(run))),
            *(f"operating point {p.name}: no run of {p.runtime} {p.precision} on {p.device}" for p in homeless),
        ]

    def sources(self) -> list[tuple[str, str]]:
        """Return the files that were read and the artifacts that they are of, with their SHA-256."""
        predictions = [
            (f"predictions of {found.metadata.runtime} {found.metadata.precision} on {found.metadata.data}", sha256)
            for found, sha256 in self._predictions.values()
        ]
        artifacts = [(f"artifact {item.runtime} {item.precision}", sha256) for sha256, item in self._artifacts.items()]
        return [*artifacts, (self._latency[0].name, self._latency[1]), *predictions]

    def _problem(self, run: Run) -> str | None:
        if run.artifact_sha256 not in self._artifacts:
            return "of another bundle"
        return None if run.complete else "not complete, dsnet profile --resume goes on with it"

    def _add(self, path: Path) -> None:
        found = load_predictions(path)
        sha256 = found.metadata.artifact_sha256
        if sha256 not in self._artifacts:
            raise CalibrationError(f"{path}: of another bundle (artifact {sha256[:12]}…); run dsnet predict again")
        check_decisions(found, self._bundle, str(path))
        if sha256 in self._predictions:
            metadata = found.metadata
            raise ReportError(
                f"{path}: a second file of predictions of {metadata.runtime} {metadata.precision}; give one"
            )
        self._predictions[sha256] = found, sha256_file(path)

    def _section(self, key: str, run: Run, runs: Sequence[Run]) -> Section:
        points = [point for point in self._bundle.manifest.operating_points if _run_of(point, runs) is run]
        inputs = self._inputs(run, points)
        shown, left_out = (
            _evaluated(points, inputs, self._bundle) if inputs else ([], [f"{p.name}: no predictions" for p in points])
        )
        simulated, reasons = self._simulation([point.point for point in shown])
        return Section(
            key=key,
            run=run,
            widths=list(self._widths(run, inputs.predictions if inputs else None)),
            points=shown,
            images=len(inputs.predictions.label) if inputs else None,
            warnings=calibration_warnings(inputs, _asked_for(points)) if inputs else run.warnings,
            left_out=[*left_out, *reasons],
            simulation=simulated,
        )

    def _simulation(self, points: Sequence[OperatingPoint]) -> tuple[Simulation | None, list[str]]:
        """Return a simulation of switching between points, or why there is none although there are several."""
        if len(points) < 2:
            return None, []
        try:
            return simulation(points, self._slowdowns), []
        except CalibrationError as error:
            return None, [f"switching between operating points is not simulated: {error}"]

    def _inputs(self, run: Run, points: Sequence[OperatingPoint]) -> Inputs | None:
        """Return the run with predictions of its artifact, or of the one that stood in when its points were made."""
        stand_ins = [point.stand_in_sha256 for point in points if point.stand_in_sha256]
        for sha256 in (run.artifact_sha256, *stand_ins):
            if sha256 in self._predictions:
                found, digest = self._predictions[sha256]
                stand_in = sha256 != run.artifact_sha256
                return Inputs(
                    run,
                    found,
                    Route.of(self._artifacts[run.artifact_sha256]),
                    self._macs,
                    self._latency[1],
                    digest,
                    stand_in,
                )
        return None

    def _widths(self, run: Run, predictions: Predictions | None) -> Iterator[StaticWidth]:
        route = Route.of(self._artifacts[run.artifact_sha256])
        entries = _end_to_end(route, run)
        columns = {width: at for at, width in enumerate(predictions.metadata.widths)} if predictions else {}
        for index, samples in zip(entries, end_to_end_samples(run, route, list(entries)), strict=True):
            width = self._bundle.manifest.widths[index]
            yield StaticWidth(
                index=index,
                name=width.name,
                macs=width.macs,
                params=width.params,
                samples_ms=samples,
                latency=summarise(entries[index]),
                accuracy=float(predictions.hit[:, columns[index]].mean()) if predictions and index in columns else None,
            )


def _end_to_end(route: Route, run: Run) -> dict[int, Entry]:
    """Return the entries of whole images by width, narrow → wide, of the widths that were measured."""
    entries = {tuple(entry.programs): entry for entry in run.entries if entry.blocks_ms}
    found = {width: entries[unit] for width, unit in route.end_to_end.items() if unit in entries}
    if not found:
        raise ReportError(f"the run on {run.device} has no end-to-end samples; run dsnet profile again for all widths")
    return found


def _run_of(point: OperatingPoint, runs: Sequence[Run]) -> Run | None:
    """Return the run that a point is for; the first, where sustained work of several lengths was measured."""
    selection = Selection(point.runtime, point.precision, point.device, point.threads, point.runner, point.sustained)
    fitting = (run for run in runs if selection.fits(run) and run.artifact_sha256 == point.artifact_sha256)
    return next(fitting, None)


def _asked_for(points: Sequence[OperatingPoint]) -> list[Budget]:
    """Return the budgets that the points were made for."""
    return [Budget(tuple(Condition(limit.statistic, limit.value) for limit in point.limits)) for point in points]


def _evaluated(
    points: Sequence[OperatingPoint], inputs: Inputs, bundle: Bundle
) -> tuple[list[DynamicPoint], list[str]]:
    """Return what each point does on a run and its predictions, and why some cannot be evaluated on them."""
    table = LatencyTable(format="", runs=[inputs.run])
    shown, left_out = [], []
    for point in points:
        try:
            evaluation = evaluate_point(point, inputs.predictions, table, bundle)
        except CalibrationError as error:
            left_out.append(f"{point.name}: {error}")
            continue
        seen = point.predictions_sha256 == inputs.predictions_sha256
        current = seen and point.latency_sha256 == inputs.latency_sha256
        shown.append(DynamicPoint(point, evaluation, point.held_out if current else None, seen))
    return shown, left_out
