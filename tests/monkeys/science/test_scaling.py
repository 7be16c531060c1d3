"""The exponentiated power law: the paper's fits, laws made up and found again, and data that carry none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monkeys.science.coverage import CoverageError, pass_at_k
from monkeys.science.scaling import FitError, PowerLaw, fit_coverage, fit_power_law, log_spaced_ks
from tests.published import published_counts


@pytest.mark.parametrize(
    ("row", "a", "b"),
    [
        ("CodeContests/Gemma 2B", "-7.268", "-0.1121"),
        ("CodeContests/Llama 3 8B Instruct", "-3.865", "-0.1083"),
        ("MATH/Pythia 160M", "-6.361", "-0.2766"),
        ("MATH/Pythia 1B", "-5.609", "-0.3197"),
        ("MATH/Pythia 12B", "-4.317", "-0.3791"),
    ],
)
def test_published_fits_are_reproduced(row: str, a: str, b: str) -> None:
    counts = published_counts()[row]
    law = fit_coverage(counts["n"], counts["correct"])
    assert (f"{law.a:.3f}", f"{law.b:.4f}") == (a, b)
    assert law.formula() == f"exp({a} k^{b})"
    assert law.points == 37  # 40 log-spaced k less the duplicates after rounding
    assert (law.k_min, law.k_max) == (1, 10_000)
    ks = log_spaced_ks(10_000, 100)
    measured = pass_at_k(counts["n"], np.array(counts["correct"]), ks[:, None]).mean(axis=1)
    difference = np.abs(law.predict(ks) - measured)
    assert law.residual_points == ks.size
    assert law.residual_mean == pytest.approx(difference.mean())
    assert law.residual_std == pytest.approx(difference.std())
    assert law.residual_mean < 0.015


@given(st.floats(-8, -0.5), st.floats(-0.9, -0.05))
@settings(deadline=None, max_examples=50)
def test_a_law_is_found_again_from_its_own_points(a: float, b: float) -> None:
    ks = log_spaced_ks(10_000)
    law = fit_power_law(ks, np.exp(a * ks.astype(float) ** b))
    assert law.a == pytest.approx(a, rel=1e-5)
    assert law.b == pytest.approx(b, rel=1e-5)
    assert law.residual_mean < 1e-7
    assert law.residual_std < 1e-7


def test_a_law_is_found_in_noisy_points_with_a_residual_of_the_size_of_the_noise() -> None:
    rng = np.random.default_rng(1)
    ks = log_spaced_ks(1_000)
    noisy = np.exp(-4 * ks**-0.3) + rng.normal(0, 0.01, ks.size)
    law = fit_power_law(ks, np.clip(noisy, 0, 1))
    assert law.a == pytest.approx(-4, rel=0.05)
    assert law.b == pytest.approx(-0.3, rel=0.05)
    assert 0.004 < law.residual_mean < 0.012
    assert law.residual_points == law.points == ks.size


def test_counts_of_unequal_n_are_fitted_up_to_the_smallest() -> None:
    law = fit_coverage([250, 300, 400], [3, 20, 1])
    assert law.k_max == 250
    assert law.a < 0
    assert law.b < 0


@pytest.mark.parametrize("c", [[0, 0, 1], [1, 2, 3], [0] * 11 + [1]])
def test_three_attempts_are_enough_for_a_fit_without_complaint(c: list[int]) -> None:
    law = fit_coverage(3, c)
    assert np.isfinite([law.a, law.b, law.residual_mean]).all()


@given(st.lists(st.integers(0, 250), min_size=1, max_size=15))
@settings(deadline=None, max_examples=100)
def test_any_counts_give_a_finite_law_or_a_refusal_and_never_a_warning(c: list[int]) -> None:
    try:
        law = fit_coverage(250, c)
    except FitError:
        return
    assert np.isfinite([law.a, law.b, law.residual_mean, law.residual_std]).all()
    assert 0 <= law.residual_mean <= 1


def test_prediction_follows_the_law_for_scalars_and_arrays() -> None:
    law = fit_power_law([1, 10, 100, 1_000], np.exp(-4 * np.array([1.0, 10, 100, 1_000]) ** -0.25))
    assert type(law.predict(1)) is float
    assert law.predict(1) == pytest.approx(np.exp(-4))
    assert law.predict([[16, 10_000]]).tolist() == [pytest.approx([np.exp(-2), np.exp(-0.4)])]
    assert (np.diff(law.predict(np.geomspace(1, 1e6, 50))) > 0).all()
    with pytest.raises(FitError, match="at least one attempt"):
        law.predict(0)
    with pytest.raises(FitError, match="at least one attempt"):
        law.predict([1, float("nan")])


def test_a_law_is_a_value() -> None:
    law = fit_coverage(100, [0, 1, 50])
    assert law == fit_coverage(100, [0, 1, 50])
    assert isinstance(law, PowerLaw)
    with pytest.raises(AttributeError):
        law.a = 0.0  # type: ignore[misc]


def test_log_spaced_ks_are_distinct_whole_and_run_from_one_to_the_largest() -> None:
    for largest in (1, 2, 3, 10, 250, 10_000, 999_983):
        for points in (2, 40, 100):
            ks = log_spaced_ks(largest, points)
            assert ks[0] == 1
            assert ks[-1] == largest
            assert (np.diff(ks) > 0).all()
            assert ks.size <= points
    with pytest.raises(FitError):
        log_spaced_ks(0)
    with pytest.raises(FitError):
        log_spaced_ks(10, 1)


@pytest.mark.parametrize(
    ("ks", "coverage", "message"),
    [
        ([1, 2, 3], [0, 0, 0], "nothing was solved"),
        ([1, 2, 3], [1, 1, 1], "everything was solved"),
        ([1, 2, 3], [0.25, 0.25, 0.25], "the same at every k"),
        ([1, 2], [0.1, 0.2], "2 distinct k cannot carry a law"),
        ([1, 2, 2, 2], [0.1, 0.2, 0.2, 0.2], "2 distinct k"),
        ([], [], "0 distinct k"),
        ([1, 2, 3], [0.1, 0.2], "one coverage for each k"),
        ([[1, 2, 3]], [[0.1, 0.2, 0.3]], "one coverage for each k"),
        ([0, 1, 2], [0.1, 0.2, 0.3], "whole numbers >= 1"),
        ([1, 2, 2.5], [0.1, 0.2, 0.3], "whole numbers >= 1"),
        ([1, 2, float("inf")], [0.1, 0.2, 0.3], "whole numbers >= 1"),
        ([1, 2, 3], [0.1, 0.2, float("nan")], r"share in \[0, 1\]"),
        ([1, 2, 3], [10, 20, 30], "divide per cents by 100"),
        ([1, 2, 3], [-0.1, 0.2, 0.3], r"share in \[0, 1\]"),
        (["one", "two", "three"], [0.1, 0.2, 0.3], "must be numbers"),
    ],
)
def test_points_that_carry_no_law_are_refused(ks: Any, coverage: Any, message: str) -> None:
    with pytest.raises(FitError, match=message):
        fit_power_law(ks, coverage)


def test_counts_that_carry_no_law_are_refused() -> None:
    with pytest.raises(FitError, match="nothing was solved"):
        fit_coverage(10, [0, 0])
    with pytest.raises(FitError, match="everything was solved"):
        fit_coverage(10, [10, 10])
    with pytest.raises(FitError, match="the same at every k"):
        fit_coverage(10, [10, 10, 0])
    with pytest.raises(FitError, match="does not settle"):
        fit_coverage(3, [3, 3, 2])  # solved throughout from k = 2 on: any steep enough law passes through the points
    with pytest.raises(FitError, match="at least 3 attempts"):
        fit_coverage(2, [0, 1])
    with pytest.raises(CoverageError, match="more attempts resolved than made"):
        fit_coverage(10, [11, 1])
    with pytest.raises(CoverageError, match="empty"):
        fit_coverage(10, [])


def test_importing_the_science_does_not_load_scipy() -> None:
    program = "import sys, monkeys.science.scaling; sys.exit('scipy' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0
