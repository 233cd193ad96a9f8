"""The steps of the demonstration: each an ordinary `dsnet` command, or the writing of its data."""

import contextlib
import io
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import typer

from common import DsnetError, atomic_write
from common.console import stdout
from demo.tables import operating_point_table, size_table, width_table
from edge.bundle.litert.hydrate import hydrate
from edge.bundle.reader import open_bundle
from edge.calibration.inputs import end_to_end_samples
from edge.calibration.operating_point import evaluate_point
from edge.cli import root
from edge.profiling import load_latency
from edge.runtime.predictions import load_predictions
from edge.runtime.route import Route
from train.data import write_digits

MARKER = ".dsnet-demo"
BUDGET_SHARES = (0.25, 0.5, 0.75)
"""Budgets, as shares of the way from the cheapest width's mean latency to the dearest's."""


def walk(out: Path, epochs: int | None = None) -> None:
    """Run every step into folder `out` and print the tables; what an earlier walk left there is replaced."""
    data, stage1, supernet = out / "data", out / "stage1.safetensors", out / "supernet.safetensors"
    bundle, latency = out / "bundle", out / "latency.json"
    predictions, unseen = out / "predictions.npz", out / "predictions_test.npz"
    _claim(out)
    for folder in (data, bundle):
        shutil.rmtree(folder, ignore_errors=True)
    latency.unlink(missing_ok=True)
    typer.echo(f"\nWriting 1,797 handwritten digits as PNG files to {data}")
    write_digits(data)
    shorter = ["--epochs", str(epochs)] if epochs else []
    dsnet("train", "supernet", "--spec", "ds_mbv1_tiny", "--data", data, "--out", stage1, "--threads", 1, *shorter)
    dsnet("train", "gate", "--checkpoint", stage1, "--data", data, "--out", supernet, "--threads", 1, *shorter)
    dsnet("convert", supernet, "--data", data / "calibration", "--out", bundle)
    dsnet("profile", bundle, "--out", latency)
    dsnet("predict", bundle, "--data", data / "calibration", "--out", predictions)
    budgets = [part for budget in _budgets(bundle, latency) for part in ("--budget", budget)]
    dsnet("calibrate", bundle, "--latency", latency, "--predictions", predictions, *budgets)
    dsnet("predict", bundle, "--data", data / "test", "--out", unseen)
    points = open_bundle(bundle).manifest.operating_points
    runs = {point.name: _run(bundle, data / "test", point.name) for point in points}
    _report(bundle, latency, unseen, runs)
    typer.echo(f"\nEverything is in {out}; try: dsnet inspect {bundle}")


def _claim(out: Path) -> None:
    """Mark a folder as the demonstration's own; one with anything else in it is refused: the walk replaces files."""
    if out.is_dir() and any(out.iterdir()) and not (out / MARKER).exists():
        raise DsnetError(f"{out} holds files that are not the demonstration's; give --out a new or empty folder")
    with atomic_write(out / MARKER) as marker:
        marker.write_text("made by dsnet demo, which replaces what is here\n", encoding="utf-8")


def dsnet(*words: object) -> None:
    """Print a command line and run it in this process."""
    arguments = [str(word) for word in words]
    typer.echo(f"\n$ dsnet {shlex.join(arguments)}")
    status = typer.main.get_command(root).main(arguments, prog_name="dsnet", standalone_mode=False)
    if status:
        raise typer.Exit(int(status))


def _budgets(bundle: Path, latency: Path) -> list[str]:
    """Return the budgets to calibrate for: between the cheapest and the dearest width's mean on this machine."""
    (run,) = load_latency(latency).runs
    route = Route.of(open_bundle(bundle).artifact(run.runtime, run.precision))
    means = [float(samples.mean()) for samples in end_to_end_samples(run, route, list(route.paths))]
    low, high = min(means), max(means)
    return [f"{low + share * (high - low):.4f}ms" for share in BUDGET_SHARES]


def _run(bundle: Path, images: Path, point: str) -> dict[str, Any]:
    """Run a folder of images through one operating point; return what `dsnet run --json` prints."""
    printed = io.StringIO()
    typer.echo(f"\n$ dsnet run {bundle} {images} --operating-point {point} --json")
    with contextlib.redirect_stdout(printed):
        arguments = ["run", str(bundle), str(images), "--operating-point", point, "--json"]
        typer.main.get_command(root).main(arguments, prog_name="dsnet", standalone_mode=False)
    result: dict[str, Any] = json.loads(printed.getvalue())
    return result


def _report(path: Path, latency: Path, unseen: Path, runs: dict[str, dict[str, Any]]) -> None:
    bundle, table, predictions = open_bundle(path), load_latency(latency), load_predictions(unseen)
    artifact = bundle.artifact("litert", "int8")
    points = [(point, evaluate_point(point, predictions, table, bundle)) for point in bundle.manifest.operating_points]
    nested = bundle.verified_bytes(artifact)
    singles = [len(hydrate(nested, ["prefix", p.name])) for p in artifact.programs if p.role == "tail"]
    console = stdout()
    console.print()
    console.print(width_table(bundle.manifest, Route.of(artifact), table.runs[0], predictions))
    console.print(operating_point_table(points, runs))
    console.print(size_table(len(nested), singles))
