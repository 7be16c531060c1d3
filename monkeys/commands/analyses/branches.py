"""The value of turns as part of a result: what `monkeys surface` shows of continuations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monkeys.commands.analyses.shared import between
from monkeys.report.point import Point
from monkeys.report.result import Result, Section, Series, Table
from monkeys.report.views.branch import BranchView, TurnValue
from monkeys.text import count, percent, several

__all__ = ["branch_data", "branch_result", "branch_sections"]


def branch_result(views: Sequence[BranchView]) -> Result:
    """The value of each turn of each attempt that was continued; a picture shows it over turns."""
    curves = [Series(f"{view.task} {view.index}", _points(view)) for view in views if _points(view)]
    return Result(
        {"sets": {view.run: branch_data(views) for view in views}},
        branch_sections(views),
        tuple(curves),
        y="P(solved | turn)",
        x="after turn",
        linear=True,
        band=f"bands: {100 * views[0].level:g} % interval of each turn by itself" if views else "",
    )


def branch_sections(views: Sequence[BranchView]) -> tuple[Section, ...]:
    """A table for each attempt: a line for each turn after which it was continued."""
    return tuple(map(_section, views))


def branch_data(views: Sequence[BranchView]) -> dict[str, Any]:
    """The values of all attempts, a row each; nothing where there are none."""
    rows = [{"task": view.task, "attempt": view.index, **value.to_json()} for view in views for value in view.values]
    return {"branches": rows} if rows else {}


def _points(view: BranchView) -> tuple[Point, ...]:
    return tuple(Point(one.turn, one.p, one.low, one.high) for one in view.values if one.p is not None)


def _section(view: BranchView) -> Section:
    span = f"{100 * view.level:g} % interval"
    facts = [
        ("interval", "Wilson, of each turn by itself; the band holds all turns of the attempt at once (Sidak)"),
    ]
    fresh, solved = view.fresh
    if fresh:
        share = f"{count(solved)} of {count(fresh)} solved it, {percent(solved / fresh)}"
        facts.append(("fresh attempts", share))
    if waiting := sum(one.unverified for one in view.values):
        facts.append(("note", f"left out: {several(waiting, 'continuation')} without a verdict"))
    if infra := sum(one.infra for one in view.values):
        facts.append(("note", f"left out: {several(infra, 'infra error')}"))
    title = (
        f"the value of a turn: attempt {view.index} at {view.task}, {view.outcome or 'without a verdict'} after "
        f"{several(view.turns, 'turn')}"
    )
    headings = ("after turn", "n", "solved", "P(solved)", span, "band over turns")
    return Section(title, (Table(headings, tuple(map(_row, view.values))),), None, tuple(facts))


def _row(one: TurnValue) -> tuple[str, ...]:
    bounds = [_between(one.low, one.high), _between(one.band_low, one.band_high)]
    return (count(one.turn), count(one.n), count(one.solved), percent(one.p), *bounds)


def _between(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else between(low, high)
