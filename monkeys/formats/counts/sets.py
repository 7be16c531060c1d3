"""From columns to records: the kind of a table by its columns, and the sets (arms, benchmarks) that it holds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from monkeys.formats.counts.cells import (
    ARM,
    ATTEMPTS,
    BENCHMARK,
    CORRECT,
    INDEX,
    OUTCOME,
    PARTS,
    PRICE,
    QUESTIONS,
    REPEATS,
    REPO,
    ROW_IDS,
    SETTINGS,
    SPENT,
    TASK,
    TESTS,
    BoolArray,
    Coded,
    CountsError,
    FloatArray,
    IntArray,
    RepeatedRows,
    as_costs,
    as_counts,
    coded,
    find_column,
    ids_of,
    in_order,
    listed,
    numbers_of,
    single_values,
    squeezed,
    taken,
)
from monkeys.formats.counts.lists import is_one_of_several, lists_in, unfolded
from monkeys.formats.counts.reading import Reading
from monkeys.formats.counts.records import Counts, Found, Outcomes

__all__ = ["PLAIN_OUTCOMES", "Columns", "sets_in", "single_attempts", "transposed"]

# What tables call the row of all tasks together.
TOTAL = re.compile(
    r"\W*(?:(?:grand )?totals?|overall|sum|all|aggregate|micro|gesamt\w*|summe|insgesamt|totale?|total g[ée]n[ée]ral|"
    r"somme|ensemble|suma|soma|somma|totaal)\W*",
    re.IGNORECASE,
)
MEAN = re.compile(
    r"\W*(?:overall|mean|average|avg|macro|mittel(?:wert)?|durchschnitt|moyenne|media|média|promedio|gemiddelde)\W*",
    re.IGNORECASE,
)
Columns: TypeAlias = Mapping[str, Sequence[Any]]
YES = frozenset({"1", "1.0", "true", "t", "yes", "y", "resolved", "passed", "pass", "correct", "success"})
NO = frozenset({"0", "0.0", "false", "f", "no", "n", "unresolved", "failed", "fail", "incorrect", "wrong", "failure"})
# What spreadsheets and people write in other languages.
YES |= {"vrai", "wahr", "verdadero", "verdadeiro", "vero", "waar", "ja", "oui", "sí", "sì", "sim", "1,0"}
NO |= {"faux", "falsch", "falso", "onwaar", "nein", "nee", "non", "não", "0,0"}
NEITHER = frozenset({"infra error", "unverified"})  # this program's words for attempts that do not count
DIGITS = frozenset({"0", "1", "0.0", "1.0", "0,0", "1,0"})
# Names that mean an attempt's outcome, whatever stands beside them.
PLAIN_OUTCOMES = frozenset({"resolved", "outcome", "is_correct", "verdict", "success"})
MOST_SETS = 1000
FEWEST_ENDS, LEAST_LENGTHS = 5, 3  # solved tasks, and different numbers of attempts on them, that show a rule


def sets_in(place: str, name: str, columns: Columns, reading: Reading) -> list[Found]:
    """The sets that a table holds: one, or one for each value of the columns that name the arm and the benchmark.

    Raises:
        CountsError: columns or cells that are not understood, or that mean more than one thing.
    """
    columns = reading.named(place, columns)
    by = None
    if reading.by:
        by = find_column(columns, (reading.by,))
        if by is None:
            raise CountsError(f"{place} has no column {reading.by!r} for --by; there are {listed(list(columns), 8)}")
    groups = [found for found in (find_column(columns, BENCHMARK), find_column(columns, ARM), by) if found]
    groups = [found for at, found in enumerate(groups) if found[0] not in {key for key, _ in groups[at + 1 :]}]
    if not groups:
        return [_set(place, name, columns, reading)]
    found = find_column(columns, BENCHMARK)
    parts = [_labels(values) for _, values in groups]
    if by is not None:
        said = [f"{reading.by}={value}" for value in parts[-1].values]
        parts[-1] = Coded(parts[-1].codes, said)
    if all(len(part.values) == 1 for part in parts):
        only = _set(place, parts[min(1, len(parts) - 1)][0], columns, reading)
        return [replace(only, benchmark="" if found is None else str(found[1][0]))]
    sets = []
    for label, rows in _grouped(place, parts).items():
        one = _set(f"{place}, {label}", label, {key: taken(values, rows) for key, values in columns.items()}, reading)
        sets.append(replace(one, benchmark="" if found is None else str(found[1][int(rows[0])])))
    return sets


def _labels(values: Sequence[Any]) -> Coded:
    """The values of a column as names of sets."""
    found = coded(values if isinstance(values, Coded) else list(map(str, values)))
    return Coded(found.codes, [str(value).strip() or "(blank)" for value in found.values])


def _grouped(place: str, parts: Sequence[Coded]) -> dict[str, IntArray]:
    """The rows of each combination of values, in the order in which they come."""
    code = np.zeros(len(parts[0]), np.int64)
    for part in parts:
        distinct, code = np.unique(code * len(part.values) + part.codes, return_inverse=True)
    if distinct.size > MOST_SETS:
        raise CountsError(f"{place} would be {distinct.size:,} sets, one for each value: name another column")
    groups = in_order(code, range(distinct.size))
    # Small numbers are sorted in one pass.
    order = np.argsort(groups.codes.astype(np.int16), kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(groups.codes))[:-1])
    # A column that is the same in all rows tells nothing apart, unless it is the arm beside a benchmark.
    named = [part for at, part in enumerate(parts) if len(part.values) > 1 or at > 0]
    return {"/".join(str(part[int(each[0])]) for part in named): each for each in rows}


def _set(place: str, name: str, columns: Columns, reading: Reading) -> Found:
    """One table, of the kind that its columns show."""
    if (lists := lists_in(place, columns)) is not None:
        single, without = unfolded(place, *lists)
        found = _set(place, name, single, reading)
        notes = (f"left out: no attempt that counts on {listed(without)}",) if without else ()
        return replace(found, notes=(*found.notes, *notes))
    attempts, correct = find_column(columns, ATTEMPTS), find_column(columns, CORRECT)
    task = find_column(columns, TASK)
    if attempts is not None and correct is not None:
        task = task or _first(columns)
        rows = len(correct[1])
        cells = ids_of(place, *task) if task else [f"task {row}" for row in range(rows)]
        ids = tuple(str(cell).strip() for cell in cells)
        repos, costs = find_column(columns, REPO), find_column(columns, PRICE)
        made, solved = as_counts(place, *attempts), as_counts(place, *correct)
        _refuse_total(place, ids, made, solved)
        if reading.sampling is None and reading.stopped_at is None:
            _refuse_stopped(place, made, solved)
        return Counts(
            name=name,
            task_ids=ids,
            n=made,
            correct=solved,
            repos=tuple(map(str, repos[1])) if repos else None,
            costs=None if costs is None else as_costs(place, *costs),
            spent=numbers_of(place, columns, SPENT),
        )
    outcome = find_column(columns, OUTCOME)
    if task is None or (outcome is None and correct is None):
        objects = [key for key, values in columns.items() if isinstance(values, list) and isinstance(values[0], dict)]
        inside = f"; a value within {objects[0]} is named as {objects[0]}.NAME" if objects else ""
        raise CountsError(
            f"{place} has the columns {listed(list(columns), 8)}: a table of counts needs {ATTEMPTS[0]} and "
            f"{CORRECT[0]}, one of single attempts {TASK[0]} and {OUTCOME[0]} (docs/counts.md has their other names); "
            f"say which column is which with --columns task=...,n=...,correct=...{inside}"
        )
    measure = outcome or correct
    assert measure is not None
    if "task" not in reading.columns:
        _refuse_unclear_task(place, task, columns)
    if not {"correct", "outcome"} & set(reading.columns):
        _refuse_tests(place, measure, columns)
        _refuse_summary(place, measure[0], columns)
        _refuse_parts(place, task[1], measure[0], columns)
    return single_attempts(place, name, ids_of(place, *task), measure, columns)


def _first(columns: Columns) -> tuple[str, Sequence[Any]] | None:
    """The first column if it has a different text in each row, as the index of a data frame or the names of rows."""
    for key, values in columns.items():
        texts = [value.strip() for value in values if isinstance(value, str) and re.search(r"[^\W\d]", value)]
        return (key, values) if len(texts) == len(values) == len(set(texts)) else None
    return None


def _refuse_total(place: str, ids: Sequence[str], made: IntArray, solved: IntArray) -> None:
    """Refuse a row that is called a total or a mean and is that of the others: it is no task."""
    others = len(ids) - 1
    for row in (0, others) if others > 1 else ():
        rest = made.sum() - made[row], solved.sum() - solved[row]
        if TOTAL.fullmatch(ids[row]) and rest == (made[row], solved[row]):
            raise CountsError(f"{place}: the row {ids[row]!r} is the sum of the others, and no task; drop it")
        if MEAN.fullmatch(ids[row]) and rest == (others * made[row], others * solved[row]):
            raise CountsError(f"{place}: the row {ids[row]!r} is the mean of the others, and no task; drop it")


def _refuse_tests(place: str, outcome: tuple[str, Sequence[Any]], columns: Columns) -> None:
    """Refuse a number beside a total: it may count tests of one attempt as well as attempts."""
    beside = find_column(columns, TESTS)
    if beside is None or find_column({outcome[0]: 0}, PLAIN_OUTCOMES):
        return
    distinct = coded(outcome[1]).values if not _nested(outcome[1]) else ()
    if all(str(value).strip().lower() in (YES | NO | NEITHER) - DIGITS for value in distinct):
        return  # words such as passed and failed are outcomes
    raise CountsError(
        f"{place}: {outcome[0]} beside {beside[0]} may count tests, and an attempt that passes some of its tests is "
        f"not correct: nothing was read. If these are attempts, give --columns n={beside[0]},correct={outcome[0]}; if "
        f"{outcome[0]} is the outcome of one attempt, --columns outcome={outcome[0]}; if these are tests, add a column "
        "that says whether all of them passed"
    )


def _refuse_parts(place: str, task: Sequence[Any], outcome: str, columns: Columns) -> None:
    """Refuse rows that only a test or a step tells apart: they may be parts of one attempt as well as attempts."""
    part = find_column(columns, PARTS)
    if part is None or part[1] is task or find_column(columns, INDEX) is not None or _nested(part[1]) or _nested(task):
        return
    tasks, parts = coded(task).codes.astype(np.int64), coded(part[1])
    if np.unique(tasks).size == tasks.size or np.unique(tasks * len(parts.values) + parts.codes).size < tasks.size:
        return  # one row for each task, or the same part more than once
    raise CountsError(
        f"{place}: each row of a task has a {part[0]} of its own, so the rows may be parts of one attempt, which is "
        "correct only as a whole: nothing was read. Give one row for each attempt; if the rows are attempts, say "
        f"--columns outcome={outcome}"
    )


def _refuse_stopped(place: str, made: IntArray, solved: IntArray) -> None:
    """Refuse counts in which each solved task has one success, as of attempts that ended with it."""
    ends = made[solved > 0]
    if ends.size < FEWEST_ENDS or np.unique(ends).size < LEAST_LENGTHS or (solved > 1).any():
        return
    cap = int(made.max())
    if (made[solved == 0] == cap).all() and (made[solved == 0].size or (ends < cap).any()):
        raise CountsError(
            f"{place}: each of the {ends.size} solved tasks has one success, in {ends.min()} to {ends.max()} attempts, "
            f"and all others have {cap} attempts: they seem to have stopped on success. Say --stopped-at {cap}, or "
            "--sampling independent where their number was fixed beforehand"
        )


def _refuse_summary(place: str, outcome: str, columns: Columns) -> None:
    """Refuse an outcome beside columns with those of single attempts: it may say whether any of these was correct."""
    several = [key for key in columns if is_one_of_several(str(key)) and not _nested(columns[key])]
    words = {"" if value is None else str(value).strip().lower() for key in several for value in columns[key]}
    if len(several) > 1 and words <= YES | NO | NEITHER | {""}:
        raise CountsError(
            f"{place}: {outcome} stands beside {listed(several)}, and may sum up these attempts. --columns outcome= "
            f"reads the attempts, --columns outcome={outcome} that column alone"
        )


def _refuse_unclear_task(place: str, task: tuple[str, Sequence[Any]], columns: Columns) -> None:
    """Refuse an `id` that is another in each row beside questions that repeat: it may number attempts."""
    asked = find_column(columns, QUESTIONS)
    if squeezed(task[0]) not in ROW_IDS or asked is None or asked[0] == task[0] or _nested(asked[1]):
        return
    rows, questions = len(task[1]), len(coded(asked[1]).values)
    if not _nested(task[1]) and len(coded(task[1]).values) == rows > questions:
        raise CountsError(
            f"{place}: {task[0]} is another in each of {rows} rows, and {asked[0]} has {questions} values: say "
            f"--columns task={asked[0]} where rows with the same {asked[0]} are attempts at one task, or "
            f"task={task[0]} where each row is a task of its own"
        )


def _nested(values: Sequence[Any]) -> bool:
    return not isinstance(values, (Coded, np.ndarray)) and any(isinstance(value, (list, dict)) for value in values)


def single_attempts(
    place: str, name: str, task: Sequence[Any], outcome: tuple[str, Sequence[Any]], columns: Columns
) -> Outcomes:
    """A row for each attempt with its task and its outcome; the other columns are kept.

    Raises:
        CountsError: a cell that is no outcome; an attempt that comes twice (without a number: `RepeatedRows`).
    """
    key, values = outcome
    outcomes = coded(single_values(place, key, values))
    meaning: list[bool | None] = []
    for value in outcomes.values:
        word = str(value).strip().lower()
        if word not in YES and word not in NO and word not in NEITHER:
            row = int(np.argmax(outcomes.codes == len(meaning)))
            raise CountsError(
                f"{place}, column {key}, row {row + 1}: {value!r} is no outcome (1 or 0, true or false, resolved or "
                "unresolved); counts need a column n beside them"
            )
        meaning.append(None if word in NEITHER else word in YES)
    tasks = coded(task)
    names = coded([str(value).strip() for value in tasks.values])  # different cells may name one task
    ids, index = tuple(names.values), names.codes[tasks.codes]
    rest = {name: column for name, column in columns.items() if column is not task and column is not values}
    correct = np.array([one is True for one in meaning], np.bool_)[outcomes.codes]
    notes: tuple[str, ...] = ()
    if None in meaning:
        counted = np.array([one is not None for one in meaning], np.bool_)[outcomes.codes]
        kept = np.flatnonzero(counted)
        notes = (f"left out: {counted.size - kept.size:,} rows that are infra errors or not verified",)
        index, correct = index[kept], correct[kept]
        rest = {name: taken(column, kept) for name, column in rest.items()}
    order = _order(place, ids, index, correct, rest)
    return Outcomes(name, ids, index, correct, rest, (*notes, *_pooled(index, rest)), order=order)


def _order(place: str, ids: Sequence[str], task: IntArray, correct: BoolArray, columns: Columns) -> IntArray | None:
    """The rows in the order in which each task's attempts were made, None for the order of the file.

    Raises:
        CountsError: a task has two rows for the same attempt.
    """
    found = find_column(columns, INDEX)
    if found is None or not task.size or _nested(found[1]):
        if found is None and task.size:
            _refuse_repeated(place, ids, task, correct, columns)
        return None
    numbers = _numbered(found[1])
    if numbers is None:
        return None
    same = np.diff(task) == 0
    if not np.isnan(numbers).any() and ((np.diff(task) > 0) | (same & (np.diff(numbers) > 0))).all():
        return None  # in order, and each once
    order = np.lexsort((numbers, task))
    again = (np.diff(task[order]) == 0) & (np.diff(numbers[order]) == 0)
    if again.any():
        row = int(order[int(np.argmax(again)) + 1])
        raise CountsError(
            f"{place}: {found[0]} {found[1][row]} of task {ids[int(task[row])]} comes more than once (rows that repeat "
            f"an earlier one: {int(again.sum()):,}): drop the repeated rows, or tell attempts that differ in something "
            f"else apart with --by COLUMN; if {found[0]} is no number of an attempt, say --columns attempt="
        )
    return None if np.isnan(numbers).any() else np.asarray(order)


def _refuse_repeated(place: str, ids: Sequence[str], task: IntArray, correct: BoolArray, columns: Columns) -> None:
    """Refuse rows that are alike in all columns, where a column such as `seed` tells a task's attempts apart."""
    found = find_column(columns, REPEATS)
    if found is None or any(_nested(values) for values in columns.values()):
        return

    def joined(code: IntArray, values: Sequence[Any]) -> IntArray:
        each = coded(values.tolist() if isinstance(values, np.ndarray) else values)
        return np.asarray(np.unique(code * len(each.values) + each.codes, return_inverse=True)[1])

    if joined(task, found[1]).max() + 1 == np.unique(task).size:
        return  # one for all attempts at a task
    code = task * 2 + correct
    for values in columns.values():
        code = joined(code, values)
    _, first, times = np.unique(code, return_index=True, return_counts=True)
    if (times > 1).any():
        row = int(first[int(np.argmax(times > 1))])
        raise RepeatedRows(
            f"{place}: a row with {found[0]} {found[1][row]} of task {ids[int(task[row])]} comes more than once (rows "
            f"that repeat an earlier one: {int((times - 1).sum()):,}): drop the repeated rows; if {found[0]} is no "
            "number of an attempt, say --columns attempt="
        )


