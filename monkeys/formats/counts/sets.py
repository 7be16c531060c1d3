"""From columns to records: the kind of a table by its columns, and the sets (arms, models) that it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from monkeys.formats.counts.cells import (
    ARM,
    ATTEMPTS,
    CORRECT,
    LISTS,
    OUTCOME,
    PRICE,
    REPO,
    SPENT,
    TASK,
    CountsError,
    as_counts,
    as_numbers,
    find_column,
    listed,
    numbers_of,
    single_values,
)
from monkeys.formats.counts.records import Counts, Found, Outcomes

__all__ = ["Columns", "sets_in", "single_attempts", "transposed"]

Columns: TypeAlias = Mapping[str, Sequence[Any]]
YES = frozenset({"1", "1.0", "true", "yes", "resolved", "passed", "pass", "correct", "success"})
NO = frozenset({"0", "0.0", "false", "no", "unresolved", "failed", "fail", "incorrect", "wrong", "failure"})
NEITHER = frozenset({"infra error", "unverified"})  # this program's words for attempts that do not count


def sets_in(place: str, name: str, columns: Columns) -> list[Found]:
    """The sets that a table holds: one, or one for each value of a column that names the arm."""
    found = find_column(columns, ARM)
    if found is None:
        return [_set(place, name, columns)]
    arms: dict[str, list[int]] = {}
    for row, value in enumerate(found[1]):
        arms.setdefault(str(value), []).append(row)
    if len(arms) == 1:
        return [_set(place, next(iter(arms)) or name, columns)]
    return [
        _set(f"{place}, {arm}", arm, {key: [values[row] for row in rows] for key, values in columns.items()})
        for arm, rows in arms.items()
    ]


def _set(place: str, name: str, columns: Columns) -> Found:
    """One table, of the kind that its columns show."""
    lists, task = find_column(columns, LISTS), find_column(columns, TASK)
    attempts, correct = find_column(columns, ATTEMPTS), find_column(columns, CORRECT)
    if lists is not None and all(isinstance(value, (list, tuple)) for value in lists[1]):
        return _set(place, name, _unfolded(place, lists[0], columns))
    if attempts is not None and correct is not None:
        rows = len(correct[1])
        ids = tuple(map(str, single_values(place, *task))) if task else tuple(f"task {row}" for row in range(rows))
        repos, costs = find_column(columns, REPO), find_column(columns, PRICE)
        return Counts(
            name=name,
            task_ids=ids,
            n=as_counts(place, *attempts),
            correct=as_counts(place, *correct),
            repos=tuple(map(str, repos[1])) if repos else None,
            costs=None if costs is None else as_numbers(place, *costs),
            spent=numbers_of(place, columns, SPENT),
        )
    outcome = find_column(columns, OUTCOME)
    if task is None or outcome is None:
        raise CountsError(
            f"{place} has the columns {listed(list(columns), 8)}: a table of counts needs {ATTEMPTS[0]} and "
            f"{CORRECT[0]}, one of single attempts {TASK[0]} and {OUTCOME[0]} (docs/counts.md has their other names)"
        )
    return single_attempts(place, name, single_values(place, *task), outcome, columns)


def single_attempts(
    place: str, name: str, task: Sequence[Any], outcome: tuple[str, Sequence[Any]], columns: Columns
) -> Found:
    """A row for each attempt with its task and its outcome; the other columns are kept."""
    meaning: dict[Any, bool | None] = {}
    key, values = outcome
    for value in set(single_values(place, key, values)):
        word = str(value).strip().lower()
        if word not in YES and word not in NO and word not in NEITHER:
            row = values.index(value)
            raise CountsError(
                f"{place}, column {key}, row {row + 1}: {value!r} is no outcome (1 or 0, true or false, resolved or "
                "unresolved); counts need a column n beside them"
            )
        meaning[value] = None if word in NEITHER else word in YES
    numbers: dict[str, int] = {}
    ids = task if set(map(type, task)) == {str} else list(map(str, task))
    index = np.fromiter((numbers.setdefault(one, len(numbers)) for one in ids), np.int64, len(ids))
    rest = {name: column for name, column in columns.items() if column is not task and column is not values}
    notes: tuple[str, ...] = ()
    if None in meaning.values():
        kept = [row for row, value in enumerate(values) if meaning[value] is not None]
        notes = (f"left out: {len(values) - len(kept):,} rows that are infra errors or not verified",)
        index, values = index[kept], [values[row] for row in kept]
        rest = {name: [column[row] for row in kept] for name, column in rest.items()}
    correct = np.fromiter((meaning[value] for value in values), np.bool_, len(values))
    return Outcomes(name, tuple(numbers), index, correct, rest, notes)


def _unfolded(place: str, key: str, columns: Columns) -> dict[str, list[Any]]:
    """A row for each attempt, from a row for each task whose cells are lists, one value an attempt."""
    lengths = [len(value) for value in columns[key]]
    task = find_column(columns, TASK)
    names = task[1] if task else range(len(lengths))
    unfolded: dict[str, list[Any]] = {}
    for name, column in columns.items():
        along = all(
            isinstance(value, (list, tuple)) and len(value) == length
            for value, length in zip(column, lengths, strict=True)
        )
        cells = (value if along else [value] * length for value, length in zip(column, lengths, strict=True))
        unfolded[name] = [cell for part in cells for cell in part]
    unfolded["correct"] = unfolded.pop(key)
    unfolded["task"] = [name for name, length in zip(names, lengths, strict=True) for _ in range(length)]
    if not unfolded["correct"]:
        raise CountsError(f"{place}: every list of outcomes is empty; there is nothing to estimate from")
    return unfolded


def transposed(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    keys = dict.fromkeys(key for record in records for key in record)
    return {key: [record.get(key) for record in records] for key in keys}
