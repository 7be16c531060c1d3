"""Coverage over attempts x turns of a run: the surface, what a budget buys at best, and how attempts ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import floor, isnan
from typing import Any

import numpy as np

from monkeys.commands.analyses.branches import branch_data, branch_sections
from monkeys.commands.analyses.endings import ending_section
from monkeys.commands.analyses.shared import FINE, band_of, signed
from monkeys.formats.counts import CountsError
from monkeys.formats.design import arms_apart, oracle_notes, run_name
from monkeys.formats.turns import attempt_turns, run_turns
from monkeys.report.result import Grid, Result, Section, Series, Table, points
from monkeys.report.views.branch import branch_views
from monkeys.report.views.endings import endings_view
from monkeys.science.coverage import (
    BestCell,
    CellDifference,
    CoverageError,
    Surface,
    TurnCounts,
    best_cells,
    compare_cells,
    coverage_surface,
    mean_costs,
    surface_values,
    turn_counts,
)
from monkeys.science.coverage.counts import FloatArray, listed
from monkeys.science.scaling import log_spaced_ks
from monkeys.store import Store
from monkeys.text import amount, count, money, percent, several, span

__all__ = ["Wishes", "surface"]

AXES = {"tokens": "tokens", "seconds": "seconds", "dollars": "$"}
BUDGETS = 5  # that are shown where none is given
BANDS = "abcdefghijklmnopqrstuvwxyz"
STEPS = (1, 2, 5)


@dataclass(frozen=True)
class Wishes:
    """What a user asked of a surface; None for the usual."""

    ks: Sequence[int] | None = None
    turns: Sequence[int] | None = None
    unit: str = "tokens"
    """One of `AXES`."""
    budgets: Sequence[float] | None = None
    """On each task, in this unit."""
    cells: Sequence[tuple[int, int]] | None = None
    """Pairs of k and t: the first is compared with the others."""
    level: float = 0.95
    seed: int = 0
    drawn: bool = False
    """Whether a picture is made too."""

    @property
    def any(self) -> bool:
        """Whether something was asked for that only a surface can give."""
        return any(wish is not None for wish in (self.ks, self.turns, self.budgets, self.cells)) or self.drawn


@dataclass(frozen=True)
class _Costs:
    """Mean costs of an attempt of t turns: `each`, shape (turns,), of `table`, shape (tasks, turns)."""

    unit: str
    table: FloatArray

    @property
    def each(self) -> FloatArray:
        return np.asarray(self.table.mean(axis=0))

    @property
    def known(self) -> bool:
        """Whether anything was spent: some servers tell no tokens."""
        return bool(self.each[-1] > 0)

    def of(self, k: int, turn: int) -> float:
        return float(k * self.each[turn - 1])

    def said(self, cost: float) -> str:
        """A cost in words."""
        if self.unit == "dollars":
            return money(cost)
        return span(cost) if self.unit == "seconds" else f"{amount(cost)} tokens"


def surface(store: Store, wishes: Wishes) -> Result:
    """The surface of a run with what was asked, where its attempts ended, and the value of turns that were branched.

    Where the run does not hold what its attempts had after each turn there is no surface; the result says why.

    Raises:
        CountsError: there is no surface, and something was asked for that only it can give; prices are not known.
        CoverageError: k, t or a budget beyond what was sampled.
    """
    oracle = {"oracle": store.oracles} if store.oracles else {}
    arm, part = next(iter(arms_apart(store).items()))
    attempts, branches = attempt_turns(part), branch_views(store, wishes.level)
    try:
        turns = run_turns(part, attempts)
    except CountsError as error:
        if wishes.any:
            raise
        ended = endings_view(part, attempts, None)
        sections = (
            Section(
                run_name(store),
                facts=(("no surface", str(error)), *(("note", note) for note in oracle_notes(store))),
            ),
            *branch_sections(branches),
            ending_section(ended),
        )
        data = {"surface_missing": str(error), "cells": [], "endings": ended.to_json(), **branch_data(branches)}
        return Result({"sets": {run_name(store): {**data, **oracle}}}, sections)
    notes = (*turns.notes, *_other_arms(arm, store))
    counts = turn_counts(turns.task, turns.outcomes, sampling="independent", names=turns.task_ids)
    if wishes.unit not in turns.spent:
        raise CountsError(
            f"run {store.folder.name} has no prices, so that nothing is known in {wishes.unit}: sample with --prices "
            "FILE, or give --against tokens"
        )
    costs = {unit: _Costs(unit, mean_costs(turns.task, spent)) for unit, spent in turns.spent.items()}
    cost = costs[wishes.unit]
    found = coverage_surface(
        counts, wishes.ks, wishes.turns, level=wishes.level, seed=wishes.seed, names=turns.task_ids
    )
    budgets = sorted(wishes.budgets or _budgets(cost.of(1, found.turns[0]), cost.of(counts.attempts, counts.turns)))
    best, no_best = _best(counts, cost, budgets, wishes)
    differences = _differences(counts, cost, wishes, turns.task_ids)
    ended = endings_view(part, attempts, turns, found.turns)
    least, most = int(counts.n.min()), int(counts.n.max())
    made = several(most, "attempt") if least == most else f"{count(least)} to {several(most, 'attempt')}"
    title = f"{turns.name}   {several(found.tasks, 'task')}, {made} each of up to {several(counts.turns, 'turn')}"
    if least < most:
        fewest = [name for name, n in zip(turns.task_ids, counts.n, strict=True) if n == least]
        notes = (*notes, f"k ends at {count(least)}, the attempts on {listed(fewest)}")
    answers = [("answer", _answer(one, cost)) for one in differences]
    sections = (
        Section(title, facts=tuple(answers)),
        _cells_section(found, cost, budgets, notes),
        _turns_section(found, costs),
        *([_best_section(best, cost, counts, wishes.level)] if best else []),
        *([Section("the best attempts x turns", facts=(("none", no_best),))] if no_best else []),
        *branch_sections(branches),
        ending_section(ended),
    )
    data = {
        "tasks": found.tasks,
        "attempts": found.attempts,
        "turns": counts.turns,
        "cells": _cell_rows(found, costs),
        "interval": {"what": found.interval, "level": found.level},
        "unit": wishes.unit,
        "budgets": [_best_row(one) for one in best],
        "budgets_missing": no_best,
        "differences": [_difference_row(one, cost) for one in differences],
        "notes": list(notes),
        "endings": ended.to_json(),
        **branch_data(branches),
        **oracle,
    }
    return Result(
        {"sets": {turns.name: data}},
        sections,
        _curves(counts, found, cost, wishes) if wishes.drawn else (),
        x=f"{AXES[wishes.unit]} a task" if cost.known else "attempts k",
        band=band_of(wishes.level),
        grid=_grid(counts, cost, budgets) if wishes.drawn else None,
    )


def _other_arms(arm: str, store: Store) -> list[str]:
    others = [name for name in arms_apart(store) if name != arm]
    own = [f"this is the arm {arm}, which was told of the hidden tests"] if arm else []
    return own + [f"left out: the arm {name}, which was told of the hidden tests" for name in others]


def _budgets(least: float, most: float) -> list[float]:
    """Round numbers between the costs of two cells, about evenly on a logarithmic scale, and the larger cost."""
    if not 0 < least < most:
        return [most] if most > 0 else []
    powers = range(floor(np.log10(least)), floor(np.log10(most)) + 1)
    between = [step * 10.0**power for power in powers for step in STEPS if least < step * 10.0**power < most]
    if len(between) > BUDGETS:
        between = [between[round(at)] for at in np.linspace(0, len(between) - 1, BUDGETS)]
    return [*between, most]


def _best(
    counts: TurnCounts, cost: _Costs, budgets: Sequence[float], wishes: Wishes
) -> tuple[tuple[BestCell, ...], str]:
    """The best cell of each budget, or why there is none. A user's own budget is refused where it buys nothing."""
    if not cost.known:
        return (), f"as far as is known, no {cost.unit} were spent; give --against another unit"
    if not wishes.budgets and counts.known.size:
        budgets = [budget for budget in budgets if budget >= cost.each[counts.known - 1].min()]
    try:
        return best_cells(counts, cost.table, budgets, level=wishes.level, seed=wishes.seed), ""
    except CoverageError as error:
        if wishes.budgets:
            raise
        return (), str(error)


