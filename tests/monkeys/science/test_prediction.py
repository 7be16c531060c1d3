"""More attempts than were made: predictions that hold or say that they do not know; families; laws compared."""

from __future__ import annotations

from math import isnan
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monkeys.formats.counts import Reading, read_counts
from monkeys.science.coverage import CoverageError, pass_at_k
from monkeys.science.scaling import (
    FitError,
    align_family,
    compare_laws,
    fit_coverage,
    fit_log_linear,
    fit_log_log,
    fit_mixture,
    fit_power_law,
    law_interval,
    log_spaced_ks,
    predict_coverage,
)
from tests.published import published_attempts, published_counts

# Predictions.


@pytest.mark.parametrize(
    ("row", "known"),
    [
        ("CodeContests/Gemma 2B", False),
        ("CodeContests/Llama 3 8B Instruct", True),
        ("MATH/Pythia 160M", False),
        ("MATH/Pythia 12B", True),
    ],
)
def test_from_100_attempts_the_interval_holds_coverage_at_10_000_or_says_that_it_is_unknown(
    row: str, known: bool
) -> None:
    """Five of the 500 subsets behind docs/scaling.md."""
    counts = published_counts()[row]
    n, correct = counts["n"], np.array(counts["correct"])
    truth = pass_at_k(n, correct, n).mean()
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(5):
        prediction = predict_coverage(100, rng.hypergeometric(correct, n - correct, 100), n)
        held += prediction.low <= truth <= prediction.high
        assert prediction.known == known
        assert (prediction.coverage is None) == (not known)
        if prediction.coverage is not None:
            assert abs(prediction.coverage - truth) < 0.15
    assert held >= 4


PUBLISHED = {  # beta, log-log: coverage at 10,000 from the first 100 attempts (arXiv 2510.05197)
    "CodeContests/Gemma 2B": (0.882, 0.160),
    "MATH/Pythia 160M": (0.727, 0.614),
    "MATH/Pythia 1B": (0.746, 0.740),
    "MATH/Pythia 12B": (0.811, 0.837),
}


@pytest.mark.parametrize("row", PUBLISHED)
def test_published_predictions_from_the_first_100_attempts_are_among_those_of_random_subsets(row: str) -> None:
    beta, log_log = PUBLISHED[row]
    counts = published_counts()[row]
    n, correct = counts["n"], np.array(counts["correct"])
    rng = np.random.default_rng(0)
    subsets = [drawn for _ in range(25) if (drawn := rng.hypergeometric(correct, n - correct, 100)).any()]
    for printed, fit in ((beta, fit_mixture), (log_log, fit_log_log)):
        found = [float(fit(100, drawn).predict(n)) for drawn in subsets]
        assert abs(printed - np.mean(found)) < 3 * np.std(found)


def test_published_predictions_are_made_again_from_the_order_of_the_attempts() -> None:
    firsts = read_counts(published_attempts(), Reading(first=100))
    found = {f"{one.benchmark}/{one.name.rpartition('/')[2]}": one for one in firsts}
    assert found.keys() & PUBLISHED.keys()
    for row in found.keys() & PUBLISHED.keys():
        one, printed = found[row], PUBLISHED[row]
        made = [fit(one.n, one.correct).predict(10_000) for fit in (fit_mixture, fit_log_log)]
        assert made == pytest.approx(printed, abs=0.015)


def test_the_figure_shown_is_nearer_to_the_truth_than_the_likelihood_s() -> None:
    """A few of the subsets behind docs/scaling.md: root mean square errors of .040 and .169."""
    rng = np.random.default_rng(0)
    errors = []
    for counts in published_counts().values():
        n, correct = counts["n"], np.array(counts["correct"])
        truth = pass_at_k(n, correct, n).mean()
        for _ in range(3):
            found = predict_coverage(100, rng.hypergeometric(correct, n - correct, 100), n)
            errors.append((found.point - truth, found.likelihood - truth))
    shown, likelihood = np.sqrt(np.mean(np.square(errors), axis=0))
    assert shown < 0.06 < likelihood


