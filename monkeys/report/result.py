"""The result of a science command: tables, curves and facts for people, and the same as plain data for machines.

`to_json` and `to_csv` have every number at full precision, null or nothing where there is none.
`monkeys.report.terminal.result` draws a result on a terminal, `monkeys.report.picture` into a file,
`monkeys.report.latex` for a document.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monkeys.report.point import Point
from monkeys.report.record import finite, json_text

__all__ = ["Grid", "Result", "Section", "Series", "Table", "points", "to_csv", "to_json"]


CAPTION = "interval"  # an object that says in words what the bounds beside it are


@dataclass(frozen=True)
class Series:
    """A curve over k, and a law that is drawn over it."""

    name: str
    points: tuple[Point, ...]
    law: Callable[[float], float] | None = None
    law_name: str = "law"
    forecast: tuple[Point, ...] = ()
    """Points beyond those that were measured, each with its interval."""
    at: tuple[float, ...] = ()
    """The horizontal positions of the points in a picture where these are not k but, for example, costs."""


@dataclass(frozen=True)
class Grid:
    """Coverage over attempts x turns, as a map of colours with lines of equal cost."""

    ks: tuple[int, ...]
    turns: tuple[int, ...]
    coverage: tuple[tuple[float, ...], ...]
    """A row for each of `turns`, a column for each of `ks`; NaN where it is not known."""
    costs: tuple[float, ...]
    """The cost of one attempt of so many turns."""
    lines: tuple[tuple[float, str], ...]
    """The costs whose lines are drawn, ascending, each with its name."""


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
    signed: bool = False
    """Whether the values of the curves are differences, which may be below 0."""
    band: str = ""
    """What the bands around the curves mean."""
    linear: bool = False
    """Whether the horizontal axis of the curves is linear in place of logarithmic."""
    grid: Grid | None = None
    """A map below the curves."""
    bars: tuple[tuple[str, float, float], ...] = ()
    """Bars below the curves: task, share of correct samples, probability that the plurality is right."""


def to_json(result: Result) -> str:
    """The data as one JSON object; null for NaN and infinity."""
    return json_text(result.data)


def to_csv(result: Result) -> str:
    """The data as one table: a row for each object in a list, with the names of what it is in before its own values.

    The columns are `set` and `part`, and all names of values in the order in which they come.
    """
    rows = list(_rows(result.data, ()))
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def _rows(value: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The rows below an object: of its lists of objects, of its parallel lists of numbers, and of its own numbers."""
    where = {"set": path[1] if len(path) > 1 else "", "part": "/".join(path[2:])}
    own = {key: _cell(each) for key, each in value.items() if _single(each)}
    inside: list[dict[str, Any]] = []
    lists = {key: each for key, each in value.items() if isinstance(each, (list, tuple)) and each}
    parallel = {
        key: each for key, each in lists.items() if all(_single(one) and not isinstance(one, str) for one in each)
    }
    if parallel and len({len(each) for each in parallel.values()}) == 1:
        columns = zip(*parallel.values(), strict=True)
        inside += [{**where, **dict(zip(parallel, map(_cell, cells), strict=True))} for cells in columns]
    for key, each in lists.items():
        for row in each:
            if isinstance(row, Mapping):
                part = {"set": where["set"] or key, "part": "/".join((*path[2:], key)) if len(path) > 1 else ""}
                inside.append({**part, **{name: _cell(one) for name, one in row.items() if _single(one)}})
    for key, each in value.items():
        if isinstance(each, Mapping) and key != CAPTION:
            inside += _rows(each, (*path, key))
    if own and len(path) > 1 and not inside:
        yield {**where, **own}
    yield from inside


def _single(value: object) -> bool:
    return value is None or isinstance(value, (str, bool, int, float))


def _cell(value: Any) -> Any:
    return "" if value is None or (isinstance(value, float) and finite(value) is None) else value


def points(
    ks: Sequence[int], values: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> tuple[Point, ...]:
    """A curve's points, None where a bound is NaN."""
    return tuple(Point(*point) for point in zip(ks, values, map(finite, low), map(finite, high), strict=True))
