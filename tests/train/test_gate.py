"""The gate's two ways to decide: sampled with a gradient, or deterministic."""

import torch

from train.gate import decide, straight_through_choice, straight_through_decision


def test_training_samples_one_hot_choices_that_carry_a_gradient() -> None:
    logits = torch.zeros(32, 4, requires_grad=True)
    chosen = straight_through_choice(logits, 1.0)
    assert torch.allclose(chosen.sum(1), torch.ones(32))
    assert ((chosen - chosen.round()).abs() < 1e-6).all()
    (chosen * torch.arange(4.0)).sum().backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() > 0


def test_choices_are_drawn_in_proportion_to_the_softmax_of_the_logits() -> None:
    logits = torch.tensor([2.0, 0.0, 1.0, -1.0])
    torch.manual_seed(0)
    chosen = straight_through_choice(logits.expand(20_000, 4), 1.0)
    error = (chosen.mean(0) - logits.softmax(0)).abs().max().item()
    assert error < 0.015, f"largest deviation from the softmax {error}"


def test_the_seed_decides_the_draw() -> None:
    logits = torch.zeros(64, 4)
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(straight_through_choice(logits, 1.0))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_a_decision_with_a_gradient_is_the_one_that_evaluation_takes() -> None:
    logits = torch.randn(32, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    decided = straight_through_decision(logits, 1.0)
    assert torch.equal(decided.argmax(1), decide(logits))
    (decided * torch.arange(4.0)).sum().backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() > 0


def test_evaluation_takes_the_highest_logit() -> None:
    logits = torch.tensor([[0.0, 0.1, -3.0, 0.09], [4.0, 3.9, 3.9, 3.9]])
    assert decide(logits).tolist() == [1, 0]
