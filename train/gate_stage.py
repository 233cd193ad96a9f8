"""Stage II: only the gates learn; the supernet is frozen, batch norm in evaluation mode (DS-Net, Li et al., CVPR 2021).

loss = sandwich gate sparsification + cross-entropy of the routed network + penalty on multiply-accumulates, and, where
a target is given, the squared relative distance of the mean cost from it. The logits of every width that the gates
choose between are computed once per batch without a graph; the gradient reaches the gates through the one-hot weights.

With gates 1 … K, g_k(e) the logits of gate k for an image that came along the entries e = e_1 … e_(k-1) (−∞ for a
choice out of reach), s_k(e) the straight-through one-hot choice, w_1 … w_K the path of width w, z_w its logits:

    a_w = Π_k s_k(w_1 … w_(k-1))[w_k]                                                  the weight of width w
    loss = λ_s Σ_k mean CE(g_k(e), y_k(e)) + mean CE(Σ_w a_w z_w, y) + λ_m ½ (mean Σ_w a_w MACs_w / unit)²

In the first sum e are the entries that an image has taken. Of the networks that begin with them, the narrowest is what
the lowest choice in reach leads to: y_k(e) is that choice where that network is right, and else the highest, which
leads to the widest. With one gate this is DS-Net's loss. With several it is a reconstruction: DS-Net++ (Li et al.,
2021) has a gate per stage in its ResNets, but how they learn together could not be read.

Shapes: n images, r × r pixels, k classes, w widths that the gates choose between; q paths to a gate, c choices of it.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor

from train.augment import Normalise, resized
from train.config import GateStageConfig
from train.costs import CostTarget
from train.data import ImageSet, batches, hold_out
from train.errors import TrainError
from train.families.layout import gate_name
from train.gate import straight_through_choice, straight_through_decision
from train.loop import NamedParameters, Setting, View, kept_random_state, run_steps
from train.losses import (
    cost_target_penalty,
    cross_entropy,
    mac_penalty,
    mac_unit,
    sandwich_labels,
    sandwich_sparsification,
)
from train.paths import Path
from train.routing import GateCrossing, Routing, starting_weights
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
    """Train the gates of a trained supernet; return its tensors, of which only the gates' differ.

    target: a mean cost per image to meet. The default setting is the first device found, and no run folder. The same
    seed on the same machine gives the same gates. A network without a gate is a TrainError.
    """
    setting = setting or Setting(Fabric(devices=1))
    kept, held_out = hold_out(images, config.hold_out, seed)
    with kept_random_state(setting.fabric):
        learner = GateLearner(spec, tensors, held_out, config, target, setting.fabric)
        run_steps(learner, spec, kept, config, seed, setting)
        return learner.supernet.tensors()


class GateLearner:
    """A frozen supernet and the gates that learn together to choose its widths."""

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
        if not spec.choices:
            raise TrainError(f"spec {spec.name!r} has no gate to train; give a checkpoint of a spec with one")
        for gate in self.supernet.gates:
            gate.requires_grad_(True)
        self.routing = Routing(spec, fabric.device)
        self.normalise = Normalise(spec).to(fabric.device)
        macs = [spec.macs(width) for width in self.routing.widths]
        self.macs = self._constant([float(count) for count in macs])
        self.costs = self._constant(target.costs) if target else None
        self.mac_unit = config.mac_unit or mac_unit(max(macs))

    def named_parameters(self) -> NamedParameters:
        """Return the gates' weights."""
        return [
            (f"{gate_name(number)}.{name}", weight)
            for number, gate in enumerate(self.supernet.gates)
            for name, weight in gate.named_parameters()
        ]

    def carried(self) -> dict[str, Tensor]:
        """Return the gates' weights; all else is frozen."""
        return {name: weight.data for name, weight in self.named_parameters()}

    def resolution(self, _: int) -> int:
        """Return the network's resolution: what is hard must be learned on the images that are met."""
        return self.supernet.spec.resolution

    def add_gradients(self, images: Tensor, labels: Tensor, _: int, share: float, __: View) -> dict[str, Tensor]:
        """Run every width without a graph, the gates with one, and the losses of stage II."""
        reads, logits = self._frozen(images)
        losses = self._losses(self.routing.logits(self.supernet, reads), logits, labels)
        total = torch.stack(list(losses.values())).sum()
        self.fabric.backward(total * share)
        return {name: loss.detach() for name, loss in losses.items()} | {"gate": total.detach()}

    def after_step(self) -> None:
        """Do nothing: gates have no average."""

    @torch.no_grad()
    def accuracies(self) -> dict[str, float]:
        """Return the top-1 of the held-out images when the gates decide."""
        if self.held_out is None:
            return {}
        right = 0
        for pixels, labels in batches(self.held_out, self.config.batch_size):
            unchanged = resized(pixels.to(self.fabric.device), self.supernet.spec.resolution)
            reads, logits = self._frozen(self.normalise(unchanged))
            chosen = logits[torch.arange(len(logits)), self.routing.decided(self.supernet, reads)]
            right += int((chosen.argmax(dim=1) == labels.to(chosen.device)).sum())
        return {"gate": right / self.held_out.count}

    @torch.no_grad()
    def _frozen(self, images: Tensor) -> tuple[dict[Path, Tensor], Tensor]:
        """Return what every gate reads, by path, and the logits of every width, (n, w, k); float32."""
        with self.fabric.autocast():
            logits, reads = self.supernet.forward_widths(images, self.routing.widths)
        return {path: read.float() for path, read in reads.items()}, logits.transpose(0, 1).float()

    def _losses(self, gate_logits: Sequence[Tensor], logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the weighted terms; gate_logits (n, q, c) of every gate, logits (n, w, k), labels (n,)."""
        config = self.config
        choose = partial(straight_through_choice, temperature=config.temperature)
        sparsification = []
        weights = starting_weights(gate_logits[0])
        for crossing, own in zip(self.routing.crossings, gate_logits, strict=True):
            chosen = choose(own)
            sparsification.append(self._sparsification(crossing, own, weights, logits, labels))
            weights = crossing.lead(weights, chosen)
        losses = {
            "sparsification": config.sparsification_weight * torch.stack(sparsification).sum(),
            "routed": cross_entropy((weights.unsqueeze(2) * logits).sum(dim=1), labels),
            "MACs": config.mac_weight * mac_penalty(weights, self.macs, self.mac_unit),
        }
        if self.target is not None and self.costs is not None:
            # Of the decisions that evaluation takes: sampled ones meet any budget without telling images apart.
            decided = self.routing.follow(
                gate_logits, partial(straight_through_decision, temperature=config.temperature)
            )
            losses["target"] = config.target_weight * cost_target_penalty(decided, self.costs, self.target.target)
        return losses

    def _sparsification(
        self, crossing: GateCrossing, gate_logits: Tensor, arrived: Tensor, logits: Tensor, labels: Tensor
    ) -> Tensor:
        """Return the loss of one gate, on the path (n, q) that every image has arrived by."""
        images, path = torch.arange(len(labels), device=labels.device), arrived.argmax(dim=1)
        smallest, largest = (logits[images, ways[path]] for ways in (crossing.narrowest, crossing.widest))
        lowest, highest = crossing.first[path], crossing.last[path]
        gate_labels = sandwich_labels(smallest, largest, labels, lowest, highest, self.config.hard_rule)
        return sandwich_sparsification(gate_logits[images, path], gate_labels)

    def _constant(self, values: tuple[float, ...] | list[float]) -> Tensor:
        return torch.tensor(values, device=self.fabric.device)
