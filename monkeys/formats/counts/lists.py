"""Lists of outcomes, one for each task: in a cell, in a text within a cell, or in columns beside one another."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monkeys.formats.counts.cells import (
    ARM,
    ATTEMPTS,
    CORRECT,
    LISTS,
    OUTCOME,
    TASK,
    Coded,
    CountsError,
    as_counts,
    find_column,
    ids_of,
    listed,
    squeezed,
)

__all__ = ["is_one_of_several", "lists_in", "unfolded"]

# The names of columns that hold the outcomes of one attempt each, after `squeezed`.
NUMBERED = re.compile(r"(?:attempt|trial|run|try|seed|sample|rollout|epoch|repeat|rep)\d+")
LETTERS = re.compile(r"[01]+|[TF]+")
TEXTS = LISTS[:3]  # columns in which a text such as 1011 is a list
_Lists = tuple[str, Sequence[Any], Mapping[str, Sequence[Any]]]


def is_one_of_several(name: str) -> bool:
    """Whether a column of this name holds the outcomes of one attempt at each task, as in attempt_1, attempt_2."""
    return NUMBERED.fullmatch(squeezed(name)) is not None


def lists_in(place: str, columns: Mapping[str, Sequence[Any]]) -> _Lists | None:
    """The name of the column of lists, the lists, and the other columns; None where there are no lists.

    Raises:
        CountsError: a text that is meant as a list, and is none.
    """
    for name in LISTS:
        found = find_column(columns, (name,))
        if found is None or isinstance(found[1], np.ndarray) or not len(found[1]):
            continue
        key, cells = found
        lists = _written(place, key, cells, name in TEXTS) if _are(str, cells) else cells
        if lists is not None and not isinstance(lists, Coded) and _are((list, tuple), lists):
            return key, lists, {each: column for each, column in columns.items() if each != key}
    several = [key for key in columns if is_one_of_several(str(key))]
    plain = find_column(columns, OUTCOME) or (find_column(columns, CORRECT) and find_column(columns, ATTEMPTS))
    if len(several) < 2 or plain or not find_column(columns, TASK):
        return None
    rows = zip(*(columns[key] for key in several), strict=True)
    made = [[cell for cell in row if cell is not None and str(cell).strip()] for row in rows]
    return listed(several), made, {key: column for key, column in columns.items() if key not in several}


def _are(kind: type | tuple[type, ...], cells: Sequence[Any]) -> bool:
    return all(isinstance(cell, kind) for cell in (cells.values if isinstance(cells, Coded) else cells))


def _written(place: str, key: str, cells: Sequence[str], letters: bool) -> list[Any] | None:
    """The lists that texts hold: as JSON, as Python writes them, or with `letters` one letter for each outcome."""
    if not letters and not cells[0].lstrip().startswith("["):
        return None
    texts = [cell.strip() for cell in cells]
    if all(text.startswith("[") for text in texts):
        return [_list(place, key, row, text) for row, text in enumerate(texts, 1)]
    if not letters or not all(LETTERS.fullmatch(text) for text in texts):
        return None
    # Programs that take 0110 for a number write it as 110.
    whole = any(len(text) > 1 and text.startswith("0") for text in texts)
    if len(set(map(len, texts))) > 1 and not whole and any(text[0] in "01" for text in texts):
        raise CountsError(
            f"{place}, column {key}: the texts differ in length, and zeros at their beginning may be lost; write them "
            'as lists, "[0, 1, 1]"'
        )
    return [list(text) for text in texts]


def _list(place: str, key: str, row: int, text: str) -> list[Any]:
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list):
            return found
    raise CountsError(f'{place}, column {key}, row {row}: {text!r:.60} is no list; write it as "[1, 0]"')


def unfolded(
    place: str, key: str, cells: Sequence[Any], columns: Mapping[str, Sequence[Any]]
) -> tuple[dict[str, Sequence[Any]], list[str]]:
    """A row for each attempt, from a row for each task whose cells are lists, one value an attempt.

    Also the tasks whose list is empty.
    """
    lengths = [len(value) for value in cells]
    task, attempts = find_column(columns, TASK), find_column(columns, ATTEMPTS)
    names: Sequence[Any] = ids_of(place, *task) if task else range(len(lengths))
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
        if (task and column is task[1]) or (attempts and column is attempts[1]):
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
    return unfolded, [str(name) for name, length in zip(names, lengths, strict=True) if not length]
