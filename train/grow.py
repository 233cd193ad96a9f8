"""A network with larger depthwise kernels begins as one that is trained already: the smaller kernel in the centre.

DS-Net++ slices kernels, of which a 5×5 contains a 3×3 (Li et al., 2021); beginning it so is this project's own way to
spare the training of a second network. Around the smaller kernel stand zeros, so the function is the same at every
width until training fills them.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np

from train.errors import ConfigError
from train.families import FAMILIES
from train.layer_specs import LayerSpec, centre_out
from train.spec import SupernetSpec


def grown(spec: SupernetSpec, start: SupernetSpec, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors of `spec` that compute at every width what `start` with its `tensors` does.

    Networks that differ in more than name and kernels, or kernels of which a width would lose or gain trained weights,
    are a ConfigError.
    """
    _check_same_but_for_kernels(spec, start)
    result = dict(tensors)
    for layer, before in zip(spec.layers, start.layers, strict=True):
        if layer.kind == "depthwise":
            _check_kernels(layer, before)
            result[f"{layer.name}.weight"] = _grown(tensors[f"{layer.name}.weight"], before, layer)
    return result


def _grown(weight: np.ndarray, before: LayerSpec, after: LayerSpec) -> np.ndarray:
    """Surround kernels (c, 1, k, k), or (c, 1, positions) where they are sliced, by zeros."""
    positions = weight if before.kernels else weight.reshape(*weight.shape[:2], -1)[..., np.argsort(_order(before))]
    padded = np.pad(positions, ((0, 0), (0, 0), (0, after.kernel**2 - before.kernel**2)))
    return padded if after.kernels else padded[..., _order(after)].reshape(*weight.shape[:2], after.kernel, -1)


def _order(layer: LayerSpec) -> list[int]:
    return centre_out(layer.kernel)


def _check_same_but_for_kernels(spec: SupernetSpec, start: SupernetSpec) -> None:
    ours, theirs = (asdict(_without_kernels(one)) for one in (spec, start))
    differing = ", ".join(field for field in ours if ours[field] != theirs[field])
    if differing:
        raise ConfigError(
            f"spec {spec.name!r} cannot begin as the checkpoint's {start.name!r}: they differ in {differing}, valid: "
            "in depthwise kernels alone; give a checkpoint of such a network, or leave --checkpoint out"
        )


def _without_kernels(spec: SupernetSpec) -> SupernetSpec:
    unnamed = replace(spec, name="any")
    if not FAMILIES[spec.family].has_depthwise:
        return unnamed
    return replace(unnamed, stages=tuple(replace(stage, kernel=1, kernels=None) for stage in spec.stages))


def _check_kernels(after: LayerSpec, before: LayerSpec) -> None:
    """Refuse a width that would not see exactly as much of the trained kernel as it did."""
    trained = before.kernel
    for width in range(len(after.out_channels)):
        seen, had = after.kernel_at(width), before.kernel_at(width)
        if min(seen, trained) != had:
            valid = f"{had} or more" if had == trained else f"{had}"
            raise ConfigError(
                f"{after.name} has kernel {seen} at width {width}, the checkpoint's sees {had} of {trained} there; "
                f"valid: {valid}; change the spec, or leave --checkpoint out"
            )
