"""What the turns of an attempt were worth, by the continuations that a run holds of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from monkeys.report.record import Record
from monkeys.store import AttemptRow, Store
from monkeys.store.finding import find_attempt
from tasks.task import Outcome

__all__ = ["BranchView", "TurnValue", "branch_view", "branch_views"]

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class TurnValue(Record):
    """P(solved | `turn`): the share of `n` continuations after so many turns that solved it, with Wilson's interval.

    All are None where there is no continuation with a verdict. `infra` and `unverified` are not in `n`. The band
    (`band_low`, `band_high`) holds all turns of the attempt at once, with the same probability.
    """

    turn: int
    n: int
    solved: int
    p: float | None
    low: float | None
    high: float | None
    unverified: int = 0
    infra: int = 0
    band_low: float | None = None
    band_high: float | None = None


@dataclass(frozen=True, slots=True)
class BranchView(Record):
    """One attempt, and the value of those of its turns from which it was continued."""

    run: str
    task: str
    index: int
    exit: str
    outcome: str | None
    turns: int
    level: float
    values: tuple[TurnValue, ...]
    tokens: int
    """Of all continuations."""
    fresh: tuple[int, int] = (0, 0)
    """Attempts at the task with a verdict, and how many of them solved it: what a fresh attempt is worth."""


def branch_views(store: Store, level: float = LEVEL) -> tuple[BranchView, ...]:
    """The values of all attempts that were continued, in the order of the tasks and attempts."""
    order = {task: position for position, task in enumerate(store.task_ids())}
    found = {(row.task, row.parents[0]) for row in store.continuations() if row.parents}
    return tuple(
        branch_view(store, task, index, level=level)
        for task, index in sorted(found, key=lambda point: (order[point[0]], point[1]))
    )


def branch_view(
    store: Store, task: str, index: int, turns: Sequence[int] | None = None, *, level: float = LEVEL
) -> BranchView:
    """The values after these numbers of turns, or all that the run knows."""
    row = find_attempt(store, task, index, None)
    rows = list(store.continuations(task, index))
    known = sorted({one.branch_turn for one in rows if one.branch_turn is not None})
    own = Counter(one.outcome for one in store.attempts(task) if not one.exit.infra)
    return BranchView(
        run=store.folder.name,
        task=task,
        index=index,
        exit=str(row.exit),
        outcome=None if row.outcome is None else str(row.outcome),
        turns=row.turns,
        level=level,
        values=_values(known if turns is None else turns, rows, level),
        tokens=sum(one.usage.total for one in rows),
        fresh=(own[Outcome.RESOLVED] + own[Outcome.UNRESOLVED], own[Outcome.RESOLVED]),
    )


def _values(turns: Sequence[int], rows: Sequence[AttemptRow], level: float) -> tuple[TurnValue, ...]:
    from monkeys.science.coverage import turn_value

    outcomes = {turn: Counter(row.outcome for row in rows if row.branch_turn == turn) for turn in turns}
    counts = {
        turn: (own[Outcome.RESOLVED] + own[Outcome.UNRESOLVED], own[Outcome.RESOLVED]) for turn, own in outcomes.items()
    }
    bounds: dict[int, list[float]] = {}
    if known := [turn for turn, (n, _) in counts.items() if n]:
        found = turn_value(*zip(*(counts[turn] for turn in known), strict=True), level=level, method="wilson")
        columns = (found.value, found.low, found.high, found.band_low, found.band_high)
        bounds = {turn: [float(column[at]) for column in columns] for at, turn in enumerate(known)}
    values = []
    for turn in turns:
        p, low, high, band_low, band_high = bounds.get(turn, [None] * 5)
        others = outcomes[turn][None], outcomes[turn][Outcome.INFRA_ERROR]
        values.append(TurnValue(turn, *counts[turn], p, low, high, *others, band_low, band_high))
    return tuple(values)
