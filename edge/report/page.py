"""The report as one HTML file: everything inside, nothing fetched, no script; names from strangers are only text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup

from common.console import one_line
from edge.bundle.describe import limit_text
from edge.profiling.show import how
from edge.report import adaptive_figure, figures
from edge.report.content import DynamicPoint, Report, Section
from edge.report.drawing import PALETTE, Chart, Table, inline_svg

CANARY = "canary_reference_ms"
"""What fixed work took: for comparing runs, and no fact about the device."""
SHOWN = 80
"""Characters of a fact about a device that are shown."""
POINTS = ("operating point", "top-1", "mean ms", "best single width as fast", "asked for", "judged on")


@dataclass(frozen=True)
class Block:
    """One section as the page shows it."""

    section: Section
    title: str
    facts: Sequence[str]
    points: Table
    warnings: Sequence[str]
    codes: str
    """The warnings in a word each."""
    charts: Sequence[Chart]

    @property
    def link(self) -> str:
        """Return the section's name within the page."""
        return f"run-{self.section.key}"


@dataclass(frozen=True)
class Page:
    """A report with its figures drawn."""

    report: Report
    blocks: Sequence[Block]
    sharing: Chart

    @classmethod
    def of(cls, report: Report) -> "Page":
        """Draw the figures of a report."""
        return cls(report, [_block(report, section) for section in report.sections], figures.sharing(report.sizes))

    @property
    def charts(self) -> list[Chart]:
        """Return every figure in the order of the page."""
        return [*(chart for block in self.blocks for chart in block.charts), self.sharing]

    def html(self) -> str:
        """Return the whole file."""
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("edge.report"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters.update(one_line=_text, svg=_markup)
        return environment.get_template("page.html").render(
            report=self.report,
            blocks=self.blocks,
            sharing=self.sharing,
            css=Markup(environment.get_template("page.css").render(light=_variables(0), dark=_variables(1))),
            facts=list(_facts(self.report)),
            overview=_overview(self.blocks),
            widths=_widths(self.report),
            peers=_peers(self.report),
        )


def _text(value: object) -> str:
    return one_line(str(value))


def _markup(chart: Chart) -> Markup:
    """Return a figure as it stands: what strangers named in it was escaped when it was drawn."""
    return Markup(inline_svg(chart))


def _variables(theme: int) -> str:
    return " ".join(f"--{role}: {colours[theme]};" for role, colours in PALETTE.items())


def _block(report: Report, section: Section) -> Block:
    run = section.run
    drawn = (
        figures.tradeoff(section, report.peers),
        figures.shares(section),
        figures.latency(section),
        adaptive_figure.switching(section),
    )
    warnings = [f"{warning.message}; {warning.remedy}" for warning in section.warnings]
    missing = [f"{len(section.left_out)} not shown"] if section.left_out else []
    return Block(
        section=section,
        title=f"{run.device}: {how(run)}",
        facts=list(_device_facts(section)),
        points=Table(POINTS, [_point_row(section, point) for point in section.points], words=(0, 4, 5)),
        warnings=[*warnings, *section.left_out],
        codes=", ".join([*(warning.code.replace("_", " ") for warning in section.warnings), *missing]),
        charts=[chart for chart in drawn if chart],
    )


def _facts(report: Report) -> Iterator[str]:
    model = report.manifest.model
    yield f"{len(report.manifest.widths)} widths"
    yield f"{len(model.classes)} classes"
    yield f"{model.input_size}×{model.input_size} pixels"
    kinds = [gate.kind for gate in report.manifest.gates]
    if kinds:
        yield f"{kinds[0]} gate" if len(kinds) == 1 else f"{len(kinds)} {kinds[0]} gates"


def _device_facts(section: Section) -> Iterator[str]:
    """Yield what is known of the device; lists and tables are logs of the measurement."""
    for name, value in section.run.environment.items():
        if value is not None and name != CANARY and not isinstance(value, list | dict):
            yield f"{name.replace('_', ' ')}: {value}"[:SHOWN]
    if section.images is not None:
        yield f"accuracy on {section.images} images"


def _point_row(section: Section, point: DynamicPoint) -> tuple[str, ...]:
    single = section.best_width_within(point.mean_ms.value)
    asked = ", ".join(map(limit_text, point.point.limits))
    sure = f" with probability {point.point.confidence:g}" if point.point.confidence else ""
    accuracy, mean_ms = point.accuracy, point.mean_ms
    return (
        point.point.name,
        f"{accuracy.value:.2%} ({accuracy.low:.1%}–{accuracy.high:.1%})",
        f"{mean_ms.value:.4g} ({mean_ms.low:.4g}–{mean_ms.high:.4g})",
        f"{single.accuracy:.2%} (width {single.index})" if single else "none",
        asked + sure,
        point.basis,
    )


def _overview(blocks: Sequence[Block]) -> Table:
    rows = [
        (
            block.title,
            *(f"{width.latency.p50_ms:.4g}" for width in (block.section.widths[0], block.section.widths[-1])),
            str(len(block.section.points)),
            str(len(block.warnings)),
        )
        for block in blocks
    ]
    columns = ("measured", "narrowest, p50 ms", "widest, p50 ms", "operating points", "warnings")
    return Table(columns, rows, links=[block.link for block in blocks])


def _widths(report: Report) -> Table:
    rows = [
        (f"{width.index} ({width.name})", f"{width.macs:,}", f"{width.params:,}") for width in report.manifest.widths
    ]
    return Table(("width", "multiply-accumulates", "parameters"), rows)


def _peers(report: Report) -> Table:
    rows: list[tuple[Any, ...]] = [
        (peer.name, peer.note, f"{peer.accuracy:.2%}", f"{peer.mean_ms:.4g}") for peer in report.peers
    ]
    return Table(("peer", "note", "top-1", "mean ms"), rows, words=(0, 1))
