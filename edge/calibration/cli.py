"""`dsnet calibrate`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edge.errors import CalibrationError

if TYPE_CHECKING:
    from edge.bundle.manifest import OperatingPoint
    from edge.calibration.budget import Budget
    from edge.calibration.inputs import Inputs
    from edge.profiling.latency_table import QualityWarning


def calibrate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder; the operating points land in it.")],
    latency: Annotated[Path, typer.Option(help="Latency table of the device (dsnet profile writes it).")],
    predictions: Annotated[Path, typer.Option(help="Predictions on calibration images (dsnet predict writes them).")],
    budget: Annotated[list[str], typer.Option(help="Latency budget, such as 3ms; repeat it for several points.")],
    statistic: Annotated[
        Literal["mean", "p95"], typer.Option(help="What the budget limits: the mean or the 95th percentile.")
    ] = "mean",
    name: Annotated[
        list[str] | None, typer.Option(help="Name of each operating point, in order; default: such as mean-3ms.")
    ] = None,
    runtime: Annotated[str | None, typer.Option(help="Runtime; default: the predictions'.")] = None,
    precision: Annotated[str | None, typer.Option(help="Precision; default: the predictions'.")] = None,
    device: Annotated[str | None, typer.Option(help="Device, where the latency table holds several.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Threads, where the latency table holds several.")
    ] = None,
    runner: Annotated[str | None, typer.Option(help="Runner, where the latency table holds several.")] = None,
    stand_in: Annotated[
        bool,
        typer.Option(
            help="Take predictions of another artifact of the bundle, for one that cannot run here (Core ML)."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable results.")] = False,
) -> None:
    """Find gate thresholds that keep a device within a budget.

    Of all threshold rules within the budget the most accurate one on the calibration images is found; the gap says how
    much better any other could be (0: none). Points of the same name in the bundle are replaced.
    """
    from common.console import print_json
    from edge.bundle.reader import open_bundle
    from edge.bundle.writer import add_operating_points, check_changeable
    from edge.calibration.budget import parse_budget
    from edge.calibration.inputs import Selection, load_inputs
    from edge.calibration.operating_point import calibration_warnings, operating_point

    budgets = [parse_budget(text, statistic) for text in budget]
    names = _names(name, budgets)
    opened = open_bundle(bundle)
    check_changeable(bundle)
    inputs = load_inputs(opened, latency, predictions, Selection(runtime, precision, device, threads, runner), stand_in)
    points = [operating_point(inputs, limit, label) for limit, label in zip(budgets, names, strict=True)]
    warnings = calibration_warnings(inputs, statistic)
    add_operating_points(opened.root, points)
    if as_json:
        print_json(
            {
                "operating_points": [point.model_dump(mode="json") for point in points],
                "warnings": [warning.model_dump(mode="json") for warning in warnings],
            }
        )
    else:
        _print_points(points, inputs)
        _print_warnings(warnings)


def _names(given: list[str] | None, budgets: "list[Budget]") -> list[str]:
    """Return one name for each budget; raises CalibrationError for names that do not fit."""
    names = given or [limit.name for limit in budgets]
    if len(names) != len(budgets):
        raise CalibrationError(f"{len(budgets)} budgets need {len(budgets)} names, found {len(names)}; repeat --name")
    for label in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", label):
            raise CalibrationError(
                f"--name {label[:80]!r} must be 1 to 64 letters, digits, dots, dashes or underscores"
            )
        if names.count(label) > 1:
            raise CalibrationError(
                f"operating point {label!r} is asked for twice; give every budget a --name of its own"
            )
    return names


def _print_points(points: "list[OperatingPoint]", inputs: "Inputs") -> None:
    from common.console import stdout, table
    from edge.bundle.describe import limit_text
    from edge.calibration.budget import latency_ms

    samples = dict(zip(inputs.predictions.metadata.widths, inputs.samples, strict=True))

    def expected_p95_ms(point: "OperatingPoint") -> float:
        used = [samples[share.width] for share in point.shares]
        return latency_ms("p95", used, [share.share for share in point.shares])

    summary = [
        (
            point.name,
            ", ".join(map(limit_text, point.limits)),
            f"{point.expected_mean_ms:.3f}",
            f"{expected_p95_ms(point):.3f}",
            f"{point.calibration_accuracy:.2%}",
            "–" if point.optimality_gap is None else f"{point.optimality_gap * 100:.3f}",
        )
        for point in points
    ]
    columns = ("name", "budget", "mean ms", "p95 ms", "accuracy", "gap (points)")
    images = len(inputs.predictions.label)
    stdout().print(table(f"Expected on {inputs.run.device}; accuracy on {images} calibration images", columns, summary))
    routing = [
        (
            point.name,
            share.width,
            f"> {threshold:.4f}" if threshold is not None else "any",
            f"{share.share:.1%}",
            f"{latency_ms('mean', [samples[share.width]], [1.0]):.3f}",
        )
        for point in points
        for share, threshold in zip(point.shares, [None, *getattr(point.policy, "thresholds", [])], strict=True)
    ]
    stdout().print(table("Routing", ("name", "width", "score", "share", "mean ms"), routing))


def _print_warnings(warnings: "list[QualityWarning]") -> None:
    from common.console import one_line

    for warning in warnings:
        typer.echo(f"warning: {one_line(warning.message)}; {one_line(warning.remedy)}", err=True)
