"""The executor `here`: everything in the driver's own process and event loop. The default."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from agent.agent import AttemptSpec
from agent.trajectory import Trajectory
from monkeys.executors.executor import Account, ExecutorSetup, VerifySpec, WorkerFacts
from tasks.task import Verdict

__all__ = ["Here"]


class Here:
    """One worker, in this process: `worker`, once it has started."""

    def __init__(self, setup: ExecutorSetup) -> None:
        self._setup = setup
        self._open = AsyncExitStack()

    async def start(self) -> WorkerFacts:
        self.worker, facts = await self._open.enter_async_context(self._setup.worker.open(self._setup.events))
        return facts

    async def check(self) -> None:
        await self.worker.check()

    async def attempt(self, spec: AttemptSpec, account: Account) -> Trajectory:
        scope = self.worker.scope(spec, account.paid)
        account.on_close(lambda at_once: scope.close(at_once=at_once))
        trajectory = await self.worker.attempt(scope)
        if (task := asyncio.current_task()) and task.cancelling():
            task.cancel()  # the attempt took the cancellation to salvage what there is; it goes on now
        return trajectory

    async def verify(self, spec: VerifySpec) -> Verdict:
        return await self.worker.verify(spec.task, spec.submission, probe=spec.probe)

    async def close(self) -> None:
        await self._open.aclose()
