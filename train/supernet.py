"""The supernet: one module, every width an argument of `forward`.

Shapes: n images, r = spec.resolution, c[w] channels at width w, f = features after the attention of the gate's block.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.errors import TrainError
from train.gate import SideGate, SlimmingHead, decide
from train.layer_specs import AttentionLayers, BlockSpec, LayerSpec
from train.layers import SlicedConv2d, SlicedLinear, WidthBatchNorm2d
from train.spec import SupernetSpec

ACTIVATION_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "relu": F.relu,
    "relu6": F.relu6,
    "hardswish": F.hardswish,
}


class Attention(nn.Module):
    """Squeeze-and-excitation (Hu et al., CVPR 2018): pool → reduce → ReLU → expand → sigmoid → scale the input."""

    def __init__(self, layers: AttentionLayers) -> None:
        super().__init__()
        self.reduce = SlicedConv2d(layers.reduce)
        self.expand = SlicedConv2d(layers.expand)

    def trunk(self, x: Tensor, width: int) -> Tensor:
        """Return the pooled, reduced, rectified input (n, reduced, 1, 1), which the gate reads too."""
        return F.relu(self.reduce(x.mean((2, 3), keepdim=True), width))

    def apply_trunk(self, x: Tensor, trunk: Tensor, width: int) -> Tensor:
        """Return `x` (n, c[w], h, w) with every channel scaled by the trunk's attention."""
        return x * torch.sigmoid(self.expand(trunk, width))


class Block(nn.Module):
    """expansion → depthwise → attention, then pointwise; of the first and third, a family has one or none.

    Batch norm follows every convolution outside the attention, and an activation, except after a linear pointwise.
    """

    def __init__(self, block: BlockSpec, activation: Callable[[Tensor], Tensor], epsilon: float) -> None:
        super().__init__()
        self.activation = activation
        self.linear = block.linear
        self.residual = block.residual
        self.expansion = SlicedConv2d(block.expansion) if block.expansion else None
        self.expansion_bn = WidthBatchNorm2d(block.expansion, epsilon) if block.expansion else None
        self.depthwise = SlicedConv2d(block.depthwise)
        self.depthwise_bn = WidthBatchNorm2d(block.depthwise, epsilon)
        self.attention = Attention(block.attention) if block.attention else None
        self.pointwise = SlicedConv2d(block.pointwise)
        self.pointwise_bn = WidthBatchNorm2d(block.pointwise, epsilon)

    def attend(self, x: Tensor, width: int) -> tuple[Tensor, Tensor | None]:
        """Run the first half; return its features and the attention's trunk, None without attention."""
        if self.expansion is not None and self.expansion_bn is not None:
            x = self.activation(self.expansion_bn(self.expansion(x, width), width))
        x = self.activation(self.depthwise_bn(self.depthwise(x, width), width))
        if self.attention is None:
            return x, None
        trunk = self.attention.trunk(x, width)
        return self.attention.apply_trunk(x, trunk, width), trunk

    def project(self, x: Tensor, width: int) -> Tensor:
        """Run the second half on the first's features; the residual add is the caller's."""
        projected: Tensor = self.pointwise_bn(self.pointwise(x, width), width)
        return projected if self.linear else self.activation(projected)

    def forward(self, x: Tensor, width: int) -> Tensor:
        """Run the whole block."""
        out = self.project(self.attend(x, width)[0], width)
        return x + out if self.residual else out


