"""`dsnet calibrate`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.errors import CalibrationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.bundle.manifest import Estimate, OperatingPoint
    from edge.bundle.policies import TreeNode
    from edge.calibration.budget import Budget
    from edge.calibration.compare import Comparison
    from edge.calibration.inputs import Inputs
    from edge.profiling.latency_table import QualityWarning

PER_CENT = 100


def calibrate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder; the operating points land in it.")],
    latency: Annotated[Path, typer.Option(help="Latency table of the device (dsnet profile writes it).")],
    predictions: Annotated[Path, typer.Option(help="Predictions on calibration images (dsnet predict writes them).")],
    budget: Annotated[
        list[str] | None,
        typer.Option(
            help="What to keep within: 8ms (the mean), 'p99<=20ms' (p50, p90, p95, p99), 'images/s>=30', 'macs<=200M', "
            "several with commas between them; or 'accuracy>=70%', as cheaply as possible. Repeat it for several "
            "points."
        ),
    ] = None,
    sweep: Annotated[
        int | None,
        typer.Option(min=2, max=100, help="So many mean budgets, evenly from the cheapest width to the dearest."),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="Name of each operating point, in order; default: such as mean-3ms.")
    ] = None,
    policy: Annotated[
        str,
        typer.Option(
            help="What picks the width: thresholds (on the first gate's score), tree (on every gate's), utility or "
            "cascade (docs/policies.md)."
        ),
    ] = "thresholds",
    compare: Annotated[
        bool, typer.Option(help="Also show what the other policies would do on held-out images.")
    ] = False,
    confidence: Annotated[
        float | None,
        typer.Option(help="Keep the budget on new images with this probability, such as 0.95.", show_default=False),
    ] = None,
    runtime: Annotated[str | None, typer.Option(help="Runtime; default: the predictions'.")] = None,
    precision: Annotated[str | None, typer.Option(help="Precision; default: the predictions'.")] = None,
    device: Annotated[str | None, typer.Option(help="Device, where the latency table holds several.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Threads, where the latency table holds several.")
    ] = None,
    runner: Annotated[str | None, typer.Option(help="Runner, where the latency table holds several.")] = None,
    sustained: Annotated[bool, typer.Option(help="Use the device's sustained speed, not that of a burst.")] = False,
    stand_in: Annotated[
        bool,
        typer.Option(
            help="Take predictions of another artifact of the bundle, for one that cannot run here (Core ML)."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable results.")] = False,
) -> None:
    """Find operating points that keep a device within a budget.

    Of all threshold rules within the budget the best one on the calibration images is found; the gap says how much
    better any other could be (0: none). Other policies are searched for, without that promise (docs/calibration.md).
    Held-out figures come from policies that were not fitted to the images they are judged on; with --confidence, those
    images also chose the policy. Points of the same name in the bundle are replaced.
    """
    from common.console import print_json
    from edge.bundle.reader import open_bundle
    from edge.bundle.writer import add_operating_points, check_changeable
    from edge.calibration.compare import compare_policies
    from edge.calibration.inputs import Selection, load_inputs
    from edge.calibration.operating_point import operating_point
    from edge.calibration.policies import KINDS
    from edge.calibration.warnings import calibration_warnings

    if policy not in KINDS:
        raise CalibrationError(f"unknown policy {policy[:40]!r}; valid for --policy: {', '.join(KINDS)}")
    if confidence is not None and not 0.5 <= confidence < 1:
        raise CalibrationError(f"--confidence {confidence:g} must be at least 0.5 and below 1, such as 0.95")
    opened = open_bundle(bundle)
    check_changeable(bundle)
    selection = Selection(runtime, precision, device, threads, runner, sustained)
    inputs = load_inputs(opened, latency, predictions, selection, stand_in)
    budgets = _budgets(budget, sweep, inputs)
    names = _names(name, budgets)
    points = [
        operating_point(inputs, wanted, label, policy, confidence) for wanted, label in zip(budgets, names, strict=True)
    ]
    warnings = calibration_warnings(inputs, budgets)
    comparisons = [compare_policies(inputs, wanted) for wanted in budgets] if compare else []
    add_operating_points(opened.root, points)
    if as_json:
        result: dict[str, Any] = {
            "operating_points": [point.model_dump(mode="json") for point in points],
            "warnings": [warning.model_dump(mode="json") for warning in warnings],
        }
        print_json(result | ({"comparisons": [each.record() for each in comparisons]} if compare else {}))
        return
    _print_points(points, inputs)
    for comparison in comparisons:
        _print_comparison(comparison)
    _print_warnings(warnings)


def _budgets(given: list[str] | None, sweep: int | None, inputs: "Inputs") -> "list[Budget]":
    from edge.calibration.budget import parse_budget, sweep_budgets
    from edge.calibration.inputs import end_to_end_samples

    if bool(given) == bool(sweep):
        raise CalibrationError("give either --budget, such as 8ms, or --sweep with a number of budgets")
    if given:
        return [parse_budget(text) for text in given]
    widths = inputs.predictions.metadata.widths
    means = [float(samples.mean()) for samples in end_to_end_samples(inputs.run, inputs.route, widths)]
    return sweep_budgets(min(means), max(means), sweep or 0)


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

    summary = [
        (
            point.name,
            ", ".join(map(limit_text, point.limits)),
            f"{point.expected_mean_ms:.3f}",
            f"{point.calibration_accuracy:.2%}",
            _gap(point),
        )
        for point in points
    ]
    columns = ("name", "budget", "mean ms", "accuracy", "gap")
    images = len(inputs.predictions.label)
    console = stdout()
    console.print(table(f"Expected on {inputs.run.device}; accuracy on {images} calibration images", columns, summary))
    held_out = [row for point in points for row in _held_out_rows(point)]
    if held_out:
        title = "On images held out from fitting, with 95% intervals"
        console.print(table(title, ("name", "accuracy %", "mean ms", "other limits"), held_out))
    routing = [
        (point.name, share.width, rule, f"{share.share:.1%}", "–" if share.mean_ms is None else f"{share.mean_ms:.3f}")
        for point in points
        for share, rule in zip(point.shares, _rules(point), strict=True)
    ]
    console.print(table("Routing", ("name", "width", "when", "share", "mean ms"), routing))


def _held_out_rows(point: "OperatingPoint") -> "Iterator[tuple[str, ...]]":
    """Yield the held-out figures of a point; nothing where there are none."""
    if not point.held_out:
        return
    others = [
        f"{limit.statistic} {_interval(found, 1, 3)}"
        for limit, found in zip(point.limits, point.held_out.limits, strict=True)
        if limit.statistic not in ("accuracy", "mean_ms")
    ]
    accuracy, mean_ms = _interval(point.held_out.accuracy, PER_CENT, 2), _interval(point.held_out.mean_ms, 1, 3)
    yield point.name, accuracy, mean_ms, ", ".join(others) or "–"


def _gap(point: "OperatingPoint") -> str:
    if point.optimality_gap is None:
        return "–"
    if point.objective == "accuracy":
        return f"{point.optimality_gap * PER_CENT:.3f} points"
    return f"{point.optimality_gap:.3f} ms"


def _rules(point: "OperatingPoint") -> list[str]:
    """Return when each width of a point answers, in words."""
    if point.policy.kind == "tree":
        found: dict[int, list[str]] = {}
        for width, way in _ways(point.policy.root):
            found.setdefault(width, []).append(way)
        return [" or ".join(found[width]) for width in point.widths]
    if point.policy.kind == "thresholds":
        return ["any", *(f"score > {threshold:.4f}" for threshold in point.policy.thresholds)]
    if point.policy.kind == "cascade":
        return [*(f"sure of {confidence:.4f}" for confidence in point.policy.confidences), "else"]
    return [f"chance − {penalty:.4f} is best" for penalty in point.policy.penalties]


def _ways(node: "TreeNode", before: tuple[str, ...] = ()) -> "Iterator[tuple[int, str]]":
    """Yield every leaf of a tree and, in words, which scores lead to it."""
    lows, highs = [None, *node.thresholds], [*node.thresholds, None]
    for child, low, high in zip(node.next, lows, highs, strict=True):
        above, below = "" if low is None else f"{low:.4f} < ", "" if high is None else f" ≤ {high:.4f}"
        way = (*before, f"{above}score {len(before) + 1}{below}") if above or below else (*before, "any")
        if isinstance(child, int):
            yield child, ", ".join(part for part in way if part != "any") or "any"
        else:
            yield from _ways(child, way)


def _interval(estimate: "Estimate", scale: float, digits: int) -> str:
    value, low, high = (f"{part * scale:.{digits}f}" for part in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def _print_comparison(comparison: "Comparison") -> None:
    from common.console import stdout, table

    rows = [
        (row.kind, _interval(row.held_out.accuracy, PER_CENT, 2), _interval(row.held_out.mean_ms, 1, 3))
        if row.held_out
        else (row.kind, row.problem, "")
        for row in comparison.rows
    ]
    stdout().print(
        table(f"Policies for {comparison.budget}, on held-out images", ("policy", "accuracy %", "mean ms"), rows)
    )


def _print_warnings(warnings: "list[QualityWarning]") -> None:
    from common.console import one_line

    for warning in warnings:
        typer.echo(f"warning: {one_line(warning.message)}; {one_line(warning.remedy)}", err=True)
