"""Counts from folders: runs of this program, and problems as YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monkeys.formats.counts.cells import CountsError, as_object
from monkeys.formats.counts.records import DEPENDENT, Counts, Found, Outcomes
from monkeys.formats.counts.sets import single_attempts
from monkeys.formats.design import arms_apart, oracle_notes, run_design, run_name
from monkeys.formats.submissions import submission_columns
from monkeys.pricing.cost_report import cost_report
from monkeys.science.coverage import until_success

if TYPE_CHECKING:
    from monkeys.store import AttemptRow, Store, Tally

__all__ = ["read_requests", "read_run", "read_yaml", "run_counts"]


def read_yaml(files: Sequence[Path], *, whole: bool) -> list[Found]:
    """Results of the Monkeys repository: one file a problem, as PyYAML writes it, with the list `is_corrects`."""
    task: list[str] = []
    correct: list[Any] = []
    columns: dict[str, list[Any]] = {"samples": [], "question": []} if whole else {}
    for file in files:
        text = file.read_text("utf-8")
        outcomes = _listed_outcomes(file, text)
        task += [file.stem] * len(outcomes)
        correct += outcomes
        if whole:
            samples = (data := _yaml(file, text)).get("samples", data.get("solutions"))
            if not isinstance(samples, list) or len(samples) != len(outcomes):
                raise CountsError(f"{file} has no samples, one for each of its {len(outcomes)} outcomes")
            columns["samples"] += samples
            columns["question"] += [data.get("question", "")] * len(samples)
    folder = files[0].parent
    name = folder.resolve().name if len(files) > 1 else files[0].stem
    return [single_attempts(str(folder), name, task, ("is_corrects", correct), columns)] if correct else []


def _listed_outcomes(file: Path, text: str) -> list[Any]:
    """`is_corrects`, without parsing the megabytes of samples beside it where the file is as PyYAML writes it."""
    # A line that starts in the first column with a name is a key at the top: PyYAML indents every continuation.
    block = re.search(r"^is_corrects:[ ]*\n((?:- (?:true|false)\n?)+)(?=\w|\Z)", text, re.MULTILINE)
    if block:
        return [line == "- true" for line in block[1].splitlines()]
    data = _yaml(file, text)
    if not isinstance(data.get("is_corrects"), list):
        raise CountsError(f"{file} has no list is_corrects; evaluate its samples first")
    return list(data["is_corrects"])


def _yaml(file: Path, text: str) -> dict[str, Any]:
    try:
        import yaml
    except ImportError:
        raise CountsError(
            f"{file}: reading this needs PyYAML; `pip install 'coding-monkeys[tables]'` brings it"
        ) from None
    try:
        return as_object(str(file), yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise CountsError(f"{file} is no YAML ({' '.join(str(error).split())[:120]})") from None


def read_run(path: Path, *, whole: bool) -> list[Found]:
    """A run as counts with its tokens, or `whole`: its attempts with their submissions and what was asked.

    It is one set, but for arms that were told of the hidden tests beside others that were not.
    """
    from monkeys.store import Store

    store = Store.read(path)
    try:
        found: list[Found] = []
        for arm, part in arms_apart(store).items():
            one: Found = _run_attempts(part) if whole else run_counts(part, part.tallies())
            found.append(replace(one, name=run_name(part, arm)))
        return found
    finally:
        store.close()


def run_counts(store: Store, tallies: Sequence[Tally]) -> Counts:
    """The counts of a run with its tokens, seconds and dollars. Infra errors are no attempts.

    The sampling design of the run decides which attempts count:

    | sampling | n and c |
    |---|---|
    | independent | of all attempts |
    | stopped | until each task's first success, in the order of the indices |
    | adaptive | of all attempts; `first` has those of the attempts whose number was fixed beforehand |
    | dependent | as stopped, and marked as `dependent` |
    """
    costs = cost_report(store)
    counts = Counts(
        name=run_name(store),
        task_ids=tuple(tally.task for tally in tallies),
        n=np.array([tally.resolved + tally.unresolved for tally in tallies], np.int64),
        correct=np.array([tally.resolved for tally in tallies], np.int64),
        tokens=np.array([(used.prompt, used.cached, used.completion) for used in (tally.usage for tally in tallies)]),
        spent={
            "tokens": np.array([tally.usage.total for tally in tallies], np.float64),
            "seconds": np.array([tally.seconds for tally in tallies], np.float64),
        },
        costs=None if costs is None else np.array([costs.tasks[tally.task] for tally in tallies], np.float64),
        notes=(*oracle_notes(store), *_waiting(sum(tally.unverified for tally in tallies))),
        oracle=store.oracles,
    )
    design = run_design(store)
    if design.kind == "independent":
        return counts
    if design.first is not None:
        return _firsts(store, counts, design.first)
    return _until_success(store, counts, dependent=design.kind == "dependent")


def _until_success(store: Store, counts: Counts, *, dependent: bool) -> Counts:
    """Until each task's first success. Nothing is known of an attempt without a verdict, nor of what came after it."""
    known: dict[str, list[bool]] = {task: [] for task in counts.task_ids}
    waiting: set[str] = set()
    for row in store.attempts():
        if row.outcome is None:
            waiting.add(row.task)
        elif not row.exit.infra and row.task not in waiting:
            known[row.task].append(row.outcome == "resolved")
    made = np.array([len(known[task]) for task in counts.task_ids])
    n, correct, cap = np.zeros_like(counts.n), np.zeros_like(counts.correct), 0
    if (some := made > 0).any():
        table = np.full((int(some.sum()), made.max()), np.nan)
        for line, outcomes in zip(table, (known[task] for task in counts.task_ids if known[task]), strict=True):
            line[: len(outcomes)] = outcomes
        n[some], correct[some], cap = until_success(table)
    note = f"attempts on a task ended with its first success, or after {cap}: estimated as such"
    if dependent:
        note = (
            f"{DEPENDENT}, so that pass@k of single attempts is refused: the curve is of the procedure as it was run, "
            f"the share of tasks that its first k attempts solved, up to k = {cap}"
        )
    return replace(counts, n=n, correct=correct, stopped_at=cap, dependent=dependent, notes=(*counts.notes, note))


