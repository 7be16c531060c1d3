"""What a command found: tables and curves for people, and the same as plain data for machines.

`to_json` has every number at full precision, null where there is none. `show` draws the sections one below the other,
with the curves of a run's final screen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from monkeys.report.terminal.curve import Ink, Point, glyphs, plot

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table as RichTable

__all__ = ["Result", "Section", "Series", "Table", "known", "points", "show", "to_json"]

PLOT_ROWS = 13
WIDEST = 72
MARGIN = 1
BREAKS = re.compile(r" (?!%)|(?<=/)")  # where a heading may go on in the next line


@dataclass(frozen=True)
class Series:
    """A curve over k, and what is drawn over it."""

    name: str
    points: tuple[Point, ...]
    law: Callable[[float], float] | None = None
    law_name: str = "law"
    at: tuple[float, ...] = ()
    """Where the points stand in a picture, if not at k: their costs."""


@dataclass(frozen=True)
class Table:
    """Headings that begin with < stand left, the others right."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """One set of counts, or one question: a title, tables, a curve, and facts as pairs of words."""

    title: str
    tables: tuple[Table, ...] = ()
    series: Series | None = None
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Result:
    """All of it. `curves` are what a picture shows; `x` and `y` name its axes."""

    data: Mapping[str, Any]
    sections: tuple[Section, ...]
    curves: tuple[Series, ...] = ()
    y: str = "coverage (pass@k)"
    x: str = "attempts k"
    band: str = ""
    """What the bands around the curves are."""
    bars: tuple[tuple[str, float, float], ...] = ()
    """A picture's bars below its curves: task, share of correct samples, probability that plurality is right."""


def to_json(result: Result) -> str:
    """The data as one JSON object; null for NaN and infinity."""
    return json.dumps(_plain(result.data), indent=2, allow_nan=False)


def points(
    ks: Sequence[int], values: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> tuple[Point, ...]:
    """A curve's points, None where a bound is NaN."""
    return tuple(Point(*point) for point in zip(ks, values, map(known, low), map(known, high), strict=True))


def known(number: float) -> float | None:
    return number if isfinite(number) else None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return known(value) if isinstance(value, float) else value


def show(result: Result, console: Console) -> None:
    """Draw it on a terminal."""
    from rich.padding import Padding

    from monkeys.text import put

    parts = [part for section in result.sections for part in _section(section, console)]
    put(console, [*(Padding(part, (1, MARGIN, 0, MARGIN)) for part in parts), ""])


def _section(section: Section, console: Console) -> Iterator[RenderableType]:
    from rich.table import Table as Grid
    from rich.text import Text

    from monkeys.text import plain

    yield Text(plain(section.title), style="bold")
    for table in section.tables:
        yield _table(table, console)
    if section.series is not None and len(section.series.points) > 1:
        yield _drawing(section.series, console)
    if section.facts:
        grid = Grid.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column()
        for what, said in section.facts:
            grid.add_row(what, Text(plain(said)))
        yield grid


def _table(table: Table, console: Console) -> RenderableType:
    """As wide as its words; where there is no room for that its headings break, so that numbers stay whole."""
    from rich.text import Text

    from monkeys.report.terminal.final_screen import columns, name

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
    from rich.console import Group
    from rich.text import Text

    from monkeys.report.terminal.final_screen import INKS
    from monkeys.text import speaks_unicode

    unicode = speaks_unicode(console)
    ks = [point.k for point in series.points]
    ticks = [10**power for power in range(len(str(ks[-1])))]
    width = min(console.width - 2 * MARGIN, WIDEST)
    lines = plot(series.points, series.law, ticks, width=width, height=PLOT_ROWS, unicode=unicode)
    drawing = Text("\n", no_wrap=True).join(
        Text.assemble(*((piece, INKS[ink]) for piece, ink in line), overflow="crop") for line in lines
    )
    drawn = glyphs(unicode)
    legend = Text(" " * 8, no_wrap=True, overflow="crop")
    legend.append(drawn.curve * 2, INKS[Ink.CURVE]).append(f" {series.name}", "dim")
    if series.law is not None:
        legend.append("  ").append(drawn.law, INKS[Ink.LAW]).append(f" {series.law_name}", "dim")
    return Group(drawing, legend.append("  (log k)", "dim"))
