"""Coverage, scaling laws, predictions and paired differences, from sets of counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from monkeys.formats.counts import Counts, CountsError
from monkeys.formats.counts.curves import curve_of, groups_of, law_of
from monkeys.report.result import Result, Section, Series, Table, points
from monkeys.science.coverage import Curve, default_ks, paired_difference, pass_at_k
from monkeys.science.coverage.curve import Bootstrap, Estimate
from monkeys.science.scaling import FitError, PowerLaw, choose_mixture, log_spaced_ks, predict_coverage
from monkeys.text import count, percent, several

__all__ = ["compare", "coverage", "fit", "predict"]

FINE = 60  # points of a curve that is drawn
FOLDS = 5  # of the comparison of distributions; ten take twice as long and choose the same on published counts
MOST_GROUPS = 40


def coverage(
    sets: Sequence[Counts],
    ks: Sequence[int] | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
    estimate: Estimate = "pass@k",
    again: bool = False,
    stopped_at: int | None = None,
    by_repository: bool = False,
) -> Result:
    """Coverage, or reliability, of each set at each k with its interval.

    With `again` the interval is that of repeating the whole experiment. `stopped_at` says that the attempts on a task
    ended with its first success, or after so many. `by_repository` adds a line for each repository.
    """
    sections, curves, data = [], [], {}
    for one in sets:
        if stopped_at is not None:
            one = replace(one, stopped_at=stopped_at)
        shown = tuple(ks) if ks else default_ks(one.attempts)
        between = log_spaced_ks(max(shown), FINE).tolist() if min(shown) >= 1 else []  # the estimator refuses k < 1
        wanted = sorted({*shown, *(k for k in between if k >= min(shown))})
        bootstrap: Bootstrap = "two-level" if again else "tasks"
        options: dict[str, Any] = {"level": level, "seed": seed, "estimate": estimate}
        curve = curve_of(one, wanted, bootstrap=bootstrap, **options)
        series = Series(one.name, points(curve.ks, curve.coverage, curve.low, curve.high))
        groups = groups_of(one, shown, **options) if by_repository else {}
        sections.append(
            Section(
                _title(one),
                (_curve_table(curve, shown, estimate), *([_group_table(groups, shown)] if groups else [])),
                series,
                (("interval", curve.interval if not curve.reason else curve.reason), *_notes(one)),
            )
        )
        curves.append(series)
        data[one.name] = {
            "tasks": len(one.task_ids),
            "solved": int((one.correct > 0).sum()),
            "attempts": one.attempts,
            "estimate": curve.estimate,
            "points": _rows(curve, shown),
            "interval": {"what": curve.interval, "level": level, "missing": curve.reason},
            "notes": one.notes,
            **({"groups": {name: _rows(group, shown) for name, group in groups.items()}} if groups else {}),
        }
    y = "coverage (pass@k)" if estimate == "pass@k" else "reliability (pass^k)"
    return Result({"sets": data}, tuple(sections), tuple(curves), y, band=_band(level, again=again))


def fit(sets: Sequence[Counts], *, seed: int = 0) -> Result:
    """The scaling law of each set, as in the paper, and the distribution of pass@1 over its tasks."""
    sections, curves, data = [], [], {}
    for one in sets:
        facts: list[tuple[str, str]] = []
        tables: list[Table] = []
        law, series, entry = None, None, dict[str, Any]()
        try:
            law = law_of(one)
            entry["law"] = {**asdict(law), "form": "c = exp(a k^b)"}
            facts += _law_facts(law)
        except FitError as error:
            if len(sets) == 1:
                raise
            entry["law_missing"] = str(error)
            facts.append(("law", f"none: {error}"))
        try:
            choice = choose_mixture(*one.likelihood(), folds=min(FOLDS, len(one.task_ids)), seed=seed)
            best = choice.best
            rows = []
            for family, mixture in choice.fits.items():
                chosen = "chosen" if family == best.family else "at the edge" if mixture.at_edge else ""
                rows.append((family, mixture.formula(), f"{choice.held_out[family]:.3f}", f"{mixture.aic:.1f}", chosen))
            tables.append(Table(("<pass@1 over tasks", "<fitted", "held-out log-lik.", "AIC", "<"), tuple(rows)))
            entry["mixtures"] = {
                family: {**asdict(mixture), "aic": mixture.aic, "held_out": choice.held_out[family]}
                for family, mixture in choice.fits.items()
            }
            entry["chosen"] = best.family
        except (CountsError, FitError) as error:
            entry["mixtures_missing"] = str(error)
            facts.append(("pass@1", f"no distribution: {error}"))
        if law is not None:
            curve = curve_of(one, log_spaced_ks(one.attempts, FINE).tolist(), seed=seed)
            series = Series(one.name, points(curve.ks, curve.coverage, curve.low, curve.high), law.predict)
            curves.append(series)
        sections.append(Section(_title(one), tuple(tables), series, (*facts, *_notes(one))))
        data[one.name] = entry
    return Result({"sets": data}, tuple(sections), tuple(curves), band=_band(0.95))


def predict(
    sets: Sequence[Counts],
    ks: Sequence[int] | None = None,
    *,
    first: int | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Result:
    """Coverage at more attempts than were made, or that it is unknown, beside what the fitted law says.

    Without `ks` it is predicted for ten and a hundred times the attempts. With `first`, only so many random attempts on
    each task are used, and what all of them show stands beside the prediction.

    Raises:
        CountsError: there are fewer than `first` attempts.
    """
    sections, curves, data = [], [], {}
    for one in sets:
        known = one if first is None else _fewer(one, first, seed)
        n, correct = known.likelihood()
        wanted = tuple(ks) if ks else (10 * known.attempts, 100 * known.attempts)
        law, why = None, ""
        try:
            law = law_of(known)
        except FitError as error:
            why = str(error)
        rows, facts = [], list[tuple[str, str]]()
        entries: list[dict[str, Any]] = []
        for k in wanted:
            try:
                found = predict_coverage(n, correct, k, level=level)
            except FitError as error:
                if len(sets) == 1:
                    raise
                facts.append((f"@{k:,}", f"no prediction: {error}"))
                entries.append({"k": k, "coverage": None, "reason": str(error)})
                continue
            truth = curve_of(one, [k], level=level).coverage[0] if k <= one.attempts else None
            rows.append(
                (
                    f"{k:,}",
                    "unknown" if found.coverage is None else percent(found.coverage),
                    f"{100 * found.low:.1f} – {100 * found.high:5.1f} %",
                    percent(None if law is None else law.predict(k)),
                    percent(truth),
                )
            )
            entries.append(
                {
                    "k": k,
                    "coverage": found.coverage,
                    "low": found.low,
                    "high": found.high,
                    "reason": found.reason,
                    "law": None if law is None else law.predict(k),
                    "measured": truth,
                }
            )
            if found.reason:
                facts.append((f"@{k:,}", found.reason))
        headings = ("k", "predicted", f"{100 * level:g} % interval", "by the law", "measured")
        if why:
            facts.append(("law", f"none: {why}"))
        drawn = f" (of {one.attempts:,}, seed {seed})" if first is not None else ""
        facts.append(("from", f"{_made(known)} attempts on each of {len(known.task_ids)} tasks{drawn}"))
        curve = curve_of(known, log_spaced_ks(known.attempts, FINE).tolist(), level=level, seed=seed)
        series = Series(one.name, points(curve.ks, curve.coverage, curve.low, curve.high), law.predict if law else None)
        curves.append(series)
        sections.append(Section(_title(known), (Table(headings, tuple(rows)),), None, (*facts, *_notes(one))))
        data[one.name] = {"from_attempts": known.attempts, "predictions": entries, "law_missing": why}
    return Result({"sets": data}, tuple(sections), tuple(curves), band=_band(level))


def _fewer(one: Counts, first: int, seed: int) -> Counts:
    """The counts of `first` random attempts on each task."""
    one = one.fixed()
    if not 1 <= first <= one.attempts:
        raise CountsError(
            f"{one.name}: {first} attempts cannot be taken of {one.attempts}; ask for 1 to {one.attempts}"
        )
    drawn = np.random.default_rng(seed).hypergeometric(one.correct, one.n - one.correct, first)
    return replace(one, n=np.full_like(one.n, first), correct=drawn.astype(np.int64), costs=None)


def compare(sets: Sequence[Counts], ks: Sequence[int] | None = None, *, level: float = 0.95, seed: int = 0) -> Result:
    """The difference of each further set from the first one, paired by task.

    Raises:
        CountsError: there are fewer than two sets, or two sets have no task in common.
    """
    if len(sets) < 2:
        raise CountsError("a comparison needs two sets: give two files, or one with several arms")
    sets = [one.fixed() for one in sets]
    first, *others = sets
    sections, curves, data = [], [], {}
    for other in others:
        at = {task: row for row, task in enumerate(first.task_ids)}
        both = [task for task in other.task_ids if task in at]
        if not both:
            raise CountsError(f"{first.name} and {other.name} have no task in common: pairs are made by the tasks' ids")
        mine = np.array([at[task] for task in both])
        row = {task: number for number, task in enumerate(other.task_ids)}
        theirs = np.array([row[task] for task in both])
        n_a, c_a, n_b, c_b = other.n[theirs], other.correct[theirs], first.n[mine], first.correct[mine]
        found = paired_difference(n_a, c_a, n_b, c_b, ks, level=level, seed=seed, names=both)
        mean_a, mean_b = (
            pass_at_k(n, c, np.array(found.ks)[:, None]).mean(axis=1).tolist() for n, c in ((n_a, c_a), (n_b, c_b))
        )
        rows = tuple(
            (f"{k:,}", percent(b), percent(a), f"{100 * d:+.1f}", f"{100 * low:+.1f} – {100 * high:+.1f}", f"{p:.3g}")
            for k, a, b, d, low, high, p in zip(
                found.ks, mean_a, mean_b, found.difference, found.low, found.high, found.p_value, strict=True
            )
        )
        headings = ("k", first.name, other.name, "points", f"{100 * level:g} % interval", "p")
        unpaired = len(first.task_ids) + len(other.task_ids) - 2 * len(both)
        facts = [
            ("interval", found.interval),
            ("p", f"that the arms are alike on these tasks: {found.replicates:,} random swaps, one k at a time"),
        ]
        bounds = zip(found.low, found.high, found.p_value, strict=True)
        if any(low < 0 < high and p < 1 - level for low, high, p in bounds):
            facts.append(
                (
                    "note",
                    "where the interval holds 0 and p is small, the arms differ on these tasks, but a rare task that "
                    "is not among them might turn the difference",
                )
            )
        if unpaired:
            facts.append(("note", f"left out: {several(unpaired, 'task')} that only one of the two has"))
        title = f"{other.name} less {first.name}   {several(found.tasks, 'task')} in pairs"
        sections.append(Section(title, (Table(headings, rows),), None, tuple(facts)))
        data[other.name] = {"against": first.name, **asdict(found), "interval": found.interval, "unpaired": unpaired}
    for one in sets:
        curve = curve_of(one, log_spaced_ks(one.attempts, FINE).tolist(), level=level, seed=seed)
        curves.append(Series(one.name, points(curve.ks, curve.coverage, curve.low, curve.high)))
    return Result({"differences": data}, tuple(sections), tuple(curves), band=_band(level))


def _band(level: float, *, again: bool = False) -> str:
    return f"bands: {100 * level:g} % interval over tasks{' and their attempts' if again else ''}"


def _title(one: Counts) -> str:
    solved = int((one.correct > 0).sum())
    return f"{one.name}   {several(len(one.task_ids), 'task')}, {count(solved)} solved in {_made(one)} attempts each"


def _made(one: Counts) -> str:
    least, most = int(one.n.min()), int(one.n.max())
    return count(least) if least == most else f"{count(least)} to {count(most)}"


def _notes(one: Counts) -> list[tuple[str, str]]:
    return [("note", note) for note in one.notes]


def _law_facts(law: PowerLaw) -> list[tuple[str, str]]:
    return [
        ("law", f"c = {law.formula()}   a = {law.a:.4g}   b = {law.b:.4g}"),
        (
            "residual",
            f"{100 * law.residual_mean:.2f} points of coverage (s.d. {100 * law.residual_std:.2f}), at "
            f"{law.residual_points} k from {law.k_min} to {law.k_max:,}",
        ),
    ]


def _rows(curve: Curve, shown: Sequence[int]) -> list[dict[str, Any]]:
    columns = zip(curve.ks, curve.coverage, curve.low, curve.high, strict=True)
    return [{"k": k, "value": value, "low": low, "high": high} for k, value, low, high in columns if k in shown]


def _curve_table(curve: Curve, shown: Sequence[int], estimate: str) -> Table:
    rows = []
    for row in _rows(curve, shown):
        between = "–"
        if np.isfinite(row["low"]):
            between = f"{100 * row['low']:.1f} – {100 * row['high']:5.1f} %"
        rows.append((f"{row['k']:,}", _exact(row["value"]), between))
    return Table(("k", estimate, f"{100 * curve.level:g} % interval"), tuple(rows))


def _group_table(groups: dict[str, Curve], shown: Sequence[int]) -> Table:
    rows = [
        (name, str(curve.tasks), *(percent(row["value"]) for row in _rows(curve, shown)))
        for name, curve in list(groups.items())[:MOST_GROUPS]
    ]
    return Table(("<repository", "tasks", *(f"@{k:,}" for k in shown)), tuple(rows))


def _exact(share: float) -> str:
    """A per cent, with more digits where it is small."""
    return f"{100 * share:.3f} %" if 0 < share < 0.1 else f"{100 * share:.2f} %"
