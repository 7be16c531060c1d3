"""Logit-normal distributions of pass@1: the log-odds of a task are normal.

Near 0 their density falls faster than any power of p, whereas a Beta's falls as p^(alpha-1). Counts of some hundred
attempts seldom tell one from the other; at a hundred times the attempts they differ. `predict_coverage` covers both.

Guarantees: sums over a grid that is finer than the likelihood of any count; mass beyond its ends is counted at them.
"""

from __future__ import annotations

import numpy as np

from monkeys.science.coverage.counts import FloatArray, IntArray
from monkeys.science.scaling.alike import alike
from monkeys.science.scaling.mixtures import binomial, log_peak

__all__ = ["LogitNormals"]

_BEYOND = 8.0  # log-odds below 1 / k, at which a task is not solved in k attempts


class LogitNormals:
    """Many logit-normal distributions at once, by the mean and the standard deviation of the log-odds."""

    def __init__(self, kinds: FloatArray, sizes: IntArray, k: int) -> None:
        """Prepare for the tasks that were solved at least once: kinds of shape (2, kinds), with so many tasks each."""
        n = float(kinds[0].max())
        reach = np.log(max(float(k), n, 2.0)) + _BEYOND
        step = min(0.25, 2.4 / np.sqrt(n))
        odds = np.arange(-reach, reach + step, step)
        self._edges = (odds[1:] + odds[:-1]) / 2
        self._log_q = -np.logaddexp(0, odds)
        some = kinds[1] > 0
        self._kinds, self._sizes = alike(kinds[:, some], sizes[some])
        self._table = binomial(np.exp(-np.logaddexp(0, -odds)), self._kinds) if self._sizes.size else None
        # The mass is the costly part, and asked for again with each number of tries.
        self._last: tuple[FloatArray, FloatArray, FloatArray] | None = None
        centre = np.log((kinds[1].sum() + 0.5) / ((kinds[0] - kinds[1]).sum() + 0.5))
        self.axes = (np.linspace(min(centre, 0) - 40, max(centre, 0) + 6, 40), np.geomspace(0.05, 25, 20))

    def solved(self, mean: FloatArray, deviation: FloatArray) -> FloatArray:
        """Log likelihood of the solved tasks, in the shape that mean and deviation have together."""
        shape = np.broadcast_shapes(mean.shape, deviation.shape)
        if self._table is None:
            return np.zeros(shape)
        share = np.maximum(self._table @ self._mass(mean, deviation), 1e-300)
        return np.asarray((self._sizes @ np.log(share) + self._sizes @ log_peak(self._kinds)).reshape(shape))

    def none(self, mean: FloatArray, deviation: FloatArray, tries: float) -> FloatArray:
        """Chance that a task has no success in so many tries."""
        shape = np.broadcast_shapes(mean.shape, deviation.shape)
        return np.asarray((np.exp(tries * self._log_q) @ self._mass(mean, deviation)).reshape(shape))

    def _mass(self, mean: FloatArray, deviation: FloatArray) -> FloatArray:
        """The mass at each point of the grid, shape (points, distributions)."""
        from scipy.special import ndtr  # type: ignore[import-untyped]

        if self._last is None or self._last[0] is not mean or self._last[1] is not deviation:
            means, deviations = (each.ravel() for each in np.broadcast_arrays(mean, deviation))
            below = ndtr((self._edges[:, None] - means) / deviations)
            self._last = mean, deviation, np.diff(below, axis=0, prepend=0.0, append=1.0)
        return self._last[2]
