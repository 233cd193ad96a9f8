"""The gate's score and the threshold rule, in one place: every side that routes images uses these two functions."""

import numpy as np
from numpy.typing import NDArray


def score(gate_logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return Σ_j j·softmax(gate_logits)_j for logits of shape [..., m]: 0 (easy) … m-1 (hard)."""
    logits = gate_logits.astype(np.float64)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    expected: NDArray[np.float64] = weights @ np.arange(logits.shape[-1], dtype=np.float64)
    return expected


def choose(scores: NDArray[np.float64], thresholds: list[float]) -> NDArray[np.intp]:
    """Return, per score, the number of thresholds strictly below it: the position in the point's width list."""
    return np.searchsorted(np.asarray(thresholds, np.float64), scores, side="left")
