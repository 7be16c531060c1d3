"""Coverage against its cost in any unit: attempts, tokens, money, FLOPs or seconds.

There are two ways to spend: k attempts on every task, or up to k and none after the first success, which gives the same
coverage for less. The expected cost of the second way needs no second experiment: attempt j is made if the j - 1
attempts before it failed, with probability 1 - pass@(j-1), whose estimate is unbiased.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from monkeys.science.coverage.counts import CoverageError, FloatArray, Names, Sampling
from monkeys.science.coverage.curve import coverage_curve, curve_counts
from monkeys.science.coverage.estimators import unchecked_pass_at_k
from monkeys.science.coverage.intervals import Method

__all__ = ["CostCurve", "CostPoint", "coverage_against_cost"]


@dataclass(frozen=True)
class CostPoint:
    """Coverage at one cost. Costs are per task, in the unit of the curve; the others shares of tasks."""

    k: int
    cost: float
    cost_low: float
    cost_high: float
    coverage: float
    low: float
    high: float


@dataclass(frozen=True)
class CostCurve:
    """Coverage and the mean cost per task at each k, each with an interval over tasks."""

    points: tuple[CostPoint, ...]
    unit: str
    stop_on_success: bool
    level: float
    tasks: int
    attempts: int
    interval: str
    """The intervals in words."""

    def at(self, budget: float) -> CostPoint:
        """The last of the curve's points that costs no more than `budget` per task; nothing is interpolated.

        Raises:
            CoverageError: the budget is below the cost of the first point.
        """
        affordable = bisect_right([point.cost for point in self.points], budget)
        if not affordable:
            first = self.points[0]
            raise CoverageError(
                f"{budget:g} {self.unit} per task pay for less than k = {first.k}, which costs {first.cost:g}: raise it"
            )
        return self.points[affordable - 1]


def coverage_against_cost(
    n: ArrayLike,
    c: ArrayLike,
    cost: ArrayLike,
    ks: ArrayLike | None = None,
    *,
    unit: str = "attempts",
    stop_on_success: bool = False,
    level: float = 0.95,
    replicates: int = 10_000,
    seed: int = 0,
    names: Names | None = None,
    method: Method | None = None,
    sampling: Sampling | None = None,
) -> CostCurve:
    """Coverage at each k beside the mean cost per task of reaching it.

    An attempt is taken to cost what attempts on its task cost on average. With `stop_on_success` that assumes that
    successes and failures cost alike: where failures cost more, as agents that run into their limits do, the true cost
    of stopping lies a little higher, by no more than the ratio of the two.

    Args:
        cost: what all n attempts on each task cost together, shape (tasks,), >= 0, in any unit.
        ks: as for `coverage_curve`.
        unit: name of the unit, for captions.
        stop_on_success: whether attempts on a task end with its first success.
        level, replicates, seed, names, method, sampling: as for `coverage_curve`. The interval of the cost is Student's
            over tasks.

    Raises:
        CoverageError: as `coverage_curve`; a cost that is missing, negative or not one per task.
    """
    attempts, resolved, wanted = curve_counts(n, c, ks, names)
    spent = _costs(cost, attempts.size)
    curve = coverage_curve(
        attempts,
        resolved,
        wanted,
        level=level,
        replicates=replicates,
        seed=seed,
        names=names,
        method=method,
        sampling=sampling,
    )
    made = (
        _expected_attempts(attempts, resolved, wanted)
        if stop_on_success
        else np.repeat(wanted[:, None], attempts.size, 1)
    )
    costs = made * (spent / attempts)
    mean = costs.mean(axis=1)
    reach = _student(costs, level)
    rows = zip(
        curve.ks, mean, np.maximum(mean - reach, 0), mean + reach, curve.coverage, curve.low, curve.high, strict=True
    )
    return CostCurve(
        points=tuple(CostPoint(k, *(float(value) for value in row)) for k, *row in rows),
        unit=unit,
        stop_on_success=stop_on_success,
        level=level,
        tasks=attempts.size,
        attempts=curve.attempts,
        interval=f"{curve.interval}; of the cost, Student's over tasks",
    )


def _expected_attempts(n: FloatArray, c: FloatArray, ks: FloatArray) -> FloatArray:
    """Expected attempts until the first success, k at the most: the sum of 1 - pass@j over j = 0 .. k-1, in closed
    form.

    [(n + 1) - (n - k + 1) C(n-c, k) / C(n, k)] / (c + 1); at k = n the mean place of the first success, (n + 1) / (c +
    1).
    """
    fail = 1 - unchecked_pass_at_k(n, c, ks[:, None])
    left = n - ks[:, None] + 1
    return np.asarray(((n + 1) - left * fail) / (c + 1))


def _student(costs: FloatArray, level: float) -> FloatArray:
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    tasks = costs.shape[1]
    if tasks < 2:
        return np.full(len(costs), np.nan)
    return np.asarray(stdtrit(tasks - 1, (1 + level) / 2) * costs.std(axis=1, ddof=1) / np.sqrt(tasks))


def _costs(cost: ArrayLike, tasks: int) -> FloatArray:
    try:
        spent = np.asarray(cost, dtype=np.float64)
    except (TypeError, ValueError):
        raise CoverageError("cost must be numbers, one per task: convert it first") from None
    if spent.shape != (tasks,):
        raise CoverageError(
            f"cost has shape {spent.shape} for {tasks} tasks: pass what the attempts on each cost together"
        )
    if not (np.isfinite(spent) & (spent >= 0)).all():
        at = int(np.argmin(np.isfinite(spent) & (spent >= 0)))
        raise CoverageError(
            f"cost[{at}] is {spent[at]:g}: a cost is a finite number >= 0; leave the task out, or count it"
        )
    return spent
