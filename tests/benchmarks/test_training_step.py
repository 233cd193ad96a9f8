from dataclasses import replace

from benchmarks.training_step import Task, compare_gradients, implementations, measure_time
from tests.train.networks import MICRO, MICRO_STAGE

TASK = Task(MICRO, replace(MICRO_STAGE, batch_size=16), MICRO.resolution)


def test_the_step_that_ours_is_compared_with_has_the_same_gradients() -> None:
    """Rounding, 6e-8 relative, passes through some ten layers of batch norm over few values: room for 10⁴ of it."""
    found = compare_gradients(TASK)
    assert max(found.values()) < 6e-4, found


def test_every_implementation_takes_the_same_steps_in_turn() -> None:
    entries = measure_time(TASK, implementations("bf16-mixed"), 2, lambda: None)
    orders = {name: (len(entry.blocks_ms), entry.block_order) for name, entry in entries.items()}
    n = len(entries)
    assert orders == {name: (2, [place, n + place]) for place, name in enumerate(entries)}, orders
