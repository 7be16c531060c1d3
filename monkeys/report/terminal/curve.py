"""A coverage curve as characters: log k to the right, coverage upwards.

`plot` takes and returns plain data: lines of (characters, `Ink`), which any terminal can colour. With Unicode the
measured curve is drawn in braille dots, two by four in a cell; without, as one star in a cell. The fitted law is drawn
over the curve at every third column, so that both can be followed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from math import exp, log

from monkeys.report.point import Point

__all__ = ["Glyphs", "Ink", "Line", "glyphs", "plot"]


class Ink(Enum):
    """The part of the drawing that a character belongs to; each has its colour."""

    AXIS = "axis"
    BAND = "band"
    CURVE = "curve"
    LAW = "law"


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters of a drawing."""

    curve: str
    band: str
    law: str
    side: str
    tick: str
    corner: str
    floor: str
    mark: str


UNICODE = Glyphs(curve="⠤", band="░", law="◦", side="│", tick="┤", corner="└", floor="─", mark="┬")
PLAIN = Glyphs(curve="*", band=".", law="o", side="|", tick="+", corner="+", floor="-", mark="+")
# The dots of a braille cell, [row][column], as bits from U+2800.
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
TOPS = (0.01, 0.02, 0.04, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
LABEL = 7  # cells for "  75 % " in front of the axis

Line = list[tuple[str, Ink]]


def glyphs(unicode: bool) -> Glyphs:
    return UNICODE if unicode else PLAIN


def plot(
    points: Sequence[Point],
    law: Callable[[float], float] | None,
    ticks: Sequence[int],
    *,
    width: int,
    height: int,
    unicode: bool,
) -> list[Line]:
    """The curve through `points` (ascending k, at least two) with both axes: height + 2 lines of at most `width` cells.

    `height` is 4 n + 1, so that each quarter of the axis falls on a line. `ticks` are the k that are labelled, as far
    as there is room.
    """
    return _Plot(points, law, ticks, width - LABEL - 1, height, glyphs(unicode), unicode).lines()


class _Plot:
    def __init__(
        self,
        points: Sequence[Point],
        law: Callable[[float], float] | None,
        ticks: Sequence[int],
        columns: int,
        rows: int,
        glyphs: Glyphs,
        braille: bool,
    ) -> None:
        self.points, self.law, self.ticks, self.glyphs = points, law, ticks, glyphs
        self.columns, self.rows = columns, rows
        self.across, self.up = (2, 4) if braille else (1, 1)  # dots a cell
        self.logs = [log(point.k) for point in points]
        highest = max(max(point.coverage, point.high or 0.0, law(point.k) if law else 0.0) for point in points)
        self.top = next((top for top in TOPS if 0 < highest <= top), 1.0)
        self.cells: dict[tuple[int, int], tuple[str, Ink]] = {}

    def lines(self) -> list[Line]:
        self.shade()
        self.trace()
        self.overlay()
        return [*(self.line(row) for row in reversed(range(self.rows))), *self.floor()]

    # Positions. Dots and cells are counted from the left and from the bottom.

    def place(self, k: float) -> float:
        """The position of k between the two ends of the axis, from 0 to 1."""
        return (log(k) - self.logs[0]) / (self.logs[-1] - self.logs[0])

    def dot(self, coverage: float) -> int:
        return round(max(0.0, min(coverage / self.top, 1.0)) * (self.rows * self.up - 1))

    def between(self, step: int, steps: int) -> tuple[float, float | None, float | None]:
        """Coverage and its interval at a step of the axis, on straight lines from point to point."""
        at = self.logs[0] + step / steps * (self.logs[-1] - self.logs[0])
        right = min(bisect_right(self.logs, at), len(self.logs) - 1)
        share = (at - self.logs[right - 1]) / (self.logs[right] - self.logs[right - 1])
        one, two = self.points[right - 1], self.points[right]

        def mixed(a: float | None, b: float | None) -> float | None:
            return None if a is None or b is None else a + share * (b - a)

        return one.coverage + share * (two.coverage - one.coverage), mixed(one.low, two.low), mixed(one.high, two.high)

    # Layers, from the lowest to the highest

    def shade(self) -> None:
        for column in range(self.columns):
            _, low, high = self.between(column, self.columns - 1)
            if low is not None and high is not None:
                for row in range(self.dot(low) // self.up, self.dot(high) // self.up + 1):
                    self.cells[row, column] = self.glyphs.band, Ink.BAND

    def trace(self) -> None:
        inked: dict[tuple[int, int], int] = {}
        width = self.columns * self.across
        before = None
        for x in range(width):
            y = self.dot(self.between(x, width - 1)[0])
            # A steep step is filled in, so that the curve has no gaps.
            for dot in range(y if before is None else min(y, before + 1), y + 1):
                cell = dot // self.up, x // self.across
                inked[cell] = inked.get(cell, 0) | DOTS[self.up - 1 - dot % self.up][x % self.across]
            before = y
        for cell, bits in inked.items():
            self.cells[cell] = (chr(0x2800 + bits) if self.up > 1 else self.glyphs.curve), Ink.CURVE

    def overlay(self) -> None:
        if self.law is None:
            return
        for column in range(1, self.columns, 3):
            k = exp(self.logs[0] + column / (self.columns - 1) * (self.logs[-1] - self.logs[0]))
            self.cells[self.dot(self.law(k)) // self.up, column] = self.glyphs.law, Ink.LAW

    # Lines

    def line(self, row: int) -> Line:
        quarter, rest = divmod(4 * row, self.rows - 1)
        label = f"{100 * self.top * quarter / 4:g} %" if not rest else ""
        side = self.glyphs.side if rest else self.glyphs.tick
        cells = [self.cells.get((row, column), (" ", Ink.AXIS)) for column in range(self.columns)]
        return [(f"{label:>{LABEL - 1}} {side}", Ink.AXIS), *_runs(cells)]

    def floor(self) -> Iterator[Line]:
        marks, names = [self.glyphs.floor] * self.columns, [" "] * self.columns
        # The end first, so that it is labelled; the others where there is room.
        shown = dict.fromkeys([k for k in (self.points[-1].k, *self.ticks) if 1 <= k <= self.points[-1].k])
        room = [False] * len(names)
        for k in shown:
            column, name = round(self.place(k) * (self.columns - 1)), str(k)
            start = min(max(0, column - (len(name) - 1) // 2), len(names) - len(name))
            stop = start + len(name)
            marks[column] = self.glyphs.mark
            if not any(room[max(0, start - 1) : stop + 1]):
                names[start:stop] = name
                room[start:stop] = [True] * len(name)
        pad = " " * LABEL
        yield [(pad + self.glyphs.corner + "".join(marks), Ink.AXIS)]
        yield [(pad + " " + "".join(names).rstrip(), Ink.AXIS)]


def _runs(cells: Sequence[tuple[str, Ink]]) -> Line:
    """Neighbouring cells of one ink as one piece."""
    return [("".join(text for text, _ in run), ink) for ink, run in groupby(cells, key=lambda cell: cell[1])]
