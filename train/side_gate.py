"""A gate for a network that was trained without one: US-Nets, S-Nets and the like. The network stays as it is."""

from collections.abc import Mapping, Sequence

import numpy as np

from train.families.layout import gate_name
from train.initialise import initialise
from train.spec import SupernetSpec
from train.supernet import Supernet

CHOICES = 4
"""Widths that a side gate chooses between unless told: as many as the published gate's."""


def spread_choices(n_widths: int) -> tuple[int, ...]:
    """Return four widths evenly spread from the narrowest to the widest, fewer where there are not as many."""
    places = np.linspace(0, n_widths - 1, min(CHOICES, n_widths))
    return tuple(int(place + 0.5) for place in places)


def add_side_gate(
    spec: SupernetSpec, tensors: Mapping[str, np.ndarray], choices: Sequence[int], seed: int = 0
) -> tuple[SupernetSpec, dict[str, np.ndarray]]:
    """Return the spec and tensors of a gate-less network with an untrained side gate over `choices`, ascending widths.

    A network that has a gate, or is too small for one, and widths that do not exist are a SpecError.
    """
    gated = spec.with_side_gate(choices)
    (gate,) = Supernet(gated).gates
    initialise(gate, seed)
    weights = {f"{gate_name(0)}.{name}": weight.detach().numpy() for name, weight in gate.named_parameters()}
    return gated, {**tensors, **weights}
