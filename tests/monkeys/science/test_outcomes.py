"""Tables of outcomes: what is summed, what is refused because attempts were not independent, and what is right then."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monkeys.science.coverage import (
    CoverageError,
    check_order,
    counts,
    coverage_curve,
    pass_at_k,
    pass_at_k_stopped,
    stopped_curve,
    until_success,
)

nan = float("nan")


def independent(rng: np.random.Generator, tasks: int = 40, attempts: int = 100) -> np.ndarray[Any, Any]:
    return rng.random((tasks, attempts)) < rng.beta(0.4, 2, tasks)[:, None]


@given(st.lists(st.lists(st.sampled_from([0.0, 1.0, nan]), min_size=6, max_size=6), min_size=1, max_size=6))
def test_a_table_is_summed_to_attempts_and_successes(rows: list[list[float]]) -> None:
    rows = [[0.0, *row] for row in rows]
    n, c = counts(rows, sampling="independent")
    assert n.tolist() == [sum(x == x for x in row) for row in rows]
    assert c.tolist() == [sum(x == 1 for x in row) for row in rows]


def test_outcomes_may_be_booleans_integers_or_floats() -> None:
    for kind in (bool, np.int8, np.uint8, np.int64, np.float32, float):
        n, c = counts(np.array([[1, 0, 0], [0, 0, 1]], dtype=kind))
        assert (n.tolist(), c.tolist()) == ([3, 3], [1, 1])


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        ([[0, 1], [1]], "ragged: fill the rows"),
        ([0, 1], r"shape \(2,\): pass tasks x attempts"),
        ([[]], "at least one of each"),
        ([["yes", "no"]], "use 1, 0 and NaN"),
        ([[0, 2]], r"outcomes\[0, 1\] is 2: an outcome is 1, 0 or NaN"),
        ([[0, -1]], r"outcomes\[0, 1\] is -1"),
        ([[0, 0.5]], r"outcomes\[0, 1\] is 0.5"),
        ([[0, 1], [nan, nan]], "no attempt on task 1: leave it out, or sample it"),
    ],
)
def test_what_is_no_table_of_outcomes_is_refused(outcomes: Any, message: str) -> None:
    with pytest.raises(CoverageError, match=message):
        counts(outcomes)
    with pytest.raises(CoverageError, match=message):
        until_success(outcomes)


# Dependence and stopping.


def test_independent_outcomes_are_hardly_ever_taken_for_others() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        table = independent(rng, 20, 30).astype(float)
        table[rng.random(table.shape) < 0.1] = nan  # lost attempts
        n, c = counts(table)
        coverage_curve(n, c, [1])


def test_attempts_that_repeat_or_follow_one_another_are_refused_as_dependent() -> None:
    rng = np.random.default_rng(2)
    repeated = np.repeat(independent(rng, 40, 50), 2, axis=1)
    drifting = rng.random((40, 100)) < np.linspace(0, 0.6, 100)  # such as a strategy that learns from its attempts
    alternating = np.tile([0, 1], (40, 20))
    for table, how in ((repeated, "follow one another"), (drifting, "follow one another"), (alternating, "alternate")):
        with pytest.raises(CoverageError, match=rf"look dependent: .*{how}.*`until_success` and `stopped_curve`"):
            counts(table)
        assert counts(table, sampling="independent")[0].sum() == table.size


def test_outcomes_that_end_with_each_tasks_success_are_refused_as_stopped() -> None:
    rng = np.random.default_rng(3)
    table = independent(rng).astype(float)
    for row in table:
        row[np.argmax(row) + 1 if row.any() else row.size :] = nan
    with pytest.raises(CoverageError, match=r"look stopped on success.*`stopped_curve` or `pass_at_k_stopped`"):
        counts(table)
    n, c = counts(table, sampling="independent")
    with pytest.raises(CoverageError, match=r"the counts look stopped on success"):
        coverage_curve(n, c)
    assert coverage_curve(n, c, sampling="independent").coverage[0] > 0


def test_outcomes_that_end_with_the_second_success_are_refused_too() -> None:
    rng = np.random.default_rng(4)
    table = independent(rng).astype(float)
    for row in table:
        row[np.cumsum(row) - row >= 2] = nan
    with pytest.raises(CoverageError, match=r"on all \d+ tasks with fewer than 100 attempts the last one is resolved"):
        counts(table)


# The estimator that knows of the stop.


@cache
def paths(n: int, c: int, cap: int, successes: int, spared: int) -> int:
    """How many orders of outcomes end at n attempts with c successes, the first `spared` of them failures."""
    if n == 0:
        return int(c == 0)
    found = 0
    for last in (0, 1):
        before = c - last
        # The rule must not have stopped before, and a spared attempt is no success.
        if before < 0 or before >= successes or n - 1 >= cap or (last and n <= spared):
            continue
        found += paths(n - 1, before, cap, successes, spared)
    return found


@given(st.integers(1, 12), st.integers(1, 4), st.data())
def test_the_stopped_estimate_is_the_share_of_orders_with_an_early_success(
    cap: int, successes: int, data: st.DataObject
) -> None:
    ended = [(n, successes) for n in range(successes, cap + 1)] + [(cap, c) for c in range(min(successes, cap + 1))]
    n, c = data.draw(st.sampled_from(ended))
    k = data.draw(st.integers(1, cap))
    exact = 1 - Fraction(paths(n, c, cap, successes, min(k, n)), paths(n, c, cap, successes, 0))
    assert pass_at_k_stopped(n, c, k, cap=cap, successes=successes) == pytest.approx(float(exact), rel=1e-13)


@pytest.mark.parametrize("successes", [1, 2, 3])
def test_the_stopped_estimate_is_unbiased_where_the_usual_one_is_far_off(successes: int) -> None:
    """By exact enumeration of every end that the rule can come to."""
    cap, p = 15, 0.1
    ended = [(n, successes) for n in range(successes, cap + 1)] + [(cap, c) for c in range(successes)]
    chance = np.array([paths(n, c, cap, successes, 0) * p**c * (1 - p) ** (n - c) for n, c in ended])
    assert chance.sum() == pytest.approx(1)
    n, c = np.array(ended).T
    for k in range(1, cap + 1):
        estimate = pass_at_k_stopped(n, c, k, cap=cap, successes=successes)
        assert chance @ estimate == pytest.approx(1 - (1 - p) ** k, rel=1e-12)
    assert chance @ (c / n) > 1.1 * p


def test_a_stopped_curve_is_the_share_of_tasks_solved_within_k() -> None:
    table = [[0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0]]
    n, c, cap = until_success(table)
    assert (n.tolist(), c.tolist(), cap) == ([3, 1, 4, 2], [1, 1, 0, 1], 4)
    curve = stopped_curve(n, c, [1, 2, 3, 4], cap=cap)
    assert curve.coverage == (0.25, 0.5, 0.75, 0.75)
    assert curve.attempts == 4
    assert all(low < high for low, high in zip(curve.low, curve.high, strict=True))


def test_stopped_curves_from_whole_tables_agree_with_pass_at_k_on_average() -> None:
    rng = np.random.default_rng(5)
    gaps = []
    for _ in range(200):
        table = independent(rng, 30, 20)
        n, c, cap = until_success(table, successes=2)
        gaps.append(
            np.mean(pass_at_k_stopped(n, c, 5, cap=cap, successes=2)) - np.mean(pass_at_k(20, table.sum(axis=1), 5))
        )
    assert abs(np.mean(gaps)) < 4 * np.std(gaps) / np.sqrt(len(gaps))


def test_attempts_beyond_the_cap_or_after_the_stop_do_not_count() -> None:
    table: Any = [[0, 0, 0, nan, nan], [0, 0, 0, 0, 1], [nan, 1, 0, 1, 1]]
    n, c, cap = until_success(table)
    assert (n.tolist(), c.tolist(), cap) == ([3, 3, 1], [0, 0, 1], 3)


@pytest.mark.parametrize(
    ("n", "c", "cap", "successes", "message"),
    [
        (11, 1, 10, 1, "more than 10 attempts on task 0"),
        (5, 2, 10, 1, "more than 1 resolved on task 0"),
        ([10, 5], [0, 0], 10, 1, "fewer than 1 resolved and fewer than 10 attempts on task 1: .*`until_success`"),
        (5, 1, 10, 0, "both are at least 1"),
        (5, 6, 10, 9, "more attempts resolved than made"),
    ],
)
def test_counts_that_the_stopping_rule_cannot_give_are_refused(
    n: Any, c: Any, cap: int, successes: int, message: str
) -> None:
    for estimate in (pass_at_k_stopped, stopped_curve):
        with pytest.raises(CoverageError, match=message):
            estimate(n, c, 1, cap=cap, successes=successes)
    with pytest.raises(CoverageError, match="k = 4"):
        pass_at_k_stopped(3, 0, 4, cap=3)
    with pytest.raises(CoverageError, match="at least one success"):
        until_success([[0, 1]], successes=0)


def in_batches(rng: np.random.Generator, tasks: int, batch: int, cap: int) -> Any:
    """Batches of attempts on each task until one of them holds a success."""
    table = np.full((tasks, cap), nan)
    for row, p in zip(table, rng.beta(0.5, 5, tasks), strict=True):
        for start in range(0, cap, batch):
            row[start : start + batch] = made = rng.random(min(batch, cap - start)) < p
            if made.any():
                break
    return table


@pytest.mark.parametrize(("batch", "cap"), [(5, 50), (10, 60), (8, 50)])
def test_batches_that_stop_with_the_first_success_are_refused_as_outcomes_and_as_counts(batch: int, cap: int) -> None:
    table = in_batches(np.random.default_rng(8), 40, batch, cap)
    remedy = "the first batch of every task"
    with pytest.raises(CoverageError, match=f"look stopped on success.*{remedy}"):
        counts(table)
    n, c = counts(table, sampling="independent")
    with pytest.raises(CoverageError, match=f"look stopped on success: .* between 1 and .* resolved.*{remedy}"):
        coverage_curve(n, c)
    assert coverage_curve(n, c, sampling="independent").tasks == 40


def test_independent_tables_of_unequal_n_are_not_taken_for_batches() -> None:
    rng = np.random.default_rng(9)
    for _ in range(200):
        n = rng.choice([10, 20, 50], 30)
        table = np.full((30, 50), nan)
        for row, tries, p in zip(table, n, rng.beta(0.5, 3, 30), strict=True):
            row[:tries] = rng.random(tries) < p
        assert counts(table)[0].tolist() == n.tolist()


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=8), min_size=1, max_size=8), st.randoms())
def test_single_attempts_are_judged_as_a_table_of_them(rows: list[list[bool]], random: Any) -> None:
    table = np.full((len(rows), 8), nan)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = row
    flat = [(task, one) for task, row in enumerate(rows) for one in row]
    where = [task for task, _ in flat]
    random.shuffle(where)  # tasks mixed, each with its own order
    left = [iter(row) for row in rows]
    resolved = np.array([next(left[task]) for task in where], np.bool_)

    def refusal(call: Any) -> str:
        try:
            call()
        except CoverageError as error:
            return str(error)
        return ""

    assert refusal(lambda: check_order(np.array(where), resolved)) == refusal(lambda: counts(table))
