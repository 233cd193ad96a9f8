"""What a supernet looks like, as data: frozen dataclasses, JSON in and out, no torch.

A width is an index 0 … n_widths-1 into the routing space, narrow → wide. The gate's stage and those
after it are *routed*: their `channels` have one entry per width; without a gate, so are all stages with that many.
Any other stage, and the stem, runs at `channels[0]` at every width. Training alone knows one more index,
`spec.largest`: the network with its un-routed stages widened too (the "largest" mode of DS-Net); where no stage can be
widened it is simply the last width.

With several gates, each decides for its part, the stages up to the next gate's; a width then stands for a path: which
entry of its `channels` every part runs at (`SupernetSpec.paths`). How the layers follow one another is laid out as a
graph by the spec's family (`train.families`).
"""

import json
import pathlib
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import cached_property
from importlib import resources
from typing import Any

from train.errors import SpecError
from train.families import FAMILIES
from train.graph import Activation, Graph
from train.layer_specs import LayerSpec
from train.paths import Path, all_paths, nested
from train.spec_problems import BatchNormKind, spec_problems

MAX_SPEC_BYTES = 1 << 20

NEWER_FIELDS = ("kernels", "heads", "head_size", "hidden", "widens")
"""Fields of stages that are written only where they are used."""

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
    """Side of the square depthwise (stem: full) kernel, odd; a transformer's stem: side of a patch, and the stride."""
    expansion: int = 1
    """MobileNetV2's t: what the first convolution of a block multiplies its input channels by; at 1 there is none."""
    widest: int | None = None
    """Output channels that the attention reading them is sized for; None: the last of `channels`. A network cut from a
    wider one keeps that one's."""
    kernels: tuple[int, ...] | None = None
    """Sides of the depthwise kernels of all blocks but the first, ascending, one per width; a smaller one is the centre
    of the larger ones. None: `kernel` at every width. The first block may run before the gate and has `kernel`."""
    heads: tuple[int, ...] | None = None
    """A transformer's attention heads, not decreasing, one count for each of `channels`, which are its embedding."""
    head_size: int | None = None
    """Channels of a head, the same at every width."""
    hidden: tuple[int, ...] | None = None
    """Hidden channels of a transformer's MLPs, not decreasing, one count for each of `channels`."""
    widens: bool = False
    """Whether a transformer's stage begins with a linear layer, so that its embedding may differ from what comes in."""


