"""Coverage at more attempts than were made, with an interval, or declared unknown.

The prediction is the share of *these* tasks that would be solved if independent attempts of the same kind went on until
each task had k of them. A solved task stays solved; the question is how many of the others would be solved too.

An unsolved task may have a small p or p = 0, and n failures tell the two apart only while p > 1 / n or so. The interval
therefore covers every distribution of pass@1 of the form "0 with some probability, else Beta or logit-normal" that
the counts do not contradict: those whose likelihood is within the chi-square bound of the largest (the profile
likelihood of the prediction). It is widened by the chance of which tasks are solved.

Where point masses beside a Beta are far likelier than either family, no smooth distribution fits, and the interval
covers every distribution at all (`low_tail`). The prediction is declared unknown where the interval is too wide, or too
few tasks were solved to determine three parameters: it has an interval and no figure.

The figure itself is that of the regression of log(-log coverage) on log k, held within the interval: of the figures
that were measured it is nearest to the truth. The likelihood's own figure, which hangs on the family's shape near
p = 0, stands beside it.

docs/scaling.md has what was measured (`benchmarks/science.py --predictions`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monkeys.science.coverage.counts import FloatArray, IntArray, checked_counts
from monkeys.science.coverage.curve import kinds_of
from monkeys.science.coverage.estimators import unchecked_pass_at_k
from monkeys.science.scaling.logit_normal import LogitNormals
from monkeys.science.scaling.low_tail import bounds, clumped
from monkeys.science.scaling.mixtures import Mixture, fit_mixture, solved_counts
from monkeys.science.scaling.powerlaw import FitError
from monkeys.science.scaling.regressions import fit_log_log

__all__ = ["Forecast", "predict_coverage"]

# The distributions considered. With alpha = .005 half of the tasks have p < 1e-60; a mean of 1e-8 is beneath what a
# million attempts show.
_ALPHAS = np.geomspace(0.005, 20, 64)
_MEANS = np.geomspace(1e-8, 0.98, 80)
_ZEROS = np.concatenate([np.linspace(0, 0.9, 31), 1 - np.geomspace(0.09, 0.002, 14)])
_FINE, _ZOOMS = 8, 6  # points within the bound that alpha and the mean must have each; looks at most
_DISTINCT = 32  # values beyond which a sum over them is gathered into bins
_NARROW, _WIDE = 0.02, 0.25  # relative widths of the bins, for functions of very different sizes
_CONTRADICTED = 0.005  # level of the test that a family fits
_FEW = 5  # solved tasks beneath which three parameters are not held


@dataclass(frozen=True)
class Forecast:
    """Coverage of these tasks once each has had k attempts; what `predict_coverage` returns."""

    k: int
    coverage: float | None
    """The predicted share of tasks solved; None where it is unknown."""
    low: float
    high: float
    known: bool
    reason: str
    """Why the prediction is unknown; empty where it is known."""
    point: float
    """The best-founded figure, also where it is unreliable; for studies of the estimator, not for reports."""
    likelihood: float
    """The figure that `mixture` gives."""
    regression: float | None
    """The figure of the log-log regression; None where there is no curve to fit."""
    mixture: Mixture | None
    """The fit of largest likelihood: beta, or zero-inflated where its AIC is smaller; None with nothing solved."""
    level: float
    attempts: int
    """The smallest number of attempts on any task."""
    tasks: int

    def __str__(self) -> str:
        """The forecast in words."""
        between = f"{100 * self.low:.1f} to {100 * self.high:.1f} % at level {self.level:g}"
        if self.coverage is None:
            return f"coverage at k = {self.k:,} is unknown ({between}): {self.reason}"
        return f"coverage at k = {self.k:,}: {100 * self.coverage:.1f} % ({between})"


def predict_coverage(
    n: ArrayLike, c: ArrayLike, k: int, *, level: float = 0.95, widest: float = 0.5, fixed: bool = True
) -> Forecast:
    """Predict coverage at k attempts on each of these tasks from the attempts made so far.

    Args:
        n: attempts on each task, shape (tasks,), or one number for all; fixed beforehand or not.
        c: resolved attempts on each task, shape (tasks,).
        k: attempts in all, more than the smallest n.
        level: nominal level of the interval.
        widest: widest interval, as a share of tasks, with which the prediction counts as known; half of it where no
            family fits the counts.
        fixed: whether n was fixed beforehand, so that coverage at fewer attempts can be measured. Otherwise the figure
            is the likelihood's, which does not depend on the stopping rule.

    Raises:
        monkeys.science.coverage.CoverageError: the counts are not counts.
        FitError: fewer than two tasks; everything was solved; k is not more than was sampled; level outside (0, 1).
    """
    if not 0 < level < 1 or not 0 < widest <= 1:
        raise FitError(f"level = {level}, widest = {widest}: both are shares between 0 and 1")
    attempts, resolved, fits = _fitted(n, c)
    mixture = min(fits, key=lambda fit: fit.aic, default=None)
    smallest = int(attempts.min())
    if not k > smallest or k != int(k):
        raise FitError(
            f"k = {k} is no extrapolation from {smallest} attempts: `coverage_curve` estimates it without a model"
        )
    kinds, sizes = kinds_of(attempts, resolved)
    floor = float(_already(kinds, int(k)) @ sizes / sizes.sum())
    likelihood = _likelihood(kinds, sizes, int(k), mixture)
    low, high, smooth = _bounds(kinds, sizes, int(k), level, fits[0] if fits else None)
    # The fit's own figure is inside, though it may lie between the points looked at.
    low, high = min(max(low, floor), likelihood), max(min(high, 1.0), likelihood)
    regression = _regression(attempts, resolved, int(k)) if fixed else None
    point = likelihood if regression is None else min(max(regression, low), high)
    solved = int((resolved > 0).sum())
    reason = ""
    if solved < _FEW:
        reason = f"only {solved} of {attempts.size} tasks were solved; sample more attempts, until {_FEW} are at least"
    elif not smooth and high - low > widest / 2:
        reason = (
            f"no smooth distribution of pass@1 fits the counts; nothing tells how the unsolved tasks go on, and "
            f"{100 * low:.0f} to {100 * high:.0f} % are open; sample more attempts, or ask for a smaller k"
        )
    elif high - low > widest:
        reason = (
            f"the counts do not tell unsolved tasks with a small chance from those with none, and leave "
            f"{100 * low:.0f} to {100 * high:.0f} % open; sample more attempts, or ask for a smaller k"
        )
    return Forecast(
        k=int(k),
        coverage=None if reason else point,
        low=low,
        high=high,
        known=not reason,
        reason=reason,
        point=point,
        likelihood=likelihood,
        regression=regression,
        mixture=mixture,
        level=level,
        attempts=smallest,
        tasks=attempts.size,
    )


def _fitted(n: ArrayLike, c: ArrayLike) -> tuple[FloatArray, FloatArray, tuple[Mixture, ...]]:
    """The counts, and the fits to them: beta and zero-inflated, or none with nothing solved."""
    attempts, resolved = (np.atleast_1d(a) for a in checked_counts(n, c, None))
    if attempts.ndim == 1 and attempts.size > 1 and attempts.min() > 0 and not resolved.any():
        return attempts, resolved, ()
    attempts, resolved = solved_counts(n, c)
    return attempts, resolved, (fit_mixture(attempts, resolved), fit_mixture(attempts, resolved, "zero-inflated"))


def _regression(n: FloatArray, c: FloatArray, k: int) -> float | None:
    try:
        return fit_log_log(n, c).predict(k)
    except FitError:
        return None


class _Shapes(Protocol):
    """Distributions of pass@1 with two parameters, many at once; `axes` are the values of these that are looked at."""

    axes: tuple[FloatArray, FloatArray]

    def solved(self, first: FloatArray, second: FloatArray) -> FloatArray:
        """Log likelihood of the solved tasks, without binomial coefficients."""

    def none(self, first: FloatArray, second: FloatArray, tries: float) -> FloatArray:
        """Chance that a task has no success in so many tries."""


class _Betas:
    """Beta distributions by alpha and the mean."""

    axes = (_ALPHAS, _MEANS)

    def __init__(self, kinds: FloatArray, sizes: IntArray) -> None:
        some = kinds[1] > 0
        self._kinds, self._sizes = kinds[:, some], sizes[some]

    def solved(self, first: FloatArray, second: FloatArray) -> FloatArray:
        from scipy.special import betaln, gammaln  # type: ignore[import-untyped]

        alpha, beta = first, first * (1 - second) / second
        n, c = self._kinds
        total = -betaln(alpha, beta) * self._sizes.sum()
        for sign, place, values in ((1, alpha, c), (1, beta, n - c), (-1, alpha + beta, n)):
            for value, weight in zip(*_gathered(values, self._sizes, _NARROW), strict=True):
                total = total + sign * weight * gammaln(place + value)
        return np.asarray(total)

    def none(self, first: FloatArray, second: FloatArray, tries: float) -> FloatArray:
        from scipy.special import betaln

        alpha, beta = first, first * (1 - second) / second
        return np.asarray(np.exp(betaln(alpha, beta + tries) - betaln(alpha, beta)))


@dataclass(frozen=True)
class _Look:
    """The distributions of a family near its likeliest, each zero-inflated in several ways; arrays of one shape."""

    log_likelihood: FloatArray
    share: FloatArray
    """Tasks, as a share of all, that k attempts on each are expected to solve."""
    variance: FloatArray
    without: float
    """The largest log likelihood without tasks at p = 0."""


def _bounds(
    kinds: FloatArray, sizes: IntArray, k: int, level: float, plain: Mixture | None
) -> tuple[float, float, bool]:
    """Bounds of the prediction over all distributions that the counts do not contradict, and whether a family fits."""
    from scipy.special import chdtri, ndtri

    drop, reach = chdtri(1, 1 - level) / 2, -ndtri((1 - level) / 2)
    families: tuple[_Shapes, ...] = (_Betas(kinds, sizes), LogitNormals(kinds, sizes, k))
    looks = [_look(family, kinds, sizes, k, drop) for family in families]
    smooth = max(look.without for look in looks)
    if plain is not None:
        shared = clumped(kinds, sizes, np.array([plain.alpha, plain.beta]))
        if any(2 * (found - smooth) > chdtri(2 * more, _CONTRADICTED) for more, found in enumerate(shared, 1)):
            floor = float(_already(kinds, k) @ sizes)
            low, high = bounds(kinds, sizes, k, drop=drop, reach=reach)
            return (floor + low) / sizes.sum(), (floor + high) / sizes.sum(), False
    least = max(look.log_likelihood.max() for look in looks) - drop
    inside = [look.log_likelihood >= least for look in looks]
    share = np.concatenate([look.share[held] for look, held in zip(looks, inside, strict=True)])
    wide = reach * np.sqrt(np.concatenate([look.variance[held] for look, held in zip(looks, inside, strict=True)]))
    return float((share - wide).min()), float((share + wide).max()), True


def _look(family: _Shapes, kinds: FloatArray, sizes: IntArray, k: int, drop: float) -> _Look:
    """Look at the family's distributions until those within `drop` of the likeliest are many."""
    axes = [_ZEROS, *family.axes]
    unsolved = kinds[1] == 0
    failed = list(zip(*_gathered(kinds[0, unsolved], sizes[unsolved], _WIDE), strict=True))
    without = -np.inf
    for _ in range(_ZOOMS):
        zero, first, second = np.ix_(*axes)
        first, second = first[0], second[0]
        solved = family.solved(first, second)
        log_likelihood = solved + sizes[~unsolved].sum() * np.log1p(-zero)
        alone = solved
        for tries, weight in failed:
            none = family.none(first, second, tries)
            alone = alone + weight * np.log(np.maximum(none, 1e-300))
            log_likelihood = log_likelihood + weight * np.log(np.maximum(zero + (1 - zero) * none, 1e-300))
        without = max(without, float(alone.max()))
        inside = log_likelihood >= log_likelihood.max() - drop
        places = [np.unique(place) for place in np.nonzero(inside)]
        if min(places[1].size, places[2].size) >= _FINE:
            break
        # Many tasks leave so little open that it falls between the points: look closer, a point further on each side.
        axes = [_zoomed(axis, place) for axis, place in zip(axes, places, strict=True)]
    share, variance = _followers(lambda tries: zero + (1 - zero) * family.none(first, second, tries), kinds, sizes, k)
    return _Look(log_likelihood, share, variance, without)


