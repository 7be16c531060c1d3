"""Tasks of nearly equal counts taken together, so that the work does not grow with the number of tasks."""

from __future__ import annotations

import numpy as np

from monkeys.science.coverage.counts import FloatArray, IntArray

__all__ = ["alike"]

_WIDTH = 0.3  # relative width of a cell of successes or failures, as wide as the spread of ten successes


def alike(kinds: FloatArray, sizes: IntArray, most: int = 300) -> tuple[FloatArray, FloatArray]:
    """The kinds of tasks, shape (2, kinds), and how many tasks each has.

    Where there are more than `most` kinds, those whose successes and failures are nearly equal become one kind at their
    mean.
    """
    if sizes.size <= most:
        return kinds, sizes.astype(np.float64)
    cells = np.floor(np.log1p(np.stack([kinds[1], kinds[0] - kinds[1]])) / np.log1p(_WIDTH))
    _, inside = np.unique(cells, axis=1, return_inverse=True)
    total = np.bincount(inside.ravel(), sizes).astype(np.float64)
    return np.stack([np.bincount(inside.ravel(), sizes * each) / total for each in kinds]), total
