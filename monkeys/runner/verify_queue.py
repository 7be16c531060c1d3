"""The verify queue: each attempt of a run gets its verdict once, and equal submissions share theirs.

Guarantees: a submission that has its verdict in the run is not verified again; at most `at_once` are verified at a
time, in the order in which they came; every verdict is recorded as it comes. A verification that our side failed is
recorded as evidence and tried again, up to a cap. When such incidents follow one another with nothing that works
between them, the run stops and says so.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TypeAlias

from monkeys.events import Sink, VerdictReached, VerifyBegan, VerifyEnded, ignore
from monkeys.executors import Executor, VerifySpec
from monkeys.runner.circuit_breaker import CircuitBreaker, RunStopped
from monkeys.runner.signal import Signal
from monkeys.store import Store, submission_digest
from tasks.task import Outcome, Submission

__all__ = ["VerifyQueue"]

FAILED = "verification failed"
_Key: TypeAlias = tuple[str, bytes]  # a task and the digest of a submission


class VerifyQueue:
    """Sees to it that the attempts of `store` get their verdicts from `executor`.

    `workers` is how many attempts may fail in one incident besides the verifications (see `CircuitBreaker`);
    `changed` fires with each verdict.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        breaker: CircuitBreaker,
        *,
        at_once: int,
        retries: int,
        workers: int = 1,
        changed: Signal | None = None,
        events: Sink = ignore,
    ) -> None:
        self._store, self._executor, self._breaker = store, executor, breaker
        self._retries, self._workers, self._events = retries, workers, events
        self._changed = changed or Signal()
        self._at_once, self._slots = at_once, asyncio.Semaphore(at_once)
        self._outcomes: dict[_Key, Outcome] = {}
        self._waiting: dict[_Key, int] = {}  # how many attempts wait for this verdict
        self.resolved = Counter[str]()
        """How many attempts at each task are known to have resolved it."""

    def recall(self) -> None:
        """Learn the verdicts that the store holds."""
        for row in self._store.attempts():
            if row.outcome in (Outcome.RESOLVED, Outcome.UNRESOLVED):
                self._outcomes[row.task, row.digest] = row.outcome
                self.resolved[row.task] += row.outcome is Outcome.RESOLVED

    def resume(self, group: asyncio.TaskGroup) -> None:
        """Queue what was sampled and has no verdict."""
        for task, submission, count in self._store.unverified():
            self.add(group, task, submission, count)

    def add(self, group: asyncio.TaskGroup, task: str, submission: Submission, count: int = 1) -> None:
        """Queue `count` more attempts that handed this in. The group raises `RunStopped`."""
        key = task, submission_digest(submission)
        if key in self._outcomes:
            self._reached(task, self._outcomes[key], count)
        elif key in self._waiting:
            self._waiting[key] += count
        else:
            self._waiting[key] = count
            group.create_task(self._verify(key, submission))

    def has_verdict(self, task: str, submission: Submission) -> bool:
        return (task, submission_digest(submission)) in self._outcomes

    @property
    def idle(self) -> bool:
        """Whether everything that was queued has its verdict."""
        return not self._waiting

    async def _verify(self, key: _Key, submission: Submission) -> None:
        task = key[0]
        incidents: set[int] = set()  # several failures in one incident count once
        while len(incidents) <= self._retries:
            async with self._slots:
                self._events(VerifyBegan(task))
                verdict = await self._executor.verify(VerifySpec(task, submission))
            self._events(VerifyEnded(task, verdict.outcome))
            self._store.record_verdict(task, submission, verdict)
            if verdict.outcome is not Outcome.INFRA_ERROR:
                self._breaker.worked()
                self._outcomes[key] = verdict.outcome
                self._reached(task, verdict.outcome, self._waiting.pop(key))
                return
            at_once = max(self._workers, self._at_once)
            incidents.add(self._breaker.failed(FAILED, verdict.reason, at_once)[0])
        raise RunStopped(
            f"a submission for {task} could not be verified after {self._retries} retries: {verdict.reason}. "
            "Nothing recorded is lost; mend the cause and give the same command again"
        )

    def _reached(self, task: str, outcome: Outcome, count: int) -> None:
        self.resolved[task] += count if outcome is Outcome.RESOLVED else 0
        self._events(VerdictReached(task, outcome, count))
        self._changed.fire()
