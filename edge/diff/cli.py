"""`dsnet diff`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.errors import ConditionError

if TYPE_CHECKING:
    from edge.diff.compare import Difference
    from edge.diff.conditions import Verdict

CONDITION_FAILED = 3
"""Exit status for CI: neither a mistake in the command (2) nor an error of ours (1)."""

Files = list[Path] | None


def _bundle(metavar: str, text: str) -> Any:
    return typer.Argument(metavar=metavar, help=text, show_default=False)


def _files(text: str) -> Any:
    return typer.Option(metavar="FILE", help=f"{text}; repeat it for several.", show_default=False)


def diff(
    a: Annotated[Path, _bundle("A", "The bundle to compare with: a folder or a .zip.")],
    b: Annotated[Path, _bundle("B", "The bundle that is compared.")],
    latency_a: Annotated[Files, _files("Latency table of A")] = None,
    latency_b: Annotated[Files, _files("Latency table of B")] = None,
    predictions_a: Annotated[Files, _files("Predictions of A")] = None,
    predictions_b: Annotated[Files, _files("Predictions of B")] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Exit with status 3 if this is certain, such as 'latency>3%', 'size>2%' or "
            "'accuracy-drop>0.5%:point=fast'; repeat it for several.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable results.")] = False,
) -> None:
    """Compare two releases of a bundle: size, latency, accuracy.

    Sizes and multiply-accumulates are in the bundles. Latency tables give the latency of every width, predictions its
    accuracy, both together what the operating points do; without them, what the bundles record of their points is
    shown. Every change carries its 95% interval.

    A condition fails where the near end of a change's interval is beyond it: what noise may explain does not fail.
    Conditions are METRIC>VALUE%, METRIC one of size, macs, latency, accuracy-drop (in points), of all that is measured
    or of :width, :width=3, :point, :point=NAME. Quote them: the shell has a use of its own for >. Exit status: 0 no
    condition failed, 3 one failed, 2 one cannot be judged by what was given.
    """
    from common.console import print_json
    from edge.bundle.reader import open_bundle
    from edge.diff.compare import diff_bundles
    from edge.diff.conditions import judge, parse_condition
    from edge.diff.evidence import gather

    conditions = [parse_condition(text) for text in fail_if or []]
    _check_pairs(("latency", latency_a, latency_b), ("predictions", predictions_a, predictions_b))
    sides = (
        gather(open_bundle(a), latency_a or [], predictions_a or []),
        gather(open_bundle(b), latency_b or [], predictions_b or []),
    )
    found = diff_bundles(*sides)
    verdicts = [judge(condition, found) for condition in conditions]
    if as_json:
        print_json(_result(found, verdicts))
    else:
        _print(a, b, found, verdicts)
    if any(verdict.failed for verdict in verdicts):
        raise typer.Exit(CONDITION_FAILED)


def _check_pairs(*pairs: tuple[str, Files, Files]) -> None:
    for name, a, b in pairs:
        if bool(a) != bool(b):
            given, other = ("a", "b") if a else ("b", "a")
            raise ConditionError(f"--{name}-{given} needs --{name}-{other}: a change has two sides")


def _result(found: "Difference", verdicts: "list[Verdict]") -> dict[str, Any]:
    from dataclasses import asdict

    judged = [{**asdict(verdict), "failed": verdict.failed} for verdict in verdicts]
    return {**asdict(found), "conditions": judged, "failed": any(verdict.failed for verdict in verdicts)}


def _print(a: Path, b: Path, found: "Difference", verdicts: "list[Verdict]") -> None:
    from common.console import one_line, stdout
    from edge.diff.show import lines, tables, verdict_lines

    typer.echo(f"A: {one_line(str(a))}\nB: {one_line(str(b))}")
    for table in tables(found):
        stdout().print(table)
    for line in lines(found):
        typer.echo(one_line(line))
    for verdict in verdicts:
        typer.echo("\n".join(map(one_line, verdict_lines(verdict))))
