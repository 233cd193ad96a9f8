"""What sharing costs and saves on ExecuTorch, all side by side in one run: `python -m benchmarks.executorch_sharing`.

On an untrained network: bytes of a bundle against single and separate `.pte` files; latency through the nested store
against plain files, and of the native runner against Python; load time and memory; conversion against separate stock
exports; and LiteRT beside ExecuTorch. Needs the native runner (docs/native.md).
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.litert_sharing import LiteRtChain
from benchmarks.litert_sharing import convert as convert_litert
from benchmarks.side_by_side import Block, OnBlock, ratio, repeat, show, time_blocks, write_json
from common.console import progress, stdout, table
from convert.artifacts import Request
from convert.build_bundle import build_bundle
from convert.images import CheckImages, noise_images
from convert.quiet import quiet
from convert.slice_plan import whole_program
from convert.static_module import static_module
from edge.bundle.manifest import Artifact, ThresholdPolicy
from edge.bundle.nested.weights import weights_files
from edge.bundle.plain_files import plain_files
from edge.bundle.reader import Bundle, open_bundle
from edge.devices.local import LocalDevice
from edge.devices.native import NativeProcess, find_runner
from edge.profiling import Entry, Settings, summarise
from edge.runtime.open_session import open_session
from train.checkpoint import Checkpoint
from train.initialise import initial_tensors
from train.spec import SupernetSpec, load_spec

PRECISIONS = ("fp32", "int8")
IMAGES = 8
"""Latency and size do not depend on how well activation ranges fit; a few images give every tensor one."""
LOADS = 5
PLAIN, WHOLE = 100, 200
"""The runner knows a body by its width: what the plain forms of a width add to it."""


@dataclass(frozen=True)
class Converted:
    """One conversion, and plain files made of it and beside it."""

    bundle: Bundle
    artifact: Artifact
    widths: tuple[int, ...]
    seconds: float
    folder: Path = field(repr=False)

    def plain(self, width: int) -> Path:
        """Return the plain file of the prefix and one tail."""
        path = self.folder / f"plain_{self.artifact.precision}_{width:02d}.pte"
        if not path.exists():
            ((_, data),) = plain_files(self.bundle, self.artifact, [width], "pte", path).items()
            path.write_bytes(data)
        return path

    def whole(self, width: int) -> Path:
        """Return the ordinary export of the whole width, if `stock_exports` made it."""
        return self.folder / f"whole_{self.artifact.precision}_{width:02d}.pte"

    @property
    def nested_paths(self) -> dict[str, str]:
        """Return what the native runner needs to serve slices."""
        files = weights_files(self.bundle, self.artifact)
        place = self.bundle.root
        return {
            "pte": str(place / self.artifact.file),
            "store": str(place / files["store"].file),
            "recipe": str(place / files["recipe"].file),
        }


def untrained(spec: SupernetSpec) -> Checkpoint:
    """Return an untrained network whose biases are not zero: equal constants would be stored once."""
    generator, tensors = np.random.default_rng(0), dict(initial_tensors(spec, seed=0))
    for name, values in tensors.items():
        if values.ndim == 1 and not values.any():
            tensors[name] = generator.normal(0, 0.1, values.shape).astype(np.float32)
    return Checkpoint(spec, tensors, {}, "0" * 64)


def convert(
    checkpoint: Checkpoint, widths: Sequence[int], precision: str, images: CheckImages, folder: Path
) -> Converted:
    """Run the product's own conversion, checks included."""
    classes = tuple(map(str, range(checkpoint.spec.classes)))
    request = Request(tuple(widths), "executorch", (precision,), classes)
    start = time.perf_counter()
    build_bundle(checkpoint, request, images, folder / precision)
    seconds = time.perf_counter() - start
    bundle = open_bundle(folder / precision)
    return Converted(bundle, bundle.artifact("executorch", precision), tuple(widths), seconds, folder)


