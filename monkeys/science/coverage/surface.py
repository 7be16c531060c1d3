"""Coverage over attempts x turns: what k attempts would solve if each were stopped after t turns.

One run gives all of it. An attempt of 40 turns holds those of 1 to 39: its outcome at t is that of what it would have
handed in after t turns, and an attempt that ended earlier keeps its own. So the n attempts on a task, all stopped after
t turns, are n independent attempts of t turns, and pass@k has its unbiased estimate at every t.

Guarantees:

- At the last t the surface is `coverage_curve` of the same attempts, to the digit.
- A missing verdict is unknown, and never a failure: a cell that depends on one has bounds in place of an estimate.
- The best cell of a budget is chosen on other tasks than those on which it is judged. The largest of many noisy cells
  is too large: judged on the tasks that chose it, it promises more than it keeps.

What it cannot know: an agent that is told its limit of turns may work differently under another limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from monkeys.science.coverage.comparison import difference_of_values
from monkeys.science.coverage.counts import (
    CoverageError,
    FloatArray,
    IntArray,
    Names,
    Sampling,
    check_order,
    checked_ks,
    named_tasks,
    refuse_more_than_sampled,
    whole,
)
from monkeys.science.coverage.curve import default_ks, kinds_of
from monkeys.science.coverage.estimators import unchecked_pass_at_k
from monkeys.science.coverage.intervals import Method, check_interval, interval

__all__ = [
    "BestCell",
    "CellDifference",
    "Surface",
    "TurnCounts",
    "best_cells",
    "compare_cells",
    "coverage_surface",
    "default_turns",
    "mean_costs",
    "surface_values",
    "turn_counts",
]

_CELLS = 2**21  # numbers held at once; 16 MiB an array
_ROUNDING = 1e-9  # a budget that is short by less pays
_SPLITS = 200  # of the tasks into halves
_RESAMPLES = 1000  # of the tasks, for the span of t that may be the best


@dataclass(frozen=True)
class TurnCounts:
    """How many attempts on each task are resolved when all are stopped after t turns; t = 1 .. `turns`."""

    n: FloatArray
    """Attempts on each task, shape (tasks,)."""
    resolved: FloatArray
    """Attempts that are resolved after t turns, shape (tasks, turns)."""
    unknown: FloatArray
    """Attempts without a verdict on what they had after t turns, shape (tasks, turns)."""

    @property
    def turns(self) -> int:
        """The largest t."""
        return int(self.resolved.shape[1])

    @property
    def attempts(self) -> int:
        """The largest k: the smallest n."""
        return int(self.n.min())

    @property
    def known(self) -> IntArray:
        """The t at which every attempt has a verdict, ascending."""
        return np.flatnonzero(~self.unknown.any(axis=0)) + 1


def turn_counts(
    task: ArrayLike, outcomes: ArrayLike, *, sampling: Sampling | None = None, names: Names | None = None
) -> TurnCounts:
    """Sum the outcomes of single attempts at every turn.

    Args:
        task: the number of each attempt's task, from 0 without a gap, shape (attempts,).
        outcomes: 1, 0 or NaN for every attempt and turn, shape (attempts, turns): whether what the attempt had after t
            turns resolves the task, NaN where nobody knows. Attempts on one task stand in the order made. After its
            last turn an attempt keeps its outcome.
        sampling: how the attempts came about, as for `counts`.
        names: names of the tasks for error messages.

    Raises:
        CoverageError: another shape or value; a task without an attempt; attempts that were not sampled independently.
    """
    of, table = np.asarray(task), np.asarray(outcomes, dtype=np.float64)
    if table.ndim != 2 or table.size == 0 or of.shape != table.shape[:1] or of.dtype.kind not in "iu":
        raise CoverageError(
            f"outcomes has shape {table.shape} and task {of.shape}: pass attempts x turns, at least one of each, and "
            "the number of each attempt's task"
        )
    unknown = np.isnan(table)
    if (strange := ~unknown & (table != 0) & (table != 1)).any():
        attempt, turn = np.argwhere(strange)[0]
        raise CoverageError(f"outcomes[{attempt}, {turn}] is {table[attempt, turn]:g}: an outcome is 1, 0 or NaN")
    tasks = len(names) if names is not None else int(of.max()) + 1
    if of.min() < 0 or of.max() >= tasks:
        raise CoverageError(f"task holds {of.min()} to {of.max()}, and there are {tasks} tasks: number them from 0")
    n = np.bincount(of, minlength=tasks).astype(np.float64)
    if (n == 0).any():
        raise CoverageError(f"no attempt on {named_tasks(np.flatnonzero(n == 0), names)}: leave it out, or sample it")
    last = ~unknown[:, -1]
    check_order(of[last], table[last, -1] == 1, sampling)

    def summed(marks: FloatArray) -> FloatArray:
        return np.stack([np.bincount(of, column, tasks) for column in marks.T], axis=1)

    return TurnCounts(n, summed(np.where(unknown, 0.0, table)), summed(unknown.astype(np.float64)))


def mean_costs(task: ArrayLike, spent: ArrayLike) -> FloatArray:
    """What an attempt on each task costs on average if it is stopped after t turns, shape (tasks, turns).

    Args:
        task: as for `turn_counts`.
        spent: what each attempt had cost after t turns, in any unit, shape (attempts, turns). An attempt that ended
            earlier costs no more after its end, which is why two runs of as many turns may differ in price.

    Raises:
        CoverageError: a cost that is missing, negative, or falls from one turn to the next.
    """
    of, table = np.asarray(task), np.asarray(spent, dtype=np.float64)
    if table.ndim != 2 or of.shape != table.shape[:1]:
        raise CoverageError(f"spent has shape {table.shape} for {of.size} attempts: pass attempts x turns")
    # Sums of many costs may fall by a rounding.
    falls = np.diff(table, axis=1) < -_ROUNDING * np.abs(table[:, 1:])
    if not (np.isfinite(table) & (table >= 0)).all() or falls.any():
        raise CoverageError("spent must hold what was spent up to each turn: finite numbers >= 0 that never fall")
    n = np.maximum(np.bincount(of), 1)
    return np.stack([np.bincount(of, column) for column in table.T], axis=1) / n[:, None]


def default_turns(turns: int) -> tuple[int, ...]:
    """The t at which a surface is shown: 1, 2, 5, 10, 25, 50 and so on, then `turns` itself."""
    return default_ks(turns)


@dataclass(frozen=True)
class Surface:
    """Coverage of k attempts of t turns. Rows go by `turns`, columns by `ks`; values are shares of tasks in [0, 1]."""

    turns: tuple[int, ...]
    ks: tuple[int, ...]
    coverage: FloatArray
    """NaN where a verdict is missing."""
    low: FloatArray
    """Lower bound of the interval; NaN where there is none."""
    high: FloatArray
    least: FloatArray
    """Coverage if no missing verdict were a success: equal to `coverage` where none is missing."""
    most: FloatArray
    """Coverage if every missing verdict were a success."""
    level: float
    method: Method
    replicates: int
    seed: int
    tasks: int
    attempts: int
    """The smallest number of attempts on any task, and so the largest k."""

    @property
    def interval(self) -> str:
        """What the intervals are, in words, for a caption."""
        names = {"gaffke": "Gaffke bootstrap", "korn-graubard": "Korn-Graubard", "bca": "BCa bootstrap"}
        drawn = "" if self.method == "korn-graubard" else f", {self.replicates:,} replicates, seed {self.seed}"
        return (
            f"{100 * self.level:.4g} % interval over {self.tasks} task{'s' * (self.tasks != 1)}, each cell by itself: "
            f"{names.get(self.method, 'percentile bootstrap')}{drawn}"
        )


def coverage_surface(
    counts: TurnCounts,
    ks: ArrayLike | None = None,
    turns: ArrayLike | None = None,
    *,
    level: float = 0.95,
    replicates: int = 10_000,
    seed: int = 0,
    names: Names | None = None,
    method: Method = "gaffke",
) -> Surface:
    """Coverage of k attempts of t turns at each pair of `ks` and `turns`, with an interval over tasks.

    Args:
        ks: whole numbers between 1 and the smallest n; `default_ks` of it when left out.
        turns: whole numbers between 1 and `counts.turns`; `default_turns` of it when left out.
        level, replicates, seed, method: of the intervals, as for `coverage_curve`.
        names: names of the tasks for error messages.

    Raises:
        CoverageError: k beyond the smallest n, t beyond the longest attempt, an interval that does not exist.
    """
    wanted = np.atleast_1d(checked_ks(default_ks(max(1, counts.attempts)) if ks is None else ks))
    refuse_more_than_sampled(counts.n, wanted[:, None], names)
    shown = _checked_turns(default_turns(counts.turns) if turns is None else turns, counts.turns)
    check_interval(level, replicates, seed, method)
    least, most, low, high = np.full((4, len(shown), wanted.size), np.nan)
    for row, turn in enumerate(shown):
        resolved, unknown = counts.resolved[:, turn - 1], counts.unknown[:, turn - 1]
        kinds, sizes = kinds_of(counts.n, resolved)
        values = unchecked_pass_at_k(kinds[0], kinds[1], wanted[:, None])
        least[row] = most[row] = values @ sizes / sizes.sum()
        if unknown.any():
            most[row] = unchecked_pass_at_k(counts.n, resolved + unknown, wanted[:, None]).mean(axis=1)
        else:
            low[row], high[row] = interval(values, sizes, method=method, level=level, replicates=replicates, seed=seed)
    return Surface(
        turns=tuple(shown),
        ks=tuple(int(k) for k in wanted),
        coverage=np.where(np.isin(shown, counts.known)[:, None], least, np.nan),
        low=low,
        high=high,
        least=least,
        most=most,
        level=level,
        method=method,
        replicates=0 if method == "korn-graubard" else replicates,
        seed=seed,
        tasks=counts.n.size,
        attempts=counts.attempts,
    )


def surface_values(counts: TurnCounts, ks: ArrayLike, turns: ArrayLike) -> FloatArray:
    """Coverage of k attempts of t turns without intervals, shape (turns, ks); NaN where a verdict is missing.

    Arguments and errors are those of `coverage_surface`.
    """
    wanted = np.atleast_1d(checked_ks(ks))
    refuse_more_than_sampled(counts.n, wanted[:, None], None)
    shown = _checked_turns(turns, counts.turns)
    values = [
        unchecked_pass_at_k(counts.n, counts.resolved[:, turn - 1], wanted[:, None]).mean(axis=1) for turn in shown
    ]
    return np.where(np.isin(shown, counts.known)[:, None], np.stack(values), np.nan)


@dataclass(frozen=True)
class BestCell:
    """The best way to spend a budget: k attempts of t turns on every task. Costs are per task."""

    budget: float
    k: int
    turns: int
    cost: float
    """Expected cost of this cell, <= `budget`."""
    coverage: float
    """Coverage of this cell on the tasks that chose it, which is too large on average."""
    held_out: float
    """Coverage of a cell so chosen, on tasks that did not choose it; NaN where there is one task."""
    low: float
    """Lower bound of the interval of `held_out`."""
    high: float
    chosen_between: tuple[int, int]
    """The t between which the choice falls in a share `level` of resamples of the tasks: a wide span means that the
    tasks do not tell these t apart."""
    short_of_attempts: tuple[int, ...]
    """The t at which the budget would pay for more attempts than were made: they are judged by all that were made, so
    that their coverage, and with it the choice, may be too low."""


def best_cells(
    counts: TurnCounts,
    cost: ArrayLike,
    budgets: Sequence[float],
    *,
    level: float = 0.95,
    replicates: int = 10_000,
    seed: int = 0,
    method: Method = "gaffke",
) -> tuple[BestCell, ...]:
    """The best pair of k and t for each budget, with the coverage that such a choice keeps.

    At each t the budget pays for k = budget / cost attempts, and more attempts never hurt, so that the choice is among
    as many cells as there are turns. Of equal cells the one of fewer turns is taken. For `held_out` the tasks
    are cut into random halves again and again; each half chooses, and the other one judges. It is the unbiased estimate
    of what a choice by half of the tasks reaches on others of the kind, and so errs to the low side for one by all of
    them. The costs, and with them each k, are those of all tasks.

    In simulations of 20 turns that are alike in truth (coverage .314), the coverage on the tasks that chose averaged
    .43 with 5 tasks and .36 with 50, and `held_out` .31 and .31; its interval held the truth in .95-.98 of runs with
    12, 50 and 128 tasks. (Leaving out one task in place of half of them is unbiased too, and held .96, .88 and .81.)

    Args:
        cost: as `mean_costs` gives it, shape (tasks, turns).
        budgets: what may be spent on each task, in the unit of `cost`.
        level, replicates, seed, method: of the intervals, as for `coverage_curve`.

    Raises:
        CoverageError: a budget that pays for no attempt; no t at which all verdicts are known.
    """
    check_interval(level, replicates, seed, method)
    each = _attempt_costs(counts, cost)
    if not counts.known.size:
        raise CoverageError("no t has all of its verdicts, so that no cell can be chosen: verify what is missing")
    return tuple(
        _best(counts, each, float(budget), level=level, replicates=replicates, seed=seed, method=method)
        for budget in budgets
    )


def _best(
    counts: TurnCounts,
    each: FloatArray,
    budget: float,
    *,
    level: float,
    replicates: int,
    seed: int,
    method: Method,
) -> BestCell:
    paid = _affordable(each, budget)
    turns = counts.known[paid[counts.known - 1] >= 1]
    if not turns.size:
        least = each[counts.known - 1].min()
        raise CoverageError(
            f"a budget of {budget:g} pays for no attempt: the cheapest costs {least:g} a task; raise it"
        )
    ks = np.minimum(paid[turns - 1], counts.attempts)
    values = unchecked_pass_at_k(counts.n, counts.resolved[:, turns - 1].T, ks[:, None])
    chosen = int(np.argmax(np.round(values.mean(axis=1), 12)))
    held_out = low = high = float("nan")
    tasks, rng = counts.n.size, np.random.default_rng(seed)
    if tasks > 1:
        judged = _judged_apart(values, rng)
        held_out = float(judged.mean())
        bounds = interval(
            judged[None], np.ones(tasks, np.int64), method=method, level=level, replicates=replicates, seed=seed
        )
        low, high = (float(bound[0]) for bound in bounds)
    return BestCell(
        budget=budget,
        k=int(ks[chosen]),
        turns=int(turns[chosen]),
        cost=float(ks[chosen] * each[turns[chosen] - 1]),
        coverage=float(values[chosen].mean()),
        held_out=held_out,
        low=low,
        high=high,
        chosen_between=_chosen_between(values, turns, level, rng),
        short_of_attempts=tuple(int(turn) for turn in turns[paid[turns - 1] > counts.attempts]),
    )


def _judged_apart(values: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The value of each task in the row that the other half of the tasks chose, on average over random halves."""
    tasks = values.shape[1]
    order = rng.permuted(np.broadcast_to(np.arange(tasks), (_SPLITS, tasks)), axis=1)
    total, times = np.zeros(tasks), np.zeros(tasks)
    for half in (order < tasks // 2, order >= tasks // 2):
        # Sums that differ by rounding alone must not decide.
        rows = np.argmax(np.round(values @ half.T / half.sum(axis=1), 12), axis=0)
        total += np.where(half, 0.0, values[rows]).sum(axis=0)
        times += (~half).sum(axis=0)
    return np.asarray(total / times)


def _chosen_between(values: FloatArray, turns: IntArray, level: float, rng: np.random.Generator) -> tuple[int, int]:
    tasks, draws = values.shape[1], _RESAMPLES
    block = max(1, _CELLS // tasks)
    rows = []
    for start in range(0, draws, block):
        weights = rng.multinomial(tasks, np.full(tasks, 1 / tasks), size=min(block, draws - start))
        rows.append(np.argmax(np.round(values @ weights.T / tasks, 12), axis=0))
    low, high = np.quantile(np.concatenate(rows), [(1 - level) / 2, (1 + level) / 2], method="nearest").astype(int)
    return int(turns[low]), int(turns[high])


@dataclass(frozen=True)
class CellDifference:
    """Coverage of one cell less that of another, on the same tasks."""

    first: tuple[int, int]
    """k and t of the one cell."""
    second: tuple[int, int]
    coverages: tuple[float, float]
    difference: float
    low: float
    high: float
    p_value: float
    """As in `Difference`."""
    level: float


def compare_cells(
    counts: TurnCounts,
    first: tuple[int, int],
    second: tuple[int, int],
    *,
    level: float = 0.95,
    replicates: int = 10_000,
    seed: int = 0,
    names: Names | None = None,
) -> CellDifference:
    """Coverage of k attempts of t turns less that of another k and t, with the interval of `paired_difference`.

    Raises:
        CoverageError: as `coverage_surface`; a cell that depends on a missing verdict.
    """
    values = []
    for k, turn in (first, second):
        wanted = checked_ks([k])
        refuse_more_than_sampled(counts.n, wanted[:, None], names)
        _checked_turns([turn], counts.turns)
        if missing := int(counts.unknown[:, turn - 1].sum()):
            raise CoverageError(f"{missing} verdicts are missing at t = {turn}: verify them to compare {k} x {turn}")
        values.append(unchecked_pass_at_k(counts.n, counts.resolved[:, turn - 1], wanted[:, None]))
    gap, low, high, p_value = difference_of_values(*values, level=level, replicates=replicates, seed=seed)
    return CellDifference(
        first=first,
        second=second,
        coverages=(float(values[0].mean()), float(values[1].mean())),
        difference=float(gap[0]),
        low=float(low[0]),
        high=float(high[0]),
        p_value=float(p_value[0]),
        level=level,
    )


def _attempt_costs(counts: TurnCounts, cost: ArrayLike) -> FloatArray:
    """The mean over tasks of the cost of an attempt of t turns."""
    table = np.asarray(cost, dtype=np.float64)
    if table.shape != counts.resolved.shape:
        raise CoverageError(f"cost has shape {table.shape}, and there are {counts.resolved.shape} tasks x turns")
    return np.asarray(table.mean(axis=0))


def _affordable(each: FloatArray, budget: float) -> IntArray:
    """How many attempts of t turns the budget pays for."""
    with np.errstate(divide="ignore", invalid="ignore"):
        paid = np.where(each > 0, budget * (1 + _ROUNDING) / each, np.inf)
    return np.asarray(np.minimum(np.floor(paid), 2**53)).astype(np.int64)


def _checked_turns(turns: ArrayLike, longest: int) -> list[int]:
    wanted: list[int] = np.atleast_1d(whole("t", turns)).astype(int).tolist()
    if min(wanted) < 1 or max(wanted) > longest:
        wrong = min(wanted) if min(wanted) < 1 else max(wanted)
        raise CoverageError(f"t = {wrong}: an attempt has at least one turn, and the longest of these has {longest}")
    return wanted
