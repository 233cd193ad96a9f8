"""`dsnet profile` and `dsnet profile import`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from common.commands import group_with_default
from edge.errors import MeasurementError
from edge.profiling.history_cli import diff_runs, list_runs, show_run

if TYPE_CHECKING:
    from edge.profiling.latency_table import Entry, Run
    from edge.profiling.statistics import Ratio


def profile(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder, or a .zip of one.")],
    out: Annotated[Path, typer.Option(help="Latency table to write, or to add this run to (.json).")],
    runtime: Annotated[
        str | None, typer.Option(help="Runtime, where the bundle holds several: litert, executorch.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="Precision, where the bundle holds several.")] = None,
    widths: Annotated[str, typer.Option(help="Widths to measure: all, or indices such as 0,3.")] = "all",
    device: Annotated[
        str, typer.Option(help="Where: local, the serial of an Android device, or all that adb sees, each in a table.")
    ] = "local",
    runner: Annotated[
        str | None,
        typer.Option(
            help="What runs the programs. local: python, native (dsnet-runner, for ExecuTorch). Devices: native, "
            "executor_runner, benchmark_model, benchmark_model_gpu, app.  [default: the first that fits]",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads.")] = 1,
    ci: Annotated[
        str, typer.Option(help="Measure until every median is known to within this (95% confidence).")
    ] = "2%",
    min_runs: Annotated[int, typer.Option(min=6, help="Timed runs per unit, at least.")] = 50,
    max_runs: Annotated[int, typer.Option(min=6, help="Timed runs per unit, at most (rounded up to a block).")] = 1000,
    budget_seconds: Annotated[
        float | None, typer.Option(min=0, help="Stop after this time; default: no limit.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the blocks' random order.")] = 0,
    cores: Annotated[str | None, typer.Option(help="Devices: big, or a mask such as 0xf0; default: any.")] = None,
    sustained: Annotated[
        float | None, typer.Option(min=0, help="Keep at work for so many seconds first, and never let rest.")
    ] = None,
    fixed_performance: Annotated[
        bool, typer.Option(help="Devices: Android's fixed-performance mode, undone afterwards.")
    ] = False,
    screen: Annotated[bool, typer.Option(help="Devices: awake with a dark screen, undone afterwards.")] = False,
    restart: Annotated[bool, typer.Option(help="Start over instead of continuing an unfinished run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable results.")] = False,
) -> None:
    """Measure the latency of every width of a bundle.

    Times every program alone and every width end to end, in interleaved blocks of random order, until each median is
    known well enough. Every finished block is saved at once: after an interruption the same command continues.

    `dsnet profile import` takes in times measured elsewhere; `dsnet profile list`, `show` and `diff` look at the runs
    there have been.
    """
    from common import parse_widths
    from common.console import print_json
    from edge.bundle.reader import open_bundle
    from edge.profiling.fleet import Job, chosen_devices, profile_devices
    from edge.profiling.measure import Settings

    if min_runs > max_runs:
        raise MeasurementError(f"--min-runs {min_runs} is above --max-runs {max_runs}; raise --max-runs")
    opened = open_bundle(bundle)
    settings = Settings(
        ci=_fraction(ci),
        min_runs=min_runs,
        max_runs=max_runs,
        seed=seed,
        budget_seconds=budget_seconds,
        sustained_seconds=sustained,
    )
    artifact = opened.artifact(runtime, precision)
    job = Job(opened, artifact, parse_widths(widths), threads, settings, restart)
    chosen = chosen_devices(device, runner, artifact.runtime, cores, fixed_performance, screen)
    done, problems = profile_devices(job, chosen, out)
    if as_json:
        results = [_result(run, path) for path, run in done.items()]
        print_json(results[0] if len(chosen) == 1 and results else results)
    else:
        for path, run in done.items():
            _print_run(run, path)
    for problem in problems:
        _warn(problem)
    if len(done) < len(chosen):
        raise typer.Exit(2)


def import_samples(
    samples: Annotated[Path, typer.Argument(metavar="SAMPLES", help="A .csv or .json file of times (docs/coreml.md).")],
    bundle: Annotated[Path, typer.Option(help="The bundle whose programs were timed.")],
    out: Annotated[Path, typer.Option(help="Latency table to write, or to add this run to (.json).")],
    device: Annotated[
        str | None, typer.Option(help="Name of the device; default: what the file says.", show_default=False)
    ] = None,
    runtime: Annotated[str | None, typer.Option(help="Runtime, where the bundle holds several.")] = None,
    precision: Annotated[str | None, typer.Option(help="Precision, where the bundle holds several.")] = None,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads that were used.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable results.")] = False,
) -> None:
    """Take times that were measured elsewhere, on an iPhone say, into a latency table.

    SAMPLES is CSV with the columns programs and sample_ms (and device, if you like), a line per run, or JSON with
    samples_ms by program. Calibration needs times of every width end to end: prefix+tail_03, or gate+net_03.
    """
    from common.console import print_json
    from edge.bundle.reader import open_bundle
    from edge.profiling.history import Recorder
    from edge.profiling.import_samples import checked_device, imported_run, read_samples
    from edge.profiling.profile import add_run

    opened = open_bundle(bundle)
    found = read_samples(samples)
    name = checked_device(device or found.device, samples)
    artifact = opened.artifact(runtime, precision)
    run = imported_run(artifact, found.samples_ms, name, "imported", threads, samples.name)
    add_run(out, run)
    _warn(Recorder(opened.place.resolve().name).finish(run))
    if as_json:
        print_json(_result(run, out))
    else:
        _print_run(run, out)


app = typer.Typer(
    cls=group_with_default("profile"),
    help="Measure the latency of every width of a bundle.",
    add_completion=False,
    rich_markup_mode=None,
)
app.command("profile")(profile)
app.command("import")(import_samples)
app.command("list")(list_runs)
app.command("show")(show_run)
app.command("diff")(diff_runs)


def _warn(warning: str | None) -> None:
    from common.console import one_line

    if warning:
        typer.echo(f"warning: {one_line(warning)}", err=True)


LOGS = ("canary_ms", "conditions")
"""What a run notes after every block, too long to print."""


def _fraction(text: str) -> float:
    """Return 0.02 for "2%" and for "0.02"."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise MeasurementError(f"--ci {text!r} is no fraction between 0 and 1; give a percentage such as 2%")
    return value