def stock_exports(checkpoint: Checkpoint, converted: Converted, images: CheckImages) -> float:
    """Export every width by itself with the stock calls, one after the other, and return the seconds it took."""
    with quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.backends.xnnpack.quantizer import xnnpack_quantizer
        from executorch.exir import to_edge_transform_and_lower
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    pictures = [torch.from_numpy(image).permute(0, 3, 1, 2).contiguous() for image in images.images]
    seconds = 0.0
    for width in converted.widths:
        module = static_module(checkpoint.spec, whole_program(checkpoint.spec, width), checkpoint.tensors)
        start = time.perf_counter()
        with quiet():
            if converted.artifact.precision == "int8":
                configuration = xnnpack_quantizer.get_symmetric_quantization_config(is_per_channel=True)
                quantizer = xnnpack_quantizer.XNNPACKQuantizer().set_global(configuration)
                prepared = prepare_pt2e(torch.export.export(module, (pictures[0],)).module(), quantizer)
                for picture in pictures:
                    prepared(picture)
                module = convert_pt2e(prepared)
            exported = torch.export.export(module, (pictures[0],))
            edge = to_edge_transform_and_lower({"net": exported}, partitioner=[XnnpackPartitioner()])
            data = bytes(edge.to_executorch().buffer)
        seconds += time.perf_counter() - start
        converted.whole(width).write_bytes(data)
    return seconds


def compare_bytes(converted: Converted) -> dict[str, Any]:
    """Return sizes in bytes: everything the bundle needs, the widest width's single file, one file per width."""
    weights = weights_files(converted.bundle, converted.artifact)
    parts = {"program": converted.artifact.bytes} | {role: item.bytes for role, item in weights.items()}
    singles = [converted.plain(width).stat().st_size for width in converted.widths]
    return {
        "widths": len(converted.widths),
        **parts,
        "total": sum(parts.values()),
        "largest_single": singles[-1],
        "ratio": sum(parts.values()) / singles[-1],
        "sum_ratio": sum(singles) / singles[-1],
    }


def native_block(process: NativeProcess, units: Sequence[str], widths: Sequence[int]) -> Block:
    """Return the block that the native runner times itself, the gate's decision between `widths` included."""
    policy = ThresholdPolicy(widths=list(widths), thresholds=[0.0] * (len(widths) - 1)).model_dump(mode="json")

    def block(runs: int) -> list[float]:
        command = {"do": "block", "units": list(units), "runs": runs, "policy": policy}
        samples: list[float] = process.ask(command)["samples_ms"]
        return samples

    return block


def load(
    process: NativeProcess, unit: str, role: str, method: str, widths: Sequence[int], paths: Mapping[str, Any]
) -> Any:
    """Load one program into the native runner and return its answer."""
    where = {"unit": unit, "role": role, "widths": list(widths), "method": method}
    return process.ask({"do": "load", **where, **paths})


def compare_latency(
    converted: Converted, macs: Mapping[int, int], settings: Settings, on_block: OnBlock
) -> dict[str, Any]:
    """Measure, per width: the nested tail against the plain one, prefix + tail against the ordinary export of the
    whole width, all in one process of the native runner, and the plain tail in Python."""
    tails = {width: f"tail_{width:02d}" for width in converted.widths}
    session = open_session(converted.bundle, converted.artifact, ["prefix", *tails.values()])
    (picture,) = (tensor for program in converted.artifact.programs[:1] for tensor in program.inputs)
    image = np.random.default_rng(0).standard_normal(picture.shape, np.float32)
    features = session.run("prefix", {"image": image})["features"]
    units: dict[str, Block] = {}
    with NativeProcess([str(find_runner())]) as process:
        served = [*converted.widths, *(PLAIN + width for width in converted.widths)]
        load(process, "prefix", "prefix", "prefix", served, converted.nested_paths)
        for width, tail in tails.items():
            load(process, f"{tail} nested", "tail", tail, [width], converted.nested_paths)
            load(process, f"{tail} plain", "tail", tail, [PLAIN + width], {"pte": str(converted.plain(width))})
            load(process, f"{tail} whole", "net", "net", [WHOLE + width], {"pte": str(converted.whole(width))})
            units |= {
                f"{tail} nested": native_block(process, [f"{tail} nested"], converted.widths),
                f"{tail} plain": native_block(process, [f"{tail} plain"], converted.widths),
                f"{tail} whole": native_block(process, [f"{tail} whole"], converted.widths),
                f"{tail} dynamic": native_block(process, ["prefix", f"{tail} nested"], converted.widths),
                f"{tail} python": repeat(lambda tail=tail: session.run(tail, {"features": features})),  # type: ignore[misc]
            }
        entries = time_blocks(units, settings, on_block)
    rows = [_latency_row(width, macs[width], entries) for width in converted.widths]
    names = ("nested_plain", "dynamic_whole", "native_python")
    return {"rows": rows, **{f"median_{name}": median(row[name]["value"] for row in rows) for name in names}}


