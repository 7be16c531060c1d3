"""A run as files for other programs.

    predictions     SWE-bench predictions, one file for each attempt index: its harness keeps one row per instance and
                    file. Only for runs whose submissions are patches.
    trajectories    whole attempts, one JSON line each, for study and for training
    outcomes        counts per task, which is all that the estimators need

Guarantees: infra errors are no attempts and are left out. A submission that is not UTF-8 cannot be written in JSON
without a change, for the harness writes what it reads as UTF-8: it is left out and named in `Exported.left_out`. Where
outcomes decided how many attempts a task got, or attempts know of one another, `outcomes` writes the counts that the
estimators can take. Continuations of attempts, and arms that were told of the hidden tests beside
others, are left out. A file is there whole or not at all.
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
from typing import TYPE_CHECKING, Any

from monkeys.formats.design import arms_apart, run_design
from monkeys.formats.submissions import submission_kind
from monkeys.pricing.cost_report import cost_report
from monkeys.store import AttemptRow, Store
from monkeys.strategies import SamplingDesign
from monkeys.text import several
from tasks.predictions import PredictionsError
from tasks.task import Outcome

if TYPE_CHECKING:
    from monkeys.formats.counts import Counts

__all__ = ["Exported", "outcomes", "predictions", "trajectories"]

ORACLES = "+"  # between the names of several kinds of feedback


@dataclass(frozen=True, slots=True)
class Exported:
    """The files that were written; `left_out` says which attempts are not in them, and why."""

    files: tuple[Path, ...]
    rows: int
    left_out: tuple[str, ...] = ()


def predictions(store: Store, folder: Path) -> Exported:
    """Write attempt-000.jsonl and so on into `folder`, which is made if need be.

    The model's name carries the index: the harness returns its old report for a model, instance and run id that it
    knows, even for another patch.

    Raises:
        PredictionsError: the submissions of the run are no patches.
        OSError: a file cannot be written.
    """
    if (kind := submission_kind(store)) != "patch":
        raise PredictionsError(
            f"run {store.folder.name} has submissions of kind {kind}, and predictions are patches; export it with "
            "--format outcomes or --format trajectories"
        )
    store, apart = _counted(store)
    by_index: dict[int, list[AttemptRow]] = defaultdict(list)
    for row in store.attempts():
        if not row.exit.infra:
            by_index[row.index].append(row)
    model = "+".join([store.model or "model", *store.oracles])
    digits = max(3, len(str(max(by_index, default=0))))
    files, written, left_out = [], 0, [*apart]
    for index, rows in sorted(by_index.items()):
        name = f"attempt-{index:0{digits}}"
        lines = []
        for row in rows:
            try:
                patch = store.submission(row).body.decode("utf-8")
            except UnicodeDecodeError:
                left_out.append(f"{row.task} attempt {index}: the patch is not UTF-8")
                continue
            lines.append(_prediction(row.task, f"{model}-{name}", patch))
        files.append(_write(folder / f"{name}.jsonl", lines))
        written += len(lines)
    return Exported(tuple(files), written, tuple(left_out))


def trajectories(store: Store, folder: Path, *, tokens: bool = False) -> Exported:
    """Write trajectories.jsonl: every attempt but infra errors. Raises `OSError`.

    `arm` names the feedback of a run whose attempts were told what the hidden tests say; other runs have none. What a
    message of feedback or a summary was made from stands beside its text. The submission stands under the name of its
    kind, such as `patch` or `answer`. The request of a turn is made of the
    first `request` messages, as `agent.conversation.as_sent` gives them, and messages[request] is what was made of its
    answer. `resolved` is null without a verdict, and a submission that is not UTF-8 is null. With `tokens` each turn
    has the token ids and log-probabilities that the server gave, by the names that vLLM uses.
    """
    store, apart = _counted(store)
    rows = [row for row in store.attempts() if not row.exit.infra]
    kind, left_out = submission_kind(store), [*apart]

    def lines() -> Iterator[str]:
        for row in rows:
            line = _trajectory(store, row, kind, tokens)
            if line[kind] is None:
                left_out.append(f"{row.task} attempt {row.index}: the {kind}, which is not UTF-8")
            yield json.dumps(line) + "\n"

    return Exported((_write(folder / "trajectories.jsonl", lines()),), len(rows), tuple(left_out))


def _trajectory(store: Store, row: AttemptRow, kind: str, tokens: bool) -> dict[str, Any]:
    trajectory = store.trajectory(row)
    turns = []
    for turn, request in zip(trajectory.turns, trajectory.answers, strict=True):
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
        submission = trajectory.submission.body.decode("utf-8")
    except UnicodeDecodeError:
        submission = None
    return {
        "task": row.task,
        "attempt": row.index,
        **({"arm": ORACLES.join(store.oracles)} if store.oracles else {}),
        "seed": row.seed,
        "exit": row.exit,
        "detail": row.detail,
        "resolved": None if row.outcome is None else row.outcome is Outcome.RESOLVED,
        kind: submission,
        "messages": trajectory.messages,
        "turns": turns,
    }


def outcomes(store: Store, folder: Path) -> Exported:
    """Write outcomes.csv: task, n (attempts with a verdict), resolved, and where known the cost in dollars.

    A run whose attempts were told what the hidden tests say has a column `arm` with the names of that feedback, so that
    its counts are a set of their own in whichever table they are copied to. The cost is that of all tries, infra errors
    included. Only independent attempts have one. Raises `OSError`.
    """
    store, apart = _counted(store)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    tallies, design = store.tallies(), run_design(store)
    independent = design.kind == "independent"
    unfit, costs = [], cost_report(store) if independent else None
    arm = [ORACLES.join(store.oracles)] if store.oracles else []
    table.writerow(["task", "n", "resolved", *(["cost"] if costs else []), *(["arm"] if arm else [])])
    if independent:
        for tally in tallies:
            cost = [_decimal(costs.tasks[tally.task])] if costs else []
            table.writerow([tally.task, tally.resolved + tally.unresolved, tally.resolved, *cost, *arm])
    else:
        from monkeys.formats.counts import run_counts

        counts = run_counts(store, tallies)
        n, correct = counts.first or (counts.n, counts.correct)
        rows = zip(counts.task_ids, n.tolist(), correct.tolist(), strict=True)
        table.writerows([*row, *arm] for row in rows)
        unfit = [_unfit(counts, design)]
    unverified = [
        f"{tally.task}: {several(tally.unverified, 'attempt')} without a verdict"
        for tally in tallies
        if tally.unverified
    ]
    return Exported((_write(folder / "outcomes.csv", [text.getvalue()]),), len(tallies), (*apart, *unfit, *unverified))


def _counted(store: Store) -> tuple[Store, list[str]]:
    """The attempts that are written, and which are not: attempts of other arms must not be taken for more of these."""
    (_, counted), *others = arms_apart(store).items()
    left_out = [f"the attempts of the arm {arm}, which was told of the hidden tests" for arm, _ in others]
    if points := {(row.task, row.parents, row.branch_turn) for row in store.continuations()}:
        left_out.append(f"continuations of attempts, from {several(len(points), 'turn')}: they are no attempts")
    return counted, left_out


def _unfit(counts: Counts, design: SamplingDesign) -> str:
    """Which attempts are left out, since the estimators cannot take them."""
    if counts.stopped_at is not None:
        return (
            "attempts after a task's first success; read the others with `monkeys coverage --stopped-at "
            f"{counts.stopped_at}`"
        )
    return f"all but the first {design.first} attempts on each task, for they were allocated by outcomes"


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


def _decimal(cost: float) -> str:
    """The cost with nine digits, and never with three after the point, which may be read as thousands."""
    text = f"{cost:.9g}"
    return f"{text}0" if len(text.partition(".")[2]) == 3 else text
