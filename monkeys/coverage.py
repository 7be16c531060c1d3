"""Coverage and reliability, from a table of counts.

A task was attempted n times and c of the attempts resolved it. From n and c alone this module estimates

- pass@k, *coverage*: the probability that at least one of k attempts resolves the task (`pass_at_k`),
- pass^k, *reliability*: the probability that all k attempts resolve it (`pass_hat_k`),
- the curve of coverage over k, averaged over tasks, with an interval at each k (`coverage_curve`).

What it guarantees:

- The estimators are unbiased for independent attempts whose number was fixed beforehand. For n up to 10^6 pass@k is
  accurate to 1e-15 relative, also where it is tiny; pass^k to 1e-15 absolute and, down to 1e-300, 1e-11 relative.
  The time of an estimate does not depend on n, c or k.
- Each task counts by its own n. What the counts cannot carry (k > n, c > n, NaN, nothing at all) is refused with a
  `CoverageError` that names the tasks, the cause and the remedy; no number is made up.
- An interval always says what was resampled. Where resampling shows no spread (one task, or all tasks alike) there
  is none: its bounds are NaN and `Curve.reason` says why.
- The same arguments give the same curve, whatever the order of the tasks under `bootstrap="tasks"`.

What it leaves to the caller: that the attempts *are* independent and were not stopped upon success. Counts cannot
show either, and the estimates are wrong without both.

It takes plain arrays and imports nothing else of the project.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Bootstrap", "CoverageError", "Curve", "coverage_curve", "default_ks", "pass_at_k", "pass_hat_k"]

Bootstrap: TypeAlias = Literal["tasks", "two-level"]
FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]
Names: TypeAlias = Sequence[str]

_CELLS = 2**21  # numbers held at once by the bootstrap; 16 MiB an array
_NAMED = 5  # tasks named in an error before the rest is only counted
_NO_SPREAD = 1e-12  # replicates that differ by less differ by rounding alone


class CoverageError(ValueError):
    """The counts cannot carry what was asked of them; the message says what would be right instead."""


@dataclass(frozen=True)
class Curve:
    """Coverage over k with an interval at each k; what `coverage_curve` returns.

    `ks`, `coverage`, `low` and `high` run in parallel; the last three are shares of tasks in [0, 1].
    """

    ks: tuple[int, ...]
    coverage: tuple[float, ...]
    low: tuple[float, ...]
    """Lower bound of the interval at each k; NaN where there is no interval."""
    high: tuple[float, ...]
    """Upper bound of the interval at each k; NaN where there is no interval."""
    reason: str
    """Why the interval is missing at some k; empty when it is there at all of them."""
    level: float
    """Nominal level of the interval, such as .95."""
    bootstrap: Bootstrap
    replicates: int
    seed: int
    tasks: int
    attempts: int
    """The smallest number of attempts on any task, and so the largest k that the counts can carry."""

    @property
    def interval(self) -> str:
        """What the interval is, in words, for a caption."""
        sampled = "tasks" if self.bootstrap == "tasks" else "tasks and the attempts within each"
        return (
            f"{self.level:.4g} percentile bootstrap over {self.tasks} {sampled}, "
            f"{self.replicates:,} replicates, seed {self.seed}"
        )


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
    return _checked(_pass_at_k, n, c, k, names)


@overload
def pass_hat_k(n: int, c: int, k: int, *, names: Names | None = None) -> float: ...
@overload
def pass_hat_k(n: ArrayLike, c: ArrayLike, k: ArrayLike, *, names: Names | None = None) -> Any: ...
def pass_hat_k(n: ArrayLike, c: ArrayLike, k: ArrayLike, *, names: Names | None = None) -> Any:
    """Unbiased estimate of the probability that all of k attempts resolve the task, written pass^k.

    `C(c, k) / C(n, k)` (tau-bench, Yao et al. 2024, arXiv 2406.12045). Reliability is its mean over tasks. Arguments,
    result and errors are those of `pass_at_k`.
    """
    return _checked(_pass_hat_k, n, c, k, names)


def default_ks(attempts: int) -> tuple[int, ...]:
    """The k at which a curve is shown: 1, 2, 5, 10, 25, 50, 100, 250 and so on, then `attempts` itself.

    Raises:
        CoverageError: `attempts` < 1.
    """
    if attempts < 1:
        raise CoverageError(f"{attempts} attempts have no curve: coverage starts at k = 1; sample at least one attempt")
    ks = [1, 2, 5]
    decade = 10
    while ks[-1] < attempts:
        ks += [decade, decade * 5 // 2, decade * 5]
        decade *= 10
    return (*(k for k in ks if k < attempts), attempts)


def coverage_curve(
    n: ArrayLike,
    c: ArrayLike,
    ks: ArrayLike | None = None,
    *,
    level: float = 0.95,
    replicates: int = 10_000,
    seed: int = 0,
    names: Names | None = None,
    bootstrap: Bootstrap = "tasks",
) -> Curve:
    """Coverage at each k, the mean of pass@k over tasks, with a percentile bootstrap interval.

    `bootstrap` says which question the interval answers:

    - `"tasks"`: how far would coverage move with other tasks of the same kind? Tasks are drawn with replacement and
      keep their counts. The noise of having only n attempts on each task is already in the counts, hence in the
      interval.
    - `"two-level"`: the same, and then attempts are drawn anew within each drawn task. It answers "if all of it were
      run again" and is usually the wider of the two; the noise of the attempts enters twice, so it errs to that side.
      Redrawing attempts turns pass@k into the plug-in `1 - (1 - c/n)^k`, which is biased low near k = n; that known
      bias is taken out of each replicate.

    With few tasks a percentile interval is too narrow: where pass@1 ~ Beta(.3, 6), a nominal .95 over tasks held the
    truth in about .92 to .95 of simulated runs on 128 tasks, .90 to .93 on 30 and .85 to .92 on 12.

    Args:
        n: attempts on each task, shape (tasks,), or one number for all tasks.
        c: resolved attempts on each task, shape (tasks,).
        ks: whole numbers between 1 and the smallest n; `default_ks` of the smallest n when left out.
        level: nominal level of the interval, in (0, 1).
        replicates: how often tasks are resampled; at least 2 / (1 - level).
        seed: seed of the resampling, >= 0.
        names: names of the tasks for error messages.
        bootstrap: what is resampled, as above.

    Raises:
        CoverageError: as `pass_at_k`; counts that are not one per task; an interval that cannot be had as asked.
    """
    attempts, resolved = _counts(n, c, names)
    if attempts.ndim > 1:
        raise CoverageError(
            f"n and c have shape {attempts.shape}: a curve needs one count per task; sum the outcomes over attempts "
            "and pass one-dimensional counts, or use pass_at_k for tables"
        )
    attempts, resolved = np.atleast_1d(attempts, resolved)
    tasks = attempts.size
    smallest = int(attempts.min())
    wanted = np.atleast_1d(_ks(default_ks(max(1, smallest)) if ks is None else ks))
    if wanted.ndim > 1:
        raise CoverageError(f"ks has shape {wanted.shape}: pass a one-dimensional list of k")
    _refuse_more_than_sampled(attempts, wanted[:, None], names)
    _check_interval(level, replicates, seed, bootstrap)

    coverage = _pass_at_k(attempts, resolved, wanted[:, None]).mean(axis=1)
    low, high = np.full((2, wanted.size), np.nan)
    reason = "one task: an interval over tasks needs at least two"
    if tasks > 1:
        resampled = _resample_tasks if bootstrap == "tasks" else _resample_tasks_and_attempts
        tail = (1 - level) / 2
        block = max(1, _CELLS // replicates)
        for start in range(0, wanted.size, block):  # the seed is the same, so every block sees the same resamples
            part = slice(start, start + block)
            means = resampled(attempts, resolved, wanted[part], replicates, np.random.default_rng(seed))
            spread = np.ptp(means, axis=1) > _NO_SPREAD
            bounds = np.clip(np.quantile(means, [tail, 1 - tail], axis=1), 0, 1)
            low[part], high[part] = np.where(spread, bounds, np.nan)
        alike = wanted[np.isnan(low)]
        reason = (
            f"no interval at k = {_listed([f'{k:.0f}' for k in alike])}: all {tasks} tasks are alike there, "
            "so that resampling them shows no spread"
            if alike.size
            else ""
        )
    return Curve(
        ks=tuple(int(k) for k in wanted),
        coverage=tuple(coverage.tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        reason=reason,
        level=level,
        bootstrap=bootstrap,
        replicates=replicates,
        seed=seed,
        tasks=tasks,
        attempts=smallest,
    )


# The estimators, on checked float arrays.


def _pass_at_k(n: FloatArray, c: FloatArray, k: FloatArray) -> FloatArray:
    # One resolved attempt, or one draw: the share is a plain quotient, and exact as such.
    return np.where(np.minimum(c, k) == 1, np.maximum(c, k) / n, -np.expm1(_log_all_fail(n, c, k)))


def _pass_hat_k(n: FloatArray, c: FloatArray, k: FloatArray) -> FloatArray:
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


# The bootstrap: coverage at each k, by replicate, as an array of shape (ks, replicates).


def _resample_tasks(
    n: FloatArray, c: FloatArray, ks: FloatArray, replicates: int, rng: np.random.Generator
) -> FloatArray:
    # Tasks with equal counts are interchangeable, so how often each *kind* of task is drawn is all that matters.
    kinds, sizes = np.unique(np.stack([n, c]), axis=1, return_counts=True)
    values = _pass_at_k(kinds[0], kinds[1], ks[:, None])
    means = np.empty((ks.size, replicates))
    for part in _parts(replicates, sizes.size):
        drawn = rng.multinomial(n.size, sizes / n.size, size=part.stop - part.start)
        means[:, part] = values @ drawn.T.astype(np.float64) / n.size
    return means


def _resample_tasks_and_attempts(
    n: FloatArray, c: FloatArray, ks: FloatArray, replicates: int, rng: np.random.Generator
) -> FloatArray:
    # The mean over redrawn attempts is the plug-in, exactly; what it lacks to pass@k is added back, task by task.
    missing = _pass_at_k(n, c, ks[:, None]) - _plug_in(n, c, ks[:, None])
    means = np.empty((ks.size, replicates))
    for part in _parts(replicates, n.size):
        task = rng.integers(n.size, size=(part.stop - part.start, n.size))
        redrawn = rng.binomial(n[task].astype(np.int64), c[task] / n[task])
        # Few (n, c) are distinct: pass@k is computed for those and looked up for the rest.
        code, where = np.unique(n[task] * (n.max() + 1) + redrawn, return_inverse=True)
        kinds = np.divmod(code, n.max() + 1)
        where = where.reshape(task.shape)
        for row, k in enumerate(ks):
            values = _pass_at_k(kinds[0], kinds[1], k)
            means[row, part] = (values[where] + missing[row][task]).mean(axis=1)
    return means


def _plug_in(n: FloatArray, c: FloatArray, k: FloatArray) -> FloatArray:
    solved = c == n
    failure = np.log1p(-np.where(solved, 0.0, c) / n)
    return np.where(solved, 1.0, -np.expm1(k * failure))


def _parts(replicates: int, width: int) -> list[slice]:
    size = max(1, _CELLS // width)
    return [slice(start, min(start + size, replicates)) for start in range(0, replicates, size)]


# What is refused.


def _checked(
    estimate: Callable[[FloatArray, FloatArray, FloatArray], FloatArray],
    n: ArrayLike,
    c: ArrayLike,
    k: ArrayLike,
    names: Names | None,
) -> Any:
    attempts, resolved = _counts(n, c, names)
    draws = _ks(k)
    _refuse_more_than_sampled(attempts, draws, names)
    shares = estimate(attempts, resolved, draws)
    return shares if shares.ndim else float(shares)


def _counts(n: ArrayLike, c: ArrayLike, names: Names | None) -> tuple[FloatArray, FloatArray]:
    """n and c as float arrays of one shape, checked against each other."""
    try:
        attempts, resolved = np.broadcast_arrays(_whole("n", n), _whole("c", c))
    except CoverageError:
        raise
    except ValueError:
        raise CoverageError(
            f"n has shape {np.shape(n)} and c has shape {np.shape(c)}: they must agree, task by task; pass one n and "
            "one c per task, or one n for all"
        ) from None
    if names is not None and len(names) != attempts.size:
        raise CoverageError(f"{len(names)} names for {attempts.size} tasks: pass one name per task, or none")
    too_many = resolved > attempts
    if too_many.any():
        first = int(np.argmax(too_many))
        raise CoverageError(
            f"more attempts resolved than made on {_tasks(np.flatnonzero(too_many), names)} "
            f"(c = {resolved.flat[first]:.0f}, n = {attempts.flat[first]:.0f} on the first): c counts the resolved "
            "attempts among the n; check that the two columns are not swapped"
        )
    return attempts, resolved


def _ks(k: ArrayLike) -> FloatArray:
    draws = _whole("k", k)
    if draws.min() < 1:
        raise CoverageError(f"k = {draws.min():.0f}: coverage is about at least one attempt; ask for k >= 1")
    return draws


def _whole(what: str, values: ArrayLike) -> FloatArray:
    """`values` as float64, after making sure that they are finite whole numbers >= 0, and at least one."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise CoverageError(f"{what} is ragged: its rows differ in length; pass one number per task") from None
    if array.size == 0:
        raise CoverageError(f"{what} is empty: there is nothing to estimate from; pass at least one count")
    if array.dtype.kind == "b":
        raise CoverageError(f"{what} holds booleans, not counts: sum the outcomes of each task over its attempts first")
    if array.dtype.kind not in "iuf":
        raise CoverageError(f"{what} holds {array.dtype.name} values, not numbers: convert it to whole numbers first")
    numbers = array.astype(np.float64)
    # NaN differs from its own floor, too: the comparison catches it without a warning.
    for fault, remedy in (
        (~np.isfinite(numbers), "a missing count is not zero; leave the task out, or count it again"),
        (numbers < 0, "counts start at 0; correct it at its source"),
        (np.floor(numbers) != numbers, "counts are whole numbers; pass counts, not shares or means"),
    ):
        if fault.any():
            at = int(np.argmax(fault))
            place = f"{what}[{at}]" if array.ndim else what
            raise CoverageError(f"{place} is {numbers.flat[at]:g}: {remedy}")
    return numbers


