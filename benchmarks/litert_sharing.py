"""What sharing costs and saves on LiteRT, all side by side in one run: `python -m benchmarks.litert_sharing`.

On an untrained network: file sizes of nested files against single-width and separate ones; latency of what runs after
the prefix, nested against plain static programs, and of all programs of a width against one monolithic static model;
load time and memory of one width; conversion time. Networks without a gate on their trunk have nothing to join:
`--bytes` measures sizes alone.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from benchmarks.side_by_side import OnBlock, ratio, repeat, show, time_blocks, write_json
from common.console import progress, stdout, table
from common.program_names import whole_program as whole_name
from convert.artifacts import Request
from convert.build_bundle import build_bundle
from convert.images import CheckImages, noise_images
from convert.litert.activations import observe, quantize_activations
from convert.litert.artifacts import artifact_file
from convert.litert.float_graph import bind
from convert.litert.frontend import load_frontend
from convert.litert.quantize import PRECISIONS, Precision
from convert.slice_plan import whole_program
from convert.static_module import static_module
from edge.bundle.checks import artifact_widths
from edge.bundle.litert.hydrate import hydrate, hydrate_monolithic, hydrate_program
from edge.bundle.manifest import Artifact
from edge.bundle.reader import open_bundle
from edge.devices.local import LocalDevice
from edge.profiling import Entry, Settings, summarise
from edge.runtime.route import Route
from train.checkpoint import Checkpoint
from train.families import FAMILIES
from train.initialise import initial_tensors
from train.side_gate import spread_choices
from train.spec import SupernetSpec, load_spec

IMAGES = 8
"""Latency and size do not depend on how well activation ranges fit; a few images give every tensor one."""
LOADS = 5


@dataclass(frozen=True)
class Converted:
    """One conversion: the nested file's bytes, its manifest entry, and how long it took."""

    data: bytes
    artifact: Artifact
    macs: Mapping[int, int]
    """Multiply-accumulates of each width."""
    seconds: float

    @property
    def widths(self) -> list[int]:
        """Return the widths it serves."""
        return artifact_widths(self.artifact)

    @property
    def route(self) -> Route:
        """Return which programs each width runs."""
        return Route.of(self.artifact)

    def root(self, program: str) -> bytes:
        """Return the file with its first bytes set so that a runtime loads one program alone."""
        (offset,) = (entry.root_offset for entry in self.artifact.programs if entry.name == program)
        assert offset is not None
        return offset.to_bytes(4, "little") + self.data[4:]


def convert(checkpoint: Checkpoint, widths: Sequence[int], precision: Precision, images: CheckImages) -> Converted:
    """Run the product's own conversion into a temporary bundle."""
    with tempfile.TemporaryDirectory() as folder:
        request = Request(tuple(widths), "litert", (precision,), tuple(map(str, range(checkpoint.spec.classes))))
        start = time.perf_counter()
        build_bundle(checkpoint, request, images, Path(folder))
        seconds = time.perf_counter() - start
        data = (Path(folder) / artifact_file(precision)).read_bytes()
        macs = {width: checkpoint.spec.macs(width) for width in widths}
        return Converted(data, open_bundle(Path(folder)).artifact("litert", precision), macs, seconds)


def stock_exports(checkpoint: Checkpoint, widths: Sequence[int], images: CheckImages) -> float:
    """Return the seconds that separate static int8 exports of the same widths take: front end, then quantizer."""
    spec, tensors = checkpoint.spec, checkpoint.tensors
    frontend = load_frontend("onnx2tf")
    start = time.perf_counter()
    for width in widths:
        plan = whole_program(spec, width)
        exported = frontend(static_module(spec, plan, tensors), plan.input_shape)
        graph = bind(exported, plan, tensors, spec.bn_epsilon)
        quantize_activations(graph, observe(graph, [{"image": image} for image in images.images]))
    return time.perf_counter() - start


def compare_bytes(converted: Converted) -> dict[str, Any]:
    """Return sizes in bytes: the nested file, its widest width alone, one file per width, what each width adds."""
    programs = converted.route.end_to_end
    singles = {width: len(hydrate(converted.data, programs[width])) for width in converted.widths}
    nested, largest, n = len(converted.data), singles[converted.widths[-1]], len(converted.widths)
    return {
        "widths": n,
        "nested": nested,
        "largest_single": largest,
        "sum_of_singles": sum(singles.values()),
        "ratio": nested / largest,
        "sum_ratio": sum(singles.values()) / largest,
        "private_per_width": (nested - largest) / (n - 1),
    }


