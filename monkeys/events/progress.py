"""Progress of a run in plain numbers: a fold over its events, read by whatever displays it.

`Progress.take` is a sink. The counts change with events alone, so that every display that is fed the same events shows
the same numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from agent.trajectory import Exit, Usage
from monkeys.events.events import (
    AttemptBegan,
    AttemptEnded,
    BudgetSpent,
    Event,
    Recorded,
    RunBegan,
    SessionEnded,
    Status,
    TurnQueued,
    TurnVerdictReached,
    VerdictReached,
    VerifyBegan,
    VerifyEnded,
)
from monkeys.text import amount, duration, money
from tasks.task import Outcome

__all__ = ["Progress", "TaskProgress", "VerdictProgress", "Wanted", "attempts_each"]

Wanted: TypeAlias = Callable[[int, Sequence[int], Sequence[int]], int]
"""How many attempts a run is to have in all, from those per task and from the numbers sampled and resolved of each task
so far: `Strategy.wanted`."""


Done: TypeAlias = Callable[[int, Sequence[int]], int]
"""How many of the attempts sampled of each task count towards those wanted: `Strategy.done`."""


def attempts_each(attempts: int, sampled: Sequence[int], resolved: Sequence[int]) -> int:
    """The same number of attempts for each task, whatever their outcomes."""
    return attempts * len(sampled)


def up_to_attempts(attempts: int, sampled: Sequence[int]) -> int:
    """The attempts of each task up to the number wanted: more of one task do not make up for fewer of another."""
    return sum(min(made, attempts) for made in sampled)


@dataclass(slots=True)
class TaskProgress:
    """Counts of one task's attempts. `sampled` counts all that are not infra errors."""

    id: str
    sampled: int = 0
    resolved: int = 0
    unresolved: int = 0
    infra: int = 0

    @property
    def unverified(self) -> int:
        """Attempts without a verdict."""
        return self.sampled - self.resolved - self.unresolved


@dataclass(slots=True)
class Progress:
    """Counts of a run. What ends in `_here` is of this session alone."""

    attempts: int = 0
    """Wanted per task: of each, on average, or at the most, as the strategy has it."""
    tasks: dict[str, TaskProgress] = field(default_factory=dict)
    wanted: Wanted = attempts_each
    done_of: Done = up_to_attempts
    clock: Callable[[], float] = time.monotonic
    began: float = field(init=False)
    active: int = 0
    """Attempts under way."""
    sampled_here: int = 0
    turns_here: int = 0
    usage_here: Usage = field(default_factory=Usage)
    activities: dict[str, str] = field(default_factory=dict)
    """What parts of the run are busy with, by what it is about."""
    spent: BudgetSpent | None = None
    turns_queued: int = 0
    """Submissions that attempts had after their turns and that got, or wait for, a verdict in this session."""
    turns_verified: int = 0
    opened: float = field(init=False)
    """When the session began."""
    _at_work: bool = False

    def __post_init__(self) -> None:
        self.began = self.opened = self.clock()

    def take(self, event: Event) -> None:
        """Count an event. Events of other kinds change nothing."""
        match event:
            case RunBegan():
                self.attempts = event.attempts
                # A new object, since a display may be reading the old one in another thread.
                self.tasks = {name: self.tasks.get(name) or TaskProgress(name) for name in event.tasks}
            case Recorded():
                row = self.tasks[event.task]
                row.sampled += event.sampled
                row.resolved += event.resolved
                row.unresolved += event.unresolved
                row.infra += event.infra
            case AttemptBegan():
                self._start_clock()
                self.active += 1
            case AttemptEnded():
                self.active -= 1
                self._count(event)
            case VerdictReached():
                self._verdict(event)
            case TurnQueued():
                self.turns_queued += 1
            case TurnVerdictReached():
                self.turns_verified += 1
            case BudgetSpent():
                self.spent = event
            case Status():
                # A new object, as above.
                others = {about: text for about, text in self.activities.items() if about != event.about}
                self.activities = {**others, event.about: event.text} if event.text else others
            case SessionEnded():
                self.activities = {}

    @property
    def note(self) -> str:
        """What a part of the run is busy with, the latest of several; empty when there is nothing to say."""
        *others, last = ["", *self.activities.values()]
        return f"{last} (and {len(others) - 1} more)" if len(others) > 1 else last

    @property
    def total(self) -> int:
        """Attempts wanted in all, as far as is known."""
        rows = self.tasks.values()
        return self.wanted(self.attempts, [row.sampled for row in rows], [row.resolved for row in rows])

    @property
    def done(self) -> int:
        """Attempts that are not infra errors, never more than wanted."""
        return self.done_of(self.attempts, [row.sampled for row in self.tasks.values()])

    @property
    def spending(self) -> list[str]:
        """What was spent of how much, a text for each limit; what has neither price nor limit is left out."""
        spent, said = self.spent, list[str]()
        if spent is None:
            return said
        if spent.dollars is not None:
            said.append(money(spent.dollars) + _of(spent.max_dollars, money))
        if spent.max_tokens is not None:
            said.append(f"{amount(spent.tokens)}{_of(spent.max_tokens, amount)} tokens")
        if spent.max_seconds is not None:
            said.append(duration(self.clock() - self.opened) + _of(spent.max_seconds, duration))
        return said

    @property
    def solved(self) -> int:
        """Tasks that at least one attempt resolved."""
        return sum(row.resolved > 0 for row in self.tasks.values())

    @property
    def coverage(self) -> float:
        """The share of tasks that are solved so far."""
        return self.solved / len(self.tasks)

    @property
    def seconds(self) -> float:
        """Since this session began its work."""
        return self.clock() - self.began

    @property
    def seconds_left(self) -> float | None:
        """At the pace of this session; None before there is one."""
        if not self.sampled_here:
            return None
        return (self.total - self.done) * self.seconds / self.sampled_here

    def _count(self, ended: AttemptEnded) -> None:
        row = self.tasks[ended.task]
        if ended.counted:
            row.sampled += 1
            self.sampled_here += 1
        else:
            row.infra += ended.exit is not Exit.CANCELLED  # a cancellation is nobody's failure
        self.turns_here += ended.turns
        self.usage_here += ended.usage

    def _verdict(self, reached: VerdictReached) -> None:
        row = self.tasks[reached.task]
        if reached.outcome is Outcome.RESOLVED:
            row.resolved += reached.count
        elif reached.outcome is Outcome.UNRESOLVED:
            row.unresolved += reached.count

    def _start_clock(self) -> None:
        """The pace is that of the work, which may have to wait for a model server to come up."""
        if not self._at_work:
            self._at_work, self.began = True, self.clock()


class VerdictProgress(Progress):
    """Progress of a run that only verifies: an attempt counts once it has its verdict, since it was made elsewhere.

    Wanted are the attempts that are recorded when the session begins.
    """

    _recorded = 0

    @property
    def total(self) -> int:
        return self._recorded

    def take(self, event: Event) -> None:
        match event:
            case VerifyBegan():
                self._start_clock()
                self.active += 1
            case VerifyEnded():
                self.active -= 1
            case Recorded():
                self._recorded += event.sampled
                super().take(replace(event, sampled=event.resolved + event.unresolved))
            case AttemptBegan() | AttemptEnded():
                pass
            case _:
                super().take(event)

    def _verdict(self, reached: VerdictReached) -> None:
        super()._verdict(reached)
        self.tasks[reached.task].sampled += reached.count
        self.sampled_here += reached.count


def _of(limit: float | None, write: Callable[[float], str]) -> str:
    return "" if limit is None else f" of {write(limit)}"
