"""Which attempt is next, how many at once, what is filled again, when to stop.

Attempts go task by task, so that one issue's prompt stays in the server's prefix cache
and its image on the machine. Sampling and verifying overlap. An attempt that our side
failed is kept as evidence and its slot is filled again, up to a cap; when incidents of one
kind (see `Incidents`) follow one another with nothing that works between them, the run
stops and says so rather than burn on. Whatever ends a run (done, Ctrl-C, a full disk,
SIGKILL), all that was recorded stays, and the same command goes on from there.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.loop import AttemptLimits, run_attempt
from agent.models.model import Call, Model
from agent.tools import Workspace
from agent.trajectory import Exit, Message, Trajectory
from envs import Backend, Limits, SandboxError, SandboxUnavailable
from monkeys.progress import Progress
from monkeys.store import Store, patch_digest
from monkeys.together import together
from tasks.task import Outcome, Task, TaskSet
from tasks.verify import Verifier

__all__ = ["Arm", "Incidents", "RunStopped", "Sampler", "attempt_seed"]

# An engine that is restarted may be away for half a minute: this many incidents take at least that long, unless
# attempts fail faster than one after the other.
INCIDENTS_IN_A_ROW = 8
INCIDENT_SECONDS = 5.0
UNVERIFIABLE = "verification failed"


class RunStopped(Exception):
    """The run ended before it was complete; the message says why and what to do. Nothing recorded is lost."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A named configuration under which attempts are independent and alike."""

    name: str
    model: Model
    openings: dict[str, Sequence[Message]]  # per task: the first messages
    attempt_limits: AttemptLimits
    sandbox_limits: Limits
    seed: int


def attempt_seed(run_seed: int, arm: str, task: str, index: int) -> int:
    """The seed of one attempt: 63 bits that depend on nothing else."""
    text = f"{run_seed}/{arm}/{task}/{index}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


@dataclass(slots=True)
class _Row:
    """Failures of one kind with nothing that worked between them."""

    failures: int = 0
    incidents: int = 0
    number: int = 0  # of the last incident in it
    began: float = 0.0  # when that did
    size: int = 0


