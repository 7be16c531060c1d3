"""Counts of attempts and successes, from wherever they lie: tables, lists of outcomes, runs, reports of other programs.

What is read, by suffix and shape (docs/counts.md has an example of each):

- `.csv`, `.tsv`, `.jsonl`, `.json`, `.parquet`: a row a task with n and the number of correct attempts (*counts*), a
  row an attempt with its outcome, or a row a task with the list of its outcomes (*outcomes*); columns go by name.
- a folder with `run.sqlite`: a run of this program, read only;
- a folder of `.yaml` files, one a problem, each with a list `is_corrects`: the Monkeys repository's;
- a folder below which SWE-bench's harness left its `report.json` files, or its summaries with `resolved_ids`.

What it guarantees:

- A file may hold several sets (arms, models); each is read by its own, and rows keep their order.
- Nothing is guessed: a count that is missing, negative, fractional or more than n, an outcome that is neither a
  success nor a failure, a task that comes twice, a ragged row is a `CountsError` that names the place. What is left out
  for good reason (attempts without a verdict, tasks without attempts) is said in `notes`.
- A CSV file of a million rows takes about a second.

`cells` are the names and values of columns, `sets` goes from columns to `records`, `tables` reads single files and
`folders` what programs leave. Parquet needs `pyarrow` (the extra `tables`), and only then; YAML of another shape than
PyYAML writes needs PyYAML.
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
    "TASK",
    "Counts",
    "CountsError",
    "Outcomes",
    "read_counts",
    "read_outcomes",
    "read_requests",
    "run_counts",
]


def read_counts(path: Path) -> tuple[Counts, ...]:
    """The counts of every set at `path`; single outcomes are counted.

    Raises:
        CountsError: nothing there, nothing that is known, or counts that are none.
        OSError: it cannot be read.
        monkeys.store.StoreError: a run that cannot be read.
    """
    return tuple(
        found.counts() if isinstance(found, Outcomes) else found.sampled() for found in _read(Path(path), whole=False)
    )


def read_outcomes(path: Path) -> tuple[Outcomes, ...]:
    """The single attempts of every set at `path`, with all that is known of each.

    Raises:
        CountsError: as `read_counts`; and a table of counts, which no longer knows its attempts.
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
    readers: dict[str, Callable[[Path], list[Found]]] = {
        ".csv": read_csv,
        ".tsv": read_csv,
        ".json": read_json,
        ".jsonl": read_jsonl,
        ".ndjson": read_jsonl,
        ".parquet": read_parquet,
        ".yaml": lambda file: read_yaml([file], whole=whole),
        ".yml": lambda file: read_yaml([file], whole=whole),
    }
    if path.suffix.lower() not in readers:
        raise CountsError(f"{path} is of no known kind: {', '.join(readers)}, or a folder with a run or reports")
    try:
        found = readers[path.suffix.lower()](path)
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
