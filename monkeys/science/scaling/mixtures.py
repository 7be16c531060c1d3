"""The distribution of pass@1 over tasks, fitted to a table of counts.

On each task the chance of failing falls exponentially, by its own p. How coverage grows depends on how p is distributed
over tasks, above all near p = 0 (Schaeffer et al. 2025, "How Do Large Language Monkeys Get Their Power (Laws)?", ICML).
Four families are fitted, all by maximum likelihood on the counts themselves, each task by its own n:

| family | p of a task | parameters |
|---|---|---|
| `beta` | Beta(alpha, beta): c is beta-binomial | 2 |
| `zero-inflated` | 0 with probability `zero`, else Beta(alpha, beta) | 3 |
| `scaled` | `scale` times Beta(alpha, beta): no task beyond `scale` | 3 |
| `kumaraswamy` | density alpha beta p^(alpha-1) (1 - p^alpha)^(beta-1) | 2 |

In each family, 1 - coverage falls as k^-alpha for large k (with `zero`, to a floor): alpha is the exponent of the tail.

Guarantees: the likelihood of counts does not depend on the stopping rule, so that the fit also holds for attempts that
were allocated by their outcomes. A family that contains the Beta is never less likely than it. `choose_mixture`
compares families on tasks that the fit has not seen. A fit whose parameters run to the edge of their range is returned
with `at_edge` set: there the data do not determine them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike

from monkeys.science.coverage.counts import CoverageError, FloatArray, IntArray, checked_counts
from monkeys.science.coverage.curve import kinds_of
from monkeys.science.coverage.estimators import unchecked_pass_at_k
from monkeys.science.scaling.powerlaw import FitError, log_spaced_ks, residual

__all__ = ["FAMILIES", "Family", "Mixture", "MixtureChoice", "choose_mixture", "fit_mixture", "solved_counts"]

Family: TypeAlias = Literal["beta", "zero-inflated", "scaled", "kumaraswamy"]
FAMILIES: tuple[Family, ...] = ("beta", "zero-inflated", "scaled", "kumaraswamy")

_RANGE = (1e-3, 1e7)  # of alpha and beta
_REACH = 16.0  # log-odds by which a grid goes beyond 1 / n and 1 - 1 / n: there (1-p)^n is 1 to 1e-7
_TOP = 12.0  # largest log-odds of a scale that is searched
_EDGE = 0.5  # log distance from the range's end at which a parameter counts as having run off


@dataclass(frozen=True)
class Mixture:
    """A distribution of pass@1 over tasks; what `fit_mixture` returns."""

    family: Family
    alpha: float
    """Exponent of the density's left tail, and of the decline of 1 - coverage."""
    beta: float
    zero: float
    """Share of tasks that are never solved; 0 but in the zero-inflated family."""
    scale: float
    """Largest p of any task; 1 but in the scaled family."""
    parameters: int
    log_likelihood: float
    """Of the counts, with their binomial coefficients."""
    at_edge: bool
    """Whether a parameter ran to the edge of its range, where the data do not determine it."""
    residual_mean: float
    """Mean of |fitted - measured| coverage over `residual_points` k up to `k_max`."""
    residual_std: float
    residual_points: int
    tasks: int
    k_max: int
    """The smallest number of attempts on any task; beyond it `predict` extrapolates."""

    @property
    def aic(self) -> float:
        """Akaike's criterion, 2 parameters - 2 log likelihood; the smaller the better."""
        return 2 * self.parameters - 2 * self.log_likelihood

    @overload
    def predict(self, k: float) -> float: ...
    @overload
    def predict(self, k: ArrayLike) -> Any: ...
    def predict(self, k: ArrayLike) -> Any:
        """Expected coverage at k >= 1 of tasks like these: a float for a scalar, else an array of the shape of k.

        Raises:
            FitError: k < 1, or NaN.
        """
        draws = np.asarray(k, dtype=np.float64)
        if not ((draws >= 1) & (draws < np.inf)).all():
            raise FitError("the mixture is about at least one attempt; ask for k >= 1")
        shares = _MODELS[self.family].coverage(np.array([self.alpha, self.beta, self.zero, self.scale]), draws)
        return shares if shares.ndim else float(shares)

    def formula(self) -> str:
        """The distribution in one line, with four significant digits: `Beta(0.2955, 12.37)`."""
        name = "Kumaraswamy" if self.family == "kumaraswamy" else "Beta"
        text = f"{name}({self.alpha:.4g}, {self.beta:.4g})"
        if self.family == "scaled":
            return f"{self.scale:.4g} {text}"
        return f"{self.zero:.4g} at 0, else {text}" if self.family == "zero-inflated" else text


