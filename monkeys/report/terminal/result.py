"""The result of a science command on a terminal: its sections one below the other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from monkeys.report.result import Result, Section, Series, Table
from monkeys.report.terminal.console import MARGIN, columns, facts, name, put, speaks_unicode
from monkeys.report.terminal.figure import WIDEST, figure
from monkeys.text import plain

__all__ = ["render"]

BREAKS = re.compile(r" (?!%)|(?<=/)")  # where a heading may be broken


def render(result: Result, console: Console) -> None:
    """Draw the result."""
    parts = [part for section in result.sections for part in _section(section, console)]
    put(console, [*(Padding(part, (1, MARGIN, 0, MARGIN)) for part in parts), ""])


def _section(section: Section, console: Console) -> Iterator[RenderableType]:
    yield Text(plain(section.title), style="bold")
    for table in section.tables:
        yield _table(table, console)
    if section.series is not None and len(section.series.points) > 1:
        yield _drawing(section.series, console)
    if section.facts:
        grid = facts()
        for label, text in section.facts:
            grid.add_row(label, Text(plain(text)))
        yield grid


def _table(table: Table, console: Console) -> RenderableType:
    """As wide as its words. Where there is no room for that its headings are broken, so that numbers stay whole."""

    def drawn(headings: Sequence[str]) -> RichTable:
        made = columns(*headings)
        for row in table.rows:
            cells = zip(headings, row, strict=True)
            made.add_row(*(name(cell) if heading.startswith("<") else Text(cell) for heading, cell in cells))
        return made

    whole, room = drawn(table.headings), console.width - 2 * MARGIN
    if console.measure(whole, options=console.options.update(max_width=10 * console.width)).maximum <= room:
        return whole
    return drawn([BREAKS.sub("\n", heading) for heading in table.headings])


def _drawing(series: Series, console: Console) -> RenderableType:
    last = series.points[-1].k
    return figure(
        series.points,
        series.law,
        [10**power for power in range(len(str(last)))],
        width=min(console.width - 2 * MARGIN, WIDEST),
        unicode=speaks_unicode(console),
        curve_name=series.name,
        law_name=series.law_name,
    )
