"""Reasons to trust an operating point less, as typed values, each with what to do about it."""

from collections.abc import Iterator, Sequence

import numpy as np

from edge.calibration.budget import QUANTILES, Budget
from edge.calibration.inputs import Inputs, end_to_end_samples
from edge.profiling.latency_table import QualityWarning
from edge.runtime.policy import score

FEW_IMAGES = 200
"""Below this the standard error of an accuracy of 70% exceeds 3 points."""
FEW_SCORES = 10
COMMON_SCORE = 0.5
"""More than this share of all images with one and the same score cannot be routed apart."""
TAIL_SAMPLES = 5
"""A percentile rests on at least so many samples beyond it."""


def calibration_warnings(inputs: Inputs, budgets: Sequence[Budget] = ()) -> list[QualityWarning]:
    """Return what makes operating points from these inputs less trustworthy, the latency run's warnings first."""
    return [*inputs.run.warnings, *_stand_in(inputs), *_images(inputs), *_scores(inputs), *_samples(inputs, budgets)]


def _stand_in(inputs: Inputs) -> Iterator[QualityWarning]:
    if inputs.stand_in:
        metadata = inputs.predictions.metadata
        yield QualityWarning(
            code="stand_in",
            message=f"the predictions are of {metadata.runtime} {metadata.precision}: {inputs.run.runtime} "
            f"{inputs.run.precision} rounds in another way, so scores and accuracy may differ a little",
            remedy="predict with the artifact itself where it can run",
        )


def _images(inputs: Inputs) -> Iterator[QualityWarning]:
    images = len(inputs.predictions.label)
    if images < FEW_IMAGES:
        yield QualityWarning(
            code="few_images",
            message=f"{images} calibration images: the accuracy on other images may differ by several points",
            remedy=f"run dsnet predict on at least {FEW_IMAGES} images",
        )


def _scores(inputs: Inputs) -> Iterator[QualityWarning]:
    if not inputs.predictions.metadata.decisions:
        return
    images = len(inputs.predictions.label)
    _, counts = np.unique(score(inputs.predictions.gates.first).round(9), return_counts=True)
    remedy = "train the gate again, or use a precision that keeps its logits apart"
    if len(counts) < FEW_SCORES:
        yield QualityWarning(
            code="few_scores",
            message=f"the gate gives {len(counts)} different scores to {images} images, so few can be routed apart",
            remedy=remedy,
        )
    elif counts.max() > COMMON_SCORE * images:
        yield QualityWarning(
            code="one_score",
            message=f"the gate gives one and the same score to {counts.max()} of {images} images",
            remedy=remedy,
        )


def _samples(inputs: Inputs, budgets: Sequence[Budget]) -> Iterator[QualityWarning]:
    found = min(
        len(values) for values in end_to_end_samples(inputs.run, inputs.route, inputs.predictions.metadata.widths)
    )
    conditions = (condition for budget in budgets for condition in budget.conditions)
    levels = [QUANTILES[each.statistic] for each in conditions if each.statistic in QUANTILES]
    level = max(levels, default=0.0)
    needed = round(TAIL_SAMPLES / (1 - level))
    if level and found < needed:
        yield QualityWarning(
            code="few_samples",
            message=f"the p{level * 100:g} from {found} samples of a width",
            remedy=f"run dsnet profile with --min-runs {needed}",
        )
