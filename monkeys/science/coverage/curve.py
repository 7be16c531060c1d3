"""Coverage over k with an interval at each k: of all tasks, of groups of them, and of attempts stopped on success.

Guarantees:

- Each task counts by its own n; the curve ends at the smallest n.
- An interval always says what it is. Where there is none its bounds are NaN and `Curve.reason` says why.
- The same arguments give the same curve, whatever the order of the tasks under `bootstrap="tasks"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from monkeys.science.coverage.counts import (
    CoverageError,
    FloatArray,
    IntArray,
    Names,
    Sampling,
    check_sampling,
    checked_counts,
    checked_ks,
    listed,
    refuse_more_than_sampled,
)
from monkeys.science.coverage.estimators import (
    check_stopped,
    g_pass_at_k,
    unchecked_pass_at_k,
    unchecked_pass_at_k_stopped,
    unchecked_pass_hat_k,
)
from monkeys.science.coverage.intervals import BOOTSTRAPS, Method, check_interval, interval, parts, quantiles

__all__ = [
    "Bootstrap",
    "Curve",
    "Estimate",
    "coverage_by_group",
    "coverage_curve",
    "curve_counts",
    "default_ks",
    "kinds_of",
    "stopped_curve",
]

Bootstrap: TypeAlias = Literal["tasks", "two-level"]
Estimate: TypeAlias = Literal["pass@k", "pass^k", "g-pass@k"]


@dataclass(frozen=True)
class Curve:
    """Coverage, or reliability, over k with an interval at each k.

    `ks`, `coverage`, `low` and `high` run in parallel; the last three are shares of tasks in [0, 1].
    """

    ks: tuple[int, ...]
    coverage: tuple[float, ...]
    low: tuple[float, ...]
    """Lower bound of the interval at each k; NaN where there is no interval."""
    high: tuple[float, ...]
    """Upper bound of the interval at each k; NaN where there is no interval."""
    reason: str
    """Why the interval is missing at some k; empty when there is one at every k."""
    level: float
    """Nominal level of the interval, such as .95."""
    bootstrap: Bootstrap
    method: Method
    replicates: int
    """Replicates behind the interval; 0 where it takes none."""
    seed: int
    tasks: int
    attempts: int
    """The smallest number of attempts on any task, and so the largest k of the curve."""
    estimate: Estimate = "pass@k"

    @property
    def interval(self) -> str:
        """What the interval is, in words, for a caption."""
        answers = "as a sample of such tasks" if self.bootstrap == "tasks" else "and their attempts, all run again"
        what = f"{100 * self.level:.4g} % interval over {self.tasks} task{'s' * (self.tasks != 1)}, {answers}"
        if not self.replicates:
            return f"{what}: Korn-Graubard"
        drawn = {"bca": "BCa bootstrap", "gaffke": "Gaffke bootstrap"}.get(self.method, "percentile bootstrap")
        return f"{what}: {drawn}, {self.replicates:,} replicates, seed {self.seed}"


def default_ks(attempts: int) -> tuple[int, ...]:
    """The k at which a curve is shown: 1, 2, 5, 10, 25, 50, 100, 250 and so on, then `attempts` itself.

    Raises:
        CoverageError: `attempts` < 1.
    """
    if attempts < 1:
        raise CoverageError(f"{attempts} attempts have no curve: coverage starts at k = 1; sample at least one attempt")
    ks = [1, 2, 5]
    decade = 10
    while ks[-1] < attempts:
        ks += [decade, decade * 5 // 2, decade * 5]
        decade *= 10
    return (*(k for k in ks if k < attempts), attempts)


def coverage_curve(
    n: ArrayLike,
    c: ArrayLike,
    ks: ArrayLike | None = None,
    *,
    level: float = 0.95,
    replicates: int = 10_000,
    seed: int = 0,
    names: Names | None = None,
    bootstrap: Bootstrap = "tasks",
    method: Method | None = None,
    sampling: Sampling | None = None,
    estimate: Estimate = "pass@k",
    tau: float = 0.5,
) -> Curve:
    """Coverage at each k, the mean of pass@k over tasks, with an interval.

    `bootstrap` chooses the question that the interval answers:

    - `"tasks"`: how far would coverage move with other tasks of the same kind? Tasks are the sampled unit and keep
      their counts. The noise of having only n attempts on each task is already in the counts, hence in the interval.
    - `"two-level"`: the same, and then attempts are drawn anew within each drawn task. It answers "if all of it were
      run again" and is usually the wider of the two; the noise of the attempts enters twice, so it errs to that side.
      Redrawing attempts turns pass@k into the plug-in `1 - (1 - c/n)^k`, which is biased low near k = n; that known
      bias is taken out of each replicate. Percentile only, with the narrowness that it has on few tasks.

    Args:
        n: attempts on each task, shape (tasks,), or one number for all tasks.
        c: resolved attempts on each task, shape (tasks,).
        ks: whole numbers between 1 and the smallest n; `default_ks` of the smallest n when left out.
        level: nominal level of the interval, in (0, 1).
        replicates: how often tasks are resampled, by the methods that do; at least 2 / (1 - level).
        seed: seed of the resampling, >= 0.
        names: names of the tasks for error messages.
        bootstrap: what is resampled, as above.
        method: method of the interval over tasks; `monkeys.science.coverage.intervals` has measurements of each.
            Gaffke's when left out, percentile under `"two-level"`.
        sampling: how the attempts came about, where the caller knows: see `Sampling`.
        estimate: `"pass@k"` for coverage, `"pass^k"` for reliability, `"g-pass@k"` for what lies between.
        tau: of G-Pass@k, the share of the k attempts that have to resolve a task, in (0, 1].

    Raises:
        CoverageError: as `pass_at_k`; counts that are not one per task; attempts that were not sampled independently;
            an interval that does not exist for these arguments.
    """
    attempts, resolved, wanted = curve_counts(n, c, ks, names)
    check_sampling(attempts, resolved, sampling)
    if bootstrap not in ("tasks", "two-level"):
        raise CoverageError(f'bootstrap = {bootstrap!r} is unknown: choose "tasks" or "two-level"')
    if estimate not in ("pass@k", "pass^k", "g-pass@k"):
        raise CoverageError(f'estimate = {estimate!r} is unknown: choose "pass@k", "pass^k" or "g-pass@k"')
    if bootstrap == "two-level" and (method not in (None, "percentile") or estimate != "pass@k"):
        raise CoverageError('bootstrap = "two-level" is made for percentile intervals of pass@k: leave the others out')
    method = method or ("gaffke" if bootstrap == "tasks" else "percentile")
    check_interval(level, replicates, seed, method)

    kinds, sizes = kinds_of(attempts, resolved)
    if estimate == "g-pass@k":
        values = g_pass_at_k(kinds[0], kinds[1], wanted[:, None], tau)
    else:
        function = unchecked_pass_at_k if estimate == "pass@k" else unchecked_pass_hat_k
        values = function(kinds[0], kinds[1], wanted[:, None])
    if bootstrap == "tasks":
        low, high = interval(values, sizes, method=method, level=level, replicates=replicates, seed=seed)
    else:
        low, high = np.empty((2, wanted.size))
        block = max(1, 2**21 // max(replicates, attempts.size))
        for start in range(0, wanted.size, block):  # the seed is the same, so every block sees the same resamples
            part = slice(start, start + block)
            low[part], high[part] = _two_level(attempts, resolved, wanted[part], level, replicates, seed)
    return _curve(
        values, sizes, wanted, low, high, int(attempts.min()), level, bootstrap, method, replicates, seed, estimate
    )


def stopped_curve(
    n: ArrayLike,
    c: ArrayLike,
    ks: ArrayLike | None = None,
    *,
    cap: int,
    successes: int = 1,
    level: float = 0.95,
    replicates: int = 10_000,
    seed: int = 0,
    names: Names | None = None,
    method: Method = "gaffke",
) -> Curve:
    """Coverage at each k up to `cap` from attempts stopped on success: the mean of `pass_at_k_stopped`.

    With `successes` = 1 it also holds for attempts that know of earlier ones: it is coverage of the procedure as run.
    Arguments and errors are those of `pass_at_k_stopped` and `coverage_curve`; counts come from `until_success`.
    """
    attempts, resolved = _one_per_task(n, c, names)
    check_stopped(attempts, resolved, cap, successes, names)
    check_interval(level, replicates, seed, method)
    wanted = np.atleast_1d(checked_ks(default_ks(cap) if ks is None else ks))
    refuse_more_than_sampled(np.array([float(cap)]), wanted[:, None], None)
    kinds, sizes = kinds_of(attempts, resolved)
    values = unchecked_pass_at_k_stopped(kinds[0], kinds[1], wanted[:, None], successes)
    low, high = interval(values, sizes, method=method, level=level, replicates=replicates, seed=seed)
    return _curve(values, sizes, wanted, low, high, cap, level, "tasks", method, replicates, seed, "pass@k")


def coverage_by_group(
    n: ArrayLike,
    c: ArrayLike,
    groups: Sequence[str],
    ks: ArrayLike | None = None,
    *,
    names: Names | None = None,
    **options: Any,
) -> dict[str, Curve]:
    """The curve of each group of tasks, such as those of one repository, in the order of their labels.

    Args:
        groups: one label per task.
        ks: as for `coverage_curve`; without it each group is shown up to its own smallest n.
        options: those of `coverage_curve`.

    Raises:
        CoverageError: as `coverage_curve`; not one label per task.
    """
    attempts, resolved = _one_per_task(n, c, names)
    if len(groups) != attempts.size:
        raise CoverageError(f"{len(groups)} groups for {attempts.size} tasks: pass one label per task")
    labels = np.array(groups, dtype=np.str_)
    curves = {}
    for label in np.unique(labels):
        inside = np.flatnonzero(labels == label)
        members = None if names is None else [names[int(i)] for i in inside]
        curves[str(label)] = coverage_curve(attempts[inside], resolved[inside], ks, names=members, **options)
    return curves


def curve_counts(
    n: ArrayLike, c: ArrayLike, ks: ArrayLike | None, names: Names | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """One n and one c per task and the k of a curve, checked; default_ks of the smallest n where ks is None."""
    attempts, resolved = _one_per_task(n, c, names)
    wanted = np.atleast_1d(checked_ks(default_ks(max(1, int(attempts.min()))) if ks is None else ks))
    if wanted.ndim > 1:
        raise CoverageError(f"ks has shape {wanted.shape}: pass a one-dimensional list of k")
    refuse_more_than_sampled(attempts, wanted[:, None], names)
    return attempts, resolved, wanted


def kinds_of(n: FloatArray, c: FloatArray) -> tuple[FloatArray, IntArray]:
    """The distinct pairs of n and c, shape (2, kinds), and how many tasks have each.

    Tasks with equal counts are interchangeable, and there are few kinds even of a million tasks.
    """
    if n.max() < 9e7:  # a pair is then one whole number that a float64 holds, and numbers sort faster than pairs
        code, sizes = np.unique(n * (n.max() + 1) + c, return_counts=True)
        kinds = np.stack(np.divmod(code, n.max() + 1))
    else:
        kinds, sizes = np.unique(np.stack([n, c]), axis=1, return_counts=True)
    return kinds, sizes.astype(np.int64)


def _one_per_task(n: ArrayLike, c: ArrayLike, names: Names | None) -> tuple[FloatArray, FloatArray]:
    attempts, resolved = checked_counts(n, c, names)
    if attempts.ndim > 1:
        raise CoverageError(
            f"n and c have shape {attempts.shape}: a curve needs one count per task; sum the outcomes over attempts "
            "and pass one-dimensional counts, or use pass_at_k for tables"
        )
    attempts, resolved = np.atleast_1d(attempts, resolved)
    return attempts, resolved


def _curve(
    values: FloatArray,
    sizes: IntArray,
    ks: FloatArray,
    low: FloatArray,
    high: FloatArray,
    attempts: int,
    level: float,
    bootstrap: Bootstrap,
    method: Method,
    replicates: int,
    seed: int,
    estimate: Estimate,
) -> Curve:
    tasks = int(sizes.sum())
    alike = ks[np.isnan(low)]
    if tasks == 1 and alike.size:
        reason = (
            "one task: an interval by resampling needs at least two; korn-graubard and gaffke need no more than one"
        )
    elif alike.size:
        reason = (
            f"no interval at k = {listed([f'{k:.0f}' for k in alike])}: all {tasks} tasks are alike there, "
            "so that resampling them shows no spread"
        )
    else:
        reason = ""
    return Curve(
        ks=tuple(int(k) for k in ks),
        coverage=tuple((values @ sizes / tasks).tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        reason=reason,
        level=level,
        bootstrap=bootstrap,
        method=method,
        replicates=replicates if method in BOOTSTRAPS else 0,
        seed=seed,
        tasks=tasks,
        attempts=attempts,
        estimate=estimate,
    )


def _two_level(
    n: FloatArray, c: FloatArray, ks: FloatArray, level: float, replicates: int, seed: int
) -> tuple[FloatArray, FloatArray]:
    if n.size == 1:
        low, high = np.full((2, ks.size), np.nan)
        return low, high
    # The mean over redrawn attempts is the plug-in, exactly; what it lacks to pass@k is added back, task by task.
    missing = unchecked_pass_at_k(n, c, ks[:, None]) - _plug_in(n, c, ks[:, None])
    rng = np.random.default_rng(seed)
    means = np.empty((ks.size, replicates))
    for part in parts(replicates, n.size):
        task = rng.integers(n.size, size=(part.stop - part.start, n.size))
        redrawn = rng.binomial(n[task].astype(np.int64), c[task] / n[task])
        # Few (n, c) are distinct: pass@k is computed for those and looked up for the rest.
        code, where = np.unique(n[task] * (n.max() + 1) + redrawn, return_inverse=True)
        kinds = np.divmod(code, n.max() + 1)
        where = where.reshape(task.shape)
        for row, k in enumerate(ks):
            values = unchecked_pass_at_k(kinds[0], kinds[1], k)
            means[row, part] = (values[where] + missing[row][task]).mean(axis=1)
    return quantiles(means, (1 - level) / 2)


def _plug_in(n: FloatArray, c: FloatArray, k: FloatArray) -> FloatArray:
    solved = c == n
    failure = np.log1p(-np.where(solved, 0.0, c) / n)
    return np.where(solved, 1.0, -np.expm1(k * failure))
