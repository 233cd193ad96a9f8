"""Which part of the graph every program of a supernet runs, and which prefix range of which tensor it uses. No torch.

A program is one callable unit: `prefix` runs for every image, `tail_NN` continues from its features at width NN
(networks without a gate on the trunk have `net_NN` instead: the whole slice; a side gate is the program `gate`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from convert.errors import SliceError
from train.graph import Cut, Value
from train.layer_specs import LayerSpec
from train.spec import SupernetSpec

Role = Literal["prefix", "tail", "gate", "net"]


@dataclass(frozen=True)
class LayerSlice:
    """One layer at one width: weight[:out_channels, :in_channels], of sliced kernels the centre, and one set of
    batch-norm statistics."""

    layer: LayerSpec
    out_channels: int
    in_channels: int
    """Input channels of the weight tensor's range: 1 for a depthwise layer."""
    kernel: int
    """Side of the square kernel."""
    statistics: int | None
    """Index of the batch-norm statistics; None where the layer has no batch norm."""
    after: str | None = None
    """Name of the layer that this one belongs to and directly follows, where it is none of the network's own."""

    @property
    def name(self) -> str:
        """Return the layer's name, the prefix of its tensors in the checkpoint."""
        return self.layer.name

    @property
    def extent(self) -> tuple[int, int, int]:
        """Return (out_channels, in_channels, kernel): the range of the weight tensor that the slice uses."""
        return self.out_channels, self.in_channels, self.kernel


@dataclass(frozen=True)
class ProgramPlan:
    """One program: a cut of the spec's graph, and the slices of its layers."""

    role: Role
    width: int | None
    cut: Cut
    layers: tuple[LayerSlice, ...]
    """Of the layers that have filters. The others (position, layer norm) are small: constants that the store shares."""

    @property
    def name(self) -> str:
        """Return the program's name, the same in every runtime."""
        return self.role if self.width is None else f"{self.role}_{self.width:02d}"

    @property
    def attends(self) -> bool:
        """Return whether tokens meet in it, as in a transformer: shapes then depend on the width in their own ways."""
        return any(step.node.op in ("attention", "layer_norm") for step in self.cut.steps)

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Return the shape of its one input, NCHW, batch 1."""
        return self.shape_of(self.cut.given)

    def shape_of(self, value: Value) -> tuple[int, int, int, int]:
        """Return the shape of one of its values, NCHW, batch 1."""
        return 1, value.channels[self.width or 0], value.side, value.side


def plan_programs(spec: SupernetSpec, widths: Sequence[int]) -> tuple[ProgramPlan, ...]:
    """Return the programs that serve `widths`: prefix and one tail per width, or side gate, if any, and nets."""
    unknown = [width for width in widths if not 0 <= width < spec.n_widths]
    if unknown or not widths or list(widths) != sorted(set(widths)):
        raise SliceError(
            f"widths {list(widths)} are not ascending choices of 0…{spec.n_widths - 1} of {spec.name}; change --widths"
        )
    graph, decision = spec.graph, spec.graph.decision
    if decision is None:
        return tuple(whole_program(spec, width) for width in widths)
    if decision.features == graph.image:
        gate = _program("gate", None, graph.cut(graph.image, decision.logits))
        return (gate, *(whole_program(spec, width) for width in widths))
    prefix = graph.cut(graph.image, decision.features, decision.logits)
    tail = graph.cut(decision.features, graph.logits)
    return (_program("prefix", None, prefix), *(_program("tail", width, tail) for width in widths))


def whole_program(spec: SupernetSpec, width: int) -> ProgramPlan:
    """Return one width as a single program from image to logits, without a gate."""
    return _program("net", width, spec.graph.cut(spec.graph.image, spec.graph.logits))


def uses_of_layers(programs: Sequence[ProgramPlan]) -> dict[str, list[LayerSlice]]:
    """Return every layer's slices in all programs, by layer name."""
    uses: dict[str, list[LayerSlice]] = {}
    for program in programs:
        for piece in program.layers:
            uses.setdefault(piece.name, []).append(piece)
    return uses


@dataclass(frozen=True)
class WeightLevels:
    """The distinct ranges in which programs use one weight tensor, narrow → wide."""

    name: str
    out_channels: tuple[int, ...]
    in_channels: tuple[int, ...]
    kernels: tuple[int, ...]
    """Sides of the square kernels: a smaller one is the centre of a larger one."""

    def index(self, piece: LayerSlice) -> int:
        """Return the level of a slice."""
        return list(zip(self.out_channels, self.in_channels, self.kernels, strict=True)).index(piece.extent)

    def positions(self, kernel: int) -> list[int]:
        """Return, for the pixels of a kernel row by row, which stored position each has.

        Stored are the pixels of the narrowest kernel, row by row, then what each wider one adds: every kernel is a
        prefix, and one that is used alone is in its usual order.
        """
        reach = range(-(kernel // 2), (kernel + 1) // 2)
        pixels = [(row, column) for row in reach for column in reach]
        stored = sorted(pixels, key=lambda pixel: next(k for k in self.kernels if max(map(abs, pixel)) <= k // 2))
        return [stored.index(pixel) for pixel in pixels]


def widest(uses: Sequence[LayerSlice]) -> LayerSlice:
    """Return the slice of a layer that holds all others."""
    return max(uses, key=lambda piece: piece.extent)


def weight_levels(programs: Sequence[ProgramPlan]) -> dict[str, WeightLevels]:
    """Return, per layer name, the ranges its weight is used in; each must contain the one before it.

    A SliceError names a layer whose ranges are not nested.
    """
    levels = {}
    for name, pieces in uses_of_layers(programs).items():
        used = sorted({piece.extent for piece in pieces})
        outs, ins, kernels = zip(*used, strict=True)
        if list(ins) != sorted(ins) or list(kernels) != sorted(kernels):
            raise SliceError(f"layer {name}: ranges {used} are not nested; every width must contain the narrower ones")
        levels[name] = WeightLevels(name, outs, ins, kernels)
    return levels


def _program(role: Role, width: int | None, cut: Cut) -> ProgramPlan:
    pieces = tuple(_slice(layer, width or 0) for layer in cut.layers if layer.has_filter)
    return ProgramPlan(role, width, cut, pieces)


def _slice(layer: LayerSpec, width: int) -> LayerSlice:
    return LayerSlice(
        layer,
        layer.out_channels[width],
        1 if layer.kind == "depthwise" else layer.in_channels[width],
        layer.kernel_at(width),
        layer.statistics[width] if layer.statistics is not None else None,
    )
