"""A back end in front of another one: it sees to it that opening is quick and that the machine is not asked too much.

Each sandbox is opened within the memory budget and through the gate for starts. Up to
`warm` are opened ahead, of the origins that the last opens asked for and in their
proportion, so that the next ones need not wait for a start.

Guarantees: what is handed out was alive a moment before; warm sandboxes are made only
while nobody waits for a start, and are given up first when memory is short; what goes
wrong in the background is seen by nobody, for the next `open` makes its own start; every
sandbox gives its memory back once, when it is closed; an opening that is cancelled leaves
nothing; after `close` no sandbox and no task is left.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from envs.memory_budget import MemoryBudget
from envs.sandbox import Backend, FileProblem, Limits, Origin, Sandbox, SandboxError, SandboxUnavailable, Snapshot
from envs.start_limiter import StartLimiter

__all__ = ["Pool", "Prepares"]

OPENS_REMEMBERED = 4  # for each warm sandbox
# One that waited longer is not handed out: its lifetime, which counts from its start, belongs to whoever gets it.
WARM_SECONDS = 600.0
ALIVE_SECONDS = 5.0


@runtime_checkable
class Prepares(Protocol):
    """A back end with work to do once per origin, such as pulling an image, which is no part of a start."""

    async def prepare(self, origin: Origin) -> None:
        """Raises `SandboxUnavailable` or `SandboxLost`."""
        ...


@dataclass(frozen=True, slots=True)
class _Kind:
    """Sandboxes of one kind can stand in for one another as long as nobody has used them."""

    key: str
    origin: Origin = field(compare=False)
    limits: Limits = field(compare=False)


class Pool:
    """Wraps `backend`. At most `warm` sandboxes are kept ready in all; `clock` counts seconds.

    The budget counts `Limits.memory_mb` once for each sandbox that is not closed yet. The pool closes the back end
    with itself, but not the budget.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        budget: MemoryBudget,
        gate: StartLimiter,
        warm: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.backend, self.budget = backend, budget
        self._gate, self._warm, self._clock = gate, warm, clock
        self._lately: deque[_Kind] = deque(maxlen=OPENS_REMEMBERED * warm)
        self._ready: defaultdict[_Kind, deque[_Leased]] = defaultdict(deque)
        self._making: Counter[_Kind] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._leased: set[_Leased] = set()  # all that hold a part of the budget, the warm ones too
        self._starts = self._short = 0  # opens that wait for a start, and for memory
        self._beginning = 0  # starts that have their memory and are not leased yet
        self._closed = False
        self.progress: Callable[[str], None] = lambda text: None  # told what it waits for; nothing once that is over

    @property
    def name(self) -> str:
        return self.backend.name

    @property
    def warning(self) -> str:
        """What the back end has to say about its isolation; empty if nothing."""
        return str(getattr(self.backend, "warning", ""))

    @property
    def ready(self) -> int:
        """How many warm sandboxes there are."""
        return sum(map(len, self._ready.values()))

    async def start(self) -> None:
        await self.backend.start()

    def check(self, origin: Origin) -> None:
        self.backend.check(origin)

    def describe(self) -> dict[str, str]:
        return self.backend.describe()

    async def open(self, origin: Origin, limits: Limits, *, label: str = "") -> Sandbox:
        self.check(origin)
        kind = _Kind(repr((origin, limits)), origin, limits) if self._warm else None
        leased = await self._take(kind) if kind else None
        if leased is None:
            if isinstance(self.backend, Prepares):
                await self.backend.prepare(origin)
            leased = await self._start(limits, lambda: self.backend.open(origin, limits, label=label))
        if kind:
            self._lately.append(kind)
            self._look_ahead()
        return leased

    async def close(self) -> None:
        self._closed = True
        try:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for leased in list(self._leased):
                await leased.close()
        finally:
            await self.backend.close()

    # starts that somebody waits for

    async def _start(self, limits: Limits, begin: Callable[[], Awaitable[Sandbox]]) -> _Leased:
        self.budget.check(limits.memory_mb)
        self._starts += 1
        try:
            while not self.budget.try_reserve(limits.memory_mb):
                spare = next((ready.popleft() for ready in self._ready.values() if ready), None)
                if spare is None:
                    await self._spared(limits.memory_mb)
                    break
                await spare.close()
            return await self._lease(limits, begin)
        finally:
            self._starts -= 1

    async def _spared(self, memory_mb: int) -> None:
        """Wait until so much memory is free; a person is told if it is not this pool that has it."""
        elsewhere = not self._leased and not self._beginning
        if elsewhere:
            self.progress(f"waiting for {memory_mb} MB of memory: other runs on this machine hold it")
        self._short += 1
        try:
            await self.budget.reserve(memory_mb)
        finally:
            self._short -= 1
            if elsewhere:
                self.progress("")

    async def _lease(self, limits: Limits, begin: Callable[[], Awaitable[Sandbox]]) -> _Leased:
        """Start one whose memory has been reserved."""
        self._beginning += 1
        try:
            async with self._gate:
                self._check_open()
                sandbox = await begin()
        except BaseException:
            self.budget.release(limits.memory_mb)
            raise
        finally:
            self._beginning -= 1
        leased = _Leased(self, sandbox, limits, self._clock())
        self._leased.add(leased)
        if self._closed:
            await leased.close()
            self._check_open()
        return leased

    def _check_open(self) -> None:
        if self._closed:
            raise SandboxUnavailable("no sandbox is opened any more: the run ended")

    # warm ones

    async def _take(self, kind: _Kind) -> _Leased | None:
        ready = self._ready[kind]
        while ready:
            leased, fit = ready.popleft(), False
            try:
                fit = self._clock() - leased.began < WARM_SECONDS and await leased.alive()
            finally:
                if not fit:
                    await leased.close()
            if fit:
                return leased
        return None

    def _look_ahead(self) -> None:
        """Begin what the next opens will want, and let go of what they will not."""
        if self._closed or self._starts:
            return
        wanted = self._wanted()
        for kind, ready in self._ready.items():
            while len(ready) > wanted[kind]:
                self._spawn(ready.popleft().close())
        for kind, count in wanted.items():
            for _ in range(count - len(self._ready[kind]) - self._making[kind]):
                self._spawn(self._make(kind), kind)

    def _wanted(self) -> Counter[_Kind]:
        """The next opens will be as the last ones were."""
        wanted: Counter[_Kind] = Counter()
        for kind, count in Counter(self._lately).most_common():
            share = round(self._warm * count / len(self._lately))
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
            leased = await self._lease(
                kind.limits, lambda: self.backend.open(kind.origin, kind.limits, label="made ahead")
            )
        except Exception:
            return  # the next open makes its own start, and meets for itself what is wrong
        if self._short:
            await leased.close()
        else:
            self._ready[kind].append(leased)


