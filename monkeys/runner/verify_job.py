"""Verifying patches that are there already: a run out of a predictions file, or out of another run.

Each prediction becomes an attempt that submitted its patch, at the index of its appearance
among those of its task, so that everything that reads runs reads this one. Guarantees:
the same command goes on where it ended, by SIGKILL too, and verifies nothing twice;
predictions that were added are verified as well; where one that is recorded is another
now, or gone, nothing is changed and the message names it.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agent.trajectory import Exit, Trajectory
from monkeys.formats.predictions import PredictionsError, read_predictions
from monkeys.report.terminal.final_screen import show
from monkeys.runner.calibration import Calibration
from monkeys.runner.circuit_breaker import CircuitBreaker
from monkeys.runner.environment import environment
from monkeys.runner.interruption import run_to_the_end
from monkeys.runner.progress import Progress, TaskProgress
from monkeys.runner.resources import Reports, ResourceSpec, RunResources, open_resources
from monkeys.runner.task_group import task_group
from monkeys.runner.verify_queue import VerifyQueue
from monkeys.store import AttemptRow, Store, StoreError, patch_digest
from monkeys.store.finding import find_run
from monkeys.text import several
from tasks import Outcome, Submission, Task, TaskSet, load_tasks
from tasks.swe.cached_verifier import CachedVerifier, make_verifier
from tasks.task import Verdict

__all__ = ["Given", "Verification", "read_given", "verify_predictions"]

RETRIES = 3
NAMED = 4
INDEX = re.compile(r"-attempt-\d+$")  # what `monkeys export` adds to the model's name


@dataclass(frozen=True, slots=True)
class Verification:
    """Everything that one verification is told. See `monkeys verify --help` for each."""

    predictions: str
    tasks: str
    ids: tuple[str, ...] = ()
    run: str | None = None  # None: named after the predictions and the configuration
    runs: Path = Path("runs")
    venue: ResourceSpec = field(default_factory=ResourceSpec)
    seconds: float = 1800.0
    remember: bool = True
    recheck: float = 0.0
    calibration: Path | None = None
    unstable: str = "majority"
    skip_unknown: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """One patch to verify, as attempt `index` at `task`."""

    task: str
    index: int
    model: str
    patch: bytes


def read_given(source: str, runs: Path) -> list[Given]:
    """The patches in a predictions file, in a folder of these, or in a run, given by its folder or name.

    Raises `PredictionsError`, `StoreError` or `NotFound`.
    """
    path = Path(source)
    if path.suffix in (".json", ".jsonl") or (path.exists() and not (path / "run.sqlite").is_file()):
        seen = Counter[str]()
        given = []
        for row in read_predictions(path):
            given.append(Given(row.task, seen[row.task], row.model, row.patch))
            seen[row.task] += 1
        return given
    store = Store.read(find_run(runs, source))
    try:
        if rule := store.config.get("allocate"):
            raise PredictionsError(
                f"run {source} was sampled with --allocate {rule['rule']}, so outcomes decided who got attempts, and "
                "a run of verdicts is taken for independent ones; export its predictions to verify them all the same"
            )
        model = str(store.config.get("model", ""))
        given = [Given(row.task, row.index, model, store.patch(row)) for row in store.attempts() if not row.exit.infra]
    finally:
        store.close()
    if not given:
        raise PredictionsError(f"run {source} holds no attempt yet")
    return given


def verify_predictions(settings: Verification) -> int:
    """Do it. Returns the exit code.

    Raises `PredictionsError`, `TaskError`, `CalibrationError`, `StoreError`, `NotFound`, `SandboxError`, `RunStopped`.
    """
    try:
        return run_to_the_end(_Job(settings).main())
    except KeyboardInterrupt:
        print("interrupted: all that was recorded is kept; give the same command again to go on", file=sys.stderr)
        return 130


@dataclass(slots=True)
class _Verdicts(Progress):
    """Progress where an attempt counts once it has its verdict, for it was made elsewhere."""

    wanted: int = 0

    def verified(self, task: str, outcome: Outcome, count: int = 1) -> None:
        Progress.verified(self, task, outcome, count)
        self.tasks[task].sampled += count
        self.sampled_here += count

    @property
    def total(self) -> int:
        return self.wanted


@dataclass(frozen=True, slots=True)
class _Shown:
    """Counts in the progress what the judge is at."""

    judge: CachedVerifier
    progress: Progress

    async def verify(self, task: Task, patch: bytes) -> Verdict:
        self.progress.active += 1
        try:
            return await self.judge.verify(task, patch)
        finally:
            self.progress.active -= 1


class _Job:
    """One session of a verification."""

    def __init__(self, settings: Verification) -> None:
        from rich.console import Console

        self.settings, self.console = settings, Console(stderr=True)
        self.calibration = Calibration.load(settings.calibration) if settings.calibration else None

    async def main(self) -> int:
        settings = self.settings
        every = load_tasks(settings.tasks)
        given = self.known(read_given(settings.predictions, settings.runs), every)
        tasks = every.select(list(settings.ids)) if settings.ids else every
        if self.calibration:
            tasks = self.calibration.select(tasks, settings.unstable)
        chosen = {task.id for task in tasks.tasks}
        given = [one for one in given if one.task in chosen]
        if not given:
            raise PredictionsError(f"{settings.predictions} holds no prediction for the tasks chosen of {every.name}")
        named = {one.task for one in given}
        needed = TaskSet(tasks.name, tuple(task for task in tasks.tasks if task.id in named))
        longest = max(self.allowed(task) for task in needed.tasks)
        async with open_resources(needed, settings.venue, seconds=longest) as court:
            return await self.carry_out(tasks, given, court)

    def known(self, given: Sequence[Given], tasks: TaskSet) -> list[Given]:
        """Those for tasks of this set. Raises `PredictionsError` if there are others, unless told to skip these."""
        ids = {task.id for task in tasks.tasks}
        unknown = list(dict.fromkeys(one.task for one in given if one.task not in ids))
        if unknown and not self.settings.skip_unknown:
            more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
            raise PredictionsError(
                f"{self.settings.predictions} has predictions for {', '.join(unknown[:NAMED])}{more}, "
                f"not in {tasks.name}; give another --tasks, or --skip-unknown"
            )
        return [one for one in given if one.task in ids]

    def allowed(self, task: Task) -> float:
        """Seconds for one run of the task's tests."""
        seconds = self.settings.seconds
        return self.calibration.seconds(task.id, seconds) if self.calibration else seconds

    def repeats(self, task: Task) -> int:
        return self.calibration.repeats(task.id) if self.calibration and self.settings.unstable == "majority" else 1

    async def carry_out(self, tasks: TaskSet, given: Sequence[Given], court: RunResources) -> int:
        settings = self.settings
        config = self.config(tasks, given, court)
        folder = settings.runs / (settings.run or self.default_name(config))
        _check(folder, config, given)
        store = Store.write(folder, config, tasks, environment(court.pool))
        note = "stopped"
        judge = None
        try:
            done = _record(store, given)
            judge = make_verifier(
                court.pool,
                court.grader,
                court.limits,
                seconds=self.allowed,
                workers=settings.venue.workers,
                remember=settings.remember,
                recheck=settings.recheck,
                repeats=self.repeats,
                warn=self.warn,
            )
            attempts = Counter(one.task for one in given)
            rows = {task.id: TaskProgress(task.id) for task in court.tasks.tasks}
            progress = _Verdicts(max(attempts.values()), rows, wanted=len(given))
            if isinstance(court.pool.backend, Reports):
                court.pool.backend.progress = lambda text: setattr(progress, "note", text)
            judging = VerifyQueue(
                store,
                court.tasks,
                _Shown(judge, progress),
                progress,
                CircuitBreaker(),
                at_once=settings.venue.workers,
                retries=RETRIES,
            )
            judging.recall()
            progress.sampled_here = 0  # these were not of this session
            self.say(f"{several(len(given), 'prediction')} for {len(attempts)} of {len(tasks)} issues ({tasks.name})")
            self.say(f"sandbox {court.pool.name} ({court.pool.describe()['isolation']})")
            self.say(f"run {store.folder}" + (f", going on after {progress.done} verdicts" if done else ""))
            if court.pool.warning:
                self.warn(court.pool.warning)
            with nullcontext() if settings.quiet else self.screen(progress, tasks):
                async with task_group() as group:
                    judging.resume(group)
                progress.note = ""
            note = "done"
            found = judge.judged
            self.say(f"{found.verified} verified, {found.found} found, {several(found.again, 'run')} to make sure")
            if not settings.quiet:
                show(store)
        finally:
            if judge:
                judge.close()
            try:
                store.end_session(note)
            finally:
                store.close()
        return 0

    def config(self, tasks: TaskSet, given: Sequence[Given], court: RunResources) -> dict[str, Any]:
        """What must be the same for verdicts to belong to one run."""
        settings = self.settings
        config = {
            "tasks": tasks.name,
            "ids": list(settings.ids),
            "model": INDEX.sub("", given[0].model) or Path(settings.predictions).stem,
            "sandbox": court.pool.name,
            "sandbox_limits": {name: value for name, value in asdict(court.limits).items() if name in _LIMITS},
            "verify_seconds": settings.seconds,
        }
        if self.calibration:
            config |= {"calibration": self.calibration.digest, "unstable": settings.unstable}
        return config

    def default_name(self, config: dict[str, Any]) -> str:
        """The same predictions and settings give the same name, so that the same command goes on with its run."""
        source = Path(self.settings.predictions)
        where = str(source.resolve()) if source.exists() else source.name
        digest = hashlib.sha256(json.dumps([where, config], sort_keys=True).encode()).hexdigest()[:8]
        parts = re.sub(r"[^A-Za-z0-9._]", "-", f"{config['tasks']}-{source.stem}")
        return f"verified-{parts[:80].strip('-.')}-{digest}"

    def screen(self, progress: Progress, tasks: TaskSet) -> AbstractContextManager[object]:
        from monkeys.report.terminal.live import make_screen

        title = f"{tasks.name} · {Path(self.settings.predictions).name}"
        return make_screen(progress, title=title, quiet=False, console=self.console)

    def say(self, line: str) -> None:
        if not self.settings.quiet:
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def warn(self, line: str) -> None:
        if not self.settings.quiet:
            self.console.print(line, style="bold red", markup=False, soft_wrap=True)