def _numbered(values: Sequence[Any]) -> FloatArray | None:
    """The numbers of attempts, or numbers in place of their names; NaN where one is missing, None where all are."""
    if isinstance(values, np.ndarray):
        return values.astype(np.float64)
    attempts = coded(values)
    try:
        each = [np.nan if value in (None, "") else float(value) for value in attempts.values]
    except (TypeError, ValueError):
        each = [np.nan if value in (None, "") else at for at, value in enumerate(attempts.values)]
    return None if np.isnan(each).all() else np.array(each)[attempts.codes]


def _pooled(task: IntArray, columns: Columns) -> tuple[str, ...]:
    """Notes on settings in which attempts at one task differ."""
    notes = []
    for setting in SETTINGS:
        found = find_column(columns, (setting,))
        if found is None or _nested(found[1]):
            continue
        values = coded(found[1].tolist() if isinstance(found[1], np.ndarray) else found[1])
        pairs = np.unique(task * len(values.values) + values.codes).size if task.size else 0
        if len(values.values) > 1 and pairs > np.unique(task).size:
            notes.append(
                f"attempts at one task differ in {found[0]} ({len(values.values)} values) and are counted together; "
                f"--by {found[0]} makes a set of each"
            )
    return tuple(notes)


def transposed(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    keys = dict.fromkeys(key for record in records for key in record)
    return {key: [record.get(key) for record in records] for key in keys}