def _differences(counts: TurnCounts, cost: _Costs, wishes: Wishes, names: Sequence[str]) -> list[CellDifference]:
    """The cells that are compared: those of the user, or all attempts cut short and as dear a number of whole ones."""
    options: dict[str, Any] = {"level": wishes.level, "seed": wishes.seed, "names": names}
    if wishes.cells:
        _refuse_too_many(counts, wishes.cells)
        first, *others = wishes.cells
        return [compare_cells(counts, first, other, **options) for other in others]
    whole = counts.turns
    k = counts.attempts
    short = max(1, round(whole / 4))
    # The cut attempts must pay for at least one that is not.
    while short < whole and cost.of(k, short) < cost.of(1, whole):
        short += 1
    if short >= whole or not cost.known or not {short, whole} <= set(counts.known.tolist()):
        return []
    long = min(k, floor(cost.of(k, short) / cost.of(1, whole)))
    k = min(k, floor(cost.of(long, whole) / cost.of(1, short)))
    return [compare_cells(counts, (long, whole), (k, short), **options)]


def _refuse_too_many(counts: TurnCounts, cells: Sequence[tuple[int, int]]) -> None:
    """Refuse cells of more attempts than were made, with cells in their place that stand as 250 to 1,000 do too."""
    most = max(k for k, _ in cells)
    if most <= counts.attempts:
        return
    instead = ",".join(f"{max(1, k * counts.attempts // most)}x{turn}" for k, turn in cells)
    raise CoverageError(
        f"{most:,} attempts on each task are more than the {counts.attempts:,} that were made, beyond which pass@k has "
        f"no unbiased estimate; give --compare {instead}, which asks the same of fewer attempts, or sample more"
    )


