"""Which part of the graph every program of a supernet runs, and which prefix range of which tensor it uses. No torch.

A program is one callable unit, what runs from one decision of a gate to the next: `prefix` for every image, then, at
what each gate chose, stages, and the tail that answers (`common.program_names`). Networks without a gate on the trunk
have whole slices instead. Widths share every program that their paths have in common; pairs of entries that no width
goes through have none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from common.program_names import GATE, PREFIX, trunk_programs
from common.program_names import whole_program as whole_name
from convert.errors import SliceError
from train.graph import Cut, Value
from train.layer_specs import LayerSpec
from train.spec import SupernetSpec

Role = Literal["prefix", "stage", "tail", "gate", "net"]
Extent = tuple[int, int, int]
"""(out_channels, in_channels, kernel): the range of a weight tensor that a slice uses."""


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
    def extent(self) -> Extent:
        """Return the range of the weight tensor that the slice uses."""
        return self.out_channels, self.in_channels, self.kernel


@dataclass(frozen=True)
class ProgramPlan:
    """One program: a cut of the spec's graph, and the slices of its layers."""

    role: Role
    name: str
    """The same in every runtime."""
    widths: tuple[int, ...]
    """The widths whose images run it, ascending."""
    cut: Cut
    layers: tuple[LayerSlice, ...]
    """Of the layers that have filters. The others (position, layer norm) are small: constants that the store shares."""

    @property
    def width(self) -> int:
        """Return one of its widths: all of them have the same channels in it."""
        return self.widths[0]

    @property
    def input_name(self) -> Literal["image", "features"]:
        """Return the name of its one input."""
        return "features" if self.role in ("stage", "tail") else "image"

    @property
    def output_names(self) -> tuple[str, ...]:
        """Return the names of its outputs, in the order in which its cut gives them."""
        if self.role in ("prefix", "stage"):
            return "features", "gate_logits"
        return ("gate_logits",) if self.role == "gate" else ("logits",)

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
        return 1, value.channels[self.width], value.side, value.side


def plan_programs(spec: SupernetSpec, widths: Sequence[int]) -> tuple[ProgramPlan, ...]:
    """Return the programs that serve `widths`, in an order in which they can run: heads, stages, tails or nets."""
    unknown = [width for width in widths if not 0 <= width < spec.n_widths]
    if unknown or not widths or list(widths) != sorted(set(widths)):
        raise SliceError(
            f"widths {list(widths)} are not ascending choices of 0…{spec.n_widths - 1} of {spec.name}; change --widths"
        )
    graph, decisions = spec.graph, spec.graph.decisions
    if not decisions:
        return tuple(whole_program(spec, width) for width in widths)
    first, *later = decisions
    if first.features == graph.image:
        gate = _program("gate", GATE, widths, graph.cut(graph.image, first.logits))
        return (gate, *(whole_program(spec, width) for width in widths))
    programs = [_program("prefix", PREFIX, widths, graph.cut(graph.image, first.features, first.logits))]
    ends = [*((decision.features, decision.logits) for decision in later), (graph.logits,)]
    for part, (decision, wanted) in enumerate(zip(decisions, ends, strict=True)):
        cut = graph.cut(decision.features, *wanted)
        role: Role = "stage" if part < len(later) else "tail"
        for name, users in _users(spec, widths, part + 1).items():
            programs.append(_program(role, name, users, cut))
    return tuple(programs)


def whole_program(spec: SupernetSpec, width: int) -> ProgramPlan:
    """Return one width as a single program from image to logits, without a gate."""
    return _program("net", whole_name(width), [width], spec.graph.cut(spec.graph.image, spec.graph.logits))


def feeding(programs: Sequence[ProgramPlan], program: ProgramPlan) -> tuple[ProgramPlan, ...]:
    """Return the programs whose features a program reads: for each of its widths the one before it; none for images."""
    if program.input_name == "image":
        return ()
    found: dict[str, ProgramPlan] = {}
    for width in program.widths:
        *_, before = (other for other in programs[: programs.index(program)] if width in other.widths)
        found[before.name] = before
    return tuple(found.values())


