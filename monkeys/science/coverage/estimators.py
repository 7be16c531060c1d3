"""Unbiased estimates of coverage and reliability on single tasks, from counts.

pass@k is the probability that at least one of k attempts resolves the task, pass^k that all of them do, G-Pass@k_tau
that at least a share tau does. Their means over tasks are coverage and reliability.

Guarantees: the estimates are unbiased for independent attempts whose number was fixed beforehand, and those of
`pass_at_k_stopped` for attempts stopped on success. For n up to 10^6 pass@k is accurate to 1e-15 relative, also where
it is tiny; pass^k to 1e-15 absolute and, down to 1e-300, 1e-11 relative; G-Pass@k to 1e-11. The time of pass@k and
pass^k does not depend on n, c or k; that of G-Pass@k grows with min(c, k).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from monkeys.science.coverage.counts import (
    CoverageError,
    FloatArray,
    Names,
    checked_counts,
    checked_ks,
    named_tasks,
    refuse_more_than_sampled,
)

__all__ = [
    "check_stopped",
    "g_pass_at_k",
    "pass_at_every_k",
    "pass_at_k",
    "pass_at_k_stopped",
    "pass_hat_k",
    "task_interval",
    "unchecked_pass_at_k",
    "unchecked_pass_at_k_stopped",
    "unchecked_pass_hat_k",
]

_CELLS = 2**21  # numbers held at once; 16 MiB an array


@overload
def pass_at_k(n: int, c: int, k: int, *, names: Names | None = None) -> float: ...
@overload
def pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike, *, names: Names | None = None) -> Any: ...
def pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike, *, names: Names | None = None) -> Any:
    """Unbiased estimate of the probability that at least one of k attempts resolves the task.

    `1 - C(n-c, k) / C(n, k)`: the share of the k-subsets of the n attempts that hold a resolved one (Chen et al. 2021,
    arXiv 2107.03374). Coverage is its mean over tasks.

    Args:
        n: attempts on each task, n >= k.
        c: how many of them resolved the task, 0 <= c <= n.
        k: attempts that a user would make, k >= 1.
        names: names of the tasks for error messages, as many as there are pairs of n and c.

    n, c and k broadcast. For tasks along the last axis and k along the first, pass `k[:, None]`.

    Returns:
        A float for three scalars, else a float64 array of the broadcast shape; in [0, 1].

    Raises:
        CoverageError: k < 1, k > n, c > n, a negative, fractional or missing count, no counts, shapes that do not
            broadcast.
    """
    return _checked(unchecked_pass_at_k, n, c, k, names)


@overload
def pass_hat_k(n: int, c: int, k: int, *, names: Names | None = None) -> float: ...
@overload
def pass_hat_k(n: ArrayLike, c: ArrayLike, k: ArrayLike, *, names: Names | None = None) -> Any: ...
def pass_hat_k(n: ArrayLike, c: ArrayLike, k: ArrayLike, *, names: Names | None = None) -> Any:
    """Unbiased estimate of the probability that all of k attempts resolve the task, written pass^k.

    `C(c, k) / C(n, k)` (tau-bench, Yao et al. 2024, arXiv 2406.12045). Reliability is its mean over tasks. Arguments,
    result and errors are those of `pass_at_k`.
    """
    return _checked(unchecked_pass_hat_k, n, c, k, names)


def g_pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike, tau: ArrayLike, *, names: Names | None = None) -> Any:
    """Unbiased estimate of the probability that at least ceil(tau k) of k attempts resolve the task.

    The upper tail of the hypergeometric distribution (Liu et al. 2024, arXiv 2412.13147): pass@k for tau <= 1 / k,
    pass^k
    for tau = 1. Arguments, result and errors are those of `pass_at_k`, and:

    Args:
        tau: share of the k attempts that have to resolve the task, in (0, 1]; broadcasts with the others.
    """
    attempts, resolved = checked_counts(n, c, names)
    draws = checked_ks(k)
    refuse_more_than_sampled(attempts, draws, names)
    try:
        share = np.asarray(tau, dtype=np.float64)
    except (TypeError, ValueError):
        raise CoverageError("tau must be a number in (0, 1]: convert it first") from None
    if not ((share > 0) & (share <= 1)).all() or share.size == 0:
        raise CoverageError(f"tau = {share.tolist()}: the share of the k attempts that must succeed lies in (0, 1]")
    try:
        table = np.broadcast_arrays(attempts, resolved, draws, share)
    except ValueError:
        raise CoverageError(f"tau has shape {share.shape}: it does not broadcast with n, c and k") from None
    # .3 * 10 is a little more than 3: what is whole but for rounding is taken to be whole.
    needed = np.maximum(np.ceil(table[2] * table[3] * (1 - 1e-12)), 1)
    kinds, where = np.unique(np.stack([*(a.ravel() for a in table[:3]), needed.ravel()]), axis=1, return_inverse=True)
    tails = np.array([_hypergeometric_tail(*(int(value) for value in kind)) for kind in kinds.T])
    shares = tails[where.reshape(needed.shape)]
    return shares if shares.ndim else float(shares)


def pass_at_every_k(n: ArrayLike, c: ArrayLike, *, names: Names | None = None) -> FloatArray:
    """Coverage, the mean of pass@k over tasks, at every k from 1 to the smallest n: shape (smallest n,).

    The same figures as `pass_at_k`, to 1e-12 relative, by a recurrence over k: 140 tasks x 10,000 k take 10 ms.
    Errors are those of `pass_at_k`.
    """
    attempts, resolved = (np.atleast_1d(a).ravel() for a in checked_counts(n, c, names))
    refuse_more_than_sampled(attempts, np.ones(1), names)
    largest = int(attempts.min())
    code, sizes = np.unique(attempts * (attempts.max() + 1) + resolved, return_counts=True)
    kinds = np.divmod(code, attempts.max() + 1)
    draws = np.arange(largest, dtype=np.float64)
    total = np.zeros(largest)
    block = max(1, _CELLS // largest)
    for start in range(0, sizes.size, block):
        tries, good = (kind[start : start + block, None] for kind in kinds)
        # Attempt k+1 is the first success with probability f(k) c / (n-k), where f(k) = f(k-1) (1 - c / (n-k+1)): sums
        # and products of positive numbers alone, so that nothing cancels.
        hazard = np.minimum(good / (tries - draws), 1.0)
        still = np.cumprod(1 - hazard, axis=1)
        hazard[:, 1:] *= still[:, :-1]
        total += sizes[start : start + block] @ np.cumsum(hazard, axis=1)
    return np.asarray(np.minimum(total / sizes.sum(), 1.0))


def pass_at_k_stopped(
    n: ArrayLike, c: ArrayLike, k: ArrayLike, *, cap: int, successes: int = 1, names: Names | None = None
) -> Any:
    """Unbiased estimate of pass@k for a task that was left alone after its first `successes`, or after `cap` attempts.

    The share of the possible orders of outcomes, under that rule, whose first k attempts hold a success (Girshick,
    Mosteller and Savage 1946). With `successes` = 1 it is whether the task was solved within k attempts. It is unbiased
    where `1 - C(n-c, k) / C(n, k)` is not: of a task with p = .1, stopped on its first success, c / n averages .26.

    Args:
        n: attempts made on each task, <= cap.
        c: how many of them resolved it, <= successes; the last attempt among them where c = successes.
        k: 1 <= k <= cap.
        cap: attempts after which a task without enough successes was left alone; fixed beforehand.
        successes: after how many successes a task was left alone; fixed beforehand.

    Raises:
        CoverageError: as `pass_at_k`; counts that the rule cannot have given.
    """
    attempts, resolved = checked_counts(n, c, names)
    draws = checked_ks(k)
    check_stopped(attempts, resolved, cap, successes, names)
    refuse_more_than_sampled(np.full(1, float(cap)), np.atleast_1d(draws).ravel()[:, None], None)
    try:
        shares = unchecked_pass_at_k_stopped(attempts, resolved, draws, successes)
    except ValueError:
        raise CoverageError(f"k has shape {draws.shape}, n and c {attempts.shape}: pass k[:, None]") from None
    return shares if shares.ndim else float(shares)


def task_interval(
    n: ArrayLike, c: ArrayLike, k: ArrayLike, *, level: float = 0.95, all_of: bool = False, names: Names | None = None
) -> tuple[FloatArray, FloatArray]:
    """Exact interval of a task's own pass@k, or pass^k with `all_of`; any k >= 1, also k > n.

    The interval of Clopper and Pearson (1934) for p, carried through `1 - (1 - p)^k` or `p^k`, which grow with p: it
    holds the truth with at least the probability `level`, whatever n. k > n needs no more than that attempts stay
    alike.

    Returns:
        Lower and upper bounds, of the shape to which n, c and k broadcast.

    Raises:
        CoverageError: as `pass_at_k` but for k > n; level outside (0, 1).
    """
    from scipy.special import betaincinv  # type: ignore[import-untyped]

    attempts, resolved = checked_counts(n, c, names)
    draws = checked_ks(k)
    if not 0 < level < 1:
        raise CoverageError(f"level = {level}: the level of an interval lies between 0 and 1; .95 is usual")
    if (attempts == 0).any():
        raise CoverageError(f"no attempt on {named_tasks(np.flatnonzero(attempts == 0), names)}: sample it first")
    tail, missed = (1 - level) / 2, attempts - resolved
    low = np.where(resolved > 0, betaincinv(np.maximum(resolved, 1), missed + 1, tail), 0.0)
    high = np.where(missed > 0, betaincinv(resolved + 1, np.maximum(missed, 1), 1 - tail), 1.0)
    with np.errstate(divide="ignore"):
        low, high = (np.asarray(p**draws if all_of else -np.expm1(draws * np.log1p(-p))) for p in (low, high))
    return low, high


def check_stopped(n: FloatArray, c: FloatArray, cap: int, successes: int, names: Names | None) -> None:
    """Refuse counts that cannot come from stopping after `successes` or `cap` attempts."""
    if successes < 1 or cap < 1:
        raise CoverageError(f"successes = {successes}, cap = {cap}: both are at least 1")
    for wrong, cause in (
        (n > cap, f"more than {cap} attempts"),
        (c > successes, f"more than {successes} resolved"),
        ((c < successes) & (n < cap), f"fewer than {successes} resolved and fewer than {cap} attempts"),
    ):
        if wrong.any():
            raise CoverageError(
                f"{cause} on {named_tasks(np.flatnonzero(wrong), names)}: attempts stopped after {successes} resolved "
                f"or {cap} made give no such count; correct successes and cap, or count through `until_success`"
            )


# The estimators, on checked float arrays.


def unchecked_pass_at_k(n: FloatArray, c: FloatArray, k: FloatArray) -> FloatArray:
    # One resolved attempt, or one draw: the share is a plain quotient, and exact as such.
    return np.where(np.minimum(c, k) == 1, np.maximum(c, k) / n, 0.0 - np.expm1(_log_all_fail(n, c, k)))


def unchecked_pass_hat_k(n: FloatArray, c: FloatArray, k: FloatArray) -> FloatArray:
    return np.where(k == 1, c / n, np.exp(_log_all_fail(n, n - c, k)))


def _log_all_fail(n: FloatArray, c: FloatArray, k: FloatArray) -> FloatArray:
    """log of C(n-c, k) / C(n, k): the probability that k of n attempts, drawn without replacement, avoid all c.

    The four factorials of the quotient in Stirling's form, x! = sqrt(2 pi x) (x/e)^x exp(d(x)), with their large parts
    cancelled on paper: what is left are terms no larger than the result, so that nothing cancels in floating point.
    (Differences of log-gamma lose eps * n log n here: at n = 10^6 the first three digits of a pass@1 of 10^-6.)
    """
    left = n - c - k  # attempts neither among the c nor drawn
    certain = left < 0
    # Stirling's form needs left >= 1: the k-th draw from the last k failures is one of c + 1, the others leave one.
    last = left == 0
    final_draw = np.where(last, np.log1p(c), 0.0)
    k = np.where(last, k - 1, np.where(certain, 0.0, k))
    c = np.where(certain, 0.0, c)
    left = n - c - k

    ratio = np.log1p(c * k / (left * n))
    log = (left + 0.5) * ratio + k * np.log1p(-c / n) + c * np.log1p(-k / n)
    log += (_stirling(n - c) - _stirling(n)) + (_stirling(n - k) - _stirling(left))
    return np.where(certain, -np.inf, log - final_draw)


_STIRLING = np.array(  # d(0) is never used; d(1) to d(15) from 60-digit arithmetic
    [
        *(np.nan, 0.08106146679532726, 0.0413406959554093, 0.02767792568499834, 0.020790672103765093),
        *(0.016644691189821193, 0.013876128823070748, 0.01189670994589177, 0.010411265261972096),
        *(0.009255462182712733, 0.00833056343336287, 0.007573675487951841, 0.00694284010720953),
        *(0.006408994188004207, 0.0059513701127588475, 0.005554733551962801),
    ]
)


def _stirling(x: FloatArray) -> FloatArray:
    """d(x) = log x! - log(sqrt(2 pi x) (x/e)^x) for whole x >= 1, to within 2e-16."""
    large = np.maximum(x, 16.0)
    z = 1 / (large * large)
    series = (1 / 12 - z * (1 / 360 - z * (1 / 1260 - z * (1 / 1680 - z / 1188)))) / large
    return np.where(x < 16, _STIRLING[np.minimum(x, 15).astype(np.intp)], series)


def unchecked_pass_at_k_stopped(n: FloatArray, c: FloatArray, k: FloatArray, successes: int) -> FloatArray:
    # Where the stop came from a success, that one is last in every order; the others are anywhere before it.
    last = np.where(c == successes, 1.0, 0.0)
    tries, good, draws = np.broadcast_arrays(n - last, c - last, k)
    inside = draws <= tries
    free = unchecked_pass_at_k(np.maximum(tries, 1), good, np.where(inside, draws, 1.0))
    return np.where(inside, free, 1.0)


def _hypergeometric_tail(n: int, c: int, k: int, least: int) -> float:
    """P(X >= least) for the number X of successes among k drawn from n attempts with c successes."""
    first, last = max(0, k - (n - c)), min(c, k)
    if least <= first or least > last:
        return float(least <= first)
    # Weights relative to the likeliest X, by the quotients of neighbours: no factorials, and nothing cancels.
    x = np.arange(first, last, dtype=np.float64)
    step = (c - x) / (x + 1) * ((k - x) / (n - c - k + x + 1))
    mode = min(max((k + 1) * (c + 1) // (n + 2), first), last) - first
    weights = np.ones(last - first + 1)
    weights[mode + 1 :] = np.cumprod(step[mode:])
    weights[:mode] = np.cumprod(1 / step[:mode][::-1])[::-1]
    return float(min(1.0, weights[least - first :].sum() / weights.sum()))


def _checked(
    estimate: Callable[[FloatArray, FloatArray, FloatArray], FloatArray],
    n: ArrayLike,
    c: ArrayLike,
    k: ArrayLike,
    names: Names | None,
) -> Any:
    attempts, resolved = checked_counts(n, c, names)
    draws = checked_ks(k)
    refuse_more_than_sampled(attempts, draws, names)
    shares = estimate(attempts, resolved, draws)
    return shares if shares.ndim else float(shares)
