"""Tables from single sources: CSV, JSON, JSON lines, Parquet. An error names the row.

A CSV file of a million rows takes about a second. Only Parquet needs pyarrow; where counts are wanted, it reads the
columns that counts are made of, each as codes of its distinct values.
"""

from __future__ import annotations

import csv
import gc
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

import numpy as np

from monkeys.formats.counts.cells import (
    ATTEMPTS,
    CORRECT,
    LISTS,
    OUTCOME,
    TASK,
    Coded,
    CountsError,
    RepeatedRows,
    as_object,
    find_column,
    in_order,
    listed,
    parse_json,
)
from monkeys.formats.counts.programs import read_program
from monkeys.formats.counts.reading import Reading
from monkeys.formats.counts.records import Found
from monkeys.formats.counts.reports import is_summary, read_summary
from monkeys.formats.counts.sets import PLAIN_OUTCOMES, sets_in, transposed
from monkeys.formats.counts.source import Source

__all__ = ["read_csv", "read_json", "read_jsonl", "read_parquet"]

MANY = 4096  # rows looked at to tell whether the values of a column are few
CHUNK = 4096  # rows at once
SEPARATOR = re.compile(r'"?sep=([^\w\s]|\t)"?[\r\n]*', re.IGNORECASE)  # the first line of some spreadsheets


def read_csv(source: Source, reading: Reading) -> list[Found]:
    """A table with a header.

    Cells are separated by commas, tabs, semicolons or bars: what a first line such as sep=; says, or else the one that
    is most frequent in the header.
    """
    csv.field_size_limit(2**31 - 1)  # a patch may be long
    columns: list[list[str]] = []
    rows = 1
    with source.lines() as file, _uncollected():
        first = file.readline()
        if said := SEPARATOR.fullmatch(first):
            first, rows = file.readline(), 2
        delimiter = said[1] if said else max(",\t;|", key=first.count)
        try:
            reader = csv.reader(chain([first], file), delimiter=delimiter)
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
                        f"{source.place}, row {rows + at + 1}: {len(chunk[at])} cells under {len(header)} columns; "
                        "mend the row"
                    ) from None
                rows += len(chunk)
        except csv.Error as error:
            raise CountsError(f"{source.place} is not a table ({error})") from None
    if not columns or not columns[0]:
        return []
    if all(_is_number(name) for name in header):
        raise CountsError(f"{source.place} has no header: its first row must name the columns, such as task,n,correct")
    _unique(source, header)
    return sets_in(source.place, source.name, dict(zip(header, columns, strict=True)), reading)


def read_jsonl(source: Source, reading: Reading) -> list[Found]:
    """An object a line."""
    with source.lines() as file:
        start = next((line for line in file if line.strip()), "")
    if start.lstrip().startswith("["):  # one list, whatever its name says
        return read_json(source, reading)
    records = []
    with source.lines() as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                place = f"{source.place}, line {number}"
                records.append(as_object(place, parse_json(place, line)))
    return sets_in(source.place, source.name, transposed(records), reading) if records else []


def read_json(source: Source, reading: Reading) -> list[Found]:
    """Any of the shapes of docs/counts.md, a summary of SWE-bench's harness, or what other programs write."""
    text = source.text()
    if not text.strip():
        return []
    try:
        data = parse_json(source.place, text)
    except CountsError:
        first, _, rest = text.strip().partition("\n")
        if first.rstrip().endswith("}") and rest.lstrip().startswith("{"):  # an object a line, whatever its name says
            return read_jsonl(source, reading)
        raise
    if is_summary(data):
        return read_summary(source.place, source.name, data, reading)
    if (found := read_program(source.place, source.name, data, reading)) is not None:
        return found
    return _from_json(source.place, source.name, data, reading)