def _latency_row(width: int, macs: int, entries: Mapping[str, Entry]) -> dict[str, Any]:
    kinds = ("plain", "nested", "whole", "dynamic", "python")
    found = {kind: entries[f"tail_{width:02d} {kind}"] for kind in kinds}
    return {
        "width": width,
        "macs": macs,
        "p50_ms": {kind: summarise(entry).p50_ms for kind, entry in found.items()},
        "nested_plain": ratio(found["nested"], found["plain"]),
        "dynamic_whole": ratio(found["dynamic"], found["whole"]),
        "native_python": ratio(found["plain"], found["python"]),
    }


def compare_loading(converted: Converted) -> list[dict[str, Any]]:
    """Load the widest width, and all widths, in fresh processes of the runner; medians of LOADS.

    Plain; nested; and nested without comparing every slice with the hash that is its key.
    """
    nested, trusted = converted.nested_paths, converted.nested_paths | {"check_keys": False}
    ways = {
        f"{name}, {how}": (widths, paths)
        for name, widths in (("widest", converted.widths[-1:]), ("all", converted.widths))
        for how, paths in (("plain", None), ("nested", nested), ("nested, keys not checked", trusted))
    }
    samples: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(LOADS):
        for way, (widths, paths) in ways.items():
            with NativeProcess([str(find_runner())]) as process:
                head = paths or {"pte": str(converted.plain(widths[0]))}
                answers = [load(process, "prefix", "prefix", "prefix", widths, head)]
                for width in widths:
                    body = paths or {"pte": str(converted.plain(width))}
                    answers.append(load(process, f"tail {width}", "tail", f"tail_{width:02d}", [width], body))
                memory = process.ask({"do": "memory"})
            load_ms = sum(answer["load_ms"] for answer in answers)
            samples[way].append({"load_ms": load_ms, "resident_bytes": memory["resident_bytes"]})
    return [
        {"way": way, **{key: median(sample[key] for sample in found) for key in found[0]}}
        for way, found in samples.items()
    ]


