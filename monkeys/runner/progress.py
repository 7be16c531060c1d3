"""How a run stands, in plain numbers: kept by sampling, read by whatever shows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from agent.trajectory import Exit, Trajectory, Usage
from tasks.task import Outcome

__all__ = ["Progress", "TaskProgress"]


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
        return self.sampled - self.resolved - self.unresolved


@dataclass(slots=True)
class Progress:
    """Counts of a run; turns, tokens and attempts `here` are of this session alone."""

    attempts: int  # wanted per task: of each, on average, or at the most, as the rule is
    tasks: dict[str, TaskProgress]
    began: float = field(default_factory=time.monotonic)
    active: int = 0
    sampled_here: int = 0
    turns_here: int = 0
    usage_here: Usage = field(default_factory=Usage)
    note: str = ""
    rule: str = "uniform"  # of `monkeys.runner.scheduler.RULES`: who gets the attempts
    heard: Callable[[], None] = lambda: None  # called when a verdict came
    spending: Callable[[], Sequence[str]] = tuple  # what was paid in all sessions, and of how much

    @classmethod
    def start(cls, task_ids: Iterable[str], attempts: int, rule: str = "uniform") -> Progress:
        return cls(attempts, {name: TaskProgress(name) for name in task_ids}, rule=rule)

    def attempt_over(self, task: str, trajectory: Trajectory) -> None:
        row = self.tasks[task]
        if trajectory.exit.infra:
            row.infra += trajectory.exit is not Exit.CANCELLED  # that was the person at the keyboard
        else:
            row.sampled += 1
            self.sampled_here += 1
        self.turns_here += len(trajectory.turns)
        self.usage_here += trajectory.usage

    def verified(self, task: str, outcome: Outcome, count: int = 1) -> None:
        row = self.tasks[task]
        if outcome is Outcome.RESOLVED:
            row.resolved += count
        elif outcome is Outcome.UNRESOLVED:
            row.unresolved += count
        self.heard()

    @property
    def total(self) -> int:
        """Attempts wanted in all, as far as is known: a task that is left alone once it is solved wants no more."""
        if self.rule == "stop":
            wanted = (self.attempts if not row.resolved else min(row.sampled, self.attempts) for row in self._rows)
            return sum(wanted)
        return self.attempts * len(self.tasks)

    @property
    def done(self) -> int:
        """Attempts with an outcome, never more than wanted."""
        if self.rule in ("fewest", "variance"):
            return min(self.total, sum(row.sampled for row in self._rows))
        return sum(min(row.sampled, self.attempts) for row in self._rows)

    @property
    def solved(self) -> int:
        return sum(row.resolved > 0 for row in self._rows)

    @property
    def coverage(self) -> float:
        """The share of tasks resolved at least once so far."""
        return self.solved / len(self.tasks)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def seconds_left(self) -> float | None:
        """At the pace of this session; None before there is one."""
        if not self.sampled_here:
            return None
        return (self.total - self.done) * self.seconds / self.sampled_here

    @property
    def _rows(self) -> Iterable[TaskProgress]:
        return self.tasks.values()
