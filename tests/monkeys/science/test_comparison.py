"""Arms in pairs, groups of tasks, and coverage against its cost."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monkeys.science.coverage import (
    CoverageError,
    coverage_against_cost,
    coverage_by_group,
    coverage_curve,
    holm,
    paired_difference,
    pass_at_k,
)

# Two arms.


def test_a_difference_is_that_of_the_curves_and_its_interval_is_narrower_than_theirs() -> None:
    rng = np.random.default_rng(1)
    p = rng.beta(0.4, 3, 60)
    c_a, c_b = rng.binomial(20, p**0.8), rng.binomial(25, p)
    gap = paired_difference(20, c_a, 25, c_b, [1, 5, 20])
    a, b = coverage_curve(20, c_a, [1, 5, 20]), coverage_curve(25, c_b, [1, 5, 20])
    assert gap.difference == pytest.approx(np.subtract(a.coverage, b.coverage))
    assert gap.attempts == 20
    for i in range(3):
        assert gap.low[i] < gap.difference[i] < gap.high[i]
        assert gap.high[i] - gap.low[i] < 0.85 * ((a.high[i] - a.low[i]) + (b.high[i] - b.low[i]))
    other = paired_difference(25, c_b, 20, c_a, [1, 5, 20])
    assert other.low == pytest.approx([-high for high in gap.high], abs=0.005)
    assert other.p_value == pytest.approx(gap.p_value, abs=0.01)
    assert "60 tasks in pairs" in gap.interval


def test_arms_that_agree_on_few_tasks_are_not_taken_for_equal_for_sure() -> None:
    gap = paired_difference(10, [0, 3, 10, 0, 7], 10, [0, 3, 10, 0, 7], [1, 10])
    assert gap.difference == (0, 0)
    assert gap.p_value == (1, 1)
    assert all(low < -0.3 and high > 0.3 for low, high in zip(gap.low, gap.high, strict=True))


def test_the_p_value_is_that_of_swapping_arms_at_random() -> None:
    """Eight tasks, all better in arm a: of 2^8 ways to swap, two are as extreme."""
    gap = paired_difference(10, [9] * 8, 10, [1, 2, 3, 1, 2, 3, 1, 2], [1], replicates=40_000)
    assert gap.p_value[0] == pytest.approx(2 / 256, abs=0.002)


def test_p_values_of_arms_that_do_not_differ_are_spread_evenly() -> None:
    rng = np.random.default_rng(2)
    values = []
    for seed in range(300):
        p = rng.beta(0.5, 2, 25)
        c_a, c_b = rng.binomial(10, p), rng.binomial(10, p)
        values.append(paired_difference(10, c_a, 10, c_b, [1], replicates=300, seed=seed).p_value[0])
    assert np.mean(np.array(values) < 0.05) == pytest.approx(0.05, abs=0.04)
    assert 0.45 < np.mean(values) < 0.65  # ties among few tasks make it a little larger than one half


def test_the_interval_of_a_difference_holds_the_truth_with_twelve_tasks() -> None:
    rng = np.random.default_rng(3)
    truth = 0.4 / 3.4 - np.mean(rng.beta(0.4, 3, 400_000) ** 1.5)
    held = 0
    for _ in range(400):
        p = rng.beta(0.4, 3, 12)
        gap = paired_difference(50, rng.binomial(50, p), 50, rng.binomial(50, p**1.5), [1], replicates=400)
        held += int(gap.low[0] <= truth <= gap.high[0])
    assert held / 400 > 0.91


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=9),
    st.sampled_from([0.5, 0.8, 0.95, 0.99]),
)
@example([(1, 2), (2, 5), (6, 9)], 0.95)
def test_an_interval_leaves_no_difference_out_only_where_its_p_value_is_small(
    rows: list[tuple[int, int]], level: float
) -> None:
    b, a = zip(*rows, strict=True)
    gap = paired_difference(20, a, 20, b, [1, 2, 20], level=level, replicates=400)
    for difference, low, high, p in zip(gap.difference, gap.low, gap.high, gap.p_value, strict=True):
        assert -1 <= low <= difference <= high <= 1
        assert low <= 0 <= high or p < 1 - level


def test_arms_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(CoverageError, match=r"arm a has 2 tasks and arm b 3: .*leave the others out of both"):
        paired_difference(10, [1, 2], 10, [1, 2, 3])
    with pytest.raises(CoverageError, match="k = 11 is more than the attempts"):
        paired_difference(20, [1, 2], 10, [1, 2], [11])
    with pytest.raises(CoverageError, match="`stopped_curve`"):
        paired_difference(20, [1, 2], 10, [1, 2], sampling="stopped")
    with pytest.raises(CoverageError, match='use "gaffke" or "korn-graubard"'):
        paired_difference(20, [1, 2], 10, [1, 2], method="bca")
    with pytest.raises(CoverageError, match="between 0 and 1"):
        paired_difference(20, [1, 2], 10, [1, 2], level=95)


# Groups.


def test_every_group_has_the_curve_of_its_own_tasks() -> None:
    groups = ["sympy", "django", "sympy", "django", "flask"]
    n, c = [10, 20, 10, 30, 5], [0, 4, 3, 30, 1]
    curves = coverage_by_group(n, c, groups, names=["a", "b", "c", "d", "e"])
    assert list(curves) == ["django", "flask", "sympy"]
    assert curves["django"] == coverage_curve([20, 30], [4, 30])
    assert curves["flask"] == coverage_curve(5, [1])
    assert curves["flask"].high[0] - curves["flask"].low[0] > 0.9  # one task knows next to nothing of its group
    with pytest.raises(CoverageError, match="4 groups for 5 tasks"):
        coverage_by_group(n, c, groups[:4])
    with pytest.raises(CoverageError, match="on e "):
        coverage_by_group(n, c, groups, [10], names=["a", "b", "c", "d", "e"])


# Cost.


@settings(deadline=None)  # what is imported at the first example takes a while on a busy machine
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6), st.floats(0, 1e6)), min_size=1, max_size=6))
def test_stopping_on_success_costs_what_it_costs_over_all_orders_of_the_attempts(
    drawn: list[tuple[int, int, float]],
) -> None:
    n = [n for n, _, _ in drawn]
    c = [min(n, c) for n, c, _ in drawn]
    cost = [x for _, _, x in drawn]
    curve = coverage_against_cost(
        n, c, cost, range(1, min(n) + 1), stop_on_success=True, unit="$", sampling="independent"
    )
    for point in curve.points:
        expected = 0.0
        for a, b, x in zip(n, c, cost, strict=True):
            orders = set(permutations([1] * b + [0] * (a - b)))
            made = [min((order.index(1) + 1) if b else a, point.k) for order in orders]
            expected += float(np.mean(made)) * x / a / len(n)
        assert point.cost == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_coverage_against_cost_has_both_with_intervals() -> None:
    n, c, cost = [10, 20, 10], [0, 4, 10], [5.0, 30.0, 1.0]
    curve = coverage_against_cost(n, c, cost, [1, 2, 10], unit="$")
    assert [point.cost for point in curve.points] == pytest.approx([k * np.mean([0.5, 1.5, 0.1]) for k in (1, 2, 10)])
    assert [point.coverage for point in curve.points] == pytest.approx(
        pass_at_k(n, c, np.array([[1], [2], [10]])).mean(axis=1)
    )
    for point in curve.points:
        assert point.cost_low <= point.cost <= point.cost_high
        assert point.low < point.coverage < point.high
    stopped = coverage_against_cost(n, c, cost, [1, 2, 10], stop_on_success=True)
    assert stopped.points[0].cost == curve.points[0].cost
    assert stopped.points[2].cost < curve.points[2].cost
    assert "Student" in curve.interval


def test_a_budget_buys_the_last_point_that_it_pays_for() -> None:
    curve = coverage_against_cost(10, [0, 4], [10.0, 10.0], [1, 5, 10], unit="$")
    assert curve.at(1).k == curve.at(4.99).k == 1
    assert curve.at(1e9).k == 10
    with pytest.raises(CoverageError, match=r"0.5 \$ per task pay for less than k = 1, which costs 1"):
        curve.at(0.5)


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        ([1.0], r"cost has shape \(1,\) for 2 tasks"),
        (1.0, r"cost has shape \(\)"),
        ([1.0, -1.0], r"cost\[1\] is -1"),
        ([float("nan"), 1.0], r"cost\[0\] is nan"),
        (["a", "b"], "must be numbers"),
    ],
)
def test_what_is_no_cost_is_refused(cost: Any, message: str) -> None:
    with pytest.raises(CoverageError, match=message):
        coverage_against_cost(10, [0, 4], cost)


def test_holm_s_adjustment_is_that_of_the_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([]) == ()
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    with pytest.raises(CoverageError, match="between 0 and 1"):
        holm([1.5])


def test_the_difference_of_very_many_tasks_has_the_p_value_of_random_swaps(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(10)
    p = rng.beta(0.5, 4, 3_000)
    a, b = rng.binomial(100, p), rng.binomial(100, np.minimum(1, 1.002 * p))
    quick = paired_difference(100, a, 100, b, [1, 5], replicates=10_000)
    monkeypatch.setattr("monkeys.science.coverage.comparison._DRAWN", 10**12)
    drawn = paired_difference(100, a, 100, b, [1, 5], replicates=10_000)
    assert (quick.low, quick.high) != (drawn.low, drawn.high)
    assert np.array([quick.low, quick.high]) == pytest.approx(np.array([drawn.low, drawn.high]), abs=5e-5)
    assert quick.p_value != drawn.p_value
    assert quick.p_value == pytest.approx(drawn.p_value, abs=0.04)
    assert 0.001 < quick.p_value[0] < 0.999


def test_the_interval_of_very_many_kinds_of_tasks_is_that_of_random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(11)
    n = rng.integers(50, 400, 400)
    c = rng.binomial(n, rng.beta(1.0, 3, 400))
    drawn = coverage_curve(n, c, [1, 3])
    monkeypatch.setattr("monkeys.science.coverage.intervals._DRAWN", 0)
    quick = coverage_curve(n, c, [1, 3])
    assert quick.low != drawn.low
    width = np.subtract(drawn.high, drawn.low)
    for found, wanted in ((quick.low, drawn.low), (quick.high, drawn.high)):
        assert (np.abs(np.subtract(found, wanted)) < 0.04 * width).all()