def _firsts(store: Store, counts: Counts, first: int) -> Counts:
    """With the counts of the first attempts on each task, whose number did not depend on outcomes."""
    number = {task: at for at, task in enumerate(counts.task_ids)}
    n, correct = np.zeros_like(counts.n), np.zeros_like(counts.correct)
    for row in store.attempts():
        if row.index < first and row.outcome is not None and not row.exit.infra:
            n[number[row.task]] += 1
            correct[number[row.task]] += row.outcome == "resolved"
    note = (
        f"attempts were allocated by outcomes: the curve is of the first {first} on each task, distributions and "
        "predictions of all"
    )
    return replace(counts, first=(n, correct), notes=(*counts.notes, note))


def _run_attempts(store: Store) -> Outcomes:
    """The attempts of a run with their submissions, of a design under which random subsets of them are alike."""
    from tasks.task import Outcome

    design = run_design(store)
    if design.kind == "stopped":
        raise CountsError(
            f"{store.folder.name}: attempts ended with a task's first success, so that too many of the candidates are "
            "correct; sample with another strategy, such as independent, to evaluate selection"
        )
    if design.kind == "dependent":
        raise CountsError(
            f"{store.folder.name}: {DEPENDENT}, so that a random subset of the candidates is not what k attempts would "
            "give; sample with another strategy, such as independent, to evaluate selection"
        )
    rows = [
        row for row in store.attempts() if not row.exit.infra and (design.first is None or row.index < design.first)
    ]
    verified = [row for row in rows if row.outcome is not None]
    if not verified:
        cause = "none of its attempts has a verdict yet" if rows else "it holds no attempt yet"
        raise CountsError(
            f"run {store.folder.name} has no candidates to select from: {cause}; give the command that began the run "
            "again, without --no-verify"
        )
    numbers = {task: number for number, task in enumerate(store.task_ids())}
    return Outcomes(
        name=run_name(store),
        task_ids=tuple(numbers),
        task=np.array([numbers[row.task] for row in verified], np.int64),
        correct=np.array([row.outcome is Outcome.RESOLVED for row in verified], np.bool_),
        columns={**submission_columns(store, verified), "question": _statements(store, verified)},
        notes=(*oracle_notes(store), *_waiting(len(rows) - len(verified))),
    )


def read_requests(path: Path) -> Iterator[tuple[str, str, int, int, int]]:
    """Every request of the run at `path`, infra errors included.

    Each is given with its set, as `read_run` names them, its task, and its prompt, cached and completion tokens.
    """
    from monkeys.store import Store

    store = Store.read(path)
    try:
        for arm, part in arms_apart(store).items():
            name = run_name(part, arm)
            for row in part.attempts():
                for turn in part.turns(row):
                    yield name, row.task, turn.usage.prompt, turn.usage.cached, turn.usage.completion
    finally:
        store.close()


def _waiting(attempts: int) -> tuple[str, ...]:
    return (f"left out: {attempts:,} attempts without a verdict",) if attempts else ()


def _statements(store: Store, rows: Sequence[AttemptRow]) -> list[str]:
    """The statement of each attempt's task: the user's first message, with one look-up a task."""
    asked: dict[str, str] = {}
    for row in rows:
        if row.task not in asked:
            messages = store.conversation(row)
            said = next((message.get("content") for message in messages if message.get("role") == "user"), "")
            asked[row.task] = said if isinstance(said, str) else ""
    return [asked[row.task] for row in rows]
