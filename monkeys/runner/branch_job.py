"""Continuations of one attempt from its turns: what a turn was worth (`monkeys branch`).

In a fresh sandbox the recorded actions up to a turn are carried out again, so that ignored files and background
processes are there as well; the run's model then goes on from the recorded conversation, with the turns, tokens and
money that the attempt had left. A continuation is kept in the run, under an arm of its own and linked to the attempt;
it never counts as an attempt. Guarantees: the same command goes on where it ended, by SIGKILL too; nothing is sampled
or verified twice; what our side failed is kept as evidence and made again, up to a cap.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.agent import AttemptSpec, Branch
from agent.limits import AttemptLimits
from agent.trajectory import Exit, Trajectory
from envs import SandboxUnavailable
from envs.events import Sink, ignore
from envs.secrets import redacted
from monkeys.events import AttemptBegan, AttemptEnded, Incident, LimitReached, Recorded, RunBegan
from monkeys.executors import ExecutorSetup, make_executor
from monkeys.runner.budget import RunBudget
from monkeys.runner.circuit_breaker import RunStopped
from monkeys.runner.model_setup import ModelSetup
from monkeys.runner.recorded_run import RecordedRun
from monkeys.runner.sample_job import run_limits
from monkeys.runner.sampler import attempt_seed
from monkeys.runner.session import Session, open_session
from monkeys.runner.task_group import task_group
from monkeys.runner.verify_queue import VerifyQueue
from monkeys.runner.worker_setup import RunWorkerSetup
from monkeys.spec import BranchSpec, ConfigError, RunSpec, merged
from monkeys.spec.build import build
from monkeys.spec.option import places
from monkeys.store import AttemptRow, NotFound, Store, find_run
from monkeys.store.finding import find_attempt, find_task
from monkeys.text import several
from tasks import Outcome
from tasks.suites import suite_of

__all__ = ["BranchEnd", "branch", "branch_arm"]


def branch_arm(task: str, index: int, turn: int) -> str:
    """The arm of the continuations of an attempt from one of its turns."""
    return f"branch:{task}:{index}:{turn}"


@dataclass(frozen=True, slots=True)
class BranchEnd:
    """Which attempt of the run in `folder` was continued after which `turns`, and what is lacking.

    `stopped` is the limit at which the command was stopped; `given_up` continuations failed on our side again and
    again, the last one for `cause`; `unverified` says which submissions could not be verified. All are empty if none.
    """

    folder: Path
    task: str
    index: int
    turns: tuple[int, ...]
    stopped: str = ""
    given_up: int = 0
    cause: str = ""
    unverified: str = ""


@dataclass(frozen=True, slots=True)
class _Point:
    """One attempt, and the numbers of its turns from which it is continued."""

    row: AttemptRow
    turns: tuple[int, ...]

    @classmethod
    def find(cls, folder: Path, spec: BranchSpec) -> _Point:
        """Raises `NotFound` and `ConfigError`."""
        asked = spec.branch
        store = Store.read(folder)
        try:
            row = find_attempt(store, find_task(store, asked.task), asked.attempt, None)
        finally:
            store.close()
        which = f"attempt {row.index} at {row.task}"
        if row.exit.infra or not row.turns:
            raise NotFound(f"{which} has no turn to go on from: {row.exit}; name another attempt")
        if bool(asked.turns) == (asked.every is not None):
            raise ConfigError("say from which turns to go on: --turn T [T ...], or --every K for every K-th one")
        turns = tuple(range(0, row.turns, asked.every)) if asked.every else tuple(sorted(set(asked.turns)))
        if late := [turn for turn in turns if turn >= row.turns]:
            raise ConfigError(
                f"{which} has {several(row.turns, 'turn')} and ended with the last one ({row.exit}), so it can be "
                f"continued after 0 to {row.turns - 1} of them, not {late[0]}"
            )
        return cls(row, turns)


async def branch(spec: BranchSpec, events: Sink = ignore) -> BranchEnd:
    """Sample and verify what is missing. Raises a `MonkeysError` for everything that a person can mend."""
    folder = find_run(spec.session.runs, spec.branch.run)
    point = _Point.find(folder, spec)
    run = RecordedRun.read(folder, spec.tasks.set or None, spec.verify)
    if run.config.get("model", {}).get("recording") or run.config.get("agent", {}).get("name") != "loop":
        raise ConfigError(
            f"run {folder.name} cannot be continued: only attempts of agent loop with a model that still answers can, "
            "and a replay has the recorded answers alone"
        )
    setup = ModelSetup(_run_spec(spec, run), events)
    try:
        asked = setup.prepare(suite_of(run.tasks.suite), run.tasks)
        at_once = setup.workers
        worker = RunWorkerSetup(
            tasks=run.tasks.select([point.row.task]),
            resources=run.resources(at_once, spec.session, setup.reserved_mb),
            rules=run.rules,
            verify=spec.verify if spec.verify.enabled else None,
            asked=asked,
            quote=setup.quote,
            seed=setup.spec.tasks.seed,
            continued=folder,
        )
        processes = spec.executor.worker_processes or 2
        executor = make_executor(spec.executor.name, ExecutorSetup(worker, at_once, processes, events))
        async with open_session(executor, events) as session:
            if setup.server is None:
                await executor.check()
            found = {**setup.saved(asked), "limits": asdict(asked.limits)}
            found["sandbox"] = (
                {"name": session.facts.sandbox, "limits": asdict(session.facts.limits)} if session.facts.limits else {}
            )
            config: dict[str, Any] = redacted({**merged(run.config, found), "model": found["model"]})
            session.reopen_store(folder, config, run.tasks, setup.environment())
            async with setup.served(folder):
                if setup.server is not None:
                    await executor.check()
                room = session.facts.room
                sampler = _Continuations(
                    session, setup, run.limits, point, spec, at_once if room is None else min(at_once, room)
                )
                return await sampler.run()
    finally:
        await setup.close()


def _run_spec(spec: BranchSpec, run: RecordedRun) -> RunSpec:
    """The specification of the run, from its record and from what was given again."""
    values = {path: value for path, value in run.values().items() if not path.startswith("strategy.")}
    known = {place.path for place in places(RunSpec)}
    for path in spec.given & known:
        section, _, key = path.partition(".")
        values[path] = getattr(getattr(spec, section), key)
    return build(RunSpec, {**values, "tasks.attempts": 1})


class _Continuations:
    """The continuations of one session, `at_once` under way."""

    def __init__(
        self,
        session: Session,
        setup: ModelSetup,
        limits: AttemptLimits,
        point: _Point,
        spec: BranchSpec,
        at_once: int,
    ) -> None:
        self._session, self._setup, self._point, self._spec, self._at_once = session, setup, point, spec, at_once
        self._retries = spec.session.retries
        self._budget = RunBudget(run_limits(spec.budget), limits, setup.quote, events=session.events)
        self._left: deque[AttemptSpec] = deque()
        self._tries: Counter[AttemptSpec] = Counter()
        self._given_up, self._cause = 0, ""

    async def run(self) -> BranchEnd:
        session, point, row = self._session, self._point, self._point.row
        queue = None
        if self._spec.verify.enabled:
            queue = session.verify_queue(
                at_once=self._spec.verify.workers, retries=self._retries, workers=self._at_once
            )
        self._begin()
        async with self._budget.timed(), task_group() as group:
            if queue:
                queue.recall()
                for task, submission, count in session.store.unverified(continuations=True):
                    if task == row.task:
                        queue.add(group, task, submission, count)
            for _ in range(self._at_once):
                group.create_task(self._work(group, queue))
        stopped = self._budget.stopped if self._left else ""
        if stopped:
            session.events(LimitReached(stopped))
        session.note = f"branch of attempt {row.index} at {row.task}: {stopped.partition(';')[0] or 'done'}"
        unverified = queue.unverified if queue else ""
        return BranchEnd(
            session.store.folder, row.task, row.index, point.turns, stopped, self._given_up, self._cause, unverified
        )

    def _begin(self) -> None:
        """Find what is missing, and tell what there is."""
        session, (row, turns) = self._session, (self._point.row, self._point.turns)
        number = self._spec.branch.attempts
        there = [one for one in session.store.continuations(row.task, row.index) if one.branch_turn in turns]
        done = {(one.branch_turn, one.index) for one in there if not one.exit.infra}
        for turn in turns:
            arm = branch_arm(row.task, row.index, turn)
            self._left.extend(
                AttemptSpec(
                    row.task,
                    index,
                    attempt_seed(self._setup.spec.tasks.seed, arm, row.task, index),
                    arm,
                    row.brief,
                    (row.index,),
                    Branch(row.index, turn, row.seed),
                )
                for index in range(number)
                if (turn, index) not in done
            )
        lines = [
            f"attempt {row.index} at {row.task}, which ended as {row.exit} after {several(row.turns, 'turn')}, "
            f"continued after {_listed(turns)} of them, {several(number, 'time')} each, model {session.store.model}",
            f"run {session.store.folder}" + (f", going on after {len(done):,} continuations" if done else ""),
        ]
        title = f"{row.task} {row.index} · {session.store.model}"
        warnings = tuple(filter(None, [session.facts.warning]))
        session.events(
            RunBegan(session.store.folder.name, (row.task,), number * len(turns), title, tuple(lines), warnings)
        )
        outcomes = Counter(one.outcome for one in there)
        session.events(
            Recorded(
                row.task,
                sum(not one.exit.infra for one in there),
                outcomes[Outcome.RESOLVED],
                outcomes[Outcome.UNRESOLVED],
                sum(one.exit.infra and one.exit is not Exit.CANCELLED for one in there),
            )
        )

    async def _work(self, group: asyncio.TaskGroup, queue: VerifyQueue | None) -> None:
        while self._left and await self._budget.room():
            if not self._left:
                return
            spec = self._left.popleft()
            trajectory = await self._make(spec)
            if trajectory.exit is Exit.CANCELLED:
                self._left.append(spec)
                return
            if trajectory.exit.infra:
                self._refill(spec, trajectory)
                continue
            self._session.breaker.worked()
            if queue:
                queue.add(group, spec.task, trajectory.submission)

    async def _make(self, spec: AttemptSpec) -> Trajectory:
        """Make one continuation and record it."""
        account, trajectory = self._budget.account(), None
        self._session.events(AttemptBegan(spec.task, spec.index))
        try:
            trajectory = await self._session.executor.attempt(spec, account)
        except SandboxUnavailable as error:
            raise RunStopped(f"{error}; nothing recorded is lost") from None
        finally:
            self._budget.settle(account, trajectory)
        self._session.store.record_attempt(spec, trajectory)
        self._session.events(
            AttemptEnded(
                spec.task,
                spec.index,
                trajectory.exit,
                len(trajectory.turns),
                trajectory.usage,
                trajectory.seconds,
                counted=not trajectory.exit.infra,
            )
        )
        return trajectory

    def _refill(self, spec: AttemptSpec, trajectory: Trajectory) -> None:
        """Make a continuation again that our side failed, unless it failed too often."""
        self._cause = f"{trajectory.exit}: {trajectory.detail or 'no cause was told'}"
        _, in_a_row = self._session.breaker.failed(trajectory.exit, trajectory.detail, self._at_once)
        self._session.events(Incident(trajectory.exit, trajectory.detail, in_a_row))
        self._tries[spec] += 1
        if self._tries[spec] <= self._retries:
            self._left.append(spec)
        else:
            self._given_up += 1


def _listed(turns: tuple[int, ...]) -> str:
    return ", ".join(map(str, turns[:8])) + (f" and {len(turns) - 8} more" if len(turns) > 8 else "")
