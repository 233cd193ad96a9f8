"""`dsnet profile list`, `dsnet profile show` and `dsnet profile diff`: the history of runs on this machine."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edge.profiling.compare import Changed, Comparison, UnitDifference
    from edge.profiling.history import Kept, Listed

HIGHEST = 2**63 - 1
SHOWN = 60
"""Characters of a fact that is shown; --json has all."""

AsJson = Annotated[bool, typer.Option("--json", help="Print machine-readable results.")]


def _number(metavar: str, text: str) -> object:
    return typer.Argument(metavar=metavar, min=1, max=HIGHEST, help=text, show_default=False)


def list_runs(
    device: Annotated[str | None, typer.Option(help="Only runs on this device.")] = None,
    bundle: Annotated[str | None, typer.Option(help="Only runs of bundles of this name.")] = None,
    runtime: Annotated[str | None, typer.Option(help="Only runs with this runtime.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=HIGHEST, help="Runs to list, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the runs that were measured or imported on this machine, the newest first.

    They are kept in the user's folder for data, or in the file that $DSNET_HISTORY names.
    """
    from common.console import print_json, stdout, table
    from edge.profiling.history import recorded_runs

    runs = recorded_runs(device=device, bundle=bundle, runtime=runtime, limit=limit)
    if as_json:
        print_json({"runs": [listed.model_dump() for listed in runs]})
    elif runs:
        columns = ("run", "started (UTC)", "bundle", "device", "runtime", "remarks")
        stdout().print(table("Runs", columns, map(_list_row, runs)))
    else:
        typer.echo("no such runs; dsnet profile keeps every run it measures")


def show_run(
    run: Annotated[int, _number("RUN", "Number of a run, as dsnet profile list shows it.")], as_json: AsJson = False
) -> None:
    """Show a run of the history: where and when it was measured, every unit's times, warnings.

    With --json, all of it: raw samples in the order of measurement, and everything that is known of the device.
    """
    from dataclasses import asdict

    from common.console import print_json
    from edge.profiling.history import recorded_run
    from edge.profiling.show import measured
    from edge.profiling.statistics import summarise

    kept = recorded_run(run)
    if as_json:
        units = [{"programs": entry.programs, **asdict(summarise(entry))} for entry in measured(kept.run)]
        print_json({**kept.listed.model_dump(), "units": units, "run": kept.run.model_dump()})
    else:
        _print_kept(kept)


def diff_runs(
    a: Annotated[int, _number("A", "Number of the run to compare with.")],
    b: Annotated[int, _number("B", "Number of the run that is compared.")],
    as_json: AsJson = False,
) -> None:
    """Show by how much run B is slower or faster than run A, unit by unit, with 95% intervals.

    An interval holds what varies within a run, not from one start of the program to the next, and each stands for
    itself: of twenty equal units, one is expected to look different.
    """
    from dataclasses import asdict

    from common.console import print_json
    from edge.profiling.compare import compare_runs
    from edge.profiling.history import recorded_run

    kept_a, kept_b = recorded_run(a), recorded_run(b)
    found = compare_runs(kept_a.run, kept_b.run)
    if as_json:
        print_json({"a": kept_a.listed.model_dump(), "b": kept_b.listed.model_dump(), **asdict(found)})
    else:
        _print_comparison(kept_a, kept_b, found)


def _list_row(listed: "Listed") -> tuple[object, ...]:
    from edge.profiling.show import speed

    minutes = listed.started.replace("T", " ")[: len("2026-01-01 00:00")]
    how = [f"{listed.runtime} {listed.precision}"]
    how += [listed.runner] * (listed.runner != "python") + [f"{listed.threads} threads"] * (listed.threads > 1)
    how += [speed(listed.sustained_seconds)] * (listed.sustained_seconds is not None)
    return (listed.id, minutes, listed.bundle, listed.device, ", ".join(how), _remarks(listed))


def _remarks(listed: "Listed") -> str:
    warnings = [f"{listed.warnings} warning{'s' * (listed.warnings > 1)}"] * (listed.warnings > 0)
    return ", ".join(["unfinished"] * (not listed.complete) + warnings)


def _print_kept(kept: "Kept") -> None:
    from common.console import stdout, table
    from edge.profiling.show import how, measured, times

    listed = kept.listed
    facts = [
        ("started, last written", f"{listed.started}, {listed.updated}"),
        ("bundle", listed.bundle),
        ("artifact", listed.artifact_sha256),
        ("runtime", how(kept.run)),
        *((name, _shown(value)) for name, value in kept.run.environment.items() if not isinstance(value, list | dict)),
    ]
    console = stdout()
    console.print(table(_title(kept), ("", ""), facts))
    console.print(times("Milliseconds", measured(kept.run)))
    for warning in kept.run.warnings:
        _echo(f"{warning.code}: {warning.message}; {warning.remedy}")


def _print_comparison(a: "Kept", b: "Kept", found: "Comparison") -> None:
    from common.console import stdout, table

    columns = ("unit", "A", "B", "B / A", "95% interval", "B is")
    title = f"A: {_title(a)}\nB: {_title(b)}\np50 in milliseconds"
    stdout().print(table(title, columns, map(_difference_row, found.units)))
    for name, alone in (("A", found.only_in_a), ("B", found.only_in_b)):
        if alone:
            _echo(f"only in {name}: {', '.join('+'.join(unit) for unit in alone)}")
    methods = {unit.resampled for unit in found.units if unit.resampled}
    if "runs" in methods:
        _echo("some times were not measured in blocks: their intervals take every run for independent, and are narrow")
    if found.changed:
        _echo(f"warning: more than the times differ: {'; '.join(map(_changed_text, found.changed))}")
    for name, kept in (("A", a), ("B", b)):
        doubts = [*([] if kept.run.complete else ["unfinished"]), *(warning.code for warning in kept.run.warnings)]
        if doubts:
            _echo(f"warning: {name}: {', '.join(doubts)}; dsnet profile show {kept.listed.id} says more")


def _difference_row(unit: "UnitDifference") -> tuple[str, ...]:
    times = f"{unit.a_p50_ms:.3f}", f"{unit.b_p50_ms:.3f}"
    if unit.b_over_a is None or unit.interval is None:
        return ("+".join(unit.programs), *times, "–", "–", f"not comparable: {unit.verdict}")
    ratio = f"{unit.b_over_a:.3f}x", f"{unit.interval.low:.3f}–{unit.interval.high:.3f}x"
    return ("+".join(unit.programs), *times, *ratio, unit.verdict)


def _changed_text(changed: "Changed") -> str:
    return f"{changed.name}: {_shown(changed.a)} → {_shown(changed.b)}"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = "unknown" if value is None else str(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _title(kept: "Kept") -> str:
    """Return a run in a few words."""
    from common.console import one_line

    remarks = _remarks(kept.listed)
    return one_line(
        f"run {kept.listed.id}: {kept.listed.bundle} on {kept.run.device}" + (f" ({remarks})" if remarks else "")
    )


def _echo(text: str) -> None:
    from common.console import one_line

    typer.echo(one_line(text))
