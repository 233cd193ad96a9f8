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
from train.gate import SlimmingHead, decide
from train.graph import Cut, Node, Op
from train.layers import SlicedConv2d, SlicedLinear, WidthBatchNorm2d
from train.spec import SupernetSpec

FUNCTIONS: dict[Op, Callable[..., Tensor]] = {
    "silu": F.silu,
    "relu": F.relu,
    "relu6": F.relu6,
    "hardswish": F.hardswish,
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

    gate: nn.Module | None

    def __init__(self, spec: SupernetSpec) -> None:
        super().__init__()
        self.spec = spec
        graph, decision = spec.graph, spec.graph.decision
        self.split = graph.parting(spec.n_widths)
        """What every width but the training-only largest has in common; None if that is the image alone."""
        start = self.split or graph.image
        self.whole = graph.cut(graph.image, graph.logits)
        self.common = graph.cut(graph.image, start, *((decision.reads,) if decision else ()))
        self.rest = graph.cut(start, graph.logits)
        self.deciding = graph.cut(decision.reads, decision.logits) if decision else None
        self.modules_of: dict[str, tuple[nn.Module, nn.Module | None]] = {}
        """A layer and its batch norm, by the layer's name."""
        if self.deciding is None:
            self.gate = None
        *body, classifier = _nodes_with_layers(self.whole)
        # A seed fills the weights in this order.
        for node in (*body, *(_nodes_with_layers(self.deciding) if self.deciding else ()), classifier):
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
    def choices(self) -> tuple[int, ...]:
        """Return the width that each gate logit stands for; none without a gate."""
        return self.spec.choices

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
        """Run what every image runs; return features (n, f, h, w) and gate logits (n, choices).

        Every width of the routing space shares this part, so `width` matters for `spec.largest` alone. A network
        without a gate on its trunk raises a TrainError.
        """
        if self.spec.gate is None:
            raise TrainError(f"spec {self.spec.name!r} has no gate on its trunk; give a spec with one: ds_mbv1_tiny")
        features, read = self.run(self.common, images, width)
        return features, self.gate_logits(read, width)

    def forward_widths(self, images: Tensor, widths: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Run some widths, what they share once; return logits (w, n, classes) and what the gate reads.

        A gate on the trunk reads (n, reduced, 1, 1), a side gate the images; None without a gate.
        """
        features, *read = self.run(self.common, images, 0)
        logits = torch.stack([self.forward_rest(features, width) for width in widths])
        return logits, read[0] if read else None

    def gate_logits(self, read: Tensor, width: int = 0) -> Tensor:
        """Map what the gate reads, as `forward_widths` returns it, to gate logits (n, choices)."""
        if self.deciding is None:
            raise TrainError(f"spec {self.spec.name!r} has no gate; give a checkpoint of a spec with one")
        return self.run(self.deciding, read, width)[0]

    def forward_dynamic(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Let the gate choose; return logits (n, classes) and the width used per image (n,).

        Images of one width run together, and only the chosen rest runs. Evaluation mode only (else a TrainError): in
        training mode the batch norm of a group would depend on its company.
        """
        if self.training:
            raise TrainError("dynamic inference needs evaluation mode; call .eval() on the supernet first")
        if self.deciding is None:
            raise TrainError(f"spec {self.spec.name!r} has no gate to choose; run a width with forward")
        features, read = self.run(self.common, images, 0)
        choices = torch.tensor(self.choices, device=images.device)
        widths = choices[decide(self.gate_logits(read))]
        logits = features.new_empty(len(images), self.spec.classes)
        for width in torch.unique(widths).tolist():
            chosen = widths == width
            logits[chosen] = self.forward_rest(features[chosen], width)
        return logits, widths

    def _add_layer(self, node: Node) -> None:
        """Add the modules of a node's layer under their names in the checkpoint."""
        layer = node.layer
        assert layer is not None
        if layer.kind == "linear":
            module: nn.Module = SlicedLinear(layer)
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
        return FUNCTIONS[node.op](*inputs)


def _nodes_with_layers(cut: Cut) -> list[Node]:
    return [step.node for step in cut.steps if step.node.layer]