def _refuse_more_than_sampled(n: FloatArray, k: FloatArray, names: Names | None) -> None:
    try:
        short = k > n
    except ValueError:
        raise CoverageError(
            f"k has shape {k.shape}, n and c have shape {n.shape}: they do not broadcast; for every k on every task "
            "pass k[:, None]"
        ) from None
    if short.any():
        task = np.broadcast_to(np.arange(n.size).reshape(n.shape), short.shape)
        at = np.unique(task[short])
        raise CoverageError(
            f"k = {np.broadcast_to(k, short.shape)[short].max():.0f} is more than the attempts on {_tasks(at, names)} "
            f"(n = {n.flat[at].min():.0f} at the least): pass@k has no unbiased estimate for k > n; ask for "
            f"k <= {n.min():.0f}, or sample these tasks further"
        )


def _check_interval(level: float, replicates: int, seed: int, bootstrap: str) -> None:
    if bootstrap not in ("tasks", "two-level"):
        raise CoverageError(f'bootstrap = {bootstrap!r} is unknown: choose "tasks" or "two-level"')
    if not 0 < level < 1:
        raise CoverageError(f"level = {level}: the level of an interval lies between 0 and 1; .95 is usual")
    if replicates * (1 - level) < 2 * (1 - 1e-9):
        raise CoverageError(
            f"{replicates} replicates have no tails at level {level}: ask for at least {np.ceil(2 / (1 - level)):.0f}"
        )
    if seed < 0:
        raise CoverageError(f"seed = {seed}: a seed is a whole number >= 0; choose another")


def _tasks(indices: NDArray[np.intp], names: Names | None) -> str:
    if names is None:
        return ("task " if indices.size == 1 else "tasks ") + _listed([str(i) for i in indices])
    return _listed([names[i] for i in indices])


def _listed(items: Sequence[str]) -> str:
    more = len(items) - _NAMED
    return ", ".join(items[:_NAMED]) + (f" and {more} more" if more > 0 else "")