class LiteRtChain:
    """Loaded LiteRT programs that run one after the other; each keeps its interpreter and reads fixed inputs."""

    def __init__(self, files: Sequence[bytes]) -> None:
        """Load single-program files and hand the first one's features on once."""
        self._loaded = [_Loaded(data) for data in files]
        for loaded, following in pairwise(self._loaded):
            following.feed(loaded.run())

    def run(self) -> None:
        """Run the chain; the features of the first program really go into the second."""
        value = self._loaded[0].run()
        for loaded in self._loaded[1:]:
            loaded.feed(value)
            value = loaded.run()

    @property
    def fully_delegated(self) -> bool:
        """Return whether one XNNPACK node gives every program's outputs."""
        return all(loaded.fully_delegated for loaded in self._loaded)


class _Loaded:
    def __init__(self, data: bytes) -> None:
        self._interpreter = Interpreter(model_content=data, num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]["index"]
        noise = np.random.default_rng(0).standard_normal(self._input["shape"])
        self.feed(
            np.clip(noise * 40, -128, 127).astype(np.int8)
            if self._input["dtype"] == np.int8
            else noise.astype(np.float32)
        )
        self.run()
        delegates = [op for op in self._interpreter._get_ops_details() if op["op_name"] == "DELEGATE"]
        outputs = {detail["index"] for detail in self._interpreter.get_output_details()}
        self.fully_delegated = len(delegates) == 1 and set(delegates[0]["outputs"].tolist()) == outputs

    def feed(self, value: Any) -> None:
        self._interpreter.set_tensor(self._input["index"], value)

    def run(self) -> Any:
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)


def compare_latency(converted: Converted, settings: Settings, on_block: OnBlock) -> dict[str, Any]:
    """Measure, per width, what runs after the prefix nested and plain, all of it, and the monolithic static model.

    Interleaved blocks.
    """
    chains: dict[str, LiteRtChain] = {}
    for width in converted.widths:
        programs = converted.route.end_to_end[width]
        monolithic = hydrate_monolithic(converted.data, programs, whole_name(width))
        chains |= {
            f"{width} nested": LiteRtChain([converted.root(name) for name in programs[1:]]),
            f"{width} static": LiteRtChain([hydrate_program(converted.data, name) for name in programs[1:]]),
            f"{width} monolithic": LiteRtChain([monolithic]),
            f"{width} dynamic": LiteRtChain([converted.root(name) for name in programs]),
        }
    entries = time_blocks({name: repeat(chain.run) for name, chain in chains.items()}, settings, on_block)
    rows = [{"macs": converted.macs[width], **_latency_row(width, entries, chains)} for width in converted.widths]
    return {
        "rows": rows,
        "median_nested_ratio": median(row["nested_static"]["value"] for row in rows),
        "median_dynamic_ratio": median(row["dynamic_monolithic"]["value"] for row in rows),
        "max_dynamic_ratio": max(row["dynamic_monolithic"]["value"] for row in rows),
    }


def _latency_row(width: int, entries: Mapping[str, Entry], chains: Mapping[str, LiteRtChain]) -> dict[str, Any]:
    kinds = ("nested", "static", "monolithic", "dynamic")
    nested, static, monolithic, dynamic = (entries[f"{width} {kind}"] for kind in kinds)
    return {
        "width": width,
        "p50_ms": {kind: summarise(entries[f"{width} {kind}"]).p50_ms for kind in kinds},
        "nested_static": ratio(nested, static),
        "dynamic_monolithic": ratio(dynamic, monolithic),
        "fully_delegated": all(chains[f"{width} {kind}"].fully_delegated for kind in kinds),
    }


