"""How many starts may be under way at once: few at first, more while that goes well, fewer when it does not.

The rule is the one by which networks avoid congestion. `limit` begins low. After as many starts as it allows that
were quick while others waited for their turn, it grows by one. A start that failed, or took more than `SLOW` times the
quickest of the last `REMEMBERED` and `SLACK_SECONDS` besides, halves it. What was under way when it was halved cannot
halve it again: it tells of the same moment. After a failure nothing starts for a while, from `FIRST_PAUSE_SECONDS`,
twice as long after each further one, up to `LONGEST_PAUSE_SECONDS`, give or take a half so that several runners do not
come back in step.

Guarantees: never more starts than the ceiling, always room for one, first come, first served, and a start that is
cancelled, or refused for good (`SandboxUnavailable`), says nothing about the load.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType

from envs.sandbox import SandboxUnavailable

__all__ = ["StartLimiter"]

SLOW = 3.0
SLACK_SECONDS = 0.1  # starts of a few milliseconds differ by more than their own length on a busy machine
REMEMBERED = 50
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0


class StartLimiter:
    """`async with gate:` around a start; a task is in it once at a time. `begin` is the first limit."""

    def __init__(
        self,
        ceiling: int,
        *,
        begin: int = 2,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        if ceiling < 1:
            raise ValueError(f"a gate must let one start through, so its ceiling cannot be {ceiling}")
        self.ceiling = ceiling
        self.limit = max(1, min(begin, ceiling))  # how many starts may be under way now
        self.starting = 0  # how many are
        self._quick = 0  # since the limit changed
        self._clock, self._sleep, self._jitter = clock, sleep, jitter
        self._turn = asyncio.Lock()  # whoever holds it is at the head of the queue
        self._left = asyncio.Event()
        self._began: dict[asyncio.Task[object] | None, float] = {}
        self._lately: deque[float] = deque(maxlen=REMEMBERED)  # seconds of the last starts
        self._halved = self._failed = -1.0  # when; what began earlier tells nothing new
        self._failures = 0  # in a row, counted in rounds as `_halved` is
        self._shut_until = 0.0

    async def __aenter__(self) -> StartLimiter:
        async with self._turn:
            while True:
                if (pause := self._shut_until - self._clock()) > 0:
                    await self._sleep(pause)
                elif self.starting >= self.limit:
                    self._left.clear()
                    await self._left.wait()
                else:
                    break
            self.starting += 1
        self._began[asyncio.current_task()] = self._clock()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        began, now = self._began.pop(asyncio.current_task()), self._clock()
        if error is None:
            self._went_well(began, now)
        elif isinstance(error, Exception) and not isinstance(error, SandboxUnavailable):
            self._went_wrong(began, now)
        self.starting -= 1
        self._left.set()

    def _went_well(self, began: float, now: float) -> None:
        seconds = now - began
        usual = min(self._lately, default=seconds)
        self._lately.append(seconds)
        self._failures = 0
        if seconds > SLOW * usual + SLACK_SECONDS:
            self._halve(began, now)
        elif self._turn.locked():
            self._quick += 1
            if self._quick >= self.limit:
                self.limit, self._quick = min(self.ceiling, self.limit + 1), 0

    def _went_wrong(self, began: float, now: float) -> None:
        self._halve(began, now)
        if began >= self._failed:
            self._failed = now
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._failures, 16))
            self._failures += 1
            self._shut_until = now + pause * (0.5 + self._jitter())

    def _halve(self, began: float, now: float) -> None:
        if began >= self._halved:
            self._halved = now
            self.limit, self._quick = max(1, self.limit // 2), 0
