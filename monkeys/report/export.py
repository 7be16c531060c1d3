"""A run as files for other programs.

`predictions` writes SWE-bench predictions, one file for each attempt index, for its
harness keeps one row per instance and file. Infra errors are no attempts and are left
out. A patch that is not UTF-8 cannot be said in JSON without changing it (the harness
writes what it reads as UTF-8): it is left out too, and named in `Exported.left_out`.
`outcomes` writes counts, which is all that the estimators need; of attempts that were allocated by outcomes, those that
the estimators can take.

A file is there whole or not at all.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from monkeys.bill import bill_of
from monkeys.plan import Choice
from monkeys.report.text import several
from monkeys.store import AttemptRow, Store

__all__ = ["Exported", "outcomes", "predictions"]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and what could not be: `left_out` says which attempts, and why."""

    files: tuple[Path, ...]
    rows: int
    left_out: tuple[str, ...] = ()


def predictions(store: Store, folder: Path) -> Exported:
    """Write attempt-000.jsonl and so on into `folder`, which is made if need be. Raises `OSError`.

    The model's name carries the index, since the harness returns an old report for a model, instance and run id that
    it has seen, also when the patch is another.
    """
    by_index: dict[int, list[AttemptRow]] = defaultdict(list)
    for row in store.attempts():
        if not row.exit.infra:
            by_index[row.index].append(row)
    model = str(store.config.get("model", "model"))
    digits = max(3, len(str(max(by_index, default=0))))
    files, written, left_out = [], 0, []
    for index, rows in sorted(by_index.items()):
        name = f"attempt-{index:0{digits}}"
        lines = []
        for row in rows:
            try:
                patch = store.patch(row).decode("utf-8")
            except UnicodeDecodeError:
                left_out.append(f"{row.task} attempt {index}: the patch is not UTF-8")
                continue
            lines.append(_prediction(row.task, f"{model}-{name}", patch))
        files.append(_write(folder / f"{name}.jsonl", "".join(lines)))
        written += len(lines)
    return Exported(tuple(files), written, tuple(left_out))


def outcomes(store: Store, folder: Path) -> Exported:
    """Write outcomes.csv: task, n (attempts with a verdict), resolved, and where known the cost in dollars.

    The cost is that of all tries; it is left out where attempts were allocated by outcomes. Raises `OSError`.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    tallies, choice = store.tallies(), Choice.of(store.config)
    allotted, bill = [], None if choice.looks else bill_of(store)
    table.writerow(["task", "n", "resolved", *(["cost"] if bill else [])])
    if choice.looks:
        from monkeys.counts import run_counts

        counts = run_counts(store, tallies)
        n, correct = counts.first or (counts.n, counts.correct)
        table.writerows(zip(counts.task_ids, n.tolist(), correct.tolist(), strict=True))
        allotted = [
            f"all but the first {choice.first} attempts on each task, for they were allocated by outcomes"
            if counts.stopped_at is None
            else "attempts after a task's first success; read the others with `monkeys coverage --stopped-at "
            f"{counts.stopped_at}`"
        ]
    else:
        for tally in tallies:
            cost = [f"{bill.tasks[tally.task]:.9g}"] if bill else []
            table.writerow([tally.task, tally.resolved + tally.unresolved, tally.resolved, *cost])
    unverified = [
        f"{tally.task}: {several(tally.unverified, 'attempt')} without a verdict"
        for tally in tallies
        if tally.unverified
    ]
    return Exported((_write(folder / "outcomes.csv", text.getvalue()),), len(tallies), (*allotted, *unverified))


def _prediction(task: str, model: str, patch: str) -> str:
    row: Mapping[str, str] = {"instance_id": task, "model_name_or_path": model, "model_patch": patch}
    return json.dumps(row) + "\n"


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path