def test_with_hardly_anything_solved_the_prediction_is_refused_in_words() -> None:
    prediction = predict_coverage(100, [0] * 138 + [1, 2], 10_000)
    assert prediction.coverage is None
    assert prediction.low <= 2 / 140
    assert prediction.high > 0.2
    assert str(prediction).startswith("coverage at k = 10,000 is unknown (")
    assert "only 2 of 140 tasks were solved" in prediction.reason
    nothing = predict_coverage(100, [0] * 50, 10_000)
    assert nothing.coverage is None
    assert nothing.low == 0
    assert nothing.high > 0.5
    assert nothing.mixture is None


def test_predictions_hold_the_truth_about_as_often_as_they_say_where_the_family_is_right() -> None:
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(20):
        p = np.where(rng.random(60) < 0.2, 0, rng.beta(0.4, 4, 60))
        outcomes = rng.binomial(30, p)
        later = (outcomes > 0) | (rng.binomial(270, p) > 0)
        prediction = predict_coverage(30, outcomes, 300)
        held += prediction.low <= later.mean() <= prediction.high
    assert held >= 18


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: np.where(rng.random(100) < 0.6, 0.001, 0.3),
        lambda rng: np.where(rng.random(100) < 0.6, 0.0001, 0.3),
        lambda rng: rng.choice([0.0005, 0.02, 0.5], 100),
        lambda rng: np.exp(np.minimum(rng.normal(-5, 2, 100), 0)),
    ],
    ids=["two points", "two points, one unseen", "three points", "log-normal"],
)
def test_where_no_beta_describes_the_tasks_a_prediction_is_not_confidently_wrong(make: Any) -> None:
    rng = np.random.default_rng(8)
    for _ in range(3):
        p = make(rng)
        truth = float(np.mean(1 - (1 - p) ** 10_000))
        found = predict_coverage(100, rng.binomial(100, p), 10_000)
        assert found.low - 0.02 <= truth <= found.high + 0.02
        if found.coverage is None:
            assert found.high - found.low > 0.2


def test_a_smooth_table_is_still_predicted() -> None:
    rng = np.random.default_rng(9)
    found = predict_coverage(100, rng.binomial(100, rng.beta(0.4, 4, 150)), 10_000)
    assert found.known


def test_a_prediction_keeps_what_was_solved_and_narrows_with_more_attempts() -> None:
    rng = np.random.default_rng(3)
    p = rng.beta(0.4, 4, 100)
    outcomes = rng.random((100, 1_000)) < p[:, None]
    few, many = (predict_coverage(m, outcomes[:, :m].sum(axis=1), 2_000) for m in (20, 1_000))
    assert many.high - many.low < few.high - few.low
    assert few.low >= outcomes[:, :20].any(axis=1).mean()
    assert many.coverage is not None
    assert many.low <= many.coverage <= many.high
    assert many.mixture is not None
    assert str(many).startswith("coverage at k = 2,000: ")


def test_a_prediction_takes_tasks_of_unequal_attempts_and_those_that_have_k_already() -> None:
    n = [10, 20, 400, 50, 10, 10, 10]
    c = [0, 2, 3, 1, 5, 10, 0]
    prediction = predict_coverage(n, c, 100)
    floor = (4 + pass_at_k(400, 3, 100)) / 7
    assert prediction.low >= floor - 1e-9
    assert prediction.attempts == 10
    with pytest.raises(FitError, match="k = 10 is no extrapolation from 10 attempts: `coverage_curve`"):
        predict_coverage(n, c, 10)


def test_the_figure_is_the_regression_s_within_the_interval_and_the_likelihood_s_where_n_hung_on_outcomes() -> None:
    c = [0, 0, 0, 0, 1, 1, 2, 3, 7, 20, 96, 50, 40, 30, 20, 10]
    found = predict_coverage(100, c, 1_000)
    assert found.regression == pytest.approx(fit_log_log(100, c).predict(1_000))
    assert found.regression is not None
    assert found.point == min(max(found.regression, found.low), found.high)
    assert found.coverage == found.point
    stopped = predict_coverage(100, c, 1_000, fixed=False)
    assert (stopped.regression, stopped.point) == (None, found.likelihood)
    assert (stopped.low, stopped.high) == (found.low, found.high)