class Supernet(nn.Module):
    """A dynamic-width network built from its spec. Its weights are zero until initialised or loaded.

    `width` is 0 … spec.n_widths - 1, or spec.largest, which only training uses.
    """

    def __init__(self, spec: SupernetSpec) -> None:
        super().__init__()
        self.spec = spec
        self.activation = ACTIVATION_FUNCTIONS[spec.activation]
        self.stem = SlicedConv2d(spec.stem_layer)
        self.stem_bn = WidthBatchNorm2d(spec.stem_layer, spec.bn_epsilon)
        blocks = [Block(block, self.activation, spec.bn_epsilon) for block in spec.blocks]
        remaining = iter(blocks)
        self.stages = nn.ModuleList(nn.ModuleList(next(remaining) for _ in range(stage.depth)) for stage in spec.stages)
        self.head = SlicedConv2d(spec.head_layer) if spec.head_layer else None
        self.head_bn = WidthBatchNorm2d(spec.head_layer, spec.bn_epsilon) if spec.head_layer else None
        self.gate = _gate(spec)
        self.classifier = SlicedLinear(spec.classifier)

    @classmethod
    def from_tensors(cls, spec: SupernetSpec, tensors: Mapping[str, np.ndarray]) -> "Supernet":
        """Build the network of a checkpoint, in evaluation mode."""
        model = cls(spec)
        model.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in tensors.items()})
        return model.eval()

    def tensors(self) -> dict[str, np.ndarray]:
        """Return a copy of every parameter and statistic as float32 NumPy, by checkpoint name."""
        return {name: value.detach().float().cpu().numpy().copy() for name, value in self.state_dict().items()}

    @property
    def blocks(self) -> list[Block]:
        """Return every block in the order it runs."""
        return [block for stage in self.stages for block in stage]  # type: ignore[attr-defined]

    @property
    def choices(self) -> tuple[int, ...]:
        """Return the width that each gate logit stands for; none without a gate."""
        return self.spec.choices

    def forward(self, images: Tensor, width: int) -> Tensor:
        """Map normalised images (n, 3, r, r) to logits (n, classes) at one width."""
        x = self._embed(images, width)
        for block in self.blocks:
            x = block(x, width)
        return self._classify(x, width)

    @cached_property
    def split(self) -> int | None:
        """Return the first block that has a batch norm per width, None where the stem has one, or nothing.

        What comes before, and the first half of that block, is the same for every width but the training-only largest.
        """
        count, blocks = self.spec.n_widths, self.spec.blocks
        if _is_routed(self.spec.stem_layer, count):
            return None
        routed = next((number for number, block in enumerate(blocks) if _is_routed(block.pointwise, count)), None)
        return None if routed is None or blocks[routed].residual else routed

    def forward_shared(self, images: Tensor) -> Tensor:
        """Run what every width has in common; return its features (n, f, h, w). Needs `split`."""
        return self._until(self._split(), images, 0)[0]

    def forward_rest(self, features: Tensor, width: int) -> Tensor:
        """Map the common features (n, f, h, w) to logits (n, classes) at one width. Needs `split`."""
        return self._from(self._split(), features, width)

    def forward_prefix(self, images: Tensor, width: int = 0) -> tuple[Tensor, Tensor]:
        """Run what every image runs; return features (n, f, h, w), attended, and gate logits (n, choices).

        Every width of the routing space shares this part, so `width` matters for `spec.largest` alone. A network
        without a gate raises a TrainError.
        """
        if not isinstance(self.gate, SlimmingHead):
            raise TrainError(f"spec {self.spec.name!r} has no gate on its trunk; give a spec with one: ds_mbv1_tiny")
        features, trunk = self._until(self.spec.gate_block, images, width)
        return features, self.gate(trunk, width)

    def forward_widths(self, images: Tensor, widths: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Run some widths, what they share once; return logits (w, n, classes) and what the gate reads.

        A gate on the trunk reads (n, reduced, 1, 1), a side gate the images; None without a gate.
        """
        split = self.spec.gate_block if self.spec.gate else self.split
        if split is None:
            return torch.stack([self(images, width) for width in widths]), images if self.gate else None
        features, trunk = self._until(split, images, 0)
        logits = torch.stack([self._from(split, features, width) for width in widths])
        return logits, trunk if self.spec.gate else images if self.gate else None

    def forward_tail(self, features: Tensor, width: int) -> Tensor:
        """Map the prefix's features (n, f, h, w) to logits (n, classes) at one width."""
        return self._from(self.spec.gate_block, features, width)

    def forward_dynamic(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Let the gate choose; return logits (n, classes) and the width used per image (n,).

        Images of one width run together, and only the chosen tail runs. Evaluation mode only (else a TrainError): in
        training mode the batch norm of a group would depend on its company.
        """
        if self.training:
            raise TrainError("dynamic inference needs evaluation mode; call .eval() on the supernet first")
        body: Callable[[Tensor, int], Tensor] = self.forward_tail
        if isinstance(self.gate, SideGate):
            given, gate_logits, body = images, self.gate(images), self.forward
        else:
            given, gate_logits = self.forward_prefix(images)
        choices = torch.tensor(self.choices, device=images.device)
        widths = choices[decide(gate_logits)]
        logits = given.new_empty(len(images), self.spec.classes)
        for width in torch.unique(widths).tolist():
            chosen = widths == width
            logits[chosen] = body(given[chosen], width)
        return logits, widths

    def _split(self) -> int:
        if self.split is None:
            raise TrainError(f"the widths of spec {self.spec.name!r} have no layers in common; run each with forward")
        return self.split

    def _until(self, split: int, images: Tensor, width: int) -> tuple[Tensor, Tensor | None]:
        x = self._embed(images, width)
        for block in self.blocks[:split]:
            x = block(x, width)
        return self.blocks[split].attend(x, width)

    def _from(self, split: int, features: Tensor, width: int) -> Tensor:
        x = self.blocks[split].project(features, width)
        for block in self.blocks[split + 1 :]:
            x = block(x, width)
        return self._classify(x, width)

    def _embed(self, images: Tensor, width: int) -> Tensor:
        return self.activation(self.stem_bn(self.stem(images, width), width))

    def _classify(self, x: Tensor, width: int) -> Tensor:
        if self.head is not None and self.head_bn is not None:
            x = self.activation(self.head_bn(self.head(x, width), width))
        drop = self.training and width == self.spec.largest
        pooled = F.dropout(x.mean((2, 3)), self.spec.dropout, training=drop)
        logits: Tensor = self.classifier(pooled, width)
        return logits


def _gate(spec: SupernetSpec) -> SlimmingHead | SideGate | None:
    if spec.side_gate:
        return SideGate(spec.side_gate_layers, spec.side_gate.resolution)
    return next((SlimmingHead(block.gate) for block in spec.blocks if block.gate), None)


def _is_routed(layer: LayerSpec, n_widths: int) -> bool:
    return layer.statistics is not None and len(set(layer.statistics[:n_widths])) > 1
