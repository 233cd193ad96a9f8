"""What a supernet looks like, as data: frozen dataclasses, JSON in and out, no torch.

A width is an index 0 … n_widths-1 into the routing space, narrow → wide. The gate's stage and those
after it are *routed*: their `channels` have one entry per width; without a gate, so are all stages with that many.
Any other stage, and the stem, runs at `channels[0]` at every width. Training alone knows one more index,
`spec.largest`: the network with its un-routed stages widened too (the "largest" mode of DS-Net); where no stage can be
widened it is simply the last width.

Layout of one network; the family says what a block is:

    stem conv ─ stages ( block ) … ─ head, a 1×1 conv, if any ─ global average pool ─ classifier

    ds_mbv1       depthwise ─ attention ─ pointwise         (DS-Net, Li et al., CVPR 2021, section 4)
                              └ gate: shares the attention's pooled, reduced trunk
    mobilenet_v1  depthwise ─ pointwise                     (Howard et al., 2017, arXiv 1704.04861)
    mobilenet_v2  expansion ─ depthwise ─ linear pointwise  (Sandler et al., CVPR 2018), added to the block's input
                  where the stride is 1 and both have equal channels
"""

import json
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from train.errors import SpecError
from train.layer_specs import AttentionLayers, BlockSpec, LayerSpec
from train.spec_problems import BatchNormKind, Family, spec_problems

MAX_SPEC_BYTES = 1 << 20

SIDE_GATE_SHARE = 0.02
"""Most multiply-accumulates of a side gate, as a share of the narrowest width's: it runs for every image."""
SIDE_GATE_SIDES = range(4, 33)
SIDE_GATE_CHANNELS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


@dataclass(frozen=True)
class StageSpec:
    """A run of blocks with one output channel count per width."""

    channels: tuple[int, ...]
    """Output channels, narrow → wide: one entry per width (routed), or narrow and training-only wide."""
    depth: int
    """Number of blocks; the stem has one layer."""
    stride: int
    """Stride of the first block; the others have 1."""
    kernel: int = 3
    """Side of the square depthwise (stem: full) kernel, odd."""
    expansion: int = 1
    """MobileNetV2's t: what the first convolution of a block multiplies its input channels by; at 1 there is none."""
    widest: int | None = None
    """Output channels that the attention reading them is sized for; None: the last of `channels`. A network cut from a
    wider one keeps that one's."""

    def index(self, width: int, n_widths: int, routed: bool) -> int:
        """Return which entry of `channels` (and which set of batch-norm statistics) `width` uses."""
        if routed:
            return min(width, n_widths - 1)
        return 0 if width < n_widths else len(self.channels) - 1


@dataclass(frozen=True)
class GateSpec:
    """The gate on the trunk, DS-Net's slimming head: it sits on the attention of the first block of `stage`."""

    stage: int
    """Index into `SupernetSpec.stages`; this stage and all later ones are routed."""
    choices: tuple[int, ...]
    """The width that each gate logit stands for, ascending."""


@dataclass(frozen=True)
class SideGateSpec:
    """A gate beside a network that has none on its trunk: it reads the downscaled image, the network stays untouched.

    average pooling to `resolution` ─ 3×3 convolutions of stride 2 with ReLU ─ global average pool ─ logits
    """

    choices: tuple[int, ...]
    """The width that each gate logit stands for, ascending."""
    resolution: int
    """Side in pixels that the image is averaged down to, a divisor of the network's."""
    channels: tuple[int, ...]
    """Output channels of the convolutions."""


