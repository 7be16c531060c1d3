"""The limit on concurrent starts of sandboxes: low at first, higher while starts are quick, lower when they are not.

The rule is that of congestion control in networks (additive increase, multiplicative decrease). `limit` begins low. It
grows by one after as many quick starts as it allows, if other starts were waiting meanwhile. It is halved by a start
that failed, or that took longer than `SLOW` times the quickest of the last `REMEMBERED` starts plus `SLACK_SECONDS`.
Starts that were in progress when it was halved cannot halve it again, for they show the same overload. After a failure
no start begins for a pause: `FIRST_PAUSE_SECONDS` at first, doubled by each further failure up to
`LONGEST_PAUSE_SECONDS`, with a random factor between 0.5 and 1.5 so that several runners do not continue at the same
moment.

Guarantees: never more concurrent starts than the ceiling; always at least one allowed; first come, first served. A
start that is cancelled, or that is refused for good (`SandboxUnavailable`), does not change the limit.
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
    """Use `async with limiter:` around a start; a task may be in it once at a time. `begin` is the first limit."""

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
            raise ValueError(f"the ceiling of concurrent starts must be at least 1, not {ceiling}")
        self.ceiling = ceiling
        self.limit = max(1, min(begin, ceiling))  # concurrent starts allowed now
        self.starting = 0  # concurrent starts now
        self._quick = 0  # quick starts since the limit changed
        self._clock, self._sleep, self._jitter = clock, sleep, jitter
        self._turn = asyncio.Lock()  # held by the first in the queue
        self._ended = asyncio.Event()
        self._began: dict[asyncio.Task[object] | None, float] = {}
        self._durations: deque[float] = deque(maxlen=REMEMBERED)  # seconds of the last starts
        self._halved = self._failed = -1.0  # times; starts that began earlier do not count again
        self._failures = 0  # consecutive failures, those of one moment counted once
        self._paused_until = 0.0

    async def __aenter__(self) -> StartLimiter:
        async with self._turn:
            while True:
                if (pause := self._paused_until - self._clock()) > 0:
                    await self._sleep(pause)
                elif self.starting >= self.limit:
                    self._ended.clear()
                    await self._ended.wait()
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
            self._succeeded(began, now)
        elif isinstance(error, Exception) and not isinstance(error, SandboxUnavailable):
            self._failed_at(began, now)
        self.starting -= 1
        self._ended.set()

    def _succeeded(self, began: float, now: float) -> None:
        seconds = now - began
        quickest = min(self._durations, default=seconds)
        self._durations.append(seconds)
        self._failures = 0
        if seconds > SLOW * quickest + SLACK_SECONDS:
            self._halve(began, now)
        elif self._turn.locked():
            self._quick += 1
            if self._quick >= self.limit:
                self.limit, self._quick = min(self.ceiling, self.limit + 1), 0

    def _failed_at(self, began: float, now: float) -> None:
        self._halve(began, now)
        if began >= self._failed:
            self._failed = now
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._failures, 16))
            self._failures += 1
            self._paused_until = now + pause * (0.5 + self._jitter())

    def _halve(self, began: float, now: float) -> None:
        if began >= self._halved:
            self._halved = now
            self.limit, self._quick = max(1, self.limit // 2), 0
