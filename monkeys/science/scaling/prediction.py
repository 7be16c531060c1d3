"""Coverage at more attempts than were made, with an interval, or declared unknown.

The prediction is the share of *these* tasks that would be solved if independent attempts of the same kind went on until
each task had k of them. A solved task stays solved; the question is how many of the others would be solved too.

An unsolved task may have a small p or p = 0, and n failures tell the two apart only while p > 1 / n or so. The interval
therefore covers every distribution of pass@1 of the form "0 with some probability, else Beta" that the counts do not
contradict: those whose likelihood is within the chi-square bound of the largest (the profile likelihood of the
prediction). It is widened by the chance of which tasks are solved. Where the interval is too wide, or too few tasks
were solved to determine three parameters, the prediction is declared unknown: it has an interval and no figure.

The figure itself is that of the regression of log(-log coverage) on log k, held within the interval: of the figures
that were measured it is nearest to the truth. The likelihood's own figure, which hangs on the family's shape near
p = 0, stands beside it.

Measured on five published tables, from random subsets of 100 attempts each to coverage at 10,000: the nominal .95
interval held the truth in .96 to 1.00 of them; the root mean square error of the regression is .040, of the likelihood
.169 (.028 and .061 where the prediction is known; docs/scaling.md; `benchmarks/science.py --predictions`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monkeys.science.coverage.counts import FloatArray, IntArray, checked_counts
from monkeys.science.coverage.curve import kinds_of
from monkeys.science.coverage.estimators import unchecked_pass_at_k
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
        widest: widest interval, as a share of tasks, with which the prediction counts as known.
        fixed: whether n was fixed beforehand, so that coverage at fewer attempts can be measured. Otherwise the figure
            is the likelihood's, which does not depend on the stopping rule.

    Raises:
        monkeys.science.coverage.CoverageError: the counts are not counts.
        FitError: fewer than two tasks; everything was solved; k is not more than was sampled; level outside (0, 1).
    """
    if not 0 < level < 1 or not 0 < widest <= 1:
        raise FitError(f"level = {level}, widest = {widest}: both are shares between 0 and 1")
    attempts, resolved, mixture = _fitted(n, c)
    smallest = int(attempts.min())
    if not k > smallest or k != int(k):
        raise FitError(
            f"k = {k} is no extrapolation from {smallest} attempts: `coverage_curve` estimates it without a model"
        )
    kinds, sizes = kinds_of(attempts, resolved)
    low, high, likelihood = _profile(kinds, sizes, int(k), level, mixture)
    regression = _regression(attempts, resolved, int(k)) if fixed else None
    point = likelihood if regression is None else min(max(regression, low), high)
    solved = int((resolved > 0).sum())
    reason = ""
    if solved < _FEW:
        reason = f"only {solved} of {attempts.size} tasks were solved; sample more attempts, until {_FEW} are at least"
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


def _fitted(n: ArrayLike, c: ArrayLike) -> tuple[FloatArray, FloatArray, Mixture | None]:
    attempts, resolved = (np.atleast_1d(a) for a in checked_counts(n, c, None))
    if attempts.ndim == 1 and attempts.size > 1 and attempts.min() > 0 and not resolved.any():
        return attempts, resolved, None
    attempts, resolved = solved_counts(n, c)
    plain, inflated = (fit_mixture(attempts, resolved, family) for family in ("beta", "zero-inflated"))
    return attempts, resolved, min(plain, inflated, key=lambda fit: fit.aic)


def _regression(n: FloatArray, c: FloatArray, k: int) -> float | None:
    try:
        return fit_log_log(n, c).predict(k)
    except FitError:
        return None


