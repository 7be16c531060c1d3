"""The attempts of a run at every turn: their outcome if they had been stopped there, and what they had cost.

After turn t an attempt would have handed in what was last taken of it at or before t. Nothing was taken where nothing
had changed, so that before the first taking that is an empty submission, which resolves nothing unless a verdict says
so. After its last turn an attempt has its final outcome.

Guarantees: what is not known is NaN, and never a failure: a submission that could not be taken, one without a verdict,
and the turns of an attempt that has not been replayed yet. Which attempts are left out does not depend on what they
did: a session is left out whole if none of its attempts of several turns is known at its turns.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from agent.trajectory import Usage, exchanges
from monkeys.formats.counts.cells import CountsError, FloatArray, IntArray
from monkeys.formats.counts.records import DEPENDENT
from monkeys.formats.design import oracle_notes, run_design, run_name
from monkeys.pricing.cost_report import quotes_of
from monkeys.pricing.prices import Quote, tokens_of
from monkeys.store import AttemptRow, Store, TurnRow, submission_digest
from monkeys.text import several
from tasks.task import Outcome, Submission

__all__ = ["AttemptTurns", "RunTurns", "attempt_turns", "run_turns"]

EMPTY = submission_digest(Submission())
VALUES = {Outcome.RESOLVED: 1.0, Outcome.UNRESOLVED: 0.0}


@dataclass(frozen=True)
class AttemptTurns:
    """One attempt with its turns."""

    row: AttemptRow
    turns: tuple[TurnRow, ...]

    @property
    def known(self) -> bool:
        """Whether it is known what the attempt had after each of its turns, but for single ones."""
        return self.row.turns <= 1 or (self.row.knows_turns and len(self.turns) == self.row.turns)

    @property
    def unlike(self) -> bool:
        """Whether its actions were carried out again to learn what it had, and showed something else."""
        return bool(self.row.each_turn) and not self.row.knows_turns

    def outcomes(self, turns: int, empty: float = 0.0) -> FloatArray:
        """1, 0 or NaN after t = 1 .. `turns` turns; `empty` is the outcome of an empty submission."""
        found = np.full(turns, _value(self.row.outcome))
        before = max(0, min(self.row.turns - 1, turns))  # turns but for the last
        if not self.known:
            found[:before] = np.nan
            return found
        now = empty
        for at, turn in enumerate(self.turns[:before]):
            if turn.untaken:
                now = np.nan
            elif turn.digest is not None:
                now = empty if turn.digest == EMPTY else _value(turn.outcome)
            found[at] = now
        return found


@dataclass(frozen=True)
class RunTurns:
    """Every attempt of a run at every turn. Rows are attempts; columns are t = 1 .. the turns of the longest."""

    name: str
    task_ids: tuple[str, ...]
    """The tasks that have attempts."""
    task: IntArray
    """Each attempt's task, as an index into `task_ids`."""
    outcomes: FloatArray
    """1, 0 or NaN, shape (attempts, turns)."""
    spent: Mapping[str, FloatArray]
    """What each attempt had cost after t turns: "tokens", "seconds", and "dollars" where prices are known."""
    lengths: IntArray
    """The turns of each attempt."""
    notes: tuple[str, ...] = ()
    """What was left out, and why."""


def attempt_turns(store: Store) -> list[AttemptTurns]:
    """The attempts of a run that count, each with its turns, in the order of task and index."""
    turns = {key: tuple(rows) for key, rows in groupby(store.turn_rows(), key=lambda turn: turn.attempt)}
    return [AttemptTurns(row, turns.get(row.key, ())) for row in store.attempts() if not row.exit.infra]


def run_turns(store: Store, attempts: Sequence[AttemptTurns]) -> RunTurns:
    """The outcomes and costs of independent attempts at every turn.

    Tokens of a review or a summary are charged from the turn on in which it was asked for. Tokens of unusable answers
    belong to no turn, and are spread over those of their attempt. Time outside of turns, such as the start of a
    sandbox, is charged from the first turn on. Tries that were infra errors cost nothing here.

    Raises:
        CountsError: nothing was taken at any turn, no attempt has a verdict, or attempts are not independent.
    """
    kept, notes = _kept(store, attempts)
    turns = max(1, *(len(one.turns) for one in kept))
    numbers: dict[str, int] = {}
    task = np.array([numbers.setdefault(one.row.task, len(numbers)) for one in kept], np.int64)
    kind = kept[0].row.kind
    empty = {each: _empty(store, each, kind) for each in numbers}
    quotes = quotes_of(store)
    spent = {unit: np.empty((len(kept), turns)) for unit in ("tokens", "seconds", *(["dollars"] if quotes else []))}
    outcomes = np.empty((len(kept), turns))
    for at, one in enumerate(kept):
        outcomes[at] = one.outcomes(turns, empty[one.row.task])
        for unit, series in _costs(store, one, quotes):
            spent[unit][at] = np.concatenate([series[:turns], np.full(max(0, turns - series.size), series[-1])])
    return RunTurns(
        name=run_name(store),
        task_ids=tuple(numbers),
        task=task,
        outcomes=outcomes,
        spent=spent,
        lengths=np.array([one.row.turns for one in kept], np.int64),
        notes=(*oracle_notes(store), *notes),
    )