def _from_json(place: str, name: str, data: Any, reading: Reading, inside: str = "") -> list[Found]:
    """The sets in a JSON value, by its shape. `inside` is the name of the object that it is a value of."""
    if isinstance(data, list):
        if not data:
            return []
        if all(isinstance(row, dict) for row in data):
            return sets_in(place, name, transposed(data), reading)
        if all(isinstance(row, list) for row in data):
            return sets_in(place, name, {"task": list(range(len(data))), "outcomes": data}, reading)
    elif isinstance(data, dict):
        if (frame := _framed(data)) is not None:
            return sets_in(place, name, frame, reading)
        if isinstance(data.get("issues"), list):  # what `monkeys report --json` prints
            return _from_json(place, name, data["issues"], reading)
        columns = {str(key): value for key, value in data.items()}
        told = _told(columns, reading)
        if told and (find_column(told, LISTS[:-1]) or (find_column(told, ATTEMPTS) and find_column(told, CORRECT))):
            return sets_in(place, name, _stretched(place, columns, told), reading)
        values = list(data.values())
        if values and all(isinstance(value, bool) for value in values):
            return sets_in(place, name, {"task": list(data), "correct": values}, reading)
        if values and all(isinstance(value, list) for value in values):
            if told and find_column(told, TASK) and (find_column(told, OUTCOME) or find_column(told, CORRECT)):
                return sets_in(place, name, _stretched(place, columns, told), reading)
            return sets_in(place, name, {"task": list(data), "outcomes": values}, reading)
        if values and all(isinstance(value, dict) for value in values):
            if all(_is_row(value) for value in values):
                rows = [{"task": task, **row} for task, row in data.items()]
                return sets_in(place, name, transposed(rows), reading)
            return [
                one
                for key, value in data.items()
                for one in _from_json(f"{place}, {key}", f"{inside}{key}", value, reading, f"{inside}{key}/")
            ]
    raise CountsError(
        f'{place} has none of the known shapes: {{"task": [1, 0, ...]}}, {{"n": 10, "correct": [3, ...]}}, a list of '
        'rows {"task", "n", "correct"} or {"task", "correct"}, or several of these by name'
    )


def _framed(data: Mapping[str, Any]) -> dict[str, list[Any]] | None:
    """The columns of a data frame as pandas (split, table, columns) and Weights & Biases write it; None for others."""
    rows, names = data.get("data"), data.get("columns")
    if isinstance(rows, list) and rows:
        width = len(names) if isinstance(names, list) else -1
        if isinstance(names, list) and all(isinstance(row, list) and len(row) == width for row in rows):
            return {str(key): list(values) for key, values in zip(names, zip(*rows, strict=True), strict=True)}
        if isinstance(data.get("schema"), dict) and all(isinstance(row, dict) for row in rows):
            return transposed(rows)
    values = list(data.values())
    if len(values) < 2 or not all(isinstance(one, dict) and one.keys() == values[0].keys() for one in values):
        return None
    cells = {str(key): list(value.values()) for key, value in data.items()}
    plain = not any(isinstance(cell, (list, dict)) for column in cells.values() for cell in column)
    if plain and find_column(cells, CORRECT) and (find_column(cells, TASK) or find_column(cells, ATTEMPTS)):
        return cells if find_column(cells, TASK) else {"task": list(values[0]), **cells}
    return None


def _told(columns: Mapping[str, Any], reading: Reading) -> Mapping[str, Any]:
    """The columns by their meaning; none where those that were given are not among them."""
    try:
        return reading.named("", columns)
    except CountsError:
        return {}


def _is_row(value: Mapping[str, Any]) -> bool:
    """Whether these are the counts of one task, or the outcome of one attempt at it, and not a set of their own."""
    n, correct = find_column(value, ATTEMPTS), find_column(value, CORRECT)
    outcome = find_column(value, PLAIN_OUTCOMES)
    if n is None and outcome is not None and isinstance(outcome[1], bool):
        return True
    return n is not None and correct is not None and not isinstance(correct[1], list) and not isinstance(n[1], list)


