"""Who is attempted next, and what may be estimated from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monkeys.science.allocation import (
    Allocation,
    AllocationError,
    FewestSuccesses,
    StopOnSuccess,
    Uniform,
    VarianceOptimal,
    simulate,
    variance_optimal_shares,
)
from monkeys.science.coverage import pass_at_k, stopped_curve
from monkeys.science.scaling import fit_mixture

ALL: list[Allocation] = [Uniform(12), StopOnSuccess(12), FewestSuccesses(12, floor=3), VarianceOptimal(5, 3, 12)]


def pick(allocation: Allocation, attempts: list[int], resolved: list[int], seed: int = 0) -> int | None:
    return allocation.next(np.array(attempts), np.array(resolved), np.random.default_rng(seed))


def test_each_allocation_names_the_task_that_its_rule_says() -> None:
    assert pick(Uniform(9), [3, 2, 5], [3, 0, 0]) == 1
    assert pick(StopOnSuccess(9), [3, 2, 5], [1, 1, 0]) == 2
    assert pick(StopOnSuccess(9, successes=2), [3, 2, 5], [1, 1, 0]) == 1
    assert pick(FewestSuccesses(9), [3, 2, 5], [1, 0, 0]) == 1
    assert pick(FewestSuccesses(9), [8, 9, 5], [1, 0, 2]) == 0
    assert pick(FewestSuccesses(9, floor=4), [3, 8, 8], [3, 0, 0]) == 0
    assert pick(VarianceOptimal(1, 4, 99), [8, 8, 8], [0, 4, 8]) == 1
    assert pick(VarianceOptimal(1, 4, 99), [8, 8, 3], [0, 4, 0]) == 2


def test_ties_are_broken_at_random_by_the_generator_that_is_passed() -> None:
    for allocation in ALL:
        chosen = {pick(allocation, [0, 0, 0], [0, 0, 0], seed) for seed in range(40)}
        assert chosen == {0, 1, 2}
        assert pick(allocation, [0, 0, 0], [0, 0, 0], 7) == pick(allocation, [0, 0, 0], [0, 0, 0], 7)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(0, 120), st.integers(0, 3))
def test_no_task_gets_more_than_the_cap_and_no_attempt_is_lost(p: list[float], budget: int, which: int) -> None:
    allocation = ALL[which]
    attempts, resolved = simulate(allocation, p, budget, np.random.default_rng(budget))
    assert (attempts <= 12).all()
    assert (resolved <= attempts).all()
    if attempts.sum() < budget:
        assert allocation.next(attempts, resolved, np.random.default_rng(0)) is None
    else:
        assert attempts.sum() == budget


def test_uniform_is_a_round_at_a_time() -> None:
    attempts, _ = simulate(Uniform(50), [0.1, 0.9, 0.5], 17, np.random.default_rng(1))
    assert sorted(attempts.tolist()) == [5, 6, 6]


def test_attempts_under_way_keep_workers_from_crowding_onto_one_task() -> None:
    attempts, resolved = np.array([4, 4, 4]), np.array([0, 2, 2])
    rng = np.random.default_rng(2)
    named = []
    for _ in range(3):  # nothing has come back yet
        task = Uniform(9).next(attempts, resolved, rng)
        assert task is not None
        attempts[task] += 1
        named.append(task)
    assert sorted(named) == [0, 1, 2]


# What remains unbiased.


def test_coverage_of_tasks_stopped_on_success_is_unbiased_and_cheaper() -> None:
    p, cap, ks = np.array([0.0, 0.02, 0.1, 0.3, 0.8]), 10, [1, 3, 10]
    rng = np.random.default_rng(3)
    curves, spent = [], []
    for _ in range(600):
        n, c = simulate(StopOnSuccess(cap), p, 1_000, rng)
        curves.append(stopped_curve(n, c, ks, cap=cap).coverage)
        spent.append(n.sum())
    truth = [np.mean(1 - (1 - p) ** k) for k in ks]
    error = np.std(curves, axis=0) / np.sqrt(len(curves))
    assert (np.abs(np.mean(curves, axis=0) - truth) < 4 * error).all()
    assert np.mean(spent) < 0.8 * cap * p.size


@pytest.mark.parametrize("allocation", [FewestSuccesses(200, floor=5), VarianceOptimal(5, 5, 200)])
def test_the_first_attempts_of_every_task_stay_unbiased_under_any_allocation(allocation: Allocation) -> None:
    """The pilot comes first and is of fixed size: what is done after it cannot change it. The whole is biased."""
    rng = np.random.default_rng(4)
    p = np.array([0.02, 0.1, 0.3, 0.5])
    pilots, wholes = [], []
    for _ in range(600):
        first, good = simulate(allocation, p, 20, rng)
        assert (first == 5).all()
        attempts, resolved = first.copy(), good.copy()
        for _ in range(30):
            task = allocation.next(attempts, resolved, rng)
            assert task is not None
            attempts[task] += 1
            resolved[task] += rng.random() < p[task]
        pilots.append(pass_at_k(first, good, 3).mean())
        wholes.append(pass_at_k(attempts, resolved, 3).mean())
    truth = np.mean(1 - (1 - p) ** 3)
    assert abs(np.mean(pilots) - truth) < 4 * np.std(pilots) / np.sqrt(len(pilots))
    assert np.std(wholes) < np.std(pilots)


def test_fewest_successes_first_finds_the_distribution_of_pass_at_1() -> None:
    rng = np.random.default_rng(5)
    n, c = simulate(FewestSuccesses(500), rng.beta(0.5, 5, 300), 12_000, rng)
    assert n.max() > 5 * np.median(n)
    fit = fit_mixture(n, c)
    assert fit.alpha == pytest.approx(0.5, rel=0.35)


def test_the_variance_optimal_shares_are_those_of_least_variance() -> None:
    p, k = np.array([0.01, 0.05, 0.2, 0.6]), 4
    shares = variance_optimal_shares(p, k)
    assert shares.sum() == pytest.approx(1)

    def variance(shares: Any) -> float:  # of coverage at k, by the delta method, per attempt of the budget
        return float(((k * (1 - p) ** (k - 1)) ** 2 * p * (1 - p) / shares).sum())

    rng = np.random.default_rng(6)
    for _ in range(200):
        other = shares * np.exp(rng.normal(0, 0.1, 4))
        assert variance(shares) <= variance(other / other.sum()) + 1e-12
    np.testing.assert_allclose(shares / shares[0], np.sqrt(p * (1 - p) ** 7) / np.sqrt(p[0] * (1 - p[0]) ** 7))
    assert variance_optimal_shares([0.5, 0.0, 1.0], 3).tolist() == [1, 0, 0]
    assert np.isfinite(variance_optimal_shares([0.001, 0.9], 100_000)).all()


def test_with_known_p_the_allocation_comes_to_its_shares() -> None:
    p = np.array([0.02, 0.1, 0.3, 0.5])
    attempts, _ = simulate(VarianceOptimal(2, 50, 100_000), p, 4_000, np.random.default_rng(7))
    np.testing.assert_allclose(attempts / attempts.sum(), variance_optimal_shares(p, 2), rtol=0.25)


# What is refused.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(0), "cap = 0"),
        (lambda: StopOnSuccess(5, successes=0), "successes = 0"),
        (lambda: FewestSuccesses(5, floor=6), "floor = 6 is more than cap = 5"),
        (lambda: VarianceOptimal(0, 1, 5), "k = 0"),
        (lambda: VarianceOptimal(1, 6, 5), "pilot = 6 is more than cap = 5"),
        (lambda: variance_optimal_shares([0.0, 1.0], 3), "spend the budget uniformly"),
        (lambda: variance_optimal_shares([0.5, 1.5], 3), "no probabilities"),
        (lambda: variance_optimal_shares([], 3), "no probabilities"),
        (lambda: variance_optimal_shares([0.5], 0), "k = 0"),
        (lambda: pick(Uniform(5), [1, 2], [1]), "one of each per task"),
        (lambda: pick(Uniform(5), [], []), "whole numbers"),
        (lambda: pick(Uniform(5), [1, 2], [0, 3]), "task 1 has 3 of 2 attempts resolved"),
        (lambda: Uniform(5).next(np.array([1.5]), np.array([1.0]), np.random.default_rng(0)), "integer arrays"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(make: Any, message: str) -> None:
    with pytest.raises(AllocationError, match=message):
        make()
