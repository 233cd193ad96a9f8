"""What a calibration is asked for: one or several conditions, and what each asks of the options an image has.

mean ≤ B ms   The mean latency is Σ_k share_k·mean_k: option k costs its mean latency, the limit is B.

p95 ≤ B ms    The latency of an image is a mixture: with share_k it is drawn from option k's samples, so its
              distribution is F(x) = Σ_k share_k·F_k(x) and its 95th percentile the smallest x with F(x) ≥ 0.95. As F
              never decreases, that is at most B exactly when F(B) ≥ 0.95, that is when Σ_k share_k·P(latency_k > B) ≤
              0.05: linear in the shares again. Option k costs the share of its samples beyond B, the limit is 0.05.

images/s ≥ R  One image after the other: a mean latency of at most 1000/R ms.

macs ≤ M      The mean number of multiply-accumulates.

accuracy ≥ A  No limit on a cost: of all rules that are right so often, the one with the lowest mean latency is sought.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import Statistic
from edge.errors import CalibrationError

Floats = NDArray[np.float64]
Blocks = tuple[Floats, ...]
"""Samples in milliseconds, one array for each block in which they were measured."""

QUANTILES: dict[Statistic, float] = {"p50_ms": 0.5, "p90_ms": 0.9, "p95_ms": 0.95, "p99_ms": 0.99}
ROUNDING = 1e-6
"""The optimiser meets a limit to within its cost steps, which are at most this share of the costs' range."""
NUMBER = r"(\d{1,12}(?:\.\d{1,9})?|\.\d{1,9})"
FORMS: dict[str, tuple[str, str]] = {
    "mean": ("<=", "ms"),
    "p50": ("<=", "ms"),
    "p90": ("<=", "ms"),
    "p95": ("<=", "ms"),
    "p99": ("<=", "ms"),
    "images/s": (">=", ""),
    "macs": ("<=", "M"),
    "accuracy": (">=", "%"),
}
"""Name → its direction and the unit of its number."""
EXAMPLES = "8ms, 'mean<=8ms,p99<=20ms', 'images/s>=30', 'macs<=200M', 'accuracy>=70%'"


class Timed(Protocol):
    """What an image can go through: so long, so many multiply-accumulates."""

    @property
    def samples(self) -> Floats:
        """Return measured milliseconds, end to end."""

    @property
    def macs(self) -> float:
        """Return multiply-accumulates."""


@dataclass(frozen=True)
class Condition:
    """One of a budget's conditions."""

    statistic: Statistic
    value: float
    """In the unit of the statistic: ms, images/s, multiply-accumulates, or accuracy 0…1."""
    margin: float = 0.0
    """The share of what lies between the cheapest option and the limit that is not to be used, 0…1; for accuracy, of
    the errors allowed."""

    @property
    def name(self) -> str:
        """Return its part of an operating point's default name, such as mean-3ms."""
        number = f"{Decimal(repr(round(float(self.value) * SCALES.get(self.statistic, 1), 9))).normalize():f}"
        return NAMES.get(self.statistic, self.statistic.removesuffix("_ms") + "-{}ms").format(number)


SCALES: dict[Statistic, float] = {"mean_macs": 1e-6, "accuracy": 100}
NAMES: dict[Statistic, str] = {"mean_macs": "macs-{}M", "accuracy": "accuracy-{}", "images_per_s": "{}-per-s"}


@dataclass(frozen=True)
class Budget:
    """Conditions that must hold together."""

    conditions: tuple[Condition, ...]

    @property
    def name(self) -> str:
        """Return the operating point's default name, such as mean-8ms-p99-20ms."""
        return "-".join(condition.name for condition in self.conditions)

    @property
    def least_accuracy(self) -> float | None:
        """Return the accuracy to keep, 0…1, where one was asked for."""
        kept = (each for each in self.conditions if each.statistic == "accuracy")
        return next((each.value + (1 - each.value) * each.margin for each in kept), None)

    @property
    def limits(self) -> tuple[Condition, ...]:
        """Return the conditions that limit a cost: all but that on accuracy."""
        return tuple(each for each in self.conditions if each.statistic != "accuracy")