_LIMITS = ("memory_mb", "processes", "disk_mb", "cpus", "network")


def _check(folder: Path, config: dict[str, Any], given: Sequence[Given]) -> None:
    """That the run at `folder`, if there is one, is of these predictions. Raises `StoreError`."""
    if not (folder / "run.sqlite").is_file():
        return
    recorded: list[AttemptRow] = []
    with suppress(StoreError):  # what is wrong with the run itself is told when it is opened for writing
        store = Store.read(folder)
        try:
            recorded = list(store.attempts()) if store.config == config else []
        finally:
            store.close()
    now = {(one.task, one.index): patch_digest(one.patch) for one in given}
    for row in recorded:
        patch = now.get((row.task, row.index))
        if patch != row.patch:
            what = "is another one than" if patch else "is gone, and was there"
            raise StoreError(
                f"prediction {row.index} for {row.task} {what} when run {folder.name} began; "
                "restore it to go on, or give another --run name; nothing was changed"
            )


def _record(store: Store, given: Sequence[Given]) -> int:
    """Record those that are not there yet. How many were."""
    there = store.sampled()
    for one in given:
        if one.index not in there.get(one.task, ()):
            store.record_attempt(
                one.task, one.index, 0, Trajectory(Exit.SUBMITTED, (), (), Submission(one.patch), 0.0, one.model)
            )
    return sum(map(len, there.values()))
