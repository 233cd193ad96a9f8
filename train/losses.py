"""The training objectives, one function per equation.

DS-Net is "Dynamic Slimmable Network", Li et al., CVPR 2021, arXiv 2103.13258; DS-Net++ is Li et al., TPAMI 2022, arXiv
2109.10060. Their equations are cited by the names the papers give them; [code] marks what was read in the public code.

Shapes: n images, k classes, c choices of a gate, w widths that the gates choose between. Every loss is a scalar, the
mean over the batch.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from train.config import HardRule

PUBLISHED_WIDEST_UNITS = 0.565
"""Multiply-accumulates of the widest published network, in the penalty's unit of 10⁹: what it was balanced for."""


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with label smoothing (Szegedy et al., CVPR 2016, equation 3): the loss of the largest network.

    logits (n, k), labels (n,) of class indices.
    """
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """−Σ target · log softmax(logits): in-place bootstrapping, IB (DS-Net); multi-view consistency, MvCo (DS-Net++).

    logits (n, k); target (n, k), a distribution that receives no gradient: softmax of the EMA copy at its largest. IB
    shows both networks the same images. MvCo shows them two views v₁, v₂, each changed at random by itself:

        L_w = −Σ softmax(f̄_largest(v₂)) · log softmax(f_w(v₁)),  f̄ the EMA copy, w every narrower width of the step

    That is a reconstruction: the equation of DS-Net++ is not published in what could be read.
    """
    return -(target.detach() * logits.log_softmax(dim=1)).sum(dim=1).mean()


def ensemble_target(teacher_logits: Sequence[Tensor]) -> Tensor:
    """Mean softmax of several networks: the target of in-place ensemble bootstrapping, IEB (DS-Net).

    teacher_logits: each (n, k), of the EMA copy at its largest and at the step's random widths; returns (n, k).
    """
    return torch.stack([logits.softmax(dim=1) for logits in teacher_logits]).mean(dim=0).detach()


def sandwich_labels(
    smallest: Tensor, largest: Tensor, labels: Tensor, lowest: Tensor, highest: Tensor, hard: HardRule
) -> Tensor:
    """Gate labels of sandwich gate sparsification, SGS (DS-Net): the lowest choice if it suffices, else the highest.

    smallest, largest: logits (n, k) of the narrowest and the widest network that can still be reached; labels (n,);
    lowest, highest (n,): the choices that lead there; returns choices (n,).
    """
    easy = smallest.argmax(dim=1) == labels
    if hard == "give up":
        easy = easy | (largest.argmax(dim=1) != labels)
    return torch.where(easy, lowest, highest)


def sandwich_sparsification(gate_logits: Tensor, gate_labels: Tensor) -> Tensor:
    """Cross-entropy of the gate's LOGITS to its online labels, SGS (DS-Net).

    The public code passes softmax probabilities, which flattens the gradient. gate_logits (n, c), gate_labels (n,).
    """
    return F.cross_entropy(gate_logits, gate_labels)


def mac_penalty(choices: Tensor, macs: Tensor, unit: float) -> Tensor:
    """½ · (mean multiply-accumulates / unit)²: the gate's complexity penalty (DS-Net; unit 10⁹ [code]).

    choices (n, w) one-hot with a gradient, macs (w,) per width, unit in multiply-accumulates (see `mac_unit`).
    """
    return 0.5 * ((choices @ macs).mean() / unit).square()


def cost_target_penalty(choices: Tensor, costs: Tensor, target: float) -> Tensor:
    """(mean cost / target − 1)²: pulls the mean cost per image to a budget from either side; this project's own term.

    choices (n, w) one-hot with a gradient, costs (w,) of the widths and the target in one unit, such as milliseconds.
    """
    return ((choices @ costs).mean() / target - 1).square()


def mac_unit(widest_macs: int) -> float:
    """Return the unit in which a network's widest choice costs what the published one does in units of 10⁹.

    In units of 10⁹ the penalty of a network of a few million multiply-accumulates would vanish.
    """
    return widest_macs / PUBLISHED_WIDEST_UNITS
