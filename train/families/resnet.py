"""ResNets (He et al., CVPR 2016) whose filters are sliced stage by stage. No torch.

All blocks of a stage give the stage's channels, and its first has a projection shortcut whatever comes in: so every
width can do every residual add. `stem_pool` ends the stem with a 3×3 max pool of stride 2.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from train.families.layout import Layout
from train.graph import Graph, Value

if TYPE_CHECKING:
    from train.spec import SupernetSpec

BOTTLENECK = 4
"""Output channels of a bottleneck over those inside it."""

Branch = Callable[[Layout, Value, str, int, int], Value]
"""(layout, block's input, block's name, its stage, its stride) → what the residual branch adds."""


def resnet_basic(spec: "SupernetSpec") -> Graph:
    """Lay out blocks of two k×k convolutions (ResNet-18, -34)."""
    return _resnet(spec, _basic)


def resnet_bottleneck(spec: "SupernetSpec") -> Graph:
    """Lay out blocks of 1×1, k×k and 1×1 convolutions (ResNet-50 and deeper).

    The k×k convolution has the block's stride, as is usual since "version 1.5"; the paper strides before it.
    """
    return _resnet(spec, _bottleneck)


def basic_problems(spec: "SupernetSpec") -> list[str]:
    """Return what a ResNet cannot be laid out with."""
    return ["head: a ResNet has none; leave it out"] if spec.head else []


def bottleneck_problems(spec: "SupernetSpec") -> list[str]:
    """Return what a ResNet of bottlenecks cannot be laid out with."""
    return basic_problems(spec) + [
        f"stage {number}: channels {list(stage.channels)} of bottlenecks must be multiples of {BOTTLENECK}"
        for number, stage in enumerate(spec.stages)
        if any(channels % BOTTLENECK for channels in stage.channels)
    ]


def _resnet(spec: "SupernetSpec", branch: Branch) -> Graph:
    layout, stem = Layout(spec), spec.stem
    x = layout.conv(layout.image, "stem", spec.channels_at(-1), spec.statistics_at(-1), stem.kernel, stem.stride)
    x = layout.activation(x)
    if spec.stem_pool:
        x = layout.max_pool(x)
    for place, stage in enumerate(spec.stages):
        if (gate := spec.gate_at(place)) is not None:
            layout.early_gate(x, gate)
        for depth in range(stage.depth):
            x = _block(layout, x, branch, f"stages.{place}.{depth}", place, 1 if depth else stage.stride, depth == 0)
    return layout.classified(x)


def _block(layout: Layout, x: Value, branch: Branch, name: str, place: int, stride: int, projects: bool) -> Value:
    added = branch(layout, x, name, place, stride)
    if projects:
        x = _conv(layout, x, f"{name}.shortcut", place, stride=stride)
    return layout.activation(layout.apply("add", x, added, name=name))


def _basic(layout: Layout, x: Value, name: str, place: int, stride: int) -> Value:
    kernel = layout.spec.stages[place].kernel
    x = layout.activation(_conv(layout, x, f"{name}.first", place, kernel, stride))
    return _conv(layout, x, f"{name}.second", place, kernel)


def _bottleneck(layout: Layout, x: Value, name: str, place: int, stride: int) -> Value:
    inner = partial(_conv, layout, place=place, divisor=BOTTLENECK)
    x = layout.activation(inner(x, f"{name}.reduce"))
    x = layout.activation(inner(x, f"{name}.middle", kernel=layout.spec.stages[place].kernel, stride=stride))
    return _conv(layout, x, f"{name}.restore", place)


def _conv(layout: Layout, x: Value, name: str, place: int, kernel: int = 1, stride: int = 1, divisor: int = 1) -> Value:
    spec = layout.spec
    channels = tuple(count // divisor for count in spec.channels_at(place))
    return layout.conv(x, name, channels, spec.statistics_at(place), kernel, stride)
