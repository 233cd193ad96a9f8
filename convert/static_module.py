"""One fixed-width module per program: what exporters see. Batch norm is folded, the classifier is a 1×1 convolution.

A linear layer stays a 1×1 convolution on a 1×1 image because LiteRT's XNNPACK delegate accepts shared (DENSIFY'd)
int8 filters for convolutions alone. Pooling keeps its two spatial axes for the same reason: one delegate per
program, in every runtime.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from convert.fold import Float, Tensors, fold
from convert.slice_plan import LayerSlice, ProgramPlan
from train.graph import Node, Op
from train.layer_specs import LayerKind, LayerSpec
from train.spec import SupernetSpec

FUNCTIONS: dict[Op, Callable[..., Tensor]] = {
    "silu": functional.silu,
    "relu": functional.relu,
    "relu6": functional.relu6,
    "hardswish": functional.hardswish,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "sigmoid": torch.sigmoid,
    "multiply": torch.mul,
    "add": torch.add,
    "mean_pool": partial(torch.mean, dim=(2, 3), keepdim=True),
    "max_pool": partial(functional.max_pool2d, kernel_size=3, stride=2, padding=1),
    "dropout": lambda x: x,
}
"""Operations without weights."""


class StaticProgram(nn.Module):
    """A program of one supernet with its weights as plain convolutions; NCHW in, batch 1.

    Its input and outputs are those of the plan, in their order.
    """

    def __init__(self, spec: SupernetSpec, program: ProgramPlan, tensors: Tensors) -> None:
        super().__init__()
        self.name, self.role, self.output_names = program.name, program.role, program.output_names
        self.epsilon = spec.bn_epsilon
        self.width = program.width
        self.cut = program.cut
        # Module names must not hold dots; layer names do.
        self.layers = nn.ModuleDict()
        slices: dict[nn.Module, LayerSlice] = {}
        for piece in program.layers:
            made: nn.Module = _convolution(piece, tensors, spec.bn_epsilon)
            slices[made] = piece
            if piece.after:
                made = nn.Sequential(self.layers[_key(piece.after)], made)
            self.layers[_key(piece.after or piece.name)] = made
        for layer in program.cut.layers:
            if not layer.has_filter:
                made = _CONSTANTS[layer.kind](tensors, layer, self.width, spec.bn_epsilon)
                self.layers[_key(layer.name)] = made
        self.pieces = {name: slices[made] for name, made in self.named_modules() if made in slices}
        """Every convolution's slice, by the module's name."""

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the program; x is [1, 3, s, s], or the features [1, c, h, w] of the program before."""
        outputs = self.cut.run(x, self._operate)
        return outputs if len(outputs) > 1 else outputs[0]

    def _operate(self, node: Node, inputs: Sequence[Tensor]) -> Tensor:
        if node.layer is not None:
            out: Tensor = self.layers[_key(node.layer.name)](*inputs)
            return out.flatten(1) if node.op == "logits" else out
        if node.op == "average_pool":
            return functional.avg_pool2d(inputs[0], inputs[0].shape[-1] // node.output.side)
        if node.head_size is not None:
            queries, keys, values = inputs
            return _attend(queries, keys, values, node.output.channels[self.width], node.output.side, node.head_size)
        return FUNCTIONS[node.op](*inputs)


class Position(nn.Module):
    """Adds a position embedding."""

    def __init__(self, tensors: Tensors, layer: LayerSpec, width: int, _: float) -> None:
        super().__init__()
        self.places = _constant(tensors[f"{layer.name}.weight"][: layer.out_channels[width]])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.places


class LayerNorm(nn.Module):
    """Normalises every token over its channels."""

    def __init__(self, tensors: Tensors, layer: LayerSpec, width: int, epsilon: float) -> None:
        super().__init__()
        self.channels, self.epsilon = layer.out_channels[width], epsilon
        self.gamma, self.beta = (
            _constant(tensors[f"{layer.name}.{name}"][: self.channels]) for name in ("weight", "bias")
        )

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.permute(0, 2, 3, 1)
        normalised = functional.layer_norm(tokens, (self.channels,), self.gamma, self.beta, self.epsilon)
        return normalised.permute(0, 3, 1, 2)


_CONSTANTS: dict[LayerKind, type[Position] | type[LayerNorm]] = {"position": Position, "layer_norm": LayerNorm}
"""Modules of layers without filters."""


def static_module(spec: SupernetSpec, program: ProgramPlan, tensors: Tensors) -> StaticProgram:
    """Return the program as a module in evaluation mode."""
    return StaticProgram(spec, program, tensors).eval()


def _convolution(piece: LayerSlice, tensors: Tensors, epsilon: float) -> nn.Conv2d:
    weight, bias = fold(tensors, piece, epsilon)
    groups = piece.out_channels if piece.layer.kind == "depthwise" else 1
    conv = nn.Conv2d(
        piece.in_channels * groups, piece.out_channels, piece.kernel, piece.layer.stride,
        padding=0 if piece.layer.kind == "patch" else piece.kernel // 2, groups=groups,
    )  # fmt: skip
    conv.weight = nn.Parameter(torch.from_numpy(weight), requires_grad=False)
    conv.bias = nn.Parameter(torch.from_numpy(bias.copy()), requires_grad=False)
    return conv


def _attend(queries: Tensor, keys: Tensor, values: Tensor, channels: int, side: int, head_size: int) -> Tensor:
    """Return attention of [1, channels, side, side], each; in three dimensions, as every runtime's products are."""
    q, k, v = (x.reshape(channels // head_size, head_size, side**2) for x in (queries, keys, values))
    weights = torch.softmax(torch.bmm(q.transpose(1, 2), k) * head_size**-0.5, dim=-1)
    return torch.bmm(v, weights.transpose(1, 2)).reshape(1, channels, side, side)


def _constant(values: Float) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(values.copy()), requires_grad=False)


def _key(layer_name: str) -> str:
    return layer_name.replace(".", "/")
