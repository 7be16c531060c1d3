"""The difference in coverage between two arms on the same tasks.

Coverage varies far more between tasks than between arms, so that two curves whose intervals overlap may well differ.
Comparing the arms task by task removes most of that variation.

Measured (`benchmarks/science.py --intervals`): of random draws of 12, 30 and 128 tasks from published tables of four
pairs of models, a nominal .95 interval held the true difference in .93-1.00, .92-1.00 and .94-1.00, worst to best over
k; the percentile bootstrap of the gaps in .35-.92, .53-.95 and .89-.97.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from monkeys.science.coverage.counts import CoverageError, FloatArray, IntArray, Names, Sampling, check_sampling
from monkeys.science.coverage.curve import curve_counts, default_ks
from monkeys.science.coverage.estimators import unchecked_pass_at_k
from monkeys.science.coverage.intervals import Method, check_interval, interval, parts

__all__ = ["Difference", "difference_of_values", "holm", "paired_difference"]

_DRAWN = 2 * 10**6  # random signs beyond which their sum may be taken to be normal
_SMALL = 1e-2  # largest share of one task in the variance of a sum that is taken to be normal
_TIE = 1e-12  # sums that differ by less differ by rounding alone


@dataclass(frozen=True)
class Difference:
    """Coverage of arm a less that of arm b at each k; all but `ks` are shares of tasks in [-1, 1]."""

    ks: tuple[int, ...]
    difference: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    p_value: tuple[float, ...]
    """Of the hypothesis that both arms are alike: how often the difference is as large when the arms are swapped at
    random on each task. For one k at a time; not corrected for several k."""
    tasks: int
    attempts: int
    """The smallest number of attempts on any task in either arm."""
    level: float
    method: Method
    """Method of the intervals of the two arms."""
    replicates: int
    """Random swaps behind the p-value, and replicates behind the interval."""
    seed: int

    @property
    def interval(self) -> str:
        """What the interval is, in words, for a caption."""
        arms = {"gaffke": "Gaffke", "korn-graubard": "Korn-Graubard"}.get(self.method, self.method)
        return (
            f"{100 * self.level:.4g} % interval over {self.tasks} task{'' if self.tasks == 1 else 's'} in pairs, from "
            f"the {arms} ones of both arms, with all that the random swaps do not exclude"
        )


def paired_difference(
    n_a: ArrayLike,
    c_a: ArrayLike,
    n_b: ArrayLike,
    c_b: ArrayLike,
    ks: ArrayLike | None = None,
    *,
    level: float = 0.95,
    replicates: int = 10_000,
    seed: int = 0,
    names: Names | None = None,
    method: Method = "gaffke",
    sampling: Sampling | None = None,
) -> Difference:
    """Coverage of arm a less that of arm b, with an interval over tasks and a permutation test.

    The interval joins the intervals of the arms, less what their correlation over tasks takes away
    (method of variance estimates recovery; Newcombe 1998, Statistics in Medicine 17). Where the arms agree on every
    task the correlation is taken to be nil, so that agreement on few tasks is not taken for certainty. It also holds
    every difference that the permutation test does not reject (Hartigan 1969, Journal of the American Statistical
    Association 64) and the intervals of the arms allow, so that it leaves 0 out only where the p-value is below
    1 - level. That is never so where fewer than six tasks differ, at .95.

    Args:
        n_a, c_a: attempts and resolved attempts of arm a, one per task; n may be one number for all.
        n_b, c_b: those of arm b, of the same tasks in the same order.
        ks: whole numbers between 1 and the smallest n of both; `default_ks` of it when left out.
        replicates: random swaps for the p-value, and replicates for the interval.
        method: method of the intervals of the arms, `"gaffke"` or `"korn-graubard"`.

    Raises:
        CoverageError: as `coverage_curve`; arms of different numbers of tasks.
    """
    tries_a, good_a, _ = curve_counts(n_a, c_a, [1], names)
    tries_b, good_b, _ = curve_counts(n_b, c_b, [1], names)
    if tries_a.size != tries_b.size:
        raise CoverageError(
            f"arm a has {tries_a.size} tasks and arm b {tries_b.size}: a paired difference is over the tasks that both "
            "have, in the same order; leave the others out of both"
        )
    smallest = int(min(tries_a.min(), tries_b.min()))
    _, _, wanted = curve_counts(np.minimum(tries_a, tries_b), 0, default_ks(smallest) if ks is None else ks, names)
    check_sampling(tries_a, good_a, sampling)
    check_sampling(tries_b, good_b, sampling)
    check_interval(level, replicates, seed, method)
    if method not in ("gaffke", "korn-graubard"):
        raise CoverageError(f'method = {method!r} has no interval for arms that agree: use "gaffke" or "korn-graubard"')

    # Tasks with equal counts in both arms are interchangeable, and in one arm far more of them are.
    arms = [_arm(tries_a, good_a, wanted), _arm(tries_b, good_b, wanted)]
    bounds = [
        interval(arm.values, arm.sizes, method=method, level=level, replicates=replicates, seed=seed) for arm in arms
    ]
    code, sizes = np.unique(arms[0].kind * arms[1].sizes.size + arms[1].kind, return_counts=True)
    row_a, row_b = np.divmod(code, arms[1].sizes.size)
    first, second = arms[0].values[:, row_a], arms[1].values[:, row_b]
    low, high, p_value = _judged(first, second, sizes, bounds, 1 - level, replicates, seed)
    return Difference(
        ks=tuple(int(k) for k in wanted),
        difference=tuple(((first - second) @ sizes / sizes.sum()).tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        p_value=tuple(p_value.tolist()),
        tasks=tries_a.size,
        attempts=smallest,
        level=level,
        method=method,
        replicates=replicates,
        seed=seed,
    )


def difference_of_values(
    first: FloatArray, second: FloatArray, *, level: float, replicates: int, seed: int, method: Method = "gaffke"
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """The difference of two arms' values of the same tasks, shape (ks, tasks): mean, bounds and p-value at each k.

    As `paired_difference`, for values in [0, 1] that each arm has at a k of its own.
    """
    check_interval(level, replicates, seed, method)
    sizes = np.ones(first.shape[1], np.int64)
    bounds = [
        interval(values, sizes, method=method, level=level, replicates=replicates, seed=seed)
        for values in (first, second)
    ]
    return (first - second).mean(axis=1), *_judged(first, second, sizes, bounds, 1 - level, replicates, seed)


@dataclass(frozen=True)
class _Arm:
    values: FloatArray
    """pass@k of each kind of task at each k, shape (ks, kinds)."""
    sizes: IntArray
    kind: IntArray
    """The kind of each task."""


def _arm(n: FloatArray, c: FloatArray, ks: FloatArray) -> _Arm:
    _, first, kind, sizes = np.unique(n * (n.max() + 1) + c, return_index=True, return_inverse=True, return_counts=True)
    return _Arm(unchecked_pass_at_k(n[first], c[first], ks[:, None]), sizes, kind)


def _judged(
    first: FloatArray,
    second: FloatArray,
    sizes: IntArray,
    bounds: Sequence[tuple[FloatArray, FloatArray]],
    alpha: float,
    replicates: int,
    seed: int,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The bounds of the difference and its p-value at each k; `bounds` are those of the arms."""
    low, high = _recovered(first, second, sizes, *bounds)
    p_value, least, greatest = _swapped(first - second, sizes, alpha, replicates, seed)
    # What the intervals of the arms exclude by themselves is not brought back, but for no difference at all.
    (low_a, high_a), (low_b, high_b) = bounds
    low = np.minimum(low, np.maximum(least, np.minimum(low_a - high_b, 0)))
    high = np.maximum(high, np.minimum(greatest, np.maximum(high_a - low_b, 0)))
    return np.maximum(low, -1), np.minimum(high, 1), p_value


