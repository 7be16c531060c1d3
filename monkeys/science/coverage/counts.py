"""Tables of counts: how they are made from outcomes, and which of them are refused.

A task was attempted n times and c of the attempts resolved it; `counts` sums a table of outcomes to n and c. Every
refusal is a `CoverageError` that names the tasks, the cause and the remedy; no number is guessed.

pass@k needs attempts that are independent and whose number did not depend on their outcomes. A caller who knows that
they were sampled in another way passes `sampling`; the error then says which estimator is right. Without it, data that
show one of two signs are refused: counts that look stopped on success, and outcomes whose order shows that attempts
depend on one another. Data without these signs may still be stopped or dependent, which only the caller can know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.errors import MonkeysError

__all__ = [
    "CoverageError",
    "FloatArray",
    "IntArray",
    "Names",
    "Sampling",
    "check_order",
    "check_sampling",
    "checked_counts",
    "checked_ks",
    "counts",
    "listed",
    "named_tasks",
    "refuse_more_than_sampled",
    "until_success",
    "whole",
]

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
Names: TypeAlias = Sequence[str]
Sampling: TypeAlias = Literal["independent", "stopped", "adaptive", "dependent"]
"""How the attempts came about: independent and as many as fixed beforehand; stopped on success; as many as the outcomes
so far made worthwhile; or each with knowledge of earlier ones."""

_SHORT = 3  # tasks with fewer attempts than the most beneath which a table is not taken for stopped
_NAMED = 5  # tasks named in an error before the rest is only counted
_STOPPED_BY_CHANCE = 1e-3  # below this probability a table is taken for stopped on success
_RUNS_DEVIATION = 5.0  # standard deviations of the runs test beyond which outcomes are taken for dependent

_REMEDIES: dict[str, str] = {
    "stopped": "attempts that stopped on success make c / n too large, and pass@k with it: use `stopped_curve` or "
    "`pass_at_k_stopped`, which know of the stop",
    "adaptive": "how many attempts a task got depended on its outcomes, and pass@k from all of them is biased: use the "
    "first m attempts of every task for an m fixed beforehand, or `monkeys.science.scaling.fit_mixture`, whose "
    "likelihood does not depend on the stopping rule",
    "dependent": "attempts that know of one another are not k draws from one distribution: count each independent "
    "trajectory as one attempt, or take the outcomes in order through `until_success` and `stopped_curve`, which is "
    "coverage of the procedure as it was run",
}


class CoverageError(MonkeysError, ValueError):
    """The counts do not allow the estimate that was asked for; the message says what would be right instead."""


def counts(
    outcomes: ArrayLike, *, sampling: Sampling | None = None, names: Names | None = None
) -> tuple[IntArray, IntArray]:
    """Sum a table of outcomes to the counts n and c of each task.

    Args:
        outcomes: tasks x attempts, in the order made: 1 or True resolved, 0 or False not, NaN where there was none.
        sampling: how the attempts came about. Left out, two signs are looked for: tasks whose attempts end with a
            success, or with the batch of their first one, far more often than chance would have it (stopped), and
            successes that follow one another more or less often than in a random order, by five standard deviations
            of the runs test (dependent).
        names: names of the tasks for error messages.

    Returns:
        Attempts and resolved attempts, int64 arrays of shape (tasks,).

    Raises:
        CoverageError: no table, other values than those above, attempts that were not sampled independently.
    """
    made, resolved = _outcomes(outcomes, names)
    n, c = made.sum(axis=1, dtype=np.int64), resolved.sum(axis=1, dtype=np.int64)
    task, attempt = np.nonzero(made)
    check_order(task, resolved[task, attempt], sampling)
    return n, c


def until_success(
    outcomes: ArrayLike, *, successes: int = 1, names: Names | None = None
) -> tuple[IntArray, IntArray, int]:
    """The counts as if each task had been left alone after its first `successes`: what `stopped_curve` takes.

    Args:
        outcomes: as for `counts`; attempts after the stop are ignored.

    Returns:
        n, c and the cap: the smallest number of attempts among the tasks that were never stopped, or the most made.
    """
    if successes < 1:
        raise CoverageError(f"successes = {successes}: a task is left alone after at least one success")
    made, resolved = _outcomes(outcomes, names)
    reached = (np.cumsum(resolved, axis=1) >= successes) & made
    stopped = reached.any(axis=1)
    made_at = np.cumsum(made, axis=1)
    n = np.where(stopped, made_at[np.arange(len(made)), reached.argmax(axis=1)], made_at[:, -1])
    c = np.where(stopped, successes, resolved.sum(axis=1))
    cap = made_at[~stopped, -1].min() if not stopped.all() else made_at[:, -1].max()
    # Attempts after the cap do not count on a task that was to have no more than that many.
    late = n > cap
    if late.any():
        c = np.where(late, (resolved & (made_at <= cap)).sum(axis=1), c)
        n = np.minimum(n, cap)
    return n.astype(np.int64), c.astype(np.int64), int(cap)


def check_order(task: NDArray[np.intp], resolved: NDArray[np.bool_], sampling: Sampling | None = None) -> None:
    """Refuse single attempts that were not sampled independently, as `counts` does.

    Args:
        task: the number of each attempt's task, shape (attempts,).
        resolved: whether the attempt resolved it, in the order made.
        sampling: how the attempts came about; left out, the signs of `counts` are looked for.

    Raises:
        CoverageError: attempts that were not sampled independently.
    """
    if sampling is not None:
        _refuse_named(sampling)
        return
    if (task[1:] < task[:-1]).any():
        order = np.argsort(task, kind="stable")
        task, resolved = task[order], resolved[order]
    starts = np.flatnonzero(np.diff(task, prepend=-1))
    n = np.diff(starts, append=task.size)
    c = np.add.reduceat(resolved.astype(np.int64), starts) if starts.size else np.zeros(0, np.int64)
    _refuse_stopped_counts(n, c)
    _refuse_last_successes(resolved, starts, n, c)
    _refuse_dependent(task, resolved, n, c)


def check_sampling(n: NDArray[Any], c: NDArray[Any], sampling: Sampling | None) -> None:
    """Refuse counts that were not sampled independently: as the caller says, or else as the counts themselves show."""
    if sampling is not None:
        _refuse_named(sampling)
        return
    _refuse_stopped_counts(np.ravel(n), np.ravel(c))


def _refuse_named(sampling: Sampling) -> None:
    if sampling == "independent":
        return
    if sampling not in _REMEDIES:
        choices = ", ".join(f'"{known}"' for known in ("independent", *_REMEDIES))
        raise CoverageError(f"sampling = {sampling!r} is unknown: choose one of {choices}")
    raise CoverageError(_REMEDIES[sampling])


def _refuse_stopped_counts(n: NDArray[Any], c: NDArray[Any]) -> None:
    """Stopped after the batch of the first success: short tasks have successes, all of which fit into one batch."""
    short = n < n.max(initial=0)
    if short.sum() < _SHORT or not (c[short] > 0).all():
        return
    batch = _batch(n[short])
    if (c > batch).any() or _all_in_last(n[short], c[short], np.full(short.sum(), batch)) >= _STOPPED_BY_CHANCE:
        return
    what = "exactly one resolved" if batch == 1 else f"between 1 and {batch} resolved, as many as one batch can hold"
    raise CoverageError(
        f"the counts look stopped on success: all {short.sum()} tasks with fewer than {n.max():.0f} attempts have "
        f"{what}, and no task has more; {_stop_remedy(batch)}. If the attempts were in "
        'truth fixed beforehand, say sampling="independent"'
    )


def _refuse_last_successes(
    resolved: NDArray[np.bool_], starts: NDArray[np.intp], n: NDArray[np.intp], c: IntArray
) -> None:
    """In a random order successes are anywhere: if on all short tasks they are in the last batch it is not chance."""
    short = n < n.max(initial=0)
    if short.sum() < _SHORT or not (c[short] > 0).all():
        return
    # Stopped after some number of successes, so that the last attempt is one.
    last = resolved[starts + n - 1]
    if last[short].all() and np.prod(c[short] / n[short]) < _STOPPED_BY_CHANCE:
        batch, where = 1, "the last one is resolved"
    else:
        batch = _batch(n[short])
        places = np.arange(resolved.size) - np.repeat(starts, n)
        first = np.minimum.reduceat(np.where(resolved, places, resolved.size), starts)
        solved, begun = c > 0, (n - 1) // batch * batch  # where the last batch began
        if batch == 1 or (first[solved] < begun[solved]).any():
            return
        if _all_in_last(n[solved], c[solved], (n - begun)[solved]) >= _STOPPED_BY_CHANCE:
            return
        where = f"only the last {batch} hold resolved ones"
    raise CoverageError(
        f"the outcomes look stopped on success: on all {short.sum()} tasks with fewer than {n.max()} attempts "
        f"{where}; {_stop_remedy(batch)}. If that is chance, say "
        'sampling="independent"'
    )


def _stop_remedy(batch: int) -> str:
    if batch == 1:
        return _REMEDIES["stopped"]
    return (
        "attempts in batches that ended with the first success make c / n too large, and pass@k with it: take the "
        "outcomes in order through `until_success` and `stopped_curve`, or the first batch of every task alone"
    )


def _batch(n: NDArray[Any]) -> int:
    """The size of the batches in which attempts may have been made: the largest that divides all these numbers."""
    return int(np.gcd.reduce(n.astype(np.int64)))


def _all_in_last(n: NDArray[Any], c: NDArray[Any], last: NDArray[Any]) -> float:
    """Probability that in a random order all successes of each task are among its `last` attempts."""
    from math import comb

    chance = 1.0
    for tries, good, size in zip(*(column.astype(int).tolist() for column in (n, c, last)), strict=True):
        chance *= comb(size, good) / comb(tries, good)
        if chance < _STOPPED_BY_CHANCE:
            break
    return chance


def _refuse_dependent(task: NDArray[np.intp], resolved: NDArray[np.bool_], n: NDArray[np.intp], c: IntArray) -> None:
    """The runs test of Wald and Wolfowitz (1940), summed over tasks: in a random order, 1 + 2 c (n-c) / n runs."""
    mixed = (c > 0) & (c < n)
    if not mixed.any():
        return
    changes = np.count_nonzero((resolved[1:] != resolved[:-1]) & (task[1:] == task[:-1]))
    tries, pairs = n[mixed].astype(float), 2.0 * c[mixed] * (n - c)[mixed]
    variance = pairs * (pairs - tries) / (tries**2 * np.maximum(tries - 1, 1))
    if variance.sum() <= 0:
        return
    deviation = (changes - (pairs / tries).sum()) / np.sqrt(variance.sum())
    if abs(deviation) > _RUNS_DEVIATION:
        like = "like outcomes follow one another" if deviation < 0 else "outcomes alternate"
        raise CoverageError(
            f"the outcomes look dependent: {like} too often, by {abs(deviation):.1f} standard deviations of the runs "
            f"test over {mixed.sum()} tasks; {_REMEDIES['dependent']}. If only the order of the columns is not that of "
            'the attempts, say sampling="independent"'
        )


def _outcomes(outcomes: ArrayLike, names: Names | None) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which attempts were made and which of them resolved the task. Refuses tables that do not hold outcomes."""
    try:
        table = np.asarray(outcomes)
    except ValueError:
        raise CoverageError("outcomes is ragged: fill the rows of tasks with fewer attempts up with NaN") from None
    if table.dtype.kind not in "biuf":
        raise CoverageError(f"outcomes holds {table.dtype.name} values: use 1, 0 and NaN where there was no attempt")
    if table.ndim != 2 or table.size == 0:
        raise CoverageError(f"outcomes has shape {table.shape}: pass tasks x attempts, at least one of each")
    if names is not None and len(names) != len(table):
        raise CoverageError(f"{len(names)} names for {len(table)} tasks: pass one name per task, or none")
    resolved = table == 1
    made = np.ones(table.shape, dtype=np.bool_) if table.dtype.kind != "f" else ~np.isnan(table)
    if (strange := made & ~resolved & (table != 0)).any():
        task, attempt = np.argwhere(strange)[0]
        raise CoverageError(f"outcomes[{task}, {attempt}] is {table[task, attempt]:g}: an outcome is 1, 0 or NaN")
    if not (some := made.any(axis=1)).all():
        raise CoverageError(f"no attempt on {named_tasks(np.flatnonzero(~some), names)}: leave it out, or sample it")
    return made, resolved


