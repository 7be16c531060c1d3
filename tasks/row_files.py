"""Files of rows: JSON Lines, a JSON list, or Parquet, each also packed with gzip.

Task sets and predictions are read through this module, so that all of them take the same files, and a file that cannot
be read is refused with the same words. What a file is, is seen from its content: names and line ends of every system
are taken, and so are UTF-8 and UTF-16, with a byte order mark or without.

Guarantees: a refusal names the file, the line and the remedy in one line; ids are unique within a task set.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from envs.errors import MonkeysError
from tasks.task import Task, TaskError, TaskSet

__all__ = [
    "LFS",
    "SUFFIXES",
    "converting",
    "first_row",
    "has_lone_surrogate",
    "is_path",
    "row_files_in",
    "rows_of_file",
    "stem_of",
    "task_set",
]

SUFFIXES = (".jsonl", ".json", ".parquet")
PACKED = ".gz"
GZIP, PARQUET = b"\x1f\x8b", b"PAR1"
LFS = b"version https://git-lfs"
DATASETS = "dataset_info.json"  # what save_to_disk writes beside its tables
BLANK = "\ufeff \t\r\n"  # a byte order mark also stands within a file that was put together from several
OTHERS = {
    **dict.fromkeys((".xz", ".lzma"), "unpack it with unxz, or pack it with gzip"),
    ".bz2": "unpack it with bunzip2, or pack it with gzip",
    **dict.fromkeys((".zst", ".zstd"), "unpack it with unzstd, or pack it with gzip"),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z"), "unpack it, and give the file in it"),
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".numbers"), "save the sheet as CSV"),
    **dict.fromkeys((".feather", ".arrow", ".ipc", ".orc"), "write it as Parquet, with pandas' to_parquet"),
    **dict.fromkeys((".pkl", ".pickle", ".npz", ".npy", ".h5", ".db", ".sqlite"), "write it as Parquet or JSON Lines"),
}
"""What to do with files that are not read, by their suffix."""
NAMED = 4  # files in a message

Whole = Callable[[Mapping[str, Any]], Iterable[tuple[str, Any]]]


def is_path(source: str) -> bool:
    """Whether `source` is a path and not a name: by its suffix, or because there is such a file or folder."""
    path = Path(source)
    try:
        return bool(source) and (_suffix(path) in SUFFIXES or path.exists())
    except (OSError, ValueError):  # such as a name that is too long, or holds a null character
        return False


def row_files_in(folder: Path) -> list[Path]:
    """The files of rows directly in a folder, by their suffixes, in the order of their names."""
    return sorted(file for file in folder.iterdir() if _suffix(file) in SUFFIXES and file.is_file())


def rows_of_file(
    path: Path,
    *,
    read_float: Callable[[str], Any] = float,
    whole: Whole | None = None,
    error: type[MonkeysError] = TaskError,
) -> Iterator[tuple[str, Any]]:
    """Each row with its place, "FILE:LINE", "FILE: item N" or "FILE: row N". Blank lines are skipped.

    `read_float` makes a value of a number with a fraction or an exponent. `whole` gives the rows of a file that is one
    JSON object, each with its place in it; without it such an object holds rows by their ids. Raises `error` for a file
    that cannot be read and, at that row, for one that is not JSON.
    """
    data = _data(path, error)
    if data.startswith(PARQUET):
        yield from _parquet(path, data, read_float, error)
        return
    if data.startswith(LFS):
        raise error(f"{path} is a pointer of Git LFS, and not the file; `git lfs pull` fetches that")
    text = _text(path, data, error)
    begins = text.lstrip(BLANK)[:1]
    if begins == "[" or (begins and _suffix(path) == ".json"):
        try:
            found = _json(text.strip(BLANK), read_float)
        except (ValueError, ArithmeticError, RecursionError) as cause:
            if begins != "{" or not str(cause).startswith("Extra data"):  # else it has one object a line
                raise error(
                    f"{path}: not JSON ({cause}); correct it, or give a .jsonl file with one object a line"
                ) from None
        else:
            if isinstance(found, list):
                yield from ((f"{path}: item {number}", row) for number, row in enumerate(found, 1))
            elif isinstance(found, Mapping) and whole is not None:
                yield from ((f"{path}: {place}" if place else f"{path}", row) for place, row in whole(found))
            elif isinstance(found, Mapping) and found and all(isinstance(row, Mapping) for row in found.values()):
                yield from ((f"{path}: {name}", row) for name, row in found.items())
            else:
                raise error(f"{path}: not a list; give a JSON list of objects, or a .jsonl file with one object a line")
            return
    first = True
    for number, line in enumerate(text.split("\n"), 1):
        if line := line.strip(BLANK):
            where = f"{path}:{number}"
            try:
                row = _json(line, read_float)
            except (ValueError, ArithmeticError, RecursionError) as cause:
                if first:
                    _check_suffix(path, error)
                raise error(f"{where}: not JSON ({cause}); correct or remove this line") from None
            yield where, row
            first = False


def first_row(source: str) -> Mapping[str, Any]:
    """The first row of a file, by which a suite knows its own; empty if there is none or it cannot be read."""
    try:
        _, row = next(rows_of_file(Path(source)), ("", None))
    except TaskError:
        return {}
    return row if isinstance(row, dict) else {}


def stem_of(path: Path) -> str:
    """The name of a file without the suffixes that tell its format."""
    name = path.stem if path.suffix.lower() == PACKED else path.name
    return Path(name).stem if _suffix(path) in SUFFIXES else path.stem


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


def _json(text: str, read_float: Callable[[str], Any]) -> Any:
    """A JSON value. Raises `ValueError`, also for an object with the same name twice: only one value would be kept."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
            raise ValueError(f"the name {twice!r} is there twice in one object")
        return found

    return json.loads(text, parse_float=read_float, object_pairs_hook=unique)


