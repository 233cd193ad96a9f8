"""A latency budget, and what it asks of every width: a cost per image and a limit on the mean cost.

mean  The mean latency is Σ_k share_k·mean_k: the cost of width k is its mean latency, the limit is the budget.

p95   The latency of an image is a mixture: with share_k it is drawn from width k's samples, so its distribution is
      F(x) = Σ_k share_k·F_k(x) and its 95th percentile the smallest x with F(x) ≥ 0.95. As F never decreases, that is
      at most the budget B exactly when F(B) ≥ 0.95, that is when Σ_k share_k·P(latency_k > B) ≤ 0.05: linear in the
      shares again. The cost of width k is the share of its samples beyond the budget, the limit is 0.05.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.errors import CalibrationError

Statistic = Literal["mean", "p95"]
Samples = NDArray[np.float64]

TAIL = 0.05
ROUNDING = 1e-6
"""The optimiser meets a limit to within its cost steps, which are at most this share of the costs' range."""


@dataclass(frozen=True)
class Budget:
    """The largest value that a statistic of the latency may have."""

    statistic: Statistic
    ms: float

    @property
    def name(self) -> str:
        """Return the operating point's default name, such as mean-3ms."""
        return f"{self.statistic}-{Decimal(repr(self.ms)).normalize():f}ms"


def parse_budget(text: str, statistic: Statistic = "mean") -> Budget:
    """Return the budget that `3ms`, `2.5 ms` or plain `3` stands for; raises CalibrationError for anything else."""
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})\s*(?:ms)?\s*", text, re.ASCII)
    if match is None or float(match[1]) == 0:
        raise CalibrationError(
            f"--budget {text[:40]!r} is not a latency; give milliseconds above 0, such as 3ms or 0.5ms"
        )
    return Budget(statistic, float(match[1]))


def costs(budget: Budget, samples: Sequence[Samples]) -> tuple[NDArray[np.float64], float]:
    """Return the cost of each width for one image, and the largest mean cost that keeps within the budget."""
    if budget.statistic == "mean":
        return np.array([values.mean() for values in samples]), budget.ms
    return np.array([(values > budget.ms).mean() for values in samples]), TAIL


def latency_ms(statistic: Statistic, samples: Sequence[Samples], shares: Sequence[float]) -> float:
    """Return the statistic of the latency of images that use each width with its share (shares sum to 1)."""
    if statistic == "mean":
        return sum(share * float(values.mean()) for values, share in zip(samples, shares, strict=True))
    pooled = np.concatenate(samples)
    weights = np.concatenate(
        [np.full(len(values), share / len(values)) for values, share in zip(samples, shares, strict=True)]
    )
    order = np.argsort(pooled, kind="stable")
    reached = np.cumsum(weights[order]) >= 1 - TAIL - ROUNDING
    return float(pooled[order][reached.argmax()])


def check_feasible(budget: Budget, samples: Sequence[Samples], widths: Sequence[int]) -> None:
    """Raise CalibrationError, naming the cheapest budget that can be met, unless some width alone is within the budget.

    No mixture is cheaper than the cheapest width: neither its mean, nor the share of its samples beyond the budget.
    """
    alone = [latency_ms(budget.statistic, [values], [1.0]) for values in samples]
    cheapest = min(alone)
    if cheapest > budget.ms:
        enough = Context(prec=4, rounding=ROUND_CEILING).create_decimal_from_float(cheapest)
        raise CalibrationError(
            f"budget {budget.ms:g} ms cannot be met: the cheapest feasible {budget.statistic} is {enough:f} ms "
            f"(always width {widths[alone.index(cheapest)]}); raise --budget to at least {enough:f}ms"
        )
