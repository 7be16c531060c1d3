"""Allocation: which task is attempted next, by how often each was attempted and resolved.

Four allocations:

- `Uniform`: the task with the fewest attempts. Every estimator stays unbiased, such as `pass_at_k` from n and c.
- `StopOnSuccess`: the same, of the tasks without `successes` yet. Coverage up to `cap` stays unbiased, by
  `stopped_curve` and `pass_at_k_stopped`.
- `FewestSuccesses`: fewest successes first, then fewest attempts. The likelihood of the counts does not depend on the
  rule, so that `fit_mixture` and `predict_coverage` stay consistent; coverage up to `floor` is unbiased from the first
  `floor` attempts of each task.
- `VarianceOptimal`: where one more attempt narrows coverage at k the most. As `FewestSuccesses`, with `pilot` for
  `floor`.

Where n depends on the outcomes, pass@k from n and c is wrong: of a task with p = .1 that was stopped on its first
success, c / n averages .26. `coverage_curve` refuses such counts with `sampling="adaptive"` or `sampling="stopped"`.

The contract of `next`: it is a function of its arguments alone. `attempts` counts the attempts made or under way, and
`resolved` those known to be resolved, so that one allocation serves many workers at once. An attempt under way counts
as a failure until its outcome is known. Ties are broken at random by `rng`. The module takes plain arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.errors import MonkeysError

__all__ = [
    "Allocation",
    "AllocationError",
    "FewestSuccesses",
    "StopOnSuccess",
    "Uniform",
    "VarianceOptimal",
    "simulate",
    "variance_optimal_shares",
]

IntArray: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.float64]


class AllocationError(MonkeysError, ValueError):
    """An allocation cannot be carried out; the message says what would be right instead."""


class Allocation(Protocol):
    """Names the task that is attempted next."""

    def next(self, attempts: IntArray, resolved: IntArray, rng: np.random.Generator) -> int | None:
        """The index of the task to attempt next, or None when no task is to have more.

        Args:
            attempts: attempts made or under way on each task, shape (tasks,).
            resolved: how many of them are known to have resolved it, shape (tasks,).
            rng: breaks ties.

        Raises:
            AllocationError: the arrays are not counts of the same tasks.
        """
        ...


@dataclass(frozen=True)
class Uniform:
    """The task with the fewest attempts, up to `cap` attempts each."""

    cap: int

    def __post_init__(self) -> None:
        _at_least_one(cap=self.cap)

    def next(self, attempts: IntArray, resolved: IntArray, rng: np.random.Generator) -> int | None:
        made, _ = _checked(attempts, resolved)
        return _least(made < self.cap, rng, made)


@dataclass(frozen=True)
class StopOnSuccess:
    """The task with the fewest attempts, up to `cap` attempts each, and no more on a task that has `successes`.

    The cheapest way to know which tasks are solved within `cap`. `stopped_curve(n, c, cap=cap, successes=successes)`
    gives an unbiased estimate of coverage at every k up to `cap`. With many workers a task may get a few attempts more
    than were needed: take the counts through `until_success`, which ignores attempts after the stop.
    """

    cap: int
    successes: int = 1

    def __post_init__(self) -> None:
        _at_least_one(cap=self.cap, successes=self.successes)

    def next(self, attempts: IntArray, resolved: IntArray, rng: np.random.Generator) -> int | None:
        made, good = _checked(attempts, resolved)
        return _least((made < self.cap) & (good < self.successes), rng, made)


@dataclass(frozen=True)
class FewestSuccesses:
    """The task with the fewest successes, among those the one with the fewest attempts (arXiv 2510.05197).

    Attempts go where little is known, to the left tail of pass@1, which decides how coverage grows. It is made for
    `fit_mixture` and `predict_coverage`, whose likelihood does not depend on the rule. Every task first gets `floor`
    attempts; coverage at k <= floor from exactly these attempts is unbiased.
    """

    cap: int
    floor: int = 1

    def __post_init__(self) -> None:
        _at_least_one(cap=self.cap, floor=self.floor)
        if self.floor > self.cap:
            raise AllocationError(f"floor = {self.floor} is more than cap = {self.cap}: lower it")

    def next(self, attempts: IntArray, resolved: IntArray, rng: np.random.Generator) -> int | None:
        made, good = _checked(attempts, resolved)
        if (made < self.floor).any():
            return _least(made < self.floor, rng, made)
        return _least(made < self.cap, rng, good, made)


@dataclass(frozen=True)
class VarianceOptimal:
    """The task where one more attempt narrows the estimate of coverage at k the most, after `pilot` attempts on each.

    The share of task i is proportional to sqrt(p (1-p)^(2k-1)): the standard deviation that one attempt gives to 1 -
    (1-p)^k by the delta method (Neyman's allocation). p is estimated by (c + 1/2) / (n + 1), so that no task is left
    out for good. It helps at small k; at large k nearly all tasks that matter are unsolved, and it comes close to
    `FewestSuccesses`. Coverage at k <= pilot from the first `pilot` attempts of each task is unbiased.
    """

    k: int
    pilot: int
    cap: int

    def __post_init__(self) -> None:
        _at_least_one(k=self.k, pilot=self.pilot, cap=self.cap)
        if self.pilot > self.cap:
            raise AllocationError(f"pilot = {self.pilot} is more than cap = {self.cap}: lower it")

    def next(self, attempts: IntArray, resolved: IntArray, rng: np.random.Generator) -> int | None:
        made, good = _checked(attempts, resolved)
        if (made < self.pilot).any():
            return _least(made < self.pilot, rng, made)
        # As many attempts per share as possible alike: the next goes where they are fewest.
        wanted = _log_share((good + 0.5) / (made + 1), self.k)
        return _least(made < self.cap, rng, np.log(made) - wanted)


def variance_optimal_shares(p: ArrayLike, k: int) -> FloatArray:
    """The shares of a budget, summing to 1, that give coverage at k the least variance: sqrt(p (1-p)^(2k-1)).

    Raises:
        AllocationError: p outside [0, 1]; k < 1; every p 0 or 1, where nothing is left to learn.
    """
    chances = np.atleast_1d(np.asarray(p, dtype=np.float64))
    _at_least_one(k=k)
    if chances.size == 0 or not ((chances >= 0) & (chances <= 1)).all():
        raise AllocationError("p holds no probabilities: pass at least one number in [0, 1]")
    if ((chances == 0) | (chances == 1)).all():
        raise AllocationError("every p is 0 or 1: no attempt would tell anything; spend the budget uniformly")
    logs = _log_share(chances, k)
    shares = np.exp(logs - logs.max())
    return np.asarray(shares / shares.sum())


def simulate(allocation: Allocation, p: ArrayLike, budget: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Simulate an allocation, one attempt after another: attempts and resolved attempts on each task at its end.

    It ends after `budget` attempts, or once the allocation wants no more.

    Args:
        p: each task's chance that an attempt resolves it.
    """
    chances = np.atleast_1d(np.asarray(p, dtype=np.float64))
    attempts, resolved = np.zeros((2, chances.size), dtype=np.int64)
    luck = rng.random(budget)
    for i in range(budget):
        task = allocation.next(attempts, resolved, rng)
        if task is None:
            break
        attempts[task] += 1
        resolved[task] += luck[i] < chances[task]
    return attempts, resolved


def _log_share(p: FloatArray, k: int) -> FloatArray:
    with np.errstate(divide="ignore"):
        return np.asarray(0.5 * np.log(p) + (k - 0.5) * np.log1p(-p))


def _least(allowed: NDArray[np.bool_], rng: np.random.Generator, *keys: NDArray[Any]) -> int | None:
    """One of the allowed tasks with the smallest keys, the first key first; None if none is allowed."""
    left = np.flatnonzero(allowed)
    if not left.size:
        return None
    for key in keys:
        left = left[key[left] == key[left].min()]
    return int(left[0] if left.size == 1 else rng.choice(left))


def _checked(attempts: IntArray, resolved: IntArray) -> tuple[IntArray, IntArray]:
    made, good = np.asarray(attempts), np.asarray(resolved)
    if made.dtype.kind not in "iu" or good.dtype.kind not in "iu":
        raise AllocationError("attempts and resolved must be whole numbers: pass integer arrays")
    if made.ndim != 1 or made.shape != good.shape or not made.size:
        raise AllocationError(f"attempts has shape {made.shape} and resolved {good.shape}: pass one of each per task")
    if (good < 0).any() or (good > made).any():
        task = int(np.argmax((good < 0) | (good > made)))
        raise AllocationError(
            f"task {task} has {good[task]} of {made[task]} attempts resolved: an attempt under way is an attempt, too"
        )
    return made.astype(np.int64), good.astype(np.int64)


def _at_least_one(**settings: int) -> None:
    for name, value in settings.items():
        if value < 1:
            raise AllocationError(f"{name} = {value}: it is at least 1")
