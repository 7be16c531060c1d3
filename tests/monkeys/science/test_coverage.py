"""Coverage and reliability: against exact rational arithmetic, published figures, and data that must be refused."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, comb, isnan
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import betaln  # type: ignore[import-untyped]
from scipy.stats import binomtest  # type: ignore[import-untyped]

from monkeys.science.coverage import (
    CoverageError,
    coverage_curve,
    default_ks,
    g_pass_at_k,
    paired_difference,
    pass_at_every_k,
    pass_at_k,
    pass_hat_k,
    task_interval,
)
from monkeys.science.scaling import fit_mixture
from tests.published import published_counts

# GPT-4o on tau-bench's airline tasks: successes in 4 trials of each of 50 tasks (arXiv 2406.12045).
TAU_BENCH_AIRLINE = [
    *(0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 1, 4, 2, 0, 2, 1, 1, 4, 0, 4, 3, 0, 0, 4),
    *(0, 2, 2, 0, 1, 2, 2, 0, 0, 3, 4, 4, 3, 4, 1, 3, 2, 4, 1, 2, 2, 2, 1, 4, 4),
]


def exact_pass_at_k(n: int, c: int, k: int) -> Fraction:
    return 1 - exact_pass_hat_k(n, n - c, k)


def exact_pass_hat_k(n: int, c: int, k: int) -> Fraction:
    return Fraction(comb(c, k), comb(n, k))


def exact_pass_at_k_of_few(n: int, few: int, other: int) -> Fraction:
    """pass@k by a product of as many factors as the smaller of c and k, which pass@k does not tell apart."""
    misses = total = 1
    for i in range(few):
        misses *= max(0, n - other - i)
        total *= n - i
    return 1 - Fraction(misses, total)


def relative_error(estimate: float, exact: Fraction) -> float:
    return float(abs(Fraction(estimate) - exact) / exact) if exact else abs(estimate)


@st.composite
def counts_and_draws(draw: st.DrawFn, largest: int) -> tuple[int, int, int]:
    n = draw(st.integers(1, largest))
    return n, draw(st.integers(0, n)), draw(st.integers(1, n))


@given(counts_and_draws(400))
def test_pass_at_k_agrees_with_exact_rational_arithmetic(drawn: tuple[int, int, int]) -> None:
    assert relative_error(pass_at_k(*drawn), exact_pass_at_k(*drawn)) < 2e-15


@given(counts_and_draws(400))
def test_pass_hat_k_agrees_with_exact_rational_arithmetic(drawn: tuple[int, int, int]) -> None:
    assert relative_error(pass_hat_k(*drawn), exact_pass_hat_k(*drawn)) < 1e-12


@given(st.integers(2_000, 1_000_000), st.integers(1, 60), st.data())
def test_pass_at_k_is_exact_for_up_to_a_million_attempts(n: int, few: int, data: st.DataObject) -> None:
    other = data.draw(st.integers(1, n))
    exact = exact_pass_at_k_of_few(n, few, other)
    assert relative_error(pass_at_k(n, few, other), exact) < 2e-15
    assert relative_error(pass_at_k(n, other, few), exact) < 2e-15


def test_every_table_of_up_to_16_attempts_is_right() -> None:
    for n in range(1, 17):
        c, k = np.arange(n + 1), np.arange(1, n + 1)
        exact = [[float(exact_pass_at_k(n, i, j)) for i in c.tolist()] for j in k.tolist()]
        exact_hat = [[float(exact_pass_hat_k(n, i, j)) for i in c.tolist()] for j in k.tolist()]
        np.testing.assert_allclose(pass_at_k(n, c, k[:, None]), exact, rtol=2e-15, atol=0)
        np.testing.assert_allclose(pass_hat_k(n, c, k[:, None]), exact_hat, rtol=1e-14, atol=0)


@given(st.integers(1, 1_000_000), st.data())
def test_one_draw_succeeds_as_often_as_attempts_did(n: int, data: st.DataObject) -> None:
    c = data.draw(st.integers(0, n))
    assert pass_at_k(n, c, 1) == pass_hat_k(n, c, 1) == c / n


@given(counts_and_draws(1_000_000))
def test_estimates_are_probabilities_and_all_is_never_likelier_than_any(drawn: tuple[int, int, int]) -> None:
    assert 0 <= pass_hat_k(*drawn) <= pass_at_k(*drawn) <= 1


@given(st.integers(2, 3_000), st.data())
def test_coverage_rises_and_reliability_falls_with_k(n: int, data: st.DataObject) -> None:
    c = data.draw(st.integers(0, n))
    ks = np.arange(1, n + 1)
    assert (np.diff(pass_at_k(n, c, ks)) >= -1e-15).all()
    assert (np.diff(pass_hat_k(n, c, ks)) <= 1e-15).all()


@given(st.integers(1, 3_000), st.data())
def test_both_rise_with_the_number_of_resolved_attempts(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, n))
    cs = np.arange(n + 1)
    assert (np.diff(pass_at_k(n, cs, k)) >= -1e-15).all()
    assert (np.diff(pass_hat_k(n, cs, k)) >= -1e-15).all()


def test_more_draws_than_failures_succeed_for_certain_and_no_success_never() -> None:
    assert pass_at_k(10, 4, 7) == 1
    assert pass_at_k(10, 10, 1) == 1
    assert pass_at_k(10, 0, 10) == 0
    assert pass_hat_k(10, 4, 5) == 0
    assert pass_hat_k(10, 10, 10) == 1


def test_pass_at_k_is_unbiased() -> None:
    """Its expectation over every possible number of successes is 1 - (1 - p)^k."""
    n, p = 12, 0.3
    c = np.arange(n + 1)
    chance = np.array([comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(n + 1)])
    for k in range(1, n + 1):
        assert chance @ pass_at_k(n, c, k) == pytest.approx(1 - (1 - p) ** k, rel=1e-13)
        assert chance @ pass_hat_k(n, c, k) == pytest.approx(p**k, rel=1e-12)


def test_arrays_broadcast_and_scalars_give_floats() -> None:
    n, c, ks = np.array([10, 20, 30]), np.array([0, 5, 30]), np.array([1, 10])
    table = pass_at_k(n, c, ks[:, None])
    assert table.shape == (2, 3)
    assert table.dtype == np.float64
    assert table[1, 1] == pass_at_k(20, 5, 10)
    assert type(pass_at_k(10, 3, 1)) is float
    assert type(pass_hat_k(10, 3, 1)) is float
    assert pass_at_k([10.0], [3.0], 1) == pytest.approx([0.3])
    assert pass_at_k(np.array([10], dtype=np.uint8), np.array([9], dtype=np.int32), 2) == pytest.approx([1.0])


@given(counts_and_draws(60), st.fractions(0, 1))
def test_g_pass_at_k_agrees_with_exact_rational_arithmetic(drawn: tuple[int, int, int], tau: Fraction) -> None:
    n, c, k = drawn
    assume(tau > 0)
    least = max(1, ceil(float(tau) * k * (1 - 1e-12)))
    exact = sum((Fraction(comb(c, j) * comb(n - c, k - j), comb(n, k)) for j in range(least, k + 1)), Fraction(0))
    assert relative_error(g_pass_at_k(n, c, k, float(tau)), exact) < 1e-12


@given(counts_and_draws(2_000))
def test_g_pass_at_k_lies_between_any_and_all(drawn: tuple[int, int, int]) -> None:
    n, c, k = drawn
    assert g_pass_at_k(n, c, k, 1e-9) == pytest.approx(pass_at_k(n, c, k), rel=1e-11)
    assert g_pass_at_k(n, c, k, 1) == pytest.approx(pass_hat_k(n, c, k), rel=1e-9, abs=1e-300)
    shares = g_pass_at_k(n, c, k, np.linspace(0.05, 1, 8))
    assert (np.diff(shares) <= 1e-12).all()


def test_g_pass_at_k_takes_the_share_of_attempts_that_rounding_hides_for_whole() -> None:
    assert g_pass_at_k(20, 10, 10, 0.3) == g_pass_at_k(20, 10, 10, 0.29)  # .3 * 10 is 3, though not in binary
    assert g_pass_at_k(1_000_000, 500_000, 1_000, 0.5) == pytest.approx(0.5126, abs=1e-4)
    assert g_pass_at_k([10, 20], [3, 5], [[2], [4]], 0.5).shape == (2, 2)
    for tau in (0, -0.5, 1.5, float("nan"), "half"):
        with pytest.raises(CoverageError, match="tau"):
            g_pass_at_k(10, 3, 2, tau)
    with pytest.raises(CoverageError, match="k = 11 is more than the attempts"):
        g_pass_at_k(10, 3, 11, 0.5)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), min_size=1, max_size=8))
def test_coverage_at_every_k_is_exact(drawn: list[tuple[int, int]]) -> None:
    n, c = [n for n, _ in drawn], [min(n, c) for n, c in drawn]
    curve = pass_at_every_k(n, c)
    assert curve.shape == (min(n),)
    for k, share in enumerate(curve.tolist(), start=1):
        exact = sum((exact_pass_at_k(a, b, k) for a, b in zip(n, c, strict=True)), Fraction(0)) / len(n)
        assert relative_error(share, exact) < 1e-13


def test_coverage_at_every_k_agrees_with_pass_at_k_for_many_attempts() -> None:
    rng = np.random.default_rng(5)
    c = np.minimum(rng.geometric(0.002, 30) - 1, 100_000)
    ks = np.unique(np.geomspace(1, 100_000, 50).astype(int))
    np.testing.assert_allclose(
        pass_at_every_k(100_000, c)[ks - 1], pass_at_k(100_000, c, ks[:, None]).mean(axis=1), rtol=1e-11
    )


@given(st.integers(1, 50), st.integers(1, 400), st.data())
def test_a_tasks_own_interval_is_that_of_its_p_and_grows_with_k(n: int, k: int, data: st.DataObject) -> None:
    c = data.draw(st.integers(0, n))
    exact = binomtest(c, n).proportion_ci(0.95, method="exact")
    low, high = task_interval(n, c, [1, k, k + 1])
    assert (low[0], high[0]) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert low[0] <= low[1] <= low[2] <= high[2] <= 1
    both = task_interval(n, c, [1, k], all_of=True)
    assert (both[0][0], both[1][0]) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert both[1][1] <= both[1][0]


def test_a_tasks_own_interval_holds_its_pass_at_k_at_least_as_often_as_it_says() -> None:
    n, c = 20, np.arange(21)
    low, high = task_interval(n, c, 5, level=0.9)
    for p in np.linspace(0.01, 0.99, 25):
        chance = np.array([comb(n, i) * p**i * (1 - p) ** (n - i) for i in c.tolist()])
        truth = 1 - (1 - p) ** 5
        assert chance[(low <= truth) & (truth <= high)].sum() >= 0.9
    with pytest.raises(CoverageError, match="no attempt on task 1"):
        task_interval([3, 0], [1, 0], 1)
    with pytest.raises(CoverageError, match="between 0 and 1"):
        task_interval(3, 1, 1, level=2)


def test_tau_bench_airline_is_reproduced() -> None:
    hat = [pass_hat_k(4, TAU_BENCH_AIRLINE, k).mean() for k in (1, 2, 3, 4)]
    at = [pass_at_k(4, TAU_BENCH_AIRLINE, k).mean() for k in (1, 2, 3, 4)]
    assert [f"{share:.3f}" for share in hat] == ["0.420", "0.273", "0.220", "0.200"]
    assert [f"{share:.3f}" for share in at] == ["0.420", "0.567", "0.660", "0.720"]


@pytest.mark.parametrize(
    ("row", "printed"),
    [
        ("CodeContests/Gemma 2B", ["0.020", "0.189", "1.270", "3.621", "7.143"]),
        ("CodeContests/Llama 3 8B Instruct", ["2.120", "4.646", "9.587", "16.476", "23.571"]),
        ("MATH/Pythia 160M", ["0.267", "2.509", "16.191", "41.016", "57.031"]),
        ("MATH/Pythia 1B", ["0.833", "6.646", "27.452", "54.619", "74.219"]),
        ("MATH/Pythia 12B", ["2.319", "15.682", "48.343", "72.325", "87.500"]),
    ],
)
def test_published_coverage_is_reproduced(row: str, printed: list[str]) -> None:
    counts = published_counts()[row]
    curve = coverage_curve(counts["n"], counts["correct"], [1, 10, 100, 1_000, 10_000])
    assert [f"{100 * share:.3f}" for share in curve.coverage] == printed


def test_the_plug_in_estimate_is_biased_low_where_pass_at_k_is_not() -> None:
    counts = published_counts()["MATH/Pythia 160M"]
    n, c = counts["n"], np.array(counts["correct"])
    assert f"{(1 - (1 - c / n) ** n).mean():.3f}" == "0.544"
    assert f"{pass_at_k(n, c, n).mean():.3f}" == "0.570"


def test_intervals_on_published_counts_are_as_wide_as_sampled_tasks_make_them() -> None:
    counts = published_counts()["CodeContests/Llama 3 8B Instruct"]
    n, c = counts["n"], np.array(counts["correct"])
    ks = [1, 100, 10_000]
    normal = 2 * 1.96 * pass_at_k(n, c, np.array(ks)[:, None]).std(axis=1) / np.sqrt(c.size)
    for method, widest in (("percentile", 1.06), ("bca", 1.25), ("korn-graubard", 1.2), ("gaffke", 1.6)):
        curve = coverage_curve(n, c, ks, method=method)  # type: ignore[arg-type]
        ratio = np.subtract(curve.high, curve.low) / normal
        assert 0.95 < ratio.min() <= ratio.max() < widest, (method, ratio)


# The curve.


def test_a_curve_averages_over_tasks_each_by_its_own_n() -> None:
    curve = coverage_curve([4, 10, 7], [0, 1, 7], [1, 3])
    assert curve.ks == (1, 3)
    assert curve.coverage == pytest.approx([(0 + 1 / 10 + 1) / 3, (0 + 3 / 10 + 1) / 3])
    assert curve.tasks == 3
    assert curve.attempts == 4


@pytest.mark.parametrize(
    ("attempts", "ks"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (4, (1, 2, 4)),
        (5, (1, 2, 5)),
        (250, (1, 2, 5, 10, 25, 50, 100, 250)),
        (251, (1, 2, 5, 10, 25, 50, 100, 250, 251)),
        (10_000, (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)),
    ],
)
def test_default_ks_end_with_the_smallest_number_of_attempts(attempts: int, ks: tuple[int, ...]) -> None:
    assert default_ks(attempts) == ks
    assert coverage_curve([attempts, attempts + 3], [0, 1], replicates=100).ks == ks


@pytest.mark.parametrize("bootstrap", ["tasks", "two-level"])
def test_the_interval_holds_the_estimate_and_narrows_with_the_level(bootstrap: Any) -> None:
    rng = np.random.default_rng(1)
    c = rng.binomial(100, rng.beta(0.3, 3, 60))
    wide = coverage_curve(100, c, bootstrap=bootstrap, level=0.99, replicates=2_000)
    narrow = coverage_curve(100, c, bootstrap=bootstrap, level=0.5, replicates=2_000)
    assert wide.reason == narrow.reason == ""
    for low, inner_low, share, inner_high, high in zip(
        wide.low, narrow.low, wide.coverage, narrow.high, wide.high, strict=True
    ):
        assert 0 <= low < inner_low < share < inner_high < high <= 1


@pytest.mark.parametrize("method", ["korn-graubard", "gaffke", "bca", "percentile"])
def test_with_many_tasks_every_interval_has_the_spread_of_a_mean_over_tasks(method: Any) -> None:
    rng = np.random.default_rng(2)
    c = rng.binomial(50, rng.beta(0.5, 2, 400))
    curve = coverage_curve(50, c, [1, 10], method=method)
    error = pass_at_k(50, c, np.array([[1], [10]])).std(axis=1) / np.sqrt(c.size)
    assert np.subtract(curve.high, curve.low) == pytest.approx(2 * 1.96 * error, rel=0.06)


def test_the_two_level_bootstrap_adds_the_noise_of_the_attempts() -> None:
    c = np.full(50, 5)  # tasks all alike: what spread there is comes from the attempts
    curve = coverage_curve(10, c, [1], bootstrap="two-level")
    assert curve.coverage[0] == 0.5
    assert curve.high[0] - curve.low[0] == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 500), rel=0.05)


def test_the_two_level_bootstrap_is_centred_on_the_unbiased_estimate() -> None:
    curve = coverage_curve(100, [1] * 100 + [0] * 100, [100], bootstrap="two-level")
    assert curve.coverage[0] == 0.5
    assert curve.low[0] + curve.high[0] == pytest.approx(1.0, abs=0.02)


def test_intervals_over_tasks_hold_the_truth_about_as_often_as_they_say() -> None:
    """pass@1 ~ Beta(1, 3), so that coverage at k is 1 - 3 / (3 + k).

    Over 5,000 runs the nominal 95 % held .941, .942 and .927; the bounds are four standard errors of 1,000 runs away.
    """
    rng = np.random.default_rng(3)
    runs, ks = 1_000, [1, 5, 20]
    truth = np.array([1 - 3 / (3 + k) for k in ks])
    held = np.zeros(3)
    for seed in range(runs):
        c = rng.binomial(20, rng.beta(1, 3, 100))
        curve = coverage_curve(20, c, ks, replicates=400, seed=seed, method="percentile")
        held += (np.array(curve.low) <= truth) & (truth <= np.array(curve.high))
    assert (np.abs(held / runs - [0.941, 0.942, 0.927]) < [0.030, 0.030, 0.033]).all(), held / runs


def test_the_same_arguments_give_the_same_curve_in_any_order_of_tasks() -> None:
    c = np.arange(40)
    curve = coverage_curve(40, c)
    assert coverage_curve(40, c) == curve
    for method in ("korn-graubard", "gaffke", "bca", "percentile"):
        options: dict[str, Any] = {"method": method, "replicates": 400}
        curve, shuffled = coverage_curve(40, c, **options), coverage_curve(40, c[::-1], **options)
        assert (shuffled.low, shuffled.high) == (curve.low, curve.high)
        if method != "korn-graubard":
            assert coverage_curve(40, c, seed=1, **options).low != curve.low


@pytest.mark.parametrize("bootstrap", ["tasks", "two-level"])
def test_an_interval_does_not_depend_on_which_other_k_are_asked_for(bootstrap: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(
        "monkeys.science.coverage.intervals._CELLS", 1_000
    )  # so small that ks and replicates are done in several parts
    c, ks = np.arange(25), list(range(1, 26))
    together = coverage_curve(25, c, ks, bootstrap=bootstrap, replicates=200)
    alone = [coverage_curve(25, c, k, bootstrap=bootstrap, replicates=200) for k in ks]
    np.testing.assert_allclose([curve.low[0] for curve in alone], together.low, rtol=1e-12)
    np.testing.assert_allclose([curve.high[0] for curve in alone], together.high, rtol=1e-12)


@pytest.mark.parametrize("bootstrap", ["tasks", "two-level"])
def test_one_task_has_a_curve_but_no_interval_by_resampling(bootstrap: Any) -> None:
    curve = coverage_curve(10, 3, bootstrap=bootstrap, method="percentile")
    assert curve.coverage[0] == 0.3
    assert all(isnan(bound) for bound in curve.low + curve.high)
    assert "one task" in curve.reason


@pytest.mark.parametrize(("c", "share"), [([0] * 12, 0.0), ([10] * 12, 1.0)])
@pytest.mark.parametrize("bootstrap", ["tasks", "two-level"])
def test_all_or_nothing_solved_gives_no_interval_of_width_zero(bootstrap: Any, c: list[int], share: float) -> None:
    curve = coverage_curve(10, c, [1, 10], bootstrap=bootstrap, method="percentile")
    assert curve.coverage == (share, share)
    assert all(isnan(bound) for bound in curve.low + curve.high)
    assert "k = 1, 10" in curve.reason
    assert "all 12 tasks are alike" in curve.reason


@pytest.mark.parametrize("method", ["korn-graubard", "gaffke"])
def test_without_resampling_few_or_agreeing_tasks_have_a_wide_interval_instead_of_none(method: Any) -> None:
    alone = coverage_curve(10, 3, method=method)
    assert alone.low[0] < 0.05
    assert alone.high[0] > 0.95
    nothing = coverage_curve(10, [0] * 12, [1, 10], method=method)
    assert nothing.low == (0, 0)
    assert nothing.high == pytest.approx([1 - 0.025 ** (1 / 12)] * 2, rel=0.03)  # the rule of three, two-sided
    everything = coverage_curve(10, [10] * 12, [1, 10], method=method)
    assert everything.high == (1, 1)
    assert everything.low == pytest.approx([0.025 ** (1 / 12)] * 2, rel=0.01)
    agreeing = coverage_curve(10, [5] * 12, [1], method=method)
    assert agreeing.high[0] - agreeing.low[0] > 0.2
    assert nothing.reason == everything.reason == agreeing.reason == alone.reason == ""


def test_where_every_value_is_yes_or_no_the_interval_is_the_exact_binomial_one() -> None:
    c = [0] * 87 + [1, 5, 9] * 10 + [10] * 23
    curve = coverage_curve(10, c, [10], method="korn-graubard")
    exact = binomtest(53, 140).proportion_ci(0.95, method="exact")
    assert (curve.low[0], curve.high[0]) == pytest.approx((exact.low, exact.high), rel=1e-9)
    gaffke = coverage_curve(10, c, [10], replicates=100_000)
    assert (gaffke.low[0], gaffke.high[0]) == pytest.approx((exact.low, exact.high), abs=0.002)


@pytest.mark.parametrize(("tasks", "low"), [(5, (0.95, 0.95)), (12, (0.95, 0.91)), (30, (0.95, 0.91))])
def test_the_default_interval_holds_the_truth_with_few_tasks(tasks: int, low: tuple[float, float]) -> None:
    """pass@1 ~ Beta(.3, 6), which is hard: over 1,000 runs docs/coverage.md has what every method held."""
    rng = np.random.default_rng(6)
    runs, ks = 400, [1, 50]
    truth = np.array([0.3 / 6.3, 1 - np.exp(betaln(0.3, 56) - betaln(0.3, 6))])
    held = np.zeros(2)
    for _ in range(runs):
        curve = coverage_curve(50, rng.binomial(50, rng.beta(0.3, 6, tasks)), ks, replicates=400)
        held += (np.array(curve.low) <= truth) & (truth <= np.array(curve.high))
    assert (held / runs >= low).all(), held / runs


def test_a_curve_of_reliability_is_the_mean_of_pass_hat_k() -> None:
    curve = coverage_curve(4, TAU_BENCH_AIRLINE, [1, 2, 3, 4], estimate="pass^k")
    assert [f"{share:.3f}" for share in curve.coverage] == ["0.420", "0.273", "0.220", "0.200"]
    assert all(low < share < high for low, share, high in zip(curve.low, curve.coverage, curve.high, strict=True))
    assert curve.estimate == "pass^k"


def test_an_interval_is_missing_only_where_the_tasks_agree() -> None:
    curve = coverage_curve(10, [2, 5, 7, 9], [1, 10], method="percentile")
    assert curve.low[0] < curve.coverage[0] < curve.high[0]
    assert isnan(curve.low[1])
    assert curve.reason.startswith("no interval at k = 10:")


def test_a_curve_says_in_words_what_its_interval_is() -> None:
    such = "95 % interval over 2 tasks, as a sample of such tasks: "
    assert coverage_curve(10, [1, 2]).interval == f"{such}Gaffke bootstrap, 10,000 replicates, seed 0"
    assert coverage_curve(10, [1, 2], method="korn-graubard").interval == f"{such}Korn-Graubard"
    words = coverage_curve(10, [1, 2], replicates=400, seed=7, method="percentile").interval
    assert words == f"{such}percentile bootstrap, 400 replicates, seed 7"
    assert coverage_curve(10, [1, 2], method="bca").interval.startswith(f"{such}BCa bootstrap")
    two = coverage_curve(10, [1, 2], replicates=400, bootstrap="two-level").interval
    assert "over 2 tasks, and their attempts, all run again" in two


# What is refused.


@pytest.mark.parametrize("estimate", [pass_at_k, pass_hat_k, coverage_curve])
@pytest.mark.parametrize(
    ("n", "c", "k", "message"),
    [
        (10, 3, 0, r"k = 0: .* ask for k >= 1"),
        (10, 3, -1, r"k\[?.*-1: counts start at 0"),
        (10, 3, 11, r"k = 11 is more than the attempts on task 0 \(n = 10 at the least\).*ask for k <= 10"),
        (0, 0, 1, r"k = 1 is more than the attempts on task 0 \(n = 0"),
        ([9, 10, 9], [0, 1, 2], 10, r"on tasks 0, 2 .*ask for k <= 9, or sample these tasks further"),
        ([10, 10], [3, 11], 1, r"more attempts resolved than made on task 1 \(c = 11, n = 10 .*swapped"),
        (10, -3, 1, r"c is -3: counts start at 0"),
        ([10, -1], 0, 1, r"n\[1\] is -1: counts start at 0"),
        (10, [1, float("nan")], 1, r"c\[1\] is nan: a missing count is not zero"),
        (10, [1, float("inf")], 1, r"c\[1\] is inf"),
        (10, 0.5, 1, r"c is 0.5: .*not shares"),
        (10, 3, 1.5, r"k is 1.5: counts are whole numbers"),
        ([], [], 1, r"n is empty: .*pass at least one count"),
        (10, [], 1, r"c is empty"),
        (10, [3], [], r"k is empty"),
        ([10, 10], [1, 2, 3], 1, r"n has shape \(2,\) and c has shape \(3,\)"),
        (10, [True, False], 1, r"c holds booleans, .*sum the outcomes"),
        (10, ["3"], 1, r"c holds str.* values, not numbers"),
        (10, [None, 3], 1, r"c holds object values, not numbers"),
        (10, [[1, 2], [3]], 1, r"c is ragged"),
    ],
)
def test_what_the_counts_cannot_carry_is_refused(estimate: Any, n: Any, c: Any, k: Any, message: str) -> None:
    with pytest.raises(CoverageError, match=message):
        estimate(n, c, k)


@pytest.mark.parametrize("estimate", [pass_at_k, pass_hat_k, coverage_curve])
def test_a_refusal_names_the_tasks(estimate: Any) -> None:
    names = ["django-1", "sympy-2", "flask-3"]
    with pytest.raises(CoverageError, match=r"on django-1, flask-3 \(n = 4"):
        estimate([4, 10, 5], [0, 1, 2], 10, names=names)
    with pytest.raises(CoverageError, match=r"than made on sympy-2 \("):
        estimate([4, 10, 5], [0, 11, 2], 1, names=names)
    with pytest.raises(CoverageError, match="2 names for 3 tasks"):
        estimate([4, 10, 5], [0, 1, 2], 1, names=names[:2])
    with pytest.raises(CoverageError, match=r"on tasks 0, 1, 2, 3, 4 and 95 more"):
        estimate([4] * 100, [0] * 100, 5)


def test_a_task_without_attempts_has_no_default_curve() -> None:
    with pytest.raises(CoverageError, match=r"on b \(n = 0"):
        coverage_curve([10, 0], [1, 0], names=["a", "b"])
    with pytest.raises(CoverageError, match="at least one attempt"):
        default_ks(0)


def test_shapes_that_do_not_fit_are_refused_with_the_remedy() -> None:
    with pytest.raises(CoverageError, match=r"pass k\[:, None\]"):
        pass_at_k([10, 10], [1, 2], [1, 2, 3])
    with pytest.raises(CoverageError, match="sum the outcomes over attempts"):
        coverage_curve(1, [[0, 1], [1, 1]])
    with pytest.raises(CoverageError, match="one-dimensional list of k"):
        coverage_curve(10, [1, 2], [[1, 2]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": 0}, "between 0 and 1"),
        ({"level": 95}, "between 0 and 1"),
        ({"level": float("nan")}, "between 0 and 1"),
        ({"replicates": 0}, "0 replicates have no tails"),
        ({"replicates": 39}, "ask for at least 40"),
        ({"seed": -1}, "seed = -1"),
        ({"bootstrap": "attempts"}, 'choose "tasks" or "two-level"'),
        ({"method": "wald"}, "choose one of gaffke, korn-graubard, bca, percentile"),
        ({"bootstrap": "two-level", "method": "bca"}, "leave the others out"),
        ({"estimate": "pass"}, r'choose "pass@k", "pass\^k" or "g-pass@k"'),
        ({"sampling": "stopped"}, "use `stopped_curve` or `pass_at_k_stopped`"),
        ({"sampling": "adaptive"}, "first m attempts of every task .* `monkeys.science.scaling.fit_mixture`"),
        ({"sampling": "dependent"}, "count each independent trajectory as one attempt"),
        ({"sampling": "random"}, 'choose one of "independent", "stopped", "adaptive", "dependent"'),
    ],
)
def test_an_interval_that_cannot_be_had_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(CoverageError, match=message):
        coverage_curve(10, [1, 2], **arguments)


def test_a_table_of_a_million_attempts_and_a_million_tasks_is_done_at_once() -> None:
    rng = np.random.default_rng(4)
    curve = coverage_curve(10, rng.binomial(10, 0.3, 1_000_000), [1, 10], replicates=400)
    assert curve.coverage[0] == pytest.approx(0.3, abs=0.002)
    assert 0 < curve.high[0] - curve.low[0] < 0.002
    gap = paired_difference(10, rng.binomial(10, 0.3, 1_000_000), 10, rng.binomial(10, 0.2, 1_000_000), [1])
    assert gap.difference[0] == pytest.approx(0.1, abs=0.002)
    fit = fit_mixture(10, rng.binomial(10, rng.beta(0.5, 2, 1_000_000)))
    assert (fit.alpha, fit.beta) == pytest.approx((0.5, 2), rel=0.02)
    table = pass_at_k(1_000_000, rng.integers(0, 1_000_001, 200), np.arange(1, 1_000_001, 5_000)[:, None])
    assert np.isfinite(table).all()


def test_nothing_solved_is_zero_without_a_sign() -> None:
    shares = pass_at_k([250, 250], [40, 0], 10)
    assert not np.signbit(shares).any()


def test_a_curve_of_g_pass_at_k_is_its_mean_over_tasks() -> None:
    c = [0, 3, 10, 7]
    curve = coverage_curve(10, c, [1, 4, 10], estimate="g-pass@k", tau=0.5)
    assert curve.coverage == pytest.approx([g_pass_at_k(10, c, k, 0.5).mean() for k in (1, 4, 10)])
    assert (
        coverage_curve(10, c, [4], estimate="g-pass@k", tau=1).coverage
        == coverage_curve(10, c, [4], estimate="pass^k").coverage
    )
