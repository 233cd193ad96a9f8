"""Write statistics.json: `python -m tests.golden.statistics`. What the latency statistics say of some samples.

One record per case: `samples_ms`; `p50_ms`, `p90_ms`, `p99_ms`, `mean_ms`, `mad_ms`; `median_interval_ms`, null where
there are too few samples. Other languages find the same but for the rounding of sums.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from edge.profiling.latency_table import Entry
from edge.profiling.statistics import summarise

FILE = Path(__file__).with_name("statistics.json")
COUNTS = (1, 2, 3, 5, 6, 7, 10, 11, 40, 101)


def records() -> list[dict[str, Any]]:
    """Return every case: latencies with a floor and a long tail, from a fixed seed, and some by hand."""
    random = np.random.default_rng(6)
    samples = {f"{count} samples": random.lognormal(1.0, 0.3, count).round(4).tolist() for count in COUNTS}
    samples |= {"all the same": [2.5] * 12, "zeros": [0.0] * 8, "one outlier": [1.0] * 9 + [1000.0]}
    return [_record(name, values) for name, values in samples.items()]


def _record(name: str, samples: list[float]) -> dict[str, Any]:
    entry = Entry(programs=["net_00"], first_run_ms=0.0, warm_up_runs=0, blocks_ms=[samples], block_order=[0])
    found = summarise(entry)
    interval = found.median_interval_ms
    statistics = {name: getattr(found, name) for name in ("p50_ms", "p90_ms", "p99_ms", "mean_ms", "mad_ms")}
    limits = None if interval is None else {"low": interval.low, "high": interval.high}
    return {"case": name, "samples_ms": samples, **statistics, "median_interval_ms": limits}


def text() -> str:
    """Return the file's content, one record per line."""
    return "[\n" + ",\n".join(json.dumps(record) for record in records()) + "\n]\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
