"""The value of a turn: the probability that an attempt is resolved, given what it had come to after t turns.

An attempt is taken up again after its turn t, n times independently, and c of these continuations resolve the task:
c / n is an unbiased estimate of P(resolved | turn t). Where it falls from one turn to the next, the attempt has lost
its way. Continuations of one attempt are draws from that attempt's state, and no attempts at the task: `pass_at_k` of
their counts would be the coverage of a task that begins in the middle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from monkeys.science.coverage.counts import CoverageError, FloatArray, checked_counts
from monkeys.science.coverage.estimators import task_interval
from monkeys.science.proportion import wilson

__all__ = ["TurnValues", "ValueMethod", "turn_value"]

ValueMethod: TypeAlias = Literal["clopper-pearson", "wilson"]


@dataclass(frozen=True)
class TurnValues:
    """P(resolved | turn) at each turn, with two intervals. The arrays run in parallel; all are shares in [0, 1]."""

    value: FloatArray
    low: FloatArray
    """Lower bound of the interval at each turn by itself."""
    high: FloatArray
    band_low: FloatArray
    """Lower bound of the band, which holds all turns at once with the same probability: for what is seen by looking
    over the turns, such as where the value falls."""
    band_high: FloatArray
    level: float
    method: ValueMethod

    @property
    def interval(self) -> str:
        """What the intervals are, in words, for a caption."""
        name = {"clopper-pearson": "Clopper-Pearson", "wilson": "Wilson"}[self.method]
        turns = f"{self.value.size} turn{'s' * (self.value.size != 1)}"
        return f"{100 * self.level:.4g} % interval of each turn by itself, {name}; the band holds all {turns} (Sidak)"


def turn_value(
    n: ArrayLike, c: ArrayLike, *, level: float = 0.95, method: ValueMethod = "clopper-pearson"
) -> TurnValues:
    """P(resolved | turn) from n continuations at each turn, of which c resolved the task.

    `"clopper-pearson"` (1934) holds the truth with at least the probability `level`, whatever it is. `"wilson"` (1927)
    holds it with about that probability on average, and is shorter. Continuations at different turns are independent of
    one another, so that the band is made of intervals of the level `level ** (1 / turns)`.

    Args:
        n: continuations at each turn, shape (turns,), >= 1 and fixed beforehand.
        c: how many of them resolved the task, shape (turns,).
        level: nominal level of the intervals and of the band, in (0, 1).

    Raises:
        CoverageError: no turn, a turn without a continuation, c > n, a level or method that does not exist.
    """
    made, resolved = (np.atleast_1d(values) for values in checked_counts(n, c, None))
    if made.ndim > 1:
        raise CoverageError(f"n and c have shape {made.shape}: pass one number per turn")
    if (made == 0).any():
        raise CoverageError(f"no continuation at place {int(np.argmin(made))}: leave the turn out, or sample there")
    if method not in ("clopper-pearson", "wilson"):
        raise CoverageError(f'method = {method!r} is unknown: choose "clopper-pearson" or "wilson"')
    exact = task_interval(made, resolved, 1, level=level)
    together = level ** (1 / made.size)
    if method == "wilson":
        (low, high), (band_low, band_high) = _wilson(made, resolved, level), _wilson(made, resolved, together)
    else:
        (low, high), (band_low, band_high) = exact, task_interval(made, resolved, 1, level=together)
    return TurnValues(resolved / made, low, high, band_low, band_high, level, method)


def _wilson(n: FloatArray, c: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    bounds = [wilson(int(good), int(made), level) for made, good in zip(n, c, strict=True)]
    low, high = np.array(bounds).T
    return low, high
