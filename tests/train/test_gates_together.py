"""Several gates learn and are judged together: an image's width is what all of them say, one after the other."""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from torch import Tensor
from torch.utils.data import TensorDataset

from edge.profiling import LatencyTable, save_latency
from tests.gated_network import THREE_GATES, TWO_GATES
from tests.train.networks import MICRO_GATES, MICRO_STAGE, MICRO_VIT_GATES, coloured_noise, decisive
from tests.train.test_costs import run as latency_run
from train import ConfigError, SupernetSpec
from train.augment import Normalise
from train.config import AugmentConfig, GateStageConfig
from train.costs import latency_target, mac_target
from train.data import ImageSet
from train.evaluate import evaluate_supernet
from train.gate import straight_through_decision
from train.gate_stage import GateLearner, train_gate
from train.initialise import initial_tensors
from train.loop import Setting
from train.losses import mac_unit
from train.progress import Progress
from train.routing import Routing
from train.run_folder import RunFolder
from train.sampling import generator_of
from train.supernet import Supernet
from train.supernet_stage import sandwich_widths, train_supernet

SPECS = pytest.mark.parametrize(
    "spec", [TWO_GATES, THREE_GATES, MICRO_GATES, MICRO_VIT_GATES], ids=lambda spec: spec.name
)
TOY = replace(TWO_GATES, classes=10)
RED, GREEN, BLUE = range(3)
STILL = AugmentConfig(flip=False, shift=0.0, zoom=0.0)
CONFIG = GateStageConfig(
    epochs=30, batch_size=20, learning_rate=0.5, weight_decay=0.0, mac_weight=0.1, hold_out=0.0, augment=STILL
)
CPU = Setting(Fabric(accelerator="cpu", devices=1))
Tensors = dict[str, np.ndarray]


def coloured(count: int, colour: int, seed: int) -> Tensor:
    """Return images (count, 3, r, r) of noise in which one colour is brighter."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 128, (count, 3, TOY.resolution, TOY.resolution), generator=generator)
    pixels[:, colour] += 127
    return pixels.to(torch.uint8)


@torch.no_grad()
def only_right_at(path: tuple[int, ...], colour: int, seed: int, count: int = 40) -> tuple[Tensor, Tensor]:
    """Return images of a colour, labelled with what the untrained network says at the width of a path."""
    pixels = coloured(count, colour, seed)
    model = Supernet.from_tensors(TOY, initial_tensors(TOY, 0))
    return pixels, model(Normalise(TOY)(pixels), TOY.paths.index(path)).argmax(dim=1)


def image_set(*parts: tuple[Tensor, Tensor]) -> ImageSet:
    pixels, labels = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return ImageSet(TensorDataset(pixels, labels), len(labels), tuple(map(str, range(TOY.classes))))


def noise(spec: SupernetSpec, count: int) -> ImageSet:
    """Return images of noise, each in a colour of its own, with labels that mean nothing."""
    generator = torch.Generator().manual_seed(0)
    colours = torch.randint(0, 200, (count, 3, 1, 1), generator=generator)
    pixels = colours + torch.randint(0, 56, (count, 3, spec.resolution, spec.resolution), generator=generator)
    labels = torch.randint(0, spec.classes, (count,), generator=generator)
    return ImageSet(TensorDataset(pixels.to(torch.uint8), labels), count, tuple(map(str, range(spec.classes))))


def test_the_second_gate_learns_what_the_first_cannot_decide() -> None:
    needed = {BLUE: (0, 0), RED: (1, 0), GREEN: (1, 2)}
    images = image_set(*(only_right_at(path, colour, seed=1, count=20) for colour, path in needed.items()))
    start = initial_tensors(TOY, 0)
    trained = train_gate(TOY, start, images, CONFIG, setting=CPU)
    changed = {name for name in start if not np.array_equal(trained[name], start[name])}
    assert {name.split(".")[0] for name in changed} == {"gate", "gate_2"}
    for colour, path in needed.items():
        found = evaluate_supernet(
            Supernet.from_tensors(TOY, trained), image_set(only_right_at(path, colour, seed=2))
        ).dynamic
        assert found is not None
        shares = {TOY.paths[width]: share for width, share in found.shares.items()}
        assert shares[path] > 0.9, f"images that need {path} got {shares}"
        assert found.top1 > 0.9, f"top-1 {found.top1} of the images that need {path}"


@SPECS
@torch.no_grad()
def test_the_losses_are_those_of_the_ways_that_images_take(spec: SupernetSpec) -> None:
    """With gates so sure that noise cannot change their minds, the ways are those of dynamic inference."""
    model, images = decisive(spec), coloured_noise(spec, 40)
    for weight in (weight for gate in model.gates for name, weight in gate.named_parameters() if "reduce" not in name):
        weight *= 1e4
    labels = torch.randint(0, spec.classes, (40,), generator=torch.Generator().manual_seed(0))
    learner = GateLearner(spec, model.tensors(), None, CONFIG, None, CPU.fabric)
    with torch.enable_grad():
        losses = learner.add_gradients(images, labels, 0, 1.0, lambda: images)
    logits, widths = model.forward_dynamic(images)
    routed = F.cross_entropy(logits, labels).item()
    macs = float(np.mean([spec.macs(width) for width in widths.tolist()])) / mac_unit(spec.macs(spec.n_widths - 1))
    sparsification = sum(sparsification_of(model, image, int(y)) for image, y in zip(images, labels, strict=True)) / 40
    expected = {"routed": routed, "MACs": CONFIG.mac_weight * 0.5 * macs**2, "sparsification": sparsification}
    found = {name: losses[name].item() for name in expected}
    assert found == pytest.approx(expected, rel=1e-4), f"found {found}, expected {expected}"


def sparsification_of(model: Supernet, image: Tensor, label: int) -> float:
    """Return the cross-entropies of the gates on an image's way to what the outermost open networks suggest."""
    spec, total = model.spec, 0.0
    (width,) = model.forward_dynamic(image[None])[1].tolist()
    _, reads = model.forward_widths(image[None], [width])
    for gate, choices in enumerate(spec.choices):
        path = spec.paths[width][:gate]
        open_widths = [
            other
            for other, end in enumerate(spec.paths)
            if end[:gate] == path and all(map(lambda entry, valid: entry in valid, end, spec.choices))
        ]
        right = int(model(image[None], open_widths[0]).argmax()) == label
        wanted = spec.paths[open_widths[0 if right else -1]][gate]
        logits = model.gate_logits(reads[path], path)[0]
        reachable = [choices.index(entry) for entry in spec.choices_after(path)]
        total += float(F.cross_entropy(logits[reachable], torch.tensor(reachable.index(choices.index(wanted)))))
    return total


