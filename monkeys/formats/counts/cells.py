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
    "MISSING",
    "OUTCOME",
    "PARTS",
    "PRICE",
    "QUESTIONS",
    "REPEATS",
    "REPO",
    "ROW_IDS",
    "SETTINGS",
    "SPENT",
    "TASK",
    "TESTS",
    "BoolArray",
    "Coded",
    "CountsError",
    "FloatArray",
    "IntArray",
    "RepeatedRows",
    "as_counts",
    "as_numbers",
    "as_object",
    "coded",
    "find_column",
    "has_separators",
    "ids_of",
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
    *("orig_dset_idx", "task_name", "problem_name", "instance", "id"),
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
REPEATS = (  # what may number attempts, or be the same for all of them
    *("run", "run_id", "run_idx", "run_index", "seed", "sample", "sample_id", "sample_idx", "sample_index", "repeat"),
    *("repetition", "rep", "replicate", "iteration", "iter", "generation", "generation_id", "trajectory_id"),
)
REPO = ("repo", "repository")
ROW_IDS = ("id", "exampleid")  # names of tasks, squeezed, by which files also number their rows
QUESTIONS = ("question", "problem_statement", "issue", "problem", "prompt")
PRICE = ("cost", "costs", "dollars")
SPENT = ("tokens", "seconds")
TESTS = (  # beside these a number of "passed" may be one of tests, in place of attempts
    *("total", "tests", "n_tests", "num_tests", "test_count", "tests_total", "total_tests", "tests_run"),
    *("failed", "n_failed", "num_failed", "tests_failed", "failures", "max_score", "out_of"),
)
PARTS = (  # what tells apart the rows of one attempt, where each row is a part of it
    *("test", "test_id", "test_name", "test_case", "testcase", "nodeid", "step", "step_id", "step_idx"),
    *("step_index", "turn", "turn_id", "turn_idx", "turn_index"),
)
SETTINGS = (  # what attempts at one task may differ in without being alike
    *("temperature", "top_p", "prompt_name", "agent", "scaffold", "method", "strategy", "language", "config"),
    *("setting", "split", "subset", "version"),
)
WHOLE = frozenset({"tokens"})  # of other costs, those that are whole numbers
SEPARATED = re.compile(r"[+-]?\d*(?:[.,'\s\u2019]\d+)+(?:[eE][+-]?\d+)?")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+")
MISSING = ("", "-", "–", "?", "na", "n/a", "nan", "none", "null", "nil", "missing", "<na>")
NAMED = 3


class CountsError(MonkeysError, ValueError):
    """Counts cannot be read, or do not allow what was asked; the message has place, cause and remedy, in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # a quoted name of a column may hold line ends


class RepeatedRows(CountsError):
    """Rows are alike in all columns, as of a table that holds attempts twice."""


def numbers_of(place: str, columns: Mapping[str, Any], names: Iterable[str]) -> dict[str, FloatArray]:
    """The columns among `names` that exist and hold numbers; a column of such a name may hold something else."""
    found = {}
    for name in names:
        if column := find_column(columns, (name,)):
            if name in WHOLE:
                _refuse_thousands(place, *column)
            with suppress(CountsError):
                found[name] = as_numbers(place, *column)
    return found


def as_costs(place: str, key: str, values: Sequence[Any]) -> FloatArray:
    """The cells as numbers with decimals. Refuses texts such as 1.000 unless another cell shows what a point means."""
    distinct = values.values if isinstance(values, Coded) else values
    texts = [value.strip() for value in distinct if isinstance(value, str)]
    if not any("." in text and not THOUSANDS.fullmatch(text) for text in texts):
        _refuse_thousands(place, key, values)
    return as_numbers(place, key, values)


def _refuse_thousands(place: str, key: str, values: Sequence[Any]) -> None:
    """Refuse a text such as 1.000, which is one thousand in half of the world and one in the other half."""
    if isinstance(values, np.ndarray):
        return
    distinct = values.values if isinstance(values, Coded) else values
    if unclear := {
        value for value in distinct if isinstance(value, str) and "." in value and THOUSANDS.fullmatch(value.strip())
    }:
        row = next(at for at, value in enumerate(values) if isinstance(value, str) and value in unclear)
        text = values[row].strip()
        raise CountsError(
            f"{place}, column {key}, row {row + 1}: {text!r} may be {text.replace('.', '')} or {float(text[:5]):g}; "
            "write it in digits alone"
        )


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


def ids_of(place: str, key: str, values: Sequence[Any]) -> Sequence[Any]:
    """The column as it is. Refuses a cell that names no task: two of these would be taken for one task."""
    single_values(place, key, values)
    distinct = values.values if isinstance(values, Coded) else values
    if any(_is_blank(value) for value in distinct):
        row = next(at for at, value in enumerate(values) if _is_blank(value))
        raise CountsError(f"{place}, column {key}, row {row + 1}: the id is empty; fill it in, or remove the row")
    return values


def _is_blank(value: Any) -> bool:
    return not value.strip() if isinstance(value, str) else value != value


def as_counts(place: str, key: str, values: Sequence[Any]) -> IntArray:
    """The cells as whole numbers; they may be negative."""
    if isinstance(values, Coded):
        return as_counts(place, key, values.values)[values.codes]
    _refuse_thousands(place, key, values)
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
            raise CountsError(f"{place}, column {key}, row {row + 1}: {value!r} is no number; {_remedy(value)}")
        return found

    return np.fromiter((number(row, value) for row, value in enumerate(values)), np.float64, len(values))


def has_separators(value: Any) -> bool:
    """Whether a cell is a number with a comma before its decimals, or separators of thousands; versions are none."""
    return (
        isinstance(value, str)
        and bool(SEPARATED.fullmatch(value.strip()))
        and bool(re.search(r"[^\d.eE+-]", value.strip()))
    )


def _remedy(value: Any) -> str:
    if isinstance(value, str) and SEPARATED.fullmatch(value.strip()):
        return "write it without separators of thousands, and with a point before decimals"
    said = str(value).strip().lower()
    return "a missing count is not zero" if said in MISSING else "give a number in digits alone"


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
