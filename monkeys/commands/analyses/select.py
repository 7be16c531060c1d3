"""`monkeys select`: rules of selection on single attempts, which are patches or answers with scores.

The columns that there are decide which rules are tried:

| columns | rules |
|---|---|
| any | `random` |
| `patch`, `answer` or `samples` (whole completions), or another name of these | plurality; of patches the shortest |
| each further column of numbers | the best by it, and the plurality weighted by it |
| `regression` | plurality of those that break the fewest tests |
| `passes`, lists of 1 and 0 or a text of them such as `1011` | agreement on the tests that they pass (CodeT) |
| `votes` | the shortest of the top three; with a reward model or a judge, their hybrid |

Equal answers are those with the same text in `canonical`, or without such a column with the same normalised answer. A
judge or a reward model is asked about each distinct candidate once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monkeys.formats.counts import ATTEMPTS, CORRECT, OUTCOME, PRICE, TASK, CountsError, Outcomes
from monkeys.formats.counts.cells import MISSING, QUESTIONS, as_numbers, find_column, has_separators
from monkeys.report.point import Point
from monkeys.report.result import Result, Section, Series, Table
from monkeys.science.selection import (
    Agreement,
    Best,
    Candidates,
    Evaluation,
    Plurality,
    Random,
    Rule,
    RuleCurve,
    Share,
    Top,
    Tournament,
    classes_of,
    evaluate,
    final_answer,
    normalised,
    normalised_answer,
    share_of_correct,
)
from monkeys.science.selection.judging import AnswerCache, Judging
from monkeys.text import percent, several

__all__ = ["Judges", "select"]

PATCHES = ("patch", "model_patch", "diff")
ANSWERS = ("answer", "final_answer", "prediction", "program", "proof")
CANONICAL = "canonical"
PASSES = "passes"
COMPLETIONS = ("samples", "completion", "response")
# The candidates themselves, places, costs, and whatever may be the hidden verdict by another name.
NO_SCORES = (
    frozenset({*PATCHES, *ANSWERS, CANONICAL, *COMPLETIONS, *QUESTIONS})
    | {PASSES, "attempt", "index", "idx", "try", "trial", "seed", "sample"}
    | {*TASK, *ATTEMPTS, *CORRECT, *OUTCOME, *PRICE} - {"reward", "score"}
)
SHOWN_BARS = 30
BAR = 40


@dataclass(frozen=True)
class Judges:
    """Models that are asked about the candidates, and the file in which their answers are kept."""

    judge: str = ""
    pairs: bool = False
    """Compare candidates two by two, instead of asking for P(YES) of each."""
    reward: str = ""
    reward_path: str = "/score"
    base_url: str | None = None
    api_key: str | None = None
    answers: Path | None = None


def select(
    sets: Sequence[Outcomes],
    ks: Sequence[int] | None = None,
    *,
    judges: Judges | None = None,
    subsets: int = 100,
    seed: int = 0,
) -> Result:
    """Evaluate the rules for which the sets have the columns, beside coverage.

    Raises:
        CountsError: a set has no issues or candidates to show to a judge.
        monkeys.science.selection.SelectionError: a rule cannot use the scores.
        monkeys.science.selection.judging.JudgeError: a model cannot be asked.
    """
    sections, curves, data = [], [], {}
    bars: tuple[tuple[str, float, float], ...] = ()
    for one in sets:
        texts, classes, scores = _candidates(one)
        preferences: Mapping[int, Any] = {}
        if judges is not None and (judges.judge or judges.reward):
            said, preferences = asyncio.run(_ask(one, texts, judges))
            scores = {**scores, **said}
        passes = _passes(one)
        tasks = [
            Candidates(
                task=task,
                passes=None if passes is None else _table(task, [passes[row] for row in rows]),
                correct=one.correct[rows],
                classes=None if classes is None else classes_of([classes[row] for row in rows]),
                scores={name: column[rows] for name, column in scores.items()},
                preferences=preferences.get(number),
            )
            for number, (task, rows) in enumerate(zip(one.task_ids, _rows(one), strict=True))
            if rows.size
        ]
        rules = _rules(scores, classes=classes is not None, tournament=bool(preferences))
        if passes is not None:
            rules.append(Agreement())
        found = evaluate(rules, tasks, ks, subsets=subsets, seed=seed)
        shares = share_of_correct(tasks) if classes is not None else ()
        best = max(found.curves, key=lambda curve: curve.mean[-1])
        oracle = Series(f"{one.name}: coverage", _points(found, found.coverage))
        sections.append(_section(one, found, best))
        if shares:
            sections.append(_bars(one, shares))
            bars += tuple((share.task, share.share, share.plurality) for share in shares)
        curves += [
            oracle,
            *(Series(f"{one.name}: {curve.rule}", _points(found, curve.mean, curve)) for curve in found.curves),
        ]
        data[one.name] = _data(found, shares, one.notes)
    return Result(
        {"sets": data},
        tuple(sections),
        tuple(curves),
        "share of tasks with a correct choice",
        band="bands: ± s.d. of subsets",
        bars=bars,
    )


def _candidates(one: Outcomes) -> tuple[list[str], list[str | None] | None, dict[str, Any]]:
    """Each attempt's text as a judge sees it, the value by which attempts are equal, and the scores."""
    columns = {name.strip().lower(): values for name, values in one.columns.items()}
    texts: list[str] = []
    classes: list[str | None] | None = None
    scores: dict[str, Any] = {}
    if patches := next((columns[name] for name in PATCHES if name in columns), None):
        texts = [str(patch or "") for patch in patches]
        known: dict[str, str] = {}
        classes = [known[text] if text in known else known.setdefault(text, normalised(text)) for text in texts]
        # An empty patch is the shortest, and never the one to hand in.
        scores["length"] = np.array([len(plain) or np.nan for plain in classes if plain is not None], np.float64)
    elif answers := next((columns[name] for name in ANSWERS if name in columns), None):
        texts = [str(answer) if answer is not None else "" for answer in answers]
        same = columns.get(CANONICAL)
        classes = [normalised_answer(text) for text in texts] if same is None else [str(one or "") for one in same]
    elif completions := next((columns[name] for name in COMPLETIONS if name in columns), None):
        texts = [str(completion or "") for completion in completions]
        classes = [normalised_answer(final_answer(text)) for text in texts]
    for name, values in columns.items():
        numbers = None if name in NO_SCORES else _numbers(one.name, name, values)
        if numbers is not None:
            scores[name] = numbers
    return texts, classes, scores


