"""Whether budgets hold on images that calibration never saw, and what the policies gain, measured on this machine.

Every round profiles an artifact, calibrates it on half of the images and runs the other half through each operating
point and each single width, in blocks of random order: slow minutes of the machine hit all of them, and the table is
only minutes old when its predictions are compared. Accuracy is judged by cross-fitting on all images.
"""

import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.console import progress, table
from edge.bundle.manifest import Artifact, Policy
from edge.bundle.reader import Bundle, open_bundle
from edge.calibration import KINDS, Budget, Case, Condition, route
from edge.calibration.budget import expected
from edge.calibration.held_out import held_out_folds
from edge.calibration.policies import Fit, single_width
from edge.devices.local import LocalDevice
from edge.profiling import Settings, profile_bundle
from edge.runtime import DynamicSession, Preprocessing, available_runtimes, open_labelled, open_session, predict_images
from edge.runtime.dynamic import Always
from edge.runtime.policy import fixed
from edge.runtime.predictions import Predictions
from edge.runtime.route import Route
from edge.runtime.session import Array, Session

if TYPE_CHECKING:
    from rich.table import Table

BUDGET_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Budgets, as shares of the way from the cheapest width's mean latency to the dearest's."""
KEPT_DROP = 0.003
"""How much accuracy below the widest width's is given away for speed."""
BLOCK_IMAGES = 25
RESAMPLES = 2000


@dataclass(frozen=True)
class Subject:
    """One artifact, its answers to all images, and the images that calibration does not see."""

    bundle: Bundle
    artifact: Artifact
    session: Session
    predictions: Predictions
    fitting: NDArray[np.intp]
    unseen: NDArray[np.intp]
    images: list[Array]
    """The unseen ones, preprocessed."""

    def policies(self, case: Case) -> dict[str, Policy]:
        """Return what is to be run: an operating point for each budget, the widest's accuracy kept, single widths."""
        fitting = case.take(self.fitting)
        fit = KINDS["thresholds"]
        budgets = _budgets(case)
        found: dict[str, Policy] = {name: fit(fitting, budget).policy for name, budget in budgets.items()}
        kept = float(fitting.hits[:, -1].mean()) - KEPT_DROP
        found["kept"] = fit(fitting, Budget((Condition("accuracy", kept),))).policy
        return found | {f"width {width}": fixed(width) for width in case.widths}


