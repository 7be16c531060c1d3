"""The pool of sandboxes: a back end in front of another one that opens quickly and does not overload the machine.

Each sandbox is opened within the memory budget and within the limit on concurrent starts. Up to `warm` sandboxes are
opened ahead, at the origins of the last opens and in their proportion, so that the next opens need not wait.

Guarantees: a sandbox that is handed out was alive a moment before; warm sandboxes are opened only while no caller waits
for a start, and are closed first when memory is short, and when their origin has not been in use for some seconds, as
that of an issue which is finished; a failure in the background is not reported, for the next `open`
makes its own start; each sandbox releases its memory once, when it is closed; a cancelled open leaves nothing; after
`close` no sandbox and no task is left.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, runtime_checkable

from envs.events import Sink, Status, ignore
from envs.memory_budget import MemoryBudget
from envs.sandbox import (
    Backend,
    FileProblem,
    Limits,
    Origin,
    Peeking,
    Sandbox,
    SandboxError,
    SandboxUnavailable,
    Snapshot,
)
from envs.start_limiter import StartLimiter

__all__ = ["Pool", "PreparingBackend"]

OPENS_REMEMBERED = 4  # for each warm sandbox
# An older warm sandbox is not handed out: its lifetime counts from its start, and too little of it would be left.
WARM_SECONDS = 600.0
SPARE_SECONDS = 10.0  # longer than the next attempt or verification of an issue takes to begin
ALIVE_SECONDS = 5.0


@runtime_checkable
class PreparingBackend(Protocol):
    """A back end with work to do once per origin, such as pulling an image, which does not count as a start."""

    async def prepare(self, origin: Origin) -> None:
        """Raises `SandboxUnavailable` or `SandboxLost`."""
        ...


@dataclass(frozen=True, slots=True)
class _Kind:
    """Origin and limits of unused sandboxes, which are interchangeable if their `key` is equal."""

    key: str
    origin: Origin = field(compare=False)
    limits: Limits = field(compare=False)


class Pool:
    """Wraps `backend`. Keeps at most `warm` sandboxes ready; `clock` counts seconds.

    The budget counts `Limits.memory_mb` of each sandbox until it is closed. Closing the pool closes the back end, but
    not the budget. Warm sandboxes are closed once no sandbox of their origin and limits has been open for
    `spare_seconds`. A `Status` tells that the pool waits for memory which other runs hold.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        budget: MemoryBudget,
        limiter: StartLimiter,
        warm: int = 0,
        spare_seconds: float = SPARE_SECONDS,
        events: Sink = ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.backend, self.budget = backend, budget
        self._limiter, self._warm, self._events, self._clock = limiter, warm, events, clock
        self._recent: deque[_Kind] = deque(maxlen=OPENS_REMEMBERED * warm)
        self._ready: defaultdict[_Kind, deque[_PooledSandbox]] = defaultdict(deque)
        self._making: Counter[_Kind] = Counter()
        self._spare_seconds = spare_seconds
        self._lent: Counter[_Kind] = Counter()  # handed out and not closed, or about to be handed out
        self._retiring: dict[_Kind, asyncio.TimerHandle] = {}  # kinds of which none is lent
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[_PooledSandbox] = set()  # all that have reserved memory, the warm ones too
        self._waiting = self._waiting_for_memory = 0  # opens that wait for a start, and for memory
        self._starting = 0  # starts that have reserved memory and are not complete
        self._closed = False

    @property
    def name(self) -> str:
        return self.backend.name

    @property
    def warning(self) -> str:
        """The back end's warning about its isolation; empty if there is none."""
        return str(getattr(self.backend, "warning", ""))

    @property
    def ready(self) -> int:
        """The number of warm sandboxes."""
        return sum(map(len, self._ready.values()))

    async def start(self) -> None:
        await self.backend.start()

    def check(self, origin: Origin) -> None:
        self.backend.check(origin)

    def describe(self) -> dict[str, str]:
        return self.backend.describe()

    async def open(self, origin: Origin, limits: Limits, *, label: str = "") -> Sandbox:
        self.check(origin)
        if not self._warm:
            return await self._open_cold(origin, limits, label)
        kind = _Kind(repr((origin, limits)), origin, limits)
        self._lend(kind)
        try:
            sandbox = await self._take_warm(kind) or await self._open_cold(origin, limits, label)
        except BaseException:
            self._give_back(kind)
            raise
        sandbox.on_close = partial(self._give_back, kind)
        self._recent.append(kind)
        self._refill()
        return sandbox

    async def _open_cold(self, origin: Origin, limits: Limits, label: str) -> _PooledSandbox:
        if isinstance(self.backend, PreparingBackend):
            await self.backend.prepare(origin)
        return await self._start(limits, lambda: self.backend.open(origin, limits, label=label))

    async def close(self) -> None:
        self._closed = True
        try:
            for timer in self._retiring.values():
                timer.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for sandbox in list(self._open):
                await sandbox.close()
        finally:
            await self.backend.close()

    # starts that a caller waits for

    async def _start(self, limits: Limits, begin: Callable[[], Awaitable[Sandbox]]) -> _PooledSandbox:
        self.budget.check(limits.memory_mb)
        self._waiting += 1
        try:
            while not self.budget.try_reserve(limits.memory_mb):
                warm = next((ready.popleft() for ready in self._ready.values() if ready), None)
                if warm is None:
                    await self._wait_for_memory(limits.memory_mb)
                    break
                await warm.close()
            return await self._start_reserved(limits, begin)
        finally:
            self._waiting -= 1

    async def _wait_for_memory(self, memory_mb: int) -> None:
        """Reserve memory once it is free; tell if this pool itself holds none."""
        held_elsewhere = not self._open and not self._starting
        if held_elsewhere:
            self._events(Status(f"waiting for {memory_mb} MB of memory: other runs on this machine hold it"))
        self._waiting_for_memory += 1
        try:
            await self.budget.reserve(memory_mb)
        finally:
            self._waiting_for_memory -= 1
            if held_elsewhere:
                self._events(Status(""))

    async def _start_reserved(self, limits: Limits, begin: Callable[[], Awaitable[Sandbox]]) -> _PooledSandbox:
        """Start a sandbox whose memory has been reserved."""
        self._starting += 1
        try:
            async with self._limiter:
                self._check_open()
                started = await begin()
        except BaseException:
            self.budget.release(limits.memory_mb)
            raise
        finally:
            self._starting -= 1
        sandbox = _PooledSandbox(self, started, limits, self._clock())
        self._open.add(sandbox)
        if self._closed:
            await sandbox.close()
            self._check_open()
        return sandbox

    def _check_open(self) -> None:
        if self._closed:
            raise SandboxUnavailable("no further sandbox is opened: the run ended")

    # warm sandboxes

    def _lend(self, kind: _Kind) -> None:
        self._lent[kind] += 1
        if timer := self._retiring.pop(kind, None):
            timer.cancel()

    def _give_back(self, kind: _Kind) -> None:
        self._lent[kind] -= 1
        if not self._lent[kind] and not self._closed:
            loop = asyncio.get_running_loop()
            self._retiring[kind] = loop.call_later(self._spare_seconds, self._retire, kind)

    def _retire(self, kind: _Kind) -> None:
        """Forget a kind that is not in use any more, and close what is warm of it."""
        del self._retiring[kind]
        self._recent = deque((each for each in self._recent if each != kind), self._recent.maxlen)
        for sandbox in self._ready.pop(kind, ()):
            self._spawn(sandbox.close())
        self._refill()

    async def _take_warm(self, kind: _Kind) -> _PooledSandbox | None:
        ready = self._ready[kind]
        while ready:
            sandbox, usable = ready.popleft(), False
            try:
                usable = self._clock() - sandbox.began < WARM_SECONDS and await sandbox.alive()
            finally:
                if not usable:
                    await sandbox.close()
            if usable:
                return sandbox
        return None

    def _refill(self) -> None:
        """Start the warm sandboxes that the next opens are likely to want, and close the others."""
        if self._closed or self._waiting:
            return
        wanted = self._wanted()
        for kind, ready in self._ready.items():
            while len(ready) > wanted[kind]:
                self._spawn(ready.popleft().close())
        for kind, count in wanted.items():
            for _ in range(count - len(self._ready[kind]) - self._making[kind]):
                self._spawn(self._make(kind), kind)

    def _wanted(self) -> Counter[_Kind]:
        """The number of warm sandboxes of each kind, in the proportion of the last opens."""
        wanted: Counter[_Kind] = Counter()
        for kind, count in Counter(self._recent).most_common():
            share = round(self._warm * count / len(self._recent))
            wanted[kind] = min(share, self._warm - wanted.total())
        return wanted

    def _spawn(self, work: Coroutine[object, object, None], kind: _Kind | None = None) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if kind:
            self._making[kind] += 1
            task.add_done_callback(lambda _: self._making.subtract((kind,)))

    async def _make(self, kind: _Kind) -> None:
        if not self.budget.try_reserve(kind.limits.memory_mb):
            return
        try:
            sandbox = await self._start_reserved(
                kind.limits, lambda: self.backend.open(kind.origin, kind.limits, label="made ahead")
            )
        except Exception:
            return  # the next open makes its own start and reports its own failure
        if self._waiting_for_memory or kind not in self._recent:
            await sandbox.close()
        else:
            self._ready[kind].append(sandbox)