def test_a_gate_learns_from_what_the_next_one_says_on_the_way_not_taken() -> None:
    """The gradient at a one-hot choice is the cost of every choice, with the next gate's own choice behind it."""
    routing = Routing(TWO_GATES, torch.device("cpu"))
    first = torch.tensor([[[2.0, 1.0]]], requires_grad=True)
    # After entry 0 the second gate takes entry 1, after entry 1 entry 2; at 0 that is out of reach.
    second = torch.tensor([[[0.0, 3.0, -torch.inf], [0.0, 1.0, 4.0]]], requires_grad=True)
    costs = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    weights = routing.follow([first, second], partial(straight_through_decision, temperature=1.0))
    assert weights.detach().round().tolist() == [[0, 1, 0, 0, 0]], "path (0, 1) is width 1"
    (weights @ costs).sum().backward()
    soft = first.detach()[0, 0].softmax(0)
    behind = torch.tensor([2.0, 16.0])
    expected = soft * (behind - (soft * behind).sum())
    assert first.grad is not None and second.grad is not None
    error = (first.grad[0, 0] - expected).abs().max().item()
    assert error < 1e-5, f"gradient {first.grad[0, 0]}, expected {expected}"
    assert second.grad[0, 0, 0] < 0 < second.grad[0, 0, 1], "on the way taken, the dearer choice is pushed down"
    assert second.grad[0, 1].abs().max() < 1e-5, "nothing is learned about a way not taken"
    assert second.grad[0, 0, 2] == 0


@torch.no_grad()
@SPECS
def test_the_dynamic_figures_are_those_of_dynamic_inference(spec: SupernetSpec) -> None:
    images, model = noise(spec, 60), decisive(spec)
    pixels, labels = images.images.tensors
    logits, widths = model.forward_dynamic(Normalise(spec)(pixels))
    found = evaluate_supernet(model, images, batch_size=25)
    assert found.dynamic is not None
    assert len(set(widths.tolist())) > 1
    assert {width: share for width, share in found.dynamic.shares.items() if share} == {
        width: widths.tolist().count(width) / 60 for width in sorted(set(widths.tolist()))
    }
    assert found.dynamic.top1 == float((logits.argmax(dim=1) == labels).double().mean())
    assert found.dynamic.mean_macs == pytest.approx(np.mean([spec.macs(width) for width in widths.tolist()]))
    assert tuple(one.path for one in found.widths) == spec.paths