@dataclass(frozen=True)
class GateSpec:
    """A gate on the trunk: DS-Net's slimming head on the attention of the first block of `stage`; in a ResNet or a
    transformer, which have no such attention, a small head on the input of `stage`."""

    stage: int
    """Index into `SupernetSpec.stages`; this stage and all later ones, up to the next gate's, are routed by it."""
    choices: tuple[int, ...]
    """The entry of its part's `channels` that each gate logit stands for, ascending: with one gate, the width."""
    reach: int | None = None
    """How many places its part may lie from the entry that the part before runs at; None: any number."""


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
    gates: tuple[GateSpec, ...]
    """Gates on the trunk, in the order in which they decide."""
    activation: Activation = "silu"
    attention_ratio: float = 0.25
    """Reduced channels of the attention head over its widest input channels; in other families, of the gate's."""
    dropout: float = 0.2
    """Dropout before the classifier, applied to the largest network in training only."""
    bn_epsilon: float = 1e-5
    batch_norm: BatchNormKind = "shared affine"
    """Batch norm has statistics per width. Its gamma and beta: one set that every width slices (DS-Net), or
    "switchable", one per width (S-Nets, Yu et al., ICLR 2019)."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    family: str = "ds_mbv1"
    """What a block is: one of `train.families`."""
    head: StageSpec | None = None
    """The 1×1 convolution before the pooling, of one layer; its channels have one entry, or one per width."""
    side_gate: SideGateSpec | None = None
    stem_pool: bool = False
    """Whether the stem ends with a 3×3 max pool of stride 2, as a ResNet's for large images does."""

    def __post_init__(self) -> None:
        problems = list(spec_problems(self))
        if problems:
            raise SpecError(f"spec {self.name!r} does not hold together: " + "; ".join(problems))

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """Return for every width the entry of `channels` that each part of the network runs at (`train.paths`).

        There is one part per gate, or just one without gates on the trunk, where widths and entries are the same.
        """
        return all_paths(self.part_counts, [gate.reach for gate in self.gates[1:]])

    def width_through(self, path: Path) -> int:
        """Return the first width whose path begins with `path`; up to there all such widths run the same."""
        return next(width for width, found in enumerate(self.paths) if found[: len(path)] == path)

    def choices_after(self, path: Path) -> list[int]:
        """Return the entries that the gate after `path` chooses between: those of its choices that are in reach."""
        entries = {found[len(path)] for found in self.paths if found[: len(path)] == path}
        return [entry for entry in self.choices[len(path)] if entry in entries]

    @property
    def part_counts(self) -> tuple[int, ...]:
        """Return how many channel counts the stages of each part have."""
        if not self.gates:
            return (max(len(stage.channels) for stage in self.stages),)
        return tuple(len(self.stages[gate.stage].channels) for gate in self.gates)

    @property
    def n_widths(self) -> int:
        """Return the number of widths of the routing space."""
        return len(self.paths)

    @property
    def largest(self) -> int:
        """Return the index of the training-only largest network (the last width where no other stage widens)."""
        places = range(-1, len(self.stages))
        widens = any(len(self.stage_at(place).channels) > 1 and not self.is_routed(place) for place in places)
        return self.n_widths if widens else self.n_widths - 1

    @property
    def choices(self) -> tuple[tuple[int, ...], ...]:
        """Return, for every gate, on the trunk or beside it, the entry of its part that each logit stands for."""
        gates = (self.side_gate,) if self.side_gate else self.gates
        return tuple(gate.choices for gate in gates)

    @cached_property
    def graph(self) -> Graph:
        """Return the whole network, gate included, as its family lays it out."""
        return FAMILIES[self.family].lay_out(self)

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """Return every layer in the graph's order."""
        return self.graph.layers

    def block_channels(self, width: int) -> list[int]:
        """Return the output channels of the stem and of every block at `width`."""
        depths = (1, *(stage.depth for stage in self.stages))
        return [self.channels_at(place)[width] for place, depth in enumerate(depths, start=-1) for _ in range(depth)]

    def macs(self, width: int) -> int:
        """Return the multiply-accumulates of one image at `width` (gate included)."""
        return sum(node.macs(width) for node in self.graph.nodes)

    def params(self, width: int) -> int:
        """Return the weights at `width`, batch norm folded (gate included)."""
        return sum(layer.params(width) for layer in self.layers)

    def to_json(self) -> str:
        """Return the spec as one line of JSON; `from_json` reads it back equal."""
        return json.dumps(self.to_dict(), separators=(",", ":"))

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain data; `from_dict` reads it back equal."""
        values = dict(_written(name, value) for name, value in asdict(self).items())
        if not self.stem_pool:  # as written before there was one
            del values["stem_pool"]
        for stage in (values["stem"], values["head"] or {}, *values["stages"]):
            for field in NEWER_FIELDS:  # as written before there were any
                if not stage.get(field):
                    stage.pop(field, None)
        return values

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
        known = _fields(cls, _with_gates(values), "the spec")
        stages, gates = known.pop("stages"), known.pop("gates")
        parts = {"stem": StageSpec, "head": StageSpec, "side_gate": SideGateSpec}
        given = {name: known.pop(name, None) for name in parts}
        return cls(
            stages=tuple(StageSpec(**_fields(StageSpec, stage, f"stages[{i}]")) for i, stage in enumerate(stages)),
            gates=tuple(GateSpec(**_fields(GateSpec, gate, f"gates[{i}]")) for i, gate in enumerate(gates)),
            **{name: part and parts[name](**_fields(parts[name], part, name)) for name, part in given.items()},
            **known,
        )

    def with_side_gate(self, choices: Sequence[int]) -> "SupernetSpec":
        """Return the spec with a side gate over `choices`: the largest of its kind within SIDE_GATE_SHARE.

        A network with gates, or too small for one beside it, is a SpecError.
        """
        if self.choices:
            raise SpecError(f"spec {self.name!r} has {len(self.choices)} gate(s) already; train those")
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
        known = list(widths) == sorted(set(widths) & set(range(self.n_widths)))
        if not widths or not known or not nested([self.paths[width] for width in widths]):
            raise SpecError(
                f"widths {list(widths)} are not ascending choices of 0…{self.n_widths - 1} of spec {self.name!r}, "
                "each within the next; name one or more of these"
            )
        restricted = replace(
            self,
            name=f"{self.name}_w{'_'.join(str(width) for width in widths)}",
            stem=self._restricted(-1, widths),
            stages=tuple(self._restricted(place, widths) for place in range(len(self.stages))),
            head=self._restricted(len(self.stages), widths) if self.head else None,
            gates=(),
            side_gate=None,
        )
        if adding := [name for name in _adds(restricted.graph) if name not in _adds(self.graph)]:
            raise SpecError(
                f"widths {list(widths)} of spec {self.name!r} have equal channels before and after "
                f"{', '.join(adding)}, which wider ones have not: alone they would add there; name other widths"
            )
        return restricted

    def _restricted(self, place: int, widths: Sequence[int]) -> StageSpec:
        stage = self.stage_at(place)
        entries = self.statistics_at(place)
        indices = [entries[width] for width in widths] if self.is_routed(place) else [0]

        def of_widths(counts: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(counts[index] for index in indices)

        return replace(
            stage,
            channels=of_widths(stage.channels),
            widest=stage.widest or stage.channels[-1],
            kernels=stage.kernels and of_widths(stage.kernels),
            heads=stage.heads and of_widths(stage.heads),
            hidden=stage.hidden and of_widths(stage.hidden),
        )

    def same(self, channels: int) -> tuple[int, ...]:
        """Return a channel count that is the same at every index."""
        return (channels,) * (self.largest + 1)

    def stage_at(self, place: int) -> StageSpec:
        """Return the stage at an index into `stages`; the stem's place is -1, the head's the one after the last."""
        if place == len(self.stages):
            assert self.head is not None
            return self.head
        return self.stem if place < 0 else self.stages[place]

    def channels_at(self, place: int) -> tuple[int, ...]:
        """Return the output channels of the stage at a place, one count for every index 0 … largest."""
        return tuple(self.stage_at(place).channels[index] for index in self.statistics_at(place))

    def statistics_at(self, place: int) -> tuple[int, ...]:
        """Return which entry of its `channels`, and set of statistics, the stage at a place uses at 0 … largest."""
        part, wide = self.part_at(place), len(self.stage_at(place).channels) - 1
        entries = [0 if part is None else path[part] for path in self.paths]
        return (*entries, wide)[: self.largest + 1]

    def part_at(self, place: int) -> int | None:
        """Return to which part of the network, and so to which entry of a path, a routed stage belongs; else None.

        With gates, a stage belongs to the last gate at or before it. Elsewhere, and at the head, what belongs has as
        many channel counts as the last part.
        """
        if self.gates and place < len(self.stages):
            deciding = [part for part, gate in enumerate(self.gates) if gate.stage <= place]
            return deciding[-1] if deciding else None
        counts = self.part_counts
        return len(counts) - 1 if len(self.stage_at(place).channels) == counts[-1] else None

    def is_routed(self, place: int) -> bool:
        """Return whether a stage has one channel count per entry of a part: with gates, all from the first gate on."""
        return self.part_at(place) is not None

    def gate_at(self, place: int) -> int | None:
        """Return the number of the gate of the stage at a place; None where it has none."""
        return next((number for number, gate in enumerate(self.gates) if gate.stage == place), None)


def spec_names() -> list[str]:
    """Return the names of the specs that ship with the package."""
    folder = resources.files("train") / "specs"
    return sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))


def load_spec(name_or_path: str) -> SupernetSpec:
    """Return a shipped spec by name, or one read from a path ending in .json."""
    if name_or_path.endswith(".json"):
        path = pathlib.Path(name_or_path)
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


def _with_gates(values: Any) -> Any:
    """Return the fields of a spec with `gates`, where it was written with its one `gate`, or none."""
    if not isinstance(values, dict) or "gate" not in values or "gates" in values:
        return values
    gates = [] if values["gate"] is None else [values["gate"]]
    return {("gates" if name == "gate" else name): gates if name == "gate" else value for name, value in values.items()}


def _written(name: str, value: Any) -> tuple[str, Any]:
    """Return a field as it is written: gates as before there were several, where that says all."""
    if name != "gates":
        return name, value
    gates = [{key: item for key, item in gate.items() if key != "reach" or item is not None} for gate in value]
    return ("gates", gates) if len(gates) > 1 else ("gate", next(iter(gates), None))


def _adds(graph: Graph) -> list[str]:
    return [node.output.name for node in graph.nodes if node.op == "add"]
