"""Coverage at more attempts than were made, or that it is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan
from typing import Any

import numpy as np

from monkeys.commands.analyses.shared import (
    band_of,
    between,
    drawn_curve,
    made_of,
    notes_of,
    series_of,
    summed_up,
    title_of,
)
from monkeys.formats.counts import Counts, CountsError
from monkeys.formats.counts.curves import curve_of, law_of
from monkeys.report.point import Point
from monkeys.report.result import Result, Section, Table
from monkeys.science.scaling import FitError, Forecast, PowerLaw, predict_coverage
from monkeys.text import percent, several

__all__ = ["predict"]


@dataclass(frozen=True)
class _Predicted:
    forecast: Forecast
    law: float | None
    measured: float | None

    def cells(self) -> tuple[str, ...]:
        found = self.forecast
        return (
            f"{found.k:,}",
            "unknown" if found.coverage is None else percent(found.coverage),
            between(found.low, found.high),
            percent(found.regression),
            percent(found.likelihood),
            percent(self.law),
            percent(self.measured),
        )

    def entry(self) -> dict[str, Any]:
        found = self.forecast
        return {
            "k": found.k,
            "coverage": found.coverage,
            "low": found.low,
            "high": found.high,
            "reason": found.reason,
            "regression": found.regression,
            "likelihood": found.likelihood,
            "law": self.law,
            "measured": self.measured,
        }

    def point(self) -> Point:
        found = self.forecast
        return Point(found.k, nan if found.coverage is None else found.coverage, found.low, found.high)


def predict(
    sets: Sequence[Counts],
    ks: Sequence[int] | None = None,
    *,
    first: int | None = None,
    firsts: Sequence[Counts] | None = None,
    level: float = 0.95,
    seed: int = 0,
    each: bool = False,
    summary: bool = False,
) -> Result:
    """Predict coverage for each set, or say that it is unknown, beside the two estimates and the fitted law.

    Args:
        ks: ten and a hundred times the attempts when left out.
        first: use only so many random attempts on each task; what all of them show stands beside the prediction.
        firsts: use these counts of the first attempts on each task, one set for each of `sets`.

    Raises:
        CountsError: there are fewer than `first` attempts.
        monkeys.science.scaling.FitError: the only set carries no prediction.
    """
    many = summed_up(sets, each=each, summary=summary)
    sections, curves, data, lines, notes = [], [], {}, [], list[tuple[str, str]]()
    for number, one in enumerate(sets):
        if firsts is not None:
            known, drawn = firsts[number], f" (the first of {one.attempts:,})"
        elif first is not None:
            known, drawn = _fewer(one, first, seed), f" (of {one.attempts:,}, seed {seed})"
        else:
            known, drawn = one, ""
        law, why = _law(known)
        found, entries, facts = list[_Predicted](), list[dict[str, Any]](), list[tuple[str, str]]()
        for k in tuple(ks) if ks else (10 * known.attempts, 100 * known.attempts):
            try:
                forecast = _forecast(known, k, level)
            except FitError as error:
                if len(sets) == 1:
                    raise
                facts.append((f"@{k:,}", f"no prediction: {error}"))
                entries.append({"k": k, "coverage": None, "reason": str(error)})
                continue
            truth = curve_of(one, [k], level=level).coverage[0] if k <= one.attempts else None
            found.append(_Predicted(forecast, None if law is None else law.predict(k), truth))
            entries.append(found[-1].entry())
            if forecast.reason:
                facts.append((f"@{k:,}", forecast.reason))
        if why:
            facts.append(("law", f"none: {why}"))
        made = ("from", f"{made_of(known)} attempts on each of {len(known.task_ids)} tasks{drawn}")
        curves.append(
            series_of(
                one.name,
                drawn_curve(known, level=level, seed=seed),
                law=law.predict if law else None,
                forecast=tuple(each.point() for each in found),
            )
        )
        headings: tuple[str, ...] = (
            "k",
            "predicted",
            f"{100 * level:g} % interval",
            "log-log",
            "likelihood",
            "power law",
            "measured",
        )
        if all(each.measured is None for each in found) and not many:
            headings = headings[:-1]
        if many:
            lines += [(one.name, *each.cells()) for each in found] or [(one.name, *["–"] * len(headings))]
            said = [f"{'' if label == 'note' else f'{label}: '}{text}" for label, text in (*facts, *notes_of(one))]
            notes += [("note", f"{one.name}: {text}") for text in said]
        else:
            table = Table(headings, tuple(each.cells()[: len(headings)] for each in found))
            sections.append(Section(title_of(known), (table,), None, (*facts, made, *notes_of(one))))
        data[one.name] = {"from_attempts": known.attempts, "predictions": entries, "law_missing": why}
    if many:
        table = Table(("<set", *headings), tuple(lines))
        sections.append(Section(f"predictions for {several(len(sets), 'set')}", (table,), None, tuple(notes)))
    return Result({"sets": data}, tuple(sections), tuple(curves), band=band_of(level))


def _law(known: Counts) -> tuple[PowerLaw | None, str]:
    try:
        return law_of(known), ""
    except FitError as error:
        return None, str(error)


def _forecast(known: Counts, k: int, level: float) -> Forecast:
    n, correct = known.likelihood()
    fixed = known.stopped_at is None and known.first is None
    return predict_coverage(n, correct, k, level=level, fixed=fixed)


def _fewer(one: Counts, first: int, seed: int) -> Counts:
    """The counts of `first` random attempts on each task."""
    one = one.fixed()
    if not 1 <= first <= one.attempts:
        raise CountsError(
            f"{one.name}: {first} attempts cannot be taken of {one.attempts}; ask for 1 to {one.attempts}"
        )
    drawn = np.random.default_rng(seed).hypergeometric(one.correct, one.n - one.correct, first)
    return replace(one, n=np.full_like(one.n, first), correct=drawn.astype(np.int64), costs=None)
