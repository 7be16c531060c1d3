"""Files of rows: a .jsonl file with one JSON object a line, or a .json file with a list of objects.

All suites read such files through this module, so that a file that cannot be read is refused with the same words.

Guarantees: a refusal names the file, the line and the remedy in one line; ids are unique within a task set.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.task import Task, TaskError, TaskSet

__all__ = ["first_row", "has_lone_surrogate", "is_path", "rows_of_file", "task_set"]

SUFFIXES = (".jsonl", ".json")


def is_path(source: str) -> bool:
    """Whether `source` is a path and not a name: by its suffix, or because there is such a file or folder."""
    path = Path(source)
    try:
        return bool(source) and (path.suffix in SUFFIXES or path.exists())
    except (OSError, ValueError):  # such as a name that is too long, or holds a null character
        return False


def rows_of_file(path: Path, *, read_float: Callable[[str], Any] = float) -> Iterator[tuple[str, Any]]:
    """Each row with its place, "FILE:LINE" or "FILE: item N". Blank lines are skipped.

    `read_float` makes a value of a JSON number with a fraction or an exponent. Raises `TaskError` for a file that
    cannot be read and, at that row, for one that is not JSON.
    """
    text = _text(path)
    if path.suffix == ".json":
        try:
            rows = json.loads(text, parse_float=read_float)
        except (ValueError, ArithmeticError, RecursionError) as error:
            raise TaskError(
                f"{path}: not JSON ({error}); correct it, or name a file with one object a line .jsonl"
            ) from None
        if not isinstance(rows, list):
            raise TaskError(f"{path}: not a list; give a JSON list of objects, or a .jsonl file with one object a line")
        yield from ((f"{path}: item {number}", row) for number, row in enumerate(rows, 1))
        return
    first = True
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}:{number}"
            if first and line.lstrip().startswith("["):
                raise TaskError(f"{where}: a JSON list, and here each line is one object; name the file .json")
            try:
                row = json.loads(line, parse_float=read_float)
            except (ValueError, ArithmeticError, RecursionError) as error:
                if first:
                    _check_suffix(path)
                raise TaskError(f"{where}: not JSON ({error}); correct or remove this line") from None
            yield where, row
            first = False


def _check_suffix(path: Path) -> None:
    """Refuse a file that cannot be read by what its name says of it."""
    if path.suffix not in SUFFIXES:
        kind = f"a {path.suffix} file" if path.suffix else "a file without suffix"
        raise TaskError(
            f"{path} is {kind}, and task files are .jsonl (one JSON object a line) or .json (a list of objects); "
            "convert it"
        )


def first_row(source: str) -> Mapping[str, Any]:
    """The first row of a file, by which a suite knows its own; empty if there is none or it cannot be read."""
    path = Path(source)
    try:
        if path.suffix == ".json":
            _, row = next(rows_of_file(path))
        else:
            with path.open("rb") as file:
                row = json.loads(next(line for line in file if line.strip()).decode("utf-8-sig"))
    except (TaskError, OSError, ValueError, RecursionError, StopIteration):
        return {}
    return row if isinstance(row, dict) else {}


def has_lone_surrogate(text: str) -> bool:
    """Whether a text from JSON holds half a character, which cannot be written as UTF-8."""
    return not text.isascii() and text != text.encode("utf-8", "replace").decode()


def task_set(name: str, suite: str, tasks: Iterable[tuple[str, Task]]) -> TaskSet:
    """Tasks, each with its place, as a set. Raises `TaskError` for an id that is there twice, and for no tasks."""
    found: dict[str, Task] = {}
    places: dict[str, str] = {}
    for where, task in tasks:
        if task.id in found:
            raise TaskError(f"{where}: the id {task.id} is there twice, first at {places[task.id]}; remove one of them")
        found[task.id], places[task.id] = task, where
    if not found:
        raise TaskError(f"{name} holds no task; give a file with one task a line")
    return TaskSet(name, tuple(found.values()), suite)


def _text(path: Path) -> str:
    data = b""
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise TaskError(f"no file {path}: give the path of a .jsonl file with one task a line") from None
    except IsADirectoryError:
        raise TaskError(f"{path} is a folder; give a .jsonl file") from None
    except UnicodeDecodeError as error:
        _check_suffix(path)
        number = data.count(b"\n", 0, error.start) + 1
        raise TaskError(f"{path}:{number}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
    except OSError as error:
        raise TaskError(f"{path} cannot be read ({error.strerror}); make it readable, or give another file") from None