class _Leased:
    """A sandbox and its part of the budget."""

    def __init__(self, pool: Pool, sandbox: Sandbox, limits: Limits, began: float) -> None:
        self._pool, self._sandbox, self._limits, self.began = pool, sandbox, limits, began
        self._closed = False
        self.run, self.read, self.write, self.diff = sandbox.run, sandbox.read, sandbox.write, sandbox.diff

    async def alive(self) -> bool:
        """Whether it answers. It is asked for something that starts no process in it."""
        try:
            async with asyncio.timeout(ALIVE_SECONDS):
                await self._sandbox.read(".")
        except FileProblem:
            return True  # a folder is no file, as the sandbox says itself
        except (SandboxError, TimeoutError):
            return False
        return True

    async def snapshot(self) -> Snapshot:
        return _Kept(self._pool, await self._sandbox.snapshot(), self._limits)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._sandbox.close()
        finally:
            self._pool._leased.discard(self)
            self._pool.budget.release(self._limits.memory_mb)


class _Kept:
    """A snapshot whose forks go through the pool as well."""

    def __init__(self, pool: Pool, snapshot: Snapshot, limits: Limits) -> None:
        self._pool, self._snapshot, self._limits = pool, snapshot, limits
        self.close = snapshot.close

    async def fork(self, *, label: str = "") -> Sandbox:
        return await self._pool._start(self._limits, lambda: self._snapshot.fork(label=label))
