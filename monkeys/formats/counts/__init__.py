"""Counts of attempts and successes, read from tables, lists of outcomes, runs, and reports of other programs.

Files are known by their suffix and shape (docs/counts.md has an example of each):

- `.csv`, `.tsv`, `.jsonl`, `.json`, `.parquet`, each also with `.gz`, or standard input: a row a task with n and the
  number of correct attempts (*counts*), a row an attempt with its outcome, or a row a task with the list of its
  outcomes (*outcomes*); columns go by name.
- `.eval` and the JSON logs of Inspect, the results of EvalPlus;
- a folder with `run.sqlite`: a run of this program, which is only read;
- a folder of `.yaml` files, one a problem, each with a list `is_corrects`: results of the Monkeys repository;
- a folder that holds `report.json` files of SWE-bench's harness, or its summaries with `resolved_ids`.

Guarantees:

- A file may hold several sets (arms, models). Each is read on its own, and rows keep their order.
- Nothing is guessed. A count that is missing, negative, fractional or more than n, an outcome that is neither a success
  nor a failure, a task or an attempt that comes twice, a number that may be one of tests, and a ragged row are each a
  `CountsError` that names the place. `notes` says what was left out for a good reason, such as attempts without a
  verdict and tasks without attempts.
- Single attempts that look dependent on one another, or stopped on success, are refused where they are counted.
- A CSV file of a million rows takes about a second.

`cells` has the names and values of columns, `reading` says how to read, `source` opens, `sets` makes `records` of
columns, `tables` reads single files, `programs`,
`reports` and `folders` what other programs write. Parquet needs `pyarrow` (the
extra `tables`); YAML of another shape than PyYAML writes needs PyYAML. Each is imported only then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from monkeys.formats.counts.cells import ATTEMPTS, CORRECT, OUTCOME, PRICE, REPO, TASK, CountsError, squeezed
from monkeys.formats.counts.folders import read_requests, read_run, read_yaml, run_counts
from monkeys.formats.counts.programs import read_eval
from monkeys.formats.counts.reading import ROLES, Reading
from monkeys.formats.counts.records import Counts, Found, Outcomes
from monkeys.formats.counts.reports import read_reports
from monkeys.formats.counts.source import STANDARD_INPUT, Source
from monkeys.formats.counts.tables import read_csv, read_json, read_jsonl, read_parquet
from tasks.row_files import converting

__all__ = [
    "ATTEMPTS",
    "CORRECT",
    "OUTCOME",
    "PRICE",
    "ROLES",
    "STANDARD_INPUT",
    "SUFFIXES",
    "TASK",
    "Counts",
    "CountsError",
    "Outcomes",
    "Reading",
    "read_counts",
    "read_outcomes",
    "read_requests",
    "run_counts",
]

_TABLES: dict[str, Callable[[Source, Reading], list[Found]]] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".json": read_json,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".parquet": read_parquet,
    ".eval": read_eval,
}
_YAML = (".yaml", ".yml")
SUFFIXES = (*_TABLES, *_YAML)
"""Of the files that are read; tables also with .gz after it."""


def read_counts(path: Path, reading: Reading | None = None) -> tuple[Counts, ...]:
    """The counts of every set at `path`; single outcomes are counted. `Path("-")` is standard input.

    Raises:
        CountsError: there is nothing, nothing of a known form, or counts that are not valid.
        monkeys.science.coverage.CoverageError: single attempts that look stopped on success or dependent.
        OSError: the file cannot be read.
        monkeys.store.StoreError: the run cannot be read.
    """
    reading = reading or Reading()
    return tuple(
        found.counts(sampling=reading.sampling, stopped_at=reading.stopped_at, first=reading.first)
        if isinstance(found, Outcomes)
        else _counted(found.sampled(), reading)
        for found in _read(Path(path), replace(reading, whole=False))
    )


def read_outcomes(path: Path, reading: Reading | None = None) -> tuple[Outcomes, ...]:
    """The single attempts of every set at `path`, with all columns.

    Raises:
        CountsError: as `read_counts`; a table of counts, which does not tell single attempts apart.
    """
    found = []
    for one in _read(Path(path), replace(reading or Reading(), whole=True)):
        if isinstance(one, Counts):
            raise CountsError(f"{one.name} holds counts: single attempts are needed here, a row each with its outcome")
        found.append(one)
    return tuple(found)


def _counted(found: Counts, reading: Reading) -> Counts:
    """Counts as they were said to have come about."""
    if reading.first is not None:
        raise CountsError(
            f"{found.name} holds counts, which do not tell the order of attempts: leave --in-order out for "
            f"{reading.first} random ones"
        )
    if reading.stopped_at is not None:
        return replace(found, stopped_at=reading.stopped_at)
    return replace(found, sampling=reading.sampling or found.sampling)


def _read(path: Path, reading: Reading) -> list[Found]:
    if str(path) == STANDARD_INPUT:
        return _table(Source.standard_input(), reading)
    if path.is_dir():
        return _folder(path, reading)
    if not path.exists():
        raise CountsError(f"there is no {path}; give a table, a run's folder or a folder of reports")
    return _table(Source.of(path), reading)


def _table(source: Source, reading: Reading) -> list[Found]:
    if source.suffix not in SUFFIXES:
        kind = f"of no known kind: {remedy}" if (remedy := converting(Path(source.place))) else "of no known kind"
        raise CountsError(
            f"{source.place} is {kind}; tables are {', '.join(SUFFIXES)}, and a folder may hold a run or reports"
        )
    try:
        if source.suffix in _YAML and source.path is not None:
            found = _split([*read_yaml([source.path], whole=reading.whole)], reading)
        else:
            found = _TABLES[source.suffix](source, reading)
    except UnicodeDecodeError:
        raise CountsError(f"{source.place} is not UTF-8 text; save it as such") from None
    if not found:
        raise CountsError(f"{source.place} is empty: there is nothing to estimate from")
    return found


def _folder(path: Path, reading: Reading) -> list[Found]:
    if (path / "run.sqlite").is_file():
        return _split(read_run(path, whole=reading.whole), reading)
    problems = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml"))
    if problems:
        return _split(read_yaml(problems, whole=reading.whole), reading)
    found = read_reports(path, reading)
    if not found:
        raise CountsError(
            f"folder {path} holds no run (run.sqlite), no problems (*.yaml with is_corrects) and no reports of "
            "SWE-bench's harness (report.json, or summaries with resolved_ids)"
        )
    return _split(found, reading)


def _split(found: list[Found], reading: Reading) -> list[Found]:
    """A set for each repository, where that is what they are told apart by: all that these sources know."""
    if not reading.by:
        return found
    split: list[Found] = []
    for one in found:
        repositories = one.repositories if isinstance(one, Counts) else None
        if repositories is None or squeezed(reading.by) not in map(squeezed, REPO):
            raise CountsError(
                f"{one.name} is no table with a column {reading.by!r} for --by; --by repo is known of runs"
            )
        for repository in dict.fromkeys(repositories):
            kept = one.only(np.array([each == repository for each in repositories]))  # type: ignore[union-attr]
            split.append(replace(kept, name=f"{one.name}/{repository}"))
    return split
