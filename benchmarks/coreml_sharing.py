"""What sharing costs and saves on Core ML: `python -m benchmarks.coreml_sharing`.

On an untrained network: bytes of a bundle against packages of one width, of every width, and the multi-function package
that coremltools makes; time to convert and to hydrate; and what float16 masters change about the float network. Latency
needs Apple hardware and is not measured here.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.side_by_side import write_json
from common import atomic_write
from common.console import progress, stdout, table
from convert.artifacts import Request
from convert.build_bundle import build_bundle
from convert.coreml.nest import masters
from convert.coreml.options import PRECISIONS
from convert.fold import Tensors
from convert.images import CheckImages, noise_images
from convert.program_inputs import Named, run_widths
from convert.slice_plan import ProgramPlan, plan_programs
from convert.static_module import static_module
from edge.bundle.checks import artifact_widths
from edge.bundle.coreml.hydrate import Form, hydrate
from edge.bundle.manifest import Artifact
from edge.bundle.nested.weights import weights_files
from edge.bundle.reader import Bundle, open_bundle
from edge.devices.local import LocalDevice
from train.checkpoint import Checkpoint
from train.initialise import initial_tensors
from train.side_gate import spread_choices
from train.spec import SupernetSpec, load_spec

HYDRATIONS = 5
IMAGES = 32
"""Of noise, on which the float network is compared with the one whose weights are float16."""
TARGETS = {"fp16": 1.15, "int8": 1.35}
"""Precision → most bytes of a bundle with every width over its largest single package."""
ONE_WIDTH_SECONDS, ALL_WIDTHS_SECONDS, CONVERT_SECONDS = 0.3, 5.0, 60.0


@dataclass(frozen=True)
class Converted:
    """One conversion on disk."""

    bundle: Bundle
    artifact: Artifact
    seconds: float
    folder: Path = field(repr=False)

    @property
    def widths(self) -> list[int]:
        """Return the widths it serves."""
        return artifact_widths(self.artifact)

    def programs(self, widths: Sequence[int]) -> list[str]:
        """Return the programs that serve some widths."""
        return [item.name for item in self.artifact.programs if not set(widths).isdisjoint(item.widths)]

    def hydrated(self, widths: Sequence[int], form: Form) -> dict[Path, bytes]:
        """Return the files of packages for some widths, from a bundle opened anew as `dsnet hydrate` does."""
        bundle = open_bundle(self.bundle.root)
        out = self.folder / ("out.mlpackage" if form == "mlpackage" else "out")
        return hydrate(bundle, bundle.artifact("coreml", self.artifact.precision), self.programs(widths), out, form)

    def hydrate_seconds(self, widths: Sequence[int]) -> float:
        """Return the median time from an unopened bundle to one flushed package on disk."""
        return median(_seconds(lambda: self._write(widths)) for _ in range(HYDRATIONS))

    def _write(self, widths: Sequence[int]) -> None:
        for path, content in self.hydrated(widths, "mlpackage").items():
            with atomic_write(path) as temporary:
                temporary.write_bytes(content)


def convert(
    checkpoint: Checkpoint, widths: Sequence[int], precision: str, images: CheckImages, folder: Path
) -> Converted:
    """Run the product's own conversion."""
    place = folder / f"{precision}_{len(widths)}"
    classes = tuple(map(str, range(checkpoint.spec.classes)))
    request = Request(tuple(widths), "coreml", (precision,), classes)
    seconds = _seconds(lambda: build_bundle(checkpoint, request, images, place / "bundle"))
    bundle = open_bundle(place / "bundle")
    return Converted(bundle, bundle.artifact("coreml", precision), seconds, place)


def compare_bytes(converted: Converted) -> dict[str, Any]:
    """Return sizes in bytes: what the bundle holds, its largest single package, every width's, coremltools' own."""
    files = weights_files(converted.bundle, converted.artifact)
    nested = converted.artifact.bytes + sum(item.bytes for item in files.values())
    singles = {width: _size(converted.hydrated([width], "packages")) for width in converted.widths}
    largest, n = singles[converted.widths[-1]], len(converted.widths)
    return {
        "widths": n,
        "nested": nested,
        **{str(role): item.bytes for role, item in files.items()},
        "largest_single": largest,
        "sum_of_singles": sum(singles.values()),
        "multifunction": _size(converted.hydrated(converted.widths, "mlpackage")),
        "ratio": nested / largest,
        "sum_ratio": sum(singles.values()) / largest,
        "private_per_width": (nested - largest) / (n - 1),
    }


def compare_masters(checkpoint: Checkpoint) -> list[dict[str, float]]:
    """Return what rounding the weights to float16 alone changes about the float network, for its ends."""
    spec, widths = checkpoint.spec, (0, checkpoint.spec.n_widths - 1)
    pictures = torch.cat(
        [torch.from_numpy(one).permute(0, 3, 1, 2) for one in noise_images(spec, IMAGES, seed=1).images]
    )
    rounded = masters(checkpoint.tensors, plan_programs(spec, widths), "fp16")
    rows = []
    for width in widths:
        expected, found = (_logits(spec, tensors, width, pictures) for tensors in (checkpoint.tensors, rounded))
        rows.append(
            {
                "width": width,
                "max_relative": float(np.abs(found - expected).max() / np.abs(expected).max()),
                "same_class": float((found.argmax(1) == expected.argmax(1)).mean()),
            }
        )
    return rows


