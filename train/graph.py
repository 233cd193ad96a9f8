"""A network as one straight line of operations on named values, at all its widths at once. No torch.

The family of a spec lays the graph out (`train.families`). The supernet and the converters' static modules execute the
same nodes, each with functions of its own for the operations. A part of the network that runs by itself, a program of a
bundle or what all widths share in training, is a cut: the nodes that compute some values from a given one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from train.layer_specs import LayerSpec

Activation = Literal[
    "silu",
    "relu",
    "relu6",
    "hardswish",
    "quick_gelu",  # x · sigmoid(1.702 x), the GELU (Hendrycks & Gimpel, 2016) in operations that every runtime has
]
Op = Literal[
    "conv",  # a convolution and its batch norm, if it has one
    "logits",  # a convolution of 1×1 pixels or a linear layer, flattened to (n, c)
    "dropout",  # of the largest network in training, else nothing
    "mean_pool",  # over all pixels, to (n, c, 1, 1)
    "average_pool",  # to the output's side
    "max_pool",  # 3×3, stride 2
    "add_position",  # what a token is at which place
    "layer_norm",  # of every token by itself, over the channels that the width has
    "attention",  # of queries, keys and values, head by head
    "multiply",
    "add",
    "sigmoid",
    Activation,
]
Tensor = TypeVar("Tensor")


@dataclass(frozen=True)
class Value:
    """What a node gives: (n, channels[w], side, side) at width w, logits (n, channels[w])."""

    name: str
    channels: tuple[int, ...]
    """One count for every width index 0 … largest."""
    side: int
    """Pixels, for images of the spec's resolution."""


@dataclass(frozen=True)
class Node:
    """One operation."""

    op: Op
    inputs: tuple[Value, ...]
    output: Value
    layer: LayerSpec | None = None
    """Whose weights it uses; `conv`, `logits`, `add_position` and `layer_norm` have one."""
    head_size: int | None = None
    """Channels of a head, in `attention`: heads follow one another, so fewer heads are a prefix of the channels."""

    def macs(self, width: int) -> int:
        """Return its multiply-accumulates at `width`: the layer's, or the two matrix products of attention."""
        if self.op == "attention":
            tokens = self.output.side**2
            return 2 * tokens**2 * self.output.channels[width]
        return self.layer.macs(width) if self.layer else 0


@dataclass(frozen=True)
class Decision:
    """Where a gate decides on the width."""

    reads: Value
    """What the gate's own layers start from."""
    logits: Value
    """What the gate says."""
    features: Value
    """What the chosen width goes on from: the image for a side gate."""


@dataclass(frozen=True)
class Step:
    """One node of a cut, and which values nothing reads after it."""

    node: Node
    finished: tuple[str, ...]


@dataclass(frozen=True)
class Cut:
    """A part of a graph that runs by itself."""

    given: Value
    wanted: tuple[Value, ...]
    steps: tuple[Step, ...]
    """In the order they run: what the first wanted value needs, then what the second needs besides, and so on."""
    layers: tuple[LayerSpec, ...]
    """In the graph's order."""

    def run(self, given: Tensor, operate: Callable[[Node, Sequence[Tensor]], Tensor]) -> tuple[Tensor, ...]:
        """Return the wanted values; `operate` maps a node and its inputs to its output."""
        values = {self.given.name: given}
        for step in self.steps:
            node = step.node
            values[node.output.name] = operate(node, [values[value.name] for value in node.inputs])
            for name in step.finished:
                del values[name]
        return tuple(values[value.name] for value in self.wanted)


@dataclass(frozen=True)
class Graph:
    """A whole network, its gates included."""

    image: Value
    nodes: tuple[Node, ...]
    """Every node after those it reads."""
    logits: Value
    decisions: tuple[Decision, ...]
    """In the order in which they are taken."""

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """Return every layer, in the order of the nodes."""
        return tuple(node.layer for node in self.nodes if node.layer)

    def cut(self, given: Value, *wanted: Value) -> Cut:
        """Return what computes `wanted` from `given` alone; a ValueError where that is not enough."""
        run: dict[str, Node] = {}
        for value in wanted:
            run |= {node.output.name: node for node in self._needed(given, value) if node.output.name not in run}
        last_reader = {value.name: node for node in run.values() for value in node.inputs}
        kept = {value.name for value in wanted}
        steps = tuple(
            Step(node, tuple({v.name for v in node.inputs if last_reader[v.name] is node} - kept))
            for node in run.values()
        )
        layers = (node.layer for node in self.nodes if node.layer and node.output.name in run)
        return Cut(given, wanted, steps, tuple(layers))

    def parting(self, n_widths: int) -> Value | None:
        """Return the value after which widths 0 … n_widths - 1 differ, None where they have nothing in common.

        They part where the first gate on the trunk decides. Without one, where a layer has batch-norm statistics per
        width; all that they share must then lie before one value.
        """
        if self.decisions and self.decisions[0].features != self.image:
            return self.decisions[0].features
        differing: set[str] = set()
        shared: dict[str, Value] = {}
        for node in self.nodes:
            inputs = {value.name: value for value in node.inputs}
            if _is_routed(node.layer, n_widths) or differing & set(inputs):
                differing.add(node.output.name)
                shared |= {name: value for name, value in inputs.items() if name not in differing}
        (value,) = shared.values() if len(shared) == 1 else (None,)
        return None if value == self.image else value

    def _needed(self, given: Value, wanted: Value) -> list[Node]:
        """Return the nodes between two values, in the graph's order."""
        needed, found = {wanted.name}, []
        for node in reversed(self.nodes):
            if node.output.name in needed - {given.name}:
                found.append(node)
                needed |= {value.name for value in node.inputs}
        if given != self.image and self.image.name in needed:
            raise ValueError(f"{wanted.name} needs more than {given.name}")
        return found[::-1]


def _is_routed(layer: LayerSpec | None, n_widths: int) -> bool:
    return layer is not None and layer.statistics is not None and len(set(layer.statistics[:n_widths])) > 1
