"""Each loss against its equation, and the gradients that the method relies on."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from train.losses import (
    cross_entropy,
    ensemble_target,
    mac_penalty,
    mac_unit,
    sandwich_labels,
    sandwich_sparsification,
    soft_cross_entropy,
)


def gradient(logits: Tensor, loss: Tensor) -> Tensor:
    return torch.autograd.grad(loss, logits)[0]


def test_label_smoothing_spreads_its_mass_over_all_classes() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    log_p = logits.log_softmax(1)[0]
    expected = -(0.9 * log_p[0] + 0.1 * log_p.mean()).item()
    assert cross_entropy(logits, torch.tensor([0]), 0.1).item() == pytest.approx(expected, rel=1e-6)


def test_bootstrapping_pulls_the_student_to_the_teacher_and_stops_there() -> None:
    teacher = torch.tensor([[1.0, -1.0, 0.5]])
    student = torch.zeros(1, 3, requires_grad=True)
    pull = gradient(student, soft_cross_entropy(student, teacher.softmax(1)))
    expected = student.softmax(1) - teacher.softmax(1)
    assert torch.allclose(pull, expected, atol=1e-6), f"gradient {pull}, expected {expected}"
    agreed = (teacher + 3).requires_grad_()
    rest = gradient(agreed, soft_cross_entropy(agreed, teacher.softmax(1))).abs().max().item()
    assert rest < 1e-6, f"gradient {rest} although student and teacher agree"


def test_no_gradient_reaches_the_teacher() -> None:
    teacher = torch.randn(2, 3, requires_grad=True)
    student = torch.randn(2, 3, requires_grad=True)
    soft_cross_entropy(student, teacher.softmax(1)).backward()
    soft_cross_entropy(student, ensemble_target([teacher, 2 * teacher])).backward()
    assert teacher.grad is None
    assert student.grad is not None


def test_the_ensemble_averages_probabilities_not_logits() -> None:
    confident, opposed, unsure = torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 9.0]]), torch.zeros(1, 2)
    expected = (confident.softmax(1) + opposed.softmax(1) + unsure.softmax(1)) / 3
    target = ensemble_target([confident, opposed, unsure])
    assert torch.allclose(target, expected)
    assert target.sum().item() == pytest.approx(1)


def test_ensemble_bootstrapping_has_the_mean_of_the_single_teachers_gradients() -> None:
    teachers = [torch.randn(4, 5, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    student = torch.zeros(4, 5, requires_grad=True)
    ensemble = gradient(student, soft_cross_entropy(student, ensemble_target(teachers)))
    single = [gradient(student, soft_cross_entropy(student, teacher.softmax(1))) for teacher in teachers]
    error = (ensemble - torch.stack(single).mean(0)).abs().max().item()
    assert error < 1e-6, f"largest difference {error}"


RIGHT, WRONG = torch.tensor([5.0, 0.0]), torch.tensor([0.0, 5.0])


@pytest.mark.parametrize(
    ("smallest", "largest", "rule", "expected"),
    [
        (RIGHT, RIGHT, "try best", 0),
        (RIGHT, WRONG, "try best", 0),
        (WRONG, RIGHT, "try best", 3),
        (WRONG, WRONG, "try best", 3),
        (WRONG, RIGHT, "give up", 3),
        (WRONG, WRONG, "give up", 0),
    ],
)
def test_the_gate_learns_the_smallest_choice_where_it_suffices(
    smallest: Tensor, largest: Tensor, rule: str, expected: int
) -> None:
    lowest, highest = torch.tensor([0]), torch.tensor([3])
    labels = sandwich_labels(smallest[None], largest[None], torch.tensor([0]), lowest, highest, rule)
    assert labels.tolist() == [expected]


def test_defect_c_gate_labels_meet_logits_not_probabilities() -> None:
    logits = torch.tensor([[8.0, 0.0, 0.0, 0.0]], requires_grad=True)
    label = torch.tensor([3])
    loss = sandwich_sparsification(logits, label)
    assert loss.item() == pytest.approx(8 + math.log(1 + 3 * math.exp(-8)), rel=1e-5)
    push = gradient(logits, loss)[0, 3].item()
    squashed = gradient(logits, F.cross_entropy(logits.softmax(1), label))[0, 3].item()
    assert push == pytest.approx(-1, abs=0.01), f"gradient {push} on a confidently wrong gate"
    assert abs(squashed) < 0.01 * abs(push), f"squashed gradient {squashed} is as strong as ours, {push}"


def test_the_mac_penalty_is_half_the_squared_mean_cost_and_pulls_to_cheap_choices() -> None:
    choices = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    macs = torch.tensor([200e6, 600e6])
    penalty = mac_penalty(choices, macs, unit=1e9)
    assert penalty.item() == pytest.approx(0.5 * 0.4**2)
    push = gradient(choices, penalty)
    assert (push[:, 1] > push[:, 0]).all(), f"gradient {push}"


def test_the_default_unit_makes_the_penalty_of_a_small_network_the_published_one() -> None:
    widest = torch.tensor([[1.0]])
    small = mac_penalty(widest, torch.tensor([1.27e6]), mac_unit(1_270_000)).item()
    published = mac_penalty(widest, torch.tensor([565e6]), 1e9).item()
    assert small == pytest.approx(published, rel=1e-3)
