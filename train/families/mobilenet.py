"""Networks of depthwise separable blocks: DS-Net's and the MobileNets. No torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from train.families.layout import Layout
from train.graph import Graph, Value

if TYPE_CHECKING:
    from train.spec import SupernetSpec


@dataclass(frozen=True)
class _Block:
    name: str
    before: int
    """Place of the stage whose channels come in."""
    place: int
    """Place of the block's own stage."""
    depth: int
    stride: int


def ds_mbv1(spec: "SupernetSpec") -> Graph:
    """Lay out DS-Net's network (Li et al., CVPR 2021, section 4): depthwise ─ attention ─ pointwise.

    The gate's stage begins with a block whose attention, after it is pooled and reduced, the gate reads too; the chosen
    width goes on after that attention.
    """
    layout, x = _stem(spec)
    for block in _blocks(spec):
        x = _depthwise(layout, x, block)
        x = _attention(layout, x, block)
        x = layout.activation(_pointwise(layout, x, block))
    return layout.classified(_head(layout, x))


def mobilenet_v1(spec: "SupernetSpec") -> Graph:
    """Lay out MobileNetV1 (Howard et al., 2017, arXiv 1704.04861): depthwise ─ pointwise."""
    layout, x = _stem(spec)
    for block in _blocks(spec):
        x = layout.activation(_pointwise(layout, _depthwise(layout, x, block), block))
    return layout.classified(_head(layout, x))


def mobilenet_v2(spec: "SupernetSpec") -> Graph:
    """Lay out MobileNetV2 (Sandler et al., CVPR 2018): expansion ─ depthwise ─ linear pointwise.

    The block's input is added where the stride is 1 and both have equal channels.
    """
    layout, x = _stem(spec)
    for block in _blocks(spec):
        out = _pointwise(layout, _depthwise(layout, _expansion(layout, x, block), block), block)
        adds = block.stride == 1 and x.channels == out.channels
        x = layout.apply("add", x, out, name=block.name) if adds else out
    return layout.classified(_head(layout, x))


def unequal_residuals(spec: "SupernetSpec") -> list[str]:
    """Return the adds that some width cannot do: where the widest has equal channels, every width must."""
    return [
        f"{block.name}: a residual add needs equal channels before and after at every width, not {before} and {after}"
        for block in _blocks(spec)
        if block.stride == 1
        and (before := list(spec.channels_at(block.before)))[-1] == (after := list(spec.channels_at(block.place)))[-1]
        and before != after
    ]


def _blocks(spec: "SupernetSpec") -> Iterator[_Block]:
    before = -1
    for place, stage in enumerate(spec.stages):
        for depth in range(stage.depth):
            yield _Block(f"stages.{place}.{depth}", before, place, depth, 1 if depth else stage.stride)
            before = place


def _stem(spec: "SupernetSpec") -> tuple[Layout, Value]:
    layout = Layout(spec)
    stem = spec.stem
    x = layout.conv(layout.image, "stem", spec.channels_at(-1), spec.statistics_at(-1), stem.kernel, stem.stride)
    return layout, layout.activation(x)


def _expansion(layout: Layout, x: Value, block: _Block) -> Value:
    factor = layout.spec.stages[block.place].expansion
    if factor == 1:
        return x
    inner = tuple(factor * channels for channels in x.channels)
    statistics = layout.spec.statistics_at(block.before)
    return layout.activation(layout.conv(x, f"{block.name}.expansion", inner, statistics, kernel=1))


def _depthwise(layout: Layout, x: Value, block: _Block) -> Value:
    spec = layout.spec
    stage, statistics = spec.stages[block.place], spec.statistics_at(block.before)
    kernel: int | tuple[int, ...] = stage.kernel
    if stage.kernels and block.depth:
        kernel = tuple(stage.kernels[index] for index in statistics)
    return layout.activation(layout.depthwise(x, f"{block.name}.depthwise", statistics, kernel, block.stride))


def _attention(layout: Layout, x: Value, block: _Block) -> Value:
    """Squeeze-and-excitation (Hu et al., CVPR 2018): pool → reduce → ReLU → expand → sigmoid → scale the input."""
    spec = layout.spec
    before = spec.stage_at(block.before)
    reduced = max(1, int((before.widest or before.channels[-1]) * spec.attention_ratio + 0.5))
    name = f"{block.name}.attention"
    trunk = layout.apply("relu", layout.biased(layout.mean_pool(x), f"{name}.reduce", spec.same(reduced)))
    gate = None if block.depth else spec.gate_at(block.place)
    gate_logits = None if gate is None else layout.gate_head(trunk, gate, bias=False)
    scales = layout.apply("sigmoid", layout.biased(trunk, f"{name}.expand", x.channels))
    features = layout.apply("multiply", x, scales)
    if gate_logits:
        layout.trunk_gate(trunk, features, gate_logits)
    return features


def _pointwise(layout: Layout, x: Value, block: _Block) -> Value:
    spec = layout.spec
    channels, statistics = spec.channels_at(block.place), spec.statistics_at(block.place)
    return layout.conv(x, f"{block.name}.pointwise", channels, statistics, kernel=1)


def _head(layout: Layout, x: Value) -> Value:
    """Return the features after the 1×1 convolution before the pooling, if there is one."""
    spec = layout.spec
    if spec.head is None:
        return x
    place = len(spec.stages)
    return layout.activation(layout.conv(x, "head", spec.channels_at(place), spec.statistics_at(place), kernel=1))
