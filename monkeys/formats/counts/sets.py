"""From columns to records: the kind of a table by its columns, and the sets (arms, benchmarks) that it holds."""

from __future__ import annotations

import re
from collections import Counter
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
    LISTS,
    OUTCOME,
    PRICE,
    REPO,
    SETTINGS,
    SPENT,
    TASK,
    TESTS,
    Coded,
    CountsError,
    FloatArray,
    IntArray,
    as_counts,
    as_numbers,
    coded,
    find_column,
    in_order,
    listed,
    numbers_of,
    single_values,
    taken,
)
from monkeys.formats.counts.reading import Reading
from monkeys.formats.counts.records import Counts, Found, Outcomes

__all__ = ["Columns", "sets_in", "single_attempts", "transposed"]

# What tables call the row of all tasks together.
TOTAL = re.compile(r"\W*(?:grand )?(?:totals?|overall|sum|all|aggregate|micro)\W*", re.IGNORECASE)
Columns: TypeAlias = Mapping[str, Sequence[Any]]
YES = frozenset({"1", "1.0", "true", "yes", "resolved", "passed", "pass", "correct", "success"})
NO = frozenset({"0", "0.0", "false", "no", "unresolved", "failed", "fail", "incorrect", "wrong", "failure"})
NEITHER = frozenset({"infra error", "unverified"})  # this program's words for attempts that do not count
DIGITS = frozenset({"0", "1", "0.0", "1.0"})
# Names that mean an attempt's outcome, whatever stands beside them.
PLAIN_OUTCOMES = frozenset({"resolved", "outcome", "is_correct", "verdict", "success"})
MOST_SETS = 1000


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
    parts = [values if isinstance(values, Coded) else coded(list(map(str, values))) for _, values in groups]
    if by is not None:
        said = [f"{reading.by}={value}" for value in parts[-1].values]
        parts[-1] = Coded(parts[-1].codes, said)
    if all(len(part.values) == 1 for part in parts):
        only = _set(place, str(parts[min(1, len(parts) - 1)][0]) or name, columns, reading)
        return [replace(only, benchmark="" if found is None else str(found[1][0]))]
    sets = []
    for label, rows in _grouped(place, parts).items():
        one = _set(f"{place}, {label}", label, {key: taken(values, rows) for key, values in columns.items()}, reading)
        sets.append(replace(one, benchmark="" if found is None else str(found[1][int(rows[0])])))
    return sets


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
    lists, task = _lists(columns), find_column(columns, TASK)
    attempts, correct = find_column(columns, ATTEMPTS), find_column(columns, CORRECT)
    if lists is not None:
        return _set(place, name, _unfolded(place, lists, columns), reading)
    if attempts is not None and correct is not None:
        rows = len(correct[1])
        ids = tuple(map(str, single_values(place, *task))) if task else tuple(f"task {row}" for row in range(rows))
        repos, costs = find_column(columns, REPO), find_column(columns, PRICE)
        made, solved = as_counts(place, *attempts), as_counts(place, *correct)
        _refuse_total(place, ids, made, solved)
        return Counts(
            name=name,
            task_ids=ids,
            n=made,
            correct=solved,
            repos=tuple(map(str, repos[1])) if repos else None,
            costs=None if costs is None else as_numbers(place, *costs),
            spent=numbers_of(place, columns, SPENT),
        )
    outcome = find_column(columns, OUTCOME)
    if task is None or (outcome is None and correct is None):
        raise CountsError(
            f"{place} has the columns {listed(list(columns), 8)}: a table of counts needs {ATTEMPTS[0]} and "
            f"{CORRECT[0]}, one of single attempts {TASK[0]} and {OUTCOME[0]} (docs/counts.md has their other names); "
            "say which column is which with --columns task=...,n=...,correct=..."
        )
    measure = outcome or correct
    assert measure is not None
    if not {"correct", "outcome"} & set(reading.columns):
        _refuse_tests(place, measure, columns)
    return single_attempts(place, name, single_values(place, *task), measure, columns)


def _refuse_total(place: str, ids: Sequence[str], made: IntArray, solved: IntArray) -> None:
    """Refuse a row that is called a total and is the sum of the others: it is no task."""
    for row in (0, len(ids) - 1) if len(ids) > 2 else ():
        if TOTAL.fullmatch(ids[row]) and made.sum() == 2 * made[row] and solved.sum() == 2 * solved[row]:
            raise CountsError(f"{place}: the row {ids[row]!r} is the sum of the others, and no task; drop it")


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


