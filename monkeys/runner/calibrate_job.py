"""Calibrating tests: the known solution of each task and the empty patch, each tested several times.

Each run is written to a journal beside the calibration as it ends, under a key of everything that decides its result,
and never made again: a killed calibration goes on, and more repeats add to it.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from envs import SandboxError
from envs.events import Sink, Status, ignore
from monkeys.executors import ExecutorSetup
from monkeys.executors.here import Here
from monkeys.formats.calibration import Calibrated, Calibration, CalibrationError, Runs
from monkeys.runner.journal import Journal, Repetition
from monkeys.runner.resources import WARM_AT_MOST, ResourceSpec
from monkeys.runner.session import Session, load_chosen, open_session
from monkeys.runner.task_group import task_group
from monkeys.runner.verify_rules import VerifyRules
from monkeys.runner.worker_setup import RunWorkerSetup
from monkeys.spec import CalibrateSpec
from monkeys.text import duration
from tasks import Task, TaskError, TaskSet
from tasks.swe.graders import GraderByTask
from tasks.swe.grading import GraderFailed
from tasks.swe.patch_verifier import Execution, PatchVerifier
from tasks.swe.task import as_swe
from tasks.swe.verdict_key import contents_of, verdict_key

__all__ = ["calibrate", "calibration_path"]

KINDS = ("gold", "empty")
TRIES = 3
FAILED = "a run of tests failed"


def calibration_path(spec: CalibrateSpec, tasks: TaskSet) -> Path:
    """The file that is written."""
    return spec.calibrate.out or Path(f"{Path(tasks.name).name}.calibration.json")


async def calibrate(spec: CalibrateSpec, events: Sink = ignore) -> tuple[Calibration, Path]:
    """Run what is missing and write the calibration. Returns it and its file.

    Raises `TaskError`, `SandboxError`, `CalibrationError` and `RunStopped`.
    """
    tasks = load_chosen(spec.tasks)
    if tasks.suite != "swe":
        raise TaskError(f"{tasks.name} is of suite {tasks.suite}, which has no tests to calibrate; nothing was changed")
    path, workers = calibration_path(spec, tasks), spec.calibrate.workers
    rules = VerifyRules(spec.verify.seconds)
    resources = ResourceSpec(
        sandbox=spec.sandbox.name,
        limits=ResourceSpec.limits_of(spec.sandbox),
        workers=workers,
        warm=min(workers, WARM_AT_MOST),
        seconds=spec.verify.seconds,
    )
    journal = Journal(path.with_name(f"{path.name}.runs.jsonl"))
    try:
        executor = Here(ExecutorSetup(RunWorkerSetup(tasks, resources, rules), workers, events=events))
        async with open_session(executor, events) as session:
            found = await _calibrate(session, executor, tasks, spec, journal)
    finally:
        journal.close()
    _write(path, found.to_json())
    return found, path


async def _calibrate(
    session: Session, executor: Here, tasks: TaskSet, spec: CalibrateSpec, journal: Journal
) -> Calibration:
    worker, seconds, repeats = executor.worker, spec.verify.seconds, spec.calibrate.repeats
    assert worker.backend is not None
    assert worker.limits is not None
    prepared = [worker.tasks[task.id] for task in tasks.tasks]
    keys = {}
    for task in prepared:
        contents = await contents_of(worker.backend, task)
        for kind in KINDS:
            keys[task.id, kind] = verdict_key(
                task, _patch(task, kind), contents=contents, limits=worker.limits, seconds=seconds
            )
    verifier = PatchVerifier(
        worker.backend, GraderByTask(), worker.limits, seconds=seconds, workers=spec.calibrate.workers
    )
    try:
        await _Repeater(session, prepared, verifier, journal, keys, repeats).run(spec.calibrate.workers)
    finally:
        await verifier.close()
    by_key = defaultdict(list)
    for row in journal.rows:
        by_key[row.key].append(row)
    return Calibration(
        tasks=tasks.name,
        sandbox=session.facts.sandbox,
        repeats_made=repeats,
        issues={
            task.id: _calibrated(task, *(by_key[keys[task.id, kind]][:repeats] for kind in KINDS)) for task in prepared
        },
        limits=asdict(worker.limits),
        verify_seconds=seconds,
    )


class _Repeater:
    """Runs what the journal lacks, task by task, several at once, and tells of each task that is done."""

    def __init__(
        self,
        session: Session,
        tasks: Sequence[Task],
        verifier: PatchVerifier,
        journal: Journal,
        keys: Mapping[tuple[str, str], str],
        repeats: int,
    ) -> None:
        self._session, self._verifier, self._journal, self._keys = session, verifier, journal, keys
        there = Counter(row.key for row in journal.rows)
        self._left = Counter[str]()
        self._slots: deque[tuple[Task, str]] = deque()
        for task in tasks:
            for kind in KINDS:
                missing = max(0, repeats - there[keys[task.id, kind]])
                self._slots.extend([(task, kind)] * missing)
                self._left[task.id] += missing
        self._total, self._began = len(self._slots), time.monotonic()

    async def run(self, workers: int) -> None:
        async with task_group() as group:
            for _ in range(min(workers, len(self._slots))):
                group.create_task(self._work())

    async def _work(self) -> None:
        while self._slots:
            task, kind = self._slots.popleft()
            done = await self._one(task, kind)
            grade, key = done.grade, self._keys[task.id, kind]
            resolved = grade.resolved and not grade.reason
            self._journal.add(Repetition(key, task.id, kind, resolved, grade.reason, done.seconds, grade.tests))
            self._left[task.id] -= 1
            if not self._left[task.id]:
                self._tell(task)

    async def _one(self, task: Task, kind: str) -> Execution:
        for tried in range(TRIES + 1):
            try:
                done = await self._verifier.execute(task, _patch(task, kind))
            except (SandboxError, GraderFailed) as error:
                self._session.breaker.failed(FAILED, f"{task.id}: {error}", max(1, len(self._slots)))
                if tried == TRIES:
                    raise CalibrationError(
                        f"the tests of {task.id} could not be run after {TRIES} retries: {error}. What was run is "
                        "kept; mend the cause and give the same command again"
                    ) from None
                continue
            self._session.breaker.worked()
            return done
        raise AssertionError("the last try returns or raises")

    def _tell(self, task: Task) -> None:
        left = sum(self._left.values())
        spent = time.monotonic() - self._began
        ahead = f", about {duration(spent * left / (self._total - left))} left" if left else ""
        self._session.events(Status(f"{task.id}: done; {self._total - left} of {self._total} runs{ahead}"))


def _patch(task: Task, kind: str) -> bytes:
    return as_swe(task).patch.encode() if kind == "gold" else b""


def _calibrated(task: Task, gold: Sequence[Repetition], empty: Sequence[Repetition]) -> Calibrated:
    flaky: dict[str, dict[str, dict[str, int]]] = {}
    for kind, rows in zip(KINDS, (gold, empty), strict=True):
        for test, seen in _statuses(rows).items():
            if len(seen) > 1:
                flaky.setdefault(test, {})[kind] = dict(seen)
    against = Counter(row.reason or "some expected tests do not pass" for row in gold if not row.resolved)
    # A run that the known solution lost does not tell how long it takes, unless it lost them all.
    seconds = [row.seconds for row in gold if row.resolved] or [row.seconds for row in gold]
    return Calibrated(
        id=task.id,
        digest=task.digest,
        gold=_runs(gold),
        empty=_runs(empty),
        flaky=flaky,
        seconds_median=statistics.median(seconds),
        seconds_max=max(seconds),
        reason=against.most_common(1)[0][0] if against else "",
    )


def _statuses(rows: Iterable[Repetition]) -> dict[str, Counter[str]]:
    """How often each test had which status. A run that was cut short reports no test."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for test, status in row.tests.items():
            seen[test][status] += 1
    return seen


def _runs(rows: Sequence[Repetition]) -> Runs:
    return Runs(len(rows), sum(row.resolved for row in rows))


def _write(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(f"{text}\n", "utf-8")
        os.replace(part, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
