"""What the shared cases of policies cannot hold: JSON has no NaN, and a case is one image."""

import warnings

import numpy as np
import pytest

from edge.bundle.manifest import CascadePolicy, ThresholdPolicy, UtilityPolicy
from edge.runtime.decisions import Decision, GateLogits
from edge.runtime.policy import decided, next_width, positions, start, utilities

THRESHOLDS = ThresholdPolicy(widths=[0, 3, 5], thresholds=[0.25, 0.5])
UTILITY = UtilityPolicy(
    widths=[0, 3, 5], weights=[[1.0, -1.0], [0.5, 0.0], [-1.0, 1.0]], biases=[0.0] * 3, penalties=[0.0, 0.1, 0.2]
)


@pytest.mark.parametrize("policy", [THRESHOLDS, UTILITY], ids=lambda policy: policy.kind)
@pytest.mark.parametrize("logits", [[np.nan, 0.0], [np.inf, np.inf]])
def test_gate_logits_that_are_no_numbers_count_as_hard(
    policy: ThresholdPolicy | UtilityPolicy, logits: list[float]
) -> None:
    with np.errstate(invalid="ignore"):
        assert decided(start(policy), np.array(logits, np.float32)) == 5


def test_a_cascade_goes_on_from_logits_that_are_no_numbers() -> None:
    policy = CascadePolicy(widths=[0, 3], confidences=[0.0])
    assert next_width(policy, 0, np.array([np.nan, 0.0], np.float32)) == 3


@pytest.mark.parametrize("policy", [THRESHOLDS, UTILITY], ids=lambda policy: policy.kind)
def test_many_images_get_the_widths_that_each_gets_alone(policy: ThresholdPolicy | UtilityPolicy) -> None:
    logits = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    logits[7] = np.nan
    gates = GateLogits((Decision(widths=[0, 3, 5], choices=[0, 5]),), logits)
    together = [policy.widths[at] for at in positions(policy, gates, np.zeros((50, 3), np.float32))]
    assert together == [decided(start(policy), row) for row in logits]
    assert set(together) == {0, 3, 5}


def test_one_width_is_never_chosen_whatever_the_gate_says() -> None:
    policy = UtilityPolicy(widths=[4], weights=[[1.0]], biases=[0.0], penalties=[0.0])
    assert decided(start(policy), np.array([1.0, 2.0, 3.0], np.float32)) == 4


def test_a_hopeless_width_is_worth_minus_its_penalty_without_a_warning() -> None:
    policy = UtilityPolicy(widths=[0, 1], weights=[[1.0], [0.0]], biases=[0.0, 0.0], penalties=[0.25, 0.5])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert utilities(policy, np.array([-1000.0], np.float32)).tolist() == [-0.25, 0.0]
