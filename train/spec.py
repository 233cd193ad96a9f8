"""What a supernet looks like, as data: frozen dataclasses, JSON in and out, no torch.

A width is an index 0 … n_widths-1 into the routing space, narrow → wide. The gate's stage and those
after it are *routed*: their `channels` have one entry per width; without a gate, so are all stages with that many.
Any other stage, and the stem, runs at `channels[0]` at every width. Training alone knows one more index,
`spec.largest`: the network with its un-routed stages widened too (the "largest" mode of DS-Net); where no stage can be
widened it is simply the last width.

Layout of one network (DS-Net, Li et al., CVPR 2021, section 4; block: MobileNetV1 with attention in every block):

    stem conv ─ stages ( depthwise ─ attention ─ pointwise ) … ─ global average pool ─ classifier
                                     └ gate: shares the attention's pooled, reduced trunk
"""

import json
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from train.errors import SpecError
from train.spec_problems import BatchNormKind, spec_problems

MAX_SPEC_BYTES = 1 << 20

LayerKind = Literal["conv", "depthwise", "linear"]


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
    """The slimming head: it sits on the attention trunk of the first block of `stage`."""

    stage: int
    """Index into `SupernetSpec.stages`; this stage and all later ones are routed."""
    choices: tuple[int, ...]
    """The width that each gate logit stands for, ascending."""


@dataclass(frozen=True)
class LayerSpec:
    """One parametrised layer. Channel counts are given for every index 0 … largest."""

    name: str
    """Prefix of its tensors in the state dict: NAME.weight, NAME.bias; its batch norm's are NAME_bn.*"""
    kind: LayerKind
    in_channels: tuple[int, ...]
    out_channels: tuple[int, ...]
    kernel: int
    stride: int
    bias: bool
    statistics: tuple[int, ...] | None
    """Batch-norm statistics index per width index; None for a layer without batch norm."""
    output_size: int
    """Side of the square output in pixels."""
    switchable: bool = False
    """Whether every set of batch-norm statistics has an affine of its own."""

    def batch_norm_affine(self, statistics: int) -> str:
        """Return the prefix of the gamma and beta that go with a set of statistics: PREFIX.weight, PREFIX.bias."""
        return f"{self.name}_bn.statistics.{statistics}" if self.switchable else f"{self.name}_bn"

    def macs(self, width: int) -> int:
        """Return the multiply-accumulates of this layer at `width`."""
        inputs = 1 if self.kind == "depthwise" else self.in_channels[width]
        return self.out_channels[width] * inputs * self.kernel**2 * self.output_size**2

    def params(self, width: int) -> int:
        """Return the weights of this layer at `width`, batch norm folded (one bias per output channel)."""
        inputs = 1 if self.kind == "depthwise" else self.in_channels[width]
        has_bias = self.bias or self.statistics is not None
        return self.out_channels[width] * (inputs * self.kernel**2 + has_bias)


@dataclass(frozen=True)
class BlockSpec:
    """depthwise → attention → pointwise; `gate` is the slimming head, in the gate's block alone."""

    name: str
    depthwise: LayerSpec
    reduce: LayerSpec
    expand: LayerSpec
    pointwise: LayerSpec
    gate: LayerSpec | None

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """Return the block's layers in the order they run."""
        head = (self.gate,) if self.gate else ()
        return (self.depthwise, self.reduce, *head, self.expand, self.pointwise)


