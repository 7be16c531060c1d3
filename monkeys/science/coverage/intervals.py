"""Intervals for a mean over tasks of values in [0, 1], chosen by measurement.

Each method takes the values of the tasks at each k and treats tasks as the sampled unit: how far would the mean move
with other tasks of the same kind? The noise of having few attempts per task is already in the values.

How often a nominal .95 interval held the truth, worst to best over k: of 1,000 simulated runs each, where pass@1 ~
Beta(.3, 6), Beta(1, 1) or Beta(.2, 60), and of 300 random draws of tasks from each of five published tables
(`benchmarks/science.py --intervals`; more in docs/coverage.md):

| method | simulated: 5 tasks | 12 | 30 | 128 | published: 12 | 30 |
|---|---|---|---|---|---|---|
| `gaffke` | .99-1.00 | .95-.99 | .95-.99 | .95-.99 | .96-1.00 | .97-.99 |
| `korn-graubard` | .92-1.00 | .92-.99 | .94-.99 | .95-.97 | .51-1.00 | .59-.99 |
| `bca` | .60-.95 | .84-.95 | .89-.98 | .93-.95 | .32-.97 | .46-.98 |
| `percentile` | .59-.95 | .73-.93 | .86-.96 | .92-.95 | .31-.94 | .47-.97 |

Real task sets hold a rare easy task that few draws contain, and a method that goes by the variance of the draw cannot
know of it. Hence `gaffke` is the default. Its price is width where coverage is near 0. (The studentised bootstrap, in a
trial of 400 simulated runs, held .63-.97, .90-1.00, .95-.99, .94-.97, and was wider still.)
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from monkeys.science.coverage.counts import CoverageError, FloatArray, IntArray

__all__ = ["BOOTSTRAPS", "Method", "check_interval", "interval", "parts", "quantiles"]

Method: TypeAlias = Literal["gaffke", "korn-graubard", "bca", "percentile"]
BOOTSTRAPS: tuple[Method, ...] = ("gaffke", "bca", "percentile")  # methods that draw replicates
METHODS: tuple[Method, ...] = ("gaffke", "korn-graubard", "bca", "percentile")

_CELLS = 2**21  # numbers held at once; 16 MiB an array
_DRAWN = 2**24  # random weights beyond which their mean may be taken by its moments
_SMALL = 5e-2  # largest share of one task in the variance of a mean that is taken by its moments
_NO_SPREAD = 1e-12  # values that differ by less differ by rounding alone


def interval(
    values: FloatArray, sizes: IntArray, *, method: Method, level: float, replicates: int, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Bounds at each k of the mean over tasks; NaN where resampling shows no spread.

    Args:
        values: value of each kind of task at each k, shape (ks, kinds), in [0, 1].
        sizes: how many tasks there are of each kind, shape (kinds,).
        method: as in the table of this module.

    `gaffke` (Gaffke 2005; Learned-Miller and Thomas 2020, arXiv 1905.06208): a bootstrap with Dirichlet weights and one
    more task that always fails (lower bound) or always succeeds (upper). Conjectured, and in every study so far found,
    to hold the truth with at least the nominal probability whatever the distribution on [0, 1]. Where values are 0 or
    1, as at k = n, it is the exact interval of Clopper and Pearson.

    `korn-graubard` (Korn and Graubard 1998, Survey Methodology 24): the interval of Clopper and Pearson for as many
    yes-or-no tasks as would give the same variance, less a correction for the variance being an estimate; but for no
    fewer than there are, as no values in [0, 1] vary more than yes and no. Needs no replicates.

    `bca` and `percentile`: Efron and Tibshirani (1993).
    """
    tail = (1 - level) / 2
    if method == "korn-graubard":
        return _korn_graubard(values, sizes, tail)
    low, high = np.empty((2, len(values)))
    block = max(1, _CELLS // replicates)
    for start in range(0, len(values), block):  # the seed is the same, so every block sees the same resamples
        part = slice(start, start + block)
        rng = np.random.default_rng(seed)
        if method == "gaffke":
            low[part], high[part] = _gaffke(values[part], sizes, tail, replicates, rng)
            continue
        means = _resampled_means(values[part], sizes, replicates, rng)
        tails = _bca_tails(values[part], sizes, means, tail) if method == "bca" else tail
        low[part], high[part] = quantiles(means, tails)
    return low, high


def quantiles(means: FloatArray, tails: FloatArray | float) -> tuple[FloatArray, FloatArray]:
    """Bounds from replicates, shape (ks, replicates); NaN where they are all alike. `tails`: one number, or (ks, 2)."""
    if isinstance(tails, float):
        bounds = np.quantile(means, [tails, 1 - tails], axis=1)
    else:
        bounds = np.array([np.quantile(row, tail) for row, tail in zip(means, tails, strict=True)]).T
    spread = np.ptp(means, axis=1) > _NO_SPREAD
    low, high = np.where(spread, np.clip(bounds, 0, 1), np.nan)
    return low, high


def _resampled_means(values: FloatArray, sizes: IntArray, replicates: int, rng: np.random.Generator) -> FloatArray:
    """The mean of tasks drawn with replacement, shape (ks, replicates)."""
    tasks, kinds = int(sizes.sum()), sizes.size
    if kinds * 4 < tasks:  # tasks of a kind are interchangeable: with few kinds, only how often each is drawn matters
        return (
            np.concatenate(
                [
                    values @ rng.multinomial(tasks, sizes / tasks, size=part.stop - part.start).T.astype(np.float64)
                    for part in parts(replicates, kinds)
                ],
                axis=1,
            )
            / tasks
        )
    kind = np.repeat(np.arange(kinds), sizes)
    means = np.empty((len(values), replicates))
    for part in parts(replicates, tasks):
        rows = part.stop - part.start
        drawn = kind[rng.integers(tasks, size=(rows, tasks), dtype=np.int32)]
        drawn += (np.arange(rows) * kinds)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * kinds).reshape(rows, kinds)
        means[:, part] = values @ times.T.astype(np.float64) / tasks
    return means


