"""The verify queue: each attempt of a run gets its verdict once, and equal submissions share theirs.

Submissions that attempts had after their turns (`--patch-each-turn`) get their verdicts through the same queue, but
those that attempts handed in come first, because the run's numbers wait for them.

Guarantees: a submission that has its verdict in the run is not verified again; at most `at_once` are verified at a
time, in the order in which they came; every verdict is recorded as it comes. A verification that our side failed is
recorded as evidence and tried again, up to a cap. After that a probe decides whose failure it was: where the task's
tests can be run without the submission, it broke its own sandbox and is unresolved; where they cannot, it stays without
a verdict (`unverified`) and the others go on. When such incidents follow one another with nothing that works between
them, neither at this task nor at another, the run stops and says so.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import TypeAlias

from monkeys.events import (
    Sink,
    TurnQueued,
    TurnVerdictReached,
    VerdictReached,
    VerifyBegan,
    VerifyEnded,
    ignore,
)
from monkeys.executors import Executor, VerifySpec
from monkeys.runner.circuit_breaker import CircuitBreaker, RunStopped
from monkeys.runner.signal import Signal
from monkeys.runner.slots import Slots
from monkeys.store import Store, submission_digest
from tasks.task import Outcome, Submission, Verdict

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
        self._at_once, self._slots = at_once, Slots[_Key](at_once)
        self._outcomes: dict[_Key, Outcome] = {}
        self._waiting: dict[_Key, int] = {}  # how many attempts wait for this verdict
        self._of_turns: set[_Key] = set()  # those that wait and were queued as the submission of a turn
        self._given_up: dict[_Key, str] = {}  # submissions that could not be verified, and why
        self._broken: dict[str, str] = {}  # tasks whose tests cannot be run, and why, with nothing that worked since
        self._probing = asyncio.Lock()
        self.resolved = Counter[str]()
        """How many attempts at each task are known to have resolved it."""

    def recall(self) -> None:
        """Learn the verdicts that the store holds."""
        self._outcomes.update(self._store.verdicts())
        for tally in self._store.tallies():
            self.resolved[tally.task] += tally.resolved

    def resume(self, group: asyncio.TaskGroup) -> None:
        """Queue what was sampled and has no verdict: what attempts handed in, and what they had after their turns."""
        for task, submission, count in self._store.unverified():
            self.add(group, task, submission, count)
        for task, submission in self._store.unverified_turns():
            self.add_turn(group, task, submission)

    def add(self, group: asyncio.TaskGroup, task: str, submission: Submission, count: int = 1) -> None:
        """Queue `count` more attempts that handed this in. The group raises `RunStopped`."""
        key = task, submission_digest(submission)
        if key in self._outcomes:
            self._reached(task, self._outcomes[key], count)
        elif key in self._waiting:
            self._waiting[key] += count
        elif key in self._of_turns:
            self._waiting[key] = count
            self._slots.prefer(key)
        elif key not in self._given_up:
            self._waiting[key] = count
            group.create_task(self._verify(key, submission))

    def add_turns(self, group: asyncio.TaskGroup, task: str, submissions: Iterable[Submission | None]) -> None:
        """Queue what an attempt had after its turns, behind all that attempts handed in."""
        for submission in submissions:
            if submission is not None:
                self.add_turn(group, task, submission)

    def add_turn(self, group: asyncio.TaskGroup, task: str, submission: Submission) -> None:
        """Queue one of these."""
        key = task, submission_digest(submission)
        if not any(key in known for known in (self._outcomes, self._waiting, self._of_turns, self._given_up)):
            self._of_turns.add(key)
            self._events(TurnQueued(task))
            group.create_task(self._verify(key, submission))

    def is_settled(self, task: str, submission: Submission) -> bool:
        """Whether it has its verdict, or will have none in this session."""
        key = task, submission_digest(submission)
        return key in self._outcomes or key in self._given_up

    @property
    def idle(self) -> bool:
        """Whether everything that attempts handed in is settled."""
        return not self._waiting

    @property
    def unverified(self) -> str:
        """What could not be verified and why, in a line with what to do; empty if all was."""
        if not self._given_up:
            return ""
        (task, _), cause = next(iter(self._given_up.items()))
        number = len(self._given_up)
        what = f"a submission for {task}" if number == 1 else f"{number:,} submissions, the first one for {task},"
        return (
            f"{what} could not be verified after {self._retries} retries: {cause}. Nothing recorded is lost; mend the "
            "cause and give the same command again"
        )

    async def works(self, task: str, submission: Submission) -> bool:
        """Whether the task's tests can be run now without this submission, for which they could not."""
        async with self._probing:  # and not in turn: the others wait for the answer
            if task in self._broken:
                return False
            probe = await self._executor.verify(VerifySpec(task, submission, probe=True))
        if probe.outcome is Outcome.INFRA_ERROR:
            self._broken[task] = probe.reason
            return False
        self._worked()
        return True

    async def _verify(self, key: _Key, submission: Submission) -> None:
        task, reason, failures = key[0], "", 0
        incidents: set[int] = set()  # several failures in one incident count once
        while len(incidents) <= self._retries:
            async with self._slots.hold(key, preferred=key in self._waiting):
                if task in self._broken:  # found while this one waited
                    break
                self._events(VerifyBegan(task))
                verdict = await self._executor.verify(VerifySpec(task, submission))
            self._events(VerifyEnded(task, verdict.outcome))
            self._store.record_verdict(task, submission, verdict)
            if verdict.outcome is not Outcome.INFRA_ERROR:
                self._worked()
                self._settle(key, verdict.outcome)
                return
            reason, failures = verdict.reason, failures + 1
            at_once = max(self._workers, self._at_once)
            try:
                incidents.add(self._breaker.failed(FAILED, reason, at_once)[0])
            except RunStopped:
                if not await self.works(task, submission) and (len(self._broken) > 1 or self._alone(task)):
                    raise
                incidents.add(-failures)  # one of its own
        if task in self._broken or not await self.works(task, submission):
            self._given_up[key] = reason or self._broken[task]
            self._waiting.pop(key, None)
            self._of_turns.discard(key)
            self._changed.fire()
            return
        why = f"could not be verified {failures} times of {failures}, while the task's tests run without it: {reason}"
        self._store.record_verdict(task, submission, Verdict(Outcome.UNRESOLVED, why, {}, 0.0))
        self._settle(key, Outcome.UNRESOLVED)

    def _alone(self, task: str) -> bool:
        """Whether no submission for another task waits, which might be verified."""
        return all(other == task for other, _ in (*self._waiting, *self._of_turns))

    def _worked(self) -> None:
        self._breaker.worked()
        self._broken.clear()

    def _settle(self, key: _Key, outcome: Outcome) -> None:
        self._outcomes[key] = outcome
        if key in self._of_turns:
            self._of_turns.remove(key)
            self._events(TurnVerdictReached(key[0], outcome))
        if key in self._waiting:
            self._reached(key[0], outcome, self._waiting.pop(key))

    def _reached(self, task: str, outcome: Outcome, count: int) -> None:
        self.resolved[task] += count if outcome is Outcome.RESOLVED else 0
        self._events(VerdictReached(task, outcome, count))
        self._changed.fire()