@dataclass(frozen=True)
class SupernetSpec:
    """A dynamic-width network."""

    name: str
    resolution: int
    """Side of the square input image in pixels."""
    classes: int
    stem: StageSpec
    stages: tuple[StageSpec, ...]
    gate: GateSpec | None
    activation: str = "silu"
    attention_ratio: float = 0.25
    """Reduced channels of the attention head over its widest input channels; other families have no attention."""
    dropout: float = 0.2
    """Dropout before the classifier, applied to the largest network in training only."""
    bn_epsilon: float = 1e-5
    batch_norm: BatchNormKind = "shared affine"
    """Batch norm has statistics per width. Its gamma and beta: one set that every width slices (DS-Net), or
    "switchable", one per width (S-Nets, Yu et al., ICLR 2019)."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    family: Family = "ds_mbv1"
    """What a block is, see the layouts above."""
    head: StageSpec | None = None
    """The 1×1 convolution before the pooling, of one layer; its channels have one entry, or one per width."""
    side_gate: SideGateSpec | None = None

    def __post_init__(self) -> None:
        problems = list(spec_problems(self))
        if problems:
            raise SpecError(f"spec {self.name!r} does not hold together: " + "; ".join(problems))

    @property
    def n_widths(self) -> int:
        """Return the number of widths of the routing space."""
        return max(len(stage.channels) for stage in (self.stages[self.gate.stage :] if self.gate else self.stages))

    @property
    def largest(self) -> int:
        """Return the index of the training-only largest network (the last width where no other stage widens)."""
        places = range(-1, len(self.stages))
        widens = any(len(self._at(place).channels) > 1 and not self._is_routed(place) for place in places)
        return self.n_widths if widens else self.n_widths - 1

    @property
    def choices(self) -> tuple[int, ...]:
        """Return the width that each logit of the gate, on the trunk or beside it, stands for; none without a gate."""
        gate = self.gate or self.side_gate
        return gate.choices if gate else ()

    @cached_property
    def stem_layer(self) -> LayerSpec:
        """Return the first convolution."""
        size = -(-self.resolution // self.stem.stride)
        stats = self._statistics(-1)
        return LayerSpec(
            "stem", "conv", (3,) * (self.largest + 1), self._channels(-1),
            self.stem.kernel, self.stem.stride, False, stats, size, self._switchable,
        )  # fmt: skip

    @cached_property
    def blocks(self) -> tuple[BlockSpec, ...]:
        """Return every block in the order it runs."""
        size, before, blocks = self.stem_layer.output_size, -1, []
        for number, stage in enumerate(self.stages):
            for depth in range(stage.depth):
                stride = stage.stride if depth == 0 else 1
                gated = self.gate is not None and self.gate.stage == number and depth == 0
                blocks.append(self._block(f"stages.{number}.{depth}", before, number, stride, size, gated))
                size = blocks[-1].pointwise.output_size
                before = number
        return tuple(blocks)

    @cached_property
    def head_layer(self) -> LayerSpec | None:
        """Return the 1×1 convolution before the pooling, None where there is none."""
        if self.head is None:
            return None
        place, size = len(self.stages), self.blocks[-1].pointwise.output_size
        return LayerSpec(
            "head", "conv", self._channels(place - 1), self._channels(place),
            1, 1, False, self._statistics(place), size, self._switchable,
        )  # fmt: skip

    @cached_property
    def classifier(self) -> LayerSpec:
        """Return the final linear layer."""
        last = len(self.stages) if self.head else len(self.stages) - 1
        return LayerSpec("classifier", "linear", self._channels(last), self._same(self.classes), 1, 1, True, None, 1)

    @cached_property
    def side_gate_layers(self) -> tuple[LayerSpec, ...]:
        """Return the layers of the side gate in the order they run, the one that gives the logits last; or none."""
        if self.side_gate is None:
            return ()
        size, inputs, layers = self.side_gate.resolution, 3, []
        for number, outputs in enumerate(self.side_gate.channels):
            size = -(-size // 2)
            channels = self._same(inputs), self._same(outputs)
            layers.append(LayerSpec(f"gate.convolutions.{number}", "conv", *channels, 3, 2, True, None, size))
            inputs = outputs
        choices = self._same(len(self.side_gate.choices))
        return (*layers, LayerSpec("gate.logits", "conv", self._same(inputs), choices, 1, 1, True, None, 1))

    @property
    def network_layers(self) -> tuple[LayerSpec, ...]:
        """Return every layer from the stem to the classifier in the order it runs, a gate on the trunk included."""
        head = (self.head_layer,) if self.head_layer else ()
        return (self.stem_layer, *(layer for block in self.blocks for layer in block.layers), *head, self.classifier)

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """Return every layer in the order it runs."""
        return (*self.side_gate_layers, *self.network_layers)

    @property
    def gate_block(self) -> int:
        """Return the index into `blocks` of the gate's block; prefix and tails meet inside it, after its attention."""
        return next(number for number, block in enumerate(self.blocks) if block.gate)

    def macs(self, width: int) -> int:
        """Return the multiply-accumulates of one image at `width` (gate included)."""
        return sum(layer.macs(width) for layer in self.layers)

    def params(self, width: int) -> int:
        """Return the weights at `width`, batch norm folded (gate included)."""
        return sum(layer.params(width) for layer in self.layers)

    def to_json(self) -> str:
        """Return the spec as one line of JSON; `from_json` reads it back equal."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "SupernetSpec":
        """Read a spec; anything missing, unknown or out of range is a SpecError that lists every problem."""
        try:
            return cls.from_dict(json.loads(text))
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise SpecError(f"not a supernet spec: {error}") from error

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SupernetSpec":
        """Build a spec from the dictionary that `to_json` writes; a field unknown or missing is a SpecError."""
        known = _fields(cls, values, "the spec")
        stages = known.pop("stages")
        parts = {"stem": StageSpec, "head": StageSpec, "gate": GateSpec, "side_gate": SideGateSpec}
        given = {name: known.pop(name, None) for name in parts}
        return cls(
            stages=tuple(StageSpec(**_fields(StageSpec, stage, f"stages[{i}]")) for i, stage in enumerate(stages)),
            **{name: part and parts[name](**_fields(parts[name], part, name)) for name, part in given.items()},
            **known,
        )

    def with_side_gate(self, choices: Sequence[int]) -> "SupernetSpec":
        """Return the spec with a side gate over `choices`: the largest of its kind within SIDE_GATE_SHARE.

        A network with a gate, or too small for one beside it, is a SpecError.
        """
        if self.choices:
            raise SpecError(f"spec {self.name!r} has a gate already; train that one")
        gates = [
            SideGateSpec(tuple(choices), side, (channels, 2 * channels, 4 * channels))
            for side in SIDE_GATE_SIDES
            if self.resolution % side == 0
            for channels in SIDE_GATE_CHANNELS
        ]
        budget = (1 + SIDE_GATE_SHARE) * self.macs(0)
        fitting = [gated for gate in gates if (gated := replace(self, side_gate=gate)).macs(0) <= budget]
        if not fitting:
            sides = f"{SIDE_GATE_SIDES[0]}…{SIDE_GATE_SIDES[-1]}"
            raise SpecError(
                f"spec {self.name!r} has {self.resolution} pixels and, at its narrowest, {self.macs(0)} "
                f"multiply-accumulates: no side gate of at most {SIDE_GATE_SHARE:.0%} of these reads an image of "
                f"{sides} pixels that divide those; give a larger network"
            )
        return max(fitting, key=lambda gated: gated.macs(0))

    def restricted_to(self, widths: Sequence[int]) -> "SupernetSpec":
        """Return the spec of these widths alone, ascending, without gate and without training-only channels.

        Index i of the new spec costs what `widths[i]` costs here, less the gate. One width gives an ordinary static
        network. Widths that are none, unknown or out of order are a SpecError.
        """
        if not widths or list(widths) != sorted(set(widths) & set(range(self.n_widths))):
            raise SpecError(
                f"widths {list(widths)} are not ascending choices of 0…{self.n_widths - 1} of spec {self.name!r}; "
                "name one or more of these"
            )
        restricted = replace(
            self,
            name=f"{self.name}_w{'_'.join(str(width) for width in widths)}",
            stem=self._restricted(-1, widths),
            stages=tuple(self._restricted(place, widths) for place in range(len(self.stages))),
            head=self._restricted(len(self.stages), widths) if self.head else None,
            gate=None,
            side_gate=None,
        )
        pairs = zip(self.blocks, restricted.blocks, strict=True)
        if adding := [block.name for block, alone in pairs if block.residual != alone.residual]:
            raise SpecError(
                f"widths {list(widths)} of spec {self.name!r} have equal channels before and after "
                f"{', '.join(adding)}, which wider ones have not: alone they would add there; name other widths"
            )
        return restricted

    def _restricted(self, place: int, widths: Sequence[int]) -> StageSpec:
        stage = self._at(place)
        indices = widths if self._is_routed(place) else (0,)
        channels = tuple(stage.channels[index] for index in indices)
        return replace(stage, channels=channels, widest=stage.widest or stage.channels[-1])

    @property
    def _switchable(self) -> bool:
        return self.batch_norm == "switchable"

    def _same(self, channels: int) -> tuple[int, ...]:
        """Return a channel count that is the same at every index."""
        return (channels,) * (self.largest + 1)

    def _at(self, place: int) -> StageSpec:
        """Return the stage at an index into `stages`; the stem's place is -1, the head's the one after the last."""
        if place == len(self.stages):
            assert self.head is not None
            return self.head
        return self.stem if place < 0 else self.stages[place]

    def _channels(self, place: int) -> tuple[int, ...]:
        return tuple(self._at(place).channels[index] for index in self._statistics(place))

    def _statistics(self, place: int) -> tuple[int, ...]:
        stage, routed = self._at(place), self._is_routed(place)
        return tuple(stage.index(width, self.n_widths, routed) for width in range(self.largest + 1))

    def _is_routed(self, place: int) -> bool:
        """Return whether a stage has one channel count per width: with a gate, the gate's stage and those after it."""
        if self.gate is not None and place < len(self.stages):
            return place >= self.gate.stage
        return len(self._at(place).channels) == self.n_widths

    def _block(self, name: str, before: int, place: int, stride: int, size: int, gated: bool) -> BlockSpec:
        """Return one block; size: the side of its input in pixels."""
        stage, inverted = self._at(place), self.family == "mobilenet_v2"
        wide_in, wide_out, smaller = self._channels(before), self._channels(place), -(-size // stride)
        inner = tuple(stage.expansion * channels for channels in wide_in)
        expansion = LayerSpec(
            f"{name}.expansion", "conv", wide_in, inner, 1, 1, False, self._statistics(before), size, self._switchable
        )
        return BlockSpec(
            name=name,
            expansion=expansion if stage.expansion > 1 else None,
            depthwise=LayerSpec(
                f"{name}.depthwise", "depthwise", inner, inner,
                stage.kernel, stride, False, self._statistics(before), smaller, self._switchable,
            ),
            attention=self._attention(name, before, gated) if self.family == "ds_mbv1" else None,
            pointwise=LayerSpec(
                f"{name}.pointwise", "conv", inner, wide_out,
                1, 1, False, self._statistics(place), smaller, self._switchable,
            ),
            linear=inverted,
            residual=inverted and stride == 1 and wide_in == wide_out,
        )  # fmt: skip

    def _attention(self, name: str, before: int, gated: bool) -> AttentionLayers:
        channels = self._channels(before)
        widest = self._at(before).widest or self._at(before).channels[-1]
        reduced = self._same(max(1, int(widest * self.attention_ratio + 0.5)))
        return AttentionLayers(
            reduce=LayerSpec(f"{name}.attention.reduce", "conv", channels, reduced, 1, 1, True, None, 1),
            expand=LayerSpec(f"{name}.attention.expand", "conv", reduced, channels, 1, 1, True, None, 1),
            gate=LayerSpec("gate", "conv", reduced, self._same(len(self.choices)), 1, 1, False, None, 1)
            if gated
            else None,
        )


def spec_names() -> list[str]:
    """Return the names of the specs that ship with the package."""
    folder = resources.files("train") / "specs"
    return sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))


