"""Cells and columns: the names of columns, the values that cells may hold, and `CountsError`.

Every error names the place, the cause and the remedy; no value is guessed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from envs.errors import MonkeysError

__all__ = [
    "ARM",
    "ATTEMPTS",
    "BENCHMARK",
    "CORRECT",
    "INDEX",
    "LISTS",
    "OUTCOME",
    "PRICE",
    "REPO",
    "SETTINGS",
    "SPENT",
    "TASK",
    "TESTS",
    "BoolArray",
    "Coded",
    "CountsError",
    "FloatArray",
    "IntArray",
    "as_counts",
    "as_numbers",
    "as_object",
    "coded",
    "find_column",
    "in_order",
    "listed",
    "numbers_of",
    "parse_json",
    "single_values",
    "squeezed",
    "taken",
]

IntArray: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]
SEPARATORS = re.compile(r"[\s_-]+")

# The names by which columns are known, the likelier first. Case, blanks, underscores and hyphens do not matter.
TASK = (
    *("task", "task_id", "instance_id", "problem_id", "problem_idx", "problem", "question_id", "example_id"),
    *("orig_dset_idx", "id"),
)
ATTEMPTS = ("n", "attempts", "trials", "num_samples", "n_samples")
CORRECT = ("correct", "resolved", "c", "num_correct", "n_correct", "successes", "solved", "passed")
OUTCOME = (
    *("correct", "resolved", "outcome", "is_correct", "verdict", "success", "passed", "solved", "reward", "score"),
)
LISTS = ("is_corrects", "outcomes", "corrects", "results", "correct")
ARM = ("arm", "set", "model", "model_name_or_path", "model_name")
BENCHMARK = ("benchmark", "dataset", "benchmark_name", "dataset_name", "suite", "data_source")
INDEX = (
    *("attempt", "attempt_id", "attempt_idx", "attempt_index", "attempt_number", "trial", "trial_id", "trial_idx"),
    *("rollout", "rollout_id", "rollout_idx", "epoch", "try", "completion_id"),
)
REPO = ("repo", "repository")
PRICE = ("cost", "costs", "dollars")
SPENT = ("tokens", "seconds")
TESTS = (  # beside these a number of "passed" may be one of tests, in place of attempts
    *("total", "tests", "n_tests", "num_tests", "test_count", "tests_total", "total_tests", "tests_run"),
    *("failed", "n_failed", "num_failed", "tests_failed", "failures", "max_score", "out_of"),
)
SETTINGS = (  # what attempts at one task may differ in without being alike
    *("temperature", "top_p", "prompt_name", "agent", "scaffold", "method", "strategy", "language", "config"),
    *("setting", "split", "subset", "version"),
)
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
    """The column with one of these names, the first name first; case, blanks, underscores and hyphens do not matter.

    Raises:
        CountsError: two columns have the same name but for these.
    """
    known: dict[str, str] = {}
    twice: dict[str, str] = {}
    for key in columns:
        if (short := squeezed(str(key))) in known:
            twice[short] = key
        known.setdefault(short, key)
    for name in names:
        if (short := squeezed(name)) in known:
            if short in twice:
                raise CountsError(
                    f"the columns {known[short]!r} and {twice[short]!r} both read as {name}; rename one of them"
                )
            return known[short], columns[known[short]]
    return None


def squeezed(name: str) -> str:
    """The name in small letters without blanks, underscores and hyphens."""
    return SEPARATORS.sub("", name).lower()


@dataclass(frozen=True)
class Coded(Sequence[Any]):
    """A column by its distinct values: `values[codes[row]]` is the cell of a row."""

    codes: IntArray
    values: Sequence[Any]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, row: Any) -> Any:
        return self.values[int(self.codes[row])]


def coded(values: Sequence[Any]) -> Coded:
    """The column by its distinct values, in the order in which they come."""
    if isinstance(values, Coded):
        return values
    numbers: dict[Any, int] = {}
    codes = np.fromiter((numbers.setdefault(value, len(numbers)) for value in values), np.int64, len(values))
    return Coded(codes, tuple(numbers))


def in_order(codes: IntArray, values: Sequence[Any]) -> Coded:
    """The column with its values in the order in which they come, without those that do not come."""
    first = np.full(len(values), codes.size, np.int64)
    first[codes[::-1]] = np.arange(codes.size - 1, -1, -1)
    order = np.argsort(first, kind="stable")[: int((first < codes.size).sum())]
    rank = np.zeros(len(values), np.int64)
    rank[order] = np.arange(order.size)
    return Coded(rank[codes], [values[int(code)] for code in order])


def taken(values: Sequence[Any], rows: IntArray) -> Sequence[Any]:
    """The cells of these rows."""
    if isinstance(values, Coded):
        return in_order(values.codes[rows], values.values)
    if isinstance(values, np.ndarray):
        return values[rows]
    return [values[row] for row in rows.tolist()]


def single_values(place: str, key: str, values: Sequence[Any]) -> Sequence[Any]:
    """The column as it is. Refuses a cell that is missing, a list or an object."""
    distinct = values.values if isinstance(values, Coded) else values
    if set(map(type, distinct)) & {list, tuple, dict, type(None)}:
        row = next(at for at, value in enumerate(values) if value is None or isinstance(value, (list, tuple, dict)))
        raise CountsError(
            f"{place}, column {key}, row {row + 1}: {values[row]!r:.60} is no single value; mend the cell"
        )
    return values


def as_counts(place: str, key: str, values: Sequence[Any]) -> IntArray:
    """The cells as whole numbers; they may be negative."""
    if isinstance(values, Coded):
        return as_counts(place, key, values.values)[values.codes]
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
    if isinstance(values, Coded):
        return as_numbers(place, key, values.values)[values.codes]
    if isinstance(values, np.ndarray) and (np.abs(values) < 2**53).all():
        return values.astype(np.float64)

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
