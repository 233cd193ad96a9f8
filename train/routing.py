"""How the gates of a network lead images: one gate after the other, each from where the one before has sent them.

Shapes: n images, q paths that lead to a gate, c choices of the gate, w ways through all gates (`train.ways`).
"""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from train.gate import decide
from train.paths import Path
from train.spec import SupernetSpec
from train.supernet import Supernet
from train.ways import Crossing, ways_of

Choose = Callable[[Tensor], Tensor]
"""Maps gate logits (…, c) to a one-hot choice (…, c)."""


class GateCrossing:
    """A gate, seen from all the paths that lead to it."""

    def __init__(self, crossing: Crossing, choices: int, device: torch.device) -> None:
        def tensor(values: Sequence[int]) -> Tensor:
            return torch.tensor(values, device=device)

        self.paths = crossing.paths
        self.onward = tensor(crossing.onward)
        self.narrowest, self.widest = tensor(crossing.narrowest), tensor(crossing.widest)
        """The outermost ways that are still open, (q,)."""
        reachable = torch.zeros(len(self.paths) * choices, dtype=torch.bool, device=device)
        reachable[self.onward] = True
        self.unreachable = ~reachable.view(-1, choices)
        """(q, c)."""
        self.first = self.unreachable.int().argmin(dim=1)
        """The lowest choice in reach, (q,)."""
        self.last = choices - 1 - self.unreachable.flip(1).int().argmin(dim=1)
        """The highest, (q,)."""

    def logits(self, model: Supernet, reads: Mapping[Path, Tensor]) -> Tensor:
        """Return the gate's logits for every path, (n, q, c); −∞ where a choice is out of reach.

        reads: what `Supernet.forward_widths` returns.
        """
        found = torch.stack([model.gate_logits(reads[path], path) for path in self.paths], dim=1)
        return found.masked_fill(self.unreachable, -torch.inf)

    def lead(self, arrived: Tensor, chosen: Tensor) -> Tensor:
        """Return the weights of the next crossing's paths, at last of the ways.

        arrived (n, q): the weights of the paths to this one; chosen (n, q, c): of the choices there.
        """
        return (arrived.unsqueeze(2) * chosen).flatten(1)[:, self.onward]


class Routing:
    """All gates of a network that has some."""

    def __init__(self, spec: SupernetSpec, device: torch.device) -> None:
        ways = ways_of(spec)
        self.widths = ways.widths
        """The width of every way, ascending."""
        self.crossings = [
            GateCrossing(crossing, len(choices), device)
            for crossing, choices in zip(ways.crossings, spec.choices, strict=True)
        ]

    def logits(self, model: Supernet, reads: Mapping[Path, Tensor]) -> list[Tensor]:
        """Return every gate's logits (n, q, c)."""
        return [crossing.logits(model, reads) for crossing in self.crossings]

    def follow(self, gate_logits: Sequence[Tensor], choose: Choose) -> Tensor:
        """Return the weights (n, w) of the ways: the products of what the gates choose along them."""
        weights = starting_weights(gate_logits[0])
        for crossing, logits in zip(self.crossings, gate_logits, strict=True):
            weights = crossing.lead(weights, choose(logits))
        return weights

    def decided(self, model: Supernet, reads: Mapping[Path, Tensor]) -> Tensor:
        """Return the way (n,) that the gates' highest logits lead to, as `Supernet.forward_dynamic` takes it."""
        return self.follow(self.logits(model, reads), _highest).argmax(dim=1)


def starting_weights(gate_logits: Tensor) -> Tensor:
    """Return the weights (n, 1) of the one path to the first gate; gate_logits (n, 1, c)."""
    return gate_logits.new_ones(len(gate_logits), 1)


def _highest(gate_logits: Tensor) -> Tensor:
    return F.one_hot(decide(gate_logits), gate_logits.shape[-1])
