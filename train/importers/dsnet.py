"""The layout of DS-Net's supernet (Li et al., CVPR 2021), as its authors trained it.

Stage S of a network is blocks.S: a first_block, then residual_blocks (which add nothing, despite their name). Batch
norm keeps one entry per width in aux_bn; its weight and bias are those of the last.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from statistics import mode

from train.families.layout import gate_name
from train.importers.shapes import Shapes, channels_of, classes_of, filled, statistics_sets
from train.layer_specs import LayerSpec
from train.spec import GateSpec, StageSpec, SupernetSpec
from train.spec_problems import MAX_DEPTH

BATCH_NORMS = {"conv_stem": "bn1", "conv_dw": "bn1", "conv_pw": "bn2"}
SLIMMING_HEAD = "gate.gate.0"


def spec_of(template: SupernetSpec, shapes: Shapes) -> SupernetSpec:
    """Return `template` with the depths, the channels of every width, the classes and the gate of a checkpoint.

    Strides and the activation cannot be read back; they are the template's.
    """
    sets = statistics_sets(shapes)
    gated = _gated_stage(template, shapes)
    depths = [_depth(shapes, number) for number in range(len(template.stages))]
    found = [
        channels_of(sets, [f"{_block(number, place)}.bn2.aux_bn" for place in range(depth)])
        for number, depth in enumerate(depths)
    ]
    count = mode(1 + max(channels, default=0) for channels in found[gated:])
    counts = [min(1 + max(channels, default=0), 2) if n < gated else count for n, channels in enumerate(found)]
    stem = channels_of(sets, ["bn1.aux_bn"])
    return replace(
        template,
        classes=classes_of(shapes, "classifier", template.classes),
        stem=replace(template.stem, channels=filled(stem, min(1 + max(stem, default=0), 2))),
        stages=tuple(map(_stage, template.stages, depths, map(filled, found, counts))),
        gates=(GateSpec(gated, _choices(template, shapes, gated, count)),),
    )


def layer_names(spec: SupernetSpec) -> dict[str, str]:
    """Return the published name of every layer by ours."""
    names = {"stem": "conv_stem", "classifier": "classifier"}
    for number, stage in enumerate(spec.stages):
        for depth in range(stage.depth):
            ours, block = f"stages.{number}.{depth}", _block(number, depth)
            names[f"{ours}.depthwise"] = f"{block}.conv_dw"
            names[f"{ours}.attention.reduce"] = f"{block}.gate.conv_reduce"
            names[f"{ours}.attention.expand"] = f"{block}.gate.conv_expand"
            names[f"{ours}.pointwise"] = f"{block}.conv_pw"
    for number, gate in enumerate(spec.gates):
        names[gate_name(number)] = f"{_block(gate.stage, 0)}.{SLIMMING_HEAD}"
    return names


def batch_norm_names(layer: LayerSpec, convolution: str) -> Iterator[tuple[str, str]]:
    """Yield our name and the published one of every tensor of the batch norm behind a convolution."""
    block, dot, kind = convolution.rpartition(".")
    norm = f"{block}{dot}{BATCH_NORMS[kind]}.aux_bn"
    indices = sorted(set(layer.statistics or ()))
    for parameter in ("weight", "bias"):
        yield f"{layer.name}_bn.{parameter}", f"{norm}.{indices[-1]}.{parameter}"
    for index in indices:
        for moment in ("mean", "var"):
            yield f"{layer.name}_bn.statistics.{index}.{moment}", f"{norm}.{index}.running_{moment}"


def _block(stage: int, depth: int) -> str:
    return f"blocks.{stage}.residual_blocks.{depth - 1}" if depth else f"blocks.{stage}.first_block"


def _depth(shapes: Shapes, stage: int) -> int:
    found = (re.match(rf"blocks\.{stage}\.residual_blocks\.(\d{{1,3}})\.", key) for key in shapes)
    return min(max((2 + int(match[1]) for match in found if match), default=1), MAX_DEPTH)


def _stage(stage: StageSpec, depth: int, channels: tuple[int, ...]) -> StageSpec:
    return replace(stage, depth=depth, channels=channels)


def _gated_stage(template: SupernetSpec, shapes: Shapes) -> int:
    places = [n for n in range(len(template.stages)) if f"{_block(n, 0)}.{SLIMMING_HEAD}.weight" in shapes]
    return places[0] if len(places) == 1 else template.gates[0].stage


def _choices(template: SupernetSpec, shapes: Shapes, stage: int, n_widths: int) -> tuple[int, ...]:
    """Return the width of each logit: the published ones where there are as many widths, else evenly spread."""
    (published,) = template.choices
    shape = shapes.get(f"{_block(stage, 0)}.{SLIMMING_HEAD}.weight", ())
    logits = shape[0] if len(shape) == 4 else min(len(published), n_widths)
    if (n_widths, logits) == (template.n_widths, len(published)):
        return published
    steps = max(1, min(logits, n_widths + 1) - 1)  # more logits than widths is refused by the spec
    return tuple(int(place * (n_widths - 1) / steps + 0.5) for place in range(min(logits, n_widths + 1)))