@pytest.mark.parametrize("most", [60, 3_000])
def test_many_tasks_of_unequal_attempts_are_predicted_as_from_each_count_alone(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(7)
    n = rng.integers(20, most, 300)
    c = rng.binomial(n, rng.beta(0.3, 6, 300))
    few = predict_coverage(n, c, 10_000)
    monkeypatch.setattr("monkeys.science.scaling.prediction._DISTINCT", 10**9)
    each = predict_coverage(n, c, 10_000)
    assert (few.low, few.high, few.likelihood) == pytest.approx((each.low, each.high, each.likelihood), abs=1e-4)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 30)), min_size=2, max_size=8))
@settings(deadline=None, max_examples=25)
def test_any_counts_give_bounds_in_order_or_a_refusal(drawn: list[tuple[int, int]]) -> None:
    n, c = [n for n, _ in drawn], [min(n, c) for n, c in drawn]
    try:
        prediction = predict_coverage(n, c, 1_000)
    except FitError:
        return
    assert 0 <= prediction.low <= prediction.point <= prediction.high <= 1
    assert prediction.low <= prediction.likelihood <= prediction.high


@pytest.mark.parametrize(
    ("n", "c", "k", "message"),
    [
        (10, [10, 10], 100, "everything was solved"),
        (10, [1], 100, "at least two"),
        (10, [1, 2], 10.5, "no extrapolation"),
        (10, [1, 2], 5, "no extrapolation"),
    ],
)
def test_what_cannot_be_predicted_is_refused(n: Any, c: Any, k: Any, message: str) -> None:
    with pytest.raises(FitError, match=message):
        predict_coverage(n, c, k)
    with pytest.raises(FitError, match="shares between 0 and 1"):
        predict_coverage(10, [1, 2], 100, level=95)
    with pytest.raises(CoverageError):
        predict_coverage(10, [11, 2], 100)


# Straight lines.


def test_lines_are_found_again() -> None:
    c = [0, 1, 3, 10, 60, 200]
    line, law = fit_log_linear(1_000, c), fit_log_log(1_000, c)
    ks = log_spaced_ks(1_000)
    measured = pass_at_k(1_000, np.array(c), ks[:, None]).mean(axis=1)
    slope, intercept = np.polyfit(np.log10(ks), measured, 1)
    assert (line.slope, line.intercept) == pytest.approx((slope, intercept))
    assert line.predict(1) == max(intercept, 0)
    assert line.predict(100) == pytest.approx(intercept + 2 * slope)
    assert line.predict(1e9) == 1
    assert line.formula() == f"{line.intercept:.4g} + {line.slope:.4g} log10 k"
    b, log_a = np.polyfit(np.log(ks), np.log(-np.log(measured)), 1)
    assert (law.a, law.b) == pytest.approx((-np.exp(log_a), b))
    assert 0 < line.residual_mean < 0.1
    assert 0 < law.residual_mean < 0.1
    with pytest.raises(FitError, match="at least one attempt"):
        line.predict(0)
    for fit in (fit_log_linear, fit_log_log):
        with pytest.raises(FitError, match="nothing was solved"):
            fit(10, [0, 0])


# Families.


def test_the_published_alignment_is_reproduced() -> None:
    counts = published_counts()
    family = align_family({row: (t["n"], t["correct"]) for row, t in counts.items() if "Pythia" in row})
    assert family.anchor == "MATH/Pythia 12B"
    assert f"{family.anchor_coverage:.5f}" == "0.02319"
    assert family.shifts == {"MATH/Pythia 12B": 1, "MATH/Pythia 1B": 3, "MATH/Pythia 160M": 9}
    for aligned in family.models.values():
        assert 0.11 < aligned.slope < 0.14  # much the same shape, which is why they may be laid over one another
        assert aligned.coverage == pytest.approx(family.anchor_coverage, rel=0.05)


