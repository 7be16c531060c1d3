"""How coverage grows with the number of attempts: the exponentiated power law of the Monkeys paper.

`log c = a k^b`, that is `c(k) = exp(a k^b)` with a < 0 and b < 0: coverage rises from exp(a) at k = 1 towards 1
("Large Language Monkeys: Scaling Inference Compute with Repeated Sampling", arXiv 2407.21787).

Guarantees:

- The fit is the paper's, to its printed digits: `scipy.optimize.curve_fit` on the exp form, without weights, from
  a = -3 and b = -.3, on coverage at 40 log-spaced k (rounded, duplicates dropped); its error is the mean and the
  standard deviation of the absolute difference at 100 log-spaced k. Every fit has that residual.
- Data that do not allow a fit (nothing or everything solved, no growth, fewer than three k) are refused with a
  `FitError`.

Not promised: that the law holds beyond the k it was fitted on. It describes the sampled range. The points of a curve
are dependent and of unequal variance, which least squares ignores, and an extrapolation from few successes can be wrong
by an order of magnitude. `PowerLaw.k_max` says where the data ended.

The module takes plain arrays, and imports scipy only when a fit is made.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.errors import MonkeysError
from monkeys.science.coverage import pass_at_k
from monkeys.science.coverage.curve import kinds_of
from monkeys.science.coverage.estimators import unchecked_pass_at_k

__all__ = [
    "FitError",
    "PowerLaw",
    "coverage_at",
    "described",
    "fit_coverage",
    "fit_power_law",
    "log_spaced_ks",
    "residual",
]

FloatArray: TypeAlias = NDArray[np.float64]

_START = (-3.0, -0.3)  # the paper's initial a and b
_FIT_POINTS = 40
_RESIDUAL_POINTS = 100
_NO_GROWTH = 1e-12  # a curve that rises by less rises by rounding alone


class FitError(MonkeysError, ValueError):
    """The data do not allow a fit; the message says why, and which data would."""


@dataclass(frozen=True)
class PowerLaw:
    """A fitted `c(k) = exp(a k^b)`; what `fit_power_law` and `fit_coverage` return."""

    a: float
    """log of the fitted coverage at k = 1."""
    b: float
    """Exponent; the closer to 0, the slower coverage grows."""
    residual_mean: float
    """Mean of |fitted - measured| coverage over `residual_points` k: a share of tasks, .01 is one point."""
    residual_std: float
    """Standard deviation of the same differences."""
    residual_points: int
    points: int
    """How many k the law was fitted on."""
    k_min: int
    k_max: int
    """The largest k the law was fitted on; beyond it `predict` extrapolates."""

    @overload
    def predict(self, k: float) -> float: ...
    @overload
    def predict(self, k: ArrayLike) -> Any: ...
    def predict(self, k: ArrayLike) -> Any:
        """Coverage that the law gives at k >= 1: a float for a scalar, else a float64 array of the shape of k.

        Raises:
            FitError: k < 1, or NaN.
        """
        draws = np.asarray(k, dtype=np.float64)
        if not (draws >= 1).all():
            raise FitError("the law is about at least one attempt; ask for k >= 1")
        shares = _law(draws, self.a, self.b)
        return shares if shares.ndim else float(shares)

    def formula(self) -> str:
        """The law in one line, with four significant digits: `exp(-4.317 k^-0.3791)`."""
        return f"exp({self.a:.4g} k^{self.b:.4g})"


def log_spaced_ks(largest: int, points: int = _FIT_POINTS) -> NDArray[np.int64]:
    """At most `points` whole numbers from 1 to `largest`, evenly spaced in log k, rounded, duplicates dropped.

    Raises:
        FitError: `largest` < 1 or `points` < 2.
    """
    if largest < 1 or points < 2:
        raise FitError(f"no k to choose from 1 to {largest} in {points} steps: ask for largest >= 1 and points >= 2")
    return np.unique(np.rint(np.geomspace(1, largest, points)).astype(np.int64))


def fit_power_law(ks: ArrayLike, coverage: ArrayLike) -> PowerLaw:
    """Fit `c(k) = exp(a k^b)` to points of a coverage curve, as the paper does (arXiv 2407.21787).

    The residual is that at the points themselves. From counts, `fit_coverage` chooses the points as the paper does
    and takes the residual at k of its own.

    Args:
        ks: whole numbers >= 1, shape (points,); at least three distinct ones.
        coverage: share of tasks in [0, 1] at each k, shape (points,).

    Raises:
        FitError: too few points, coverage that is the same throughout, numbers out of range or missing, no convergence.
    """
    k, c = _points(ks, coverage)
    a, b = _least_squares(k, c)
    mean, std = residual(_law(k, a, b), c)
    return PowerLaw(
        a=a,
        b=b,
        residual_mean=mean,
        residual_std=std,
        residual_points=k.size,
        points=k.size,
        k_min=int(k.min()),
        k_max=int(k.max()),
    )


def fit_coverage(n: ArrayLike, c: ArrayLike) -> PowerLaw:
    """Fit the law to counts: n attempts on each task, c of them resolved, by the paper's whole procedure.

    Coverage is the mean of the unbiased pass@k at 40 log-spaced k up to the smallest n; the residual is taken at 100.

    Args:
        n: attempts on each task, shape (tasks,), or one number for all tasks; at least 3.
        c: resolved attempts on each task, shape (tasks,).

    Raises:
        monkeys.science.coverage.CoverageError: the counts are not counts.
        FitError: the counts cannot carry a fit: n < 3, the same tasks solved at every k, no convergence.
    """
    ks, coverage = coverage_at(n, c, _FIT_POINTS)
    law = fit_power_law(ks, coverage)
    return described(law.a, law.b, n, c, points=law.points)


def coverage_at(n: ArrayLike, c: ArrayLike, points: int) -> tuple[NDArray[np.int64], FloatArray]:
    """Coverage at `points` log-spaced k up to the smallest n. Refuses counts that have no curve."""
    pass_at_k(n, c, 1)  # refuses what are not counts, before n is used to choose k
    attempts, resolved = np.broadcast_arrays(n, c)
    ks = log_spaced_ks(int(attempts.min()), points)
    kinds, sizes = kinds_of(np.ravel(attempts).astype(np.float64), np.ravel(resolved).astype(np.float64))
    coverage = unchecked_pass_at_k(kinds[0], kinds[1], ks[:, None].astype(np.float64)) @ sizes / sizes.sum()
    _points(ks, np.clip(coverage, 0, 1))
    return ks, np.clip(coverage, 0, 1)


def described(a: float, b: float, n: ArrayLike, c: ArrayLike, points: int) -> PowerLaw:
    """The law with its residual on the counts, at 100 log-spaced k."""
    ks, coverage = coverage_at(n, c, _RESIDUAL_POINTS)
    mean, std = residual(_law(ks.astype(np.float64), a, b), coverage)
    return PowerLaw(a, b, mean, std, ks.size, points, int(ks[0]), int(ks[-1]))


def _law(k: FloatArray, a: float, b: float) -> FloatArray:
    # The search may try a b > 0 on its way, where k^b or exp overflows to infinity: a bad step, not a fault.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return np.asarray(np.exp(a * k**b))


def _least_squares(k: FloatArray, c: FloatArray) -> tuple[float, float]:
    from scipy.optimize import OptimizeWarning, curve_fit  # type: ignore[import-untyped]  # half a second to import

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", OptimizeWarning)
            (a, b), _ = curve_fit(_law, k, c, p0=_START)
    except (RuntimeError, OptimizeWarning) as fault:
        cause = str(fault).splitlines()[0].rstrip(".")
        raise FitError(f"the fit does not settle on one law ({cause}): more tasks or a wider range of k may") from None
    if not np.isfinite([a, b]).all():
        raise FitError("the fit ran off to infinity: no law of this form is near the data; more attempts may show one")
    return float(a), float(b)


def residual(fitted: FloatArray, measured: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation of the absolute difference: the residual that every fit of this package carries."""
    difference = np.abs(fitted - measured)
    return float(difference.mean()), float(difference.std())


