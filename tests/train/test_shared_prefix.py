"""One step of stage I: what widths share is run once, and every width learns what its objective says."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from torch import Tensor

from tests.train.networks import MICRO, MICRO_STAGE, coloured_images, normal_images
from train import StageSpec, SupernetSpec
from train.config import SupernetStageConfig
from train.loop import Setting, View, run_steps
from train.supernet_stage import SupernetLearner

STEADY = replace(MICRO, dropout=0.0)
"""Dropout would draw other units for every forward pass of the largest network."""
ROUTED_STEM = SupernetSpec(
    name="routed_stem",
    resolution=8,
    classes=3,
    stem=StageSpec((2, 4, 6), depth=1, stride=1),
    stages=(StageSpec((4, 6, 8), depth=2, stride=2),),
    gates=(),
    dropout=0.0,
)
IMAGES = coloured_images(60)
BATCH, LABELS = normal_images(MICRO, 12), torch.arange(12) % 3
OTHER_VIEW = normal_images(MICRO, 12, seed=1)
STEP = 3


def other_view() -> Tensor:
    return OTHER_VIEW


def fabric(precision: Any = "32-true") -> Fabric:
    return Fabric(accelerator="cpu", devices=1, precision=precision)


def learner(spec: SupernetSpec = STEADY, start: dict[str, np.ndarray] | None = None, **changes: Any) -> SupernetLearner:
    """Return a learner whose average is not its network, so that one cannot pass for the other."""
    made = SupernetLearner(spec, IMAGES, None, replace(MICRO_STAGE, **changes), 0, start, fabric())
    generator = torch.Generator().manual_seed(1)
    for weight in made.averaged.parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
    return made


def in_float64(made: SupernetLearner) -> SupernetLearner:
    made.model.double()
    made.averaged.double()
    return made


def widths_run_by(made: SupernetLearner, layer: str) -> list[int]:
    """Return a list that fills with the width of every call of a layer of the trained network."""
    calls: list[int] = []
    made.model.get_submodule(layer).register_forward_pre_hook(lambda _, given: calls.append(given[1]))
    return calls


def gradients(made: SupernetLearner) -> dict[str, Tensor]:
    return {name: weight.grad for name, weight in made.named_parameters() if weight.grad is not None}


def gradients_of_whole_widths(made: SupernetLearner, images: Tensor) -> dict[str, Tensor]:
    """Return the gradients after running each width of the step from the image to its labels, by itself."""
    smoothing = made.config.label_smoothing
    for width in made.widths(STEP):
        logits = made.model(images, width).float()
        torch.autograd.backward(torch.nn.functional.cross_entropy(logits, LABELS, label_smoothing=smoothing))
    return gradients(made)


def largest_relative_difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    assert found.keys() == expected.keys()
    return max(float((found[name] - one).norm() / one.norm().clamp(min=1e-12)) for name, one in expected.items())


def taught(logits: Tensor, target: Tensor) -> float:
    """Return the mean over the batch of −Σ target · log softmax."""
    return float(-(target * torch.log(torch.softmax(logits, 1))).sum() / len(logits))


@pytest.mark.parametrize(
    ("spec", "wide_teacher", "runs_of_the_stem"), [(STEADY, True, 2), (STEADY, False, 1), (ROUTED_STEM, True, 3)]
)
def test_a_step_has_the_gradients_of_running_every_width_whole(
    spec: SupernetSpec, wide_teacher: bool, runs_of_the_stem: int
) -> None:
    def made() -> SupernetLearner:
        return in_float64(learner(spec, objective="labels", wide_teacher=wide_teacher))

    shared, images = made(), BATCH.double()
    stem = widths_run_by(shared, "stem")
    shared.add_gradients(images, LABELS, STEP, share=1.0, view=other_view)
    assert len(stem) == runs_of_the_stem, f"the stem ran at widths {stem}"
    worst = largest_relative_difference(gradients(shared), gradients_of_whole_widths(made(), images))
    print(f"largest relative difference of a gradient: {worst:.2e}")
    assert worst < 1e-10, f"largest relative difference of a gradient {worst:.2e}"


def test_a_share_of_a_step_has_that_share_of_its_gradients() -> None:
    whole, half = in_float64(learner()), in_float64(learner())
    whole.add_gradients(BATCH.double(), LABELS, STEP, share=1.0, view=other_view)
    half.add_gradients(BATCH.double(), LABELS, STEP, share=0.5, view=other_view)
    doubled = {name: 2 * gradient for name, gradient in gradients(half).items()}
    worst = largest_relative_difference(doubled, gradients(whole))
    assert worst < 1e-10, f"largest relative difference {worst:.2e}"


def test_sampling_all_runs_every_width_once_and_reports_the_loss_of_each() -> None:
    made = learner(sampling="all", objective="labels", wide_teacher=False)
    runs = widths_run_by(made, "classifier")
    losses = made.add_gradients(BATCH, LABELS, STEP, share=1.0, view=other_view)
    assert sorted(runs) == list(range(MICRO.n_widths))
    assert sorted(losses) == [f"width {width}" for width in range(MICRO.n_widths)]


def test_a_sandwich_reports_one_loss_for_each_of_its_widths() -> None:
    made = learner()
    runs = widths_run_by(made, "classifier")
    losses = made.add_gradients(BATCH, LABELS, STEP, share=1.0, view=other_view)
    assert len(runs) == 4
    assert list(losses) == [f"width {width}" for width in runs] == [f"width {width}" for width in made.widths(STEP)]


def widest(made: SupernetLearner, network: Callable[[Tensor, int], Tensor], _: int) -> Tensor:
    """Return the target (n, k) that the widest of `network` gives to any width."""
    return network(BATCH, made.widths(STEP)[0]).softmax(1)


def mean_of_the_others_for_the_smallest(
    made: SupernetLearner, network: Callable[[Tensor, int], Tensor], width: int
) -> Tensor:
    """Return the target (n, k) that `network` gives to a width: to the smallest, the mean of all larger ones."""
    if width > 0:
        return widest(made, network, width)
    return torch.stack([network(BATCH, other).softmax(1) for other in made.widths(STEP)[:-1]]).mean(0)


def widest_on_the_other_view(made: SupernetLearner, network: Callable[..., Tensor], _: int) -> Tensor:
    """Return the target (n, k) of every width: what `network` says at its widest to other views of the images."""
    return network(OTHER_VIEW, made.widths(STEP)[0]).softmax(1)


@pytest.mark.parametrize(
    ("objective", "teacher", "target"),
    [
        ("bootstrapping", "averaged", widest),
        ("ensemble bootstrapping", "averaged", mean_of_the_others_for_the_smallest),
        ("multi-view consistency", "averaged", widest_on_the_other_view),
        ("distillation", "model", widest),
    ],
)
@pytest.mark.parametrize("wide_teacher", [True, False])
def test_the_narrower_widths_learn_from_the_teacher_of_the_objective(
    objective: str, teacher: str, target: Callable[..., Tensor], wide_teacher: bool
) -> None:
    made = learner(objective=objective, wide_teacher=wide_teacher)
    losses = made.add_gradients(BATCH, LABELS, STEP, share=1.0, view=other_view)
    with torch.no_grad():
        for width in made.widths(STEP)[1:]:
            expected = taught(made.model(BATCH, width), target(made, getattr(made, teacher), width))
            # float32: log and exp lose a few of 24 bits.
            assert losses[f"width {width}"].item() == pytest.approx(expected, rel=1e-5), f"width {width}"
    assert all(weight.grad is None for weight in made.averaged.parameters())


def test_the_gate_gets_no_gradient() -> None:
    made = learner()
    made.add_gradients(BATCH, LABELS, STEP, share=1.0, view=other_view)
    assert all(weight.grad is None for gate in made.model.gates for weight in gate.parameters())
    assert "gate.weight" not in gradients(made)


class Recorder(SupernetLearner):
    """Notes the shape of the images of every step."""

    def add_gradients(self, images: Tensor, labels: Tensor, step: int, share: float, view: View) -> dict[str, Tensor]:
        self.shapes = [*getattr(self, "shapes", []), tuple(images.shape)]
        return super().add_gradients(images, labels, step, share, view)


def test_early_epochs_run_on_small_images() -> None:
    config: SupernetStageConfig = replace(MICRO_STAGE, epochs=3, early_epochs=2, batch_size=30)
    made = Recorder(MICRO, IMAGES, None, config, 0, None, fabric())
    run_steps(made, MICRO, IMAGES, config, 0, Setting(made.fabric))
    assert made.shapes == [(30, 3, 4, 4)] * 4 + [(30, 3, 8, 8)] * 2


def test_the_side_of_early_images_can_be_chosen() -> None:
    made = learner(early_epochs=1, early_resolution=12)
    assert [made.resolution(epoch) for epoch in range(3)] == [12, MICRO.resolution, MICRO.resolution]


def test_mixed_precision_gives_nearly_the_losses_of_float32(trained_supernet: dict[str, np.ndarray]) -> None:
    losses = {}
    for precision in ("32-true", "bf16-mixed"):
        made = SupernetLearner(STEADY, IMAGES, None, MICRO_STAGE, 0, trained_supernet, fabric(precision))
        losses[precision] = made.add_gradients(BATCH, LABELS, STEP, share=1.0, view=other_view)
        assert {gradient.dtype for gradient in gradients(made).values()} == {torch.float32}
        assert all(bool(gradient.isfinite().all()) for gradient in gradients(made).values())
    exact = losses["32-true"]
    apart = {name: abs(float(loss / exact[name]) - 1) for name, loss in losses["bf16-mixed"].items()}
    # bfloat16 keeps 8 bits: 0.4 % per value, through eight layers.
    assert 0 < max(apart.values()) < 0.05, f"relative differences {apart}"