def test_a_curve_shifted_by_hand_is_shifted_back() -> None:
    rng = np.random.default_rng(4)
    p = rng.beta(0.6, 30, 20_000)
    strong, weak = (rng.binomial(2_000, chance) for chance in (p, 1 - (1 - p) ** (1 / 7)))
    family = align_family({"weak": (2_000, weak), "strong": (2_000, strong)})
    assert family.shifts == {"weak": 7, "strong": 1}
    assert family.models["weak"].residual_mean < 0.005
    assert family.models["strong"].residual_mean == 0
    short = align_family({"weak": (14, np.minimum(weak, 14)), "strong": (14, np.minimum(strong, 14))})
    assert isnan(short.models["weak"].slope) or short.models["weak"].shift == 1


def test_what_is_no_family_is_refused() -> None:
    with pytest.raises(FitError, match="at least two"):
        align_family({"one": (10, [1, 2])})
    with pytest.raises(FitError, match=r"weak covers 0\.1 at its last k = 10, less than strong at 1"):
        align_family({"weak": (10, [1] + [0] * 9), "strong": (10, [9] * 10)})
    with pytest.raises(FitError, match="solves nothing"):
        align_family({"a": (10, [0, 0]), "b": (10, [0, 0])})


# Laws and how sure they are.


def test_the_bootstrap_of_the_law_is_that_of_fitting_every_resample() -> None:
    rng = np.random.default_rng(5)
    c = rng.binomial(500, rng.beta(0.3, 6, 60))
    interval = law_interval(500, c, replicates=400)
    ks = log_spaced_ks(500)
    table = pass_at_k(500, c, ks[:, None])
    laws = [fit_power_law(ks, table[:, rng.integers(60, size=60)].mean(axis=1)) for _ in range(400)]
    for low, high, values in (
        (interval.a_low, interval.a_high, [law.a for law in laws]),
        (interval.b_low, interval.b_high, [law.b for law in laws]),
    ):
        expected = np.quantile(values, [0.025, 0.975])
        assert (low, high) == pytest.approx(tuple(expected), abs=0.2 * np.ptp(expected))
    assert interval.law == fit_coverage(500, c)
    assert interval.lost == 0
    assert interval == law_interval(500, c, replicates=400)


def test_two_models_are_told_apart_in_exponent_and_a_model_not_from_itself() -> None:
    rng = np.random.default_rng(6)
    p = rng.beta(0.3, 6, 100)
    c_a, c_b = rng.binomial(300, p), rng.binomial(300, p**1.6)
    gap = compare_laws(300, c_a, 300, c_b)
    assert gap.exponent == pytest.approx(fit_coverage(300, c_a).b - fit_coverage(300, c_b).b)
    assert gap.exponent_low < gap.exponent < gap.exponent_high < 0
    assert gap.slope_low < gap.slope < gap.slope_high
    apart = compare_laws(300, c_a, 300, c_b, paired=False)
    assert apart.exponent_high - apart.exponent_low > gap.exponent_high - gap.exponent_low
    same = compare_laws(300, c_a, 300, c_a)
    assert same.exponent == same.exponent_low == same.exponent_high == 0


def test_laws_that_are_not_held_by_the_tasks_are_refused() -> None:
    with pytest.raises(FitError, match="resamples of the tasks carry no law"):
        law_interval(100, [0] * 30 + [1])
    with pytest.raises(FitError, match="say paired=False"):
        compare_laws(100, [0, 1, 50], 100, [0, 1])
    with pytest.raises(FitError, match="between 0 and 1"):
        law_interval(100, [0, 1, 50], level=95)
    with pytest.raises(FitError, match="ask for more"):
        law_interval(100, [0, 1, 50], replicates=10)
    with pytest.raises(FitError, match="one task has no spread"):
        law_interval(100, [50])
    with pytest.raises(FitError, match="k >= 1"):
        compare_laws(100, [0, 1, 50], 100, [0, 1, 40], k=0)
