"""The gates and their two ways to decide: noisy and differentiable in training, deterministic at evaluation.

DS-Net (Li et al., CVPR 2021), section 4.1 "double-headed dynamic gate". One logit per routing choice of the spec.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from train.layers import SlicedConv2d


class SlimmingHead(SlicedConv2d):
    """A 1×1 convolution: DS-Net's, without bias, on the attention's reduced trunk, or the end of a side gate."""

    def forward(self, x: Tensor, width: int = 0) -> Tensor:
        """Map pooled features (n, channels, 1, 1) to gate logits (n, choices), by the same weights at every width."""
        return super().forward(x, width).flatten(1)


def straight_through_choice(gate_logits: Tensor, temperature: float) -> Tensor:
    """Sample a choice from logits (…, choices): one-hot forward, the gradient of the Gumbel-softmax backward.

    Gumbel-softmax, Jang et al., ICLR 2017, equations 1-2 and the straight-through estimator of section 2.2. The noise
    comes from torch's global generator of the CPU, so that a seed means the same draw on every device.
    """
    exponential = torch.empty(gate_logits.shape).exponential_()
    gumbel = -exponential.clamp_min(torch.finfo(torch.float32).tiny).log().to(gate_logits)
    return _straight_through(gate_logits + gumbel, temperature)


def straight_through_decision(gate_logits: Tensor, temperature: float) -> Tensor:
    """Take evaluation's choice from logits (…, choices): one-hot forward, the gradient of the softmax backward."""
    return _straight_through(gate_logits, temperature)


def _straight_through(logits: Tensor, temperature: float) -> Tensor:
    soft = (logits / temperature).softmax(dim=-1)
    hard = F.one_hot(soft.argmax(dim=-1), soft.shape[-1]).to(soft)
    return hard + soft - soft.detach()


def decide(gate_logits: Tensor) -> Tensor:
    """Return the choice of the highest of logits (…, choices): no noise, so an image always gets the same width."""
    return gate_logits.argmax(dim=-1)
