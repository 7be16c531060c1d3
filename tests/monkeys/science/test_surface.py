"""Coverage over attempts x turns and the value of a turn: against enumeration, and in simulations with known truth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import isnan
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom  # type: ignore[import-untyped]

from monkeys.science.coverage import (
    CoverageError,
    Sampling,
    TurnCounts,
    ValueMethod,
    best_cells,
    compare_cells,
    coverage_curve,
    coverage_surface,
    mean_costs,
    paired_difference,
    pass_at_k,
    surface_values,
    turn_counts,
    turn_value,
)

FEW: dict[str, Any] = {"replicates": 100}


@st.composite
def runs(draw: st.DrawFn, unknown: bool = False) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The task of each attempt, and its outcomes at every turn, which from some turn on stay as they are."""
    tasks, turns = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    marks = st.sampled_from([0.0, 1.0, np.nan] if unknown else [0.0, 1.0])
    task: list[int] = []
    rows = []
    for number in range(tasks):
        for _ in range(draw(st.integers(1, 4))):
            own = draw(st.lists(marks, min_size=1, max_size=turns))
            task.append(number)
            rows.append(own + own[-1:] * (turns - len(own)))
    return np.array(task), np.array(rows)


def enumerated(task: NDArray[np.int64], outcomes: NDArray[np.float64], k: int, turn: int) -> float:
    """The mean over tasks of the share of subsets of k attempts of which one is resolved after so many turns."""
    shares = []
    for number in range(int(task.max()) + 1):
        subsets = list(combinations(outcomes[task == number, turn - 1].tolist(), k))
        shares.append(sum(any(subset) for subset in subsets) / len(subsets))
    return sum(shares) / len(shares)


def counts_of(n: int, resolved: Sequence[Sequence[float]], unknown: Any = 0.0) -> TurnCounts:
    """Tasks x turns of resolved attempts of n."""
    table = np.array(resolved, dtype=np.float64)
    return TurnCounts(np.full(len(table), float(n)), table, np.zeros_like(table) + unknown)


# The surface


@settings(max_examples=40)
@given(runs())
def test_each_cell_is_the_share_of_subsets_of_attempts_stopped_there(run: Any) -> None:
    task, outcomes = run
    counts = turn_counts(task, outcomes, sampling="independent")
    ks, turns = range(1, counts.attempts + 1), range(1, counts.turns + 1)
    found = coverage_surface(counts, list(ks), list(turns), **FEW)
    expected = [[enumerated(task, outcomes, k, turn) for k in ks] for turn in turns]
    assert found.coverage == pytest.approx(np.array(expected), abs=1e-12)
    assert surface_values(counts, list(ks), list(turns)) == pytest.approx(found.coverage, abs=1e-12)


@settings(max_examples=40)
@given(runs())
def test_at_the_last_turn_the_surface_is_the_coverage_curve_to_the_digit(run: Any) -> None:
    counts = turn_counts(*run, sampling="independent")
    found = coverage_surface(counts, **FEW)
    curve = coverage_curve(counts.n, counts.resolved[:, -1], sampling="independent", **FEW)
    assert found.ks == curve.ks
    for ours, theirs in ((found.coverage, curve.coverage), (found.low, curve.low), (found.high, curve.high)):
        assert ours[-1].tolist() == list(theirs)


@settings(max_examples=40)
@given(runs(unknown=True), st.integers(0, 2**32 - 1))
def test_a_cell_with_missing_verdicts_has_no_estimate_and_bounds_that_hold_whatever_they_are(
    run: Any, seed: int
) -> None:
    task, outcomes = run
    counts = turn_counts(task, outcomes, sampling="independent")
    ks, turns = list(range(1, counts.attempts + 1)), list(range(1, counts.turns + 1))
    found = coverage_surface(counts, ks, turns, **FEW)
    missing = np.isnan(outcomes)
    guess = np.where(missing, np.random.default_rng(seed).integers(0, 2, outcomes.shape), outcomes)
    truth = coverage_surface(turn_counts(task, guess, sampling="independent"), ks, turns, **FEW).coverage
    assert (found.least <= truth + 1e-12).all()
    assert (truth <= found.most + 1e-12).all()
    has = ~missing.any(axis=0)
    assert (np.isnan(found.coverage) == np.isnan(found.low)).all()
    assert (~np.isnan(found.coverage)).all(axis=1).tolist() == has.tolist()
    assert found.least[has] == pytest.approx(found.coverage[has])


