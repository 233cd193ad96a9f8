"""What people see: results on stdout, progress on stderr, never a control character from a stranger's file."""

import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table


def one_line(text: str) -> str:
    """Return `text` on one line, with whatever a terminal might interpret spelled out instead."""
    joined = " ".join(text.split())
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in joined)


def listed(items: Collection[object], most: int = 8) -> str:
    """Return items with commas between them: of more than `most` the first ones, and how many there are."""
    shown = ", ".join(map(str, islice(items, most)))
    return shown if len(items) <= most else f"{shown}, … ({len(items)} in all)"


def print_json(result: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one machine-readable result to stdout; NaN and Infinity are refused, as JSON has no word for them."""
    print(json.dumps(result, indent=1, allow_nan=False))


def stdout() -> "Console":
    """Return the console for results."""
    from rich.console import Console

    return Console()


def progress() -> "Progress":
    """Return a progress display on stderr, which stays silent where stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> "Table":
    """Return a table for people: columns whose cells are all numbers are aligned right."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    built = Table(title=escape(one_line(title)), title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for number, column in enumerate(columns):
        numeric = bool(cells) and all(_starts_as_number(row[number]) for row in cells)
        built.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        built.add_row(*map(escape, row))
    return built


def _starts_as_number(cell: str) -> bool:
    return cell.lstrip("+-").replace(",", "")[:1].isdigit() or cell == "–"