def compare_runtimes(
    executorch: Mapping[str, Converted], litert: Mapping[str, Any], settings: Settings, on_block: OnBlock
) -> list[dict[str, Any]]:
    """Measure one image end to end, prefix + tail, at every width: LiteRT in int8 and wi8, ExecuTorch in int8 and
    float32. LiteRT by its Python interpreter without conversions of arrays, ExecuTorch by the native runner."""
    widths = executorch["int8"].widths
    units: dict[str, Block] = {}
    with NativeProcess([str(find_runner())]) as fp32, NativeProcess([str(find_runner())]) as int8:
        for process, converted in ((fp32, executorch["fp32"]), (int8, executorch["int8"])):
            load(process, "prefix", "prefix", "prefix", widths, converted.nested_paths)
            for width in widths:
                tail = f"tail_{width:02d}"
                load(process, tail, "tail", tail, [width], converted.nested_paths)
                name = f"executorch {converted.artifact.precision} {width}"
                units[name] = native_block(process, ["prefix", tail], widths)
        for precision, nested in litert.items():
            for width in widths:
                chain = LiteRtChain([nested.root("prefix"), nested.root(f"tail_{width:02d}")])
                units[f"litert {precision} {width}"] = repeat(chain.run)
        entries = time_blocks(units, settings, on_block)
    kinds = ("litert int8", "executorch int8", "litert wi8", "executorch fp32")
    return [
        {
            "width": width,
            "p50_ms": {kind: summarise(entries[f"{kind} {width}"]).p50_ms for kind in kinds},
            "int8_executorch_litert": ratio(entries[f"executorch int8 {width}"], entries[f"litert int8 {width}"]),
        }
        for width in widths
    ]


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Return every figure."""
    spec = load_spec(options.spec)
    if len(spec.gates) != 1:
        raise SystemExit(
            f"{spec.name} has {len(spec.gates)} gates on its trunk; to time a prefix and a tail it needs one; choose "
            "another --spec"
        )
    find_runner()  # or say how to build it, before any work
    torch.set_num_threads(1)
    checkpoint, images = untrained(spec), noise_images(spec, IMAGES, seed=0)
    widths, macs = tuple(range(spec.n_widths)), {width: spec.macs(width) for width in range(spec.n_widths)}
    settings = Settings(ci=0.01, min_runs=options.runs, max_runs=options.runs, block_runs=5)
    figures: dict[str, Any] = {"bytes": [], "convert": [], "latency": {}, "loading": {}}
    with tempfile.TemporaryDirectory() as name, progress() as bar:
        folder, task, executorch = Path(name), bar.add_task("converting", total=None), {}
        for precision in PRECISIONS:
            bar.update(task, description=f"{precision}: converting")
            executorch[precision] = converted = convert(checkpoint, widths, precision, images, folder)
            figures["bytes"].append({"precision": precision, **compare_bytes(converted)})
            bar.update(task, description=f"{precision}: separate stock exports")
            stock = stock_exports(checkpoint, converted, images)
            figures["convert"].append({"precision": precision, "seconds": converted.seconds, "stock_seconds": stock})
        for precision, converted in executorch.items():
            bar.update(task, description=f"{precision}: latency")
            figures["latency"][precision] = compare_latency(converted, macs, settings, lambda _: bar.advance(task))
            bar.update(task, description=f"{precision}: loading")
            figures["loading"][precision] = compare_loading(converted)
        bar.update(task, description="LiteRT beside ExecuTorch")
        litert = {precision: convert_litert(checkpoint, widths, precision, images) for precision in ("int8", "wi8")}
        figures["runtimes"] = compare_runtimes(executorch, litert, settings, lambda _: bar.advance(task))
    return {
        "spec": spec.name,
        "date": time.strftime("%Y-%m-%d"),
        "machine": LocalDevice().fingerprint(),
        "versions": {name: version(name) for name in ("executorch", "torchao", "torch", "ai-edge-litert", "numpy")},
        **figures,
    }


SIZES = ("precision", "program", "store", "recipe", "template", "total", "largest single", "ratio", "separate ratio")
LATENCY_RATIOS = ("nested / plain", "dynamic / whole", "native / python")
LATENCY = ("width", "plain", "nested", "whole", "dynamic", "python", *LATENCY_RATIOS)
LOADING = ("way", "load ms", "resident MiB")
RUNTIMES = ("width", "litert int8", "executorch int8", "litert wi8", "executorch fp32", "int8: executorch / litert")


def report(result: Mapping[str, Any]) -> None:
    """Print the figures."""
    console = stdout()
    sizes = [
        (
            row["precision"],
            *(f"{row[key]:,}" for key in ("program", "store", "recipe", "template", "total", "largest_single")),
            f"{row['ratio']:.3f}",
            f"{row['sum_ratio']:.2f}",
        )
        for row in result["bytes"]
    ]
    console.print(table(f"{result['spec']}: one bundle for all widths, bytes", SIZES, sizes))
    for precision, latency in result["latency"].items():
        title = f"{precision}: p50 ms of the tail, 1 thread; dynamic = prefix + tail; ratios of paired blocks [95%]"
        console.print(table(title, LATENCY, [_latency_cells(row) for row in latency["rows"]]))
        medians = {name: latency[f"median_{name}"] for name in ("nested_plain", "dynamic_whole", "native_python")}
        print("medians: " + ", ".join(f"{name.replace('_', ' / ')} {value:.4f}" for name, value in medians.items()))
    for precision, ways in result["loading"].items():
        cells = [(way["way"], f"{way['load_ms']:.1f}", f"{way['resident_bytes'] / 2**20:.1f}") for way in ways]
        console.print(table(f"{precision}: loading in a fresh native process, prefix included", LOADING, cells))
    for row in result["convert"]:
        times = row["stock_seconds"] / row["seconds"]
        print(
            f"{row['precision']}: convert {row['seconds']:.1f} s, separate stock exports {row['stock_seconds']:.1f} s, "
            f"{times:.2f} times as long"
        )
    beside = [
        (
            str(row["width"]),
            *(f"{row['p50_ms'][kind]:.3f}" for kind in RUNTIMES[1:5]),
            show(row["int8_executorch_litert"]),
        )
        for row in result["runtimes"]
    ]
    console.print(table("One image, prefix + tail, p50 ms, 1 thread", RUNTIMES, beside))


def _latency_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    times = (f"{row['p50_ms'][kind]:.3f}" for kind in ("plain", "nested", "whole", "dynamic", "python"))
    ratios = (show(row[name]) for name in ("nested_plain", "dynamic_whole", "native_python"))
    return str(row["width"]), *times, *ratios


def main() -> None:
    """Run the comparison, print its tables and write it as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.executorch_sharing", description="Measure what sharing costs on ExecuTorch."
    )
    parser.add_argument("--spec", default="ds_mbv1")
    parser.add_argument("--runs", type=int, default=60, help="timed runs per unit, in blocks of 5")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/executorch_sharing.json"))
    options = parser.parse_args()
    result = run(options)
    report(result)
    write_json(options.out, result)
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