def _likelihood(kinds: FloatArray, sizes: IntArray, k: int, mixture: Mixture | None) -> float:
    """The prediction by the one distribution."""
    if mixture is None:
        return float(_already(kinds, k) @ sizes / sizes.sum())
    return float(_followers(lambda tries: np.asarray(1 - mixture.predict(tries)), kinds, sizes, k)[0])


def _zoomed(axis: FloatArray, places: NDArray[np.intp]) -> FloatArray:
    low, high = axis[max(places[0] - 1, 0)], axis[min(places[-1] + 1, axis.size - 1)]
    spaced = np.geomspace if low > 0 else np.linspace
    return np.asarray(spaced(low, high, axis.size))


def _gathered(values: FloatArray, weights: IntArray, width: float) -> tuple[FloatArray, FloatArray]:
    """Few values with weights, over which the sum of a smooth function is that over all values.

    Where more than `_DISTINCT` differ, those in a bin of this relative width become two, one standard deviation below
    and above their mean: exact for a function that is a cubic in each bin.
    """
    distinct, where = np.unique(values, return_inverse=True)
    weight = np.bincount(where, weights, distinct.size).astype(np.float64)
    if distinct.size <= _DISTINCT:
        return distinct, weight
    _, inside = np.unique(np.floor(np.log1p(distinct) / np.log1p(width)), return_inverse=True)
    total = np.bincount(inside, weight)
    mean = np.bincount(inside, weight * distinct) / total
    spread = np.sqrt(np.bincount(inside, weight * (distinct - mean[inside]) ** 2) / total)
    return np.concatenate([mean - spread, mean + spread]), np.concatenate([total, total]) / 2


def _followers(
    none: Callable[[float], FloatArray], kinds: FloatArray, sizes: IntArray, k: int
) -> tuple[FloatArray, FloatArray]:
    """The expected share of tasks solved after k attempts on each, and its variance, given the counts so far.

    Args:
        none: the chance of a task to have no success in so many attempts, an array over distributions.
    """
    tasks = sizes.sum()
    then = none(k)
    share, variance = np.full(then.shape, _already(kinds, k) @ sizes), np.zeros(then.shape)
    open_ones = (kinds[1] == 0) & (kinds[0] < k)
    for n, weight in zip(*_gathered(kinds[0, open_ones], sizes[open_ones], _WIDE), strict=True):
        follows = 1 - then / np.maximum(none(n), 1e-300)
        share += weight * follows
        variance += weight * follows * (1 - follows)
    return share / tasks, variance / tasks**2


def _already(kinds: FloatArray, k: int) -> FloatArray:
    """What is known of each kind of task: pass@k where k attempts were made, else whether it was solved."""
    n, c = kinds
    made = n >= k
    return np.where(made, unchecked_pass_at_k(np.where(made, n, k), np.where(made, c, 0), np.asarray(float(k))), c > 0)