def compare_loading(converted: Converted) -> list[dict[str, Any]]:
    """Load the widest width's last program in fresh processes, four ways; medians of LOADS runs each, in rotation."""
    tail = converted.route.end_to_end[converted.widths[-1]][-1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {
            "plain": hydrate_program(converted.data, tail),
            "root": converted.root(tail),
            "nested": converted.data,
        }
        for label, data in files.items():
            (folder / f"{label}.tflite").write_bytes(data)
        ways = {
            "plain static": ["plain"],
            "nested, one root": ["root"],
            "hydrated, then plain": ["nested", "--hydrate"],
            "nested, every width (main root)": ["nested"],
        }
        samples: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for _ in range(LOADS):
            for way, (label, *flags) in ways.items():
                command = [sys.executable, "-m", "benchmarks.litert_load", str(folder / f"{label}.tflite"), tail]
                done = subprocess.run([*command, *flags], check=True, capture_output=True, text=True)
                samples[way].append(json.loads(done.stdout))
    return [
        {"way": way, **{key: median(sample[key] for sample in found) for key in found[0]}}
        for way, found in samples.items()
    ]


def checkpoint_of(spec: SupernetSpec) -> Checkpoint:
    """Return an untrained network in memory."""
    return Checkpoint(spec, initial_tensors(spec, seed=0), {}, "0" * 64)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Return every figure."""
    spec = load_spec(options.spec)
    if not options.bytes and not spec.gates:
        raise SystemExit(f"{spec.name} has no gate on its trunk, so nothing to join and time; give --bytes")
    precisions = [p for p in PRECISIONS if not FAMILIES[spec.family].is_transformer or p == "wi8"]
    checkpoint, images = checkpoint_of(spec), noise_images(spec, IMAGES, seed=0)
    every, few = list(range(spec.n_widths)), list(spread_choices(spec.n_widths))
    settings = Settings(ci=0.01, min_runs=options.runs, max_runs=options.runs, block_runs=5)
    with progress() as bar:
        steps = bar.add_task("converting", total=None)
        sizes, converted = [], {}
        for precision in precisions:
            for widths in (few, every):
                converted[precision, len(widths)] = convert(checkpoint, widths, precision, images)
                sizes.append({"precision": precision, **compare_bytes(converted[precision, len(widths)])})
        bar.update(steps, description="separate stock exports")
        stock_seconds = stock_exports(checkpoint, every, images) if options.stock and not options.bytes else None
        latency, timed = {}, () if options.bytes else precisions
        for precision in timed:
            bar.update(
                steps, description=f"{precision}: latency", total=options.runs // 5 * 4 * len(every), completed=0
            )
            latency[precision] = compare_latency(
                converted[precision, len(every)], settings, lambda _: bar.advance(steps)
            )
        bar.update(steps, description="loading", total=None)
        loading = {precision: compare_loading(converted[precision, len(every)]) for precision in timed}
    return {
        "spec": spec.name,
        "date": time.strftime("%Y-%m-%d"),
        "machine": LocalDevice().fingerprint(),
        "versions": {
            name: version(name) for name in ("ai-edge-litert", "ai-edge-quantizer", "onnx2tf", "torch", "numpy")
        },
        "bytes": sizes,
        "convert_seconds": {f"{p} {n} widths": c.seconds for (p, n), c in converted.items()},
        "stock_seconds": stock_seconds,
        "latency": latency,
        "loading": loading,
    }


SIZES = ("precision", "widths", "nested bytes", "largest single", "ratio", "separate ratio", "private per width")
LATENCY = ("width", "static", "nested", "monolithic", "dynamic", "nested / static", "dynamic / monolithic")
LOADING = ("way", "load ms", "resident MiB", "of it file MiB")


def report(result: Mapping[str, Any]) -> None:
    """Print the figures."""
    console = stdout()
    console.print(table(f"{result['spec']}: one file for all widths", SIZES, [_size_cells(r) for r in result["bytes"]]))
    for precision, latency in result["latency"].items():
        title = f"{precision}: p50 ms after the prefix, 1 thread; dynamic = with it; ratios of paired blocks [95%]"
        console.print(table(title, LATENCY, [_latency_cells(row) for row in latency["rows"]]))
        print(
            f"medians: nested / static {latency['median_nested_ratio']:.4f}, "
            f"dynamic / monolithic {latency['median_dynamic_ratio']:.4f} (largest {latency['max_dynamic_ratio']:.4f}); "
            f"one delegate node per program: {all(row['fully_delegated'] for row in latency['rows'])}"
        )
    for precision, ways in result["loading"].items():
        cells = [(w["way"], f"{w['load_ms']:.1f}", _mib(w["resident_bytes"]), _mib(w["file_bytes"])) for w in ways]
        console.print(table(f"{precision}: the widest tail in a fresh process", LOADING, cells))
    stock = f"; {result['stock_seconds']:.1f} s for separate int8 exports" if result["stock_seconds"] else ""
    print("convert: " + ", ".join(f"{n} {seconds:.1f} s" for n, seconds in result["convert_seconds"].items()) + stock)


def _size_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["precision"],
        str(row["widths"]),
        *(f"{row[key]:,}" for key in ("nested", "largest_single")),
        *(f"{row[key]:.3f}" for key in ("ratio", "sum_ratio")),
        f"{row['private_per_width']:,.0f}",
    )


def _latency_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    times = (f"{row['p50_ms'][kind]:.3f}" for kind in ("static", "nested", "monolithic", "dynamic"))
    return str(row["width"]), *times, show(row["nested_static"]), show(row["dynamic_monolithic"])


def _mib(size: float) -> str:
    return f"{size / 2**20:.1f}"


def main() -> None:
    """Run the comparison, print its tables and write it as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.litert_sharing", description="Measure what sharing costs on LiteRT."
    )
    parser.add_argument("--spec", default="ds_mbv1")
    parser.add_argument("--bytes", action="store_true", help="measure sizes and conversion time alone, of any network")
    parser.add_argument("--runs", type=int, default=60, help="timed runs per unit, in blocks of 5")
    parser.add_argument(
        "--stock", action=argparse.BooleanOptionalAction, default=True, help="time separate stock exports too"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/litert_sharing.json"))
    options = parser.parse_args()
    result = run(options)
    report(result)
    write_json(options.out, result)
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
