"""Verdicts for a run: each attempt gets one, equal patches share theirs, and all are recorded as they come.

Guarantees: a patch that has its verdict in the run is not verified again; at most
`at_once` are verified at a time, in the order in which they came. A verification that our
side failed is recorded as evidence and tried again, up to a cap; when such incidents
follow one another with nothing that works between them, the run stops and says so.
"""

from __future__ import annotations

import asyncio

from monkeys.runner.circuit_breaker import CircuitBreaker, RunStopped
from monkeys.runner.progress import Progress
from monkeys.store import Store, patch_digest
from tasks.swe.cached_verifier import Verifies
from tasks.task import Outcome, Task, TaskSet

__all__ = ["VerifyQueue"]

UNVERIFIABLE = "verification failed"


class VerifyQueue:
    """Sees to it that the attempts of `store` get their verdicts from `verifier`; from None they get none.

    `crew` is how many workers besides these may fail in one incident; see `CircuitBreaker`.
    """

    def __init__(
        self,
        store: Store,
        tasks: TaskSet,
        verifier: Verifies | None,
        progress: Progress,
        incidents: CircuitBreaker,
        *,
        at_once: int,
        retries: int,
        crew: int = 1,
    ) -> None:
        self._store, self._verifier, self._progress, self._incidents = store, verifier, progress, incidents
        self._tasks = {task.id: task for task in tasks.tasks}
        self._retries, self._crew = retries, crew
        self._slots = asyncio.Semaphore(at_once)
        self._outcomes: dict[tuple[str, bytes], Outcome] = {}
        self._waiting: dict[tuple[str, bytes], int] = {}  # how many attempts wait for this verdict

    def recall(self) -> None:
        """Count the verdicts that the store holds."""
        for row in self._store.attempts():
            if row.outcome in (Outcome.RESOLVED, Outcome.UNRESOLVED):
                self._outcomes[row.task, row.patch] = row.outcome
                self._progress.verified(row.task, row.outcome)

    def resume(self, group: asyncio.TaskGroup) -> None:
        """See to it that what was sampled and has no verdict gets it."""
        if self._verifier:
            for task, patch, count in self._store.unverified():
                self.judge(group, self._tasks[task], patch, count)

    def judge(self, group: asyncio.TaskGroup, task: Task, patch: bytes, count: int = 1) -> None:
        """See to it that `count` more attempts with this patch get their verdict; the group raises `RunStopped`."""
        key = task.id, patch_digest(patch)
        if self._verifier is None:
            return
        if key in self._outcomes:
            self._progress.verified(task.id, self._outcomes[key], count)
        elif key in self._waiting:
            self._waiting[key] += count
        else:
            self._waiting[key] = count
            group.create_task(self._verify(self._verifier, task, patch))

    async def _verify(self, verifier: Verifies, task: Task, patch: bytes) -> None:
        key = task.id, patch_digest(patch)
        failures: set[int] = set()  # the incidents that hit it; several tries in one of them count once
        while len(failures) <= self._retries:
            async with self._slots:
                verdict = await verifier.verify(task, patch)
            self._store.record_verdict(task.id, patch, verdict)
            if verdict.outcome is not Outcome.INFRA_ERROR:
                self._incidents.worked()
                self._outcomes[key] = verdict.outcome
                self._progress.verified(task.id, verdict.outcome, self._waiting.pop(key))
                return
            crew = max(self._crew, len(self._waiting))
            failures.add(self._incidents.failed(UNVERIFIABLE, verdict.reason, crew)[0])
        raise RunStopped(
            f"a patch of {task.id} could not be verified, time and again: {verdict.reason}. "
            "Nothing recorded is lost; mend the cause and give the same command again"
        )