@dataclass(frozen=True)
class SupernetSpec:
    """A dynamic-width network of the `ds_mbv1` family."""

    name: str
    resolution: int
    """Side of the square input image in pixels."""
    classes: int
    stem: StageSpec
    stages: tuple[StageSpec, ...]
    gate: GateSpec | None
    activation: str = "silu"
    attention_ratio: float = 0.25
    """Reduced channels of the attention head over its widest input channels."""
    dropout: float = 0.2
    """Dropout before the classifier, applied to the largest network in training only."""
    bn_epsilon: float = 1e-5
    batch_norm: BatchNormKind = "shared affine"
    """Batch norm has statistics per width. Its gamma and beta: one set that every width slices (DS-Net), or
    "switchable", one per width (S-Nets, Yu et al., ICLR 2019)."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    family: str = "ds_mbv1"

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
                size = -(-size // stride)
                gated = self.gate is not None and self.gate.stage == number and depth == 0
                blocks.append(self._block(f"stages.{number}.{depth}", before, number, stride, size, gated))
                before = number
        return tuple(blocks)

    @cached_property
    def classifier(self) -> LayerSpec:
        """Return the final linear layer."""
        classes = (self.classes,) * (self.largest + 1)
        return LayerSpec("classifier", "linear", self._channels(len(self.stages) - 1), classes, 1, 1, True, None, 1)

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """Return every layer in the order it runs."""
        return (self.stem_layer, *(layer for block in self.blocks for layer in block.layers), self.classifier)

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
        stem, stages, gate = known.pop("stem"), known.pop("stages"), known.pop("gate")
        return cls(
            stem=StageSpec(**_fields(StageSpec, stem, "stem")),
            stages=tuple(StageSpec(**_fields(StageSpec, stage, f"stages[{i}]")) for i, stage in enumerate(stages)),
            gate=None if gate is None else GateSpec(**_fields(GateSpec, gate, "gate")),
            **known,
        )

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
        return replace(
            self,
            name=f"{self.name}_w{'_'.join(str(width) for width in widths)}",
            stem=self._restricted(-1, widths),
            stages=tuple(self._restricted(place, widths) for place in range(len(self.stages))),
            gate=None,
        )

    def _restricted(self, place: int, widths: Sequence[int]) -> StageSpec:
        stage = self._at(place)
        indices = widths if self._is_routed(place) else (0,)
        channels = tuple(stage.channels[index] for index in indices)
        return replace(stage, channels=channels, widest=stage.widest or stage.channels[-1])

    @property
    def _switchable(self) -> bool:
        return self.batch_norm == "switchable"

    def _at(self, place: int) -> StageSpec:
        """Return the stage at an index into `stages`; the stem's place is -1."""
        return self.stem if place < 0 else self.stages[place]

    def _channels(self, place: int) -> tuple[int, ...]:
        return tuple(self._at(place).channels[index] for index in self._statistics(place))

    def _statistics(self, place: int) -> tuple[int, ...]:
        stage, routed = self._at(place), self._is_routed(place)
        return tuple(stage.index(width, self.n_widths, routed) for width in range(self.largest + 1))

    def _is_routed(self, place: int) -> bool:
        """Return whether a stage has one channel count per width: with a gate, the gate's stage and those after it."""
        if self.gate is not None:
            return place >= self.gate.stage
        return len(self._at(place).channels) == self.n_widths

    def _block(self, name: str, before: int, place: int, stride: int, size: int, gated: bool) -> BlockSpec:
        wide_in, wide_out = self._channels(before), self._channels(place)
        widest = self._at(before).widest or self._at(before).channels[-1]
        reduced = (max(1, int(widest * self.attention_ratio + 0.5)),) * (self.largest + 1)
        choices = (len(self.gate.choices),) * (self.largest + 1) if self.gate and gated else None
        return BlockSpec(
            name=name,
            depthwise=LayerSpec(
                f"{name}.depthwise", "depthwise", wide_in, wide_in,
                self._at(place).kernel, stride, False, self._statistics(before), size, self._switchable,
            ),
            reduce=LayerSpec(f"{name}.attention.reduce", "conv", wide_in, reduced, 1, 1, True, None, 1),
            expand=LayerSpec(f"{name}.attention.expand", "conv", reduced, wide_in, 1, 1, True, None, 1),
            pointwise=LayerSpec(
                f"{name}.pointwise", "conv", wide_in, wide_out,
                1, 1, False, self._statistics(place), size, self._switchable,
            ),
            gate=LayerSpec("gate", "conv", reduced, choices, 1, 1, False, None, 1) if choices else None,
        )  # fmt: skip


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


def _fields(kind: type[SupernetSpec | StageSpec | GateSpec], values: Any, place: str) -> dict[str, Any]:
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
