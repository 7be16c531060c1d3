"""The pool in front of real local sandboxes, and of a fake back end whose starts end when the test allows it."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envs import Command, Completed, FileProblem, Limits, Origin, Sandbox, SandboxLost, SandboxUnavailable, Snapshot
from envs.events import Event, Status
from envs.local.backend import LocalBackend
from envs.memory_budget import MemoryBudget
from envs.pool import WARM_SECONDS, Pool
from envs.start_limiter import StartLimiter
from tests.helpers import git_repository

A, B, C = (Origin(name, repository=Path("/") / name, env={"NAME": name}) for name in "abc")
LIMITS = Limits(memory_mb=100)
LARGER = Limits(memory_mb=512)


@dataclass(eq=False)
class FakeSandbox:
    """A sandbox of `FakeBackend`."""

    backend: FakeBackend
    origin: Origin
    label: str
    alive: bool = True

    async def run(self, command: Command) -> Completed:
        return Completed(0, self.label.encode(), 0, False, 0.0)

    async def read(self, path: str) -> bytes:
        if not self.alive:
            raise SandboxLost("it died")
        raise FileProblem(f"{path} is a folder")

    async def write(self, path: str, data: bytes) -> None: ...

    async def diff(self) -> bytes:
        return b""

    async def quiet(self) -> None: ...

    async def snapshot(self) -> Snapshot:
        return FakeSnapshot(self)

    async def close(self) -> None:
        self.backend.open_sandboxes.discard(self)


@dataclass
class FakeSnapshot:
    sandbox: FakeSandbox

    async def fork(self, *, label: str = "") -> Sandbox:
        return await self.sandbox.backend.open(self.sandbox.origin, LIMITS, label=label)

    async def close(self) -> None: ...


@dataclass
class FakeBackend:
    """A back end in memory; a start takes until `ready` is set, and fails with `error` if there is one."""

    name: str = "fake"
    error: Exception | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    open_sandboxes: set[FakeSandbox] = field(default_factory=set)
    opened: list[str] = field(default_factory=list)  # labels, in the order of the starts
    closed: bool = False

    def __post_init__(self) -> None:
        self.ready.set()

    async def start(self) -> None: ...

    def check(self, origin: Origin) -> None: ...

    async def open(self, origin: Origin, limits: Limits, *, label: str = "") -> Sandbox:
        self.opened.append(label)
        await self.ready.wait()
        if self.error:
            raise self.error
        sandbox = FakeSandbox(self, origin, label)
        self.open_sandboxes.add(sandbox)
        return sandbox

    def describe(self) -> dict[str, str]:
        return {"isolation": "in memory"}

    async def close(self) -> None:
        self.closed = True

    @property
    def made_ahead(self) -> list[str]:
        """The commits of the warm ones that live."""
        return sorted(sandbox.origin.commit for sandbox in self.open_sandboxes if sandbox.label == "made ahead")


@asynccontextmanager
async def pooled(folder: Path, backend: Any, *, total: int = 10_000, **how: Any) -> AsyncIterator[Pool]:
    """A pool that must leave neither tasks nor reservations nor sandboxes."""
    before = asyncio.all_tasks()
    budget = MemoryBudget(total, key="here", folder=folder)
    pool = Pool(backend, budget=budget, **{"limiter": StartLimiter(8, begin=8), **how})
    try:
        yield pool
    finally:
        await pool.close()
        assert asyncio.all_tasks() == before
        assert budget.reserved == 0
        if isinstance(backend, FakeBackend):
            assert backend.closed
            assert not backend.open_sandboxes
        budget.close()


def hasty(ceiling: int) -> StartLimiter:
    """A limiter whose pauses are over at once."""
    moments = itertools.count(0, 100)
    return StartLimiter(ceiling, begin=ceiling, clock=lambda: float(next(moments)), sleep=lambda _: asyncio.sleep(0))


async def quiet() -> None:
    """Let everything happen that can happen at once."""
    for _ in range(60):
        await asyncio.sleep(0)


def play(story: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await story()

    asyncio.run(main())


async def said(sandbox: Sandbox) -> str:
    """The label under which it was started."""
    return (await sandbox.run(Command("true"))).output.decode()


# warm ones


def test_after_the_first_open_the_next_ones_need_not_wait_for_a_start(tmp_path: Path) -> None:
    async def story() -> None:
        backend = FakeBackend()
        async with pooled(tmp_path, backend, warm=2) as pool:
            assert await said(await pool.open(A, LIMITS, label="first")) == "first"
            await quiet()
            assert pool.ready == 2
            backend.ready.clear()  # no start ends from here on
            for _ in range(2):
                assert await said(await pool.open(A, LIMITS, label="next")) == "made ahead"
            assert pool.ready == 0
            backend.ready.set()
            await quiet()
            assert pool.ready == 2

    play(story)


def test_without_warm_ones_nothing_is_started_ahead(tmp_path: Path) -> None:
    async def story() -> None:
        backend = FakeBackend()
        async with pooled(tmp_path, backend) as pool:
            for _ in range(3):
                await pool.open(A, LIMITS, label="asked for")
                await quiet()
            assert backend.opened == ["asked for"] * 3

    play(story)


def test_only_what_is_alike_is_handed_out(tmp_path: Path) -> None:
    async def story() -> None:
        backend = FakeBackend()
        async with pooled(tmp_path, backend, warm=1) as pool:
            await pool.open(A, LIMITS)
            await quiet()
            others = (B, LIMITS), (A, Limits(memory_mb=101)), (Origin("a", repository=A.repository), LIMITS)
            for origin, limits in others:
                assert await said(await pool.open(origin, limits, label="its own")) == "its own"

    play(story)


def test_warm_ones_follow_what_is_in_demand_and_those_that_nobody_asks_for_go(tmp_path: Path) -> None:
    async def story() -> None:
        backend = FakeBackend()
        async with pooled(tmp_path, backend, warm=2) as pool:
            for _ in range(8):
                await (await pool.open(A, LIMITS)).close()
                await quiet()
            assert backend.made_ahead == ["a", "a"]
            await (await pool.open(B, LIMITS)).close()  # as a verifier does now and then
            await quiet()
            assert backend.made_ahead == ["a", "a"]
            for _ in range(4):
                for origin in (A, B):
                    await (await pool.open(origin, LIMITS)).close()
                    await quiet()
            assert backend.made_ahead == ["a", "b"]
            for _ in range(8):
                await (await pool.open(C, LIMITS)).close()
                await quiet()
            assert backend.made_ahead == ["c", "c"]

    play(story)


def test_warm_ones_of_an_origin_that_is_not_in_use_any_more_give_their_memory_back(tmp_path: Path) -> None:
    async def story() -> None:
        backend = FakeBackend()
        async with pooled(tmp_path, backend, warm=4, spare_seconds=0.01) as pool:
            first, second = await pool.open(A, LIMITS), await pool.open(A, LIMITS)
            other = await pool.open(B, LIMITS)
            await quiet()
            assert set(backend.made_ahead) == {"a", "b"}
            await first.close()
            await asyncio.sleep(0.05)
            assert set(backend.made_ahead) == {"a", "b"}, "one is still in use"
            await second.close()
            async with asyncio.timeout(10):
                while "a" in backend.made_ahead:
                    await asyncio.sleep(0.01)
            await quiet()
            assert backend.made_ahead == ["b"] * 4  # what is in use has all of them
            await other.close()
            async with asyncio.timeout(10):
                while pool.budget.reserved:
                    await asyncio.sleep(0.01)
            assert await said(await pool.open(A, LIMITS, label="anew")) == "anew"

    play(story)


def test_warm_ones_stay_while_one_open_follows_another(tmp_path: Path) -> None:
    async def story() -> None:
        backend = FakeBackend()
        async with pooled(tmp_path, backend, warm=1, spare_seconds=600.0) as pool:
            for _ in range(5):
                await (await pool.open(A, LIMITS)).close()
                await quiet()
                assert backend.made_ahead == ["a"]
            backend.error = SandboxLost("the daemon is away")
            for sandbox in backend.open_sandboxes:
                sandbox.alive = False
            with pytest.raises(SandboxLost):
                await pool.open(A, LIMITS)

    play(story)


def test_none_is_made_ahead_while_somebody_waits_for_a_start(tmp_path: Path) -> None:
    async def story() -> None:
        backend = FakeBackend()
        async with pooled(tmp_path, backend, warm=2, limiter=StartLimiter(1)) as pool:
            await asyncio.gather(*(pool.open(A, LIMITS, label="asked for") for _ in range(5)))
            await quiet()
            assert backend.opened == ["asked for"] * 5 + ["made ahead"] * 2

    play(story)


def test_a_dead_one_is_not_handed_out(tmp_path: Path) -> None:
    async def story() -> None:
        backend = FakeBackend()
        async with pooled(tmp_path, backend, warm=3) as pool:
            await pool.open(A, LIMITS)
            await quiet()
            for sandbox in backend.open_sandboxes:
                sandbox.alive = False
            assert await said(await pool.open(A, LIMITS, label="fresh")) == "fresh"

    play(story)


def test_one_that_waited_too_long_is_not_handed_out(tmp_path: Path) -> None:
    async def story() -> None:
        now = 0.0
        async with pooled(tmp_path, FakeBackend(), warm=1, clock=lambda: now) as pool:
            await pool.open(A, LIMITS)
            await quiet()
            now = WARM_SECONDS + 1
            assert await said(await pool.open(A, LIMITS, label="fresh")) == "fresh"

    play(story)


def test_what_goes_wrong_in_the_background_is_left_to_the_next_open(tmp_path: Path) -> None:
    async def story() -> None:
        backend = FakeBackend()
        async with pooled(tmp_path, backend, warm=2, limiter=hasty(8)) as pool:
            await (await pool.open(A, LIMITS)).close()
            backend.error = SandboxLost("the daemon is away")
            await quiet()
            assert pool.ready == 0
            assert pool.budget.reserved == 0
            with pytest.raises(SandboxLost, match="daemon is away"):
                await pool.open(A, LIMITS)

    play(story)


# memory


def test_an_open_waits_for_memory_and_gets_it_when_another_is_closed(tmp_path: Path) -> None:
    async def story() -> None:
        async with pooled(tmp_path, FakeBackend(), total=250) as pool:
            first, _ = await pool.open(A, LIMITS), await pool.open(A, LIMITS)
            third = asyncio.create_task(pool.open(A, LIMITS))
            await quiet()
            assert not third.done()
            await first.close()
            await first.close()
            await third
            assert pool.budget.reserved == 200, "closing twice frees once"

    play(story)


def test_a_pool_that_waits_for_memory_which_others_hold_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        other, said = MemoryBudget(250, key="here", folder=tmp_path), list[Event]()
        assert other.try_reserve(200)
        async with pooled(tmp_path, FakeBackend(), total=250, events=said.append) as pool:
            waiting = asyncio.create_task(pool.open(A, LIMITS))
            await quiet()
            assert said == [Status("waiting for 100 MB of memory: other runs on this machine hold it")]
            other.release(200)
            await waiting
            assert said[1:] == [Status("")]
        other.close()

    play(story)


def test_a_pool_that_waits_for_memory_which_its_own_starts_hold_says_nothing_of_others(tmp_path: Path) -> None:
    async def story() -> None:
        backend, said = FakeBackend(), list[Event]()
        backend.ready.clear()
        async with pooled(tmp_path, backend, total=100, events=said.append) as pool:
            opens = [asyncio.create_task(pool.open(A, LIMITS)) for _ in range(2)]
            await quiet()
            backend.ready.set()
            await (await opens[0]).close()
            await opens[1]
            assert said == []

    play(story)


def test_warm_ones_are_given_up_for_one_that_somebody_asks_for(tmp_path: Path) -> None:
    async def story() -> None:
        backend = FakeBackend()
        async with pooled(tmp_path, backend, warm=2, total=300) as pool:
            await pool.open(A, LIMITS)
            await quiet()
            assert pool.ready == 2
            await pool.open(B, Limits(memory_mb=200), label="large")
            await quiet()
            assert pool.budget.reserved == 300
            assert pool.ready == 0

    play(story)


def test_one_in_the_making_is_given_up_for_one_that_somebody_asks_for(tmp_path: Path) -> None:
    async def story() -> None:
        backend = FakeBackend()
        async with pooled(tmp_path, backend, warm=1, total=200) as pool:
            await pool.open(A, LIMITS)
            backend.ready.clear()
            await quiet()
            assert pool.budget.reserved == 200
            waiting = asyncio.create_task(pool.open(B, LIMITS, label="asked for"))
            await quiet()
            backend.ready.set()
            assert await said(await waiting) == "asked for"

    play(story)


def test_a_sandbox_larger_than_the_machine_is_refused_and_costs_no_warm_one(tmp_path: Path) -> None:
    async def story() -> None:
        async with pooled(tmp_path, FakeBackend(), warm=1, total=200) as pool:
            await pool.open(A, LIMITS)
            await quiet()
            with pytest.raises(SandboxUnavailable, match="--memory-mb"):
                await pool.open(A, Limits(memory_mb=201))
            assert pool.ready == 1

    play(story)


def test_forks_go_through_the_budget_and_the_limiter_too(tmp_path: Path) -> None:
    async def story() -> None:
        backend, limiter = FakeBackend(), StartLimiter(1)
        async with pooled(tmp_path, backend, total=200, limiter=limiter) as pool:
            first = await pool.open(A, LIMITS)
            snapshot = await first.snapshot()
            backend.ready.clear()
            forking = asyncio.create_task(snapshot.fork(label="fork"))
            await quiet()
            assert (limiter.starting, pool.budget.reserved) == (1, 200)
            backend.ready.set()
            fork = await forking
            assert await said(fork) == "fork"
            another = asyncio.create_task(snapshot.fork())
            await quiet()
            assert not another.done()
            await fork.close()
            await (await another).close()
            await snapshot.close()

    play(story)


# what goes wrong


def test_a_failed_open_gives_its_memory_back(tmp_path: Path) -> None:
    async def story() -> None:
        async with pooled(tmp_path, FakeBackend(error=SandboxUnavailable("no such image")), warm=2) as pool:
            with pytest.raises(SandboxUnavailable):
                await pool.open(A, LIMITS)
            assert pool.budget.reserved == 0

    play(story)


def test_an_open_that_is_cancelled_at_any_point_leaves_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        backend = FakeBackend()
        async with pooled(tmp_path, backend, total=300, limiter=StartLimiter(1)) as pool:
            backend.ready.clear()
            tasks = [asyncio.create_task(pool.open(A, LIMITS)) for _ in range(5)]
            await quiet()  # one starts, two wait for the limiter, two for memory
            assert (len(backend.opened), pool.budget.reserved) == (1, 300)
            for task in reversed(tasks):
                task.cancel()
                await quiet()
            assert all(task.cancelled() for task in tasks)
            assert pool.budget.reserved == 0
            backend.ready.set()
            await pool.open(A, LIMITS)

    play(story)


def test_closing_ends_what_is_under_way_in_the_background_and_in_the_foreground(tmp_path: Path) -> None:
    async def story() -> None:
        backend = FakeBackend()
        async with pooled(tmp_path, backend, warm=2, limiter=StartLimiter(3, begin=3)) as pool:
            await pool.open(A, LIMITS)
            backend.ready.clear()
            opening = [asyncio.create_task(pool.open(B, LIMITS)) for _ in range(4)]
            await quiet()
            await pool.close()
            backend.ready.set()
            ends = await asyncio.gather(*opening, return_exceptions=True)
            assert [type(end) for end in ends] == [SandboxUnavailable] * 4
            assert not backend.open_sandboxes
            with pytest.raises(SandboxUnavailable, match="the run ended"):
                await pool.open(A, LIMITS)

    play(story)


class Thorough(FakeBackend):
    """Fetches something for each origin before anything can be started from it."""

    limiter: StartLimiter
    prepared = 0

    async def prepare(self, origin: Origin) -> None:
        assert self.limiter.starting == 0, "fetching is no part of a start"
        self.prepared += 1


def test_what_is_done_once_per_origin_is_done_before_a_start(tmp_path: Path) -> None:
    async def story() -> None:
        backend = Thorough()
        backend.limiter = StartLimiter(1)
        async with pooled(tmp_path, backend, limiter=backend.limiter) as pool:
            await pool.open(A, LIMITS)
            assert backend.prepared == 1

    play(story)


def test_everything_else_is_that_of_the_back_end(tmp_path: Path) -> None:
    async def story() -> None:
        backend = LocalBackend("none")
        async with pooled(tmp_path, backend) as pool:
            await pool.start()
            assert (pool.name, pool.describe()) == ("local", backend.describe())
            with pytest.raises(SandboxUnavailable, match="use --sandbox docker"):
                pool.check(Origin("c", image="i"))
            with pytest.raises(SandboxUnavailable, match="use --sandbox docker"):
                await pool.open(Origin("c", image="i"), LIMITS)
            assert pool.warning == backend.warning
        async with pooled(tmp_path, FakeBackend()) as pool:
            assert pool.warning == ""

    play(story)


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["open", "open", "open", "close", "cancel", "kill", "fail", "hold"]), st.integers(0, 3)),
    max_size=40,
)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, warm=st.integers(0, 3), total=st.integers(100, 500))
def test_whatever_happens_all_memory_is_released_at_the_end(
    tmp_path: Path, steps: list[Step], warm: int, total: int
) -> None:
    async def story() -> None:
        backend = FakeBackend()
        async with pooled(tmp_path, backend, warm=warm, total=total, limiter=hasty(3)) as pool:
            tasks: list[asyncio.Task[Sandbox]] = []
            for word, number in steps:
                if word == "open":
                    tasks.append(asyncio.create_task(pool.open((A, B, C, A)[number], LIMITS)))
                elif word == "close" and (done := [task for task in tasks if task.done() and not task.cancelled()]):
                    with suppress(SandboxLost):
                        await done[number % len(done)].result().close()
                elif word == "cancel" and tasks:
                    tasks[-number % len(tasks)].cancel()
                elif word == "kill":
                    for sandbox in backend.open_sandboxes:
                        sandbox.alive = False
                elif word == "fail":
                    backend.error = None if backend.error else SandboxLost("the daemon is away")
                elif word == "hold":
                    backend.ready.clear() if backend.ready.is_set() else backend.ready.set()
                for _ in range(number):
                    await asyncio.sleep(0)
                assert len(backend.open_sandboxes) * 100 <= pool.budget.reserved <= total
            backend.error = None
            backend.ready.set()
            while waiting := [task for task in tasks if not task.done()]:
                await quiet()
                for task in tasks:
                    if task.done() and not task.cancelled() and not task.exception():
                        await task.result().close()
                await asyncio.wait(waiting, timeout=0.01)

    play(story)


# real sandboxes


@pytest.fixture
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    return git_repository(tmp_path_factory.mktemp("origin"), {"a.txt": b"one\n"})


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_real_sandboxes_come_warm_work_and_are_gone_at_the_end(tmp_path: Path, origin: Origin) -> None:
    async def story() -> None:
        async with pooled(tmp_path, LocalBackend(), warm=2) as pool:
            for number in range(10):
                sandbox = await pool.open(origin, LARGER, label=f"#{number}")
                assert await sandbox.diff() == b"", "a warm one is as fresh as any"
                await sandbox.write("b.txt", b"two\n")
                assert (await sandbox.run(Command("cat a.txt b.txt"))).output == b"one\ntwo\n"
                assert await sandbox.read("b.txt") == b"two\n"
                assert b"+two" in await sandbox.diff()
                await sandbox.close()
            crowd = await asyncio.gather(*(pool.open(origin, LARGER) for _ in range(12)))
            ends = await asyncio.gather(*(each.run(Command("echo here")) for each in crowd))
            assert {end.output for end in ends} == {b"here\n"}

    play(story)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
def test_when_everything_is_killed_the_next_opens_work_again(tmp_path: Path, origin: Origin) -> None:
    async def story() -> None:
        before = children(os.getpid())
        async with pooled(tmp_path, LocalBackend("overlay"), warm=2) as pool:
            first = await pool.open(origin, LARGER)
            deadline = time.monotonic() + 10
            while pool.ready < 2 and time.monotonic() < deadline:
                await asyncio.sleep(0.005)
            assert pool.ready == 2
            (server,) = children(os.getpid()) - before
            os.kill(server, signal.SIGKILL)
            with suppress(SandboxLost):
                await first.run(Command(("sleep", "20")))
                pytest.fail("it lives on")
            await first.close()
            for _ in range(3):
                with suppress(SandboxLost):
                    again = await pool.open(origin, LARGER)
                    break
            assert (await again.run(Command("echo again"))).output == b"again\n"

    play(story)
