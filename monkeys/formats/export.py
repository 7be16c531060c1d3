"""A run as files for other programs.

`predictions` writes SWE-bench predictions, one file for each attempt index, for its
harness keeps one row per instance and file. Infra errors are no attempts and are left
out. A patch that is not UTF-8 cannot be said in JSON without changing it (the harness
writes what it reads as UTF-8): it is left out too, and named in `Exported.left_out`.
`trajectories` writes whole attempts, a line each, for study and for training. Its token ids and log-probabilities are
those that the server told, by the names that vLLM gives them.
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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from monkeys.pricing.cost_report import cost_report
from monkeys.runner.scheduler import AllocationSpec
from monkeys.store import AttemptRow, Store
from monkeys.text import several
from tasks.task import Outcome

__all__ = ["Exported", "outcomes", "predictions", "trajectories"]


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
        files.append(_write(folder / f"{name}.jsonl", lines))
        written += len(lines)
    return Exported(tuple(files), written, tuple(left_out))


def trajectories(store: Store, folder: Path, *, tokens: bool = False) -> Exported:
    """Write trajectories.jsonl: every attempt but infra errors, `tokens` with its ids. Raises `OSError`.

    A turn's request are the first `request` of the messages, as `agent.conversation.as_sent` gives them, and
    messages[request] is what was made of its answer. `resolved` is null without a verdict, and a patch that is not
    UTF-8 too.
    """
    rows = [row for row in store.attempts() if not row.exit.infra]
    left_out = []

    def lines() -> Iterator[str]:
        for row in rows:
            line = _trajectory(store, row, tokens)
            if line["patch"] is None:
                left_out.append(f"{row.task} attempt {row.index}: the patch, which is not UTF-8")
            yield json.dumps(line) + "\n"

    return Exported((_write(folder / "trajectories.jsonl", lines()),), len(rows), tuple(left_out))


def _trajectory(store: Store, row: AttemptRow, tokens: bool) -> dict[str, Any]:
    told = store.trajectory(row)
    turns = []
    for turn, request in zip(told.turns, told.answers, strict=True):
        line: dict[str, Any] = {
            "request": request,
            "end": turn.end,
            "finish_reason": turn.finish_reason or None,
            "usage": asdict(turn.usage),
            **({} if turn.given is None else {"given": turn.given}),
        }
        if tokens and turn.tokens:
            line["prompt_token_ids"] = turn.tokens.prompt
            line["token_ids"] = turn.tokens.completion
            line["logprobs"] = [value if isfinite(value) else None for value in turn.tokens.logprobs]
        turns.append(line)
    try:
        patch = told.submission.body.decode("utf-8")
    except UnicodeDecodeError:
        patch = None
    return {
        "task": row.task,
        "attempt": row.index,
        "seed": row.seed,
        "exit": row.exit,
        "detail": row.detail,
        "resolved": None if row.outcome is None else row.outcome is Outcome.RESOLVED,
        "patch": patch,
        "messages": told.messages,
        "turns": turns,
    }


def outcomes(store: Store, folder: Path) -> Exported:
    """Write outcomes.csv: task, n (attempts with a verdict), resolved, and where known the cost in dollars.

    The cost is that of all tries; it is left out where attempts were allocated by outcomes. Raises `OSError`.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    tallies, choice = store.tallies(), AllocationSpec.of(store.config)
    allotted, bill = [], None if choice.looks else cost_report(store)
    table.writerow(["task", "n", "resolved", *(["cost"] if bill else [])])
    if choice.looks:
        from monkeys.formats.counts import run_counts

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
    return Exported((_write(folder / "outcomes.csv", [text.getvalue()]),), len(tallies), (*allotted, *unverified))


def _prediction(task: str, model: str, patch: str) -> str:
    row: Mapping[str, str] = {"instance_id": task, "model_name_or_path": model, "model_patch": patch}
    return json.dumps(row) + "\n"


def _write(path: Path, texts: Iterable[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            file.writelines(texts)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path
