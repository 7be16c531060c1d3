"""Allocation by outcomes: attempts go to the task that a rule of `monkeys.science.allocation` names.

    stop       no more attempts on a task once it is resolved
    fewest     the task with the fewest resolved attempts, among those the one with the fewest attempts
    variance   the task where one more attempt narrows coverage at `k` the most

Under each of them the number of attempts on a task depends on its outcomes, and on nothing else: the indices of a task
have no gap, so that its attempts in the order of their indices are as if they had been made one after another. That is
what the estimators for "stopped" and "adaptive" need.

NumPy is imported when a scheduler is made.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from monkeys.strategies.strategy import Brief, Earlier, Plan, SamplingDesign, Scheduler, Slot, StrategyError
from tasks.task import Task

if TYPE_CHECKING:
    from monkeys.science.allocation import Allocation

__all__ = ["Adaptive", "Fewest", "Stop", "Variance"]


class _ByOutcomes:
    """What the strategies of this module have in common."""

    @property
    def goes_by_verdicts(self) -> bool:
        return True

    def brief(self, task: Task, index: int, earlier: Earlier) -> Brief:
        return Brief()


class _Budget(_ByOutcomes):
    """`attempts` attempts per task on average, after the same number of first attempts on each."""

    def wanted(self, attempts: int, sampled: Sequence[int], resolved: Sequence[int]) -> int:
        return attempts * len(sampled)

    def done(self, attempts: int, sampled: Sequence[int]) -> int:
        return min(attempts * len(sampled), sum(sampled))


@dataclass(frozen=True)
class Stop(_ByOutcomes):
    """Up to `attempts` attempts on each task, and none after its first success.

    The cheapest way to know which tasks are solved within that number.
    """

    name: ClassVar[str] = "stop"

    @property
    def sampling(self) -> SamplingDesign:
        return SamplingDesign("stopped")

    def identity(self) -> Mapping[str, Any]:
        return {}

    def scheduler(self, plan: Plan) -> Scheduler:
        from monkeys.science.allocation import StopOnSuccess

        return Adaptive(plan, StopOnSuccess(plan.attempts), math.inf)

    def wanted(self, attempts: int, sampled: Sequence[int], resolved: Sequence[int]) -> int:
        return sum(min(made, attempts) if solved else attempts for made, solved in zip(sampled, resolved, strict=True))

    def done(self, attempts: int, sampled: Sequence[int]) -> int:
        return sum(min(made, attempts) for made in sampled)


@dataclass(frozen=True)
class Fewest(_Budget):
    """Attempts go to the tasks with the fewest successes, after `first` attempts on each.

    For predictions: most is learnt where little is known, of the tasks that are hardly ever resolved.
    """

    name: ClassVar[str] = "fewest"
    first: int = 5

    def __post_init__(self) -> None:
        _at_least_one(self.name, first=self.first)

    @property
    def sampling(self) -> SamplingDesign:
        return SamplingDesign("adaptive", self.first)

    def identity(self) -> Mapping[str, Any]:
        return {"first": self.first}

    def scheduler(self, plan: Plan) -> Scheduler:
        from monkeys.science.allocation import FewestSuccesses

        budget = plan.attempts * len(plan.tasks)
        return Adaptive(plan, FewestSuccesses(budget, min(self.first, plan.attempts)), budget)


@dataclass(frozen=True)
class Variance(_Budget):
    """Attempts go where one more narrows coverage at `k` the most, after `first` attempts on each task."""

    name: ClassVar[str] = "variance"
    first: int = 5
    k: int = 10

    def __post_init__(self) -> None:
        _at_least_one(self.name, first=self.first, k=self.k)

    @property
    def sampling(self) -> SamplingDesign:
        return SamplingDesign("adaptive", self.first)

    def identity(self) -> Mapping[str, Any]:
        return {"first": self.first, "k": self.k}

    def scheduler(self, plan: Plan) -> Scheduler:
        from monkeys.science.allocation import VarianceOptimal

        budget = plan.attempts * len(plan.tasks)
        return Adaptive(plan, VarianceOptimal(self.k, min(self.first, plan.attempts), budget), budget)


def _at_least_one(name: str, **parameters: int) -> None:
    for what, value in parameters.items():
        if not isinstance(value, int) or value < 1:
            raise StrategyError(f"strategy {name}: {what} = {value}, and it is a whole number from 1")


class Adaptive:
    """Up to `budget` attempts in all, each at the task that the allocation names by the outcomes so far.

    An attempt counts from the moment it is handed out. One that is given up for good keeps its place in the budget, or
    else a task that cannot be attempted at all would stay the one with the fewest successes for ever. A slot that is
    put back comes first.
    """

    def __init__(self, plan: Plan, allocation: Allocation, budget: float) -> None:
        import numpy as np

        self._tasks, self._allocation, self._resolved = plan.tasks, allocation, plan.resolved
        self._budget = budget
        indices = [plan.sampled.get(task, set()) for task in plan.tasks]
        self._made = np.array([max(done, default=-1) + 1 for done in indices], np.int64)
        self._gaps: deque[Slot] = deque(
            (task, index)
            for task, done in zip(plan.tasks, indices, strict=True)
            for index in range(max(done, default=0))
            if index not in done
        )
        self._rng = np.random.default_rng((plan.seed % 2**63, int(self._made.sum())))

    def next(self) -> Slot | None:
        import numpy as np

        if self._gaps:
            return self._gaps.popleft()
        if self._made.sum() >= self._budget:
            return None
        task = self._allocation.next(self._made, np.array(self._resolved(), np.int64), self._rng)
        if task is None:
            return None
        index = int(self._made[task])
        self._made[task] += 1
        return self._tasks[task], index

    def again(self, slot: Slot) -> None:
        self._gaps.append(slot)