def _answer(one: CellDifference, cost: _Costs) -> str:
    """The comparison in a sentence."""
    (k, turn), (other_k, other) = one.first, one.second
    price, other_price = cost.of(k, turn), cost.of(other_k, other)
    same = "at about the same cost, " if abs(price - other_price) <= 0.1 * max(price, other_price) else ""
    first, second = f"{k:,} x {turn}", f"{other_k:,} x {other}"
    # Of few tasks the interval alone may be too sure: with three of them no test tells two cells apart.
    if one.low <= 0 <= one.high or one.p_value > 1 - one.level:
        end = f"a difference of {0 - 100 * one.difference:+.1f} points, and the tasks do not tell which is better"
        bounds = signed(-one.high, -one.low)
    else:
        end = f"{second if one.difference < 0 else first} is better by {100 * abs(one.difference):.1f} points"
        bounds = _span(min(abs(one.low), abs(one.high)), max(abs(one.low), abs(one.high)))
    return (
        f"{same}{first} turns ({cost.said(price)} a task) solve {percent(one.coverages[0])} of the tasks and {second} "
        f"turns ({cost.said(other_price)}) {percent(one.coverages[1])}: {end} ({100 * one.level:g} % interval {bounds})"
    )


# Tables


def _cells_section(found: Surface, cost: _Costs, budgets: Sequence[float], notes: Sequence[str]) -> Section:
    """Coverage of each cell with the letter of its band of costs."""
    rows = []
    for at, turn in enumerate(found.turns):
        cells = [f"{_share(found, at, column)} {_band(cost.of(k, turn), budgets)}" for column, k in enumerate(found.ks)]
        rows.append((f"{turn}", *cells))
    dearest = cost.of(found.ks[-1], found.turns[-1])
    facts = [*([("cost a task", _legend(cost, budgets, dearest))] if budgets else []), ("interval", found.interval)]
    if np.isnan(found.coverage).any():
        facts.append(
            ("note", "two numbers: between these, since what some attempts had then is not known or has no verdict")
        )
    facts += [("note", note) for note in notes]
    headings = ("turns", *(f"@{k:,}" for k in found.ks))
    return Section(
        "coverage in % of k attempts (@k), stopped after t turns", (Table(headings, tuple(rows)),), None, tuple(facts)
    )


def _share(found: Surface, row: int, column: int) -> str:
    value = found.coverage[row, column]
    if isnan(value):
        return _span(found.least[row, column], found.most[row, column])
    return f"{100 * value:.1f}"


def _span(low: float, high: float) -> str:
    """An interval in per cent, as short as there is room for."""
    return "–" if isnan(low) else f"{100 * low:.1f}–{100 * high:.1f}"


def _band(cost: float, budgets: Sequence[float]) -> str:
    """The letter of the costs between two lines of equal cost; empty where there are no lines."""
    if not budgets:
        return ""
    return BANDS[min(sum(cost > budget for budget in budgets), len(BANDS) - 1)]


def _legend(cost: _Costs, budgets: Sequence[float], dearest: float) -> str:
    up_to = [f"{BANDS[at]} up to {cost.said(budget)}" for at, budget in enumerate(budgets[: len(BANDS) - 1])]
    more = [f"{BANDS[min(len(budgets), len(BANDS) - 1)]} more"] if dearest > budgets[-1] else []
    return ", ".join([*up_to, *more])


def _turns_section(found: Surface, costs: dict[str, _Costs]) -> Section:
    """What an attempt of t turns costs, and the intervals at the smallest and the largest k."""
    headings = ["turns", *(AXES[unit] for unit in costs)]
    ends = dict.fromkeys((0, len(found.ks) - 1))
    for column in ends:
        headings += [f"@{found.ks[column]:,}", f"{100 * found.level:g} %"]
    rows = []
    for at, turn in enumerate(found.turns):
        row = [f"{turn}", *(cost.said(cost.of(1, turn)).removesuffix(" tokens") for cost in costs.values())]
        for column in ends:
            row += [_share(found, at, column), _span(found.low[at, column], found.high[at, column])]
        rows.append(tuple(row))
    return Section(
        "an attempt of t turns: its mean cost, and coverage in % with its interval",
        (Table(tuple(headings), tuple(rows)),),
    )