def _result(run: "Run", out: Path) -> dict[str, Any]:
    from dataclasses import asdict

    from edge.profiling.statistics import summarise

    return {
        "out": str(out),
        "device": run.device,
        "runtime": run.runtime,
        "precision": run.precision,
        "runner": run.runner,
        "threads": run.threads,
        "artifact_sha256": run.artifact_sha256,
        "environment": {name: value for name, value in run.environment.items() if name not in LOGS},
        "complete": run.complete,
        "units": [{"programs": entry.programs, **asdict(summarise(entry))} for entry in _measured(run)],
        "ratios_to_narrowest": [
            {"programs": entry.programs, **asdict(ratio)} for entry, ratio in _ratios_to_narrowest(run)
        ],
        "warnings": [warning.model_dump() for warning in run.warnings],
    }


def _print_run(run: "Run", out: Path) -> None:
    from common.console import one_line, stdout, table

    columns = ("unit", "runs", "first", "p50", "p90", "p99", "mean", "MAD", "±CI")
    artifact = f"{run.runtime} {run.precision}"
    title = f"{one_line(run.device)}, {artifact}, {run.runner} runner, {run.threads} thread(s), milliseconds"
    console = stdout()
    console.print(table(title, columns, map(_row, _measured(run))))
    ratios = [
        ("+".join(entry.programs), f"{ratio.value:.2f}x", f"{ratio.interval.low:.2f}–{ratio.interval.high:.2f}x")
        for entry, ratio in _ratios_to_narrowest(run)
    ]
    if ratios:
        console.print(table("One image, against the narrowest width", ("unit", "time", "95% interval"), ratios))
    for warning in run.warnings:
        text = f"{warning.code}: {one_line(warning.message)}; {one_line(warning.remedy)}"
        console.print(text, markup=False, highlight=False)
    state = "wrote" if run.complete else "unfinished; run the same command to continue:"
    console.print(f"{state} {out}", markup=False, highlight=False)


def _row(entry: "Entry") -> tuple[str, ...]:
    from edge.profiling.statistics import relative_half_width, samples_ms, summarise

    summary = summarise(entry)
    figures = (summary.first_run_ms, summary.p50_ms, summary.p90_ms, summary.p99_ms, summary.mean_ms, summary.mad_ms)
    half_width = f"{relative_half_width(samples_ms(entry)):.1%}"
    return ("+".join(entry.programs), str(summary.runs), *(f"{ms:.3f}" for ms in figures), half_width)


def _measured(run: "Run") -> "list[Entry]":
    return [entry for entry in run.entries if entry.blocks_ms]


def _ratios_to_narrowest(run: "Run") -> "list[tuple[Entry, Ratio]]":
    """Return how long each width takes for one image (end to end, behind a gate) against the narrowest one measured."""
    from edge.profiling.statistics import paired_ratio

    measured = [entry for entry in _measured(run) if len(entry.blocks_ms) > 1]
    longest = max((len(entry.programs) for entry in measured), default=0)
    answering = [entry for entry in measured if len(entry.programs) == longest]
    return [(entry, paired_ratio(entry, answering[0])) for entry in answering[1:]]