def uses_of_layers(programs: Sequence[ProgramPlan]) -> dict[str, list[LayerSlice]]:
    """Return every layer's slices in all programs, by layer name."""
    uses: dict[str, list[LayerSlice]] = {}
    for program in programs:
        for piece in program.layers:
            uses.setdefault(piece.name, []).append(piece)
    return uses


@dataclass(frozen=True)
class WeightLevels:
    """The distinct ranges in which programs use one weight tensor."""

    name: str
    extents: tuple[Extent, ...]
    """Ascending."""

    @cached_property
    def chains(self) -> tuple[tuple[Extent, ...], ...]:
        """Return the ranges in as few runs as possible in each of which every range holds the one before it.

        With one gate that is one run. Where a layer reads what one gate chose and gives what the next one did, as after
        every further gate, ranges such as (8, 16) and (16, 8) hold neither the other. (First fit in ascending order; a
        full grid of ranges needs as many runs as it has inputs, Dilworth, 1950, and gets them.)
        """
        chains: list[list[Extent]] = []
        for extent in self.extents:
            fitting = (chain for chain in chains if all(a <= b for a, b in zip(chain[-1], extent, strict=True)))
            chain = next(fitting, None)
            if chain is None:
                chains.append([extent])
            else:
                chain.append(extent)
        return tuple(map(tuple, chains))

    def place(self, extent: Extent) -> tuple[int, int]:
        """Return the number of the run that a range lies in, and its place there."""
        return next((run, chain.index(extent)) for run, chain in enumerate(self.chains) if extent in chain)

    def positions(self, kernel: int) -> list[int]:
        """Return, for the pixels of a kernel row by row, which stored position each has.

        Stored are the pixels of the narrowest kernel, row by row, then what each wider one adds: every kernel is a
        prefix, and one that is used alone is in its usual order.
        """
        kernels = sorted({side for _, _, side in self.extents})
        reach = range(-(kernel // 2), (kernel + 1) // 2)
        pixels = [(row, column) for row in reach for column in reach]
        stored = sorted(pixels, key=lambda pixel: next(k for k in kernels if max(map(abs, pixel)) <= k // 2))
        return [stored.index(pixel) for pixel in pixels]


def widest(uses: Sequence[LayerSlice]) -> LayerSlice:
    """Return the smallest slice of a layer that holds all of these; between two gates none of them need do so."""
    outputs, inputs, kernels = (max(sides) for sides in zip(*(piece.extent for piece in uses), strict=True))
    return replace(uses[0], out_channels=outputs, in_channels=inputs, kernel=kernels)


def weight_levels(programs: Sequence[ProgramPlan]) -> dict[str, WeightLevels]:
    """Return, per layer name, the ranges its weight is used in."""
    uses = uses_of_layers(programs).items()
    return {name: WeightLevels(name, tuple(sorted({piece.extent for piece in pieces}))) for name, pieces in uses}


def _users(spec: SupernetSpec, widths: Sequence[int], place: int) -> dict[str, list[int]]:
    """Return the names of the programs at a place on the paths of `widths`, and the widths that use each."""
    users: dict[str, list[int]] = {}
    for width in widths:
        users.setdefault(trunk_programs(spec.paths[width])[place], []).append(width)
    return dict(sorted(users.items()))  # numbers have leading zeros: in the order of the entries


def _program(role: Role, name: str, widths: Sequence[int], cut: Cut) -> ProgramPlan:
    pieces = tuple(_slice(layer, widths[0]) for layer in cut.layers if layer.has_filter)
    return ProgramPlan(role, name, tuple(widths), cut, pieces)


def _slice(layer: LayerSpec, width: int) -> LayerSlice:
    return LayerSlice(
        layer,
        layer.out_channels[width],
        1 if layer.kind == "depthwise" else layer.in_channels[width],
        layer.kernel_at(width),
        layer.statistics[width] if layer.statistics is not None else None,
    )
