"""The science measured: its speed, its intervals, its predictions.

    python benchmarks/science.py [--tasks 140] [--attempts 10000] [--replicates 10000] [--rounds 3]
    python benchmarks/science.py --intervals [--runs 500]       # needs MONKEYS_PUBLISHED_COUNTS
    python benchmarks/science.py --predictions [--runs 500]     # this, too

Without a mode: from a table of raw outcomes to the full curve at every k, bootstrap intervals at 40 k and all fits,
beside plain NumPy renderings of the HumanEval reference (Chen et al. 2021) and of the Monkeys paper's procedure, in one
process and on the same outcomes; the imports of both are made before. Times are medians over rounds, those of the plain
renderings of one round.

`--intervals`: how often nominal 95 % intervals hold the truth where it is known, by simulation and by draws from the
published tables.
`--predictions`: from random subsets of 100 of 10,000 attempts to coverage at 10,000: bias, spread, interval coverage,
and the root mean square error of each figure over all tables. With MONKEYS_PUBLISHED_ATTEMPTS, a table of the single
attempts with their order, also from the first 100 attempts, as they were published (arXiv 2510.05197).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit  # type: ignore[import-untyped]
from scipy.special import betaln  # type: ignore[import-untyped]

from monkeys.formats.counts import Reading, read_counts
from monkeys.science.coverage import counts, coverage_curve, paired_difference, pass_at_every_k, pass_at_k
from monkeys.science.coverage.intervals import METHODS, interval
from monkeys.science.scaling import (
    FAMILIES,
    FitError,
    choose_mixture,
    fit_coverage,
    fit_log_linear,
    fit_log_log,
    fit_mixture,
    law_interval,
    log_spaced_ks,
    predict_coverage,
)

FloatArray = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=140)
    parser.add_argument("--attempts", type=int, default=10_000)
    parser.add_argument("--replicates", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=500)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--intervals", action="store_true")
    mode.add_argument("--predictions", action="store_true")
    arguments = parser.parse_args()
    if arguments.intervals:
        intervals(arguments.runs)
        published_intervals(arguments.runs)
        published_differences(arguments.runs)
    elif arguments.predictions:
        predictions(arguments.runs)
    else:
        speed(arguments.tasks, arguments.attempts, arguments.replicates, arguments.rounds)


# Speed.


def speed(tasks: int, attempts: int, replicates: int, rounds: int) -> None:
    rng = np.random.default_rng(0)
    outcomes = rng.random((tasks, attempts)) < rng.beta(0.3, 6, tasks)[:, None]
    ks = log_spaced_ks(attempts)
    n, c = counts(outcomes)
    warm = fit_mixture(10, [1, 0, 3], "scaled")  # what scipy imports on first use
    assert warm.tasks == 3

    print(f"{tasks} tasks x {attempts:,} attempts, {replicates:,} replicates, {os.cpu_count()} processors\n")
    print(f"{'':42s}wall ms    CPU ms")
    total = Time(0, 0)
    ours: list[tuple[str, Callable[[], Any]]] = [
        ("outcomes to counts, checked", lambda: counts(outcomes)),
        (f"coverage at all {attempts:,} k", lambda: pass_at_every_k(n, c)),
        (
            f"percentile bootstrap at {ks.size} k",
            lambda: coverage_curve(n, c, ks, method="percentile", replicates=replicates),
        ),
        (f"Gaffke's interval at {ks.size} k", lambda: coverage_curve(n, c, ks, replicates=replicates)),
        ("exponentiated power law", lambda: fit_coverage(n, c)),
        ("log-linear, log-log", lambda: (fit_log_linear(n, c), fit_log_log(n, c))),
        *((f"{family} mixture", partial(fit_mixture, n, c, family)) for family in FAMILIES),
    ]
    for what, work in ours:
        total += median(what, work, rounds)
    print(f"{'in all':36s}{total}\n")
    few = rng.hypergeometric(c, n - c, 100)
    median("law with bootstrap, 1,000 refits", lambda: law_interval(n, c), rounds)
    median("four families on 10 folds", lambda: choose_mixture(n, c), rounds)
    median("prediction from 100 attempts", lambda: predict_coverage(100, few, attempts), rounds)
    p = rng.beta(0.3, 6, 100_000)
    a, b = rng.binomial(100, p), rng.binomial(100, p)
    median("difference of 100,000 tasks", lambda: paired_difference(100, a, 100, b), rounds)
    unequal = rng.integers(100, 10_000, 5_000)
    solved = rng.binomial(unequal, p[:5_000])
    median("prediction, 5,000 tasks, unequal n", lambda: predict_coverage(unequal, solved, 100_000), rounds)

    print("\nplain NumPy")
    every = np.arange(1, attempts + 1)
    reference, curve_time = timed(lambda: human_eval(n, outcomes.sum(axis=1), every))
    print(f"{f'HumanEval reference at all {attempts:,} k':36s}{curve_time}")
    (bounds, law), paper_time = timed(lambda: paper(outcomes, ks, replicates))
    print(f"{f'bootstrap at {ks.size} k and power law':36s}{paper_time}")
    plain = curve_time + paper_time
    print(f"{'in all':36s}{plain}, {plain.cpu / total.cpu:.0f} times the CPU\n")

    curve = coverage_curve(n, c, ks, method="percentile", replicates=replicates)
    fitted = fit_coverage(n, c)
    print(f"largest difference in coverage  {np.abs(reference - pass_at_every_k(n, c)).max():.1e}")
    print(f"in the bootstrap's bounds       {np.abs(bounds - np.array([curve.low, curve.high])).max():.1e}")
    print(f"in a and b                      {abs(law[0] - fitted.a):.1e}, {abs(law[1] - fitted.b):.1e}")


def human_eval(n: NDArray[np.int64], c: NDArray[np.int64], ks: NDArray[np.int64]) -> FloatArray:
    """`estimate_pass_at_k` of the HumanEval evaluation, at every k."""

    def estimator(n: int, c: int, k: int) -> float:
        if n - c < k:
            return 1.0
        return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))

    return np.array([np.mean([estimator(int(ni), int(ci), int(k)) for ni, ci in zip(n, c, strict=True)]) for k in ks])


def paper(outcomes: NDArray[np.bool_], ks: NDArray[np.int64], replicates: int) -> tuple[FloatArray, FloatArray]:
    """Coverage at log-spaced k, resampled over tasks one replicate at a time, and the law by `curve_fit`."""
    n, c = outcomes.shape[1], outcomes.sum(axis=1)
    table = np.array(
        [[1.0 if n - ci < k else 1 - np.prod(1 - k / np.arange(n - ci + 1, n + 1)) for ci in c] for k in ks]
    )
    rng = np.random.default_rng(0)
    means = np.array([table[:, rng.integers(len(c), size=len(c))].mean(axis=1) for _ in range(replicates)])
    law, _ = curve_fit(lambda k, a, b: np.exp(a * k**b), ks.astype(float), table.mean(axis=1), p0=(-3, -0.3))
    return np.quantile(means, [0.025, 0.975], axis=0), law


@dataclass(frozen=True)
class Time:
    """Seconds. On a machine that others use, CPU time says more than the clock."""

    wall: float
    cpu: float

    def __add__(self, other: Time) -> Time:
        return Time(self.wall + other.wall, self.cpu + other.cpu)

    def __str__(self) -> str:
        return f"{1000 * self.wall:13,.1f}{1000 * self.cpu:10,.1f}"


def timed(work: Callable[[], Any]) -> tuple[Any, Time]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, Time(time.perf_counter() - wall, time.process_time() - cpu)


def median(what: str, work: Callable[[], Any], rounds: int) -> Time:
    times = [timed(work)[1] for _ in range(rounds)]
    middle = Time(statistics.median(t.wall for t in times), statistics.median(t.cpu for t in times))
    print(f"{what:36s}{middle}")
    return middle


# Intervals.


def intervals(runs: int) -> None:
    """pass@1 ~ Beta, so that coverage is known; n attempts on each of 5 to 128 tasks."""
    rng = np.random.default_rng(0)
    cases = ((0.3, 6.0, 50, (1, 10, 50)), (1.0, 1.0, 4, (1, 4)), (0.2, 60.0, 100, (1, 10, 100)))
    print(f"share of {runs:,} runs whose nominal 95 % interval held the truth (and its mean width)")
    for tasks in (2, 5, 12, 30, 128):
        worst: dict[str, list[float]] = {method: [] for method in METHODS}
        for alpha, beta, n, ks in cases:
            truth = -np.expm1(betaln(alpha, beta + np.array(ks)) - betaln(alpha, beta))
            held = {method: np.zeros(len(ks)) for method in METHODS}
            width = {method: np.zeros(len(ks)) for method in METHODS}
            for seed in range(runs):
                c = rng.binomial(n, rng.beta(alpha, beta, tasks))
                values = pass_at_k(n, c, np.array(ks)[:, None])
                for method in METHODS:
                    each = np.ones(tasks, dtype=np.int64)
                    low, high = interval(values, each, method=method, level=0.95, replicates=600, seed=seed)
                    held[method] += (low <= truth + 1e-12) & (truth - 1e-12 <= high)
                    width[method] += np.nan_to_num(high - low)
            print(f"\n{tasks} tasks, pass@1 ~ Beta({alpha:g}, {beta:g}), n = {n}, k = {', '.join(map(str, ks))}")
            for method in METHODS:
                row = (f"{h / runs:.3f} ({w / runs:.3f})" for h, w in zip(held[method], width[method], strict=True))
                print(f"  {method:15s}{'  '.join(row)}")
                worst[method] += (held[method] / runs).tolist()
        print(f"\n{tasks} tasks in all: " + ", ".join(f"{m} {min(w):.3f}-{max(w):.3f}" for m, w in worst.items()))


def published_intervals(runs: int) -> None:
    """Random draws from the tasks of published tables, whose 10,000 attempts give the truth nearly."""
    tables = published_tables()
    rng = np.random.default_rng(1)
    ks = np.array([1, 10, 100, 1_000, 10_000])
    values = {row: pass_at_k(table["n"], np.array(table["correct"]), ks[:, None]) for row, table in tables.items()}
    print(f"\nshare of {runs:,} draws of tasks from published tables, at k = {', '.join(map(str, ks))}")
    for tasks in (12, 30):
        worst: dict[str, list[float]] = {method: [] for method in METHODS}
        for row, whole in values.items():
            held = {method: np.zeros(ks.size) for method in METHODS}
            for seed in range(runs):
                drawn = whole[:, rng.integers(whole.shape[1], size=tasks)]
                for method in METHODS:
                    each = np.ones(tasks, dtype=np.int64)
                    low, high = interval(drawn, each, method=method, level=0.95, replicates=600, seed=seed)
                    held[method] += (low <= whole.mean(axis=1) + 1e-12) & (whole.mean(axis=1) - 1e-12 <= high)
            print(f"\n{tasks} tasks of {row}")
            for method in METHODS:
                print(f"  {method:15s}{'  '.join(f'{share:.3f}' for share in held[method] / runs)}")
                worst[method] += (held[method] / runs).tolist()
        print(f"\n{tasks} tasks in all: " + ", ".join(f"{m} {min(w):.3f}-{max(w):.3f}" for m, w in worst.items()))


def published_differences(runs: int) -> None:
    """The same for pairs of models on the same tasks, beside the percentile bootstrap of the gaps."""
    tables = published_tables()
    rng = np.random.default_rng(2)
    ks = np.array([1, 10, 100, 1_000, 10_000])
    print(f"\npaired differences: share of {runs:,} draws (and mean width), percentile bootstrap beneath")
    for tasks in (12, 30, 128):
        for first, second in combinations(tables, 2):
            a, b = tables[first], tables[second]
            if a["problem_idx"] != b["problem_idx"]:
                continue
            c_a, c_b = np.array(a["correct"]), np.array(b["correct"])
            gaps = pass_at_k(a["n"], c_a, ks[:, None]) - pass_at_k(b["n"], c_b, ks[:, None])
            truth = gaps.mean(axis=1)
            held, width, plain = np.zeros((3, ks.size))
            for seed in range(runs):
                drawn = rng.integers(c_a.size, size=tasks)
                gap = paired_difference(a["n"], c_a[drawn], b["n"], c_b[drawn], ks, replicates=600, seed=seed)
                low, high = np.array(gap.low), np.array(gap.high)
                held += (low <= truth + 1e-12) & (truth - 1e-12 <= high)
                width += high - low
                again = drawn[np.random.default_rng(seed).integers(tasks, size=(600, tasks))]
                bounds = np.quantile(gaps[:, again].mean(axis=2), [0.025, 0.975], axis=1)
                plain += (bounds[0] <= truth + 1e-12) & (truth - 1e-12 <= bounds[1])
            print(f"\n{tasks} tasks, {first} less {second}")
            print("  " + "  ".join(f"{h:.3f} ({w:.3f})" for h, w in np.array([held, width]).T / runs))
            print("  " + "          ".join(f"{share:.3f}" for share in plain / runs))


def published_tables() -> dict[str, dict[str, Any]]:
    path = os.environ.get("MONKEYS_PUBLISHED_COUNTS")
    if not path:
        raise SystemExit("set MONKEYS_PUBLISHED_COUNTS to a file with counts of correct samples per problem")
    tables: dict[str, dict[str, Any]] = json.loads(Path(path).read_text())
    return tables


# Predictions.


def predictions(runs: int) -> None:
    rng = np.random.default_rng(0)
    print(f"from {runs} random subsets of 100 attempts to coverage at 10,000")
    squares: dict[str, list[float]] = {}
    sure_squares: dict[str, list[float]] = {}
    for row, table in published_tables().items():
        n, correct = table["n"], np.array(table["correct"])
        truth = float(pass_at_k(n, correct, n).mean())
        figures: dict[str, list[float]] = {
            "predicted": [],
            "likelihood": [],
            "beta": [],
            "zero-inflated": [],
            "log-log": [],
            "power law": [],
        }
        bounds, known, refused = [], [], 0
        for _ in range(runs):
            c = rng.hypergeometric(correct, n - correct, 100)
            prediction = predict_coverage(100, c, n)
            bounds.append((prediction.low, prediction.high))
            known.append(prediction.known)
            try:
                fits: list[Any] = [
                    fit_mixture(100, c),
                    fit_mixture(100, c, "zero-inflated"),
                    fit_log_log(100, c),
                    fit_coverage(100, c),
                ]
            except FitError:
                refused += 1
                continue
            values = [prediction.point, prediction.likelihood, *(fit.predict(n) for fit in fits)]
            for (name, figure), value in zip(figures.items(), values, strict=True):
                figure.append(value)
                squares.setdefault(name, []).append((value - truth) ** 2)
                if prediction.known:
                    sure_squares.setdefault(name, []).append((value - truth) ** 2)
        low, high = np.array(bounds).T
        said = np.array(known)
        held = (low <= truth) & (truth <= high)
        print(f"\n{row}: {truth:.3f} at {n:,}")
        for name, figure in figures.items():
            mean, middle = np.mean(figure), np.quantile(figure, [0.025, 0.5, 0.975])
            print(
                f"  {name:14s} mean {mean:.3f}  bias {mean - truth:+.3f}  s.d. {np.std(figure):.3f}"
                f"  2.5, 50, 97.5 % {middle[0]:.3f} {middle[1]:.3f} {middle[2]:.3f}"
            )
        sure = f"; of the known ones {held[said].mean():.3f}" if said.any() else ""
        print(f"  interval       held {held.mean():.3f}{sure}; mean [{low.mean():.3f}, {high.mean():.3f}]")
        print(f"  unknown        {1 - said.mean():.3f}; no fit at all {refused / runs:.3f}")
    print("\nroot mean square error over all tables, and over the predictions that are known")
    for name, errors in squares.items():
        known_errors = sure_squares.get(name, [])
        print(
            f"  {name:14s} {np.sqrt(np.mean(errors)):.3f}  {np.sqrt(np.mean(known_errors)) if known_errors else 0:.3f}"
        )
    published_predictions()


def published_predictions() -> None:
    """From the first 100 attempts, in the order in which they were made."""
    path = os.environ.get("MONKEYS_PUBLISHED_ATTEMPTS")
    if not path:
        return
    print("\nfrom the first 100 attempts to coverage at all: beta, log-log, predicted, truth")
    firsts = read_counts(Path(path), Reading(first=100))
    for first, whole in zip(firsts, read_counts(Path(path)), strict=True):
        k = whole.attempts
        row = (
            fit_mixture(first.n, first.correct).predict(k),
            fit_log_log(first.n, first.correct).predict(k),
            predict_coverage(first.n, first.correct, k).point,
            float(pass_at_k(whole.n, whole.correct, k).mean()),
        )
        print(f"  {first.name:40s}" + "  ".join(f"{value:.3f}" for value in row))


if __name__ == "__main__":
    main()