def _suffix(path: Path) -> str:
    """The suffix that tells the format, in lower case: that of a packed file is the one before .gz."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix == PACKED else suffix


def converting(path: Path) -> str:
    """How to make a file of a known kind of one that is not; empty where its name does not tell what it is."""
    return OTHERS.get(path.suffix.lower(), "")


def _check_suffix(path: Path, error: type[MonkeysError]) -> None:
    """Refuse a file that cannot be read by what its name says of it."""
    if _suffix(path) not in SUFFIXES:
        kind = f"a {path.suffix} file" if path.suffix else "a file without suffix"
        raise error(
            f"{path} is {kind}, and files of rows are .jsonl (one JSON object a line), .json (a list of objects) or "
            f".parquet, also with .gz; {converting(path) or 'convert it'}"
        )


def _data(path: Path, error: type[MonkeysError]) -> bytes:
    """The bytes of a file, unpacked."""
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data.startswith(GZIP) else data
    except FileNotFoundError:
        raise error(f"no file {path}: give the path of a .jsonl, .json or .parquet file") from None
    except IsADirectoryError:
        if (path / DATASETS).is_file():
            raise error(f"{path} is a folder of the package datasets; give what its to_parquet writes") from None
        below = sorted(file for file in path.rglob("*") if _suffix(file) in SUFFIXES and file.is_file())
        files = ", ".join(map(str, below[:NAMED])) + (f" or {len(below) - NAMED} more" if len(below) > NAMED else "")
        raise error(f"{path} is a folder; give {f'one of its files: {files}' if files else 'a .jsonl file'}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as cause:
        raise error(f"{path} is packed with gzip and damaged ({cause}); fetch or pack it again") from None
    except OSError as cause:
        raise error(f"{path} cannot be read ({cause.strerror}); make it readable, or give another file") from None


def _text(path: Path, data: bytes, error: type[MonkeysError]) -> str:
    encoding = json.detect_encoding(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as cause:
        _check_suffix(path, error)
        number = data.count(b"\n", 0, cause.start) + 1
        raise error(
            f"{path}:{number}: not {encoding.upper().removesuffix('-SIG')} ({cause.reason}); save the file as UTF-8"
        ) from None


def _parquet(
    path: Path, data: bytes, read_float: Callable[[str], Any], error: type[MonkeysError]
) -> Iterator[tuple[str, Any]]:
    try:
        import pyarrow  # the extra `tables`; takes a moment to import
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise error(
            f"{path}: reading Parquet needs pyarrow; `pip install 'coding-monkeys[tables]'` brings it"
        ) from None
    number = 0
    try:
        with parquet.ParquetFile(pyarrow.BufferReader(data)) as file:
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    floats = {name: read_float(repr(value)) for name, value in row.items() if isinstance(value, float)}
                    yield f"{path}: row {number}", {**row, **floats}
    except (pyarrow.ArrowException, OSError, ArithmeticError) as cause:
        line = " ".join(str(cause).split())
        raise error(f"{path}: not a whole Parquet file ({line}); fetch or write it again") from None
