"""The cost of attempts, and the cheapest model for a wanted coverage, from sets of counts.

An attempt is priced by dollars that the counts or the caller give, by tokens and their prices, or in FLOPs by the
shape of a model and the tokens of a prompt and a completion. The tokens of a run are those of all its tries, since all
of them were paid for.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from monkeys.formats.counts import Counts, read_requests
from monkeys.report.point import Point
from monkeys.report.record import finite
from monkeys.report.result import Result, Section, Series, Table
from monkeys.science.cost import (
    CostError,
    ModelShape,
    Offer,
    PricedArm,
    Prices,
    TokenCounts,
    Work,
    cheapest,
    compare,
    find_shape,
    request_flops,
    request_work,
    shape_from_config,
)
from monkeys.science.coverage import CostCurve, coverage_against_cost, coverage_curve, default_ks, pass_at_k
from monkeys.science.coverage.counts import FloatArray
from monkeys.science.scaling import log_spaced_ks
from monkeys.text import amount, count, percent, several

__all__ = ["AXES", "Pricing", "against", "cost", "read_shape", "run_work", "table_of_arms"]

Value = TypeVar("Value")

FINE = 60
AXES = {"attempts": "attempts", "tokens": "tokens", "seconds": "seconds", "dollars": "$", "flops": "FLOPs"}
"""What coverage is drawn against, with its name in a table."""


@dataclass(frozen=True)
class Pricing:
    """How attempts are priced. The first of these that is given counts."""

    dollars: Mapping[str, float] = field(default_factory=dict)
    """Dollars per attempt, by the name of a set or a part of it; "" stands for all sets."""
    prices: Prices | None = None
    prompt: int | None = None
    """Tokens of the prompt that the attempts on a task share."""
    completion: int | None = None
    """Tokens of the completion of one attempt."""
    shapes: Mapping[str, str] = field(default_factory=dict)
    """The name of a known model, a config.json or `parameters,layers,hidden`, by the name of a set or a part of it."""
    work: Mapping[str, Mapping[str, Work]] = field(default_factory=dict)
    """What all attempts on each task had to compute, by the name of the set; known for runs."""


@dataclass(frozen=True)
class _Priced:
    counts: Counts
    cost: Callable[[int], float]
    """The cost of k attempts on a task."""
    basis: str


def cost(sets: Sequence[Counts], pricing: Pricing, *, wanted: float | None = None) -> Result:
    """Coverage against cost for each set, and the cheapest set and k for the `wanted` coverage.

    Raises:
        CostError: a set cannot be priced, or the wanted coverage is not a share.
    """
    money = pricing.dollars or pricing.prices or (not pricing.work and any(one.costs is not None for one in sets))
    flops = not money
    unit = "FLOPs" if flops else "$"
    priced = [_priced(one, pricing, flops=flops) for one in sets]
    sections, curves, data = [], [], {}
    for one in priced:
        counts = one.counts.fixed()
        shown = default_ks(counts.attempts)
        shares = coverage_curve(counts.n, counts.correct, shown).coverage
        tasks = len(counts.task_ids)
        rows, entries = [], []
        for k, share in zip(shown, shares, strict=True):
            each, total = one.cost(k), one.cost(k) * tasks
            solved = total / (share * tasks) if share else None
            rows.append((f"{k:,}", percent(share), _much(each, unit), _much(total, unit), _much(solved, unit)))
            entries.append({"k": k, "coverage": share, "a_task": each, "total": total, "a_solved_task": solved})
        headings = ("k", "pass@k", f"{unit} a task", f"{unit} in all", f"{unit} a solved task")
        sections.append(
            Section(
                f"{counts.name}   {several(tasks, 'task')}",
                (Table(headings, tuple(rows)),),
                None,
                (("priced", one.basis), *(("note", note) for note in counts.notes)),
            )
        )
        ks = log_spaced_ks(counts.attempts, FINE).tolist()
        drawn = coverage_curve(counts.n, counts.correct, ks).coverage
        line = tuple(Point(k, share, None, None) for k, share in zip(ks, drawn, strict=True))
        curves.append(Series(counts.name, line, at=tuple(one.cost(k) for k in ks)))
        data[counts.name] = {"tasks": tasks, "unit": unit, "basis": one.basis, "points": entries}
    result: dict[str, Any] = {"sets": data}
    if wanted is not None:
        section, result["cheapest"] = _cheapest(priced, wanted, unit)
        sections.append(section)
    return Result(result, tuple(sections), tuple(curves), x=f"{unit} a task")


def against(
    sets: Sequence[Counts],
    axis: str,
    pricing: Pricing,
    *,
    stop_on_success: bool = False,
    level: float = 0.95,
    seed: int = 0,
) -> Result:
    """Coverage against the average spending that reaches it, each with its interval over tasks.

    Args:
        axis: one of `AXES`.
        stop_on_success: as if attempts on a task had ended with its first success.

    Raises:
        CostError: neither a set nor the pricing says what attempts on its tasks took.
        monkeys.formats.counts.CountsError: the number of attempts depended on their outcomes.
    """
    unit = AXES[axis]
    sections, curves, data, band = [], [], {}, ""
    for one in sets:
        fixed = one.fixed()
        # What attempts on a task took on average is known best from all of them.
        spent = _spent(one, axis, pricing) / one.n * fixed.n
        shown = default_ks(fixed.attempts)
        between = log_spaced_ks(fixed.attempts, FINE).tolist()
        ks = sorted({*shown, *between})
        found = coverage_against_cost(
            fixed.n,
            fixed.correct,
            spent,
            ks,
            unit=unit,
            stop_on_success=stop_on_success,
            names=fixed.task_ids,
            level=level,
            seed=seed,
        )
        rows = tuple(
            (
                f"{point.k:,}",
                _much(point.cost, unit),
                _between(_much(finite(point.cost_low), unit), _much(finite(point.cost_high), unit)),
                percent(point.coverage),
                _between(percent(finite(point.low)), percent(finite(point.high))),
            )
            for point in found.points
            if point.k in shown
        )
        span = f"{100 * found.level:g} % interval"
        way = "until the first success, k at the most" if stop_on_success else "k attempts on every task"
        sections.append(
            Section(
                f"{one.name}   {several(found.tasks, 'task')}",
                (Table(("k", f"{unit} a task", span, "pass@k", span), rows),),
                None,
                (("spent", way), ("interval", found.interval), *(("note", note) for note in one.notes)),
            )
        )
        curves.append(_costs_drawn(one.name, found))
        band = f"bands: {100 * found.level:g} % interval over tasks"
        entries = [asdict(point) for point in found.points if point.k in shown]
        data[one.name] = {"unit": unit, "stop_on_success": stop_on_success, "points": entries, "notes": one.notes}
    return Result({"sets": data}, tuple(sections), tuple(curves), x=f"{unit} a task", band=band)


def _costs_drawn(name: str, found: CostCurve) -> Series:
    line = tuple(Point(point.k, point.coverage, finite(point.low), finite(point.high)) for point in found.points)
    return Series(name, line, at=tuple(point.cost for point in found.points))


def _spent(one: Counts, axis: str, pricing: Pricing) -> FloatArray:
    """What all attempts on each task took, on this axis."""
    if axis == "attempts":
        return one.n.astype(np.float64)
    if axis == "dollars":
        price = _by_name(pricing.dollars, one.name)
        if price is not None:
            return (one.n * price).astype(np.float64)
        if pricing.prices is not None and one.tokens is not None:
            return np.array([pricing.prices.dollars(TokenCounts(*each)) for each in one.tokens.tolist()], np.float64)
        if one.costs is not None:
            return one.costs
        remedy = "--price, --prices with a run, or a column cost"
    elif axis == "flops":
        if work := pricing.work.get(one.name):
            shape = read_shape(_by_name(pricing.shapes, one.name) or one.name)
            return np.array([work.get(task, Work()).flops(shape) for task in one.task_ids], np.float64)
        remedy = "--shape with a run"
    else:
        if axis in one.spent:
            return one.spent[axis]
        remedy = f"a run, or a column {axis} of numbers"
    raise CostError(f"{one.name} does not say what attempts on each task took in {AXES[axis]}: give {remedy}")


def _between(low: str, high: str) -> str:
    return "–" if low == "–" else f"{low} – {high}"


def _cheapest(priced: Sequence[_Priced], wanted: float, unit: str) -> tuple[Section, dict[str, Any]]:
    deals = cheapest(
        [Offer(one.counts.name, _coverage(one.counts.fixed()), one.cost, one.counts.attempts) for one in priced], wanted
    )
    reached = [deal for deal in deals if deal.k is not None]
    least = reached[0].cost if reached else None
    rows = tuple(
        (
            deal.name,
            "–" if deal.k is None else f"{deal.k:,}",
            percent(deal.coverage),
            "–" if deal.k is None else _much(deal.cost, unit),
            "–" if deal.k is None or not least else f"{deal.cost / least:.1f}",
        )
        for deal in deals
    )
    said = f"{reached[0].name} with k = {reached[0].k:,}" if reached else "no set reaches it with the attempts made"
    section = Section(
        f"the cheapest for a coverage of {percent(wanted)}: {said}",
        (Table(("<model", "k", "coverage", f"{unit} a task", "relative"), rows),),
    )
    entries = [{"model": deal.name, "k": deal.k, "coverage": deal.coverage, "a_task": deal.cost} for deal in deals]
    return section, {"wanted": wanted, "deals": entries}


def table_of_arms(arms: Sequence[PricedArm], tasks: int) -> Result:
    """Table 1 of the paper, for these arms."""
    found = compare(arms, tasks)
    rows = tuple(
        (
            one.arm.name,
            f"{one.arm.price:g}",
            count(one.arm.attempts),
            f"{100 * one.arm.solved:.2f}",
            f"{one.total:.4g}",
            f"{one.relative:.2g}",
            count(one.exchange),
        )
        for one in found
    )
    headings = ("<model", "$ an attempt", "attempts", "solved %", "total $", "relative", "weakest for one")
    data = [
        {
            "model": one.arm.name,
            "dollars_an_attempt": one.arm.price,
            "attempts": one.arm.attempts,
            "solved": one.arm.solved,
            "total": one.total,
            "relative": one.relative,
            "exchange": one.exchange,
        }
        for one in found
    ]
    title = f"cost on {several(tasks, 'task')}"
    return Result({"tasks": tasks, "arms": data}, (Section(title, (Table(headings, rows),)),))


def run_work(path: Path) -> dict[str, dict[str, Work]]:
    """What the requests of the run at `path` had to compute, by set and task; without what the server had cached."""
    work: defaultdict[str, defaultdict[str, Work]] = defaultdict(lambda: defaultdict(Work))
    for name, task, prompt, cached, completion in read_requests(path):
        work[name][task] += request_work(prompt, completion, cached=cached)
    return {name: dict(own) for name, own in work.items()}


def read_shape(text: str) -> ModelShape:
    """A shape by a model's name, the path of a config.json, or `parameters,layers,hidden`.

    Raises:
        CostError: it is none of these.
    """
    numbers = text.split(",")
    if len(numbers) == 3:
        try:
            parameters, layers, hidden = (int(float(number)) for number in numbers)
        except (ValueError, OverflowError):
            raise CostError(f"{text!r} is no shape: give parameters,layers,hidden such as 8.03e9,32,4096") from None
        return ModelShape(parameters, layers, hidden)
    path = Path(text)
    if path.suffix == ".json":
        try:
            config = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise CostError(f"{text} cannot be read as a model's config.json ({error})") from None
        if not isinstance(config, dict):
            raise CostError(f"{text} is no model's config.json: an object is needed")
        return shape_from_config(config)
    return find_shape(text)


def _priced(one: Counts, pricing: Pricing, *, flops: bool) -> _Priced:
    price = _by_name(pricing.dollars, one.name)
    if price is not None:
        return _Priced(one, lambda k: k * price, f"$ {price:g} an attempt")
    if pricing.prices is not None:
        return _by_tokens(one, pricing, pricing.prices)
    if one.costs is not None and not flops:
        each = float((one.costs / one.n).mean())
        said = f"its costs: $ {each:.4g} an attempt, the mean of {several(len(one.task_ids), 'task')}"
        return _Priced(one, lambda k: k * each, said)
    if not flops:
        raise CostError(f"{one.name} has no price: give dollars an attempt for it as for the others")
    return _by_flops(one, pricing)


def _by_tokens(one: Counts, pricing: Pricing, prices: Prices) -> _Priced:
    if pricing.prompt is not None and pricing.completion is not None:
        prompt, completion = pricing.prompt, pricing.completion

        def cost(k: int) -> float:
            return prices.dollars(TokenCounts(k * prompt, (k - 1) * prompt, k * completion))

        return _Priced(one, cost, f"{_tokens(prompt, completion)}, the prompt cached after the first attempt")
    if one.tokens is None:
        raise CostError(f"{one.name} does not say its tokens: give those of a prompt and a completion")
    tokens = TokenCounts(*one.tokens.sum(axis=0).tolist())
    each = prices.dollars(tokens) / int(one.n.sum())
    said = f"{amount(tokens.fresh)} tokens in, {amount(tokens.cached)} cached, {amount(tokens.completion)} out"
    return _Priced(one, lambda k: k * each, f"{said}: $ {each:.4g} an attempt")


def _by_flops(one: Counts, pricing: Pricing) -> _Priced:
    known_work = pricing.work.get(one.name)
    work = None if known_work is None else sum(known_work.values(), Work())
    if work is None and (pricing.prompt is None or pricing.completion is None):
        raise CostError(
            f"{one.name} has no price: give dollars an attempt, or for FLOPs the tokens of a prompt and a completion"
        )
    shape = read_shape(_by_name(pricing.shapes, one.name) or one.name)
    said = f"{amount(shape.parameters)} parameters, {shape.layers} layers, hidden size {shape.hidden}"
    if pricing.prompt is not None and pricing.completion is not None:
        prompt, completion = pricing.prompt, pricing.completion
        said += f"; {_tokens(prompt, completion)}, the prompt shared"
        return _Priced(one, lambda k: float(request_flops(shape, prompt, completion, k)), said)
    assert work is not None
    each = work.flops(shape) / int(one.n.sum())
    said += f"; {amount(work.tokens)} tokens computed at a mean context of {work.contexts / max(1, work.tokens):,.0f}"
    return _Priced(one, lambda k: k * each, said)


def _tokens(prompt: int, completion: int) -> str:
    return f"a prompt of {prompt:,} tokens, completions of {completion:,}"


def _coverage(one: Counts) -> Callable[[int], float]:
    return lambda k: float(pass_at_k(one.n, one.correct, k).mean())


def _by_name(values: Mapping[str, Value], name: str) -> Value | None:
    """The value whose key is a part of the name. The longest such key counts, so that "" stands for the rest."""
    found = [key for key in values if key.lower() in name.lower()]
    return values[max(found, key=len)] if found else None


def _much(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if unit == "FLOPs" else f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
