"""Time anything side by side in one run, in the profiler's interleaved blocks; ratios with their uncertainty."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common import atomic_write
from edge.profiling import Entry, Run, Settings, measure, paired_ratio

Block = Callable[[int], list[float]]
"""Runs something so many times in a row and returns milliseconds per run."""
OnBlock = Callable[[Run], None]


def time_blocks(units: Mapping[str, Block], settings: Settings, on_block: OnBlock) -> dict[str, Entry]:
    """Measure every unit in interleaved blocks and return its samples by its name."""
    run = Run(
        device="local", environment={"canary_ms": []}, runtime="litert", precision="none", threads=1,
        artifact_sha256="0" * 64, seed=0, entries=[], complete=False,
    )  # fmt: skip
    measured = measure(_Units(units), run, [(name,) for name in units], settings, on_block)
    return {entry.programs[0]: entry for entry in measured.entries}


def repeat(action: Callable[[], Any]) -> Block:
    """Return the block that calls `action`."""

    def block(runs: int) -> list[float]:
        samples = []
        for _ in range(runs):
            start = time.perf_counter_ns()
            action()
            samples.append((time.perf_counter_ns() - start) / 1e6)
        return samples

    return block


def ratio(numerator: Entry, denominator: Entry) -> dict[str, float]:
    """Return how many times as long one unit takes as another, with its 95% interval."""
    found = paired_ratio(numerator, denominator)
    return {"value": found.value, "low": found.interval.low, "high": found.interval.high, "pairs": found.pairs}


def show(found: Mapping[str, float]) -> str:
    """Return a ratio as people read it."""
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def write_json(path: Path, result: Mapping[str, Any]) -> None:
    """Write figures, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")


class _Units:
    """A workload of units that are blocks themselves."""

    runtime_version = "side by side"
    takes_turns = False

    def __init__(self, units: Mapping[str, Block]) -> None:
        self._units = units
        self._square = np.ones((256, 256), np.float32)

    def run_block(self, programs: Any, runs: int) -> list[float]:
        """Time one unit."""
        return self._units[programs[0]](runs)

    def canary_ms(self) -> float:
        """Return the time of a fixed matrix product."""
        start = time.perf_counter_ns()
        np.dot(self._square, self._square)
        return (time.perf_counter_ns() - start) / 1e6
