"""The supernet: one module, every width an argument of `forward`.

Shapes: n images, r = spec.resolution, c[w] channels at width w, f = features that the chosen width goes on from.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.errors import TrainError
from train.families.layout import gate_name
from train.gate import SlimmingHead, decide
from train.graph import Cut, Graph, Node, Op, Value
from train.layers import SlicedConv2d, SlicedLayerNorm, SlicedLinear, SlicedPosition, WidthBatchNorm2d, attend
from train.paths import Path
from train.spec import SupernetSpec

FUNCTIONS: dict[Op, Callable[..., Tensor]] = {
    "silu": F.silu,
    "relu": F.relu,
    "relu6": F.relu6,
    "hardswish": F.hardswish,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "sigmoid": torch.sigmoid,
    "multiply": torch.mul,
    "add": torch.add,
    "mean_pool": partial(torch.mean, dim=(2, 3), keepdim=True),
    "max_pool": partial(F.max_pool2d, kernel_size=3, stride=2, padding=1),
}
"""Operations that have no weights and are the same at every width, in training too."""


class Supernet(nn.Module):
    """A dynamic-width network built from its spec. Its weights are zero until initialised or loaded.

    `width` is 0 … spec.n_widths - 1, or spec.largest, which only training uses.
    """

    def __init__(self, spec: SupernetSpec) -> None:
        super().__init__()
        self.spec = spec
        graph, decisions = spec.graph, spec.graph.decisions
        self.split = graph.parting(spec.n_widths)
        """What every width but the training-only largest has in common; None if that is the image alone."""
        start = self.split or graph.image
        self.whole = graph.cut(graph.image, graph.logits)
        self.common = graph.cut(graph.image, start, *(decision.reads for decision in decisions[:1]))
        self.rest = graph.cut(start, graph.logits)
        self.parts = _parts(graph, start)
        """What runs at what one gate chose, up to where the next one decides: its features and what that gate reads; at
        the end the logits."""
        self.deciding = tuple(graph.cut(decision.reads, decision.logits) for decision in decisions)
        self.modules_of: dict[str, tuple[nn.Module, nn.Module | None]] = {}
        """A layer and its batch norm, by the layer's name."""
        *body, classifier = _nodes_with_layers(self.whole)
        # A seed fills the weights in this order.
        gates = [node for deciding in self.deciding for node in _nodes_with_layers(deciding)]
        for node in (*body, *gates, classifier):
            self._add_layer(node)

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
    def gates(self) -> tuple[nn.Module, ...]:
        """Return the layers of every gate that are its own, in the order in which they decide."""
        return tuple(self.get_submodule(gate_name(number)) for number in range(len(self.deciding)))

    def forward(self, images: Tensor, width: int) -> Tensor:
        """Map normalised images (n, 3, r, r) to logits (n, classes) at one width."""
        (logits,) = self.run(self.whole, images, width)
        return logits

    def run(self, cut: Cut, given: Tensor, width: int) -> tuple[Tensor, ...]:
        """Run a part of the spec's graph at one width."""
        return cut.run(given, partial(self._operate, width))

    def forward_shared(self, images: Tensor) -> Tensor:
        """Run what every width has in common, up to `split`; return its features (n, f, h, w)."""
        return self.run(self.common, images, 0)[0]

    def forward_rest(self, features: Tensor, width: int) -> Tensor:
        """Map the common features (n, f, h, w), a prefix's for one, to logits (n, classes) at one width."""
        return self.run(self.rest, features, width)[0]

    def forward_prefix(self, images: Tensor, width: int = 0) -> tuple[Tensor, Tensor]:
        """Run what every image runs; return features (n, f, h, w) and the first gate's logits (n, choices).

        Every width of the routing space shares this part, so `width` matters for `spec.largest` alone. A network
        without a gate on its trunk raises a TrainError.
        """
        if not self.spec.gates:
            raise TrainError(f"spec {self.spec.name!r} has no gate on its trunk; give a spec with one: ds_mbv1_tiny")
        features, read = self.run(self.common, images, width)
        (logits,) = self.run(self.deciding[0], read, width)
        return features, logits

    def forward_widths(self, images: Tensor, widths: Sequence[int]) -> tuple[Tensor, dict[Path, Tensor]]:
        """Run some widths, what they share once; return logits (w, n, classes) and what every gate on the way reads.

        The latter by the path up to the gate, () for the first: (n, channels, 1, 1), of a side gate the images.
        """
        features, *read = self.run(self.common, images, 0)
        reads: dict[Path, Tensor] = dict(zip([()], read, strict=False))
        logits = self._forward_parts(features, (), widths, reads)
        return torch.stack([logits[width] for width in widths]), reads

    def gate_logits(self, read: Tensor, path: Path = ()) -> Tensor:
        """Map what a gate reads, as `forward_widths` returns it, to its logits (n, choices)."""
        if not self.deciding:
            raise TrainError(f"spec {self.spec.name!r} has no gate; give a checkpoint of a spec with one")
        return self.run(self.deciding[len(path)], read, self.spec.width_through(path))[0]

    def forward_dynamic(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Let the gates choose; return logits (n, classes) and the width used per image (n,).

        Images of one path run together, and only the chosen parts run. Evaluation mode only (else a TrainError): in
        training mode the batch norm of a group would depend on its company.
        """
        if self.training:
            raise TrainError("dynamic inference needs evaluation mode; call .eval() on the supernet first")
        if not self.deciding:
            raise TrainError(f"spec {self.spec.name!r} has no gate to choose; run a width with forward")
        features, read = self.run(self.common, images, 0)
        return self._forward_chosen(features, read, ())

    def _forward_parts(
        self, features: Tensor, path: Path, widths: Sequence[int], reads: dict[Path, Tensor]
    ) -> dict[int, Tensor]:
        """Return the logits (n, classes) of the widths that go on from `path`, and add to `reads` what gates read."""
        logits: dict[int, Tensor] = {}
        for entry in sorted({self.spec.paths[width][len(path)] for width in widths}):
            taken = (*path, entry)
            own = [width for width in widths if self.spec.paths[width][: len(taken)] == taken]
            out, *read = self.run(self.parts[len(path)], features, own[0])
            if read:
                reads[taken] = read[0]
                logits |= self._forward_parts(out, taken, own, reads)
            else:
                logits[own[0]] = out
        return logits

    def _forward_chosen(self, features: Tensor, read: Tensor, path: Path) -> tuple[Tensor, Tensor]:
        """Return logits (n, classes) and widths (n,) of images that came along `path`."""
        choices = self.spec.choices[len(path)]
        reachable = [choices.index(entry) for entry in self.spec.choices_after(path)]
        chosen = torch.tensor(reachable, device=read.device)[decide(self.gate_logits(read, path)[:, reachable])]
        logits = features.new_empty(len(features), self.spec.classes)
        widths = chosen.new_empty(len(features))
        for choice in torch.unique(chosen).tolist():
            own, taken = chosen == choice, (*path, choices[choice])
            width = self.spec.width_through(taken)
            out, *following = self.run(self.parts[len(path)], features[own], width)
            answer = self._forward_chosen(out, following[0], taken) if following else (out, chosen.new_tensor(width))
            logits[own], widths[own] = answer
        return logits, widths

    def _add_layer(self, node: Node) -> None:
        """Add the modules of a node's layer under their names in the checkpoint."""
        layer = node.layer
        assert layer is not None
        if layer.kind == "linear":
            module: nn.Module = SlicedLinear(layer)
        elif layer.kind == "position":
            module = SlicedPosition(layer)
        elif layer.kind == "layer_norm":
            module = SlicedLayerNorm(layer, self.spec.bn_epsilon)
        else:
            module = SlimmingHead(layer) if node.op == "logits" else SlicedConv2d(layer)
        norm = None if layer.statistics is None else WidthBatchNorm2d(layer, self.spec.bn_epsilon)
        *scopes, last = layer.name.split(".")
        parent: nn.Module = self
        for scope in scopes:
            if scope not in dict(parent.named_children()):
                parent.add_module(scope, nn.Module())
            parent = parent.get_submodule(scope)
        parent.add_module(last, module)
        if norm is not None:
            parent.add_module(f"{last}_bn", norm)
        self.modules_of[layer.name] = module, norm

    def _operate(self, width: int, node: Node, inputs: Sequence[Tensor]) -> Tensor:
        """Execute one node at one width."""
        if node.layer is not None:
            module, norm = self.modules_of[node.layer.name]
            x: Tensor = module(*inputs, width)
            return x if norm is None else norm(x, width)
        if node.op == "dropout":
            drops = self.training and width == self.spec.largest
            return F.dropout(inputs[0], self.spec.dropout, drops)
        if node.op == "average_pool":
            return F.avg_pool2d(inputs[0], inputs[0].shape[-1] // node.output.side)
        if node.head_size is not None:
            queries, keys, values = inputs
            return attend(queries, keys, values, node.head_size)
        return FUNCTIONS[node.op](*inputs)


def _parts(graph: Graph, start: Value) -> tuple[Cut, ...]:
    """Return the cuts between the decisions of a graph, the first from `start` on."""
    later = graph.decisions[1:]
    starts = (start, *(decision.features for decision in later))
    ends = (*((decision.features, decision.reads) for decision in later), (graph.logits,))
    return tuple(graph.cut(given, *wanted) for given, wanted in zip(starts, ends, strict=True))


def _nodes_with_layers(cut: Cut) -> list[Node]:
    return [step.node for step in cut.steps if step.node.layer]