def parts(replicates: int, width: int) -> list[slice]:
    """Replicates in parts so small that `width` numbers of each fit into memory."""
    size = max(1, _CELLS // width)
    return [slice(start, min(start + size, replicates)) for start in range(0, replicates, size)]


def check_interval(level: float, replicates: int, seed: int, method: str) -> None:
    """Refuse an interval that does not exist for these arguments."""
    if method not in METHODS:
        raise CoverageError(f"method = {method!r} is unknown: choose one of {', '.join(METHODS)}")
    if not 0 < level < 1:
        raise CoverageError(f"level = {level}: the level of an interval lies between 0 and 1; .95 is usual")
    if replicates * (1 - level) < 2 * (1 - 1e-9):
        raise CoverageError(
            f"{replicates} replicates have no tails at level {level}: ask for at least {np.ceil(2 / (1 - level)):.0f}"
        )
    if seed < 0:
        raise CoverageError(f"seed = {seed}: a seed is a whole number >= 0; choose another")


def _moments(values: FloatArray, sizes: IntArray) -> tuple[FloatArray, FloatArray]:
    """Mean and variance (divided by the number of tasks) at each k."""
    mean = values @ sizes / sizes.sum()
    return mean, (values - mean[:, None]) ** 2 @ sizes / sizes.sum()


def _korn_graubard(values: FloatArray, sizes: IntArray, tail: float) -> tuple[FloatArray, FloatArray]:
    from scipy.special import betaincinv, ndtri, stdtrit  # type: ignore[import-untyped]  # slow to import

    tasks = float(sizes.sum())
    mean, variance = _moments(values, sizes)
    as_many = np.full(mean.shape, tasks)
    if tasks > 1:
        # Where tasks agree by chance the variance says nothing: each is one yes-or-no.
        alike = variance < _NO_SPREAD**2
        known = mean * (1 - mean) / np.where(alike, np.inf, variance) * (tasks - 1)
        as_many = np.maximum(known * (ndtri(tail) / stdtrit(tasks - 1, tail)) ** 2, tasks)
    good = mean * as_many
    bad = as_many - good
    none, every = mean < _NO_SPREAD, mean > 1 - _NO_SPREAD
    low = np.where(none, 0.0, betaincinv(np.where(none, 1.0, good), bad + 1, tail))
    high = np.where(every, 1.0, betaincinv(good + 1, np.where(every, 1.0, bad), 1 - tail))
    return low, high


def _gaffke(
    values: FloatArray, sizes: IntArray, tail: float, replicates: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    if sizes.size * replicates > _DRAWN and _none_outweighs(values, sizes):
        return _gaffke_of_many(values, sizes, tail)
    means, spare = np.empty((len(values), replicates)), np.empty(replicates)
    for part in parts(replicates, sizes.size):
        rows = part.stop - part.start
        # Tasks of a kind share its value, so that their weights add up: a gamma variable of their number.
        weights = rng.standard_gamma(sizes.astype(np.float64), size=(rows, sizes.size))
        extra = rng.standard_exponential(rows)
        total = weights.sum(axis=1) + extra
        means[:, part] = values @ (weights / total[:, None]).T
        spare[part] = extra / total
    low = np.quantile(means, tail, axis=1)
    high = np.quantile(means + spare, 1 - tail, axis=1)
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def _none_outweighs(values: FloatArray, sizes: IntArray) -> bool:
    """Whether each task has so small a share in the variance that the mean of all is nearly normal."""
    mean, variance = _moments(values, sizes)
    return bool(((values - mean[:, None]) ** 2 <= _SMALL * sizes.sum() * variance[:, None]).all())


def _gaffke_of_many(values: FloatArray, sizes: IntArray, tail: float) -> tuple[FloatArray, FloatArray]:
    """The quantiles from the first three moments of the weighted mean (Cornish, Fisher 1938), in place of draws."""
    from scipy.special import ndtri

    tasks = sizes.sum() + 1  # with the one that always fails, or always succeeds
    bounds = []
    for extra, z in ((0.0, ndtri(tail)), (1.0, ndtri(1 - tail))):
        mean = (values @ sizes + extra) / tasks
        away = values - mean[:, None]
        variance = (away**2 @ sizes + (extra - mean) ** 2) / (tasks * (tasks + 1))
        third = 2 * (away**3 @ sizes + (extra - mean) ** 3) / (tasks * (tasks + 1) * (tasks + 2))
        bounds.append(mean + np.sqrt(variance) * z + third / variance * (z**2 - 1) / 6)
    return np.clip(bounds[0], 0, 1), np.clip(bounds[1], 0, 1)


def _bca_tails(values: FloatArray, sizes: IntArray, means: FloatArray, tail: float) -> FloatArray:
    """The share of replicates beneath each bound, corrected for bias and acceleration, shape (ks, 2)."""
    from scipy.special import ndtr, ndtri

    mean, variance = _moments(values, sizes)
    third = (values - mean[:, None]) ** 3 @ sizes
    below = ((means < mean[:, None] - _NO_SPREAD).mean(axis=1) + (means <= mean[:, None] + _NO_SPREAD).mean(axis=1)) / 2
    edge = 0.5 / means.shape[1]
    bias = ndtri(np.clip(below, edge, 1 - edge))[:, None]
    acceleration = (third / (6 * np.maximum(variance * sizes.sum(), _NO_SPREAD**2) ** 1.5))[:, None]
    z = bias + ndtri([tail, 1 - tail])
    return np.asarray(np.clip(ndtr(bias + z / np.maximum(1 - acceleration * z, _NO_SPREAD)), 0, 1))
