"""The arm64 build, in an emulator. Times mean nothing there; outputs do."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.bundle.reader import Bundle
from tests.native.conversation import Command, answers, images, load, load_plain
from tests.native.routing import check_cascades, check_gates, check_trees, routing_nets

UNITS = ("prefix", "tail_01", "plain_prefix", "plain_tail_01")
CPUS = ("cortex-a53", "cortex-a76", "max,sme=off")
"""The backend has other kernels for each: plain ARMv8, with dot products, with int8 matrix products. Not for SME: the
emulator's (version 7.2) gives other int8 outputs than every other CPU, for plain files as well."""
TOLERANCE = 12 * 27 * 2.0**-23
"""Of fp32, relative to the largest output. Each of at most 12 layers in a row sums at most 27 products (the stem: 3
channels, 3x3) in an order of its own, with or without fused multiply-adds: at most one rounding of 2^-24 per term on
each side, 27 * 2^-23 between them. Found: 2^-22."""


def outputs_of(runner: Command, bundle: Bundle, precision: str, folder: Path) -> dict[str, bytes]:
    """Run prefix and tail from the store and from plain files; returns every unit's outputs, back to back."""
    folder.mkdir()
    images(bundle, 1).tofile(folder / "image")
    answers(
        runner,
        [
            *(load(bundle, name, precision) for name in UNITS[:2]),
            *(load_plain(bundle, name, folder, precision) for name in UNITS[:2]),
            {"do": "image", "file": str(folder / "image")},
            {"do": "block", "units": UNITS[:2], "runs": 1},
            {"do": "block", "units": UNITS[2:], "runs": 1},
            *({"do": "outputs", "unit": unit, "to": str(folder / unit)} for unit in UNITS),
        ],
    )
    return {unit: (folder / unit).read_bytes() for unit in UNITS}


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_arm64_gives_equal_bytes_for_slices_and_plain_files_and_the_outputs_of_x86(
    runner: Command, arm64: Callable[[str], Command], first: Bundle, cpu: str, precision: str, tmp_path: Path
) -> None:
    there = outputs_of(arm64(cpu), first, precision, tmp_path / "arm64")
    here = outputs_of(runner, first, precision, tmp_path / "x86")
    for unit in UNITS[:2]:
        assert there[unit] == there[f"plain_{unit}"]
        if precision == "int8":
            # Sums of integers have no order, and what follows them is one rounded product per number.
            assert there[unit] == here[unit]
        else:
            difference, largest = compared(there[unit], here[unit])
            assert largest > 0 and difference <= TOLERANCE * largest, f"{unit}: {difference} of {largest}"


def compared(there: bytes, here: bytes) -> tuple[float, float]:
    """Return the largest difference between two float32 outputs, and the largest of the second."""
    ours: NDArray[np.float32] = np.frombuffer(here, np.float32)
    return float(np.abs(np.frombuffer(there, np.float32) - ours).max()), float(np.abs(ours).max())


@pytest.mark.parametrize("kind", ["thresholds", "tree", "utility", "cascade"])
def test_a_policy_runs_the_widths_that_it_runs_on_every_processor(
    arm64: Callable[[str], Command], golden: Path, kind: str, tmp_path: Path
) -> None:
    if kind == "cascade":
        check_cascades(arm64("cortex-a76"), golden, routing_nets(), tmp_path)
    elif kind == "tree":
        check_trees(arm64("cortex-a76"), golden, tmp_path)
    else:
        check_gates(arm64("cortex-a76"), golden, kind, tmp_path)