def checked_counts(n: ArrayLike, c: ArrayLike, names: Names | None) -> tuple[FloatArray, FloatArray]:
    """n and c as float arrays of one shape, with c <= n."""
    try:
        attempts, resolved = np.broadcast_arrays(whole("n", n), whole("c", c))
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
            f"more attempts resolved than made on {named_tasks(np.flatnonzero(too_many), names)} "
            f"(c = {resolved.flat[first]:.0f}, n = {attempts.flat[first]:.0f} on the first): c counts the resolved "
            "attempts among the n; check that the two columns are not swapped"
        )
    return attempts, resolved


def checked_ks(k: ArrayLike) -> FloatArray:
    draws = whole("k", k)
    if draws.min() < 1:
        raise CoverageError(f"k = {draws.min():.0f}: coverage is about at least one attempt; ask for k >= 1")
    return draws


def whole(what: str, values: ArrayLike) -> FloatArray:
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


def refuse_more_than_sampled(n: FloatArray, k: FloatArray, names: Names | None) -> None:
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
            f"k = {np.broadcast_to(k, short.shape)[short].max():.0f} is more than the attempts on "
            f"{named_tasks(at, names)} (n = {n.flat[at].min():.0f} at the least): pass@k has no unbiased estimate for "
            f"k > n; ask for k <= {n.min():.0f}, or sample these tasks further"
        )


def named_tasks(indices: NDArray[np.intp], names: Names | None) -> str:
    if names is None:
        return ("task " if indices.size == 1 else "tasks ") + listed([str(i) for i in indices])
    return listed([names[i] for i in indices])


def listed(items: Sequence[str]) -> str:
    more = len(items) - _NAMED
    return ", ".join(items[:_NAMED]) + (f" and {more} more" if more > 0 else "")
