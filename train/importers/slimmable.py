"""The layout of the slimmable MobileNets: US-Nets (Yu & Huang, ICCV 2019) and S-Nets (Yu et al., ICLR 2019).

A published block is features.N, its layers the entries of a Sequential: convolution, batch norm, activation, so that
convolution i of a block is body.{3i} and its batch norm body.{3i + 1}. Batch norm of a US-Net: one weight and bias,
bn.W.running_* per width W; of an S-Net: all of it in bn.W. The convolution before the pooling is not slimmed, its batch
norm is an ordinary one.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from statistics import mode

from train.importers.shapes import Shapes, channels_of, classes_of, filled, statistics_sets
from train.layer_specs import LayerSpec
from train.spec import StageSpec, SupernetSpec


def spec_of(template: SupernetSpec, shapes: Shapes) -> SupernetSpec:
    """Return the published structure of `template` with the channels of every width and the classes of a checkpoint."""
    sets = statistics_sets(shapes)
    found = [channels_of(sets, ["features.0.1.bn"])]
    first = 1
    for stage in template.stages:
        last = 3 * (1 + (stage.expansion > 1)) + 1
        found.append(channels_of(sets, [f"features.{first + depth}.body.{last}.bn" for depth in range(stage.depth)]))
        first += stage.depth
    count = mode(1 + max(channels, default=0) for channels in found)
    stem, *stages = [filled(channels, count) for channels in found]
    return replace(
        template,
        classes=classes_of(shapes, "classifier.0", template.classes),
        stem=replace(template.stem, channels=stem),
        stages=tuple(replace(stage, channels=c) for stage, c in zip(template.stages, stages, strict=True)),
        head=_head(template.head, shapes, f"features.{first}.1") if template.head else None,
    )


def layer_names(spec: SupernetSpec) -> dict[str, str]:
    """Return the published name of every convolution, and of the classifier, by ours."""
    names, number = {"stem": "features.0.0"}, 0
    of_blocks = (layer.name for layer in spec.layers if layer.name.startswith("stages."))
    for number, (_, layers) in enumerate(groupby(of_blocks, lambda name: name.rpartition(".")[0]), start=1):
        names |= {name: f"features.{number}.body.{3 * i}" for i, name in enumerate(layers)}
    return names | {"head": f"features.{number + 1}.0", "classifier": "classifier.0"}


def batch_norm_names(layer: LayerSpec, convolution: str) -> Iterator[tuple[str, str]]:
    """Yield our name and the published one of every tensor of the batch norm behind a convolution."""
    place, _, number = convolution.rpartition(".")
    norm = f"{place}.{int(number) + 1}"
    for index in sorted(set(layer.statistics or ())):
        statistics = norm if layer.name == "head" else f"{norm}.bn.{index}"
        for parameter in ("weight", "bias"):
            affine = statistics if layer.switchable else norm
            yield f"{layer.batch_norm_affine(index)}.{parameter}", f"{affine}.{parameter}"
        for moment in ("mean", "var"):
            yield f"{layer.name}_bn.statistics.{index}.{moment}", f"{statistics}.running_{moment}"


def _head(head: StageSpec, shapes: Shapes, norm: str) -> StageSpec:
    """Return the un-slimmed last convolution with as many channels as most tensors of its batch norm."""
    keys = (f"{norm}.{kind}" for kind in ("weight", "bias", "running_mean", "running_var"))
    counts = [shapes[key][0] for key in keys if len(shapes.get(key, ())) == 1]
    return replace(head, channels=(mode(counts),)) if counts else head
