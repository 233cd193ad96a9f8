"""Operating points: a policy for one device and one budget, made from calibration inputs and judged on any images."""

from dataclasses import dataclass

from edge.bundle.manifest import Estimate, HeldOut, Limit, OperatingPoint, Share, Statistic
from edge.bundle.reader import Bundle
from edge.calibration.budget import Budget, Condition, expected
from edge.calibration.case import Case, Routing, route
from edge.calibration.estimates import estimates
from edge.calibration.feasibility import check_feasible
from edge.calibration.guarantee import fit_with_confidence
from edge.calibration.held_out import cross_fit
from edge.calibration.inputs import Inputs, Selection, find_run
from edge.calibration.policies import KINDS, Fit, kinds_for
from edge.errors import CalibrationError
from edge.profiling.latency_table import LatencyTable
from edge.runtime.decisions import check_decisions
from edge.runtime.predictions import Predictions
from edge.runtime.route import Route


@dataclass(frozen=True)
class Evaluation:
    """What an operating point does on an image set, with 95% intervals."""

    images: int
    shares: list[Share]
    accuracy: Estimate
    """Top-1, 0…1."""
    mean_ms: Estimate
    limits: list[Estimate]
    """The statistic of each of the point's limits, in their order."""


def operating_point(
    inputs: Inputs,
    budget: Budget,
    name: str | None = None,
    kind: str = "thresholds",
    confidence: float | None = None,
) -> OperatingPoint:
    """Return the best operating point within the budget; its default name is the budget's.

    `kind` is one of `edge.calibration.policies.KINDS`; with `confidence` (0…1) every limit holds on new images with
    that probability. Raises CalibrationError when nothing is within the budget, or for too few images.
    """
    run, fit = inputs.run, KINDS[kind]
    case = Case.of(run, inputs.predictions, inputs.route, inputs.macs)
    _check_kind(inputs, kind)
    check_feasible(budget, case)
    if confidence is None:
        fitted, held_out = fit(case, budget), _cross_fit(case, budget, fit)
    else:
        fitted, held_out = fit_with_confidence(case, budget, fit, confidence)
    routing = route(fitted.policy, case)
    return OperatingPoint(
        name=name or budget.name,
        runtime=run.runtime,
        precision=run.precision,
        device=run.device,
        runner=run.runner,
        threads=run.threads,
        sustained=run.sustained_seconds is not None,
        policy=fitted.policy,
        objective="accuracy" if budget.least_accuracy is None else "mean_ms",
        limits=[_limit(condition, routing) for condition in budget.conditions],
        confidence=confidence,
        shares=shares_of(routing),
        expected_mean_ms=expected("mean_ms", routing.options, routing.shares),
        calibration_accuracy=float(routing.hit.mean()),
        optimality_gap=fitted.gap,
        held_out=held_out,
        artifact_sha256=run.artifact_sha256,
        latency_sha256=inputs.latency_sha256,
        predictions_sha256=inputs.predictions_sha256,
        stand_in_sha256=inputs.predictions.metadata.artifact_sha256 if inputs.stand_in else None,
    )


def evaluate_point(
    point: OperatingPoint, predictions: Predictions, latency: LatencyTable, bundle: Bundle
) -> Evaluation:
    """Return what `point`, of a bundle, does on the images of `predictions`, on the device it was made for.

    Raises CalibrationError when the predictions or the latencies are of another artifact, or lack one of its widths.
    """
    selection = Selection(point.runtime, point.precision, point.device, point.threads, point.runner, point.sustained)
    run = find_run(latency, selection, artifact_sha256=point.artifact_sha256)
    if predictions.metadata.artifact_sha256 != (point.stand_in_sha256 or point.artifact_sha256):
        raise CalibrationError(
            f"operating point {point.name} is of artifact {point.artifact_sha256[:12]}…, but the predictions are of "
            f"{predictions.metadata.artifact_sha256[:12]}…; make both from one bundle"
        )
    check_decisions(predictions, bundle, "predictions")
    absent = sorted(set(point.widths) - set(predictions.metadata.widths))
    if absent:
        raise CalibrationError(f"operating point {point.name} uses widths {absent}, which the predictions do not hold")
    macs = {width.index: width.macs for width in bundle.manifest.widths}
    measured = Route.of(bundle.artifact(point.runtime, point.precision))
    routing = route(point.policy, Case.of(run, predictions, measured, macs))
    statistics: list[Statistic] = [limit.statistic for limit in point.limits]
    accuracy, mean_ms, *limits = estimates([routing], ["accuracy", "mean_ms", *statistics])
    return Evaluation(len(predictions.label), shares_of(routing), accuracy, mean_ms, limits)


def _cross_fit(case: Case, budget: Budget, fit: Fit) -> HeldOut | None:
    """Return the held-out figures, or None where images are too few for this budget."""
    try:
        return cross_fit(case, budget, fit)
    except CalibrationError:
        return None


def shares_of(routing: Routing) -> list[Share]:
    """Return how often each width answers."""
    return [
        Share(width=option.widths[-1], share=share, mean_ms=float(option.samples.mean()))
        for option, share in zip(routing.options, routing.shares, strict=True)
    ]


def _limit(condition: Condition, routing: Routing) -> Limit:
    accuracy = condition.statistic == "accuracy"
    found = float(routing.hit.mean()) if accuracy else expected(condition.statistic, routing.options, routing.shares)
    return Limit(statistic=condition.statistic, value=condition.value, expected=found)


def _check_kind(inputs: Inputs, kind: str) -> None:
    """Raise CalibrationError unless the kind can do with what the gates said, or needs no gate."""
    gates = inputs.predictions.gates.gates
    if kind not in kinds_for(gates):
        problem = (
            "one gate, of which a tree is what thresholds are"
            if gates
            else "no gate logits, so there is nothing to choose by"
        )
        raise CalibrationError(f"the predictions hold {problem}; valid here: --policy {', '.join(kinds_for(gates))}")