@pytest.mark.parametrize("sampling", ["dependent", "stopped", "adaptive"])
def test_attempts_that_are_not_independent_are_refused(sampling: Sampling) -> None:
    with pytest.raises(CoverageError):
        turn_counts([0, 0], [[0, 1], [1, 1]], sampling=sampling)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda counts: coverage_surface(counts, [4], names=["a", "b"]), "more than the attempts on a, b"),
        (lambda counts: coverage_surface(counts, [0]), "k = 0"),
        (lambda counts: coverage_surface(counts, [1], [3]), "the longest of these has 2"),
        (lambda counts: coverage_surface(counts, [1], [0]), "t = 0"),
        (lambda counts: coverage_surface(counts, [1], [1.5]), "whole numbers"),
        (lambda counts: compare_cells(counts, (4, 1), (1, 2)), "k = 4"),
        (lambda counts: compare_cells(counts, (1, 1), (1, 3)), "t = 3"),
        (lambda counts: best_cells(counts, [[5, 9], [7, 9]], [5.9]), "the cheapest costs 6"),
        (lambda counts: best_cells(counts, [[5, 9]], [50]), "tasks x turns"),
        (lambda counts: turn_counts([0], [[0, 2]]), "is 2"),
        (lambda counts: turn_counts([0, 2], [[0], [1]]), "no attempt on task 1"),
        (lambda counts: turn_counts([0], [0]), "attempts x turns"),
        (lambda counts: turn_counts([0, 3], [[0], [1]], names=["a", "b"]), "number them from 0"),
        (lambda counts: mean_costs([0], [[2, 1]]), "never fall"),
        (lambda counts: mean_costs([0], [[np.nan, 1]]), "finite"),
        (lambda counts: mean_costs([0, 1], [[0, 1]]), "for 2 attempts"),
    ],
)
def test_what_the_data_cannot_carry_is_refused_with_the_reason(ask: Any, said: str) -> None:
    with pytest.raises(CoverageError, match=said):
        ask(counts_of(3, [[0, 1], [2, 3]]))


def test_cells_with_missing_verdicts_are_neither_compared_nor_chosen() -> None:
    partly = counts_of(3, [[0, 1], [2, 2]], unknown=[[1.0, 0.0]] * 2)
    with pytest.raises(CoverageError, match="2 verdicts are missing at t = 1"):
        compare_cells(partly, (1, 2), (1, 1))
    (best,) = best_cells(partly, [[1, 5]] * 2, [6.0], **FEW)
    assert best.turns == 2
    with pytest.raises(CoverageError, match="no t has all of its verdicts"):
        best_cells(counts_of(3, [[0], [1]], unknown=1.0), [[1], [1]], [6.0])


# Costs, and the best cell of a budget


def test_an_attempt_that_ended_early_costs_no_more_afterwards_and_a_task_counts_once() -> None:
    costs = mean_costs([0, 0, 1], [[1, 2, 3], [1, 1, 1], [4, 8, 8]])
    assert costs.tolist() == [[1, 1.5, 2], [4, 8, 8]]


@settings(max_examples=40)
@given(runs(), st.data())
def test_the_best_cell_is_the_best_of_all_that_the_budget_pays_for(run: Any, data: st.DataObject) -> None:
    task, outcomes = run
    counts = turn_counts(task, outcomes, sampling="independent")
    steps = data.draw(st.lists(st.integers(1, 9), min_size=counts.turns, max_size=counts.turns))
    each = np.cumsum(steps)
    budget = float(data.draw(st.integers(int(each[0]), 60)))
    (best,) = best_cells(counts, np.broadcast_to(each, counts.resolved.shape), [budget], **FEW)
    cells = [
        (coverage, k, turn)
        for turn in range(1, counts.turns + 1)
        for k in range(1, counts.attempts + 1)
        for coverage in [enumerated(task, outcomes, k, turn)]
        if k * each[turn - 1] <= budget
    ]
    assert best.coverage == pytest.approx(max(cells)[0], abs=1e-9)
    assert any(best.coverage == pytest.approx(one, abs=1e-9) for one, k, t in cells if (k, t) == (best.k, best.turns))
    assert best.cost == pytest.approx(best.k * each[best.turns - 1])
    assert best.short_of_attempts == tuple(
        turn for turn in range(1, counts.turns + 1) if budget // each[turn - 1] > counts.attempts
    )
    low, high = best.chosen_between
    assert 1 <= low <= high <= counts.turns


def test_the_coverage_of_a_chosen_cell_is_too_large_and_what_is_held_out_is_not() -> None:
    """All turns are alike in truth, so that what chooses among them is noise."""
    tasks, n, turns, k = 12, 10, 20, 2
    truth = 1 - (2 / 2.5) * (3 / 3.5)  # of p ~ Beta(1/2, 2), E[1 - (1 - p)^2]
    rng = np.random.default_rng(3)
    seen, kept, held = [], [], 0
    for _ in range(200):
        p = rng.beta(0.5, 2, tasks)
        counts = counts_of(n, rng.binomial(n, np.broadcast_to(p[:, None], (tasks, turns))).tolist())
        (best,) = best_cells(counts, np.ones((tasks, turns)), [float(k)], replicates=200)
        seen.append(best.coverage)
        kept.append(best.held_out)
        held += best.low <= truth <= best.high
    error = np.std(kept) / np.sqrt(len(kept))
    assert np.mean(seen) > truth + 0.05
    assert abs(np.mean(kept) - truth) < 4 * error
    assert held / len(kept) >= 0.95


def test_one_task_has_a_best_cell_that_nobody_else_judges() -> None:
    (best,) = best_cells(counts_of(4, [[0, 3]]), [[1, 2]], [4.0])
    assert (best.k, best.turns) == (2, 2)
    assert isnan(best.held_out)
    assert isnan(best.low)


