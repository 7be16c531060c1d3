"""Counts of attempts and successes, read from tables, lists of outcomes, runs, and reports of other programs.

Files are known by their suffix and shape (docs/counts.md has an example of each):

- `.csv`, `.tsv`, `.jsonl`, `.json`, `.parquet`: a row a task with n and the number of correct attempts (*counts*), a
  row an attempt with its outcome, or a row a task with the list of its outcomes (*outcomes*); columns go by name.
- a folder with `run.sqlite`: a run of this program, which is only read;
- a folder of `.yaml` files, one a problem, each with a list `is_corrects`: results of the Monkeys repository;
- a folder that holds `report.json` files of SWE-bench's harness, or its summaries with `resolved_ids`.

Guarantees:

- A file may hold several sets (arms, models). Each is read on its own, and rows keep their order.
- Nothing is guessed. A count that is missing, negative, fractional or more than n, an outcome that is neither a success
  nor a failure, a task that comes twice, and a ragged row are each a `CountsError` that names the place. `notes` says
  what was left out for a good reason, such as attempts without a verdict and tasks without attempts.
- A CSV file of a million rows takes about a second.

`cells` has the names and values of columns, `sets` makes `records` of columns, `tables` reads single files, and
`folders` reads the folders of programs. Parquet needs `pyarrow` (the extra `tables`); YAML of another shape than PyYAML
writes needs PyYAML. Each is imported only then.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from monkeys.formats.counts.cells import ATTEMPTS, CORRECT, OUTCOME, PRICE, TASK, CountsError
from monkeys.formats.counts.folders import read_reports, read_requests, read_run, read_yaml, run_counts
from monkeys.formats.counts.records import Counts, Found, Outcomes
from monkeys.formats.counts.tables import read_csv, read_json, read_jsonl, read_parquet

__all__ = [
    "ATTEMPTS",
    "CORRECT",
    "OUTCOME",
    "PRICE",
    "SUFFIXES",
    "TASK",
    "Counts",
    "CountsError",
    "Outcomes",
    "read_counts",
    "read_outcomes",
    "read_requests",
    "run_counts",
]

_TABLES: dict[str, Callable[[Path], list[Found]]] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".json": read_json,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".parquet": read_parquet,
}
_YAML = (".yaml", ".yml")
SUFFIXES = (*_TABLES, *_YAML)
"""Of the files that are read."""


def read_counts(path: Path) -> tuple[Counts, ...]:
    """The counts of every set at `path`; single outcomes are counted.

    Raises:
        CountsError: there is nothing, nothing of a known form, or counts that are not valid.
        OSError: the file cannot be read.
        monkeys.store.StoreError: the run cannot be read.
    """
    return tuple(
        found.counts() if isinstance(found, Outcomes) else found.sampled() for found in _read(Path(path), whole=False)
    )


def read_outcomes(path: Path) -> tuple[Outcomes, ...]:
    """The single attempts of every set at `path`, with all columns.

    Raises:
        CountsError: as `read_counts`; a table of counts, which does not tell single attempts apart.
    """
    found = []
    for one in _read(Path(path), whole=True):
        if isinstance(one, Counts):
            raise CountsError(f"{one.name} holds counts: single attempts are needed here, a row each with its outcome")
        found.append(one)
    return tuple(found)


def _read(path: Path, *, whole: bool) -> list[Found]:
    if path.is_dir():
        return _read_folder(path, whole=whole)
    if not path.exists():
        raise CountsError(f"there is no {path}; give a table, a run's folder or a folder of reports")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise CountsError(f"{path} is of no known kind; give {', '.join(SUFFIXES)}, or a folder with a run or reports")
    try:
        found = read_yaml([path], whole=whole) if suffix in _YAML else _TABLES[suffix](path)
    except UnicodeDecodeError:
        raise CountsError(f"{path} is not UTF-8 text; save it as such") from None
    if not found:
        raise CountsError(f"{path} is empty: there is nothing to estimate from")
    return found


def _read_folder(path: Path, *, whole: bool) -> list[Found]:
    if (path / "run.sqlite").is_file():
        return [read_run(path, whole=whole)]
    problems = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml"))
    if problems:
        return read_yaml(problems, whole=whole)
    found = read_reports(path)
    if not found:
        raise CountsError(
            f"folder {path} holds no run (run.sqlite), no problems (*.yaml with is_corrects) and no reports of "
            "SWE-bench's harness (report.json, or summaries with resolved_ids)"
        )
    return found