def _nested(values: Sequence[Any]) -> bool:
    return not isinstance(values, (Coded, np.ndarray)) and any(isinstance(value, (list, dict)) for value in values)


def _lists(columns: Columns) -> tuple[str, Sequence[Any]] | None:
    """The column whose cells are lists of outcomes."""
    for name in LISTS:
        found = find_column(columns, (name,))
        if found is None or isinstance(found[1], (Coded, np.ndarray)):
            continue
        if len(found[1]) and all(isinstance(value, (list, tuple)) for value in found[1]):
            return found
    return None


def single_attempts(
    place: str, name: str, task: Sequence[Any], outcome: tuple[str, Sequence[Any]], columns: Columns
) -> Outcomes:
    """A row for each attempt with its task and its outcome; the other columns are kept.

    Raises:
        CountsError: a cell that is no outcome; an attempt that comes twice.
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
    tasks = coded(task if isinstance(task, Coded) or set(map(type, task)) == {str} else list(map(str, task)))
    ids = tuple(map(str, tasks.values))
    index = tasks.codes
    rest = {name: column for name, column in columns.items() if column is not task and column is not values}
    correct = np.array([one is True for one in meaning], np.bool_)[outcomes.codes]
    notes: tuple[str, ...] = ()
    if None in meaning:
        counted = np.array([one is not None for one in meaning], np.bool_)[outcomes.codes]
        kept = np.flatnonzero(counted)
        notes = (f"left out: {counted.size - kept.size:,} rows that are infra errors or not verified",)
        index, correct = index[kept], correct[kept]
        rest = {name: taken(column, kept) for name, column in rest.items()}
    order = _order(place, ids, index, rest)
    return Outcomes(name, ids, index, correct, rest, (*notes, *_pooled(index, rest)), order=order)


def _order(place: str, ids: Sequence[str], task: IntArray, columns: Columns) -> IntArray | None:
    """The rows in the order in which each task's attempts were made, None for the order of the file.

    Raises:
        CountsError: a task has two rows for the same attempt.
    """
    found = find_column(columns, INDEX)
    if found is None or not task.size or _nested(found[1]):
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


def _unfolded(place: str, lists: tuple[str, Sequence[Any]], columns: Columns) -> dict[str, Sequence[Any]]:
    """A row for each attempt, from a row for each task whose cells are lists, one value an attempt."""
    key, cells = lists
    lengths = [len(value) for value in cells]
    task, attempts = find_column(columns, TASK), find_column(columns, ATTEMPTS)
    names: Sequence[Any] = single_values(place, *task) if task else range(len(lengths))
    if twice := [name for name, times in Counter(map(str, names)).items() if times > 1]:
        raise CountsError(
            f"{place} has more than one row of outcomes for {listed(twice)}: join the lists, or tell the arms apart by "
            f"a column {ARM[0]!r}"
        )
    if attempts is not None:
        for row, (said, length) in enumerate(zip(as_counts(place, *attempts), lengths, strict=True), 1):
            if said != length:
                raise CountsError(
                    f"{place}, row {row}: {attempts[0]} = {said} beside {length} outcomes in {key}; correct either"
                )
    unfolded: dict[str, Sequence[Any]] = {}
    for name, column in columns.items():
        if column is cells or (task and column is task[1]) or (attempts and column is attempts[1]):
            continue
        along = all(
            isinstance(value, (list, tuple)) and len(value) == length
            for value, length in zip(column, lengths, strict=True)
        )
        spread = (value if along else [value] * length for value, length in zip(column, lengths, strict=True))
        unfolded[name] = [cell for part in spread for cell in part]
    for name in (*CORRECT, *OUTCOME):  # a summary beside the lists is no outcome
        if found := find_column(unfolded, (name,)):
            del unfolded[found[0]]
    unfolded["correct"] = [cell for part in cells for cell in part]
    unfolded["task"] = [name for name, length in zip(names, lengths, strict=True) for _ in range(length)]
    if not unfolded["correct"]:
        raise CountsError(f"{place}: every list of outcomes is empty; there is nothing to estimate from")
    return unfolded


def transposed(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    keys = dict.fromkeys(key for record in records for key in record)
    return {key: [record.get(key) for record in records] for key in keys}
