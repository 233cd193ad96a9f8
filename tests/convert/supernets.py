"""Networks with weights as training leaves them: spread statistics, and a few negative batch-norm gammas."""

from dataclasses import replace

import numpy as np

from train.checkpoint import Checkpoint, expected_tensors
from train.spec import SupernetSpec, load_spec


def with_kernels(spec: SupernetSpec, stage: int, kernels: tuple[int, ...]) -> SupernetSpec:
    """Return a network of which a stage's depthwise kernels are sliced, all but the first block's."""
    stages = [replace(one, kernels=kernels) if place == stage else one for place, one in enumerate(spec.stages)]
    return replace(spec, name=f"{spec.name}_kernels", stages=tuple(stages))


def trained_like(spec: SupernetSpec | None = None, seed: int = 0) -> Checkpoint:
    """Return a checkpoint whose tensors look trained; the tiny network unless a spec is given."""
    spec = spec or load_spec("ds_mbv1_tiny")
    generator = np.random.default_rng(seed)
    tensors = {name: _fill(name, shape, generator) for name, shape in expected_tensors(spec).items()}
    return Checkpoint(spec, tensors, {}, "0" * 64)


def _fill(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    if len(shape) >= 2:
        return (generator.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
    if name.endswith(".var"):
        return (0.5 + generator.random(shape)).astype(np.float32)
    if name.endswith(".weight"):
        gamma = 1 + 0.4 * generator.random(shape)
        # The same channels at every width: gammas of several signs have no payload in common.
        return np.where(np.arange(len(gamma)) % 10 == 3, -gamma, gamma).astype(np.float32)
    return (0.1 * generator.standard_normal(shape)).astype(np.float32)


def images(spec: SupernetSpec, count: int, seed: int = 0) -> list[np.ndarray]:
    """Return preprocessed images, [1, size, size, 3] each."""
    generator = np.random.default_rng(seed)
    shape = (1, spec.resolution, spec.resolution, 3)
    return [generator.standard_normal(shape).astype(np.float32) for _ in range(count)]