@dataclass(frozen=True)
class MixtureChoice:
    """The families compared on tasks that the fit had not seen; what `choose_mixture` returns."""

    best: Mixture
    """The fit on all tasks, of the family that is best on unseen tasks or a simpler one within a standard error."""
    fits: dict[Family, Mixture]
    held_out: dict[Family, float]
    """Mean log likelihood of an unseen task; larger is better."""
    standard_error: dict[Family, float]
    """Of the difference to the best family, over tasks; 0 for that one itself."""
    folds: int
    seed: int


def fit_mixture(n: ArrayLike, c: ArrayLike, family: Family = "beta") -> Mixture:
    """Fit the distribution of pass@1 over tasks to counts, by maximum likelihood.

    Args:
        n: attempts on each task, shape (tasks,), or one number for all; fixed beforehand or not.
        c: resolved attempts on each task, shape (tasks,).
        family: see the table of this module.

    Raises:
        monkeys.science.coverage.CoverageError: the counts are not counts.
        FitError: fewer than two tasks; nothing or everything was solved; an unknown family.
    """
    attempts, resolved = solved_counts(n, c)
    if family not in FAMILIES:
        raise FitError(f"family = {family!r} is unknown: choose one of {', '.join(FAMILIES)}")
    kinds, sizes = kinds_of(attempts, resolved)
    theta = _MODELS[family].fit(kinds, sizes)
    return _described(family, theta, kinds, sizes)


def choose_mixture(
    n: ArrayLike, c: ArrayLike, *, families: Sequence[Family] = FAMILIES, folds: int = 10, seed: int = 0
) -> MixtureChoice:
    """Compare families by the likelihood of tasks left out of the fit, in `folds` random parts.

    The best is the one with the fewest parameters within one standard error of the likeliest.

    Raises:
        FitError: as `fit_mixture`; fewer than 2 folds, or more than tasks.
    """
    attempts, resolved = solved_counts(n, c)
    if not 2 <= folds <= attempts.size:
        raise FitError(f"{folds} folds of {attempts.size} tasks: ask for 2 to {attempts.size}")
    if not families:
        raise FitError(f"no families to choose from: pass some of {', '.join(FAMILIES)}")
    # Dealt out in order of difficulty, so that no part is without solved tasks that the others have.
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(attempts.size), resolved / np.maximum(attempts, 1)))
    fold = np.empty(attempts.size, dtype=np.int64)
    fold[order] = np.arange(attempts.size) % folds
    fits = {family: fit_mixture(attempts, resolved, family) for family in families}
    scores = {family: np.empty(attempts.size) for family in families}
    for part in range(folds):
        seen, unseen = fold != part, fold == part
        kinds, sizes = kinds_of(attempts[seen], resolved[seen])
        left = np.stack([attempts[unseen], resolved[unseen]])
        for family, fit in fits.items():
            model = _MODELS[family]
            start = np.array([fit.alpha, fit.beta, fit.zero, fit.scale])
            scores[family][unseen] = model.log_likelihoods(model.fit(kinds, sizes, start), left)
    held_out = {family: float(score.mean()) for family, score in scores.items()}
    likeliest = max(held_out, key=lambda family: held_out[family])
    errors: dict[Family, float] = {
        family: float((score - scores[likeliest]).std(ddof=1) / np.sqrt(score.size)) for family, score in scores.items()
    }
    close = [family for family in families if held_out[likeliest] - held_out[family] <= errors[family]]
    best = min(close, key=lambda family: (fits[family].parameters, -held_out[family]))
    return MixtureChoice(fits[best], fits, held_out, errors, folds, seed)


