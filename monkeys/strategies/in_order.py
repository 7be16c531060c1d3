"""A scheduler for strategies whose attempts learn from earlier ones: at each task one attempt after another.

Guarantee: attempt i of a task is handed out once every attempt at it with a smaller index has ended, which is to say
that it is recorded and counts. So `brief` finds all of them, whatever was interrupted or failed before, and there are
never more attempts under way than tasks.

A slot that is given up for good, because its attempt was an infra error too often, holds up its task: the run ends
without the task's later attempts, and the same command goes on with it.
"""

from __future__ import annotations

from monkeys.strategies.strategy import Plan, Slot

__all__ = ["InOrder"]


class InOrder:
    """`plan.attempts` attempts on each task, in the order of their indices.

    Tasks are taken in the order of the plan, those first in which an earlier session left a gap.
    """

    def __init__(self, plan: Plan) -> None:
        self._attempts, self._ended = plan.attempts, plan.ended
        self._next = {task: _lowest_missing(plan.sampled.get(task, set())) for task in plan.tasks}
        self._under_way: set[str] = set()
        unfinished = [task for task in plan.tasks if self._next[task] < plan.attempts]
        self._open = sorted(unfinished, key=lambda task: self._next[task] > max(plan.sampled.get(task, ()), default=-1))

    def next(self) -> Slot | None:
        for task in list(self._open):
            index = self._next[task]
            if task in self._under_way:
                if index not in self._ended(task):
                    continue
                self._under_way.remove(task)
                index = self._next[task] = _lowest_missing(self._ended(task), index)
                if index >= self._attempts:
                    self._open.remove(task)
                    continue
            self._under_way.add(task)
            return task, index
        return None

    def again(self, slot: Slot) -> None:
        self._under_way.discard(slot[0])


def _lowest_missing(indices: set[int], start: int = 0) -> int:
    while start in indices:
        start += 1
    return start
