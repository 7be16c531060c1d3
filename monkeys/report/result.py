"""The result of a science command: tables, curves and facts for people, and the same as plain data for machines.

`to_json` has every number at full precision, null where there is none. `monkeys.report.terminal.result` draws a result
on a terminal, `monkeys.report.picture` into a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monkeys.report.point import Point
from monkeys.report.record import finite, json_text

__all__ = ["Result", "Section", "Series", "Table", "points", "to_json"]


@dataclass(frozen=True)
class Series:
    """A curve over k, and a law that is drawn over it."""

    name: str
    points: tuple[Point, ...]
    law: Callable[[float], float] | None = None
    law_name: str = "law"
    at: tuple[float, ...] = ()
    """The horizontal positions of the points in a picture where these are not k but, for example, costs."""


@dataclass(frozen=True)
class Table:
    """Columns whose headings begin with < are aligned left, the others right."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """The part of a result that is about one set of counts or one question. Facts are pairs of a label and a text."""

    title: str
    tables: tuple[Table, ...] = ()
    series: Series | None = None
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Result:
    """What a command found. A picture shows `curves`, with `x` and `y` as the names of its axes."""

    data: Mapping[str, Any]
    """For machines."""
    sections: tuple[Section, ...]
    """For people."""
    curves: tuple[Series, ...] = ()
    y: str = "coverage (pass@k)"
    x: str = "attempts k"
    band: str = ""
    """What the bands around the curves mean."""
    bars: tuple[tuple[str, float, float], ...] = ()
    """Bars below the curves: task, share of correct samples, probability that the plurality is right."""


def to_json(result: Result) -> str:
    """The data as one JSON object; null for NaN and infinity."""
    return json_text(result.data)


def points(
    ks: Sequence[int], values: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> tuple[Point, ...]:
    """A curve's points, None where a bound is NaN."""
    return tuple(Point(*point) for point in zip(ks, values, map(finite, low), map(finite, high), strict=True))
