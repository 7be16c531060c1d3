"""Distributions of pass@1: published fits, distributions made up and found again, the choice among them, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad  # type: ignore[import-untyped]
from scipy.stats import betabinom  # type: ignore[import-untyped]

from monkeys.science.coverage import CoverageError, pass_at_k
from monkeys.science.scaling import FAMILIES, Family, FitError, Mixture, choose_mixture, fit_mixture
from tests.published import published_counts


@pytest.mark.parametrize(
    ("row", "alpha", "beta"), [("MATH/Pythia 12B", "0.2955", "12.365"), ("MATH/Pythia 160M", "0.1755", "65.57")]
)
def test_published_beta_binomial_fits_are_reproduced(row: str, alpha: str, beta: str) -> None:
    counts = published_counts()[row]
    fit = fit_mixture(counts["n"], counts["correct"])
    assert f"{fit.alpha:.4f}" == alpha
    assert f"{fit.beta:.{len(beta.partition('.')[2])}f}" == beta
    assert fit.residual_mean < 0.012
    assert not fit.at_edge


def test_on_published_counts_every_family_fits_at_least_as_well_as_it_must() -> None:
    for counts in published_counts().values():
        fits = {family: fit_mixture(counts["n"], counts["correct"], family) for family in FAMILIES}
        assert fits["zero-inflated"].log_likelihood >= fits["beta"].log_likelihood - 1e-6
        assert fits["scaled"].log_likelihood >= fits["beta"].log_likelihood - 0.02
        n, c = counts["n"], np.array(counts["correct"])
        for fit in fits.values():
            assert fit.predict(n) == pytest.approx(pass_at_k(n, c, n).mean(), abs=0.055)


def test_the_log_likelihood_is_that_of_the_beta_binomial() -> None:
    n, c = np.array([10, 20, 30, 40]), np.array([0, 3, 11, 40])
    fit = fit_mixture(n, c)
    assert fit.log_likelihood == pytest.approx(betabinom.logpmf(c, n, fit.alpha, fit.beta).sum())
    assert fit.aic == pytest.approx(4 - 2 * fit.log_likelihood)
    for factor in (0.99, 1.01):
        assert betabinom.logpmf(c, n, fit.alpha * factor, fit.beta).sum() < fit.log_likelihood
        assert betabinom.logpmf(c, n, fit.alpha, fit.beta * factor).sum() < fit.log_likelihood


def exact_log_likelihood(fit: Mixture, n: int, c: np.ndarray[Any, Any]) -> float:
    """By adaptive quadrature over log-odds, count by count."""

    def density(p: float) -> float:
        a, b = fit.alpha, fit.beta
        if fit.family == "kumaraswamy":
            return float(a * b * p ** (a - 1) * (1 - p**a) ** (b - 1))
        from scipy.stats import beta

        return float(beta.pdf(p, a, b))

    def chance(count: int) -> float:
        from scipy.stats import binom

        def at(odds: float) -> float:
            p = 1 / (1 + np.exp(-odds))
            return float(density(p) * p * (1 - p) * binom.pmf(count, n, fit.scale * p))

        return float(quad(at, -30, 30, limit=400, points=[-8, -4, -2, 0, 2])[0])

    return float(sum(np.log(chance(int(count))) for count in c))


@pytest.mark.parametrize("family", ["scaled", "kumaraswamy"])
def test_the_likelihood_on_a_grid_is_the_integral(family: Any) -> None:
    rng = np.random.default_rng(1)
    c = rng.binomial(60, 0.4 * rng.beta(0.8, 3, 30))
    fit = fit_mixture(60, c, family)
    assert fit.log_likelihood == pytest.approx(exact_log_likelihood(fit, 60, c), abs=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_distribution_is_found_again_from_many_tasks(family: Any) -> None:
    rng = np.random.default_rng(2)
    tasks, n, alpha, beta = 4_000, 200, 0.4, 5.0
    p = rng.beta(alpha, beta, tasks)
    if family == "zero-inflated":
        p[: int(0.3 * tasks)] = 0
    elif family == "scaled":
        p *= 0.3
        beta = 5.0
    elif family == "kumaraswamy":
        p = (1 - rng.random(tasks) ** (1 / beta)) ** (1 / alpha)
    fit = fit_mixture(n, rng.binomial(n, p), family)
    assert fit.alpha == pytest.approx(alpha, rel=0.12)
    if family == "scaled":  # scale and beta trade off; what they say of p does not
        assert fit.scale * fit.alpha / (fit.alpha + fit.beta) == pytest.approx(p.mean(), rel=0.05)
    else:
        assert fit.beta == pytest.approx(beta, rel=0.15)
    if family == "zero-inflated":
        assert fit.zero == pytest.approx(0.3, abs=0.06)
    for k in (1, 10, 200, 2_000):
        assert fit.predict(k) == pytest.approx(np.mean(1 - (1 - p) ** k), abs=0.03)
    assert fit.residual_mean < 0.01


def test_tasks_sampled_by_their_outcomes_give_the_same_distribution() -> None:
    """The likelihood does not depend on the stopping rule: each task is left alone after its second success."""
    rng = np.random.default_rng(3)
    p = rng.beta(0.5, 4, 3_000)
    outcomes = rng.random((3_000, 100)) < p[:, None]
    stopped = np.cumsum(outcomes, axis=1) >= 2
    n = np.where(stopped.any(axis=1), stopped.argmax(axis=1) + 1, 100)
    c = np.minimum(outcomes.sum(axis=1), 2)
    fit = fit_mixture(n, c)
    assert fit.alpha == pytest.approx(0.5, rel=0.1)
    assert fit.beta == pytest.approx(4, rel=0.15)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=10), st.sampled_from(FAMILIES))
@settings(deadline=None, max_examples=40)
def test_any_counts_give_a_finite_fit_or_a_refusal_and_never_a_warning(
    drawn: list[tuple[int, int]], family: Any
) -> None:
    n, c = [n for n, _ in drawn], [min(n, c) for n, c in drawn]
    try:
        fit = fit_mixture(n, c, family)
    except FitError:
        return
    shares = fit.predict([1, 10, 1_000, 1_000_000])
    assert np.isfinite([fit.alpha, fit.beta, fit.log_likelihood, fit.residual_mean, fit.residual_std]).all()
    assert (np.diff(shares) >= -1e-9).all()
    assert shares[0] >= 0
    assert shares[-1] <= 1 + 1e-9


def test_the_choice_by_unseen_tasks_finds_what_made_them() -> None:
    rng = np.random.default_rng(4)
    p = np.where(rng.random(400) < 0.5, 0, rng.beta(2, 8, 400))
    choice = choose_mixture(50, rng.binomial(50, p))
    assert choice.best.family == "zero-inflated"
    assert choice.standard_error["zero-inflated"] == 0
    assert choice.held_out["zero-inflated"] > choice.held_out["beta"] + choice.standard_error["beta"]
    assert set(choice.fits) == set(FAMILIES)
    plain = choose_mixture(50, rng.binomial(50, rng.beta(0.5, 5, 200)), folds=5)
    assert plain.best.parameters == 2  # a third parameter has to earn its place


def test_a_mixture_says_what_it_is() -> None:
    fit = fit_mixture(100, [0, 0, 3, 50, 100])
    assert fit.formula() == f"Beta({fit.alpha:.4g}, {fit.beta:.4g})"
    assert "at 0, else Beta(" in fit_mixture(100, [0, 0, 3, 50, 100], "zero-inflated").formula()
    assert fit_mixture(100, [0, 0, 3, 50], "scaled").formula().endswith(")")
    assert fit_mixture(100, [0, 0, 3, 50], "kumaraswamy").formula().startswith("Kumaraswamy(")
    assert type(fit.predict(10)) is float
    assert fit.predict([[1, 2]]).shape == (1, 2)
    with pytest.raises(FitError, match="at least one attempt"):
        fit.predict(0)
    assert fit_mixture(10, [5, 5, 5, 5, 5, 5]).at_edge  # tasks all alike: no spread of p to be found


@pytest.mark.parametrize(
    ("n", "c", "message"),
    [
        (10, [0, 0], "nothing was solved"),
        (10, [10, 10], "everything was solved"),
        (10, [3], "fit at least two"),
        ([10, 0], [3, 0], "fit at least two"),
    ],
)
def test_counts_without_a_distribution_are_refused(n: Any, c: Any, message: str) -> None:
    for family in FAMILIES:
        with pytest.raises(FitError, match=message):
            fit_mixture(n, c, family)
    with pytest.raises(FitError, match=message):
        choose_mixture(n, c, folds=2)


def test_what_are_no_counts_or_families_is_refused() -> None:
    for bad in ([11, 1], [-1, 2], [float("nan"), 1], ["1", "2"], []):
        with pytest.raises(CoverageError):
            fit_mixture(10, bad)
    with pytest.raises(CoverageError, match="one count per task"):
        fit_mixture(10, [[1, 2], [3, 4]])
    with pytest.raises(FitError, match="choose one of beta, zero-inflated, scaled, kumaraswamy"):
        fit_mixture(10, [1, 2], "gamma")  # type: ignore[arg-type]
    with pytest.raises(FitError, match="ask for 2 to 3"):
        choose_mixture(10, [1, 2, 3], folds=10)
    with pytest.raises(FitError, match="no families"):
        choose_mixture(10, [1, 2, 3], folds=2, families=())


@pytest.mark.parametrize(
    ("n", "c"),
    [
        (10_000, [0] * 90 + [3, 40, 200, 900, 3_000, 6_000, 9_000, 9_900, 10_000, 10_000]),
        (1_000, [0] * 50 + [1_000] * 10),
        (100, [0, 1, 2, 50, 99, 100]),
        (50, [50] * 20 + [0]),
    ],
)
@pytest.mark.parametrize("family", ["scaled", "zero-inflated"])
def test_a_family_that_contains_the_beta_is_never_less_likely(family: Family, n: int, c: list[int]) -> None:
    assert fit_mixture(n, c, family).log_likelihood >= fit_mixture(n, c).log_likelihood


@given(st.integers(1, 200), st.lists(st.floats(0, 1), min_size=2, max_size=12))
@settings(deadline=None, max_examples=8)
def test_no_counts_make_the_wider_families_less_likely(n: int, shares: list[float]) -> None:
    c = [round(share * n) for share in shares]
    try:
        beta = fit_mixture(n, c)
    except FitError:
        return
    wider: tuple[Family, ...] = ("scaled", "zero-inflated")
    for family in wider:
        assert fit_mixture(n, c, family).log_likelihood >= beta.log_likelihood - 1e-9