def _recovered(
    first: FloatArray,
    second: FloatArray,
    sizes: IntArray,
    bounds_a: tuple[FloatArray, FloatArray],
    bounds_b: tuple[FloatArray, FloatArray],
) -> tuple[FloatArray, FloatArray]:
    (low_a, high_a), (low_b, high_b) = bounds_a, bounds_b
    shares = sizes / sizes.sum()
    a, b = first @ shares, second @ shares
    from_a, from_b = first - a[:, None], second - b[:, None]
    spread = np.sqrt((from_a**2 @ shares) * (from_b**2 @ shares))
    agree = (np.ptp(first - second, axis=1) < _TIE) | (spread < _TIE)
    correlation = np.where(agree, 0.0, (from_a * from_b) @ shares / np.where(agree, 1.0, spread))

    def reach(left: FloatArray, right: FloatArray) -> FloatArray:
        return np.sqrt(np.maximum(left**2 + right**2 - 2 * correlation * left * right, 0))

    return a - b - reach(a - low_a, high_b - b), a - b + reach(high_a - a, b - low_b)


def _swapped(
    gaps: FloatArray, sizes: IntArray, alpha: float, replicates: int, seed: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The p-values of gaps with random signs, and the least and the greatest difference that is not rejected at alpha.

    A sum of gaps less d with random signs is as large as that of the gaps less d where d lies beyond one of the means
    of the gaps with either sign, so that quantiles of these means bound what is kept. The p-value is never nil
    (Phipson, Smyth 2010). The sum over very many tasks, none of which weighs much, is taken to be normal in place of
    being drawn.
    """
    tasks = sizes.sum()
    mean = gaps @ sizes / tasks
    variance = gaps**2 @ sizes
    if sizes.size * replicates > _DRAWN and (gaps**2 <= _SMALL * variance[:, None]).all():
        from scipy.special import ndtr, ndtri  # type: ignore[import-untyped]  # slow to import

        beyond = 2 * ndtr((_TIE - np.abs(mean)) * tasks / np.sqrt(np.maximum(variance, _TIE**2)))
        wide = ndtri(1 - alpha / 2)
        half = wide * np.sqrt(np.maximum(variance - tasks * mean**2, 0) / (tasks * (tasks - wide**2)))
        return (1 + replicates * np.minimum(beyond, 1)) / (replicates + 1), mean - half, mean + half
    rng = np.random.default_rng(seed)
    least, greatest = np.empty((2, len(gaps), replicates))
    for part in parts(replicates, sizes.size):
        swapped = rng.binomial(sizes, 0.5, size=(part.stop - part.start, sizes.size)).astype(np.float64)
        number, total = swapped.sum(axis=1), gaps @ swapped.T
        with np.errstate(invalid="ignore", divide="ignore"):  # no task has one of the signs
            means = total / number, ((gaps @ sizes)[:, None] - total) / (tasks - number)
        one_sided = (number == 0) | (number == tasks)
        least[:, part] = np.where(one_sided, -np.inf, np.minimum(*means))
        greatest[:, part] = np.where(one_sided, np.inf, np.maximum(*means))
    as_large = np.where(mean >= 0, (least <= _TIE).sum(axis=1), (greatest >= -_TIE).sum(axis=1))
    as_large = np.where(np.abs(mean) <= _TIE, replicates, as_large)
    # The gaps as they are count as one of the draws.
    needed = math.ceil(alpha * (replicates + 1) - 1 - _TIE)
    if needed < 1:
        return (1 + as_large) / (replicates + 1), np.full_like(mean, -np.inf), np.full_like(mean, np.inf)
    low = np.partition(least, needed - 1, axis=1)[:, needed - 1]
    high = np.partition(greatest, replicates - needed, axis=1)[:, replicates - needed]
    return (1 + as_large) / (replicates + 1), low, high


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """The p-values of several hypotheses, so adjusted that each may be held against one level (Holm 1979).

    Raises:
        CoverageError: a value outside [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise CoverageError(f"p_values = {p.tolist()}: probabilities lie between 0 and 1")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)), 1)
    return tuple(adjusted.tolist())