def parse_budget(text: str) -> Budget:
    """Return the budget that `8ms`, `p99<=20ms` or several conditions with commas between them stand for.

    Raises CalibrationError for anything else, for a statistic named twice, and for values that are not above 0.
    """
    conditions = tuple(_parse_condition(part, text) for part in text.split(","))
    statistics = [condition.statistic for condition in conditions]
    if len(set(statistics)) < len(statistics):
        raise CalibrationError(f"--budget {text[:80]!r} limits one statistic twice; give each once")
    return Budget(conditions)


def sweep_budgets(cheapest_ms: float, dearest_ms: float, count: int) -> list[Budget]:
    """Return `count` budgets on the mean latency, evenly from the cheapest width's (rounded up) to the dearest's."""
    step = (dearest_ms - cheapest_ms) / (count - 1)
    context = Context(prec=4, rounding=ROUND_CEILING)
    exact = [(cheapest_ms + step * number) * (1 - ROUNDING) for number in range(count)]
    values = [float(context.create_decimal_from_float(value)) for value in exact]
    return [Budget((Condition("mean_ms", value),)) for value in values]


def _parse_condition(part: str, whole: str) -> Condition:
    plain = re.sub(r"\s+", "", part).replace("≤", "<=").replace("≥", ">=")
    plain = f"mean<={plain}" if re.match(r"[\d.]", plain) else plain
    for name, (sign, unit) in FORMS.items():
        match = re.fullmatch(f"{re.escape(name)}{sign}{NUMBER}(?:{unit})?", plain, re.ASCII)
        if match and float(match[1]) > 0 and not (name == "accuracy" and float(match[1]) > 100):
            return _condition(name, float(match[1]))
    raise CalibrationError(f"--budget {whole[:80]!r} is not understood; valid, each with a value above 0: {EXAMPLES}")


def _condition(name: str, number: float) -> Condition:
    if name == "accuracy":
        return Condition("accuracy", number / 100)
    if name == "macs":
        return Condition("mean_macs", number * 1e6)
    if name == "images/s":
        return Condition("images_per_s", number)
    statistics: dict[str, Statistic] = {
        "mean": "mean_ms", "p50": "p50_ms", "p90": "p90_ms", "p95": "p95_ms", "p99": "p99_ms",
    }  # fmt: skip
    return Condition(statistics[name], number)


def costs(limit: Condition, options: Sequence[Timed]) -> tuple[Floats, float]:
    """Return what each option costs for one image, and the largest mean cost that meets the condition.

    The limit is that of the cheapest option where it falls short of it by rounding alone.
    """
    row, largest = _costs(limit, options)
    cheapest = float(row.min())
    if largest < cheapest <= largest + ROUNDING * max(1e-300, abs(largest)):
        return row, cheapest
    return row, cheapest + (largest - cheapest) * (1 - limit.margin) if largest > cheapest else largest


def _costs(limit: Condition, options: Sequence[Timed]) -> tuple[Floats, float]:
    if limit.statistic == "mean_macs":
        return np.array([option.macs for option in options], np.float64), limit.value
    if limit.statistic in QUANTILES:
        beyond = np.array([(option.samples > limit.value).mean() for option in options], np.float64)
        return beyond, 1 - QUANTILES[limit.statistic]
    means = np.array([option.samples.mean() for option in options], np.float64)
    return means, 1000 / limit.value if limit.statistic == "images_per_s" else limit.value


def expected(statistic: Statistic, options: Sequence[Timed], shares: Sequence[float]) -> float:
    """Return a statistic of images that take each option with its share (shares sum to 1); not accuracy's."""
    if statistic == "mean_macs":
        return sum(share * option.macs for option, share in zip(options, shares, strict=True))
    if statistic in QUANTILES:
        return mixture_quantile([option.samples for option in options], shares, QUANTILES[statistic])
    mean = sum(share * float(option.samples.mean()) for option, share in zip(options, shares, strict=True))
    return 1000 / mean if statistic == "images_per_s" else mean


def mixture_quantile(samples: Sequence[Floats], shares: Sequence[float], level: float) -> float:
    """Return the smallest sample at or below which the mixture has at least `level` of its mass."""
    pooled = np.concatenate(samples)
    weights = np.concatenate(
        [np.full(len(values), share / len(values)) for values, share in zip(samples, shares, strict=True)]
    )
    order = np.argsort(pooled, kind="stable")
    reached = np.cumsum(weights[order]) >= level - ROUNDING
    return float(pooled[order][reached.argmax()])