def load_spec(name_or_path: str) -> SupernetSpec:
    """Return a shipped spec by name, or one read from a path ending in .json."""
    if name_or_path.endswith(".json"):
        path = Path(name_or_path)
        if not path.is_file():
            names = ", ".join(spec_names())
            raise SpecError(f"no spec file at {name_or_path}; give a shipped name ({names}) or a .json path")
        if path.stat().st_size > MAX_SPEC_BYTES:
            raise SpecError(f"{name_or_path} has {path.stat().st_size} bytes; a spec has at most {MAX_SPEC_BYTES}")
        return SupernetSpec.from_json(path.read_text(encoding="utf-8", errors="replace"))
    if name_or_path not in spec_names():
        raise SpecError(f"unknown spec {name_or_path!r}; valid: {', '.join(spec_names())}, or the path of a .json file")
    return SupernetSpec.from_json((resources.files("train") / "specs" / f"{name_or_path}.json").read_text())


def _fields(kind: type[SupernetSpec | StageSpec | GateSpec | SideGateSpec], values: Any, place: str) -> dict[str, Any]:
    """Return a JSON object as the keyword arguments of `kind`; one that does not fit is a SpecError."""
    if not isinstance(values, dict):
        raise SpecError(f"not a supernet spec: {place} is {values!r:.60}, valid: a JSON object")
    valid = {field.name: field.default is MISSING for field in fields(kind)}
    unknown = ", ".join(repr(name) for name in values if name not in valid)
    missing = ", ".join(repr(name) for name, required in valid.items() if required and name not in values)
    problems = [
        f"{what} field {names:.200} in {place}" for what, names in (("unknown", unknown), ("missing", missing)) if names
    ]
    if problems:
        raise SpecError(f"not a supernet spec: {'; '.join(problems)}; valid: {', '.join(valid)}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
