"""Coverage at more attempts than were made, with an interval, or declared unknown.

The prediction is the share of *these* tasks that would be solved if independent attempts of the same kind went on until
each task had k of them. A solved task stays solved; the question is how many of the others would be solved too.

An unsolved task may have a small p or p = 0, and n failures tell the two apart only while p > 1 / n or so. The interval
therefore covers every distribution of pass@1 of the form "0 with some probability, else Beta" that the counts do not
contradict: those whose likelihood is within the chi-square bound of the largest (the profile likelihood of the
prediction). It is widened by the chance of which tasks are solved. Where the interval is too wide, or too few tasks
were solved to determine three parameters, the prediction is declared unknown: it has an interval and no figure.

Measured on five published tables, from 500 random subsets of 100 attempts each to coverage at 10,000: the nominal .95
interval held the truth in .96 to 1.00 of them (docs/scaling.md; `benchmarks/science.py --predictions`).
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

__all__ = ["Forecast", "predict_coverage"]

# The distributions considered. With alpha = .005 half of the tasks have p < 1e-60; a mean of 1e-8 is beneath what a
# million attempts show.
_ALPHAS = np.geomspace(0.005, 20, 64)
_MEANS = np.geomspace(1e-8, 0.98, 80)
_ZEROS = np.concatenate([np.linspace(0, 0.9, 31), 1 - np.geomspace(0.09, 0.002, 14)])
_FINE, _ZOOMS = 8, 6  # points within the bound that alpha and the mean must have each; looks at most
_FEW = 5  # solved tasks beneath which three parameters are not held


@dataclass(frozen=True)
class Forecast:
    """Coverage of these tasks once each has had k attempts; what `predict_coverage` returns."""

    k: int
    coverage: float | None
    """The predicted share of tasks solved, by `mixture`; None where it is unknown."""
    low: float
    high: float
    known: bool
    reason: str
    """Why the prediction is unknown; empty where it is known."""
    point: float
    """The figure that `mixture` gives, also where it is unreliable; for studies of the estimator, not for reports."""
    mixture: Mixture | None
    """The fit behind `coverage`: beta, or zero-inflated where its AIC is smaller; None with nothing solved."""
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


def predict_coverage(n: ArrayLike, c: ArrayLike, k: int, *, level: float = 0.95, widest: float = 0.5) -> Forecast:
    """Predict coverage at k attempts on each of these tasks from the attempts made so far.

    Args:
        n: attempts on each task, shape (tasks,), or one number for all; fixed beforehand or not.
        c: resolved attempts on each task, shape (tasks,).
        k: attempts in all, more than the smallest n.
        level: nominal level of the interval.
        widest: widest interval, as a share of tasks, with which the prediction counts as known.

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
    low, high, point = _profile(kinds, sizes, int(k), level, mixture)
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
    share, variance = _followers(alpha[0], beta[0], zero, kinds, sizes, k)
    reach = -ndtri((1 - level) / 2) * np.sqrt(variance[inside])
    low, high = (share[inside] - reach).min(), (share[inside] + reach).max()
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
    from scipy.special import betaln

    base = betaln(alpha, beta)
    some = kinds[1] > 0
    # A solved task is no zero, so that all of them together take two dimensions; the unsolved ones take three.
    total = -base * sizes[some].sum()
    for n, c, size in zip(*kinds[:, some], sizes[some], strict=True):
        total += size * betaln(alpha + c, beta + n - c)
    whole = total + sizes[some].sum() * np.log1p(-zero)
    for n, size in zip(kinds[0, ~some], sizes[~some], strict=True):
        whole += size * np.log(zero + (1 - zero) * np.exp(betaln(alpha, beta + n) - base))
    return np.asarray(whole)


def _followers(
    alpha: FloatArray, beta: FloatArray, zero: FloatArray, kinds: FloatArray, sizes: IntArray, k: int
) -> tuple[FloatArray, FloatArray]:
    """The expected share of tasks solved after k attempts on each, and its variance, given the counts so far."""
    from scipy.special import betaln

    tasks = sizes.sum()
    share = np.full(np.broadcast_shapes(np.shape(alpha), np.shape(beta), np.shape(zero)), _already(kinds, k) @ sizes)
    variance = np.zeros(share.shape)
    base = betaln(alpha, beta)
    for n, c, size in zip(*kinds, sizes, strict=True):
        if c == 0 and n < k:
            now, then = (zero + (1 - zero) * np.exp(betaln(alpha, beta + m) - base) for m in (n, k))
            follows = 1 - then / np.maximum(now, 1e-300)
            share += size * follows
            variance += size * follows * (1 - follows)
    return share / tasks, variance / tasks**2


def _already(kinds: FloatArray, k: int) -> FloatArray:
    """What is known of each kind of task: pass@k where k attempts were made, else whether it was solved."""
    n, c = kinds
    made = n >= k
    return np.where(made, unchecked_pass_at_k(np.where(made, n, k), np.where(made, c, 0), np.asarray(float(k))), c > 0)
