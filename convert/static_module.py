"""One fixed-width module per program: what exporters see. Batch norm is folded, the classifier is a 1×1 convolution.

A linear layer stays a 1×1 convolution on a 1×1 image because LiteRT's XNNPACK delegate accepts shared (DENSIFY'd)
int8 filters for convolutions alone. Pooling keeps its two spatial axes for the same reason: one delegate per
program, in every runtime.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from convert.fold import Tensors, fold
from convert.slice_plan import LayerSlice, ProgramPlan
from train.layer_specs import AttentionLayers, BlockSpec
from train.spec import SupernetSpec

ACTIVATIONS = {
    "silu": functional.silu,
    "relu": functional.relu,
    "relu6": functional.relu6,
    "hardswish": functional.hardswish,
}


class StaticProgram(nn.Module):
    """A program of one supernet with its weights as plain convolutions; NCHW in, batch 1.

    prefix: image → (features, gate_logits); tail: features → logits; gate: image → gate_logits; net: image → logits.
    """

    def __init__(self, spec: SupernetSpec, program: ProgramPlan, tensors: Tensors) -> None:
        super().__init__()
        self.name, self.role = program.name, program.role
        self.epsilon = spec.bn_epsilon
        self.activation = ACTIVATIONS[spec.activation]
        self.spec = spec
        gate_block = spec.gate_block if spec.gate else 0
        self.blocks: tuple[BlockSpec, ...] = {
            "prefix": spec.blocks[: gate_block + 1],
            "tail": spec.blocks[gate_block:],
            "gate": (),
            "net": spec.blocks,
        }[program.role]
        # Module names must not hold dots; layer names do.
        self.layers = nn.ModuleDict()
        slices: dict[nn.Module, LayerSlice] = {}
        for piece in program.layers:
            made: nn.Module = _convolution(piece, tensors, spec.bn_epsilon)
            slices[made] = piece
            if piece.after:
                made = nn.Sequential(self.layers[_key(piece.after)], made)
            self.layers[_key(piece.after or piece.name)] = made
        self.pieces = {name: slices[made] for name, made in self.named_modules() if made in slices}
        """Every convolution's slice, by the module's name."""

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Run the program; x is [1, 3, s, s], or for a tail the prefix's features [1, c, h, w]."""
        if self.role == "gate":
            return self._side_gate(x)
        x = self._pointwise(x, self.blocks[0]) if self.role == "tail" else self.activation(self._layer("stem", x))
        for block in self.blocks[1:] if self.role == "tail" else self.blocks:
            inner = self._depthwise(x, block)
            if block.attention:
                trunk = self._trunk(inner, block.attention)
                inner = inner * torch.sigmoid(self._layer(block.attention.expand.name, trunk))
                if block.gate and self.role == "prefix":
                    return inner, self._layer(block.gate.name, trunk).flatten(1)
            out = self._pointwise(inner, block)
            x = x + out if block.residual else out
        if self.spec.head:
            x = self.activation(self._layer("head", x))
        return self._layer("classifier", x.mean((2, 3), keepdim=True)).flatten(1)

    def _layer(self, name: str, x: Tensor) -> Tensor:
        out: Tensor = self.layers[_key(name)](x)
        return out

    def _depthwise(self, x: Tensor, block: BlockSpec) -> Tensor:
        if block.expansion:
            x = self.activation(self._layer(block.expansion.name, x))
        return self.activation(self._layer(block.depthwise.name, x))

    def _trunk(self, x: Tensor, attention: AttentionLayers) -> Tensor:
        return functional.relu(self._layer(attention.reduce.name, x.mean((2, 3), keepdim=True)))

    def _pointwise(self, x: Tensor, block: BlockSpec) -> Tensor:
        out = self._layer(block.pointwise.name, x)
        return out if block.linear else self.activation(out)

    def _side_gate(self, image: Tensor) -> Tensor:
        assert self.spec.side_gate is not None
        x = functional.avg_pool2d(image, image.shape[-1] // self.spec.side_gate.resolution)
        *convolutions, logits = self.spec.side_gate_layers
        for layer in convolutions:
            x = functional.relu(self._layer(layer.name, x))
        return self._layer(logits.name, x.mean((2, 3), keepdim=True)).flatten(1)


def static_module(spec: SupernetSpec, program: ProgramPlan, tensors: Tensors) -> StaticProgram:
    """Return the program as a module in evaluation mode."""
    return StaticProgram(spec, program, tensors).eval()


def input_shape(spec: SupernetSpec, program: ProgramPlan) -> tuple[int, int, int, int]:
    """Return the program's input shape, NCHW."""
    if program.role != "tail":
        return 1, 3, spec.resolution, spec.resolution
    gate_block = spec.blocks[spec.gate_block]
    size = gate_block.depthwise.output_size
    return 1, gate_block.depthwise.out_channels[0], size, size


def _convolution(piece: LayerSlice, tensors: Tensors, epsilon: float) -> nn.Conv2d:
    weight, bias = fold(tensors, piece, epsilon)
    groups = piece.out_channels if piece.layer.kind == "depthwise" else 1
    conv = nn.Conv2d(
        piece.in_channels * groups, piece.out_channels, piece.layer.kernel, piece.layer.stride,
        padding=piece.layer.kernel // 2, groups=groups,
    )  # fmt: skip
    conv.weight = nn.Parameter(torch.from_numpy(weight), requires_grad=False)
    conv.bias = nn.Parameter(torch.from_numpy(bias.copy()), requires_grad=False)
    return conv


def _key(layer_name: str) -> str:
    return layer_name.replace(".", "/")