def test_a_comparison_at_one_k_is_the_paired_difference_of_two_arms() -> None:
    counts = counts_of(9, [[0, 3], [5, 6], [2, 2], [9, 8], [1, 5]])
    found = compare_cells(counts, (4, 2), (4, 1), seed=1)
    expected = paired_difference(9, counts.resolved[:, 1], 9, counts.resolved[:, 0], [4], seed=1)
    assert found.difference == pytest.approx(expected.difference[0])
    assert (found.low, found.high) == pytest.approx((expected.low[0], expected.high[0]), abs=0.02)  # other draws
    assert found.p_value == pytest.approx(expected.p_value[0], abs=0.02)
    other = compare_cells(counts, (2, 2), (7, 1))
    assert other.coverages == pytest.approx(
        (pass_at_k(9, counts.resolved[:, 1], 2).mean(), pass_at_k(9, counts.resolved[:, 0], 7).mean())
    )


# The value of a turn


@given(st.integers(0, 1000), st.integers(1, 60))
def test_the_value_of_a_turn_is_unbiased_and_its_interval_holds_whatever_the_truth(thousandths: int, n: int) -> None:
    """Exact: summed over every number of continuations that may be resolved."""
    p, c = thousandths / 1000, np.arange(n + 1)
    weights = binom.pmf(c, n, p)
    found = turn_value(np.full(n + 1, n), c)
    assert weights @ found.value == pytest.approx(p, abs=1e-9)
    # A bound that is p but for rounding holds it.
    assert weights @ ((found.low <= p + 1e-12) & (p - 1e-12 <= found.high)) >= 0.95 - 1e-9


@pytest.mark.parametrize("n", [20, 50, 200])
def test_wilson_s_interval_holds_the_truth_on_average_and_is_shorter_on_average(n: int) -> None:
    c = np.arange(n + 1)
    wilson, exact = (turn_value(np.full(n + 1, n), c, method=method) for method in ("wilson", "clopper-pearson"))
    assert (wilson.high - wilson.low).mean() < (exact.high - exact.low).mean()
    held = [
        binom.pmf(c, n, p) @ ((wilson.low <= p) & (p <= wilson.high)) for p in np.linspace(0.005, 0.995, 199).tolist()
    ]
    assert np.mean(held) == pytest.approx(0.95, abs=0.01)


def chain(moves: NDArray[np.float64], resolves: NDArray[np.float64], left: int) -> NDArray[np.float64]:
    """P(resolved | state) with so many turns left: the agent moves once a turn, and its last state decides."""
    return np.asarray(np.linalg.matrix_power(moves, left) @ resolves)


@pytest.mark.parametrize("method", ["clopper-pearson", "wilson"])
def test_in_a_simulation_of_an_agent_the_estimates_are_unbiased_and_the_intervals_and_the_band_hold(
    method: ValueMethod,
) -> None:
    """An agent that walks among states: lost, near, solved; what it solved it may break again."""
    moves = np.array([[0.8, 0.2, 0.0], [0.15, 0.65, 0.2], [0.05, 0.05, 0.9]])
    resolves = np.array([0.0, 0.0, 1.0])
    turns, n, repeats = 10, 50, 250
    rng = np.random.default_rng(8)
    errors, inside, all_inside = [], [], []
    for _ in range(repeats):
        state, states = 0, []
        for _ in range(turns):
            state = int(rng.choice(3, p=moves[state]))
            states.append(state)
        truth = np.array([chain(moves, resolves, turns - 1 - at)[one] for at, one in enumerate(states)])
        resolved = []
        for at, one in enumerate(states):  # n continuations, walked to the end
            now = np.full(n, one)
            for _ in range(turns - 1 - at):
                now = (rng.random(n)[:, None] > np.cumsum(moves[now], axis=1)).sum(axis=1)
            resolved.append(int((now == 2).sum()))
        found = turn_value(np.full(turns, n), resolved, method=method)
        errors.append(found.value - truth)
        inside.append((found.low <= truth) & (truth <= found.high))
        all_inside.append(((found.band_low <= truth) & (truth <= found.band_high)).all())
    spread = np.std(errors, axis=0) / np.sqrt(repeats) + 1e-12
    assert (np.abs(np.mean(errors, axis=0)) < 4 * spread).all()
    assert np.mean(inside) >= 0.94
    assert np.mean(all_inside) >= 0.93


@pytest.mark.parametrize(
    ("n", "c", "options", "said"),
    [
        ([0], [0], {}, "no continuation"),
        ([3], [4], {}, "more attempts resolved than made"),
        ([3], [1], {"level": 1.0}, "level"),
        ([3], [1], {"method": "exact"}, "unknown"),
        ([[3]], [[1]], {}, "one number per turn"),
    ],
)
def test_a_value_that_cannot_be_told_is_refused(n: Any, c: Any, options: Any, said: str) -> None:
    with pytest.raises(CoverageError, match=said):
        turn_value(n, c, **options)
