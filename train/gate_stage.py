"""Stage II: only the gate learns; the supernet is frozen, batch norm in evaluation mode (DS-Net, Li et al., CVPR 2021).

loss = sandwich gate sparsification + cross-entropy of the routed network + penalty on multiply-accumulates. The logits
of every choice are computed once per batch without a graph; the gradient reaches the gate through the one-hot weights.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR

from train.augment import Normalise, augmentation, to_unit
from train.config import GateStageConfig
from train.data import ImageSet, batches
from train.errors import TrainError
from train.gate import SlimmingHead, straight_through_choice
from train.losses import cross_entropy, mac_penalty, mac_unit, sandwich_labels, sandwich_sparsification
from train.progress import Progress, Report, ignore
from train.spec import SupernetSpec
from train.supernet import Supernet


def train_gate(
    spec: SupernetSpec,
    tensors: Mapping[str, np.ndarray],
    images: ImageSet,
    config: GateStageConfig,
    seed: int = 0,
    report: Report = ignore,
    fabric: Fabric | None = None,
) -> dict[str, np.ndarray]:
    """Train the gate of a trained supernet; return its tensors, of which only `gate.weight` differs.

    `fabric` chooses the device (default: the first one found). The same seed on the same machine gives the same gate. A
    network without a gate is a TrainError.
    """
    fabric = fabric or Fabric(devices=1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        supernet = Supernet.from_tensors(spec, tensors).requires_grad_(False).to(fabric.device)
        head = _gate_of(supernet).requires_grad_(True)
        optimizer = torch.optim.SGD(
            head.parameters(), config.learning_rate, config.momentum,
            weight_decay=config.weight_decay, nesterov=config.momentum > 0,
        )  # fmt: skip
        loader = fabric.setup_dataloaders(batches(images, config.batch_size, shuffle=generator))
        steps = config.epochs * len(loader)
        schedule = CosineAnnealingLR(optimizer, steps)
        gate, optimizer = fabric.setup(head, optimizer)
        normalise = fabric.to_device(Normalise(spec))
        augment = fabric.to_device(augmentation(config.augment))
        for epoch in range(config.epochs):
            for number, (pixels, labels) in enumerate(loader, start=epoch * len(loader) + 1):
                loss = _gate_loss(supernet, gate, normalise(augment(to_unit(pixels))), labels, config, generator)
                fabric.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
                report(Progress(number, steps, loss.item()))
    return supernet.tensors()


def _gate_of(supernet: Supernet) -> SlimmingHead:
    if supernet.gate is None:
        raise TrainError(f"spec {supernet.spec.name!r} has no gate to train; give a checkpoint of a spec with one")
    return supernet.gate


def _gate_loss(
    supernet: Supernet,
    gate: Callable[[Tensor, int], Tensor],
    images: Tensor,
    labels: Tensor,
    config: GateStageConfig,
    generator: torch.Generator,
) -> Tensor:
    """Return the three terms of stage II for one normalised batch (n, 3, r, r) with labels (n,)."""
    widths = supernet.choices
    with torch.no_grad():
        features, trunk = supernet.forward_trunk(images)
        logits = torch.stack([supernet.forward_tail(features, width) for width in widths], dim=1)
    gate_logits = gate(trunk, 0)
    gate_labels = sandwich_labels(logits[:, 0], logits[:, -1], labels, len(widths), config.hard_rule)
    chosen = straight_through_choice(gate_logits, config.temperature, generator)
    routed = (chosen.unsqueeze(2) * logits).sum(dim=1)
    macs = torch.tensor([float(supernet.spec.macs(width)) for width in widths], device=images.device)
    unit = config.mac_unit or mac_unit(supernet.spec.macs(widths[-1]))
    penalty = config.mac_weight * mac_penalty(chosen, macs, unit)
    return sandwich_sparsification(gate_logits, gate_labels) + cross_entropy(routed, labels) + penalty
