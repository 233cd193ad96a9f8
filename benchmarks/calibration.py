"""Calibration: how fast, how close to the best, and whether budgets hold on real images.

    python -m benchmarks.calibration [BUNDLE --images FOLDER] [--out runs/benchmarks/calibration.json]

Without a bundle, simulated images alone (`benchmarks.calibration_search`). With one, and labelled images in class
folders, each of its artifacts that runs here is profiled, calibrated on half of the images and run on the other half
(`benchmarks.calibration_measured`).
"""

import argparse
import os
import platform
import time
from pathlib import Path

import numpy as np

from benchmarks import calibration_measured, calibration_search
from benchmarks.side_by_side import write_json
from common.console import stdout


def main() -> None:
    """Run the comparisons, print their tables and write them as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description="Time and judge calibration.")
    parser.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE")
    parser.add_argument("--images", type=Path, help="labelled images that the network was not trained on")
    parser.add_argument("--rounds", type=int, default=5, help="times to profile, calibrate and run each artifact")
    parser.add_argument("--simulated", type=int, default=50_000, help="simulated images")
    parser.add_argument("--small-cases", type=int, default=1000, help="cases to compare with brute force")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/calibration.json"))
    options = parser.parse_args()
    if (options.bundle is None) != (options.images is None):
        parser.error("give BUNDLE and --images together")
    record = {
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "date": time.strftime("%Y-%m-%d"),
    }
    console = stdout()
    rows = calibration_search.speed_and_accuracy(options.simulated, options.repeats)
    for table in calibration_search.tables(rows, options.simulated):
        console.print(table)
    agreement = calibration_search.agreement(options.small_cases)
    print("{agree} of {cases} small cases agree with brute force ({infeasible} more have no rule)".format(**agreement))
    record |= {"simulated_images": options.simulated, "simulated": rows, "brute_force": agreement}
    if options.bundle:
        measured = calibration_measured.measure_bundle(options.bundle, options.images, options.rounds)
        for table in calibration_measured.tables(measured):
            console.print(table)
        record["measured"] = measured
    write_json(options.out, record)
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
