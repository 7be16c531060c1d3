"""The records that a file is read into: `Counts`, a row a task, and `Outcomes`, a row an attempt."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from monkeys.formats.counts.cells import (
    ARM,
    PRICE,
    REPO,
    SPENT,
    BoolArray,
    CountsError,
    FloatArray,
    IntArray,
    as_costs,
    find_column,
    listed,
    numbers_of,
    taken,
)
from monkeys.science.coverage import Sampling, check_order

__all__ = ["DEPENDENT", "Counts", "Found", "Outcomes"]

DEPENDENT = "attempts know of earlier ones, and are not draws from one distribution"
SWEBENCH_ID = re.compile(r"([^\s/]+)__([^\s/]+)-\d+")


@dataclass(frozen=True)
class Counts:
    """How often each task was attempted and resolved. The columns run in parallel."""

    name: str
    task_ids: tuple[str, ...]
    n: IntArray
    correct: IntArray
    repos: tuple[str, ...] | None = None
    """Each task's repository, where the file has it; `repositories` reads it from SWE-bench's ids too."""
    costs: FloatArray | None = None
    """Dollars in all on each task, where the file has them."""
    tokens: IntArray | None = None
    """Prompt tokens, the cached ones among them, and completion tokens of all tries on each task, where known."""
    spent: Mapping[str, FloatArray] = field(default_factory=dict)
    """What all attempts on each task took of "tokens" or "seconds", where known."""
    stopped_at: int | None = None
    """Attempts on a task ended with its first success, or after so many; None: their number was fixed beforehand."""
    sampling: Sampling | None = None
    """How the attempts came about, where the caller of the reader knows."""
    dependent: bool = False
    """Attempts know of earlier ones; n and c are those until the first success, and `stopped_at` is their limit."""
    first: tuple[IntArray, IntArray] | None = None
    """n and c of each task's first attempts alone, where later ones were allocated by outcomes."""
    benchmark: str = ""
    """What the tasks are of, where the file says so: tasks of two benchmarks are not the same by having the same id."""
    notes: tuple[str, ...] = ()
    """What was left out, and why."""
    oracle: tuple[str, ...] = ()
    """The kinds of feedback that told the attempts of a run what the hidden tests say; the name has them too."""

    def __post_init__(self) -> None:
        if not self.task_ids:
            raise CountsError(f"{self.name} holds no tasks: there is nothing to estimate from")
        if len(set(self.task_ids)) < len(self.task_ids):
            twice = [task for task, times in Counter(self.task_ids).items() if times > 1]
            raise CountsError(
                f"{self.name} has more than one row of counts for {listed(twice)}: sum them, or tell the arms apart "
                f"by a column {ARM[0]!r}; if n numbers the attempts, say --columns attempt=n,outcome=correct"
            )
        for what, faulty in (("n", self.n < 0), ("correct", self.correct < 0), ("more than n", self.correct > self.n)):
            if faulty.any():
                at = int(np.argmax(faulty))
                fault = f"more attempts correct than made ({self.correct[at]} of {self.n[at]})"
                if what != "more than n":
                    fault = f"{what} = {getattr(self, what)[at]}, and counts start at 0"
                raise CountsError(f"{self.name}, task {self.task_ids[at]}: {fault}; correct it at its source")

        for what, values in (("cost", self.costs), *self.spent.items()):
            if values is not None and (values < 0).any():
                at = int(np.argmax(values < 0))
                raise CountsError(
                    f"{self.name}, task {self.task_ids[at]}: {what} = {values[at]:g} is less than nothing"
                )

    @property
    def attempts(self) -> int:
        """The largest k of a curve: the smallest n that did not depend on outcomes."""
        if self.stopped_at is not None:
            return self.stopped_at
        return int((self.n if self.first is None else self.first[0]).min())

    @property
    def repositories(self) -> tuple[str, ...] | None:
        """Each task's repository: from the file, or from ids of SWE-bench's form, `owner__name-123`; else None."""
        return self.repos or _repos(self.task_ids)

    def fixed(self) -> Counts:
        """The counts of independent attempts whose number was fixed beforehand.

        Raises:
            CountsError: there are none: attempts ended with a task's first success, or know of one another.
        """
        if self.dependent:
            raise CountsError(
                f"{self.name}: {DEPENDENT}; `monkeys coverage` shows the coverage of the procedure as it was run, and "
                "this needs independent attempts: sample with another strategy, such as independent"
            )
        if self.stopped_at is not None:
            raise CountsError(
                f"{self.name}: attempts ended with a task's first success, so that n depends on the outcomes; "
                "`monkeys coverage` and `monkeys fit` know of it, and this needs attempts fixed beforehand"
            )
        if self.first is None:
            return self
        n, correct = self.first
        return replace(self, n=n, correct=correct, first=None)

    def likelihood(self) -> tuple[IntArray, IntArray]:
        """n and c for distributions of pass@1 and predictions, which hold however many attempts a task was given.

        Raises:
            CountsError: attempts know of one another, so that a task has no pass@1.
        """
        if self.dependent:
            raise CountsError(
                f"{self.name}: {DEPENDENT}, so that a task has no pass@1 from which more attempts can be predicted; "
                "sample with another strategy, such as independent, or make the attempts and use `monkeys coverage`"
            )
        return self.n, self.correct

    def only(self, kept: BoolArray) -> Counts:
        """The counts of these tasks alone."""

        def names(column: Sequence[str]) -> tuple[str, ...]:
            return tuple(value for value, keep in zip(column, kept, strict=True) if keep)

        return replace(
            self,
            task_ids=names(self.task_ids),
            n=self.n[kept],
            correct=self.correct[kept],
            repos=None if self.repos is None else names(self.repos),
            costs=None if self.costs is None else self.costs[kept],
            tokens=None if self.tokens is None else self.tokens[kept],
            spent={unit: values[kept] for unit, values in self.spent.items()},
            first=None if self.first is None else (self.first[0][kept], self.first[1][kept]),
        )

    def sampled(self) -> Counts:
        """The counts without the tasks that have no attempt, which a note then names.

        Raises:
            CountsError: none has any.
        """
        kept = (self.n if self.first is None else self.first[0]) > 0
        if kept.all():
            return self
        if not kept.any():
            raise CountsError(f"{self.name}: no task has an attempt that counts; sample at least one")
        without = [task for task, keep in zip(self.task_ids, kept, strict=True) if not keep]
        return replace(self.only(kept), notes=(*self.notes, f"left out: no attempt that counts on {listed(without)}"))


