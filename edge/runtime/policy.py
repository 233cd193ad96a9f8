"""Which width answers: what each policy of an operating point does (docs/policies.md), in one place for every caller.

`start` says what decides first, `decided` what a gate's logits lead to, `next_width` whether another width runs after
one that answered. `positions` is the same for many images at once.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import CascadePolicy, Policy, ThresholdPolicy, UtilityPolicy
from edge.bundle.policies import TreeNode, TreePolicy, leaves
from edge.runtime.decisions import GateLogits

Floats = NDArray[np.float64]
Place: TypeAlias = int | ThresholdPolicy | TreeNode | UtilityPolicy
"""Where an image stands: at the width that answers, or before a gate, at what decides there."""


def fixed(width: int) -> ThresholdPolicy:
    """Return the policy that gives every image `width`."""
    return ThresholdPolicy(widths=[width], thresholds=[])


def start(policy: Policy) -> Place:
    """Return where every image starts: at the first width, where no gate is asked."""
    if isinstance(policy, CascadePolicy) or not policy.asks_gate:
        return policy.widths[0]
    return policy.root if isinstance(policy, TreePolicy) else policy


def decided(place: Place, gate_logits: NDArray[np.float32]) -> Place:
    """Return where an image goes on, for the logits [m] of the gate that it has come to."""
    if isinstance(place, int):
        return place
    if isinstance(place, UtilityPolicy):
        return place.widths[int(gate_choice(place, gate_logits))]
    return place.next[int(choose(score(gate_logits), place.thresholds))]


def a_width(place: Place) -> int:
    """Return a width that may still answer. What runs before the next decision is the same for all of them."""
    return place.widths[0] if isinstance(place, ThresholdPolicy | UtilityPolicy) else leaves(place)[0]


def next_width(policy: Policy, width: int, logits: NDArray[np.float32]) -> int | None:
    """Return the width that runs after `width` gave `logits` [classes]; None where that answer stands."""
    if not isinstance(policy, CascadePolicy):
        return None
    position = policy.widths.index(width)
    if position == len(policy.confidences) or confidence(logits) >= policy.confidences[position]:
        return None
    return policy.widths[position + 1]


def positions(policy: Policy, gate_logits: GateLogits, confidences: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return, for n images at once, the position in the policy's width list that answers, [n].

    `confidences` is [n, widths of the policy]: the top-1 probability of each. In a cascade all narrower widths have run
    before the one that answers.
    """
    if isinstance(policy, CascadePolicy):
        stands = np.ones(confidences.shape, bool)
        stands[:, :-1] = confidences[:, :-1] >= np.array(policy.confidences)
        return np.asarray(stands.argmax(axis=1))
    place = start(policy)
    if isinstance(place, UtilityPolicy):
        return gate_choice(place, gate_logits.first)
    return np.searchsorted(policy.widths, answering(place, gate_logits))


def answering(place: int | ThresholdPolicy | TreeNode, gate_logits: GateLogits, gate: int = 0) -> NDArray[np.intp]:
    """Return the width that answers each of n images, [n], once they stand at a place before a gate."""
    if isinstance(place, int):
        return np.full(gate_logits.images, place, np.intp)
    if len(place.next) == 1:
        return answering(place.next[0], gate_logits, gate + 1)
    further = np.array([answering(child, gate_logits, gate + 1) for child in place.next])
    taken = choose(score(gate_logits.of(a_width(place), gate)), place.thresholds)
    found: NDArray[np.intp] = further[taken, np.arange(gate_logits.images)]
    return found


def gate_choice(policy: UtilityPolicy, gate_logits: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return, for gate logits [..., m], the position in the policy's width list [...]; the last where one is NaN."""
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


def choose(scores: Floats, thresholds: Sequence[float]) -> NDArray[np.intp]:
    """Return, per score, the number of thresholds strictly below it; all of them where it is NaN."""
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
