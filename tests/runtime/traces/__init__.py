"""Recorded throttling: how many times as long as at first images took while a load came and went (`record.py`)."""

import json
from pathlib import Path
from statistics import fmean

NAMES = ("one_load", "stairs", "crowded")


def slowdowns(name: str) -> list[list[float]]:
    """Return the slowdown of every image, phase by phase; 1 is the mean of the first phase, width by width."""
    trace = json.loads(Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8"))
    phases = [phase["ms"] for phase in trace["phases"]]
    widths = len(trace["widths"])
    expected = [fmean(phases[0][at::widths]) for at in range(widths)]
    return [[ms / expected[number % widths] for number, ms in enumerate(phase)] for phase in phases]
