"""Independent attempts: the same number on every task, task by task."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from monkeys.strategies.strategy import Brief, Earlier, Plan, SamplingDesign, Scheduler, Slot
from tasks.task import Task

__all__ = ["FixedNumber", "Independent", "TaskByTask"]


class FixedNumber:
    """The members of a strategy that makes `attempts` attempts on every task, whatever their outcomes.

    What is left to a derived class: `name`, `sampling`, and where it differs `scheduler`, `brief` and `identity`.
    """

    @property
    def goes_by_verdicts(self) -> bool:
        return False

    def identity(self) -> Mapping[str, Any]:
        return {}

    def scheduler(self, plan: Plan) -> Scheduler:
        return TaskByTask(plan)

    def brief(self, task: Task, index: int, earlier: Earlier) -> Brief:
        return Brief()

    def wanted(self, attempts: int, sampled: Sequence[int], resolved: Sequence[int]) -> int:
        return attempts * len(sampled)

    def done(self, attempts: int, sampled: Sequence[int]) -> int:
        return sum(min(made, attempts) for made in sampled)


@dataclass(frozen=True)
class Independent(FixedNumber):
    """Attempts that know nothing of one another, as many on each task as fixed beforehand: every estimator holds."""

    name: ClassVar[str] = "independent"

    @property
    def sampling(self) -> SamplingDesign:
        return SamplingDesign("independent")


class TaskByTask:
    """All attempts at one task, then all at the next, so that a task's prompt stays in the server's prefix cache.

    A slot that is put back comes last.
    """

    def __init__(self, plan: Plan) -> None:
        self._slots: deque[Slot] = deque(
            (task, index)
            for task in plan.tasks
            for index in range(plan.attempts)
            if index not in plan.sampled.get(task, ())
        )

    def next(self) -> Slot | None:
        return self._slots.popleft() if self._slots else None

    def again(self, slot: Slot) -> None:
        self._slots.append(slot)
