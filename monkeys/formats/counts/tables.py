"""Tables from single files: CSV, JSON, JSON lines, Parquet. An error names the row.

A CSV file of a million rows takes about a second. Only Parquet needs pyarrow.
"""

from __future__ import annotations

import csv
import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from monkeys.formats.counts.cells import (
    ATTEMPTS,
    CORRECT,
    LISTS,
    CountsError,
    as_object,
    find_column,
    listed,
    parse_json,
)
from monkeys.formats.counts.folders import read_reports
from monkeys.formats.counts.records import Found
from monkeys.formats.counts.sets import sets_in, transposed

__all__ = ["read_csv", "read_json", "read_jsonl", "read_parquet"]

CHUNK = 4096  # rows at once


def read_csv(path: Path) -> list[Found]:
    """A table with a header. Cells are separated by commas, tabs or semicolons: the one most frequent in the header."""
    csv.field_size_limit(2**31 - 1)  # a patch may be long
    columns: list[list[str]] = []
    rows = 1
    with path.open(encoding="utf-8-sig", newline="") as file, _uncollected():
        first = file.readline()
        file.seek(0)
        delimiter = max(",\t;", key=first.count)
        try:
            reader = csv.reader(file, delimiter=delimiter)
            header = [name.strip() for name in next(reader, [])]
            columns = [[] for _ in header]
            while chunk := list(islice(reader, CHUNK)):
                full = [row for row in chunk if row]
                try:
                    for column, values in zip(columns, zip(*full, strict=True), strict=True) if full else ():
                        column.extend(values)
                except ValueError:
                    at = next(place for place, row in enumerate(chunk) if row and len(row) != len(header))
                    raise CountsError(
                        f"{path}, row {rows + at + 1}: {len(chunk[at])} cells under {len(header)} columns; mend the row"
                    ) from None
                rows += len(chunk)
        except csv.Error as error:
            raise CountsError(f"{path} is not a table ({error})") from None
    if not columns or not columns[0]:
        return []
    if all(_is_number(name) for name in header):
        raise CountsError(f"{path} has no header: its first row must name the columns, such as task,n,correct")
    _unique(path, header)
    return sets_in(str(path), path.stem, dict(zip(header, columns, strict=True)))


def read_jsonl(path: Path) -> list[Found]:
    """An object a line."""
    records = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                records.append(as_object(f"{path}, line {number}", parse_json(f"{path}, line {number}", line)))
    return sets_in(str(path), path.stem, transposed(records)) if records else []


def read_json(path: Path) -> list[Found]:
    """Any of the shapes of docs/counts.md, or a summary of SWE-bench's harness."""
    text = path.read_text("utf-8-sig")
    if not text.strip():
        return []
    data = parse_json(str(path), text)
    if isinstance(data, dict) and "resolved_ids" in data:
        return read_reports(path.parent, only=path)
    return _from_json(str(path), path.stem, data)


def _from_json(place: str, name: str, data: Any) -> list[Found]:
    """The sets in a JSON value, by its shape."""
    if isinstance(data, list):
        if not data:
            return []
        if all(isinstance(row, dict) for row in data):
            return sets_in(place, name, transposed(data))
        if all(isinstance(row, list) for row in data):
            return sets_in(place, name, {"task": list(range(len(data))), "outcomes": data})
    elif isinstance(data, dict):
        if isinstance(data.get("issues"), list):  # what `monkeys report --json` prints
            return _from_json(place, name, data["issues"])
        if find_column(data, LISTS) or (find_column(data, ATTEMPTS) and find_column(data, CORRECT)):
            return sets_in(place, name, _stretched(place, data))
        values = list(data.values())
        if values and all(isinstance(value, list) for value in values):
            return sets_in(place, name, {"task": list(data), "outcomes": values})
        if values and all(isinstance(value, dict) for value in values):
            if all(_is_row(value) for value in values):
                return sets_in(place, name, transposed([{"task": task, **row} for task, row in data.items()]))
            return [one for key, value in data.items() for one in _from_json(f"{place}, {key}", str(key), value)]
    raise CountsError(
        f'{place} has none of the known shapes: {{"task": [1, 0, ...]}}, {{"n": 10, "correct": [3, ...]}}, a list of '
        'rows {"task", "n", "correct"} or {"task", "correct"}, or several of these by name'
    )


def _is_row(value: Mapping[str, Any]) -> bool:
    """Whether these are the counts of one task, and not a set of their own."""
    n, correct = find_column(value, ATTEMPTS), find_column(value, CORRECT)
    return n is not None and correct is not None and not isinstance(correct[1], list) and not isinstance(n[1], list)


def _stretched(place: str, data: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The columns of an object. One number for all tasks becomes a column; a prompt or a note is left out."""
    listed = find_column(data, LISTS)
    if listed is not None and not any(isinstance(one, list) for one in _as_list(listed[1])):
        return {key: [value] for key, value in data.items()}  # one problem
    correct = find_column(data, CORRECT)
    rows = len(_as_list((listed or correct or ("", []))[1]))
    return {
        key: _as_list(value) if isinstance(value, list) else [value] * rows
        for key, value in data.items()
        if not isinstance(value, list) or len(value) == rows or _wrong_length(place, key, len(value), rows)
    }


def _wrong_length(place: str, key: str, length: int, rows: int) -> bool:
    raise CountsError(f"{place}: column {key} has {length} values beside {rows}: the columns must be equally long")


def read_parquet(path: Path) -> list[Found]:
    """A table; a column may hold lists."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise CountsError(
            f"{path}: reading Parquet needs pyarrow; `pip install 'coding-monkeys[tables]'` brings it"
        ) from None
    try:
        table = parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise CountsError(f"{path} is not a Parquet file ({str(error).splitlines()[0][:120]})") from None
    if not table.num_rows:
        return []
    _unique(path, table.column_names)
    return sets_in(str(path), path.stem, {name: table[name].to_pylist() for name in table.column_names})


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector, which goes through the growing columns again and again: .4 s in a million rows."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _unique(path: Path, header: Iterable[str]) -> None:
    twice = [name for name, times in Counter(name.lower() for name in header).items() if times > 1]
    if twice:
        raise CountsError(f"{path} has more than one column {listed(twice)}; rename or drop the others")


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
