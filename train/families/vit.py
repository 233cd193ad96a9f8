"""Vision transformers whose embedding, attention heads and MLPs are sliced, alone or together. No torch.

A reconstruction: DS-Net++ (Li et al., "DS-Net++: Dynamic Weight Slicing", 2021, arXiv 2109.10060) slices these
dimensions of DeiT (Touvron et al., ICML 2021), but how its networks look in detail is not published. Ours have no
class token: the mean of the tokens stands for the image, to the classifier as to the gate. Tokens lie as an image
(n, channels, h, w), one per patch, so that what is linear is a 1×1 convolution.
"""

from typing import TYPE_CHECKING

from train.families.layout import Layout
from train.graph import Graph, Value

if TYPE_CHECKING:
    from train.spec import StageSpec, SupernetSpec

MAX_CHANNELS, MAX_TOKENS = 16384, 4096


def vit(spec: "SupernetSpec") -> Graph:
    """Lay out patches + position ─ blocks of attention and MLP, each after a layer norm ─ layer norm.

    Before the first gate on the trunk all blocks run at one embedding. Where a stage widens, a linear layer maps that
    to the width's own; elsewhere the stream simply goes on.
    """
    layout = Layout(spec)
    x = layout.position(layout.patches(layout.image, "stem", spec.channels_at(-1), spec.stem.kernel), "position")
    for place, stage in enumerate(spec.stages):
        if (gate := spec.gate_at(place)) is not None:
            layout.early_gate(x, gate)
        if stage.widens:
            x = layout.biased(x, f"stages.{place}.widen", spec.channels_at(place))
        for depth in range(stage.depth):
            x = _block(layout, x, f"stages.{place}.{depth}", place)
    return layout.classified(layout.layer_norm(x, "norm"))


def vit_problems(spec: "SupernetSpec") -> list[str]:
    """Return what of a spec a transformer cannot be laid out with."""
    found = ["head: a transformer has none; leave it out"] if spec.head else []
    patch = spec.stem.kernel
    if spec.resolution % patch or (spec.resolution // patch) ** 2 > MAX_TOKENS:
        found.append(
            f"stem: patches of {patch} pixels must divide {spec.resolution}, into at most {MAX_TOKENS} of them"
        )
    for number, stage in enumerate(spec.stages):
        found += [f"stage {number}: {clause}" for clause in _stage_problems(stage)]
        before, own = list(spec.channels_at(number - 1)), list(spec.channels_at(number))
        if before != own and not stage.widens:
            found.append(f"stage {number}: embedding {own} after {before}; it must be the same, or set widens to true")
    return found


def _stage_problems(stage: "StageSpec") -> list[str]:
    found = []
    if (stage.stride, stage.kernel) != (1, 1):
        found.append("stride and kernel of a transformer must be 1")
    for name, counts in (("heads", stage.heads), ("hidden", stage.hidden)):
        if not _is_sliced_with(counts, len(stage.channels)):
            found.append(
                f"{name} {counts!r:.60} must be {len(stage.channels)} whole numbers within 1…{MAX_CHANNELS}, one for "
                "each of channels, that do not decrease"
            )
    widest = max(stage.heads) if not found and stage.heads else 1
    if not _whole(stage.head_size, MAX_CHANNELS // widest):
        found.append(f"head_size {stage.head_size} is not within 1…{MAX_CHANNELS // widest}")
    return found


def _is_sliced_with(counts: tuple[int, ...] | None, count: int) -> bool:
    if not isinstance(counts, tuple) or len(counts) != count:
        return False
    return all(_whole(number, MAX_CHANNELS) for number in counts) and list(counts) == sorted(counts)


def _whole(value: object, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= high


def _block(layout: Layout, x: Value, name: str, place: int) -> Value:
    attended = _attention(layout, layout.layer_norm(x, f"{name}.attention.norm"), f"{name}.attention", place)
    x = layout.apply("add", x, attended, name=f"{name}.attended")
    return layout.apply(
        "add", x, _mlp(layout, layout.layer_norm(x, f"{name}.mlp.norm"), f"{name}.mlp", place), name=name
    )


def _attention(layout: Layout, x: Value, name: str, place: int) -> Value:
    stage = layout.spec.stages[place]
    assert stage.heads is not None and stage.head_size is not None
    heads = tuple(stage.heads[index] * stage.head_size for index in layout.spec.statistics_at(place))
    queries, keys, values = (layout.biased(x, f"{name}.{part}", heads) for part in ("query", "key", "value"))
    return layout.biased(layout.attention(queries, keys, values, stage.head_size), f"{name}.output", x.channels)


def _mlp(layout: Layout, x: Value, name: str, place: int) -> Value:
    stage = layout.spec.stages[place]
    assert stage.hidden is not None
    hidden = tuple(stage.hidden[index] for index in layout.spec.statistics_at(place))
    return layout.biased(layout.activation(layout.biased(x, f"{name}.expand", hidden)), f"{name}.reduce", x.channels)