def _stretched(place: str, data: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The columns of an object. One number for all tasks becomes a column; a prompt or a note is left out."""
    listed = find_column(told, LISTS[:-1])
    if listed is not None and not any(isinstance(one, list) for one in _as_list(listed[1])):
        return {key: [value] for key, value in data.items()}  # one problem
    correct = find_column(told, CORRECT) or find_column(told, OUTCOME)
    rows = len(_as_list((listed or correct or ("", []))[1]))
    return {
        key: _as_list(value) if isinstance(value, list) else [value] * rows
        for key, value in data.items()
        if not isinstance(value, list) or len(value) == rows or _wrong_length(place, key, len(value), rows)
    }


def _wrong_length(place: str, key: str, length: int, rows: int) -> bool:
    raise CountsError(f"{place}: column {key} has {length} values beside {rows}: the columns must be equally long")


def read_parquet(source: Source, reading: Reading) -> list[Found]:
    """A table; a column may hold lists."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise CountsError(
            f"{source.place}: reading Parquet needs pyarrow; `pip install 'coding-monkeys[tables]'` brings it"
        ) from None
    with source.opened() as file:
        try:
            kept = parquet.ParquetFile(file)
            schema, rows = kept.schema_arrow, kept.metadata.num_rows
            _unique(source, schema.names)
            names = schema.names if reading.whole else reading.wanted(source.place, schema.names)
            names = names or schema.names
            text = [name for name in schema.names if pyarrow.types.is_string(schema.field(name).type)]

            def columns_of(names: list[str]) -> dict[str, Any]:
                file.seek(0)
                table = parquet.read_table(file, columns=names, read_dictionary=[] if reading.whole else text)
                return {name: table[name].to_pylist() if reading.whole else _column(table[name]) for name in names}

            if not rows:
                return []
            columns = columns_of(names)
            # Columns that were not read are there by their names alone, for messages.
            unread = Coded(np.broadcast_to(np.int64(0), rows), [None])
            try:
                return sets_in(source.place, source.name, {**dict.fromkeys(schema.names, unread), **columns}, reading)
            except RepeatedRows:  # in the columns that were read; in those that were not, the rows may differ
                rest = [name for name in schema.names if name not in names]
                return sets_in(source.place, source.name, {**columns, **columns_of(rest)} if rest else columns, reading)
        except pyarrow.ArrowException as error:
            raise CountsError(f"{source.place} is not a Parquet file ({str(error).splitlines()[0][:120]})") from None


def _column(column: Any) -> Any:
    """A column of Arrow by its distinct values; numbers that are seldom alike as an array, and lists as they are."""
    import pyarrow
    from pyarrow import types

    if types.is_float16(column.type):  # Arrow joins dictionaries of these by their bits: 1.0 becomes 15360.0
        column = column.cast(pyarrow.float32())
    kind = column.type
    if types.is_floating(kind) or (types.is_integer(kind) and column.null_count == 0):
        numbers = column.to_numpy()
        if not (few := np.unique(numbers[:MANY]).size <= MANY // 4):
            return numbers
    else:
        few = (
            types.is_dictionary(kind) or types.is_string(kind) or types.is_large_string(kind) or types.is_boolean(kind)
        )
    if not few:
        return column.to_pylist()
    if not types.is_dictionary(kind):
        column = column.dictionary_encode()
    column = column.unify_dictionaries()
    parts, values = [], list[Any]()
    for chunk in column.chunks:
        values = chunk.dictionary.to_pylist()
        parts.append(chunk.indices.fill_null(len(values)).to_numpy(zero_copy_only=False).astype(np.int64))
    codes = np.concatenate(parts)
    if column.null_count:
        values = [*values, None]
    assert isinstance(column, pyarrow.ChunkedArray)
    return in_order(codes, values)


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


def _unique(source: Source, header: Iterable[str]) -> None:
    twice = [name for name, times in Counter(name.lower() for name in header).items() if times > 1]
    if twice:
        names = listed([name or "without a name" for name in twice])
        raise CountsError(f"{source.place} has more than one column {names}; rename or drop the others")


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
