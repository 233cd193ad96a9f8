"""Writes the graph of a network down, node after node. No torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from train.graph import Decision, Graph, Node, Op, Value
from train.layer_specs import LayerSpec

if TYPE_CHECKING:
    from train.spec import SupernetSpec


class Layout:
    """A graph in the making. Methods add what they are named after, and return the value that it gives.

    The side gate, if there is one, comes first: it runs before the network.
    """

    def __init__(self, spec: "SupernetSpec") -> None:
        self.spec = spec
        self.image = Value("image", spec.same(3), spec.resolution)
        self.nodes: list[Node] = []
        self.decisions: list[Decision] = []
        if spec.side_gate:
            self._side_gate(spec.side_gate.resolution, spec.side_gate.channels)

    def conv(
        self, x: Value, name: str, channels: tuple[int, ...], statistics: tuple[int, ...], kernel: int, stride: int = 1
    ) -> Value:
        """Add a convolution with batch norm."""
        return self._normalised(x, "conv", name, channels, statistics, kernel, stride)

    def depthwise(
        self, x: Value, name: str, statistics: tuple[int, ...], kernel: int | tuple[int, ...], stride: int
    ) -> Value:
        """Add a depthwise convolution with batch norm; kernel: a side, or one for every index."""
        return self._normalised(x, "depthwise", name, x.channels, statistics, kernel, stride)

    def biased(self, x: Value, name: str, channels: tuple[int, ...], kernel: int = 1, stride: int = 1) -> Value:
        """Add a convolution with bias and without batch norm."""
        side = -(-x.side // stride)
        layer = LayerSpec(name, "conv", x.channels, channels, kernel, stride, True, None, side)
        return self._add("conv", (x,), Value(name, channels, side), layer)

    def patches(self, x: Value, name: str, channels: tuple[int, ...], size: int) -> Value:
        """Add a convolution that maps every patch of size × size pixels to one; a position embedding is its bias."""
        side = x.side // size
        layer = LayerSpec(name, "patch", x.channels, channels, size, size, False, None, side)
        return self._add("conv", (x,), Value(name, channels, side), layer)

    def position(self, x: Value, name: str) -> Value:
        """Add a position embedding."""
        layer = LayerSpec(name, "position", x.channels, x.channels, 1, 1, False, None, x.side)
        return self._add("add_position", (x,), Value(name, x.channels, x.side), layer)

    def layer_norm(self, x: Value, name: str) -> Value:
        """Add a layer norm over the channels."""
        layer = LayerSpec(name, "layer_norm", x.channels, x.channels, 1, 1, True, None, x.side)
        return self._add("layer_norm", (x,), Value(name, x.channels, x.side), layer)

    def attention(self, queries: Value, keys: Value, values: Value, head_size: int) -> Value:
        """Add multi-head attention of all pixels to all pixels."""
        output = Value(f"{queries.name}.attention", queries.channels, queries.side)
        self.nodes.append(Node("attention", (queries, keys, values), output, head_size=head_size))
        return output

    def activation(self, x: Value) -> Value:
        """Add the activation of the spec."""
        return self.apply(self.spec.activation, x)

    def apply(self, op: Op, *inputs: Value, name: str | None = None) -> Value:
        """Add an operation that keeps the shape of its first input."""
        first = inputs[0]
        return self._add(op, inputs, Value(name or f"{first.name}.{op}", first.channels, first.side))

    def mean_pool(self, x: Value) -> Value:
        """Add the mean over all pixels."""
        return self._add("mean_pool", (x,), Value(f"{x.name}.mean_pool", x.channels, 1))

    def max_pool(self, x: Value) -> Value:
        """Add the maximum over 3×3 pixels, stride 2."""
        return self._add("max_pool", (x,), Value(f"{x.name}.max_pool", x.channels, -(-x.side // 2)))

    def trunk_gate(self, trunk: Value, features: Value, head: Value) -> None:
        """Say that a gate reads `trunk`, answers `head`, and the chosen width goes on from `features`."""
        self.decisions.append(Decision(trunk, head, features))

    def early_gate(self, features: Value, number: int) -> None:
        """Add a gate on a stage's input: pool → reduce → ReLU → logits, all of them the gate's own.

        number: which gate of the spec it is.
        """
        name, pooled = gate_name(number), self.mean_pool(features)
        reduced = self.spec.same(max(1, int(max(features.channels) * self.spec.attention_ratio + 0.5)))
        trunk = self.apply("relu", self.biased(pooled, f"{name}.reduce", reduced))
        self.trunk_gate(pooled, features, self.gate_head(trunk, number, bias=True, within=".logits"))

    def gate_head(self, x: Value, number: int, bias: bool, within: str = "") -> Value:
        """Add the layer that gives a gate's logits from pooled features."""
        name = gate_name(number)
        return self._logits(x, f"{name}_logits", f"{name}{within}", "conv", len(self.spec.choices[number]), bias)

    def classified(self, x: Value) -> Graph:
        """Add global average pool, dropout and classifier, and return the finished graph."""
        pooled = self.apply("dropout", self.mean_pool(x))
        logits = self._logits(pooled, "logits", "classifier", "linear", self.spec.classes, True)
        return Graph(self.image, tuple(self.nodes), logits, tuple(self.decisions))

    def _side_gate(self, resolution: int, channels: Sequence[int]) -> None:
        x = self._add("average_pool", (self.image,), Value("image.average_pool", self.image.channels, resolution))
        for number, outputs in enumerate(channels):
            x = self.biased(x, f"{gate_name(0)}.convolutions.{number}", self.spec.same(outputs), kernel=3, stride=2)
            x = self.apply("relu", x)
        logits = self.gate_head(self.mean_pool(x), 0, bias=True, within=".logits")
        self.decisions.append(Decision(self.image, logits, self.image))

    def _logits(
        self, x: Value, output: str, name: str, kind: Literal["conv", "linear"], count: int, bias: bool
    ) -> Value:
        channels = self.spec.same(count)
        layer = LayerSpec(name, kind, x.channels, channels, 1, 1, bias, None, 1)
        return self._add("logits", (x,), Value(output, channels, 1), layer)

    def _normalised(
        self, x: Value, kind: Literal["conv", "depthwise"], name: str,
        channels: tuple[int, ...], statistics: tuple[int, ...], kernel: int | tuple[int, ...], stride: int,
    ) -> Value:  # fmt: skip
        side, switchable = -(-x.side // stride), self.spec.batch_norm == "switchable"
        widest, kernels = (kernel, None) if isinstance(kernel, int) else (kernel[-1], kernel)
        layer = LayerSpec(
            name, kind, x.channels, channels, widest,
            stride, False, statistics, side, switchable, kernels,
        )  # fmt: skip
        return self._add("conv", (x,), Value(name, channels, side), layer)

    def _add(self, op: Op, inputs: tuple[Value, ...], output: Value, layer: LayerSpec | None = None) -> Value:
        self.nodes.append(Node(op, inputs, output, layer))
        return output


def gate_name(number: int) -> str:
    """Return what the modules of a spec's gate are under in the checkpoint: gate, gate_2, gate_3, …"""
    return f"gate_{number + 1}" if number else "gate"