class Incidents:
    """Counts our own failures, not one by one but by what may have been one cause: an incident.

    The failures of one kind within `INCIDENT_SECONDS` of the first of them are one incident, though no more of
    them than a crew, which is what is under way at once. So all that is lost in one moment is one incident, and
    both those who fail at once again and again and those who fail slowly soon make many. What the failures say
    does not matter, for it may hold names and numbers of their own. Whatever works ends every row of them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[str, _Row] = {}
        self._count = 0

    def worked(self) -> None:
        self._rows.clear()

    def failed(self, kind: str, cause: str, crew: int) -> tuple[int, int]:
        """Note a failure. Returns the number of its incident in the run, and of the failure in its row, both from 1.

        Raises `RunStopped`, with this cause, when its row comes to `INCIDENTS_IN_A_ROW`.
        """
        now, row = self._clock(), self._rows.setdefault(kind, _Row())
        if not row.incidents or row.size >= crew or now - row.began >= INCIDENT_SECONDS:
            self._count += 1
            row.number, row.began, row.size = self._count, now, 0
            row.incidents += 1
        row.size += 1
        row.failures += 1
        if row.incidents >= INCIDENTS_IN_A_ROW:
            raise RunStopped(
                f"{kind} {row.failures} times with nothing that worked between them; the last time: {cause}. "
                "Nothing recorded is lost; mend the cause and give the same command again"
            )
        return row.number, row.failures


class Sampler:
    """Brings a run to `attempts` attempts per task, each with a verdict if there is a verifier."""

    def __init__(
        self,
        store: Store,
        tasks: TaskSet,
        arm: Arm,
        backend: Backend,
        verifier: Verifier | None,
        progress: Progress,
        *,
        workers: int,
        retries: int,
    ) -> None:
        self._store, self._arm, self._backend, self._verifier = store, arm, backend, verifier
        self._tasks = {task.id: task for task in tasks.tasks}
        self._progress, self._workers, self._retries = progress, workers, retries
        self._slots: deque[tuple[Task, int]] = deque()
        self._tries: Counter[tuple[str, int]] = Counter()
        self._incidents = Incidents()
        self._outcomes: dict[tuple[str, bytes], Outcome] = {}
        self._verifying: dict[tuple[str, bytes], int] = {}  # how many attempts wait for this verdict

    async def run(self) -> None:
        """Sample and verify what is missing.

        Raises `RunStopped`, `StoreError` or `ModelRefused`; on cancellation what is under way is
        recorded as cancelled, and the cancellation goes on.
        """
        self._plan()
        async with together() as group:
            for task, patch, count in self._store.unverified() if self._verifier else ():
                self._verify(group, self._tasks[task], patch, count)
            for _ in range(min(self._workers, len(self._slots))):
                group.create_task(self._work(group))

    def _plan(self) -> None:
        sampled = self._store.sampled()
        for task in self._tasks.values():
            done = sampled.get(task.id, set())
            self._slots.extend((task, index) for index in range(self._progress.attempts) if index not in done)
        for row in self._store.attempts():
            counts = self._progress.tasks[row.task]
            if row.outcome is Outcome.INFRA_ERROR:
                counts.infra += row.exit is not Exit.CANCELLED
                continue
            counts.sampled += 1
            if row.outcome:
                self._progress.verified(row.task, row.outcome)
                self._outcomes[row.task, row.patch] = row.outcome

    async def _work(self, group: asyncio.TaskGroup) -> None:
        while self._slots:
            task, index = self._slots.popleft()
            self._progress.active += 1
            try:
                seed = attempt_seed(self._arm.seed, self._arm.name, task.id, index)
                trajectory = await self._attempt(task, index, seed)
            finally:
                self._progress.active -= 1
            self._store.record_attempt(task.id, index, seed, trajectory)
            self._progress.attempt_over(task.id, trajectory)
            if trajectory.exit is Exit.CANCELLED:
                return
            if trajectory.exit.infra:
                self._refill(task, index, trajectory)
                continue
            self._incidents.worked()
            if self._verifier:
                self._verify(group, task, trajectory.patch)

    async def _attempt(self, task: Task, index: int, seed: int) -> Trajectory:
        began = time.monotonic()
        try:
            sandbox = await self._backend.open(task.origin, self._arm.sandbox_limits, label=f"{task.id} #{index}")
        except SandboxUnavailable as error:
            raise RunStopped(f"{error}; nothing recorded is lost") from None
        except SandboxError as error:
            return Trajectory(Exit.SANDBOX_FAILED, (), (), b"", time.monotonic() - began, str(error))
        try:
            workspace = Workspace(sandbox, task.test_command, self._arm.sandbox_limits.command_seconds)
            call = Call(task.id, index, seed)
            return await run_attempt(
                self._arm.model, workspace, self._arm.openings[task.id], call, self._arm.attempt_limits
            )
        finally:
            await sandbox.close()

    def _refill(self, task: Task, index: int, trajectory: Trajectory) -> None:
        """Put a slot back after an infra error, unless it failed too often.

        A try that came to no turn while nothing else worked either is not the slot's own failure and does not count:
        an outage must not use up the tries of the few slots that are left.
        """
        _, in_a_row = self._incidents.failed(trajectory.exit, trajectory.detail, self._workers)
        if trajectory.turns or in_a_row == 1:
            self._tries[task.id, index] += 1
        if self._tries[task.id, index] <= self._retries:
            self._slots.append((task, index))

    def _verify(self, group: asyncio.TaskGroup, task: Task, patch: bytes, count: int = 1) -> None:
        """See to it that `count` more attempts with this patch get their verdict; equal patches are verified once."""
        key = task.id, patch_digest(patch)
        if key in self._outcomes:
            self._progress.verified(task.id, self._outcomes[key], count)
        elif key in self._verifying:
            self._verifying[key] += count
        else:
            self._verifying[key] = count
            group.create_task(self._judge(task, patch))

    async def _judge(self, task: Task, patch: bytes) -> None:
        assert self._verifier is not None
        key = task.id, patch_digest(patch)
        failures: set[int] = set()  # the incidents that hit it; several tries in one of them count once
        while len(failures) <= self._retries:
            verdict = await self._verifier.verify(task, patch)
            self._store.record_verdict(task.id, patch, verdict)
            if verdict.outcome is not Outcome.INFRA_ERROR:
                self._incidents.worked()
                self._outcomes[key] = verdict.outcome
                self._progress.verified(task.id, verdict.outcome, self._verifying.pop(key))
                return
            crew = max(self._workers, len(self._verifying))
            failures.add(self._incidents.failed(UNVERIFIABLE, verdict.reason, crew)[0])
        raise RunStopped(
            f"a patch of {task.id} could not be verified, time and again: {verdict.reason}. "
            "Nothing recorded is lost; mend the cause and give the same command again"
        )
