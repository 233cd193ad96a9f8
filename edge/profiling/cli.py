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
        str,
        typer.Option(
            help="Where: local, the serial of an Android device, any (the only one that adb sees), or all of them, "
            "each in a table of its own."
        ),
    ] = "local",
    runner: Annotated[
        str | None,
        typer.Option(
            help="What runs the programs. local: python, native (dsnet-runner, for ExecuTorch). Devices: native, "
            "executor_runner, benchmark_model, benchmark_model_gpu, app.  [default: the first that fits]",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[str, typer.Option(help="Threads; several numbers, such as 1,4, are a run each.")] = "1",
    ci: Annotated[
        str, typer.Option(help="Measure until every median is known to within this (95% confidence).")
    ] = "2%",
    min_runs: Annotated[int, typer.Option(min=6, help="Timed runs per unit, at least.")] = 50,
    max_runs: Annotated[int, typer.Option(min=6, help="Timed runs per unit, at most (rounded up to a block).")] = 1000,
    budget_seconds: Annotated[
        float | None, typer.Option(min=0, help="Stop a run after this time; default: no limit.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the blocks' random order.")] = 0,
    cores: Annotated[str | None, typer.Option(help="Devices: big, or a mask such as 0xf0; default: any.")] = None,
    sustained: Annotated[
        float | None,
        typer.Option(help="Measure sustained speed: keep at work for so many seconds first, and never let rest."),
    ] = None,
    fixed_performance: Annotated[
        bool, typer.Option(help="Devices: Android's fixed-performance mode, undone afterwards.")
    ] = False,
    screen: Annotated[bool, typer.Option(help="Devices: awake with a dark screen, undone afterwards.")] = False,
    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume/--restart",
            help="Of runs in the table: keep finished ones and continue one that was begun; or make all from the "
            "start. Default: continue one that was begun, and make finished ones anew.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable results.")] = False,
) -> None:
    """Measure the latency of every width of a bundle.

    Times every program alone and every width end to end, in interleaved blocks of random order, until each median is
    known well enough. Every finished block is saved at once: after an interruption the same command with --resume goes
    on, and runs that are finished stay as they are.

    `dsnet profile import` takes in times measured elsewhere; `dsnet profile list`, `show` and `diff` look at the runs
    there have been.
    """
    from common import parse_numbers, parse_widths
    from common.console import print_json
    from edge.bundle.reader import open_bundle
    from edge.profiling.fleet import Job, chosen_devices, profile_devices
    from edge.profiling.latency_table import MAX_SUSTAINED_SECONDS, MAX_THREADS
    from edge.profiling.measure import Settings

    if min_runs > max_runs:
        raise MeasurementError(f"--min-runs {min_runs} is above --max-runs {max_runs}; raise --max-runs")
    if sustained is not None and not 1 <= sustained <= MAX_SUSTAINED_SECONDS:
        raise MeasurementError(f"--sustained {sustained:g} is out of range; give 1 … {MAX_SUSTAINED_SECONDS:g} seconds")
    counts = parse_numbers(
        threads, "--threads", range(1, MAX_THREADS + 1), f"list of thread counts; give 1 … {MAX_THREADS}, such as 1,4"
    )
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
    job = Job(opened, artifact, parse_widths(widths), counts, settings, resume)
    chosen = chosen_devices(device, runner, artifact.runtime, cores, fixed_performance, screen)
    wanted = len(chosen) * len(counts)
    done, problems = profile_devices(job, chosen, out)
    if as_json:
        results = [_result(run, path) for path, run in done]
        print_json(results[0] if wanted == 1 and results else results)
    else:
        for path, run in done:
            _print_run(run, path)
    for problem in problems:
        _warn(problem)
    if len(done) < wanted:
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
    samples_ms by program. Calibration needs times of every width end to end: prefix+tail_03, gate+net_03.
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

    from edge.profiling.show import measured
    from edge.profiling.statistics import summarise

    return {
        "out": str(out),
        "device": run.device,
        "runtime": run.runtime,
        "precision": run.precision,
        "runner": run.runner,
        "threads": run.threads,
        "sustained_seconds": run.sustained_seconds,
        "artifact_sha256": run.artifact_sha256,
        "environment": {name: value for name, value in run.environment.items() if name not in LOGS},
        "complete": run.complete,
        "units": [{"programs": entry.programs, **asdict(summarise(entry))} for entry in measured(run)],
        "ratios_to_narrowest": [
            {"programs": entry.programs, **asdict(ratio)} for entry, ratio in _ratios_to_narrowest(run)
        ],
        "warnings": [warning.model_dump() for warning in run.warnings],
    }


def _print_run(run: "Run", out: Path) -> None:
    from common.console import one_line, stdout, table
    from edge.profiling.show import how, measured, times

    console = stdout()
    console.print(times(f"{one_line(run.device)}, {one_line(how(run))}, milliseconds", measured(run)))
    ratios = [
        ("+".join(entry.programs), f"{ratio.value:.2f}x", f"{ratio.interval.low:.2f}–{ratio.interval.high:.2f}x")
        for entry, ratio in _ratios_to_narrowest(run)
    ]
    if ratios:
        console.print(table("One image, against the narrowest width", ("unit", "time", "95% interval"), ratios))
    for warning in run.warnings:
        text = f"{warning.code}: {one_line(warning.message)}; {one_line(warning.remedy)}"
        console.print(text, markup=False, highlight=False)
    state = "wrote" if run.complete else "unfinished; the same command with --resume goes on:"
    console.print(f"{state} {out}", markup=False, highlight=False)


def _ratios_to_narrowest(run: "Run") -> "list[tuple[Entry, Ratio]]":
    """Return how long each width takes for one image (end to end, behind a gate) against the narrowest one measured."""
    from edge.profiling.show import measured
    from edge.profiling.statistics import paired_ratio

    often = [entry for entry in measured(run) if len(entry.blocks_ms) > 1]
    longest = max((len(entry.programs) for entry in often), default=0)
    answering = [entry for entry in often if len(entry.programs) == longest]
    return [(entry, paired_ratio(entry, answering[0])) for entry in answering[1:]]
