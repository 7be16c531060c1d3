"""A run of a few tasks in local sandboxes, for tests that drive a `Sampler` or a `VerifyQueue` without a command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.limits import AttemptLimits
from agent.models import Model
from envs import Limits
from envs.local.backend import LocalBackend
from envs.memory_budget import MemoryBudget
from envs.pool import Pool
from envs.start_limiter import StartLimiter
from monkeys.events import Progress, Sink
from monkeys.executors import ExecutorSetup, WorkerFacts
from monkeys.executors.here import Here
from monkeys.executors.worker import Worker
from monkeys.runner.budget import RunBudget, RunLimits
from monkeys.runner.sampler import Sampler, SamplerOptions
from monkeys.runner.session import open_session
from monkeys.spec import SessionOptions
from monkeys.store import Store
from monkeys.strategies import Strategy, make_strategy, strategy_config
from tasks import TaskSet
from tasks.suite import Verifier
from tests.helpers import tool_loop

__all__ = ["Sampling", "here", "open_sampling"]


@dataclass(frozen=True)
class _Made:
    """The recipe of a worker that a test has made."""

    worker: Worker

    @asynccontextmanager
    async def open(self, events: Sink) -> AsyncIterator[tuple[Worker, WorkerFacts]]:
        yield self.worker, WorkerFacts()


def here(
    tasks: TaskSet,
    *,
    model: Model | None = None,
    verifier: Verifier | None = None,
    pool: Pool | None = None,
) -> Here:
    """The executor `here`, not yet started: its agent is the tool loop with `model`."""
    worker = Worker(
        tasks={task.id: task for task in tasks.tasks},
        agent=tool_loop(model) if model else None,
        model=model,
        verifier=verifier,
        backend=pool,
        limits=Limits(memory_mb=512) if pool else None,
    )
    return Here(ExecutorSetup(_Made(worker), workers=1))


@dataclass(frozen=True)
class Sampling:
    """A sampler, the run that it fills, and the progress of that."""

    sampler: Sampler
    store: Store
    progress: Progress


@asynccontextmanager
async def open_sampling(
    folder: Path,
    tasks: TaskSet,
    model: Model,
    *,
    attempts: int,
    workers: int,
    retries: int = 3,
    strategy: Strategy | None = None,
    verifier: Verifier | None = None,
) -> AsyncIterator[Sampling]:
    """A session of the run in `folder`, as the main job has it; nothing is verified without a verifier."""
    strategy = strategy or make_strategy("independent")
    progress = Progress(wanted=strategy.wanted, done_of=strategy.done)
    budget = MemoryBudget(20_000, key="test", folder=folder.parent / "memory")
    pool = Pool(LocalBackend(), budget=budget, limiter=StartLimiter(8))
    try:
        executor = here(tasks, model=model, verifier=verifier, pool=pool)
        async with open_session(executor, progress.take) as session:
            options = SessionOptions(runs=folder.parent, run=folder.name)
            store = session.open_store(options, "", {"strategy": strategy_config(strategy)}, tasks)
            session.tell_began("", tasks, attempts, [], [])
            queue = session.verify_queue(at_once=2, retries=retries, workers=workers) if verifier else None
            sampler = Sampler(
                store,
                tasks,
                session.executor,
                strategy,
                queue,
                SamplerOptions(attempts, workers, retries, arm="test"),
                budget=RunBudget(RunLimits(), AttemptLimits(), events=session.events),
                breaker=session.breaker,
                changed=session.changed,
                events=session.events,
            )
            yield Sampling(sampler, store, progress)
    finally:
        await pool.close()
        budget.close()
