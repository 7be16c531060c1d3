"""The result of a science command on a terminal: its sections one below the other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from textwrap import wrap

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from monkeys.report.result import Result, Section, Series, Table
from monkeys.report.terminal.console import MARGIN, columns, facts, name, put, speaks_unicode
from monkeys.report.terminal.figure import WIDEST, figure
from monkeys.text import brief

__all__ = ["render"]

FOLDED = 12  # characters of a line of a heading that is broken anywhere
WIDE = 10_000  # more than any table needs
BREAKS = re.compile(r" (?!%)|(?<=/)")  # where a heading may be broken


def render(result: Result, console: Console) -> None:
    """Draw the result."""
    parts = [part for section in result.sections for part in _section(section, console)]
    put(console, [*(Padding(part, (1, MARGIN, 0, MARGIN)) for part in parts), ""])


def _section(section: Section, console: Console) -> Iterator[RenderableType]:
    yield Text(brief(section.title), style="bold")
    for table in section.tables:
        yield from _tables(table, console)
    if section.series is not None and len(section.series.points) > 1:
        yield _drawing(section.series, console)
    if section.facts:
        grid = facts()
        for label, text in section.facts:
            grid.add_row(brief(label), Text(brief(text)))
        yield grid


def _tables(table: Table, console: Console) -> Iterator[RenderableType]:
    """As wide as its words. Where there is no room for that, headings and then long names are broken.

    Where that is not enough, some columns go beneath the others: numbers stay whole, and the columns at the left that
    name a row stand in each part.
    """
    room = console.width - 2 * MARGIN
    broken = [BREAKS.sub("\n", heading) for heading in table.headings]
    folded = [_folded(heading, FOLDED) for heading in broken]
    names = next((at for at, heading in enumerate(table.headings) if not heading.startswith("<")), len(folded))
    widest = max(FOLDED, room // 2 // max(names, 1))
    whole = [[brief(cell) for cell in row] for row in table.rows]
    rows = [[_folded(cell, widest) if at < names else cell for at, cell in enumerate(row)] for row in whole]
    for headings, cells in ((table.headings, whole), (broken, whole), (folded, whole), (folded, rows)):
        drawn = _drawn(headings, cells)
        if _width(drawn, console) <= room:
            yield drawn
            return
    first = list(range(names)) or [0]
    rest = list(range(len(first), len(folded)))
    while rest:
        fits = 1
        while fits < len(rest) and _width(_part(folded, rows, [*first, *rest[: fits + 1]]), console) <= room:
            fits += 1
        yield _part(folded, rows, [*first, *rest[:fits]])
        rest = rest[fits:]


def _part(headings: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[int]) -> RichTable:
    return _drawn([headings[at] for at in columns], [[row[at] for at in columns] for row in rows])


def _drawn(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> RichTable:
    made = columns(*headings)
    for row in rows:
        cells = zip(headings, row, strict=True)
        made.add_row(*(_named(cell) if heading.startswith("<") else Text(brief(cell)) for heading, cell in cells))
    return made


def _named(cell: str) -> Text:
    return Text("\n", no_wrap=True).join(name(line) for line in cell.split("\n"))


def _width(table: RichTable, console: Console) -> int:
    return console.measure(table, options=console.options.update(max_width=WIDE)).maximum


def _folded(text: str, width: int) -> str:
    """The text in lines of at most `width` characters, broken between words and after hyphens where it has any."""
    lines = (wrap(line, width, break_on_hyphens=True, break_long_words=True) or [""] for line in text.split("\n"))
    return "\n".join(part for line in lines for part in line)


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
