"""Runs that the tests of history and comparison are about."""

from typing import Any

import numpy as np

from edge.profiling import Entry, Run

NARROW, WIDE = ("prefix", "tail_00"), ("prefix", "tail_01")


def entry(unit: tuple[str, ...], blocks: list[list[float]], positions: list[int] | None = None) -> Entry:
    order = list(range(len(blocks))) if positions is None else positions
    return Entry(programs=list(unit), first_run_ms=9.0, warm_up_runs=10, blocks_ms=blocks, block_order=order)


def a_run(*entries: Entry, canary_reference_ms: float = 1.0, **changes: Any) -> Run:
    """A run of `entries`; `canary_reference_ms`, to the nanosecond, is what runs of one machine never share."""
    environment = {
        "cpu": "fake",
        "runtime_version": "litert 2",
        "canary_reference_ms": canary_reference_ms,
        "canary_ms": [1.0, 1.1],
        **changes.pop("facts", {}),
    }
    fields: dict[str, Any] = {
        "device": "local",
        "environment": environment,
        "runtime": "litert",
        "precision": "int8",
        "threads": 1,
        "artifact_sha256": "0" * 64,
        "seed": 0,
        "entries": list(entries or [entry(NARROW, [[1.0, 1.25]])]),
        "complete": True,
    }
    return Run(**{**fields, **changes})


def noisy_blocks(ms: float, count: int, seed: int) -> list[list[float]]:
    """Blocks of ten runs around `ms`; blocks differ among themselves by 1%, runs within one by 1%."""
    random = np.random.default_rng(seed)
    return [(ms * level * random.normal(1, 0.01, 10)).tolist() for level in random.normal(1, 0.01, count)]
