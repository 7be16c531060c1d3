"""Coverage, reliability, or what lies between the two, of sets of counts at each k."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monkeys.commands.analyses.shared import (
    FINE,
    band_of,
    between,
    made_of,
    notes_of,
    series_of,
    summed_up,
    title_of,
)
from monkeys.formats.counts import Counts
from monkeys.formats.counts.curves import curve_of, groups_of
from monkeys.report.result import Result, Section, Table
from monkeys.science.coverage import Curve, Method, default_ks
from monkeys.science.coverage.curve import Bootstrap, Estimate
from monkeys.science.scaling import log_spaced_ks
from monkeys.text import percent, several

__all__ = ["coverage"]

MOST_GROUPS = 40
DECADES = (1, 10, 100, 1_000, 10_000, 100_000)
AXES: dict[str, str] = {
    "pass@k": "coverage (pass@k)",
    "pass^k": "reliability (pass^k)",
    "g-pass@k": "share of tasks (G-Pass@k)",
}


def coverage(
    sets: Sequence[Counts],
    ks: Sequence[int] | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
    estimate: Estimate = "pass@k",
    tau: float = 0.5,
    method: Method | None = None,
    again: bool = False,
    by_repository: bool = False,
    each: bool = False,
    summary: bool = False,
) -> Result:
    """The estimate of each set at each k with its interval.

    With `again` the interval is that of repeating the whole experiment. `by_repository` adds a line for each
    repository. Many sets, or any number with `summary`, are the lines of one table, unless `each` is asked for.
    """
    many = summed_up(sets, each=each, summary=summary)
    bootstrap: Bootstrap = "two-level" if again else "tasks"
    options: dict[str, Any] = {"level": level, "seed": seed}
    if estimate != "pass@k":
        options["estimate"] = estimate
    if estimate == "g-pass@k":
        options["tau"] = tau
    if method is not None:
        options["method"] = method
    sections, curves, data, lines = [], [], {}, list[tuple[Counts, Curve]]()
    for one in sets:
        wished = tuple(ks) if ks else (*_decades(one), *default_ks(one.attempts)) if many else default_ks(one.attempts)
        shown = tuple(k for k in wished if k <= one.attempts) if many else wished
        shown = shown or (one.attempts,)
        fine = log_spaced_ks(max(shown), FINE).tolist() if min(shown) >= 1 else []  # the estimator refuses k < 1
        wanted = sorted({*shown, *(k for k in fine if k >= min(shown))})
        curve = curve_of(one, wanted, bootstrap=bootstrap, **options)
        series = series_of(one.name, curve)
        groups = groups_of(one, shown, **options) if by_repository else {}
        if not many:
            tables = (
                _curve_table(curve, shown, _name(estimate, tau)),
                *([_group_table(groups, shown)] if groups else []),
            )
            interval = curve.interval if not curve.reason else curve.reason
            sections.append(Section(title_of(one), tables, series, (("interval", interval), *notes_of(one))))
        lines.append((one, curve))
        curves.append(series)
        data[one.name] = {
            "tasks": len(one.task_ids),
            "solved": int((one.correct > 0).sum()),
            "attempts": one.attempts,
            "estimate": curve.estimate,
            **({"tau": tau} if estimate == "g-pass@k" else {}),
            "points": _rows(curve, shown),
            "interval": {"what": curve.interval, "level": level, "missing": curve.reason},
            "notes": one.notes,
            **({"oracle": one.oracle} if one.oracle else {}),
            **({"groups": {name: _rows(group, shown) for name, group in groups.items()}} if groups else {}),
        }
    if many:
        # Sets whose attempts were told what the hidden tests say stand in a table of their own.
        groups_of_lines = ([line for line in lines if bool(line[0].oracle) is oracle] for oracle in (False, True))
        sections += [_summary(some, ks, _name(estimate, tau), level) for some in groups_of_lines if some]
    return Result({"sets": data}, tuple(sections), tuple(curves), AXES[estimate], band=band_of(level, again=again))


def _decades(one: Counts) -> tuple[int, ...]:
    return tuple(k for k in DECADES if k <= one.attempts)


def _name(estimate: Estimate, tau: float) -> str:
    return f"G-Pass@k, tau {tau:g}" if estimate == "g-pass@k" else estimate


def _summary(lines: Sequence[tuple[Counts, Curve]], ks: Sequence[int] | None, estimate: str, level: float) -> Section:
    """A line for each set: its estimate at the k of all, and at all its attempts with the interval."""
    most = max(one.attempts for one, _ in lines)
    shown = sorted(set(ks)) if ks else [k for k in DECADES if k <= most]
    last = max(shown)
    ends = not ks and any(one.attempts != last for one, _ in lines)
    cells: dict[str, list[str]] = {"<set": [one.name for one, _ in lines]}
    cells["tasks"] = [f"{len(one.task_ids):,}" for one, _ in lines]
    cells["attempts"] = [made_of(one) for one, _ in lines]
    at = [{row["k"]: row for row in _rows(curve, curve.ks)} for _, curve in lines]
    for k in shown:
        cells[f"@{k:,}"] = [percent(rows[k]["value"]) if k in rows else "–" for rows in at]
    latest = [rows[last] if last in rows and not ends else rows[max(rows)] for rows in at]
    if ends:
        cells["@all"] = [percent(row["value"]) for row in latest]
    cells[f"{100 * level:g} % interval"] = [between(row["low"], row["high"]) for row in latest]
    title = f"{estimate} of {several(len(lines), 'set')}"
    # What is the same for all is said once.
    for heading, noun, ending in (("tasks", "task", ""), ("attempts", "attempt", " each")):
        if len(set(cells[heading])) == 1:
            same = cells.pop(heading)[0]
            title += f", {same} {noun}{'' if same == '1' else 's'}{ending}"
    what, where = lines[0][1].interval.partition(" over ")[0], "all attempts" if ends else f"k = {last:,}"
    facts = [("interval", f"{what} over tasks, at {where}")]
    if any(one.attempts < last for one, _ in lines):
        facts.append(("note", "– where a set has fewer attempts than k; its interval is at its last k"))
    facts += [("note", f"{one.name}: {note}") for one, _ in lines for note in one.notes]
    return Section(title, (Table(tuple(cells), tuple(zip(*cells.values(), strict=True))),), None, tuple(facts))


def _rows(curve: Curve, shown: Sequence[int]) -> list[dict[str, Any]]:
    columns = zip(curve.ks, curve.coverage, curve.low, curve.high, strict=True)
    return [{"k": k, "value": value, "low": low, "high": high} for k, value, low, high in columns if k in shown]


def _curve_table(curve: Curve, shown: Sequence[int], estimate: str) -> Table:
    rows = [(f"{row['k']:,}", _exact(row["value"]), between(row["low"], row["high"])) for row in _rows(curve, shown)]
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
