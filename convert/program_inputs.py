"""What every program reads when a conversion measures or checks it: images, or what the program before it gave."""

from collections import Counter
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
    the second for the next. Outputs are kept just for as long as some program is to read them.
    """
    givers = {plan.name: [other.name for other in feeding(plans, plan)] for plan in plans}
    takes = {name: [(names[n % len(names)], n) for n in range(len(images))] for name, names in givers.items() if names}
    waiting = Counter(taken for places in takes.values() for taken in places)
    kept: dict[tuple[str, int], Named[Tensor]] = {}
    for plan in plans:
        places = takes.get(plan.name, [])
        inputs: Sequence[Named[Tensor]] = [{"features": kept[place]["features"]} for place in places]
        inputs = inputs or [{"image": image} for image in images]
        outputs = run(plan, inputs)
        yield plan, inputs, outputs
        kept |= {(plan.name, n): output for n, output in enumerate(outputs) if waiting[plan.name, n]}
        waiting.subtract(places)
        kept = {place: output for place, output in kept.items() if waiting[place]}


def run_widths(
    plans: Sequence[ProgramPlan], images: Sequence[Tensor], run: Run[Tensor]
) -> Iterator[tuple[int, Sequence[Named[Tensor]]]]:
    """Run every image at every width, what widths share once; yield the width and what its last program gives.

    Widths come in the order of their programs, so that no more is kept than what one of them runs.
    """
    ways = {width: [plan for plan in plans if width in plan.widths] for plan in plans for width in plan.widths}
    outputs: dict[tuple[str, ...], Sequence[Named[Tensor]]] = {}
    for width, way in sorted(ways.items(), key=lambda item: [plans.index(plan) for plan in item[1]]):
        names = [plan.name for plan in way]
        outputs = {done: found for done, found in outputs.items() if list(done) == names[: len(done)]}
        found: Sequence[Named[Tensor]] = []
        for length, plan in enumerate(way, start=1):
            inputs = [{"image": image} for image in images] if plan.input_name == "image" else _features(found)
            done = tuple(names[:length])
            if done not in outputs:
                outputs[done] = run(plan, inputs)
            found = outputs[done]
        yield width, found


def _features(outputs: Sequence[Named[Tensor]]) -> list[Named[Tensor]]:
    return [{"features": output["features"]} for output in outputs]
