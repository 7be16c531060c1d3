"""Verifying submissions that are there already: a run out of a predictions file, or out of another run.

Each prediction becomes an attempt that handed it in, at the index of its appearance among those of its task, so
that everything that reads runs reads this one. Guarantees: the same command goes on where it ended, by SIGKILL too, and
verifies nothing twice; predictions that were added are verified as well; where one that is recorded is different now,
or gone, nothing is changed and the message names it.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agent.agent import AttemptSpec
from agent.trajectory import Exit, Trajectory
from envs.events import Sink, Warned, ignore
from monkeys.executors import ExecutorSetup, WorkerFacts
from monkeys.executors.here import Here
from monkeys.formats.design import run_design
from monkeys.runner.resources import WARM_AT_MOST, ResourceSpec
from monkeys.runner.session import STEM, Session, open_session, run_stem
from monkeys.runner.task_group import task_group
from monkeys.runner.verify_rules import VerifyRules
from monkeys.runner.worker_setup import RunWorkerSetup
from monkeys.spec import ConfigError, VerifyRunSpec, differences
from monkeys.spec.nearest import did_you_mean
from monkeys.store import AttemptRow, Store, StoreError, find_run, find_same, submission_digest
from monkeys.text import several
from tasks import Submission, TaskSet, load_tasks, suite_of
from tasks.predictions import (
    Prediction,
    PredictionsError,
    check_diffs,
    is_predictions,
    read_predictions,
    remarks_on,
)
from tasks.swe.cached_verifier import CachedVerifier, CacheStats

__all__ = ["Given", "VerifyEnd", "read_given", "verify_run"]

RETRIES = 3
NAMED = 4
INDEX = re.compile(r"-attempt-\d+$")  # what `monkeys export` adds to the model's name
LIMITS = ("memory_mb", "processes", "disk_mb", "cpus", "network")


@dataclass(frozen=True, slots=True)
class Given:
    """One submission to verify, as attempt `index` at `task`."""

    task: str
    index: int
    model: str
    submission: Submission


@dataclass(frozen=True, slots=True)
class VerifyEnd:
    """Where the run lies, and what this session did for it.

    `stats` is None for a suite that keeps no verdicts. `unverified` says what could not be verified, and why; empty if
    all was.
    """

    folder: Path
    stats: CacheStats | None
    unverified: str = ""


def read_given(source: str, runs: Path, kind: str) -> list[Given]:
    """The submissions in a predictions file, in a folder of these, or in a run, given by its folder or name.

    `kind` is that of the submissions in files. Raises `PredictionsError`, `StoreError` or `NotFound`.
    """
    path = Path(source)
    if is_predictions(source):
        rows = read_predictions(path, kind)
        check_diffs(path, rows)
        seen = Counter[str]()
        given = []
        for row in rows:
            given.append(Given(row.task, seen[row.task], row.model, row.submission))
            seen[row.task] += 1
        return given
    store = Store.read(find_run(runs, source))
    try:
        if (kind := run_design(store).kind) != "independent":
            name = store.config.get("strategy", {}).get("name")
            raise PredictionsError(
                f"run {source} was sampled with --strategy {name}, so its attempts are {kind}, and a run of verdicts "
                "is taken for independent ones; export its predictions to verify them all the same"
            )
        given = [
            Given(row.task, row.index, store.model, store.submission(row))
            for row in store.attempts()
            if not row.exit.infra
        ]
    finally:
        store.close()
    if not given:
        raise PredictionsError(f"run {source} holds no attempt yet")
    return given


async def verify_run(spec: VerifyRunSpec, events: Sink = ignore) -> VerifyEnd:
    """Verify what is given, or go on with it. Raises a `MonkeysError` for everything that a person can mend."""
    if not spec.tasks.set:
        raise ConfigError("--tasks must be given; --help describes it")
    rules = VerifyRules.of(spec.verify)
    every = load_tasks(spec.tasks.set, spec.tasks.suite)
    kind = suite_of(every.suite).kind
    given = _known(spec, read_given(spec.predictions.source, spec.session.runs, kind), every)
    tasks = rules.select(every.select(list(spec.tasks.ids)) if spec.tasks.ids else every)
    chosen = {task.id for task in tasks.tasks}
    given = [one for one in given if one.task in chosen]
    if not given:
        raise PredictionsError(f"{spec.predictions.source} holds no prediction for the tasks chosen of {every.name}")
    named = {one.task for one in given}
    needed = TaskSet(tasks.name, tuple(task for task in tasks.tasks if task.id in named), tasks.suite)
    workers = spec.verify.workers
    resources = ResourceSpec(
        sandbox=spec.sandbox.name,
        limits=ResourceSpec.limits_of(spec.sandbox),
        workers=workers,
        # The next sandbox opens while tests run in this one: then a verification waits for little but its tests.
        warm=min(workers, WARM_AT_MOST),
        seconds=max(map(rules.seconds_for, needed.tasks)),
    )
    worker = RunWorkerSetup(needed, resources, rules, spec.verify)
    executor = Here(ExecutorSetup(worker, workers, events=events))
    async with open_session(executor, events) as session:
        unverified = await _verify(session, spec, tasks, needed, given, rules)
        verifier = executor.worker.verifier
        stats = verifier.stats if isinstance(verifier, CachedVerifier) else None
        return VerifyEnd(session.store.folder, stats, unverified)


async def _verify(
    session: Session, spec: VerifyRunSpec, tasks: TaskSet, needed: TaskSet, given: Sequence[Given], rules: VerifyRules
) -> str:
    """Verify what has no verdict yet. Returns what could not be verified."""
    source = Path(spec.predictions.source)
    config = _config(spec, tasks, given, rules, session.facts)
    folder = _folder(session, spec, tasks, config, given)
    _check(folder, config, given)
    store = session.open_store(replace(spec.session, run=folder.name), "", config, tasks)
    before = _record(store, given)
    queue = session.verify_queue(at_once=spec.verify.workers, retries=RETRIES)
    attempts = Counter(one.task for one in given)
    facts = session.facts
    lines = [f"{several(len(given), 'prediction')} for {len(attempts)} of {len(tasks)} issues ({tasks.name})"]
    if facts.sandbox:
        lines.append(f"sandbox {facts.sandbox} ({facts.described.get('isolation', '')})")
    verdicts = sum(tally.resolved + tally.unresolved for tally in store.tallies())
    lines.append(f"run {store.folder}" + (f", going on after {verdicts} verdicts" if before else ""))
    if is_predictions(spec.predictions.source):
        for line in remarks_on([Prediction(one.task, one.model, one.submission) for one in given]):
            session.events(Warned(f"{source}: {line}", numbers=True))
    title = f"{tasks.name} · {source.name}"
    session.tell_began(title, needed, max(attempts.values()), lines, [facts.warning])
    queue.recall()
    async with task_group() as group:
        queue.resume(group)
    session.note = "done, but for what could not be verified" if queue.unverified else "done"
    return queue.unverified


def _known(spec: VerifyRunSpec, given: Sequence[Given], tasks: TaskSet) -> list[Given]:
    """Those for tasks of this set. Raises `PredictionsError` if there are others, unless told to skip these."""
    ids = {task.id for task in tasks.tasks}
    unknown = list(dict.fromkeys(one.task for one in given if one.task not in ids))
    if unknown and not spec.predictions.skip_unknown:
        more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
        raise PredictionsError(
            f"{spec.predictions.source} has predictions for {', '.join(unknown[:NAMED])}{more}, "
            f"not in {tasks.name}; give another --tasks, or --skip-unknown{did_you_mean(unknown[0], ids)}"
        )
    return [one for one in given if one.task in ids]


def _config(
    spec: VerifyRunSpec, tasks: TaskSet, given: Sequence[Given], rules: VerifyRules, facts: WorkerFacts
) -> dict[str, Any]:
    """What must be the same for verdicts to belong to one run."""
    limits = asdict(facts.limits) if facts.limits else {}
    return {
        "suite": tasks.suite,
        "tasks": {"set": tasks.name, "ids": list(spec.tasks.ids)},
        "model": {"name": INDEX.sub("", given[0].model) or Path(spec.predictions.source).stem},
        "sandbox": {"name": facts.sandbox, "limits": {name: limits[name] for name in LIMITS if name in limits}},
        "verify": rules.saved(),
    }


def _folder(
    session: Session, spec: VerifyRunSpec, tasks: TaskSet, config: dict[str, Any], given: Sequence[Given]
) -> Path:
    """Where these verdicts are kept: the same predictions and settings go on with the same run."""
    options, source = spec.session, Path(spec.predictions.source)
    where = str(source.resolve()) if source.exists() else source.name
    mark = hashlib.sha256(where.encode()).hexdigest()[:8]
    stem = f"verified-{tasks.name}-{source.stem}"
    named = session.folder(options, f"{stem[: STEM - len(mark) - 1]}-{mark}", config, tasks)
    if options.run or (named / "run.sqlite").is_file():
        return named
    # The name that an earlier version gave does not tell the source: the run must hold these predictions.
    same = find_same(options.runs, run_stem(stem), config, tasks, lambda store: not _changed(store.attempts(), given))
    return same or named


def _check(folder: Path, config: dict[str, Any], given: Sequence[Given]) -> None:
    """That the run at `folder`, if there is one, is of these predictions. Raises `StoreError`."""
    if not (folder / "run.sqlite").is_file():
        return
    changed = ""
    with suppress(StoreError):  # what is wrong with the run itself is told when it is opened for writing
        store = Store.read(folder)
        try:
            changed = "" if differences(store.config, config) else _changed(store.attempts(), given)
        finally:
            store.close()
    if changed:
        raise StoreError(
            f"{changed} when run {folder.name} began; restore it to go on, or give another --run name; "
            "nothing was changed"
        )


def _changed(recorded: Iterable[AttemptRow], given: Sequence[Given]) -> str:
    """The first recorded prediction that is not given as it was; empty if all are."""
    now = {(one.task, one.index): submission_digest(one.submission) for one in given}
    for row in recorded:
        digest = now.get((row.task, row.index))
        if digest != row.digest:
            what = "differs from what it was" if digest else "is gone; it was there"
            return f"prediction {row.index} for {row.task} {what}"
    return ""


def _record(store: Store, given: Sequence[Given]) -> int:
    """Record those that are not there yet. Returns how many were."""
    there = store.sampled()
    for one in given:
        if one.index not in there.get(one.task, ()):
            store.record_attempt(
                AttemptSpec(one.task, one.index, 0), Trajectory(Exit.SUBMITTED, (), (), one.submission, 0.0, one.model)
            )
    return sum(map(len, there.values()))
