"""Which attempt is next, how many at once, what is filled again, when to stop.

Attempts go task by task, so that one issue's prompt stays in the server's prefix cache
and its image on the machine, or else to the task that a rule names by the outcomes so far.
Under such a rule a worker waits for its attempt's verdict before it takes the next, so
that the rule is late by no more attempts than there are workers. Sampling and verifying
overlap. An attempt that our side failed is kept as evidence and its slot is filled again,
up to a cap; when incidents of one kind (see `CircuitBreaker`) follow one another with nothing
that works between them, the run stops and says so rather than burn on. Whatever ends a run
(done, Ctrl-C, a full disk, SIGKILL), all that was recorded stays, and the same command goes
on from there.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from agent.loop import AttemptLimits, run_attempt
from agent.models.model import Call, Model
from agent.scaffolds import Scaffold
from agent.tools import Workspace
from agent.trajectory import Exit, Trajectory
from envs import Backend, Limits, SandboxError, SandboxUnavailable
from monkeys.runner.budget import RunBudget, RunLimits
from monkeys.runner.circuit_breaker import CircuitBreaker, RunStopped
from monkeys.runner.progress import Progress
from monkeys.runner.scheduler import UNIFORM, Adaptive, AllocationSpec, Scheduler, Slot, TaskByTask
from monkeys.runner.task_group import task_group
from monkeys.runner.verify_queue import VerifyQueue
from monkeys.store import Store
from tasks.swe.cached_verifier import Verifies
from tasks.task import Outcome, Submission, Task, TaskSet

__all__ = ["Arm", "Sampler", "attempt_seed"]


@dataclass(frozen=True, slots=True)
class Arm:
    """A named configuration under which attempts are independent and alike."""

    name: str
    model: Model
    scaffold: Scaffold
    attempt_limits: AttemptLimits
    sandbox_limits: Limits
    seed: int
    seeds: Callable[[str, int], int] | None = None  # of each attempt, where they are given

    def seed_of(self, task: str, index: int) -> int:
        return self.seeds(task, index) if self.seeds else attempt_seed(self.seed, self.name, task, index)


def attempt_seed(run_seed: int, arm: str, task: str, index: int) -> int:
    """The seed of one attempt: 63 bits that depend on nothing else."""
    text = f"{run_seed}/{arm}/{task}/{index}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


class Sampler:
    """Brings a run to `progress.attempts` attempts per task, each with a verdict if there is a verifier.

    `choice` says which tasks get them; what looks at outcomes needs a verifier. `ledger` says how long to go on, and
    then whether the run was stopped short of it.
    """

    def __init__(
        self,
        store: Store,
        tasks: TaskSet,
        arm: Arm,
        backend: Backend,
        verifier: Verifies | None,
        progress: Progress,
        *,
        workers: int,
        retries: int,
        verify_workers: int = 2,
        choice: AllocationSpec = UNIFORM,
        ledger: RunBudget | None = None,
    ) -> None:
        if choice.looks and verifier is None:
            raise ValueError(f"{choice.rule} goes by verdicts: give a verifier")
        self._store, self._arm, self._backend = store, arm, backend
        self._tasks = {task.id: task for task in tasks.tasks}
        self._progress, self._workers, self._retries = progress, workers, retries
        self._choice = choice
        self._ledger = ledger or RunBudget(RunLimits(), arm.attempt_limits)
        self._tries: Counter[Slot] = Counter()
        self._incidents = CircuitBreaker()
        self._heard = asyncio.Event()
        progress.heard = self._heard.set
        self._judging = VerifyQueue(
            store, tasks, verifier, progress, self._incidents, at_once=verify_workers, retries=retries, crew=workers
        )

    async def run(self) -> None:
        """Sample and verify what is missing.

        Raises `RunStopped`, `StoreError`, `ModelRefused` or `Unsuited`; on cancellation what is under way is
        recorded as cancelled, and the cancellation goes on.
        """
        self._recall()
        plan = self._plan()
        async with self._ledger.timed(), task_group() as group:
            self._judging.resume(group)
            for _ in range(self._workers):
                group.create_task(self._work(group, plan))

    def _plan(self) -> Scheduler:
        sampled, attempts = self._store.sampled(), self._progress.attempts
        if not self._choice.looks:
            return TaskByTask(self._tasks, attempts, sampled)
        ids = list(self._tasks)
        return Adaptive(
            ids,
            self._choice.allocation(attempts, len(ids)),
            attempts * len(ids),
            sampled,
            lambda: [self._progress.tasks[task].resolved for task in ids],
            self._arm.seed,
        )

    def _recall(self) -> None:
        """Count what the store holds."""
        for row in self._store.attempts():
            counts = self._progress.tasks[row.task]
            if row.outcome is Outcome.INFRA_ERROR:
                counts.infra += row.exit is not Exit.CANCELLED
            else:
                counts.sampled += 1
        self._judging.recall()

    async def _work(self, group: asyncio.TaskGroup, plan: Scheduler) -> None:
        if self._choice.looks:
            await self._until(lambda: not any(row.unverified for row in self._progress.tasks.values()))
        while await self._ledger.room() and (slot := plan.next()):
            task, index = self._tasks[slot[0]], slot[1]
            account, trajectory = self._ledger.account(), None
            self._progress.active += 1
            try:
                seed = self._arm.seed_of(task.id, index)
                trajectory = await self._attempt(task, Call(task.id, index, seed, meter=account))
            finally:
                self._progress.active -= 1
                self._ledger.settle(account, trajectory)
            self._store.record_attempt(task.id, index, seed, trajectory)
            self._progress.attempt_over(task.id, trajectory)
            if trajectory.exit is Exit.CANCELLED:
                return
            if trajectory.exit.infra:
                self._refill(plan, slot, trajectory)
                continue
            self._incidents.worked()
            self._judging.judge(group, task, trajectory.submission.body)
            if self._choice.looks:
                await self._until(partial(self._is_judged, task.id, trajectory.submission.body))

    def _is_judged(self, task: str, patch: bytes) -> bool:
        return self._store.verdict_of(task, patch) is not None

    async def _until(self, true: Callable[[], bool]) -> None:
        """Wait for verdicts until it is true."""
        while not true():
            self._heard.clear()
            await self._heard.wait()

    async def _attempt(self, task: Task, call: Call) -> Trajectory:
        began, label = time.monotonic(), f"{task.id} #{call.attempt}"
        try:
            sandbox = await self._backend.open(task.origin, self._arm.sandbox_limits, label=label)
        except SandboxUnavailable as error:
            raise RunStopped(f"{error}; nothing recorded is lost") from None
        except SandboxError as error:
            return Trajectory(Exit.SANDBOX_FAILED, (), (), Submission(), time.monotonic() - began, str(error))
        try:
            workspace = Workspace(sandbox, task.test_command, self._arm.sandbox_limits.command_seconds)
            begins = partial(self._arm.scaffold.opening, task)
            return await run_attempt(self._arm.model, workspace, begins, call, self._arm.attempt_limits)
        finally:
            await sandbox.close()

    def _refill(self, plan: Scheduler, slot: Slot, trajectory: Trajectory) -> None:
        """Put a slot back after an infra error, unless it failed too often.

        A try that came to no turn while nothing else worked either is not the slot's own failure and does not count:
        an outage must not use up the tries of the few slots that are left.
        """
        _, in_a_row = self._incidents.failed(trajectory.exit, trajectory.detail, self._workers)
        if trajectory.turns or in_a_row == 1:
            self._tries[slot] += 1
        if self._tries[slot] <= self._retries:
            plan.again(slot)
