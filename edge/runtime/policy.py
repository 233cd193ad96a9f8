"""Which width answers: what each policy of an operating point does (docs/policies.md), in one place for every caller.

`first_width` says which width runs first, `next_width` whether another one runs after it. The functions on arrays
below them are the same rules for many images at once.
"""

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import CascadePolicy, Policy, ThresholdPolicy, UtilityPolicy

Floats = NDArray[np.float64]


def fixed(width: int) -> ThresholdPolicy:
    """Return the policy that gives every image `width`."""
    return ThresholdPolicy(widths=[width], thresholds=[])


def first_width(policy: Policy, gate_logits: NDArray[np.float32] | None) -> int:
    """Return the width that runs first, for one image's gate logits [m] (None where the policy asks no gate)."""
    if isinstance(policy, CascadePolicy) or gate_logits is None or not policy.asks_gate:
        return policy.widths[0]
    return policy.widths[int(gate_choice(policy, gate_logits))]


def next_width(policy: Policy, width: int, logits: NDArray[np.float32]) -> int | None:
    """Return the width that runs after `width` gave `logits` [classes]; None where that answer stands."""
    if not isinstance(policy, CascadePolicy):
        return None
    position = policy.widths.index(width)
    if position == len(policy.confidences) or confidence(logits) >= policy.confidences[position]:
        return None
    return policy.widths[position + 1]


def positions(policy: Policy, gate_logits: NDArray[np.float32], confidences: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return, for n images at once, the position in the policy's width list that answers, [n].

    `gate_logits` is [n, m], `confidences` [n, widths of the policy]: the top-1 probability of each. In a cascade all
    narrower widths have run before the one that answers.
    """
    if isinstance(policy, CascadePolicy):
        stands = np.ones(confidences.shape, bool)
        stands[:, :-1] = confidences[:, :-1] >= np.array(policy.confidences)
        return np.asarray(stands.argmax(axis=1))
    return gate_choice(policy, gate_logits) if policy.asks_gate else np.zeros(len(confidences), np.intp)


def gate_choice(policy: ThresholdPolicy | UtilityPolicy, gate_logits: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return, for gate logits [..., m], the position in the policy's width list [...]; the last where one is NaN."""
    if isinstance(policy, ThresholdPolicy):
        return choose(score(gate_logits), policy.thresholds)
    found = utilities(policy, gate_logits)
    return np.where(np.isnan(found).any(axis=-1), len(policy.widths) - 1, found.argmax(axis=-1))


def utilities(policy: UtilityPolicy, gate_logits: NDArray[np.float32]) -> Floats:
    """Return each width's chance of being right less its penalty, [..., w], for gate logits [..., m]."""
    chances = right_chance(gate_logits, np.array(policy.weights), np.array(policy.biases))
    penalties: Floats = np.array(policy.penalties)
    return chances - penalties


def score(gate_logits: NDArray[np.float32]) -> Floats:
    """Return Σ_j j·softmax(gate_logits)_j for logits of shape [..., m]: 0 (easy) … m-1 (hard)."""
    probabilities = _softmax(gate_logits)
    expected: Floats = probabilities @ np.arange(gate_logits.shape[-1], dtype=np.float64)
    return expected


def choose(scores: Floats, thresholds: list[float]) -> NDArray[np.intp]:
    """Return, per score, the number of thresholds strictly below it: the position in the point's width list."""
    return np.searchsorted(np.asarray(thresholds, np.float64), scores, side="left")


def right_chance(gate_logits: NDArray[np.float32], weights: Floats, biases: Floats) -> Floats:
    """Return sigmoid(weights · gate logits + biases), [..., w]: each width's chance of being right.

    `gate_logits` is [..., m], `weights` [w, m], `biases` [w].
    """
    with np.errstate(over="ignore"):  # an infinite exponential gives the chance 0, as it should
        return 1 / (1 + np.exp(-(gate_logits.astype(np.float64) @ weights.T + biases)))


def confidence(logits: NDArray[np.float32]) -> Floats:
    """Return the top-1 softmax probability of logits [..., classes], as [...]."""
    top: Floats = _softmax(logits).max(axis=-1)
    return top


def _softmax(logits: NDArray[np.float32]) -> Floats:
    exact = logits.astype(np.float64)
    weights = np.exp(exact - exact.max(axis=-1, keepdims=True))
    normalised: Floats = weights / weights.sum(axis=-1, keepdims=True)
    return normalised
