"""Which published architecture a state dict is of, and its tensors under this project's names."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from train.checkpoint import expected_tensors
from train.errors import CheckpointError, SpecError, listed
from train.importers import dsnet, slimmable
from train.importers.shapes import Shapes
from train.layer_specs import LayerSpec
from train.spec import SupernetSpec, load_spec

AUTO = "auto"


@dataclass(frozen=True)
class Layout:
    """How a public repository lays out its state dicts."""

    spec_of: Callable[[SupernetSpec, Shapes], SupernetSpec]
    """(the published network, the shapes of a checkpoint) → the network of that checkpoint."""
    layer_names: Callable[[SupernetSpec], dict[str, str]]
    """Published name of every layer by ours."""
    batch_norm_names: Callable[[LayerSpec, str], Iterator[tuple[str, str]]]
    """(layer, its published name) → our name and the published one of each tensor of its batch norm."""


DS_NET = Layout(dsnet.spec_of, dsnet.layer_names, dsnet.batch_norm_names)
SLIMMABLE = Layout(slimmable.spec_of, slimmable.layer_names, slimmable.batch_norm_names)
ARCHITECTURES = {
    "slimmable_mbnet_v1_bn_uniform": ("ds_mbv1", DS_NET),
    "us_mobilenet_v1": ("us_mobilenet_v1", SLIMMABLE),
    "us_mobilenet_v2": ("us_mobilenet_v2", SLIMMABLE),
    "s_mobilenet_v1": ("s_mobilenet_v1", SLIMMABLE),
    "s_mobilenet_v2": ("s_mobilenet_v2", SLIMMABLE),
}
"""The names that the authors gave, each with the shipped spec of the published network and its layout."""


@dataclass(frozen=True)
class Recognised:
    """A published network under this project's names."""

    architecture: str
    spec: SupernetSpec
    tensors: dict[str, np.ndarray]
    """Every tensor of the spec, by our name."""


@dataclass(frozen=True)
class Misfit:
    """In which way a state dict is not of an architecture."""

    how: str
    problems: int
    """Number of tensors missing, unexpected or misshapen."""


def check_architecture(name: str) -> None:
    """Raise a CheckpointError that lists the valid names unless this is one."""
    if name not in (*ARCHITECTURES, AUTO):
        raise CheckpointError(f"unknown --arch {name!r:.60}; valid: {', '.join((*ARCHITECTURES, AUTO))}")


def published_names(spec: SupernetSpec, layout: Layout) -> dict[str, str]:
    """Return the published key of every tensor of `spec`, by our name."""
    layers = layout.layer_names(spec)
    names: dict[str, str] = {}
    for layer in spec.layers:
        names[f"{layer.name}.weight"] = f"{layers[layer.name]}.weight"
        if layer.bias:
            names[f"{layer.name}.bias"] = f"{layers[layer.name]}.bias"
        if layer.statistics is not None:
            names |= dict(layout.batch_norm_names(layer, layers[layer.name]))
    return names


def recognise(path: Path, tensors: Mapping[str, np.ndarray], architecture: str = AUTO) -> Recognised:
    """Return the network of a state dict, named as its shipped spec, at that one's resolution.

    tensors: by published key. A state dict that does not fit the architecture, or with AUTO none or several, and values
    that no trained network has, are a CheckpointError.
    """
    check_architecture(architecture)
    shapes = {name: values.shape for name, values in tensors.items()}
    candidates = ARCHITECTURES if architecture == AUTO else (architecture,)
    fits = {name: _fit(name, shapes) for name in candidates}
    found = [(name, fit) for name, fit in fits.items() if isinstance(fit, SupernetSpec)]
    if len(found) != 1:
        raise CheckpointError(f"{path} {_unrecognised(fits)}")
    name, spec = found[0]
    names = published_names(spec, ARCHITECTURES[name][1])
    _check_values(path, {key: tensors[key] for key in names.values()})
    return Recognised(name, spec, {ours: tensors[key] for ours, key in names.items()})


def _fit(architecture: str, shapes: Shapes) -> SupernetSpec | Misfit:
    """Return the spec of the tensors, or in which way they are not of the architecture."""
    template, layout = ARCHITECTURES[architecture]
    try:
        spec = layout.spec_of(load_spec(template), shapes)
    except SpecError as error:
        return Misfit(str(error), len(shapes))
    names = published_names(spec, layout)
    expected = {names[ours]: shape for ours, shape in expected_tensors(spec).items()}
    problems = {
        "missing": [key for key in expected if key not in shapes],
        "unexpected": [key for key in shapes if key not in expected],
        "wrong shape": [
            f"{key} {list(shapes[key])} instead of {list(shape)}"
            for key, shape in expected.items()
            if key in shapes and shapes[key] != shape
        ],
    }
    wrong = "; ".join(f"{what}: {listed(keys)}" for what, keys in problems.items() if keys)
    return Misfit(wrong, sum(map(len, problems.values()))) if wrong else spec


def _unrecognised(fits: Mapping[str, SupernetSpec | Misfit]) -> str:
    fitting = [name for name, fit in fits.items() if isinstance(fit, SupernetSpec)]
    if fitting:
        return f"fits several architectures, {', '.join(fitting)}; name one with --arch"
    misfits = {name: fit for name, fit in fits.items() if isinstance(fit, Misfit)}
    nearest, *others = sorted(misfits, key=lambda name: misfits[name].problems)
    if not others:
        return f"is not of architecture {nearest}: {misfits[nearest].how}; name another with --arch, or auto"
    counts = ", ".join(f"{name} ({misfits[name].problems})" for name in others)
    return (
        f"fits no architecture. The nearest is {nearest}: {misfits[nearest].how}; more tensors are amiss for {counts}. "
        "Give the published checkpoint of one of them"
    )


def _check_values(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    problems = {
        "NaN or infinity": [key for key, values in tensors.items() if not np.isfinite(values).all()],
        "a variance of 0 or less": [
            key for key, values in tensors.items() if key.endswith("running_var") and (values <= 0).any()
        ],
    }
    found = "; ".join(f"{what} in {listed(keys)}" for what, keys in problems.items() if keys)
    if found:
        raise CheckpointError(f"{path} holds {found}; copy it again or give an earlier epoch")