def solved_counts(n: ArrayLike, c: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Counts of at least two tasks with one success and one failure among them; tasks without attempts are left out."""
    attempts, resolved = (np.atleast_1d(a) for a in checked_counts(n, c, None))
    if attempts.ndim > 1:
        raise CoverageError(f"n and c have shape {attempts.shape}: pass one count per task")
    attempts, resolved = attempts[attempts > 0], resolved[attempts > 0]
    if attempts.size < 2:
        raise FitError(f"a distribution is over tasks: fit at least two that were attempted, not {attempts.size}")
    if not resolved.any():
        raise FitError("nothing was solved, so that p could be anything near 0: sample more attempts or easier tasks")
    if (resolved == attempts).all():
        raise FitError("everything was solved, so that p could be anything near 1: add harder tasks")
    return attempts, resolved


def _described(family: Family, theta: FloatArray, kinds: FloatArray, sizes: IntArray) -> Mixture:
    model = _MODELS[family]
    k_max = int(kinds[0].min())
    ks = log_spaced_ks(k_max, 100).astype(np.float64)
    measured = unchecked_pass_at_k(kinds[0], kinds[1], ks[:, None]) @ sizes / sizes.sum()
    mean, std = residual(model.coverage(theta, ks), measured)
    ends = np.log(_RANGE)
    logs = np.log(theta[:2])
    edge = bool((np.abs(logs[:, None] - ends) < _EDGE).any())
    alpha, beta, zero, scale = (float(value) for value in theta)
    return Mixture(
        family=family,
        alpha=alpha,
        beta=beta,
        zero=zero,
        scale=scale,
        parameters=model.parameters,
        log_likelihood=float(model.log_likelihoods(theta, kinds) @ sizes),
        at_edge=edge,
        residual_mean=mean,
        residual_std=std,
        residual_points=ks.size,
        tasks=int(sizes.sum()),
        k_max=k_max,
    )


# The families. theta is (alpha, beta, zero, scale); x what is searched: logs, and shares as is best.


class _Beta:
    parameters = 2

    def fit(self, kinds: FloatArray, sizes: IntArray, start: FloatArray | None = None) -> FloatArray:
        x = moments(kinds, sizes) if start is None else np.log(start[:2])
        x = climb(lambda x: self._gradient(x, kinds, sizes), x, [log_range()] * 2)
        return np.array([*np.exp(x), 0.0, 1.0])

    def log_likelihoods(self, theta: FloatArray, kinds: FloatArray) -> FloatArray:
        return _log_choose(kinds) + log_moment(theta[0], theta[1], kinds[1], kinds[0] - kinds[1])

    def coverage(self, theta: FloatArray, k: FloatArray) -> FloatArray:
        zeros = np.zeros_like(k)
        return np.asarray(-np.expm1(log_moment(theta[0], theta[1], zeros, k)))

    def _gradient(self, x: FloatArray, kinds: FloatArray, sizes: IntArray) -> tuple[float, FloatArray]:
        alpha, beta = np.exp(x)
        n, c = kinds
        value = sizes @ log_moment(alpha, beta, c, n - c)
        by_alpha, by_beta = moment_slopes(alpha, beta, c, n - c)
        return float(value), np.array([alpha * (sizes @ by_alpha), beta * (sizes @ by_beta)])


class _ZeroInflated:
    parameters = 3

    def fit(self, kinds: FloatArray, sizes: IntArray, start: FloatArray | None = None) -> FloatArray:
        plain = _BETA.fit(kinds, sizes)
        none = float(sizes[kinds[1] == 0].sum() / sizes.sum())
        # Two hills are usual: no task at 0, or most of the unsolved ones. zero itself is searched, with an end that can
        # be reached; log-odds would creep towards it for ever.
        starts = [np.array([*np.log(plain[:2]), zero]) for zero in (0.0, 0.8 * none)]
        ends = [log_range(), log_range(), (0.0, 1 - 1e-9)]
        climbs = [climb(lambda x: self._gradient(x, kinds, sizes), x, ends) for x in starts]
        found = [np.array([*np.exp(x[:2]), x[2], 1.0]) for x in climbs]
        return max([plain, *found], key=lambda theta: float(self.log_likelihoods(theta, kinds) @ sizes))

    def log_likelihoods(self, theta: FloatArray, kinds: FloatArray) -> FloatArray:
        live = np.log1p(-theta[2]) + _BETA.log_likelihoods(theta, kinds)
        return np.asarray(np.where(kinds[1] == 0, np.logaddexp(live, np.log(np.maximum(theta[2], 1e-300))), live))

    def coverage(self, theta: FloatArray, k: FloatArray) -> FloatArray:
        return np.asarray((1 - theta[2]) * _BETA.coverage(theta, k))

    def _gradient(self, x: FloatArray, kinds: FloatArray, sizes: IntArray) -> tuple[float, FloatArray]:
        alpha, beta = np.exp(x[:2])
        zero = x[2]
        n, c = kinds
        chance = np.where(c == 0, np.exp(log_moment(alpha, beta, c, n - c)), 1.0)  # of no success, if alive
        mixed = np.maximum(np.where(c == 0, zero + (1 - zero) * chance, 1 - zero), 1e-300)
        value = np.where(c == 0, np.log(mixed), np.log(mixed) + log_moment(alpha, beta, c, n - c))
        alive = (1 - zero) * chance / mixed  # probability that the task is no zero, given its count
        by_alpha, by_beta = moment_slopes(alpha, beta, c, n - c)
        by_zero = np.where(c == 0, 1 - chance, -1.0) / mixed
        slopes = [alpha * (sizes @ (alive * by_alpha)), beta * (sizes @ (alive * by_beta)), sizes @ by_zero]
        return float(sizes @ value), np.array(slopes)


class _Scaled:
    parameters = 3

    def fit(self, kinds: FloatArray, sizes: IntArray, start: FloatArray | None = None) -> FloatArray:
        grid = _Grid(kinds[0].max())
        plain = _BETA.fit(kinds, sizes, start)
        if start is None:
            # Tasks that are always solved leave no room below 1, where the likelihood is all but flat in the log-odds.
            starts = [np.array([*np.log(plain[:2]), place]) for place in (_TOP / 2, _TOP)]
            most = float((kinds[1] / kinds[0]).max())
            if most < 0.9:
                starts.append(np.array([np.log(plain[0]), 0.0, _logit(min(1.2 * most, 0.95))]))
        else:
            starts = [np.array([*np.log(start[:2]), _logit(start[3])])]
        ends = [log_range(), log_range(), (-_TOP, _TOP)]
        climbs = [climb(lambda x: self._gradient(x, kinds, sizes, grid), x, ends) for x in starts]
        found = [np.array([*np.exp(x[:2]), 0.0, float(_expit(x[2]))]) for x in climbs]
        # The Beta itself, with a scale of 1, is one of the family and an end that log-odds do not reach.
        return max([plain, *found], key=lambda theta: float(self.log_likelihoods(theta, kinds) @ sizes))

    def log_likelihoods(self, theta: FloatArray, kinds: FloatArray) -> FloatArray:
        if theta[3] == 1:
            return _BETA.log_likelihoods(theta, kinds)
        grid = _Grid(kinds[0].max())
        mass = grid.beta(theta[0], theta[1])
        return _grid_log_likelihoods(theta[3] * grid.p, mass, kinds)

    def coverage(self, theta: FloatArray, k: FloatArray) -> FloatArray:
        if theta[3] == 1:
            return _BETA.coverage(theta, k)
        grid = _Grid(float(np.max(k)))
        mass = grid.beta(theta[0], theta[1])
        return np.asarray(-np.expm1(k[..., None] * np.log1p(-theta[3] * grid.p)) @ mass)

    def _gradient(self, x: FloatArray, kinds: FloatArray, sizes: IntArray, grid: _Grid) -> tuple[float, FloatArray]:
        from scipy.special import digamma  # type: ignore[import-untyped]

        alpha, beta = np.exp(x[:2])
        scale = float(_expit(x[2]))
        mass = grid.beta(alpha, beta)
        likelihood = binomial(scale * grid.p, kinds)
        total = np.maximum(likelihood @ mass, 1e-300)
        weighted = mass * ((sizes / total) @ likelihood)  # how much of all tasks lies at each p
        tasks = sizes.sum()
        by_alpha = weighted @ grid.log_p + tasks * (digamma(alpha + beta) - digamma(alpha))
        by_beta = weighted @ grid.log_q + tasks * (digamma(alpha + beta) - digamma(beta))
        n, c = kinds
        missed = grid.p / np.maximum(1 - scale * grid.p, 1e-16)
        by_scale = sizes @ (c / scale) - ((sizes / total) * (n - c)) @ (likelihood @ (mass * missed))
        slopes = np.array([alpha * by_alpha, beta * by_beta, scale * (1 - scale) * by_scale])
        return float(sizes @ np.log(total)), slopes


class _Kumaraswamy:
    parameters = 2

    def fit(self, kinds: FloatArray, sizes: IntArray, start: FloatArray | None = None) -> FloatArray:
        grid = _Grid(kinds[0].max())
        likelihood = binomial(grid.p, kinds)
        x = np.log(_BETA.fit(kinds, sizes)[:2] if start is None else start[:2])

        def value(x: FloatArray) -> float:
            return float(sizes @ np.log(np.maximum(likelihood @ grid.kumaraswamy(*np.exp(x)), 1e-300)))

        def gradient(x: FloatArray) -> tuple[float, FloatArray]:
            step = 1e-5
            slopes = [(value(x + h) - value(x - h)) / (2 * step) for h in step * np.eye(2)]
            return value(x), np.array(slopes)

        return np.array([*np.exp(climb(gradient, x, [log_range()] * 2)), 0.0, 1.0])

    def log_likelihoods(self, theta: FloatArray, kinds: FloatArray) -> FloatArray:
        grid = _Grid(kinds[0].max())
        mass = grid.kumaraswamy(theta[0], theta[1])
        return _grid_log_likelihoods(grid.p, mass, kinds)

    def coverage(self, theta: FloatArray, k: FloatArray) -> FloatArray:
        grid = _Grid(float(np.max(k)))
        mass = grid.kumaraswamy(theta[0], theta[1])
        return np.asarray(-np.expm1(k[..., None] * np.log1p(-grid.p)) @ mass)


class _Grid:
    """Points of p evenly spaced in log-odds, so close that the likelihood of any count of n is smooth between them.

    In log-odds the likelihood is nowhere narrower than a normal curve of deviation 2 / sqrt(n), and a sum over points
    1.2 deviations apart is within 1e-5 of its integral. What lies beyond the ends is counted at them.
    """

    def __init__(self, n: float) -> None:
        reach = np.log(max(n, 2.0)) + _REACH
        self.step = min(0.25, 2.4 / np.sqrt(max(n, 1.0)))
        odds = np.arange(-reach, reach + self.step, self.step)
        self.log_p, self.log_q = -np.logaddexp(0, -odds), -np.logaddexp(0, odds)
        self.p = np.exp(self.log_p)

    def beta(self, alpha: float, beta: float) -> FloatArray:
        from scipy.special import betainc, betaln

        edge = np.exp(self.log_q[-1])
        above = betainc(beta, alpha, edge) if edge > 0 else 0.0
        logs = alpha * self.log_p + beta * self.log_q - betaln(alpha, beta)
        return self._closed(logs, betainc(alpha, beta, self.p[0]), above)

    def kumaraswamy(self, alpha: float, beta: float) -> FloatArray:
        power = alpha * self.log_p
        rest = np.log(-np.expm1(np.minimum(power, -1e-300)))
        logs = np.log(alpha * beta) + power + self.log_q + (beta - 1) * rest
        return self._closed(logs, -np.expm1(beta * rest[0]), np.exp(beta * rest[-1]))

    def _closed(self, logs: FloatArray, below: float, above: float) -> FloatArray:
        """The mass at each point, from the log of the density by log-odds and what lies beyond the ends."""
        mass = self.step * np.exp(logs)
        mass[[0, -1]] *= 0.5  # trapezoids
        mass[0] += below
        mass[-1] += above
        if not mass.any():  # a density too narrow for the grid is one point of it
            mass[np.argmax(logs)] = 1
        return np.asarray(mass / mass.sum())


_BETA = _Beta()
_MODELS: dict[Family, _Beta | _ZeroInflated | _Scaled | _Kumaraswamy] = {
    "beta": _BETA,
    "zero-inflated": _ZeroInflated(),
    "scaled": _Scaled(),
    "kumaraswamy": _Kumaraswamy(),
}


def _grid_log_likelihoods(p: FloatArray, mass: FloatArray, kinds: FloatArray) -> FloatArray:
    share = np.maximum(binomial(p, kinds) @ mass, 1e-300)
    return np.asarray(_log_choose(kinds) + log_peak(kinds) + np.log(share))


def binomial(p: FloatArray, kinds: FloatArray) -> Any:
    """p^c (1-p)^(n-c) for every kind of task at ascending p, as a share of its peak over p: a sparse (kinds, points).

    Left out is what is below 1e-14 of the peak: nearly all of it, for the peak of a large c is narrow.
    """
    from scipy.sparse import csr_array  # type: ignore[import-untyped]

    n, c = kinds
    first, last = _window(n, c)
    start, stop = np.searchsorted(p, first), np.searchsorted(p, last, side="right")
    stop = np.maximum(stop, np.minimum(start + 1, p.size))
    start = np.minimum(start, stop - 1)
    lengths = stop - start
    ends = np.cumsum(lengths)
    points = np.arange(ends[-1]) + np.repeat(start - (ends - lengths), lengths)
    log_p, log_q = np.log(np.maximum(p, 1e-300)), np.log1p(-np.minimum(p, 1 - 1e-16))
    powers = np.repeat(c, lengths) * log_p[points] + np.repeat(n - c, lengths) * log_q[points]
    powers -= np.repeat(log_peak(kinds), lengths)
    return csr_array((np.exp(powers), points, np.concatenate([[0], ends])), shape=(c.size, p.size))


def _window(n: FloatArray, c: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Between which p the likelihood is above e^-32 of its peak, generously.

    In log-odds it falls like a normal curve of variance n / (c (n-c)), and far out like e^(c u) and e^(-(n-c) u).
    """
    d = n - c
    none, every = c == 0, d == 0
    good, bad = np.maximum(c, 1), np.maximum(d, 1)
    spread = 8 * np.sqrt(n / (good * bad))
    peak = np.log(good / bad)
    first = np.where(none, 0.0, _expit(peak - spread - 32 / good))
    last = np.where(every, 1.0, _expit(peak + spread + 32 / bad))
    return np.where(every, np.exp(-32 / n), first), np.where(none, -np.expm1(-32 / n), last)


def log_peak(kinds: FloatArray) -> FloatArray:
    """log of p^c (1-p)^(n-c) at p = c / n."""
    from scipy.special import xlogy

    n, c = kinds
    return np.asarray(xlogy(c, c / n) + xlogy(n - c, 1 - c / n))


def log_moment(alpha: float, beta: float, c: FloatArray, d: FloatArray) -> FloatArray:
    """log of E[p^c (1-p)^d] for p ~ Beta(alpha, beta)."""
    from scipy.special import betaln

    return np.asarray(betaln(alpha + c, beta + d) - betaln(alpha, beta))


def moment_slopes(alpha: float, beta: float, c: FloatArray, d: FloatArray) -> tuple[FloatArray, FloatArray]:
    from scipy.special import digamma

    both = digamma(alpha + beta) - digamma(alpha + beta + c + d)
    return digamma(alpha + c) - digamma(alpha) + both, digamma(beta + d) - digamma(beta) + both


def _log_choose(kinds: FloatArray) -> FloatArray:
    from scipy.special import gammaln

    n, c = kinds
    return np.asarray(gammaln(n + 1) - gammaln(c + 1) - gammaln(n - c + 1))


def moments(kinds: FloatArray, sizes: IntArray) -> FloatArray:
    """Where to start: alpha and beta, as logs, from the mean and the variance of c / n."""
    share = kinds[1] / kinds[0]
    mean = sizes @ share / sizes.sum()
    variance = sizes @ (share - mean) ** 2 / sizes.sum()
    concentration = np.clip(mean * (1 - mean) / max(variance, 1e-12) - 1, 0.05, 100)
    return np.log([max(mean * concentration, 1e-2), max((1 - mean) * concentration, 1e-2)])


def climb(
    gradient: Callable[[FloatArray], tuple[float, FloatArray]],
    start: FloatArray,
    ends: Sequence[tuple[float, float]],
    *,
    exact: float = 1e-13,
) -> FloatArray:
    """The x of the largest value within the ends, uphill from `start`, until steps gain less than `exact` of it."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]  # half a second to import

    def down(x: FloatArray) -> tuple[float, FloatArray]:
        value, slopes = gradient(x)
        return -value, -slopes

    low, high = np.array(ends).T
    options = {"ftol": exact, "gtol": 1e-6, "maxiter": 500}
    found = minimize(down, np.clip(start, low, high), jac=True, method="L-BFGS-B", bounds=ends, options=options)
    return np.asarray(found.x, dtype=np.float64)


def log_range() -> tuple[float, float]:
    return float(np.log(_RANGE[0])), float(np.log(_RANGE[1]))


def _logit(share: float) -> float:
    share = min(max(share, 1e-12), 1 - 1e-12)
    return float(np.log(share / (1 - share)))


def _expit(odds: Any) -> Any:
    return 1 / (1 + np.exp(-odds))
