"""An executor of one's own: one attempt at a time, in this process, for a model that serves one request at a time."""

from __future__ import annotations

import asyncio

from agent.agent import AttemptSpec
from agent.trajectory import Trajectory
from monkeys.executors import Account, ExecutorSetup
from monkeys.executors.here import Here


class OneAtATime(Here):
    def __init__(self, setup: ExecutorSetup) -> None:
        super().__init__(setup)
        self._turn = asyncio.Semaphore(1)

    async def attempt(self, spec: AttemptSpec, account: Account) -> Trajectory:
        async with self._turn:
            return await super().attempt(spec, account)
