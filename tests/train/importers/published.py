"""Small networks in the layouts that their authors publish."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from train import GateSpec, StageSpec, SupernetSpec, load_spec
from train.checkpoint import expected_tensors
from train.importers.architectures import ARCHITECTURES, published_names

KEPT_WIDTHS = {"us_mobilenet_v1": (0, 10, 30), "us_mobilenet_v2": (0, 10, 26)}
FEWER = 8
"""What the published channels, which are multiples of it, are divided by."""
STATE = dict[str, torch.Tensor]


def small_spec(architecture: str) -> SupernetSpec:
    """Return the published network with all its blocks, an eighth of its channels and five classes."""
    template, _ = ARCHITECTURES[architecture]
    spec = load_spec(template)
    if spec.gates:
        kept: Sequence[int] = (0, 3, 6, 9, 13)
        stages = [_thin(stage, kept if len(stage.channels) > 2 else (0, 1)) for stage in spec.stages]
        gate = GateSpec(spec.gates[0].stage, (0, 1, 3, 4))
        return replace(spec, classes=5, stem=_thin(spec.stem, (0, 1)), stages=tuple(stages), gates=(gate,))
    kept = KEPT_WIDTHS.get(architecture, range(spec.n_widths))
    return replace(
        spec,
        classes=5,
        stem=_thin(spec.stem, kept),
        stages=tuple(_thin(stage, kept) for stage in spec.stages),
        head=_thin(spec.head, (0,)) if spec.head else None,
    )


def random_tensors(spec: SupernetSpec, seed: int = 0) -> dict[str, np.ndarray]:
    """Return random tensors of `spec`, variances positive."""
    generator = np.random.default_rng(seed)
    drawn = {name: generator.standard_normal(shape) for name, shape in expected_tensors(spec).items()}
    return {
        name: (np.abs(values) + 0.1 if name.endswith(".var") else values).astype(np.float32)
        for name, values in drawn.items()
    }


def published_state(architecture: str, seed: int = 0) -> STATE:
    """Return a small network's state dict under its published keys, with the counters that torch adds."""
    spec = small_spec(architecture)
    names = published_names(spec, ARCHITECTURES[architecture][1])
    state = {names[ours]: torch.from_numpy(values) for ours, values in random_tensors(spec, seed).items()}
    counters = [key.replace("running_var", "num_batches_tracked") for key in state if key.endswith("running_var")]
    return state | {key: torch.tensor(7) for key in counters}


def _thin(stage: StageSpec, kept: Sequence[int]) -> StageSpec:
    return replace(stage, channels=tuple(stage.channels[index] // FEWER for index in kept))