def _best_section(best: Sequence[BestCell], cost: _Costs, counts: TurnCounts, level: float) -> Section:
    rows = tuple(
        (
            cost.said(one.budget).removesuffix(" tokens"),
            f"{one.k:,} x {one.turns}",
            cost.said(one.cost).removesuffix(" tokens"),
            percent(one.coverage),
            percent(one.held_out),
            _span(one.low, one.high),
            f"{one.chosen_between[0]}–{one.chosen_between[1]}",
        )
        for one in best
    )
    headings = ("budget", "best", "cost", "coverage", "held out", f"{100 * level:g} %", "turns")
    facts = [
        (
            "held out",
            f"coverage on tasks that did not choose, with its {100 * level:g} % interval; the coverage before it is of "
            "the tasks that chose, and too large",
        ),
        ("turns", f"the choice falls there in {100 * level:g} % of resamples of the tasks"),
    ]
    if counts.n.size == 1:
        facts.append(("note", "one task: no other one judges the choice"))
    if short := [one for one in best if one.short_of_attempts]:
        facts.append(
            (
                "note",
                f"from {cost.said(short[0].budget)} on, a budget pays for more short attempts than the "
                f"{counts.attempts:,} made: with those, fewer turns may do better than is shown",
            )
        )
    return Section(
        f"the best attempts x turns for so many {AXES[cost.unit]} a task", (Table(headings, rows),), None, tuple(facts)
    )


# Data


def _cell_rows(found: Surface, costs: dict[str, _Costs]) -> list[dict[str, Any]]:
    return [
        {
            "k": k,
            "turns": turn,
            "coverage": float(found.coverage[at, column]),
            "low": float(found.low[at, column]),
            "high": float(found.high[at, column]),
            "at_least": float(found.least[at, column]),
            "at_most": float(found.most[at, column]),
            **{unit: cost.of(k, turn) for unit, cost in costs.items()},
        }
        for at, turn in enumerate(found.turns)
        for column, k in enumerate(found.ks)
    ]


def _best_row(one: BestCell) -> dict[str, Any]:
    row = asdict(one)
    first, last = row.pop("chosen_between")
    short = row.pop("short_of_attempts")
    return {**row, "turns_from": first, "turns_to": last, "short_of_attempts_up_to": max(short, default=None)}


def _difference_row(one: CellDifference, cost: _Costs) -> dict[str, Any]:
    (k, turn), (other_k, other) = one.first, one.second
    return {
        "k": k,
        "turns": turn,
        "cost": cost.of(k, turn),
        "coverage": one.coverages[0],
        "other_k": other_k,
        "other_turns": other,
        "other_cost": cost.of(other_k, other),
        "other_coverage": one.coverages[1],
        "difference": one.difference,
        "low": one.low,
        "high": one.high,
        "p_value": one.p_value,
    }


# The picture


def _curves(counts: TurnCounts, found: Surface, cost: _Costs, wishes: Wishes) -> tuple[Series, ...]:
    """A curve for each number of turns that is shown and has all of its verdicts: over cost, if there is any."""
    known, priced = set(counts.known.tolist()), cost.known
    shown = [turn for turn in found.turns if turn in known and (cost.of(1, turn) > 0 or not priced)]
    if not shown:
        return ()
    ks = log_spaced_ks(max(found.ks), FINE).tolist()
    fine = coverage_surface(counts, ks, shown, level=wishes.level, seed=wishes.seed, replicates=1000)
    return tuple(
        Series(
            several(turn, "turn"),
            points(fine.ks, *(list(map(float, rows[at])) for rows in (fine.coverage, fine.low, fine.high))),
            at=tuple(cost.of(k, turn) for k in fine.ks) if priced else (),
        )
        for at, turn in enumerate(shown)
    )


def _grid(counts: TurnCounts, cost: _Costs, budgets: Sequence[float]) -> Grid:
    ks = tuple(log_spaced_ks(counts.attempts, FINE).tolist())
    turns = (
        tuple(log_spaced_ks(counts.turns, FINE).tolist()) if counts.turns > FINE else tuple(range(1, counts.turns + 1))
    )
    coverage = surface_values(counts, ks, turns)
    return Grid(
        ks=ks,
        turns=turns,
        coverage=tuple(tuple(map(float, row)) for row in coverage),
        costs=tuple(cost.of(1, turn) for turn in turns),
        lines=tuple((budget, cost.said(budget)) for budget in sorted(set(budgets))),
    )