def test_gates_trained_for_a_budget_meet_it_together() -> None:
    start, images = initial_tensors(TOY, 0), noise(TOY, 80)
    cheapest, dearest = TOY.macs(0), TOY.macs(TOY.n_widths - 1)
    budget = cheapest + 0.3 * (dearest - cheapest)
    config = GateStageConfig(epochs=20, batch_size=20, weight_decay=0.0, hold_out=0.0, augment=STILL)
    trained = train_gate(TOY, start, images, config, target=mac_target(TOY, budget), setting=CPU)
    found = evaluate_supernet(Supernet.from_tensors(TOY, trained), images).dynamic
    assert found is not None
    distance = abs(found.mean_macs - budget) / (dearest - cheapest)
    assert distance < 0.2, f"mean MACs {found.mean_macs:.0f}, budget {budget:.0f}, range {cheapest} … {dearest}"


def test_an_interrupted_run_ends_with_the_same_gates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.loop.SAVE_SECONDS", 0.0)
    monkeypatch.setattr("train.loop.REPORT_SECONDS", 0.0)
    start, images, config = initial_tensors(TOY, 0), noise(TOY, 40), replace(CONFIG, epochs=2)

    class KilledError(Exception):
        """Stands for a kill at the end of a step."""

    def stop(state: Progress) -> None:
        if state.done == 3:
            raise KilledError

    whole = train_gate(TOY, start, images, config, setting=CPU)
    with pytest.raises(KilledError):
        train_gate(TOY, start, images, config, setting=replace(CPU, folder=RunFolder(tmp_path, {}), report=stop))
    steps: list[int] = []
    setting = replace(CPU, folder=RunFolder(tmp_path, {}), report=lambda state: steps.append(state.done))
    resumed = train_gate(TOY, start, images, config, setting=setting)
    assert steps == [3, 4]
    assert [name for name in whole if not np.array_equal(whole[name], resumed[name])] == []


def test_the_sandwich_is_made_of_paths() -> None:
    between = set()
    for step in range(50):
        top, *some, bottom = sandwich_widths(TWO_GATES.n_widths - 1, 2, generator_of(0, 1, step))
        assert (TWO_GATES.paths[top], TWO_GATES.paths[bottom]) == ((1, 2), (0, 0))
        between |= {TWO_GATES.paths[width] for width in some}
    assert between == {(0, 1), (1, 0), (1, 1)}


def test_stage_one_trains_every_part_and_no_gate() -> None:
    start = initial_tensors(MICRO_GATES, 0)
    trained = train_supernet(
        MICRO_GATES, noise(MICRO_GATES, 30), replace(MICRO_STAGE, epochs=2), start=start, setting=CPU
    )
    same = {name for name in start if np.array_equal(trained[name], start[name])}
    assert same == {"gate.weight", "gate_2.weight"}


def latencies(folder: Path, left_out: str = "") -> Path:
    """Return a latency table of TWO_GATES whose programs take 1, 2, 4, … ms."""
    names = [name for name in PROGRAMS if name != left_out]
    timed = {(name,): [[float(PROGRAMS[name])]] for name in names}
    save_latency(
        folder / "latency.json",
        LatencyTable.model_validate({"format": "dsnet-latency/1", "runs": [latency_run(timed)]}),
    )
    return folder / "latency.json"


PROGRAMS = {
    "prefix": 1, "stage_1_00": 2, "stage_1_01": 4,
    "tail_00_00": 8, "tail_00_01": 16, "tail_01_00": 32, "tail_01_01": 64, "tail_01_02": 128,
}  # fmt: skip


def test_a_path_costs_the_medians_of_the_programs_along_it(tmp_path: Path) -> None:
    target = latency_target(TWO_GATES, latencies(tmp_path), 50.0)
    assert target.costs == (1 + 2 + 8, 1 + 2 + 16, 1 + 4 + 32, 1 + 4 + 64, 1 + 4 + 128)


def test_a_program_that_was_not_measured_is_named_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no samples of prefix and stage_1_01 and tail_01_01 in phone"):
        latency_target(TWO_GATES, latencies(tmp_path, "tail_01_01"), 50.0)


def test_multiply_accumulates_are_those_of_the_widths_that_can_be_chosen() -> None:
    target = mac_target(MICRO_GATES, float(MICRO_GATES.macs(2)))
    chosen = [MICRO_GATES.paths.index(path) for path in ((0, 0), (0, 1), (2, 1), (2, 2))]
    assert target.costs == tuple(float(MICRO_GATES.macs(width)) for width in chosen)
    assert all(before < after for before, after in pairwise(target.costs))