def _nothing() -> None:
    pass


class _PooledSandbox:
    """A sandbox with its reserved memory."""

    def __init__(self, pool: Pool, sandbox: Sandbox, limits: Limits, began: float) -> None:
        self._pool, self._sandbox, self._limits, self.began = pool, sandbox, limits, began
        self._closed = False
        self.on_close: Callable[[], None] = _nothing
        self.run, self.read, self.write, self.diff = sandbox.run, sandbox.read, sandbox.write, sandbox.diff
        self.quiet = sandbox.quiet
        if isinstance(sandbox, Peeking):
            self.peek = sandbox.peek

    async def alive(self) -> bool:
        """Whether it answers a request that starts no process in it."""
        try:
            async with asyncio.timeout(ALIVE_SECONDS):
                await self._sandbox.read(".")
        except FileProblem:
            return True  # the answer to reading a folder
        except (SandboxError, TimeoutError):
            return False
        return True

    async def snapshot(self) -> Snapshot:
        return _PooledSnapshot(self._pool, await self._sandbox.snapshot(), self._limits)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.on_close()
        try:
            await self._sandbox.close()
        finally:
            self._pool._open.discard(self)
            self._pool.budget.release(self._limits.memory_mb)


class _PooledSnapshot:
    """A snapshot whose forks are opened by the pool."""

    def __init__(self, pool: Pool, snapshot: Snapshot, limits: Limits) -> None:
        self._pool, self._snapshot, self._limits = pool, snapshot, limits
        self.close = snapshot.close

    async def fork(self, *, label: str = "") -> Sandbox:
        return await self._pool._start(self._limits, lambda: self._snapshot.fork(label=label))