def _passes(one: Outcomes) -> list[list[bool]] | None:
    """Which tests each attempt passes, in the order of the tests; None without such a column."""
    column = find_column(one.columns, (PASSES,))
    if column is None:
        return None
    outcomes = []
    for row, cell in enumerate(column[1], 1):
        each = [str(value) for value in cell] if isinstance(cell, (list, tuple, str)) else ["?"]
        if not set(each) <= {"0", "1", "False", "True"}:
            raise CountsError(
                f"{one.name}, column {column[0]}, row {row}: {cell!r:.60} does not say which tests pass: give a list "
                "of 1 and 0, one for each test, or a text of them such as 1011"
            )
        outcomes.append([value in ("1", "True") for value in each])
    return outcomes


def _table(task: str, passes: Sequence[Sequence[bool]]) -> Any:
    """The tests of a task by its candidates. Raises `CountsError` where candidates have different numbers of tests."""
    if len({len(each) for each in passes}) > 1:
        raise CountsError(f"task {task}: its candidates have different numbers of tests in {PASSES}; give all to each")
    return np.array(passes, np.bool_).reshape(len(passes), len(passes[0])).T


def _rows(one: Outcomes) -> list[Any]:
    """The rows of the attempts on each task, in order."""
    order = np.argsort(one.task, kind="stable")
    return np.split(order, np.searchsorted(one.task[order], np.arange(1, len(one.task_ids))))


def _numbers(place: str, key: str, values: Sequence[Any]) -> Any:
    """The values as scores, with NaN for a missing one; None if they are not numbers.

    Raises:
        CountsError: they are numbers with commas before decimals, or separators of thousands.
    """
    cells = [np.nan if value is None or str(value).strip().lower() in MISSING else value for value in values]
    try:
        numbers = np.array(list(map(float, cells)), np.float64)
    except (TypeError, ValueError):
        if all(has_separators(cell) or _is_number(cell) for cell in cells):
            as_numbers(place, key, [0 if cell != cell else cell for cell in cells])
        return None
    return None if np.isnan(numbers).all() else numbers


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True


def _rules(scores: Mapping[str, Any], *, classes: bool, tournament: bool) -> list[Rule]:
    rules: list[Rule] = [Random()]
    if classes:
        rules.append(Plurality())
    learned = [name for name in ("reward", "judge") if name in scores]
    for name in scores:
        rules.append(Best(name, least=name == "length", title="shortest" if name == "length" else ""))
        if classes and name not in ("length", "regression") and not (scores[name] < 0).any():
            rules.append(Plurality(name))
    then: Rule = Best("length", least=True, title="shortest") if "length" in scores else Random()
    if "regression" in scores and classes:
        rules.append(Top("regression", 1, Plurality()))
    if "votes" in scores:
        rules.append(Top("votes", 3, then))
        rules += [Top(name, 10, Best("votes"), title=f"hybrid of {name} and votes") for name in learned]
    if tournament:
        rules.append(Tournament())
    return rules


