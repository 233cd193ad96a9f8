"""What every program reads when a conversion measures or checks it: images, or what the program before it gave."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from convert.slice_plan import ProgramPlan, feeding

Tensor = TypeVar("Tensor")
Named = Mapping[str, Tensor]
"""The inputs or outputs of one run, by name."""
Run = Callable[[ProgramPlan, Sequence[Named[Tensor]]], Sequence[Named[Tensor]]]
"""A program and its inputs, one per image → its outputs, one per image."""


def run_in_order(
    plans: Sequence[ProgramPlan], images: Sequence[Tensor], run: Run[Tensor]
) -> Iterator[tuple[ProgramPlan, Sequence[Named[Tensor]], Sequence[Named[Tensor]]]]:
    """Run every program on as many inputs as there are images; yield it, its inputs and its outputs.

    Where several programs give what one reads, it gets features of all of them in turn: of the first for one image, of
    the second for the next.
    """
    outputs: dict[str, Sequence[Named[Tensor]]] = {}
    for plan in plans:
        before = [outputs[other.name] for other in feeding(plans, plan)]
        inputs: Sequence[Named[Tensor]]
        if before:
            inputs = [{"features": before[n % len(before)][n]["features"]} for n in range(len(images))]
        else:
            inputs = [{"image": image} for image in images]
        outputs[plan.name] = run(plan, inputs)
        yield plan, inputs, outputs[plan.name]


def run_widths(
    plans: Sequence[ProgramPlan], images: Sequence[Tensor], run: Run[Tensor]
) -> Iterator[tuple[int, Sequence[Named[Tensor]]]]:
    """Run every image at every width, what widths share once; yield the width and what its last program gives."""
    outputs: dict[tuple[str, ...], Sequence[Named[Tensor]]] = {}
    for width in sorted({width for plan in plans for width in plan.widths}):
        names: tuple[str, ...] = ()
        found: Sequence[Named[Tensor]] = []
        for plan in (plan for plan in plans if width in plan.widths):
            inputs = [{"image": image} for image in images] if plan.input_name == "image" else _features(found)
            names = (*names, plan.name)
            if names not in outputs:
                outputs[names] = run(plan, inputs)
            found = outputs[names]
        yield width, found


def _features(outputs: Sequence[Named[Tensor]]) -> list[Named[Tensor]]:
    return [{"features": output["features"]} for output in outputs]