@torch.no_grad()
def _logits(spec: SupernetSpec, tensors: Tensors, width: int, pictures: torch.Tensor) -> np.ndarray:
    def run(plan: ProgramPlan, inputs: Sequence[Named[torch.Tensor]]) -> list[Named[torch.Tensor]]:
        answers = (static_module(spec, plan, tensors)(given[plan.input_name]) for given in inputs)
        outputs = (answer if isinstance(answer, tuple) else (answer,) for answer in answers)
        return [dict(zip(plan.output_names, output, strict=True)) for output in outputs]

    ((_, (output,)),) = run_widths(plan_programs(spec, [width]), [pictures], run)
    return output["logits"].numpy()


def _size(files: Mapping[Path, bytes]) -> int:
    return sum(map(len, files.values()))


def _seconds(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Return every figure."""
    spec = load_spec(options.spec)
    checkpoint, images = Checkpoint(spec, initial_tensors(spec, seed=0), {}, "0" * 64), noise_images(spec, 1, seed=0)
    every, few = tuple(range(spec.n_widths)), _few_widths(spec)
    choices = tuple(dict.fromkeys((few, every)))
    rows, folder = [], Path(tempfile.mkdtemp(prefix="dsnet-coreml-"))
    try:
        with progress() as bar:
            task = bar.add_task("", total=len(choices) * len(PRECISIONS))
            for precision in PRECISIONS:
                for widths in choices:
                    bar.update(task, description=f"{precision}, {len(widths)} widths")
                    converted = convert(checkpoint, widths, precision, images, folder)
                    rows.append(
                        {
                            "precision": precision,
                            **compare_bytes(converted),
                            "convert_seconds": converted.seconds,
                            "hydrate_one_seconds": converted.hydrate_seconds(widths[-1:]),
                            "hydrate_all_seconds": converted.hydrate_seconds(widths),
                        }
                    )
                    bar.advance(task)
    finally:
        shutil.rmtree(folder)
    return {
        "spec": spec.name,
        "date": time.strftime("%Y-%m-%d"),
        "machine": LocalDevice().fingerprint(),
        "versions": {name: version(name) for name in ("coremltools", "torch", "numpy")},
        "rows": rows,
        "masters": compare_masters(checkpoint),
        "targets": _targets([row for row in rows if row["widths"] == len(every)]),
    }


def _few_widths(spec: SupernetSpec) -> tuple[int, ...]:
    """Return the widths that the gates choose between; without a gate, what one would."""
    if not spec.choices:
        return tuple(spread_choices(spec.n_widths))
    parts = [set(choices) for choices in spec.choices]
    return tuple(
        width
        for width, path in enumerate(spec.paths)
        if all(entry in choices for entry, choices in zip(path, parts, strict=True))
    )


def _targets(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return every figure that there is a target for, of all widths."""
    claims = [
        (f"{row['precision']} bytes over the largest package", row["ratio"], TARGETS[row["precision"]])
        for row in rows
        if row["precision"] in TARGETS
    ]
    for what, key, limit in (
        ("hydrate one width, s", "hydrate_one_seconds", ONE_WIDTH_SECONDS),
        ("hydrate every width, s", "hydrate_all_seconds", ALL_WIDTHS_SECONDS),
        ("convert every width, s", "convert_seconds", CONVERT_SECONDS),
    ):
        claims += [(f"{row['precision']} {what}", row[key], limit) for row in rows]
    return [{"claim": claim, "value": value, "limit": limit, "met": value <= limit} for claim, value, limit in claims]


SIZES = (
    "precision", "widths", "bundle bytes", "largest single", "ratio", "separate", "multi-function", "private per width",
)  # fmt: skip
TIMES = ("precision", "widths", "convert s", "hydrate one s", "hydrate all s")


def report(result: Mapping[str, Any]) -> None:
    """Print the figures."""
    console, rows = stdout(), result["rows"]
    console.print(table(f"{result['spec']} on Core ML: bytes", SIZES, [_size_cells(row) for row in rows]))
    cells = [
        (
            row["precision"],
            str(row["widths"]),
            f"{row['convert_seconds']:.1f}",
            f"{row['hydrate_one_seconds']:.3f}",
            f"{row['hydrate_all_seconds']:.3f}",
        )
        for row in rows
    ]
    console.print(table("seconds, exporters imported; hydration from an unopened bundle to the disk", TIMES, cells))
    for row in result["masters"]:
        print(
            f"float16 masters, width {row['width']}: logits of the float network change by at most "
            f"{row['max_relative']:.1e} of the largest; same class for {row['same_class']:.1%} of {IMAGES} noise images"
        )
    for row in result["targets"]:
        print(f"{'met' if row['met'] else 'MISSED'}: {row['claim']}: {row['value']:.3f} (at most {row['limit']:g})")


def _size_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["precision"],
        str(row["widths"]),
        *(f"{row[key]:,}" for key in ("nested", "largest_single")),
        *(f"{row[key]:.3f}" for key in ("ratio", "sum_ratio")),
        f"{row['multifunction'] / row['largest_single']:.3f}",
        f"{row['private_per_width']:,.0f}",
    )


def main() -> None:
    """Run the comparison, print its tables and write it as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.coreml_sharing", description="Measure what sharing costs on Core ML."
    )
    parser.add_argument("--spec", default="ds_mbv1")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/coreml_sharing.json"))
    options = parser.parse_args()
    result = run(options)
    report(result)
    write_json(options.out, result)
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