async def _ask(one: Outcomes, texts: Sequence[str], judges: Judges) -> tuple[dict[str, Any], dict[int, Any]]:
    columns = {name.strip().lower(): values for name, values in one.columns.items()}
    questions = next((columns[name] for name in QUESTIONS if name in columns), None)
    if not texts or questions is None:
        raise CountsError(
            f"{one.name} has nothing to show a model: a column {QUESTIONS[0]} and one of {PATCHES[0]}, {ANSWERS[0]} or "
            f"{COMPLETIONS[0]} are needed"
        )
    rows = _rows(one)
    scores: dict[str, Any] = {}
    preferences: dict[int, Any] = {}
    from monkeys.commands.analyses.judge_server import JudgeServer  # only judges need a server

    cache = AnswerCache(judges.answers)
    try:
        for model, column in ((judges.judge, "judge"), (judges.reward, "reward")):
            if not model:
                continue
            async with JudgeServer(model, judges.base_url, judges.api_key) as server:
                await server.check()
                judging = Judging(server, cache)
                said = np.full(len(texts), np.nan)
                for number, mine in enumerate(rows):
                    if not mine.size:
                        continue
                    issue, candidates = str(questions[int(mine[0])]), [texts[row] for row in mine.tolist()]
                    if column == "reward":
                        said[mine] = await judging.rewards(issue, candidates, judges.reward_path)
                    elif judges.pairs:
                        preferences[number] = await judging.preferences(issue, candidates)
                    else:
                        said[mine] = await judging.yes(issue, candidates)
                if not (column == "judge" and judges.pairs):
                    scores[column] = said
    finally:
        cache.close()
    return scores, preferences


def _points(found: Evaluation, values: Sequence[float], curve: RuleCurve | None = None) -> tuple[Point, ...]:
    """With one standard deviation to both sides, as the paper draws it."""
    spread = curve.deviation if curve else [0.0] * len(values)
    return tuple(
        Point(k, value, value - by if curve else None, value + by if curve else None)
        for k, value, by in zip(found.ks, values, spread, strict=True)
    )


def _section(one: Outcomes, found: Evaluation, best: RuleCurve) -> Section:
    headings = ("<rule", *(f"@{k:,}" for k in found.ks), f"gap @{found.ks[-1]:,}")
    rows = [("coverage (oracle)", *(f"{100 * share:.1f}" for share in found.coverage), "")]
    for curve in found.curves:
        cells = [f"{100 * mean:.1f} ± {100 * by:.1f}" for mean, by in zip(curve.mean, curve.deviation, strict=True)]
        rows.append((curve.rule, *cells, f"{100 * found.gap(curve)[-1]:.1f}"))
    coverage = dict(zip(found.ks, found.coverage, strict=True))

    def oracle(k: float) -> float:
        return float(np.interp(np.log(k), np.log(list(coverage)), list(coverage.values())))

    title = f"{one.name}   {several(found.tasks, 'task')}, {len(one.correct):,} candidates"
    return Section(
        title,
        (Table(headings, tuple(rows)),),
        Series(best.rule, _points(found, best.mean, best), oracle, "coverage"),
        (
            ("shown", f"per cent of tasks; mean ± s.d. of {found.subsets} random subsets a task, seed {found.seed}"),
            *(("note", note) for note in one.notes),
        ),
    )


def _bars(one: Outcomes, shares: Sequence[Share]) -> Section:
    rows = tuple(
        (share.task, percent(share.share), "█" * round(BAR * share.share), percent(share.plurality))
        for share in shares[:SHOWN_BARS]
    )
    solvable = [share for share in shares if share.share]
    found = sum(share.plurality for share in solvable)
    lost = [share for share in solvable if share.plurality < 0.5]
    facts = [("plurality", f"right on {found:.4g} of the {len(solvable)} tasks with a correct candidate")]
    if lost:
        facts.append(("lost", f"{len(lost)} of these; their median share of correct ones is {percent(_median(lost))}"))
    if len(shares) > SHOWN_BARS:
        facts.append(("shown", f"the first {SHOWN_BARS} of {len(shares)} tasks; `--json` has all"))
    table = Table(("<task", "correct", "<share of correct candidates", "plurality is right"), rows)
    return Section(f"{one.name}   correct candidates of each task", (table,), None, tuple(facts))


def _median(shares: Sequence[Share]) -> float:
    return float(np.median([share.share for share in shares]))


def _data(found: Evaluation, shares: Sequence[Share], notes: Sequence[str]) -> dict[str, Any]:
    return {
        "tasks": found.tasks,
        "subsets": found.subsets,
        "seed": found.seed,
        "ks": found.ks,
        "coverage": found.coverage,
        "rules": {
            curve.rule: {"mean": curve.mean, "deviation": curve.deviation, "gap": found.gap(curve)}
            for curve in found.curves
        },
        "shares": [{"task": one.task, "correct": one.share, "plurality": one.plurality} for one in shares],
        "notes": notes,
    }
