"""The learning rate over a run. Loads no torch."""

import math
from collections.abc import Callable


def warmup_cosine(warmup_steps: int, steps: int) -> Callable[[int], float]:
    """Return the learning-rate factor by step: linear over `warmup_steps`, then half a cosine to zero at `steps`."""

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        return 0.5 + 0.5 * math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps))

    return factor
