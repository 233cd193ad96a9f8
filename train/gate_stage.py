"""Stage II: only the gate learns; the supernet is frozen, batch norm in evaluation mode (DS-Net, Li et al., CVPR 2021).

loss = sandwich gate sparsification + cross-entropy of the routed network + penalty on multiply-accumulates, and, where
a target is given, the squared relative distance of the mean cost from it. The logits of every choice are computed once
per batch without a graph; the gradient reaches the gate through the one-hot weights.

Shapes: n images, r × r pixels, c choices of the gate, k classes.
"""

from collections.abc import Mapping

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from train.augment import Normalise, resized
from train.config import GateStageConfig
from train.costs import CostTarget
from train.data import ImageSet, batches, hold_out
from train.errors import TrainError
from train.gate import decide, straight_through_choice, straight_through_decision
from train.loop import NamedParameters, Setting, View, kept_random_state, run_steps
from train.losses import (
    cost_target_penalty,
    cross_entropy,
    mac_penalty,
    mac_unit,
    sandwich_labels,
    sandwich_sparsification,
)
from train.spec import SupernetSpec
from train.supernet import Supernet


def train_gate(
    spec: SupernetSpec,
    tensors: Mapping[str, np.ndarray],
    images: ImageSet,
    config: GateStageConfig,
    seed: int = 0,
    target: CostTarget | None = None,
    setting: Setting | None = None,
) -> dict[str, np.ndarray]:
    """Train the gate of a trained supernet; return its tensors, of which only the gate's differ.

    target: a mean cost per image to meet. The default setting is the first device found, and no run folder. The same
    seed on the same machine gives the same gate. A network without a gate is a TrainError.
    """
    setting = setting or Setting(Fabric(devices=1))
    kept, held_out = hold_out(images, config.hold_out, seed)
    with kept_random_state(setting.fabric):
        learner = GateLearner(spec, tensors, held_out, config, target, setting.fabric)
        run_steps(learner, spec, kept, config, seed, setting)
        return learner.supernet.tensors()


class GateLearner:
    """A frozen supernet and the gate that learns to choose its widths."""

    def __init__(
        self,
        spec: SupernetSpec,
        tensors: Mapping[str, np.ndarray],
        held_out: ImageSet | None,
        config: GateStageConfig,
        target: CostTarget | None,
        fabric: Fabric,
    ) -> None:
        self.held_out = held_out
        self.config = config
        self.target = target
        self.fabric = fabric
        self.supernet = Supernet.from_tensors(spec, tensors).requires_grad_(False).to(fabric.device)
        self.gate = _gate_of(self.supernet).requires_grad_(True)
        self.normalise = Normalise(spec).to(fabric.device)
        self.macs = self._constant([float(spec.macs(width)) for width in self.supernet.choices])
        self.costs = self._constant(target.costs) if target else None
        self.mac_unit = config.mac_unit or mac_unit(spec.macs(self.supernet.choices[-1]))

    def named_parameters(self) -> NamedParameters:
        """Return the gate's weights."""
        return [(f"gate.{name}", weight) for name, weight in self.gate.named_parameters()]

    def carried(self) -> dict[str, Tensor]:
        """Return the gate's weights; all else is frozen."""
        return {name: weight.data for name, weight in self.named_parameters()}

    def resolution(self, _: int) -> int:
        """Return the network's resolution: what is hard must be learned on the images that are met."""
        return self.supernet.spec.resolution

    def add_gradients(self, images: Tensor, labels: Tensor, _: int, share: float, __: View) -> dict[str, Tensor]:
        """Run every choice without a graph, the gate with one, and the losses of stage II."""
        gate_input, logits = self._frozen(images)
        losses = self._losses(self.supernet.gate_logits(gate_input), logits, labels)
        total = torch.stack(list(losses.values())).sum()
        self.fabric.backward(total * share)
        return {name: loss.detach() for name, loss in losses.items()} | {"gate": total.detach()}

    def after_step(self) -> None:
        """Do nothing: the gate has no average."""

    @torch.no_grad()
    def accuracies(self) -> dict[str, float]:
        """Return the top-1 of the held-out images when the gate decides."""
        if self.held_out is None:
            return {}
        right = 0
        for pixels, labels in batches(self.held_out, self.config.batch_size):
            unchanged = resized(pixels.to(self.fabric.device), self.supernet.spec.resolution)
            gate_input, logits = self._frozen(self.normalise(unchanged))
            chosen = logits[torch.arange(len(logits)), decide(self.supernet.gate_logits(gate_input))]
            right += int((chosen.argmax(dim=1) == labels.to(chosen.device)).sum())
        return {"gate": right / self.held_out.count}

    @torch.no_grad()
    def _frozen(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the gate reads and the logits of every choice, (n, c, k); float32."""
        with self.fabric.autocast():
            logits, gate_input = self.supernet.forward_widths(images, self.supernet.choices)
        assert gate_input is not None
        return gate_input.float(), logits.transpose(0, 1).float()

    def _losses(self, gate_logits: Tensor, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the weighted terms; gate_logits (n, c), logits (n, c, k), labels (n,)."""
        config = self.config
        gate_labels = sandwich_labels(logits[:, 0], logits[:, -1], labels, logits.shape[1], config.hard_rule)
        chosen = straight_through_choice(gate_logits, config.temperature)
        routed = (chosen.unsqueeze(2) * logits).sum(dim=1)
        losses = {
            "sparsification": config.sparsification_weight * sandwich_sparsification(gate_logits, gate_labels),
            "routed": cross_entropy(routed, labels),
            "MACs": config.mac_weight * mac_penalty(chosen, self.macs, self.mac_unit),
        }
        if self.target is not None and self.costs is not None:
            # Of the decisions that evaluation takes: sampled ones meet any budget without telling images apart.
            decided = straight_through_decision(gate_logits, config.temperature)
            losses["target"] = config.target_weight * cost_target_penalty(decided, self.costs, self.target.target)
        return losses

    def _constant(self, values: tuple[float, ...] | list[float]) -> Tensor:
        return torch.tensor(values, device=self.fabric.device)


def _gate_of(supernet: Supernet) -> nn.Module:
    if supernet.gate is None:
        raise TrainError(f"spec {supernet.spec.name!r} has no gate to train; give a checkpoint of a spec with one")
    return supernet.gate
