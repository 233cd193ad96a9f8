"""Operating points: thresholds for one device and one budget, made from calibration inputs and judged on any images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import Limit, OperatingPoint, Share, ThresholdPolicy
from edge.calibration.budget import Budget, Statistic, check_feasible, costs, latency_ms
from edge.calibration.inputs import Inputs, Selection, end_to_end_samples, find_run
from edge.calibration.optimise import Problem, calibrate
from edge.errors import CalibrationError
from edge.profiling.latency_table import LatencyTable, QualityWarning
from edge.runtime.policy import gate_choice, score
from edge.runtime.predictions import Predictions

FEW_IMAGES = 200
"""Below this the standard error of an accuracy of 70% exceeds 3 points."""
FEW_SCORES = 10
FEW_SAMPLES = 100
"""Below this a 95th percentile rests on fewer than 5 samples."""


@dataclass(frozen=True)
class Evaluation:
    """What an operating point does on an image set."""

    images: int
    shares: list[Share]
    accuracy: float
    """Top-1, 0…1."""
    mean_ms: float
    budget_ms: float
    """The budget's own statistic (mean or p95)."""


def operating_point(inputs: Inputs, budget: Budget, name: str | None = None) -> OperatingPoint:
    """Return the most accurate operating point within the budget; its default name is the budget's.

    Raises CalibrationError when no width is within the budget, or for fewer than 2 images.
    """
    predictions, run, samples = inputs.predictions, inputs.run, inputs.samples
    widths = predictions.metadata.widths
    check_feasible(budget, samples, widths)
    width_costs, limit = costs(budget, samples)
    solution = calibrate(Problem(_scores(predictions), predictions.hit, width_costs, limit))
    used = [samples[column] for column in solution.columns]
    used_widths = [widths[column] for column in solution.columns]
    shares = [count / len(predictions.label) for count in solution.counts]
    return OperatingPoint(
        name=name or budget.name,
        runtime=run.runtime,
        precision=run.precision,
        device=run.device,
        runner=run.runner,
        threads=run.threads,
        policy=ThresholdPolicy(widths=used_widths, thresholds=list(solution.thresholds)),
        objective="accuracy",
        limits=[_limit(budget, latency_ms(budget.statistic, used, shares))],
        shares=_shares(used_widths, shares),
        expected_mean_ms=latency_ms("mean", used, shares),
        calibration_accuracy=solution.accuracy,
        optimality_gap=solution.gap,
        artifact_sha256=run.artifact_sha256,
        latency_sha256=inputs.latency_sha256,
        predictions_sha256=inputs.predictions_sha256,
        stand_in_sha256=predictions.metadata.artifact_sha256 if inputs.stand_in else None,
    )


def evaluate_point(point: OperatingPoint, predictions: Predictions, latency: LatencyTable) -> Evaluation:
    """Return what `point` does on the images of `predictions`, on the device it was made for.

    Raises CalibrationError when the predictions or the latencies are of another artifact, or lack one of its widths.
    """
    selection = Selection(point.runtime, point.precision, point.device, point.threads, point.runner)
    run = find_run(latency, selection, artifact_sha256=point.artifact_sha256)
    if predictions.metadata.artifact_sha256 != (point.stand_in_sha256 or point.artifact_sha256):
        raise CalibrationError(
            f"operating point {point.name} is of artifact {point.artifact_sha256[:12]}…, but the predictions are of "
            f"{predictions.metadata.artifact_sha256[:12]}…; make both from one bundle"
        )
    absent = sorted(set(point.widths) - set(predictions.metadata.widths))
    if absent:
        raise CalibrationError(f"operating point {point.name} uses widths {absent}, which the predictions do not hold")
    assert isinstance(point.policy, ThresholdPolicy)
    _scores(predictions)
    position = gate_choice(point.policy, predictions.gate_logits)
    column = np.searchsorted(predictions.metadata.widths, point.widths)[position]
    images = len(predictions.label)
    shares = [float(count) / images for count in np.bincount(position, minlength=len(point.widths))]
    samples = end_to_end_samples(run, point.widths)
    return Evaluation(
        images=images,
        shares=_shares(point.widths, shares),
        accuracy=float(predictions.hit[np.arange(images), column].mean()),
        mean_ms=latency_ms("mean", samples, shares),
        budget_ms=latency_ms("mean" if point.limits[0].statistic == "mean_ms" else "p95", samples, shares),
    )


def calibration_warnings(inputs: Inputs, statistic: Statistic) -> list[QualityWarning]:
    """Return what makes an operating point from these inputs less trustworthy, the latency run's warnings first."""
    warnings = list(inputs.run.warnings)
    images = len(inputs.predictions.label)
    distinct = len(np.unique(_scores(inputs.predictions).round(9)))
    samples = min(len(values) for values in inputs.samples)
    if inputs.stand_in:
        metadata = inputs.predictions.metadata
        warnings.append(
            QualityWarning(
                code="stand_in",
                message=f"the predictions are of {metadata.runtime} {metadata.precision}: {inputs.run.runtime} "
                f"{inputs.run.precision} rounds in another way, so scores and accuracy may differ a little",
                remedy="predict with the artifact itself where it can run",
            )
        )
    if images < FEW_IMAGES:
        warnings.append(
            QualityWarning(
                code="few_images",
                message=f"{images} calibration images: the accuracy on other images may differ by several points",
                remedy=f"run dsnet predict on at least {FEW_IMAGES} images",
            )
        )
    if distinct < FEW_SCORES:
        warnings.append(
            QualityWarning(
                code="few_scores",
                message=f"the gate gives {distinct} different scores to {images} images, so few can be routed apart",
                remedy="train the gate again, or use a precision that keeps its logits apart",
            )
        )
    if statistic == "p95" and samples < FEW_SAMPLES:
        warnings.append(
            QualityWarning(
                code="few_samples",
                message=f"a 95th percentile from {samples} samples of a width",
                remedy=f"run dsnet profile with at least {FEW_SAMPLES} runs",
            )
        )
    return warnings


def _limit(budget: Budget, expected: float) -> Limit:
    return Limit(statistic="mean_ms" if budget.statistic == "mean" else "p95_ms", value=budget.ms, expected=expected)


def _shares(widths: list[int], shares: list[float]) -> list[Share]:
    return [Share(width=width, share=share) for width, share in zip(widths, shares, strict=True)]


def _scores(predictions: Predictions) -> NDArray[np.float64]:
    if not predictions.metadata.choices:
        raise CalibrationError("the predictions hold no gate logits, so there is nothing to calibrate")
    return score(predictions.gate_logits)
