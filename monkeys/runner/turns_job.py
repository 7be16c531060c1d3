"""The submission after each turn of the attempts of a run, taken afterwards and verified (`verify RUN --each-turn`).

The recorded actions of an attempt are carried out again in a fresh sandbox, where its submission is taken after each
turn; no model is asked. Guarantees: an attempt of which the model would have been shown something else, but for
numbers, or whose submission is another one, is told, recorded as such, and not used. What is taken is recorded attempt
by attempt, so that the same command goes on where it ended, by SIGKILL too; nothing is taken or verified twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from agent.models.recorded import unlike
from agent.trajectory import Trajectory
from envs import SandboxUnavailable
from envs.events import Sink, Status, Warned, ignore
from monkeys.executors import ExecutorSetup
from monkeys.executors.here import Here
from monkeys.runner.circuit_breaker import RunStopped
from monkeys.runner.recorded_run import RecordedRun, Unpaid, spec_of_row
from monkeys.runner.session import Session, open_session
from monkeys.runner.task_group import task_group
from monkeys.runner.verify_queue import VerifyQueue
from monkeys.runner.worker_setup import RunWorkerSetup
from monkeys.spec import ConfigError, VerifyRunSpec
from monkeys.spec.option import places
from monkeys.store import AttemptRow, find_run
from monkeys.text import several
from tasks import TaskSet

__all__ = ["TurnsEnd", "verify_turns"]

RETRIES = 3
ABOUT = "replays"  # of the line that tells how far they are
NAMED = 3
RECORDED = ("verify.seconds", "verify.unstable", "predictions.skip_unknown")


@dataclass(frozen=True, slots=True)
class TurnsEnd:
    """What this session did for the run in `folder`.

    `replayed` attempts got the submissions of their turns. `unlike` says which replays differed from their attempts, a
    line for each. `failed` attempts could not be replayed because of failures of our side, the last one `cause`.
    """

    folder: Path
    replayed: int
    unlike: tuple[str, ...] = ()
    failed: int = 0
    cause: str = ""
    unverified: str = ""


async def verify_turns(spec: VerifyRunSpec, events: Sink = ignore) -> TurnsEnd:
    """Take and verify what is missing. Raises a `MonkeysError` for everything that a person can mend."""
    if spec.session.run:
        raise ConfigError("--each-turn adds to the run that is named first; leave out --run")
    own = [place for place in places(VerifyRunSpec) if place.section.name == "sandbox" or place.path in RECORDED]
    if given := [place.label for place in own if place.path in spec.given]:
        raise ConfigError(f"--each-turn goes by the settings of the run; leave out {' and '.join(given)}")
    run = RecordedRun.read(find_run(spec.session.runs, spec.predictions.source), spec.tasks.set or None, spec.verify)
    chosen = run.tasks.select(list(spec.tasks.ids)) if spec.tasks.ids else run.tasks
    workers = spec.verify.workers
    setup = RunWorkerSetup(run.tasks, run.resources(workers), run.rules, spec.verify, run.replay())
    executor = Here(ExecutorSetup(setup, workers, events=events))
    async with open_session(executor, events) as session:
        return await _Replays(session, run, chosen, workers).run()


class _Replays:
    """The replays of one session, `workers` at once."""

    def __init__(self, session: Session, run: RecordedRun, chosen: TaskSet, workers: int) -> None:
        self._session, self._run, self._chosen, self._workers = session, run, chosen, workers
        self._left: deque[AttemptRow] = deque()
        self._wanted = self._replayed = self._failed = 0
        self._unlike: list[str] = []
        self._cause = ""

    async def run(self) -> TurnsEnd:
        session, run = self._session, self._run
        store = session.reopen_store(run.folder, run.config, run.tasks)
        queue = session.verify_queue(at_once=self._workers, retries=RETRIES, workers=self._workers)
        ids = {task.id for task in self._chosen.tasks}
        rows = [row for row in store.attempts() if not row.exit.infra and row.task in ids]
        self._left.extend(row for row in rows if not row.each_turn)
        self._wanted = len(self._left)
        most = max((row.index + 1 for row in rows), default=0)
        lines = [
            f"{several(len(rows), 'attempt')} at {several(len(self._chosen), 'issue')} ({run.tasks.name}), of which "
            f"{self._wanted:,} are replayed to take the patch after each of their turns",
            f"run {store.folder}",
        ]
        session.tell_began(f"{run.tasks.name} · {store.model}", run.tasks, most, lines, [session.facts.warning])
        async with task_group() as group:
            queue.recall()
            queue.resume(group)
            for _ in range(self._workers):
                group.create_task(self._work(group, queue))
        session.events(Status("", ABOUT))
        session.note = f"patches of turns of {several(self._replayed, 'attempt')} taken"
        return TurnsEnd(store.folder, self._replayed, tuple(self._unlike), self._failed, self._cause, queue.unverified)

    async def _work(self, group: asyncio.TaskGroup, queue: VerifyQueue) -> None:
        store = self._session.store
        while self._left:
            row = self._left.popleft()
            self._session.events(Status(f"replayed {self._done:,} of {self._wanted:,} attempts", ABOUT))
            replayed = await self._replay(row)
            if replayed is None:
                self._failed += 1
            elif how := unlike(store.trajectory(row), replayed):
                store.record_unlike(row, how)
                self._unlike.append(f"{row.task} {row.index}: {how}")
                if len(self._unlike) <= NAMED:
                    self._session.events(
                        Warned(f"attempt {row.index} at {row.task} is not used, unlike its record: {how}")
                    )
            else:
                store.record_turns(row, replayed.turns)
                self._replayed += 1
                queue.add_turns(group, row.task, (turn.submission for turn in replayed.turns))

    @property
    def _done(self) -> int:
        return self._replayed + self._failed + len(self._unlike)

    async def _replay(self, row: AttemptRow) -> Trajectory | None:
        """The attempt played again; None where our side failed each time."""
        for _ in range(RETRIES + 1):
            try:
                trajectory = await self._session.executor.attempt(spec_of_row(row), Unpaid())
            except SandboxUnavailable as error:
                raise RunStopped(f"{error}; nothing recorded is lost") from None
            if not trajectory.exit.infra:
                self._session.breaker.worked()
                return trajectory
            self._cause = f"{trajectory.exit}: {trajectory.detail}"
            self._session.breaker.failed(trajectory.exit, trajectory.detail, self._workers)
        return None