@dataclass(frozen=True)
class Outcomes:
    """Single attempts in the order in which they were found. The columns run in parallel but for `task_ids`."""

    name: str
    task_ids: tuple[str, ...]
    """The tasks, each once."""
    task: IntArray
    """Each attempt's task, as an index into `task_ids`."""
    correct: BoolArray
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """The other columns of the file by their names: answer, patch, scores."""
    notes: tuple[str, ...] = ()
    benchmark: str = ""
    """As in `Counts`."""
    order: IntArray | None = None
    """The rows in the order in which each task's attempts were made; None where that is the order of the rows."""

    def counts(
        self, *, sampling: Sampling | None = None, stopped_at: int | None = None, first: int | None = None
    ) -> Counts:
        """The counts of these attempts.

        Args:
            sampling: how the attempts came about. Left out, attempts that look dependent or stopped are refused.
            stopped_at: attempts on a task ended with its first success, or after so many; later ones are left out.
            first: count only so many attempts on each task, in the order made.

        Raises:
            CountsError: no attempts, or fewer than `first` on a task.
            monkeys.science.coverage.CoverageError: the attempts were not sampled independently.
        """
        if first is not None:
            kept = self._places() < first
            made = np.bincount(self.task, minlength=len(self.task_ids))
            short = [task for task, n in zip(self.task_ids, made, strict=True) if n < first]
            if short or first < 1:
                raise CountsError(
                    f"{self.name}: {first} attempts cannot be taken of {made.min()} on {listed(short or self.task_ids)}"
                    f"; ask for 1 to {made.min()}"
                )
            return self._only(kept).counts(sampling=sampling)
        if stopped_at is not None:
            return self._only(self._until_success(stopped_at))._summed(stopped_at)
        order = slice(None) if self.order is None else self.order
        check_order(self.task[order], self.correct[order], sampling)
        return replace(self._summed(None), sampling=sampling)

    def _summed(self, stopped_at: int | None) -> Counts:
        tasks = len(self.task_ids)
        found = find_column(self.columns, REPO)
        repos = None
        if found is not None:
            by_task = dict(zip(self.task.tolist(), found[1], strict=True))
            repos = tuple(str(by_task.get(task, "")) for task in range(tasks))
        costs = find_column(self.columns, PRICE)
        return Counts(
            name=self.name,
            task_ids=self.task_ids,
            n=np.bincount(self.task, minlength=tasks),
            correct=np.bincount(self.task[self.correct], minlength=tasks),
            repos=repos,
            costs=None if costs is None else _summed(self.task, as_costs(self.name, *costs), tasks),
            spent={
                unit: _summed(self.task, values, tasks)
                for unit, values in numbers_of(self.name, self.columns, SPENT).items()
            },
            stopped_at=stopped_at,
            benchmark=self.benchmark,
            notes=self.notes,
        ).sampled()

    def _places(self) -> IntArray:
        """How many attempts on the same task were made before each."""
        order = np.argsort(self.task, kind="stable") if self.order is None else self.order
        task = self.task[order]
        starts = np.flatnonzero(np.diff(task, prepend=-1))
        places = np.empty(task.size, np.int64)
        places[order] = np.arange(task.size) - np.repeat(starts, np.diff(starts, append=task.size))
        return places

    def _until_success(self, cap: int) -> BoolArray:
        """Which attempts were made until a task's first success, and before `cap`."""
        places = self._places()
        first = np.full(len(self.task_ids), cap, np.int64)
        np.minimum.at(first, self.task[self.correct], places[self.correct])
        return np.asarray((places <= first[self.task]) & (places < cap))

    def _only(self, kept: BoolArray) -> Outcomes:
        rows = np.flatnonzero(kept)
        order = None
        if self.order is not None:
            place = np.cumsum(kept) - 1
            order = place[self.order[kept[self.order]]]
        columns = {name: taken(values, rows) for name, values in self.columns.items()}
        return replace(self, task=self.task[rows], correct=self.correct[rows], columns=columns, order=order)


Found: TypeAlias = Counts | Outcomes


def _summed(task: IntArray, values: FloatArray, tasks: int) -> FloatArray:
    return np.bincount(task, values, tasks).astype(np.float64)


def _repos(ids: Sequence[str]) -> tuple[str, ...] | None:
    found = [SWEBENCH_ID.fullmatch(task) for task in ids]
    return tuple(f"{match[1]}/{match[2]}" for match in found if match) if all(found) else None