def measure_bundle(path: Path, folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Return the figures of every artifact of a bundle that runs here."""
    bundle = open_bundle(path)
    runnable = [item for item in bundle.manifest.artifacts if item.runtime in available_runtimes()]
    return [_measure_artifact(bundle, artifact, folder, rounds) for artifact in runnable]


def _measure_artifact(bundle: Bundle, artifact: Artifact, folder: Path, rounds: int) -> dict[str, Any]:
    subject = _subject(bundle, artifact, folder)
    macs = {width.index: width.macs for width in bundle.manifest.widths}
    found, cases = [], []
    with tempfile.TemporaryDirectory() as temporary, progress() as bar:
        task = bar.add_task(f"{artifact.runtime} {artifact.precision}", total=rounds)
        for number in range(rounds):
            out = Path(temporary) / f"{number}.json"
            run = profile_bundle(bundle, artifact, LocalDevice(), out, settings=Settings(seed=number))
            case = Case.of(run, subject.predictions, Route.of(artifact), macs)
            policies = subject.policies(case)
            found.append(_round(subject, case, policies, _run_blocks(subject, policies, number)))
            cases.append(case)
            bar.advance(task)
    return {
        "runtime": artifact.runtime,
        "precision": artifact.precision,
        "images": len(subject.predictions.label),
        "rounds": found,
        "gains": _gains(cases[-1]),
    }


def _subject(bundle: Bundle, artifact: Artifact, folder: Path) -> Subject:
    images = open_labelled(folder, bundle.manifest.model.classes)
    session = open_session(bundle, artifact, [program.name for program in artifact.programs], 1)
    predictions = predict_images(session, bundle.manifest, artifact, images)
    order = np.random.default_rng(0).permutation(len(predictions.label))
    fitting, unseen = np.sort(order[: len(order) // 2]), order[len(order) // 2 :]
    preprocessing = Preprocessing.of(bundle.manifest.model, artifact.runtime)
    samples = list(images)
    inputs: list[Array] = [preprocessing(samples[image].data, samples[image].name) for image in unseen]
    return Subject(bundle, artifact, session, predictions, fitting, unseen, inputs)


def _budgets(case: Case) -> dict[str, Budget]:
    means = _static_ms(case)
    low, high = min(means), max(means)
    return {f"{share:.0%}": Budget((Condition("mean_ms", low + share * (high - low)),)) for share in BUDGET_SHARES}


def _static_ms(case: Case) -> list[float]:
    return [float(case.single(width).samples.mean()) for width in case.widths]


def _run_blocks(subject: Subject, policies: dict[str, Policy], seed: int) -> dict[str, NDArray[np.float64]]:
    """Return milliseconds per unseen image for each policy; blocks of all of them in random order."""
    classes = subject.bundle.manifest.model.classes
    sessions = {
        name: DynamicSession(subject.session, subject.artifact, classes, Always(policy))
        for name, policy in policies.items()
    }
    samples = {name: np.zeros(len(subject.images)) for name in policies}
    starts = range(0, len(subject.images), BLOCK_IMAGES)
    blocks = [(name, start) for name in policies for start in starts]
    random.Random(seed).shuffle(blocks)
    for name, start in blocks:
        for image in range(start, min(start + BLOCK_IMAGES, len(subject.images))):
            samples[name][image] = sessions[name].answer(subject.images[image]).total_ms
    return samples


def _round(
    subject: Subject, case: Case, policies: dict[str, Policy], samples: dict[str, NDArray[np.float64]]
) -> dict[str, Any]:
    unseen = case.take(subject.unseen)
    rows = {}
    for name, policy in policies.items():
        routing = route(policy, unseen)
        fitted = route(policy, case.take(subject.fitting))
        rows[name] = {
            "predicted_ms": expected("mean_ms", fitted.options, fitted.shares),
            "predicted_unseen_ms": expected("mean_ms", routing.options, routing.shares),
            "measured_ms": float(samples[name].mean()),
            "accuracy": float(routing.hit.mean()),
        }
    budgets = {name: budget.conditions[0].value for name, budget in _budgets(case).items()}
    return {"budgets_ms": budgets, "policies": rows}


def _gains(case: Case) -> list[dict[str, Any]]:
    """Return, per budget and kind of policy, its held-out accuracy less that of single widths.

    `within`: of the best single width within the budget, chosen on the same folds. `same_ms`: of the single widths at
    the policy's own mean latency, on the line between the two Pareto-best widths around it.
    """
    rows = []
    for name, budget in _budgets(case).items():
        single, _ = _held_out(case, budget, single_width.fit)
        for kind, fit in KINDS.items():
            hits, mean_ms = _held_out(case, budget, fit)
            rows.append(
                {
                    "budget": name,
                    "kind": kind,
                    "accuracy": float(hits.mean()),
                    "mean_ms": mean_ms,
                    "within": _mean(hits - single),
                    "same_ms": _mean(hits - _front_hits(case, mean_ms)),
                }
            )
    return rows


def _held_out(case: Case, budget: Budget, fit: Fit) -> tuple[NDArray[np.float64], float]:
    """Return whether each image is answered rightly by a rule that did not see it, and the mean latency."""
    hits, total_ms = np.zeros(case.images), 0.0
    for images, routing in held_out_folds(case, budget, fit):
        hits[images] = routing.hit
        total_ms += expected("mean_ms", routing.options, routing.shares) * len(images)
    return hits, total_ms / case.images


def _front_hits(case: Case, mean_ms: float) -> NDArray[np.float64]:
    """Return, per image, the chance of being right when a coin picks between the Pareto-best widths around a time."""
    order = np.argsort(_static_ms(case))
    times, accuracy = np.array(_static_ms(case))[order], case.hits.mean(axis=0)[order]
    best = [at for at in range(len(order)) if at == 0 or accuracy[at] > accuracy[:at].max()]
    times, columns = times[best], order[best]
    wide = int(np.clip(np.searchsorted(times, mean_ms), 1, len(times) - 1)) if len(times) > 1 else 0
    narrow = max(wide - 1, 0)
    share = 0.0 if wide == narrow else float(np.clip((mean_ms - times[narrow]) / (times[wide] - times[narrow]), 0, 1))
    return np.asarray((1 - share) * case.hits[:, columns[narrow]] + share * case.hits[:, columns[wide]])


def _mean(values: NDArray[np.float64]) -> dict[str, float]:
    """Return the mean of paired differences with its 95% bootstrap interval over images."""
    draws = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), (0.025, 0.975))
    return {"value": float(values.mean()), "low": float(low), "high": float(high)}


def tables(measured: Sequence[dict[str, Any]]) -> "Iterator[Table]":
    """Yield the figures as tables."""
    for found in measured:
        title = f"{found['runtime']} {found['precision']}, {found['images']} images"
        rounds = found["rounds"]
        columns = ("budget", "limit ms", "measured ms", "measured / predicted", "rounds within")
        yield table(f"{title}: budgets on unseen images", columns, map(_budget_cells(rounds), rounds[0]["budgets_ms"]))
        gains = ("budget", "policy", "held-out accuracy", "points over the best width within", "over widths as fast")
        rows = [
            (
                row["budget"],
                row["kind"],
                f"{row['accuracy']:.2%}",
                _points(row["within"]),
                _points(row["same_ms"]),
            )
            for row in found["gains"]
        ]
        yield table(f"{title}: accuracy within the same budget", gains, rows)
        widest = [name for name in rounds[0]["policies"] if name.startswith("width")][-1]
        speedups = [
            each["policies"][widest]["measured_ms"] / each["policies"]["kept"]["measured_ms"] for each in rounds
        ]
        lost = [each["policies"][widest]["accuracy"] - each["policies"]["kept"]["accuracy"] for each in rounds]
        row = (f"{np.median(speedups):.2f}x ({min(speedups):.2f}…{max(speedups):.2f})", f"{np.median(lost) * 100:.2f}")
        yield table(f"{title}: the widest's accuracy less 0.3 points", ("speed-up", "points lost, unseen"), [row])


def _budget_cells(rounds: Sequence[dict[str, Any]]) -> Any:
    def cells(name: str) -> tuple[str, ...]:
        rows = [each["policies"][name] for each in rounds]
        ratios = [row["measured_ms"] / row["predicted_ms"] for row in rows]
        limits = [each["budgets_ms"][name] for each in rounds]
        within = sum(row["measured_ms"] <= limit for row, limit in zip(rows, limits, strict=True))
        return (
            name,
            f"{np.median(limits):.3f}",
            f"{np.median([row['measured_ms'] for row in rows]):.3f}",
            f"{np.median(ratios):.3f} ({min(ratios):.3f}…{max(ratios):.3f})",
            f"{within} of {len(rows)}",
        )

    return cells


def _points(row: dict[str, Any]) -> str:
    return f"{row['value'] * 100:+.2f} [{row['low'] * 100:+.2f}, {row['high'] * 100:+.2f}]"
