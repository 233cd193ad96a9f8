"""What a rule does on images that it was not fitted to: cross-fitting."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import HeldOut, Statistic
from edge.calibration.budget import Budget
from edge.calibration.case import Case, Routing, route
from edge.calibration.estimates import estimates
from edge.calibration.policies import Fit
from edge.errors import CalibrationError

FOLDS = 5
LEAST_IMAGES = 10 * FOLDS


def cross_fit(case: Case, budget: Budget, fit: Fit) -> HeldOut:
    """Return what rules fitted to four fifths of the images do on the last fifth, over all five.

    Every image is judged by a rule that did not see it (Stone, Cross-validatory choice and assessment of statistical
    predictions, JRSS-B 1974). The final rule is fitted to all images and so rather better than these five. The five
    share images with each other, which the intervals leave out (Bates, Hastie & Tibshirani, Cross-validation: what does
    it estimate and how well does it do it?, JASA 2024). Raises what `held_out_folds` raises.
    """
    return judged([routing for _, routing in held_out_folds(case, budget, fit)], budget, FOLDS)


def held_out_folds(case: Case, budget: Budget, fit: Fit, seed: int = 0) -> list[tuple[NDArray[np.intp], Routing]]:
    """Return the images of each fold and what a rule fitted to the other folds does with them.

    Raises CalibrationError for too few images, and for a budget that cannot be met without some of them.
    """
    if case.images < LEAST_IMAGES:
        raise CalibrationError(f"{case.images} images are too few to hold some out; {LEAST_IMAGES} are enough")
    found = []
    for held in np.array_split(np.random.default_rng(seed).permutation(case.images), FOLDS):
        rest = np.setdiff1d(np.arange(case.images), held)
        policy = fit(case.take(rest), budget).policy
        found.append((held, route(policy, case.take(held))))
    return found


def judged(routings: Sequence[Routing], budget: Budget, folds: int) -> HeldOut:
    """Return the record of routings of held-out images."""
    statistics: list[Statistic] = [condition.statistic for condition in budget.conditions]
    accuracy, mean_ms, *limits = estimates(routings, ["accuracy", "mean_ms", *statistics])
    images = sum(len(routing.choice) for routing in routings)
    return HeldOut(images=images, folds=folds, accuracy=accuracy, mean_ms=mean_ms, limits=limits)
