"""Which attempt is next: waves over all tasks, or an `Allocation` that looks at what is resolved so far.

A slot is a task and the index of an attempt at it. Guarantees, of every plan: no slot that has its attempt is handed
out again; a task's indices are handed out from 0 on without a gap; gaps that failures, interruptions and kills left are
filled first. So a task's attempts in the order of their indices are as if they had been made one after another, and how
many there are is all that depended on outcomes.

`AllocationSpec` names the rule and its parameters; a run's configuration keeps it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from monkeys.science.allocation import Allocation

__all__ = ["RULES", "UNIFORM", "Adaptive", "AllocationSpec", "Scheduler", "Slot", "TaskByTask"]

Slot: TypeAlias = tuple[str, int]
"""A task's id and the index of an attempt at it."""

RULES = ("uniform", "stop", "fewest", "variance")


@dataclass(frozen=True, slots=True)
class AllocationSpec:
    """How a run allocates its attempts, by the name of the rule in `RULES`.

    `first` is how many attempts every task gets before fewest and variance look at outcomes, and so the largest k of
    their curve; `k` is where variance narrows coverage.
    """

    rule: str = "uniform"
    first: int = 5
    k: int = 10

    @property
    def looks(self) -> bool:
        """Whether it looks at outcomes."""
        return self.rule != "uniform"

    def config(self) -> dict[str, Any]:
        """What of it must not change within a run."""
        names: dict[str, tuple[str, ...]] = {"fewest": ("first",), "variance": ("first", "k")}
        return {"rule": self.rule, **{name: getattr(self, name) for name in names.get(self.rule, ())}}

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> AllocationSpec:
        """That of a run's configuration, which is silent about waves."""
        return cls(**config.get("allocate", {}))

    def allocation(self, attempts: int, tasks: int) -> Allocation:
        """The rule for `attempts` a task: the most that one gets (stop), or what they get on average."""
        from monkeys.science.allocation import FewestSuccesses, StopOnSuccess, VarianceOptimal

        budget, first = attempts * tasks, min(self.first, attempts)
        if self.rule == "stop":
            return StopOnSuccess(attempts)
        if self.rule == "fewest":
            return FewestSuccesses(budget, first)
        return VarianceOptimal(self.k, first, budget)


UNIFORM = AllocationSpec()


class Scheduler(Protocol):
    """What is to be attempted, slot by slot."""

    def next(self) -> Slot | None:
        """The slot to attempt next; None if there is none for now."""
        ...

    def again(self, slot: Slot) -> None:
        """Put a slot back whose attempt did not come about."""
        ...


class TaskByTask:
    """So many attempts on every task, task by task: an issue's prompt stays in the server's prefix cache."""

    def __init__(self, tasks: Iterable[str], attempts: int, sampled: Mapping[str, set[int]]) -> None:
        self._slots: deque[Slot] = deque(
            (task, index) for task in tasks for index in range(attempts) if index not in sampled.get(task, ())
        )

    def next(self) -> Slot | None:
        return self._slots.popleft() if self._slots else None

    def again(self, slot: Slot) -> None:
        self._slots.append(slot)


class Adaptive:
    """Up to `budget` attempts, each at the task that the allocation names by what is resolved then.

    `resolved` gives how many attempts at each task are known to have resolved it, in the order of the tasks.
    An attempt counts when it is handed out. One that is given up for good keeps its place in the budget, or else a task
    that cannot be attempted at all would be the one with the fewest successes for ever.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        allocation: Allocation,
        budget: int,
        sampled: Mapping[str, set[int]],
        resolved: Callable[[], Sequence[int]],
        seed: int,
    ) -> None:
        import numpy as np

        self._tasks, self._allocation, self._budget, self._resolved = tasks, allocation, budget, resolved
        indices = [sampled.get(task, set()) for task in tasks]
        self._made = np.array([max(done, default=-1) + 1 for done in indices], np.int64)
        self._owed: deque[Slot] = deque(
            (task, index)
            for task, done in zip(tasks, indices, strict=True)
            for index in range(max(done, default=0))
            if index not in done
        )
        self._rng = np.random.default_rng((seed % 2**63, int(self._made.sum())))

    def next(self) -> Slot | None:
        import numpy as np

        if self._owed:
            return self._owed.popleft()
        if self._made.sum() >= self._budget:
            return None
        task = self._allocation.next(self._made, np.array(self._resolved(), np.int64), self._rng)
        if task is None:
            return None
        index = int(self._made[task])
        self._made[task] += 1
        return self._tasks[task], index

    def again(self, slot: Slot) -> None:
        self._owed.append(slot)
