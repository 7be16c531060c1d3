"""The sampler: brings a run to its number of attempts, each with a verdict.

    while the budget has room:  take the next slot of the strategy's scheduler
                                brief the attempt, let the executor make it, record it
                                queue it for verification
    an infra error:             keep it as evidence, fill the slot again, up to a cap
    a sandbox lost each time,
    while the task works:       the attempt ended it: it counts, so that no action of a model lowers n

Sampling and verifying overlap. Under a strategy that goes by verdicts a worker waits for its attempt's verdict before
it takes the next slot, so that the strategy is late by no more attempts than there are workers. When incidents of one
kind (see `CircuitBreaker`) follow one another with nothing that works between them, the run stops. Whatever ends a run
(done, Ctrl-C, a full disk, SIGKILL), all that was recorded stays, and the same command goes on from there.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from agent.agent import AttemptSpec
from agent.trajectory import Exit, Trajectory
from envs import SandboxUnavailable
from monkeys.events import AttemptBegan, AttemptEnded, Incident, Sink, ignore
from monkeys.executors import Executor
from monkeys.runner.budget import RunBudget
from monkeys.runner.circuit_breaker import CircuitBreaker, RunStopped
from monkeys.runner.signal import Signal
from monkeys.runner.task_group import task_group
from monkeys.runner.verify_queue import VerifyQueue
from monkeys.store import Store
from monkeys.strategies import Brief, PastAttempt, Plan, Scheduler, Slot, Strategy
from tasks.task import TaskSet

__all__ = ["Sampler", "SamplerOptions", "attempt_seed"]


def attempt_seed(run_seed: int, arm: str, task: str, index: int) -> int:
    """The seed of one attempt: 63 bits that depend on nothing else."""
    text = f"{run_seed}/{arm}/{task}/{index}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


@dataclass(frozen=True, slots=True)
class SamplerOptions:
    """How many attempts each task is to have, how many are made at once, how often a slot is filled again.

    `arm` names the configuration; `seed` is the run's, and `seeds` gives the attempts' own where they are known, as in
    a replay.
    """

    attempts: int
    workers: int
    retries: int = 3
    arm: str = ""
    seed: int = 0
    seeds: Callable[[str, int], int] | None = None

    def spec(self, task: str, index: int, brief: Brief | None = None) -> AttemptSpec:
        """Attempt `index` at the task, with its own seed."""
        seed = self.seeds(task, index) if self.seeds else attempt_seed(self.seed, self.arm, task, index)
        brief = brief or Brief()
        return AttemptSpec(task, index, seed, self.arm, brief.text, brief.parents)


class Sampler:
    """Makes the attempts that `store` lacks. `verify` is None for a run that is sampled only.

    Whatever has to do with the run as a whole is shared with the verify queue: the breaker, the signal, the events.
    """

    def __init__(
        self,
        store: Store,
        tasks: TaskSet,
        executor: Executor,
        strategy: Strategy,
        verify: VerifyQueue | None,
        options: SamplerOptions,
        *,
        budget: RunBudget,
        breaker: CircuitBreaker,
        changed: Signal,
        events: Sink = ignore,
    ) -> None:
        if strategy.goes_by_verdicts and verify is None:
            raise ValueError(f"strategy {strategy.name} goes by verdicts: give a verify queue")
        self._store, self._executor, self._strategy, self._verify = store, executor, strategy, verify
        self._tasks = {task.id: task for task in tasks.tasks}
        self._options, self._budget, self._breaker = options, budget, breaker
        self._changed, self._events = changed, events
        self._ended: dict[str, set[int]] = {task: set() for task in self._tasks}
        self._tries: Counter[Slot] = Counter()
        self._lost: Counter[Slot] = Counter()  # tries that lost their sandbox after the model had acted
        self._under_way = 0
        self.cause = ""
        """The last infra error of this session, with its cause."""

    async def run(self) -> None:
        """Sample and verify what is missing.

        Raises `RunStopped`, `StoreError`, `ModelRefused` or `Unsuited`. On cancellation what its agent has begun is
        recorded as cancelled, and the cancellation goes on.
        """
        for task, indices in self._store.sampled().items():
            self._ended[task] |= indices
        scheduler = self._strategy.scheduler(
            Plan(
                tasks=list(self._tasks),
                attempts=self._options.attempts,
                sampled={task: set(indices) for task, indices in self._ended.items()},
                resolved=lambda: [self._resolved(task) for task in self._tasks],
                ended=lambda task: self._ended[task],
                seed=self._options.seed,
            )
        )
        async with self._budget.timed(), task_group() as group:
            if self._verify:
                self._verify.recall()
                self._verify.resume(group)
            for _ in range(self._options.workers):
                group.create_task(self._work(group, scheduler))

    @property
    def missing(self) -> int:
        """How many attempts the run lacks of those that it is to have."""
        sampled = [len(self._ended[task]) for task in self._tasks]
        resolved = [self._resolved(task) for task in self._tasks]
        attempts = self._options.attempts
        return max(0, self._strategy.wanted(attempts, sampled, resolved) - self._strategy.done(attempts, sampled))

    def _resolved(self, task: str) -> int:
        return self._verify.resolved[task] if self._verify else 0

    async def _work(self, group: asyncio.TaskGroup, scheduler: Scheduler) -> None:
        if self._verify and self._strategy.goes_by_verdicts:
            await self._changed.until(lambda: self._verify is None or self._verify.idle)
        while await self._budget.room():
            slot = scheduler.next()
            if slot is None:
                if not self._under_way:
                    return  # nothing that is under way could make another
                await self._changed.next()
                continue
            self._under_way += 1
            try:
                goes_on = await self._attempt(group, scheduler, slot)
            finally:
                self._under_way -= 1
                self._changed.fire()
            if not goes_on:
                return

    async def _attempt(self, group: asyncio.TaskGroup, scheduler: Scheduler, slot: Slot) -> bool:
        """Make one attempt and record it. False if it was called off, and the worker with it."""
        account, trajectory = self._budget.account(), None
        self._events(AttemptBegan(*slot))
        try:
            spec = self._spec(*slot)
            trajectory = await self._executor.attempt(spec, account)
        except SandboxUnavailable as error:
            raise RunStopped(f"{error}; nothing recorded is lost") from None
        finally:
            self._budget.settle(account, trajectory)
        if await self._ended_its_sandbox(slot, spec, trajectory):
            trajectory = replace(trajectory, exit=Exit.SANDBOX_ENDED)
        self._store.record_attempt(spec, trajectory)
        counted = not trajectory.exit.infra
        self._events(
            AttemptEnded(
                *slot, trajectory.exit, len(trajectory.turns), trajectory.usage, trajectory.seconds, counted=counted
            )
        )
        if trajectory.exit is Exit.CANCELLED:
            return False
        if not counted:
            await self._refill(scheduler, slot, trajectory)
            return True
        self._ended[spec.task].add(spec.index)
        self._breaker.worked()
        if self._verify:
            self._verify.add(group, spec.task, trajectory.submission)
            self._verify.add_turns(group, spec.task, (turn.submission for turn in trajectory.turns))
            if self._strategy.goes_by_verdicts:
                await self._changed.until(partial(self._verify.is_settled, spec.task, trajectory.submission))
        return True

    def _spec(self, task: str, index: int) -> AttemptSpec:
        return self._options.spec(task, index, self._strategy.brief(self._tasks[task], index, self))

    def attempts(self, task: str) -> Sequence[PastAttempt]:
        """What a strategy may know of earlier attempts (see `monkeys.strategies.Earlier`)."""
        return [
            PastAttempt(row.index, row.exit, self._store.submission(row), partial(self._store.conversation, row))
            for row in self._store.attempts(task)
            if not row.exit.infra
        ]

    async def _ended_its_sandbox(self, slot: Slot, spec: AttemptSpec, trajectory: Trajectory) -> bool:
        """Whether the last try of a slot lost its sandbox by what it did there: every try did, and the task works."""
        if trajectory.exit is not Exit.SANDBOX_FAILED or not trajectory.turns or self._verify is None:
            return False
        self._lost[slot] += 1
        if self._lost[slot] <= self._options.retries:
            return False
        return await self._verify.works(spec.task, trajectory.submission)

    async def _refill(self, scheduler: Scheduler, slot: Slot, trajectory: Trajectory) -> None:
        """Put a slot back after an infra error, unless it failed too often.

        A try that came to no turn while nothing else worked either is not the slot's own failure and does not count:
        an outage must not use up the tries of the few slots that are left. A prompt that the server rejects while it
        takes others is no failure of the run's, and would be rejected again.
        """
        self.cause = f"{trajectory.exit}: {trajectory.detail or 'no cause was told'}"
        if trajectory.exit is Exit.PROMPT_REJECTED:
            self._events(Incident(trajectory.exit, trajectory.detail, 1))
            return
        try:
            _, in_a_row = self._breaker.failed(trajectory.exit, trajectory.detail, self._options.workers)
        except RunStopped:
            # Attempts that end their own sandboxes are no fault of the machine, however many there are.
            lost = trajectory.exit is Exit.SANDBOX_FAILED and bool(trajectory.turns)
            if not (lost and self._verify and await self._verify.works(slot[0], trajectory.submission)):
                raise
            in_a_row = 1
        self._events(Incident(trajectory.exit, trajectory.detail, in_a_row))
        if trajectory.turns or in_a_row == 1:
            self._tries[slot] += 1
        if self._tries[slot] <= self._options.retries:
            scheduler.again(slot)
