"""Straight lines through a coverage curve, for comparison with others' figures.

`fit_log_linear`: coverage against log k, good over a decade or two in the middle of a curve and wrong at both ends.
`fit_log_log`: log(-log coverage) against log k, the exponentiated power law by regression. Both treat the points of a
curve as independent and of equal variance, which they are not (Kazdan et al. 2025, arXiv 2510.05197), so that they have
no interval. Extrapolated, the log-log line was nearer to the truth than any likelihood on the tables that were
measured; `predict_coverage` gives its figure with an interval, or says that it is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from monkeys.science.scaling.powerlaw import FitError, PowerLaw, coverage_at, described, residual

__all__ = ["LogLinear", "fit_log_linear", "fit_log_log"]


@dataclass(frozen=True)
class LogLinear:
    """A fitted `coverage = intercept + slope log10 k`; what `fit_log_linear` returns."""

    intercept: float
    """Fitted coverage at k = 1."""
    slope: float
    """Coverage gained with ten times the attempts: a share of tasks."""
    residual_mean: float
    """Mean of |fitted - measured| coverage over `residual_points` k."""
    residual_std: float
    residual_points: int
    points: int
    k_min: int
    k_max: int

    @overload
    def predict(self, k: float) -> float: ...
    @overload
    def predict(self, k: ArrayLike) -> Any: ...
    def predict(self, k: ArrayLike) -> Any:
        """Coverage that the line gives at k >= 1, cut off at 0 and 1.

        Raises:
            FitError: k < 1, or NaN.
        """
        draws = np.asarray(k, dtype=np.float64)
        if not (draws >= 1).all():
            raise FitError("the line is about at least one attempt; ask for k >= 1")
        shares = np.clip(self.intercept + self.slope * np.log10(draws), 0, 1)
        return shares if shares.ndim else float(shares)

    def formula(self) -> str:
        """The line with four significant digits: `0.1016 + 0.2153 log10 k`."""
        return f"{self.intercept:.4g} {'-' if self.slope < 0 else '+'} {abs(self.slope):.4g} log10 k"


def fit_log_linear(n: ArrayLike, c: ArrayLike) -> LogLinear:
    """Fit coverage as a line in log k, at the k and with the residual of `fit_coverage`. Errors are its errors."""
    ks, coverage = coverage_at(n, c, 40)
    slope, intercept = np.polyfit(np.log10(ks), coverage, 1)
    dense, measured = coverage_at(n, c, 100)
    mean, std = residual(intercept + slope * np.log10(dense), measured)
    return LogLinear(float(intercept), float(slope), mean, std, dense.size, ks.size, int(ks[0]), int(ks[-1]))


def fit_log_log(n: ArrayLike, c: ArrayLike) -> PowerLaw:
    """Fit `c(k) = exp(a k^b)` by least squares of log(-log c) on log k, at the k of `fit_coverage`.

    Raises:
        FitError: as `fit_coverage`; coverage of 0 or 1 at more than all but two of the k, where the logarithm has no
        value.
    """
    ks, coverage = coverage_at(n, c, 40)
    inside = (coverage > 0) & (coverage < 1)
    if inside.sum() < 2:
        raise FitError("coverage is 0 or 1 at nearly every k, where log(-log c) has no value: sample harder tasks")
    b, log_a = np.polyfit(np.log(ks[inside]), np.log(-np.log(coverage[inside])), 1)
    return described(float(-np.exp(log_a)), float(b), n, c, points=int(inside.sum()))
