"""Cells and columns: the names of columns, the values that cells may hold, and `CountsError`.

Every error names the place, the cause and the remedy; no value is guessed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from envs.errors import MonkeysError

__all__ = [
    "ARM",
    "ATTEMPTS",
    "CORRECT",
    "LISTS",
    "OUTCOME",
    "PRICE",
    "REPO",
    "TASK",
    "BoolArray",
    "CountsError",
    "FloatArray",
    "IntArray",
    "as_counts",
    "as_numbers",
    "as_object",
    "find_column",
    "listed",
    "numbers_of",
    "parse_json",
    "single_values",
]

IntArray: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]

# The names by which columns are known, the likelier first.
TASK = ("task", "task_id", "instance_id", "problem_id", "problem_idx", "problem", "question_id", "orig_dset_idx", "id")
ATTEMPTS = ("n", "attempts", "trials", "total", "num_samples", "n_samples")
CORRECT = ("correct", "resolved", "c", "num_correct", "n_correct", "successes", "solved", "passed")
OUTCOME = ("correct", "resolved", "outcome", "is_correct", "verdict", "success", "passed", "solved", "reward")
LISTS = ("is_corrects", "outcomes", "corrects", "results")
ARM = ("arm", "set", "model", "model_name_or_path")
REPO = ("repo", "repository")
PRICE = ("cost", "costs", "dollars")
SPENT = ("tokens", "seconds")
NAMED = 3


class CountsError(MonkeysError, ValueError):
    """Counts cannot be read, or do not allow what was asked; the message has place, cause and remedy, in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # a quoted name of a column may hold line ends


def numbers_of(place: str, columns: Mapping[str, Any], names: Iterable[str]) -> dict[str, FloatArray]:
    """The columns among `names` that exist and hold numbers; a column of such a name may hold something else."""
    found = {}
    for name in names:
        if column := find_column(columns, (name,)):
            with suppress(CountsError):
                found[name] = as_numbers(place, *column)
    return found


def find_column(columns: Mapping[str, Any], names: Iterable[str]) -> tuple[str, Any] | None:
    """The column with one of these names in any case, the first name first."""
    known = {str(key).strip().lower(): key for key in columns}
    for name in names:
        if name in known:
            return known[name], columns[known[name]]
    return None


def single_values(place: str, key: str, values: Sequence[Any]) -> Sequence[Any]:
    """The column as it is. Refuses a cell that is missing, a list or an object."""
    if set(map(type, values)) & {list, tuple, dict, type(None)}:
        row = next(at for at, value in enumerate(values) if value is None or isinstance(value, (list, tuple, dict)))
        raise CountsError(
            f"{place}, column {key}, row {row + 1}: {values[row]!r:.60} is no single value; mend the cell"
        )
    return values


def as_counts(place: str, key: str, values: Sequence[Any]) -> IntArray:
    """The cells as whole numbers; they may be negative."""
    try:
        if not set(map(type, values)) & {bool, float}:
            return np.fromiter(map(int, values), np.int64, len(values))
    except (TypeError, ValueError, OverflowError):
        pass
    numbers = as_numbers(place, key, values)
    broken = np.floor(numbers) != numbers
    if broken.any():
        at = int(np.argmax(broken))
        raise CountsError(f"{place}, column {key}, row {at + 1}: {values[at]!r} is no whole number; give counts")
    return numbers.astype(np.int64)


def as_numbers(place: str, key: str, values: Sequence[Any]) -> FloatArray:
    """The cells as finite numbers that a float holds exactly."""

    def number(row: int, value: Any) -> float:
        try:
            found = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            found = math.nan
        if not abs(found) < 2**53:
            raise CountsError(
                f"{place}, column {key}, row {row + 1}: {value!r} is no number; a missing count is not zero"
            )
        return found

    return np.fromiter((number(row, value) for row, value in enumerate(values)), np.float64, len(values))


def parse_json(place: str, text: str) -> Any:
    """The value of a JSON text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CountsError(f"{place} is not JSON ({error})") from None


def as_object(place: str, value: Any) -> dict[str, Any]:
    """The value as it is. Refuses anything but an object."""
    if not isinstance(value, dict):
        raise CountsError(f"{place}: an object with named values is needed, not {type(value).__name__}")
    return value


def listed(names: Sequence[str], most: int = NAMED) -> str:
    """The first of the names, and how many more there are."""
    more = len(names) - most
    return ", ".join(map(str, names[:most])) + (f" and {more} more" if more > 0 else "")
