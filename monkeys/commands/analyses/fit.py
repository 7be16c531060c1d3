"""The scaling law of each set of counts, and the distribution of pass@1 over its tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from monkeys.commands.analyses.shared import band_of, drawn_curve, notes_of, series_of, summed_up, title_of
from monkeys.formats.counts import Counts, CountsError
from monkeys.formats.counts.curves import law_of
from monkeys.report.result import Result, Section, Table
from monkeys.science.scaling import FitError, LawInterval, MixtureChoice, PowerLaw, choose_mixture, law_interval
from monkeys.text import several

__all__ = ["fit"]

FOLDS = 5  # of the comparison of distributions; ten take twice as long and choose the same on published counts


def fit(
    sets: Sequence[Counts], *, level: float = 0.95, seed: int = 0, each: bool = False, summary: bool = False
) -> Result:
    """The paper's law with intervals of a and b, and the families of distributions compared.

    Raises:
        monkeys.science.scaling.FitError: the only set carries no law.
    """
    many = summed_up(sets, each=each, summary=summary)
    sections, curves, data, lines = [], [], {}, []
    for one in sets:
        facts: list[tuple[str, str]] = []
        tables: list[Table] = []
        law, span, choice, series, entry = None, None, None, None, dict[str, Any]()
        try:
            law = law_of(one)
            entry["law"] = {**asdict(law), "form": "c = exp(a k^b)"}
            span, why = _interval(one, level, seed)
            if span is not None:
                entry["law"] |= {name: getattr(span, name) for name in ("a_low", "a_high", "b_low", "b_high", "level")}
            facts += _law_facts(law, span, why)
        except FitError as error:
            if len(sets) == 1:
                raise
            entry["law_missing"] = str(error)
            facts.append(("law", f"none: {error}"))
        try:
            choice = choose_mixture(*one.likelihood(), folds=min(FOLDS, len(one.task_ids)), seed=seed)
            tables.append(_mixtures(choice))
            entry["mixtures"] = {
                family: {**asdict(mixture), "aic": mixture.aic, "held_out": choice.held_out[family]}
                for family, mixture in choice.fits.items()
            }
            entry["chosen"] = choice.best.family
        except (CountsError, FitError) as error:
            entry["mixtures_missing"] = str(error)
            facts.append(("pass@1", f"no distribution: {error}"))
        if law is not None:
            series = series_of(one.name, drawn_curve(one, level=level, seed=seed), law=law.predict)
            curves.append(series)
        if many:
            lines.append(_line(one, law, span, choice))
        else:
            sections.append(Section(title_of(one), tuple(tables), series, (*facts, *notes_of(one))))
        data[one.name] = entry
    if many:
        headings = ("<set", "tasks", "a", "b", f"{100 * level:g} % interval of b", "residual", "<pass@1 over tasks")
        sections.append(Section(f"laws of {several(len(sets), 'set')}", (Table(headings, tuple(lines)),)))
    return Result({"sets": data}, tuple(sections), tuple(curves), band=band_of(level))


def _interval(one: Counts, level: float, seed: int) -> tuple[LawInterval | None, str]:
    """The interval of a and b over tasks, or why there is none."""
    if one.stopped_at is not None or one.dependent:
        return None, "attempts ended with a task's first success"
    fixed = one.fixed()
    try:
        return law_interval(fixed.n, fixed.correct, level=level, seed=seed), ""
    except FitError as error:
        return None, str(error)


def _law_facts(law: PowerLaw, span: LawInterval | None, why: str) -> list[tuple[str, str]]:
    facts = [("law", f"c = {law.formula()}   a = {law.a:.4g}   b = {law.b:.4g}")]
    if span is None:
        facts.append(("interval", f"none of a and b: {why}"))
    else:
        facts.append(
            (
                "interval",
                f"{100 * span.level:g} % over tasks: a from {span.a_low:.4g} to {span.a_high:.4g}, b from "
                f"{span.b_low:.4g} to {span.b_high:.4g}",
            )
        )
    facts.append(
        (
            "residual",
            f"{100 * law.residual_mean:.2f} points of coverage (s.d. {100 * law.residual_std:.2f}), at "
            f"{law.residual_points} k from {law.k_min} to {law.k_max:,}",
        )
    )
    return facts


def _mixtures(choice: MixtureChoice) -> Table:
    rows = []
    for family, mixture in choice.fits.items():
        chosen = "chosen" if family == choice.best.family else "at the edge" if mixture.at_edge else ""
        rows.append((family, mixture.formula(), f"{choice.held_out[family]:.3f}", f"{mixture.aic:.1f}", chosen))
    return Table(("<pass@1 over tasks", "<fitted", "held-out log-lik.", "AIC", "<"), tuple(rows))


def _line(one: Counts, law: PowerLaw | None, span: LawInterval | None, choice: MixtureChoice | None) -> tuple[str, ...]:
    return (
        one.name,
        str(len(one.task_ids)),
        "–" if law is None else f"{law.a:.4g}",
        "–" if law is None else f"{law.b:.4g}",
        "–" if span is None else f"{span.b_low:.4g} to {span.b_high:.4g}",
        "–" if law is None else f"{100 * law.residual_mean:.2f}",
        "–" if choice is None else choice.best.formula(),
    )
