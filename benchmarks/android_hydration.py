"""Hydration by the Android app's core on the JVM against Python's: `python -m benchmarks.android_hydration`.

An untrained network for ExecuTorch: one width (prefix and the widest tail) and all widths, from opening the bundle,
hashes included, to files on disk; both sides in interleaved blocks of one run. The JVM has a heap of 64 MiB. Once in
processes that have done it before, and once in a fresh process for every run, its start included.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.executorch_sharing import untrained
from benchmarks.hydrate_in_python import hydrate
from benchmarks.side_by_side import Block, ratio, repeat, show, time_blocks, write_json
from common.console import progress, stdout
from convert.artifacts import Request
from convert.build_bundle import build_bundle
from convert.images import noise_images
from convert.quiet import quiet
from edge.bundle.reader import open_bundle
from edge.profiling import Entry, Settings, summarise
from tests.android.kotlin import Tools, class_path, compiled_core, find_tools
from train.spec import SupernetSpec, load_spec

MAIN = "io.github.dsnetedge.core.HydrationTimesKt"
HEAP_MIB = 64
IMAGES = 2


class Jvm:
    """A process that hydrates what it is told to."""

    def __init__(self, tools: Tools, classes: Path, bundle: Path, precision: str, folder: Path) -> None:
        """Start it; it writes to `folder`."""
        command = jvm_command(tools, classes, bundle, precision, folder)
        self.peak_heap_bytes = 0
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def block(self, programs: Sequence[str]) -> Block:
        """Return the block that hydrates some programs."""
        return lambda runs: [self._hydrate(programs) for _ in range(runs)]

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)

    def _hydrate(self, programs: Sequence[str]) -> float:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(" ".join(programs) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        self.peak_heap_bytes = max(self.peak_heap_bytes, answer["heap_bytes"])
        return float(answer["ms"])


def jvm_command(tools: Tools, classes: Path, bundle: Path, precision: str, folder: Path) -> list[str]:
    """Return the command of a process that hydrates into `folder` the programs that a line of its input names."""
    java = [tools.java, f"-Xmx{HEAP_MIB}m", "-cp", class_path(classes, tools.stdlib), MAIN]
    return [*java, str(bundle), precision, str(folder)]


def fresh(command: Sequence[str], text: str) -> Block:
    """Return the block that runs a process from its start to its end, with `text` as its input."""
    return repeat(partial(subprocess.run, command, input=text, text=True, stdout=subprocess.PIPE, check=True))


def measure_fresh(bundle: Path, precision: str, settings: Settings, scratch: Path) -> dict[str, Any]:
    """Return times in ms and ratios Kotlin / Python of fresh processes, for one width and for all of them."""
    tools = find_tools()
    kotlin = jvm_command(tools, compiled_core(tools), bundle, precision, scratch / "kotlin")
    python = [sys.executable, "-m", "benchmarks.hydrate_in_python", str(bundle), precision, str(scratch / "python")]
    result: dict[str, Any] = {}
    with progress() as bar:
        task = bar.add_task("hydrating in fresh processes", total=None)
        for unit, programs in units(bundle, precision).items():
            blocks = {"kotlin": fresh(kotlin, " ".join(programs) + "\n"), "python": fresh([*python, *programs], "")}
            entries = time_blocks(blocks, settings, lambda _: bar.advance(task))
            result[f"{unit}, fresh process"] = compared(entries)
    return result


def units(bundle: Path, precision: str) -> dict[str, list[str]]:
    """Return the programs of the widest width, and of all of them."""
    names = [program.name for program in open_bundle(bundle).artifact("executorch", precision).programs]
    return {"one width": [names[0], names[-1]], "all widths": names}


def compared(entries: Mapping[str, Entry]) -> dict[str, Any]:
    """Return the medians of both sides and their ratio."""
    return {
        **{f"{name}_p50_ms": summarise(entry).p50_ms for name, entry in entries.items()},
        "kotlin_over_python": ratio(entries["kotlin"], entries["python"]),
    }


def measure(bundle: Path, precision: str, settings: Settings, scratch: Path) -> dict[str, Any]:
    """Return times in ms, ratios Kotlin / Python and the peak heap, for one width and for all of them."""
    tools = find_tools()
    result: dict[str, Any] = {}
    with progress() as bar:
        task = bar.add_task("hydrating", total=None)
        for unit, programs in units(bundle, precision).items():
            jvm = Jvm(tools, compiled_core(tools), bundle, precision, scratch / "kotlin")
            python = repeat(partial(hydrate, bundle, precision, scratch / "python", programs))
            try:
                blocks = {"kotlin": jvm.block(programs), "python": python}
                entries = time_blocks(blocks, settings, lambda _: bar.advance(task))
            finally:
                jvm.close()
            result[unit] = {**compared(entries), "peak_heap_bytes": jvm.peak_heap_bytes}
    return result


def convert(spec: SupernetSpec, precision: str, folder: Path) -> None:
    """Write the bundle of an untrained network."""
    classes = tuple(f"class {index}" for index in range(spec.classes))
    request = Request(tuple(range(spec.n_widths)), "executorch", (precision,), classes)
    with quiet():
        build_bundle(untrained(spec), request, noise_images(spec, IMAGES, 0), folder)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", default="ds_mbv1")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "int8"))
    parser.add_argument("--bundle", type=Path, help="a bundle that is there already, instead of converting one")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--fresh-runs", type=int, default=20, help="processes of each side and unit")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/android_hydration.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bundle = options.bundle or Path(scratch) / "bundle"
        if options.bundle is None:
            convert(load_spec(options.spec), options.precision, bundle)
        settings = Settings(min_runs=options.runs, max_runs=options.runs)
        result = measure(bundle, options.precision, settings, Path(scratch))
        few = Settings(min_runs=options.fresh_runs, max_runs=options.fresh_runs, block_runs=2)
        result |= measure_fresh(bundle, options.precision, few, Path(scratch))
    for unit, found in result.items():
        heap = f"; peak heap {found['peak_heap_bytes'] / 2**20:.1f} MiB" if "peak_heap_bytes" in found else ""
        stdout().print(
            f"{unit}: Kotlin {found['kotlin_p50_ms']:.1f} ms, Python {found['python_p50_ms']:.1f} ms, "
            f"ratio {show(found['kotlin_over_python'])}{heap}"
        )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, result)


if __name__ == "__main__":
    main()