def _profile(
    kinds: FloatArray, sizes: IntArray, k: int, level: float, mixture: Mixture | None
) -> tuple[float, float, float]:
    """Bounds of the prediction over all distributions that the counts do not contradict, and the prediction by one."""
    from scipy.special import chdtri, ndtri  # type: ignore[import-untyped]

    axes = [_ZEROS, _ALPHAS, _MEANS]
    for _ in range(_ZOOMS):
        zero, alpha, mean = np.ix_(*axes)
        beta = alpha * (1 - mean) / mean
        log_likelihood = _log_likelihood(alpha[0], beta[0], zero, kinds, sizes)
        # The bound of two parameters, not of the one that is predicted, as the family is only nearly right.
        inside = log_likelihood >= log_likelihood.max() - chdtri(2, 1 - level) / 2
        places = [np.unique(place) for place in np.nonzero(inside)]
        if min(places[1].size, places[2].size) >= _FINE:
            break
        # Many tasks leave so little open that it falls between the points: look closer, a point further on each side.
        axes = [_zoomed(axis, place) for axis, place in zip(axes, places, strict=True)]
    held = [np.broadcast_to(axis, inside.shape)[inside] for axis in (alpha, beta, zero)]
    share, variance = _followers(held[0], held[1], held[2], kinds, sizes, k)
    reach = -ndtri((1 - level) / 2) * np.sqrt(variance)
    low, high = (share - reach).min(), (share + reach).max()
    floor = float(_already(kinds, k) @ sizes / sizes.sum())
    if mixture is None:
        point = floor
    else:
        fitted = [np.array(value) for value in (mixture.alpha, mixture.beta, mixture.zero)]
        point = float(_followers(fitted[0], fitted[1], fitted[2], kinds, sizes, k)[0])
    # The fit's own figure is inside, though it may lie between the points looked at.
    return min(max(float(low), floor), point), max(min(float(high), 1.0), point), point


def _zoomed(axis: FloatArray, places: NDArray[np.intp]) -> FloatArray:
    low, high = axis[max(places[0] - 1, 0)], axis[min(places[-1] + 1, axis.size - 1)]
    spaced = np.geomspace if low > 0 else np.linspace
    return np.asarray(spaced(low, high, axis.size))


def _log_likelihood(
    alpha: FloatArray, beta: FloatArray, zero: FloatArray, kinds: FloatArray, sizes: IntArray
) -> FloatArray:
    from scipy.special import betaln, gammaln

    base = betaln(alpha, beta)
    some = kinds[1] > 0
    # A solved task is no zero, so that all of them together take two dimensions; the unsolved ones take three.
    n, c = kinds[:, some]
    solved = sizes[some]
    total = -base * solved.sum()
    for sign, place, values in ((1, alpha, c), (1, beta, n - c), (-1, alpha + beta, n)):
        for value, weight in zip(*_gathered(values, solved, _NARROW), strict=True):
            total = total + sign * weight * gammaln(place + value)
    whole = total + solved.sum() * np.log1p(-zero)
    for tries, weight in zip(*_gathered(kinds[0, ~some], sizes[~some], _WIDE), strict=True):
        whole += weight * np.log(zero + (1 - zero) * np.exp(betaln(alpha, beta + tries) - base))
    return np.asarray(whole)


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
    alpha: FloatArray, beta: FloatArray, zero: FloatArray, kinds: FloatArray, sizes: IntArray, k: int
) -> tuple[FloatArray, FloatArray]:
    """The expected share of tasks solved after k attempts on each, and its variance, given the counts so far."""
    from scipy.special import betaln

    tasks = sizes.sum()
    share = np.full(np.broadcast_shapes(np.shape(alpha), np.shape(beta), np.shape(zero)), _already(kinds, k) @ sizes)
    variance = np.zeros(share.shape)
    base = betaln(alpha, beta)
    open_ones = (kinds[1] == 0) & (kinds[0] < k)
    then = zero + (1 - zero) * np.exp(betaln(alpha, beta + k) - base)
    for n, weight in zip(*_gathered(kinds[0, open_ones], sizes[open_ones], _WIDE), strict=True):
        now = zero + (1 - zero) * np.exp(betaln(alpha, beta + n) - base)
        follows = 1 - then / np.maximum(now, 1e-300)
        share += weight * follows
        variance += weight * follows * (1 - follows)
    return share / tasks, variance / tasks**2


def _already(kinds: FloatArray, k: int) -> FloatArray:
    """What is known of each kind of task: pass@k where k attempts were made, else whether it was solved."""
    n, c = kinds
    made = n >= k
    return np.where(made, unchecked_pass_at_k(np.where(made, n, k), np.where(made, c, 0), np.asarray(float(k))), c > 0)