def _points(ks: ArrayLike, coverage: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """The points as float arrays. Refuses points that do not allow a fit."""
    try:
        k, c = np.asarray(ks, dtype=np.float64), np.asarray(coverage, dtype=np.float64)
    except (TypeError, ValueError):
        raise FitError("ks and coverage must be numbers: convert them first") from None
    if k.ndim != 1 or k.shape != c.shape:
        raise FitError(f"ks has shape {k.shape} and coverage {c.shape}: pass one coverage for each k, in two lists")
    if not ((k >= 1) & (k < np.inf) & (np.floor(k) == k)).all():
        raise FitError("ks must be whole numbers >= 1: leave the others out")
    if not ((c >= 0) & (c <= 1)).all():
        raise FitError("coverage must be a share in [0, 1] at each k: divide per cents by 100")
    distinct = np.unique(k).size
    if distinct < 3:
        raise FitError(f"{distinct} distinct k cannot carry a law of two parameters: sample at least 3 attempts a task")
    if not c.any():
        raise FitError("nothing was solved at any k, so there is no curve to fit: sample more attempts or easier tasks")
    if (c == 1).all():
        raise FitError("everything was solved at every k, so the curve does not grow: add harder tasks to see a law")
    if np.ptp(c) < _NO_GROWTH:
        raise FitError("coverage is the same at every k, so the curve does not grow: add tasks solved only sometimes")
    return k, c