def _kept(store: Store, attempts: Sequence[AttemptTurns]) -> tuple[list[AttemptTurns], tuple[str, ...]]:
    """The attempts of the surface, and what is to be said about the others."""
    name, design = store.folder.name, run_design(store)
    if design.kind == "dependent":
        raise CountsError(f"{name}: {DEPENDENT}; sample with another strategy, such as independent")
    if design.kind == "stopped":
        raise CountsError(
            f"{name}: attempts ended with a task's first success, and whether one of t turns would have been one is "
            "another question; sample with another strategy, such as independent"
        )
    notes = []
    fixed = [one for one in attempts if design.first is None or one.row.index < design.first]
    if design.first is not None:
        notes.append(f"attempts were allocated by outcomes: only the first {design.first} on each task are counted")
    verified = [one for one in fixed if one.row.outcome is not None]
    if waiting := len(fixed) - len(verified):
        notes.append(f"left out: {several(waiting, 'attempt')} without a verdict")
    if unlike := sum(one.unlike for one in verified):
        notes.append(
            f"left out: {several(unlike, 'attempt')} whose actions showed something else when they were carried out "
            "again; if these are not like the others, the surface is not that of all"
        )
        verified = [one for one in verified if not one.unlike]
    if not verified:
        cause = "none of its attempts has a verdict yet" if fixed else "it holds no attempt yet that counts"
        again = ", without --no-verify" if fixed else ""
        raise CountsError(f"run {name}: {cause}; give the command that began the run again{again}")
    sessions = {one.row.session for one in verified if one.row.knows_turns}
    if not sessions and any(one.row.turns > 1 for one in verified):
        raise CountsError(
            f"run {name} does not hold what its attempts had after each turn: `monkeys verify {name} --each-turn` "
            "takes it from the recorded actions; to take it while sampling, give --patch-each-turn"
        )
    kept = [one for one in verified if one.row.session in sessions] or verified
    if left := len(verified) - len(kept):
        notes.append(
            f"left out: {several(left, 'attempt')} of sessions that did not record what attempts had after each turn; "
            f"`monkeys verify {name} --each-turn` takes it from the recorded actions"
        )
    if short := set(store.task_ids()) - {one.row.task for one in kept}:
        notes.append(f"left out: {several(len(short), 'task')} without an attempt that counts")
    return kept, tuple(notes)


def _empty(store: Store, task: str, kind: str) -> float:
    """The outcome of an empty submission: nothing resolves nothing, unless a verdict says so."""
    verdict = store.verdict_of(task, Submission(kind=kind))
    return _value(verdict[0]) if verdict else 0.0


def _value(outcome: Outcome | None) -> float:
    return VALUES.get(outcome, np.nan) if outcome else np.nan


def _costs(store: Store, one: AttemptTurns, quotes: Mapping[int, Quote]) -> Iterator[tuple[str, FloatArray]]:
    """What the attempt had cost after each of its turns, in each unit; at least one value."""
    row = one.row
    asked = _requests(store, one)
    used = sum((usage for turn in asked for usage in turn), Usage())
    yield "tokens", _summed([sum(usage.total for usage in turn) for turn in asked], row.usage.total - used.total)
    times = [turn.seconds for turn in one.turns]
    yield "seconds", _summed(times, 0.0) + max(0.0, row.seconds - sum(times))
    if (quote := quotes.get(row.session)) is not None:
        wasted = quote.prices.dollars(tokens_of(row.usage)) - quote.prices.dollars(tokens_of(used))
        yield "dollars", _summed([sum(map(quote.request, turn)) for turn in asked], wasted)


def _requests(store: Store, one: AttemptTurns) -> list[list[Usage]]:
    """The tokens of each request of each turn: of its answer, and of the reviews and summaries asked for in it."""
    found = [[turn.usage] for turn in one.turns]
    if not found or sum((turn.usage for turn in one.turns), Usage()) == one.row.usage:
        return found
    ends = [turn.end for turn in one.turns]
    for at, message in enumerate(store.conversation(one.row)):
        # What was asked for after the last turn, before an answer that never came, belongs to that one.
        found[min(bisect_right(ends, at), len(ends) - 1)] += [exchange.usage for exchange in exchanges([message])]
    return found


def _summed(values: Sequence[float], besides: float) -> FloatArray:
    """The running sum, with what belongs to no value spread over all of them."""
    each = np.array(values or [0.0], np.float64) + max(0.0, besides) / max(1, len(values))
    return np.cumsum(each)
