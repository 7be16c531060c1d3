"""The difference in coverage between sets of counts, paired by task, and between their scaling laws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from os.path import commonprefix
from typing import Any

import numpy as np

from monkeys.commands.analyses.shared import MANY, band_of, signed
from monkeys.formats.counts import Counts, CountsError
from monkeys.formats.counts.cells import listed
from monkeys.report.result import Result, Section, Series, Table, points
from monkeys.science.coverage import Difference, Method, holm, paired_difference, pass_at_k
from monkeys.science.scaling import FitError, align_family, compare_laws, log_spaced_ks
from monkeys.text import percent, several

__all__ = ["align", "compare", "laws"]

ROUNDING = 1e-12
HEADING = 16  # characters of a name that stands whole above its column
FINE = 30  # points of a difference that is drawn


@dataclass(frozen=True)
class _Pair:
    """Two sets on the tasks that both have: `other` less `base`."""

    base: Counts
    other: Counts
    found: Difference
    unpaired: int
    means: tuple[tuple[float, ...], tuple[float, ...]]
    """Coverage of the base and of the other at each k."""
    differ: int
    """Tasks on which the two differ at some k."""

    @property
    def name(self) -> str:
        return f"{self.other.name} less {self.base.name}"


def compare(
    sets: Sequence[Counts],
    ks: Sequence[int] | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
    method: Method = "gaffke",
    pairwise: bool = False,
    each: bool = False,
    drawn: bool = False,
) -> Result:
    """The difference of each further set from the first one, or with `pairwise` of all pairs, by task.

    p-values of several pairs are adjusted after Holm, at one k at a time. `drawn` adds the curves of a picture.

    Raises:
        CountsError: there are fewer than two sets, or two sets have no task in common.
    """
    if len(sets) < 2:
        raise CountsError("a comparison needs two sets: give two files, or one with several arms")
    fixed = [one.fixed() for one in sets]
    wanted = list(combinations(fixed, 2)) if pairwise else [(fixed[0], other) for other in fixed[1:]]
    options: dict[str, Any] = {"level": level, "seed": seed, "method": method}
    pairs, without = [], list[str]()
    for base, other in wanted:
        if _common(base, other)[0]:
            pairs.append(_paired(base, other, ks, options))
        else:
            without.append(f"{other.name} and {base.name}")
    if not pairs:
        raise CountsError(
            f"{listed(without)} have no task in common: pairs are made by the tasks' ids, within one benchmark"
        )
    adjusted = _adjusted(pairs)
    sections = []
    if each or len(pairs) <= MANY:
        sections += [_section(pair, adjusted, level) for pair in pairs]
    if len(pairs) > 1:
        sections.append(_overview(pairs, adjusted, level))
    if without:
        sections.append(Section("left out", facts=(("note", f"no task in common: {listed(without)}"),)))
    data = [
        {
            "set": pair.other.name,
            "against": pair.base.name,
            **asdict(pair.found),
            "interval": pair.found.interval,
            "unpaired": pair.unpaired,
            "p_holm": [adjusted[pair.name, k] for k in pair.found.ks],
        }
        for pair in pairs
    ]
    named = {
        (entry["set"] if not pairwise else f"{entry['set']} less {entry['against']}"): _without(entry, "set")
        for entry in data
    }
    curves = [_difference(pair, options) for pair in pairs] if drawn else []
    y = "difference in coverage (pass@k)"
    return Result({"differences": named}, tuple(sections), tuple(curves), y, signed=True, band=band_of(level))


def _without(entry: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != key}


def _common(base: Counts, other: Counts) -> tuple[list[str], Any, Any]:
    """The tasks that both sets have, in the order of the second, and their rows in either.

    Tasks of two benchmarks have none in common, whatever their ids.
    """
    at = {task: row for row, task in enumerate(base.task_ids)}
    row = {task: number for number, task in enumerate(other.task_ids)}
    apart = base.benchmark and other.benchmark and base.benchmark != other.benchmark
    both = [] if apart else [task for task in other.task_ids if task in at]
    return both, np.array([at[task] for task in both], np.int64), np.array([row[task] for task in both], np.int64)


def _paired(base: Counts, other: Counts, ks: Sequence[int] | None, options: dict[str, Any]) -> _Pair:
    both, mine, theirs = _common(base, other)
    n_a, c_a, n_b, c_b = other.n[theirs], other.correct[theirs], base.n[mine], base.correct[mine]
    found = paired_difference(n_a, c_a, n_b, c_b, ks, names=both, sampling=base.sampling, **options)
    at = np.array(found.ks)[:, None]
    of_base, of_other = pass_at_k(n_b, c_b, at), pass_at_k(n_a, c_a, at)
    return _Pair(
        base,
        other,
        found,
        unpaired=len(base.task_ids) + len(other.task_ids) - 2 * len(both),
        means=(tuple(of_base.mean(axis=1).tolist()), tuple(of_other.mean(axis=1).tolist())),
        differ=int((np.abs(of_other - of_base) > ROUNDING).sum(axis=1).max()),
    )


def _adjusted(pairs: Sequence[_Pair]) -> dict[tuple[str, int], float]:
    """The p-values after Holm, by pair and k: over the pairs that have that k."""
    adjusted: dict[tuple[str, int], float] = {}
    for k in sorted({k for pair in pairs for k in pair.found.ks}):
        some = [pair for pair in pairs if k in pair.found.ks]
        values = holm([pair.found.p_value[pair.found.ks.index(k)] for pair in some])
        adjusted |= {(pair.name, k): value for pair, value in zip(some, values, strict=True)}
    return adjusted


def _section(pair: _Pair, adjusted: dict[tuple[str, int], float], level: float) -> Section:
    found = pair.found
    several_pairs = any(name != pair.name for name, _ in adjusted)
    rows = tuple(
        (
            f"{k:,}",
            percent(b),
            percent(a),
            f"{100 * d:+.1f}",
            signed(low, high),
            f"{p:.3g}",
            *([f"{adjusted[pair.name, k]:.3g}"] if several_pairs else []),
        )
        for k, b, a, d, low, high, p in zip(
            found.ks, *pair.means, found.difference, found.low, found.high, found.p_value, strict=True
        )
    )
    headings = ("k", *_headings(pair.base.name, pair.other.name), "points", f"{100 * level:g} % interval", "p")
    facts = [
        ("interval", found.interval),
        ("p", f"that the arms are alike on these tasks: {found.replicates:,} random swaps, one k at a time"),
    ]
    least = 2.0 ** (1 - pair.differ)
    if pair.differ and least > 1 - level:
        differ = f"the arms differ on {several(pair.differ, 'task')} alone, so that p is at least {least:.3g}"
        facts.append(("note", f"{differ} and the interval cannot leave 0 out, however much they differ"))
    bounds = zip(found.low, found.high, found.p_value, strict=True)
    if any(low < 0 < high and p < 1 - level for low, high, p in bounds):
        facts.append(
            (
                "note",
                "where the interval holds 0 and p is small, the arms differ on these tasks, but a rare task that "
                "is not among them might turn the difference",
            )
        )
    if pair.unpaired:
        facts.append(("note", f"left out: {several(pair.unpaired, 'task')} that only one of the two has"))
    facts += [("note", f"{one.name}: {note}") for one in (pair.base, pair.other) for note in one.notes]
    table = Table((*headings, *(["p, Holm"] if several_pairs else [])), rows)
    title = f"{pair.name}   {several(found.tasks, 'task')} in pairs"
    return Section(title, (table,), None, tuple(facts))


def _headings(base: str, other: str) -> tuple[str, str]:
    """Two names as headings; of long ones only what tells them apart, since the title above has them whole."""
    if max(len(base), len(other)) <= HEADING:
        return base, other
    same = commonprefix([base, other])  # noqa: RUF071 - names of sets, by their characters
    start = max(same.rfind(separator) for separator in "/-_. ") + 1 if same else 0
    names = [f"…{name[start:]}" if start else name for name in (base, other)]
    return names[0], names[1]


def _overview(pairs: Sequence[_Pair], adjusted: dict[tuple[str, int], float], level: float) -> Section:
    """A line for each pair at its first k and at its last."""
    bases = {pair.base.name for pair in pairs}
    rows = [
        (
            pair.other.name,
            *([pair.base.name] if len(bases) > 1 else []),
            str(pair.found.tasks),
            f"{pair.found.ks[at]:,}",
            f"{100 * pair.found.difference[at]:+.1f}",
            signed(pair.found.low[at], pair.found.high[at]),
            f"{pair.found.p_value[at]:.3g}",
            f"{adjusted[pair.name, pair.found.ks[at]]:.3g}",
        )
        for pair in pairs
        for at in dict.fromkeys((0, len(pair.found.ks) - 1))
    ]
    less = ("<less",) if len(bases) > 1 else ()
    headings = ("<set", *less, "tasks", "k", "points", f"{100 * level:g} % interval", "p", "p, Holm")
    title = several(len(pairs), "pair") + ("" if less else f", each less {min(bases)}")
    facts = [("p, Holm", f"adjusted for {several(len(pairs), 'pair')}, at each k")]
    return Section(title, (Table(headings, tuple(rows)),), None, tuple(facts))


def _difference(pair: _Pair, options: dict[str, Any]) -> Series:
    """The difference at as many k as are drawn."""
    ks = log_spaced_ks(min(pair.found.attempts, max(pair.found.ks)), FINE).tolist()
    found = _paired(pair.base, pair.other, ks, options).found
    return Series(pair.name, points(found.ks, found.difference, found.low, found.high))


def align(sets: Sequence[Counts]) -> Result:
    """By how many attempts each set trails the best of a family of models.

    Raises:
        monkeys.science.scaling.FitError: the sets are no family.
    """
    fixed = [one.fixed() for one in sets]
    found = align_family({one.name: (one.n, one.correct) for one in fixed})
    rows = tuple(
        (
            name,
            f"{aligned.shift:,}",
            percent(aligned.coverage),
            "–" if np.isnan(aligned.slope) else f"{100 * aligned.slope:.1f}",
            f"{100 * aligned.residual_mean:.2f}",
            f"{100 * aligned.residual_std:.2f}",
        )
        for name, aligned in found.models.items()
    )
    headings = ("<set", "k*", "pass@k*", "points a tenfold", "residual", "s.d.")
    facts = (
        ("k*", f"attempts that cover as much as one of {found.anchor} ({percent(found.anchor_coverage)})"),
        ("residual", "points of coverage between a curve shifted left by k* and the anchor's"),
    )
    data = {name: asdict(aligned) for name, aligned in found.models.items()}
    curves = tuple(_shifted(one, found.models[one.name].shift) for one in fixed)
    return Result(
        {"anchor": found.anchor, "anchor_coverage": found.anchor_coverage, "sets": data},
        (Section(f"{several(len(fixed), 'set')} aligned with {found.anchor}", (Table(headings, rows),), None, facts),),
        curves,
        x="attempts k / k*",
    )


def _shifted(one: Counts, shift: int) -> Series:
    ks = log_spaced_ks(one.attempts, 60)
    values = pass_at_k(one.n, one.correct, ks[:, None]).mean(axis=1)
    nothing = [float("nan")] * ks.size
    line = points(ks.tolist(), values.tolist(), nothing, nothing)
    return Series(f"{one.name}, k* = {shift}", line, at=tuple((ks / shift).tolist()))


def laws(
    sets: Sequence[Counts], *, k: int | None = None, level: float = 0.95, seed: int = 0, replicates: int = 1_000
) -> Result:
    """The difference of each further set's law from that of the first, in exponent and slope.

    Sets that have tasks in common are compared on these, in pairs; others as two samples of tasks.

    Raises:
        monkeys.science.scaling.FitError: a set carries no law, or not in enough resamples of its tasks.
    """
    base, *others = [one.fixed() for one in sets]
    rows, data, notes = [], dict[str, dict[str, Any]](), list[tuple[str, str]]()
    for other in others:
        both, mine, theirs = _common(base, other)
        paired = len(both) > 1
        a = (other.n[theirs], other.correct[theirs]) if paired else (other.n, other.correct)
        b = (base.n[mine], base.correct[mine]) if paired else (base.n, base.correct)
        try:
            found = compare_laws(*a, *b, paired=paired, k=k, level=level, seed=seed, replicates=replicates)
        except FitError as error:
            if len(others) == 1:
                raise
            notes.append(("note", f"{other.name}: {error}"))
            data[other.name] = {"against": base.name, "missing": str(error)}
            continue
        rows.append(
            (
                other.name,
                f"{len(both)} pairs" if paired else "unpaired",
                f"{found.exponent:+.3f}",
                signed(found.exponent_low, found.exponent_high, 3, 1),
                f"{found.k:,}",
                f"{100 * found.slope:+.1f}",
                signed(found.slope_low, found.slope_high),
            )
        )
        data[other.name] = {"against": base.name, "tasks": len(both), **asdict(found)}
    span = f"{100 * level:g} % interval"
    headings = ("<set", "tasks", "exponent b", span, "at k", "slope", span)
    facts = (
        ("exponent", f"b of the set less b of {base.name}: below 0 where coverage grows faster in log k"),
        ("slope", "difference in points of coverage gained with ten times the attempts, by the laws, at k"),
        *notes,
    )
    return Result(
        {"laws": data}, (Section(f"laws less that of {base.name}", (Table(headings, tuple(rows)),), None, facts),)
    )
