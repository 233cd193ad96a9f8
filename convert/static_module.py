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
from train.spec import BlockSpec, SupernetSpec

ACTIVATIONS = {
    "silu": functional.silu,
    "relu": functional.relu,
    "relu6": functional.relu6,
    "hardswish": functional.hardswish,
}


class StaticProgram(nn.Module):
    """A program of one supernet with its weights as plain convolutions; NCHW in, batch 1.

    prefix: image → (features, gate_logits); tail: features → logits; net: image → logits.
    """

    def __init__(self, spec: SupernetSpec, program: ProgramPlan, tensors: Tensors) -> None:
        super().__init__()
        self.role = program.role
        self.activation = ACTIVATIONS[spec.activation]
        gate_block = spec.gate_block if spec.gate else 0
        self.blocks: tuple[BlockSpec, ...] = {
            "prefix": spec.blocks[: gate_block + 1],
            "tail": spec.blocks[gate_block:],
            "net": spec.blocks,
        }[program.role]
        # Module names must not hold dots; layer names do.
        self.layers = nn.ModuleDict(
            {_key(piece.name): _convolution(piece, tensors, spec.bn_epsilon) for piece in program.layers}
        )

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Run the program; x is [1, 3, s, s], or for a tail the prefix's features [1, c, h, w]."""
        x = self._pointwise(x, self.blocks[0]) if self.role == "tail" else self.activation(self._layer("stem", x))
        for block in self.blocks[1:] if self.role == "tail" else self.blocks:
            x = self.activation(self._layer(block.depthwise.name, x))
            if block.gate and self.role == "prefix":
                trunk = self._trunk(x, block)
                return self._attend(x, trunk, block), self._layer(block.gate.name, trunk).flatten(1)
            x = self._pointwise(self._attend(x, self._trunk(x, block), block), block)
        return self._layer("classifier", x.mean((2, 3), keepdim=True)).flatten(1)

    def _layer(self, name: str, x: Tensor) -> Tensor:
        out: Tensor = self.layers[_key(name)](x)
        return out

    def _trunk(self, x: Tensor, block: BlockSpec) -> Tensor:
        return functional.relu(self._layer(block.reduce.name, x.mean((2, 3), keepdim=True)))

    def _attend(self, x: Tensor, trunk: Tensor, block: BlockSpec) -> Tensor:
        return x * torch.sigmoid(self._layer(block.expand.name, trunk))

    def _pointwise(self, x: Tensor, block: BlockSpec) -> Tensor:
        return self.activation(self._layer(block.pointwise.name, x))


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
