"""The distribution of pass@1 near 0: whether a smooth one describes it, and what the counts say without any.

How many unsolved tasks will be solved depends on the mass of pass@1 below 1 / n. A family extends the density that is
seen above 1 / n down to 0. That is an assumption, and the counts can contradict it: with p = .001 on some tasks and .3
on the others, 100 attempts give many counts of 0, a few of 1, and none of 10.

- `clumped`: the log likelihood when some of the tasks share one p, or either of two, and the others are Beta.
- `bounds`: how many tasks k attempts solve, over all distributions of p that the counts do not contradict.

Guarantees: only the counts of tasks that are seldom solved are used for the bounds, because a task with more than
`_SELDOM` successes says nothing about those with none. The likeliest distribution is that of Kiefer and Wolfowitz
(1956) on a grid, and the bounds are its profile likelihood (Murphy and van der Vaart 2000).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monkeys.science.coverage.counts import FloatArray, IntArray
from monkeys.science.scaling.alike import alike
from monkeys.science.scaling.mixtures import climb, log_moment, log_range, moment_slopes, moments

__all__ = ["bounds", "clumped"]

_PLACES = (1e-3, 0.03, 0.3, 1.0, 3.0)  # where a first clump is looked for, in successes expected of n attempts
_SECOND = 12  # places, from the first clump's up to p = 1, where a second one is
_FURTHEST = 30.0  # log-odds of a clump, and of its share beside that of the Beta
_CLIMBS = 3
_SELDOM = 20
_STEP = 0.2  # of the grid in log p; the likelihood of `_SELDOM` successes is .22 wide
_ROUNDS, _HALVINGS = 300, 14


def clumped(kinds: FloatArray, sizes: IntArray, beta: FloatArray) -> tuple[float, float]:
    """The largest log likelihoods when some tasks share one p, or either of two, and the others are Beta.

    Binomial coefficients are left out.

    Args:
        kinds: attempts and successes, shape (2, kinds).
        sizes: tasks of each kind.
        beta: alpha and beta of the likeliest Beta of all tasks.
    """
    clumps = _Clumps(*alike(kinds, sizes))
    n, c = clumps.kinds
    typical = float(clumps.sizes @ n / clumps.sizes.sum())
    plain = np.log(beta[:2])
    starts = []
    for place in _PLACES:
        p = min(place / typical, 0.5)
        rest = c > np.maximum(3.0, 3 * p * n)
        left, others = clumps.sizes[~rest].sum(), clumps.sizes[rest].sum()
        if left > 0 and others > 1:
            apart = moments(clumps.kinds[:, rest], clumps.sizes[rest])
            starts.append(np.array([*apart, np.log(left / others), _logit(p)]))
        starts.append(np.array([*plain, -2.0, _logit(p)]))
    one, x = clumps.fit(starts)
    seconds = np.linspace(x[3], _logit(0.97), _SECOND + 1)[1:]
    two, _ = clumps.fit([np.array([*x, x[2] - 1, odds]) for odds in seconds])
    return one, max(one, two)


@dataclass(frozen=True)
class _Clumps:
    """Point masses of pass@1 beside a Beta.

    x is the logs of alpha and beta, then for each point mass the log of its share over the Beta's, and its log-odds.
    """

    kinds: FloatArray
    sizes: FloatArray

    def fit(self, starts: Sequence[FloatArray]) -> tuple[float, FloatArray]:
        """The largest log likelihood uphill from the best of `starts`, and its x."""
        best = sorted(starts, key=lambda start: -self._gradient(start)[0])[:_CLIMBS]
        ends = [log_range()] * 2 + [(-_FURTHEST, _FURTHEST)] * (best[0].size - 2)
        found = [climb(self._gradient, start, ends, exact=1e-8) for start in best]
        return max(((self._gradient(x)[0], x) for x in found), key=lambda one: one[0])

    def _gradient(self, x: FloatArray) -> tuple[float, FloatArray]:
        n, c = self.kinds
        alpha, beta = np.exp(x[:2])
        odds = x[3::2, None]
        log_p, log_q = -np.logaddexp(0, -odds), -np.logaddexp(0, odds)
        logs = np.vstack([log_moment(alpha, beta, c, n - c), x[2::2, None] + c * log_p + (n - c) * log_q])
        top = logs.max(axis=0)
        parts = np.exp(logs - top)
        mixed = parts.sum(axis=0)
        whole = 1 + np.exp(x[2::2]).sum()
        tasks = self.sizes * parts / mixed  # how many of each kind are of the Beta, and of each clump
        by_alpha, by_beta = moment_slopes(alpha, beta, c, n - c)
        slopes = np.empty_like(x)
        slopes[:2] = alpha * (tasks[0] @ by_alpha), beta * (tasks[0] @ by_beta)
        slopes[2::2] = tasks[1:].sum(axis=1) - self.sizes.sum() * np.exp(x[2::2]) / whole
        slopes[3::2] = (tasks[1:] * (c - n * np.exp(log_p))).sum(axis=1)
        return float(self.sizes @ (np.log(mixed) + top) - self.sizes.sum() * np.log(whole)), slopes


def bounds(kinds: FloatArray, sizes: IntArray, k: int, *, drop: float, reach: float) -> tuple[float, float]:
    """Bounds of the number of tasks without a success that k attempts on each would solve.

    Args:
        kinds: attempts and successes, shape (2, kinds).
        sizes: tasks of each kind.
        k: attempts in all.
        drop: log likelihood that a distribution may have less than the likeliest.
        reach: standard deviations, of which tasks are solved, that are added on both sides.
    """
    if not ((kinds[1] == 0) & (kinds[0] < k)).any():
        return 0.0, 0.0
    low_end = _LowEnd.of(kinds, sizes, k)
    likeliest = low_end.likeliest(np.full(low_end.grid.size, 1 / low_end.grid.size), 3 * _ROUNDS)
    least = low_end.log_likelihood(likeliest) - drop
    ends = []
    for side, kernel in ((-1, (1 - low_end.grid) ** k), (1, low_end.follow)):
        # The further a distribution is to lean to one side, the more tasks of that side are added to those seen.
        mass, inside = likeliest, likeliest
        few, many = np.log(1e-3), np.log(10.0 * low_end.sizes.sum())
        for _ in range(_HALVINGS):
            middle = (few + many) / 2
            mass = low_end.likeliest(mass, _ROUNDS, kernel, float(np.exp(middle)))
            if low_end.log_likelihood(mass) >= least:
                inside, few = mass, middle
            else:
                many = middle
        share, variance = low_end.followers(inside)
        ends.append(share + side * reach * float(np.sqrt(variance)))
    return ends[0], ends[1]


@dataclass(frozen=True)
class _LowEnd:
    """Tasks that are seldom solved, and a grid of p for them."""

    grid: FloatArray
    table: FloatArray
    """Likelihood of each kind at each p, as a share of its peak on the grid, shape (kinds, points)."""
    sizes: FloatArray
    unsolved: FloatArray
    """Attempts on the tasks without success, fewer than k, by kind."""
    weights: FloatArray
    """How many tasks those are."""
    k: int

    @classmethod
    def of(cls, kinds: FloatArray, sizes: IntArray, k: int) -> _LowEnd:
        seldom = kinds[1] <= _SELDOM
        (n, c), counts = alike(kinds[:, seldom], sizes[seldom])
        ends = np.log(1e-3 / k), np.log(min(3 * _SELDOM / n.min(), 0.999))
        grid = np.concatenate([[0.0], np.exp(np.arange(ends[0], ends[1] + _STEP, _STEP)).clip(max=0.999)])
        logs = c[:, None] * np.log(np.maximum(grid, 1e-300)) + (n - c)[:, None] * np.log1p(-grid)
        table = np.exp(logs - logs.max(axis=1, keepdims=True))
        still = (kinds[1] == 0) & (kinds[0] < k)
        (unsolved, _), weights = alike(kinds[:, still], sizes[still])
        return cls(grid, table, counts, unsolved, weights, k)

    @property
    def follow(self) -> FloatArray:
        """The chance at each p that an unsolved task, of the typical n, is as it is and solved in k attempts."""
        n = float(self.unsolved @ self.weights / self.weights.sum())
        return np.asarray((1 - self.grid) ** n - (1 - self.grid) ** self.k)

    def likeliest(
        self, mass: FloatArray, rounds: int, kernel: FloatArray | None = None, weight: float = 0.0
    ) -> FloatArray:
        """Expectation and maximisation from `mass`; `kernel` counts as `weight` tasks more with that likelihood."""
        table, sizes = self.table, self.sizes
        if kernel is not None:
            table, sizes = np.vstack([table, kernel]), np.append(sizes, weight)
        mass = 0.99 * mass + 0.01 / mass.size
        for _ in range(rounds):
            mass = mass * ((sizes / np.maximum(table @ mass, 1e-300)) @ table) / sizes.sum()
        return np.asarray(mass)

    def log_likelihood(self, mass: FloatArray) -> float:
        return float(self.sizes @ np.log(np.maximum(self.table @ mass, 1e-300)))

    def followers(self, mass: FloatArray) -> tuple[float, float]:
        """How many unsolved tasks k attempts are expected to solve, and the variance."""
        then = float((1 - self.grid) ** self.k @ mass)
        now = (1 - self.grid) ** self.unsolved[:, None] @ mass
        follows = 1 - then / np.maximum(now, 1e-300)
        return float(self.weights @ follows), float(self.weights @ (follows * (1 - follows)))


def _logit(share: float) -> float:
    return float(np.log(share / (1 - share)))
