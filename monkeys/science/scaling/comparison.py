"""Intervals of a fitted law, and the difference between two models in exponent and slope.

Tasks are the sampled unit: the law is fitted again to tasks drawn with replacement. Two models on the same tasks are
compared on the same draws, so that the variation between tasks drops out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monkeys.science.coverage.counts import FloatArray, IntArray, checked_counts
from monkeys.science.coverage.estimators import unchecked_pass_at_k
from monkeys.science.scaling.powerlaw import FitError, PowerLaw, fit_coverage, log_spaced_ks

__all__ = ["LawDifference", "LawInterval", "compare_laws", "law_interval"]

_LOST = 0.05  # share of replicates without a law beyond which there is no interval
_ROUNDS = 60


@dataclass(frozen=True)
class LawInterval:
    """The law of a table of counts with percentile bootstrap intervals over tasks; what `law_interval` returns."""

    law: PowerLaw
    a_low: float
    a_high: float
    b_low: float
    b_high: float
    level: float
    replicates: int
    lost: int
    """Replicates to which no law could be fitted; they are left out."""
    seed: int


@dataclass(frozen=True)
class LawDifference:
    """The law of model a less that of model b; what `compare_laws` returns."""

    exponent: float
    """b of a less b of b: negative where a gains faster in log k, once the level is accounted for."""
    exponent_low: float
    exponent_high: float
    slope: float
    """Difference in coverage gained with ten times the attempts, by the laws, at k."""
    slope_low: float
    slope_high: float
    k: int
    paired: bool
    level: float
    replicates: int
    lost: int
    seed: int


def law_interval(
    n: ArrayLike, c: ArrayLike, *, level: float = 0.95, replicates: int = 1_000, seed: int = 0
) -> LawInterval:
    """Fit the law as `fit_coverage` does, with intervals for a and b.

    Raises:
        monkeys.science.coverage.CoverageError: the counts are not counts.
        FitError: as `fit_coverage`; more than one in twenty resamples carries no law.
    """
    _check(level, replicates, seed)
    law = fit_coverage(n, c)
    rng = np.random.default_rng(seed)
    kinds, sizes = _kinds(*_tasks(n, c))
    a, b = _refitted(law, kinds, _drawn(sizes, replicates, rng))
    kept = _kept(np.isfinite(a), replicates)
    (a_low, a_high), (b_low, b_high) = (_bounds(values[kept], level) for values in (a, b))
    return LawInterval(law, a_low, a_high, b_low, b_high, level, replicates, int((~kept).sum()), seed)


def compare_laws(
    n_a: ArrayLike,
    c_a: ArrayLike,
    n_b: ArrayLike,
    c_b: ArrayLike,
    *,
    paired: bool = True,
    k: int | None = None,
    level: float = 0.95,
    replicates: int = 1_000,
    seed: int = 0,
) -> LawDifference:
    """Compare the laws of two models in exponent and slope, with percentile bootstrap intervals over tasks.

    Args:
        n_a, c_a, n_b, c_b: attempts and resolved attempts of either model, one per task.
        paired: whether both have the same tasks in the same order.
        k: where the slopes are compared; the middle of the shorter curve, in log k, when left out.

    Raises:
        monkeys.science.coverage.CoverageError: the counts are not counts.
        FitError: as `law_interval`; paired models of different numbers of tasks.
    """
    _check(level, replicates, seed)
    laws = fit_coverage(n_a, c_a), fit_coverage(n_b, c_b)
    at = round(min(law.k_max for law in laws) ** 0.5) if k is None else k
    if at < 1:
        raise FitError(f"k = {k}: a slope is about at least one attempt; ask for k >= 1")
    first, second = _tasks(n_a, c_a), _tasks(n_b, c_b)
    rng = np.random.default_rng(seed)
    if paired:
        if first[0].size != second[0].size:
            raise FitError(
                f"{first[0].size} tasks and {second[0].size} are no pairs: keep the common ones, or say paired=False"
            )
        kinds, sizes = _kinds(*first, *second)
        drawn = _drawn(sizes, replicates, rng)
        fits = [_refitted(law, kinds[part], drawn) for law, part in zip(laws, (slice(2), slice(2, 4)), strict=True)]
    else:
        tables = [_kinds(*table) for table in (first, second)]
        fits = [
            _refitted(law, kinds, _drawn(sizes, replicates, rng))
            for law, (kinds, sizes) in zip(laws, tables, strict=True)
        ]
    kept = _kept(np.isfinite(fits[0][0]) & np.isfinite(fits[1][0]), replicates)
    exponents = _bounds((fits[0][1] - fits[1][1])[kept], level)
    slopes = _bounds((_slope(*fits[0], at) - _slope(*fits[1], at))[kept], level)
    points = [_slope(np.array(law.a), np.array(law.b), at) for law in laws]
    return LawDifference(
        exponent=laws[0].b - laws[1].b,
        exponent_low=exponents[0],
        exponent_high=exponents[1],
        slope=float(points[0] - points[1]),
        slope_low=slopes[0],
        slope_high=slopes[1],
        k=at,
        paired=paired,
        level=level,
        replicates=replicates,
        lost=int((~kept).sum()),
        seed=seed,
    )


def _kinds(*columns: FloatArray) -> tuple[FloatArray, IntArray]:
    """The distinct tuples of counts, shape (columns, kinds), and how many tasks, which are alike, have each."""
    kinds, sizes = np.unique(np.stack(columns), axis=1, return_counts=True)
    return kinds, sizes


def _drawn(sizes: IntArray, replicates: int, rng: np.random.Generator) -> FloatArray:
    """The share of each kind among tasks drawn with replacement, shape (replicates, kinds)."""
    tasks = sizes.sum()
    return np.asarray(rng.multinomial(tasks, sizes / tasks, size=replicates) / tasks)


def _refitted(law: PowerLaw, kinds: FloatArray, drawn: FloatArray) -> tuple[FloatArray, FloatArray]:
    """a and b of every resample, NaN where it carries no law: Levenberg and Marquardt's steps for all of them at once.

    The same least squares as `fit_power_law`, from the law of all tasks; `curve_fit` would take a millisecond for each.
    """
    ks = log_spaced_ks(law.k_max).astype(np.float64)
    curves = drawn @ unchecked_pass_at_k(kinds[0], kinds[1], ks[:, None]).T
    a, b = np.full(len(curves), law.a), np.full(len(curves), law.b)
    damping = np.full(len(curves), 1e-3)
    logs = np.log(ks)

    def error(a: FloatArray, b: FloatArray) -> FloatArray:
        return np.asarray(((np.exp(a[:, None] * ks ** b[:, None]) - curves) ** 2).sum(axis=1))

    now = error(a, b)
    for _ in range(_ROUNDS):
        power = ks ** b[:, None]
        fitted = np.exp(a[:, None] * power)
        by_a = fitted * power
        by_b = by_a * a[:, None] * logs
        miss = curves - fitted
        aa, ab, bb = (by_a**2).sum(1), (by_a * by_b).sum(1), (by_b**2).sum(1)
        ga, gb = (by_a * miss).sum(1), (by_b * miss).sum(1)
        damped_a, damped_b = aa * (1 + damping), bb * (1 + damping)
        determinant = np.maximum(damped_a * damped_b - ab**2, 1e-300)
        step_a, step_b = (damped_b * ga - ab * gb) / determinant, (damped_a * gb - ab * ga) / determinant
        new_a, new_b = a + step_a, np.clip(b + step_b, -20, 1)
        new_a = np.clip(new_a, -200, 0)
        then = error(new_a, new_b)
        better = then <= now
        a, b = np.where(better, new_a, a), np.where(better, new_b, b)
        settled = better & (now - then <= 1e-14 * np.maximum(now, 1e-30))
        now = np.where(better, then, now)
        damping = np.clip(np.where(better, damping / 5, damping * 5), 1e-12, 1e12)
        if (settled | (damping > 1e11)).all():
            break
    lawless = (np.ptp(curves, axis=1) < 1e-12) | (b <= -20) | (b >= 0) | (a <= -200)
    return np.where(lawless, np.nan, a), np.where(lawless, np.nan, b)


def _slope(a: FloatArray, b: FloatArray, k: float) -> FloatArray:
    """d coverage / d log10 k of the law."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.log(10) * a * b * k**b * np.exp(a * k**b))


def _bounds(values: FloatArray, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _kept(usable: NDArray[np.bool_], replicates: int) -> NDArray[np.bool_]:
    if (~usable).sum() > _LOST * replicates:
        raise FitError(
            f"{(~usable).sum()} of {replicates} resamples of the tasks carry no law: too few tasks are solved for an "
            "interval; sample more attempts or more tasks"
        )
    return usable


def _tasks(n: ArrayLike, c: ArrayLike) -> tuple[FloatArray, FloatArray]:
    attempts, resolved = (np.atleast_1d(a).ravel() for a in checked_counts(n, c, None))
    if attempts.size < 2:
        raise FitError("one task has no spread over tasks, and its law no interval: add tasks")
    return attempts, resolved


def _check(level: float, replicates: int, seed: int) -> None:
    if not 0 < level < 1:
        raise FitError(f"level = {level}: the level of an interval lies between 0 and 1; .95 is usual")
    if replicates * (1 - level) < 2 * (1 - 1e-9):
        raise FitError(f"{replicates} replicates have no tails at level {level}: ask for more")
    if seed < 0:
        raise FitError(f"seed = {seed}: a seed is a whole number >= 0; choose another")
