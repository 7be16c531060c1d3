"""The memory budget: within one process, between real processes, and when one of them is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import SandboxUnavailable
from envs.memory_budget import LOCK, Machine, MemoryBudget, budget_folder, this_machine

ROOT = Path(__file__).parents[2]
OTHER = """
import asyncio, sys
from pathlib import Path
from envs.memory_budget import MemoryBudget

async def main(folder):
    budget = MemoryBudget(1000, key="here", folder=Path(folder))
    for line in sys.stdin:
        word, mb = line.split()
        if word == "reserve":
            await budget.reserve(int(mb))
        elif word == "release":
            budget.release(int(mb))
        print("done", flush=True)

asyncio.run(main(sys.argv[1]))
"""


class Other:
    """A budget of 1000 MB in a process of its own, which does as it is told."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OTHER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            text=True,
        )

    def tell(self, word: str, mb: int) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{word} {mb}\n")
        self.process.stdin.flush()

    def done(self) -> bool:
        """Wait for it to have done what it was told."""
        assert self.process.stdout
        return self.process.stdout.readline() == "done\n"

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def other(folder: Path) -> Iterator[Other]:
    started = Other(folder)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


@contextmanager
def budget(folder: Path, total: int = 1000, *, key: str = "here", overcommit: bool = False) -> Iterator[MemoryBudget]:
    made = MemoryBudget(total, key=key, folder=folder, overcommit=overcommit)
    try:
        yield made
    finally:
        made.close()


async def settled(*tasks: asyncio.Task[None]) -> list[bool]:
    """Which are done once nothing more happens at once."""
    for _ in range(50):
        await asyncio.sleep(0)
    return [task.done() for task in tasks]


def waits(folder: Path) -> bool:
    """Whether some process has written down that it waits."""
    return any(
        fields[1] != "0"
        for path in (folder / "here").iterdir()
        if path.name != LOCK and len(fields := path.read_text().split()) == 3
    )


def soon(true: Iterator[bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    for found in true:
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.005)
    return False


def test_requests_are_granted_up_to_the_total_in_their_order_and_a_large_one_is_not_passed_by(tmp_path: Path) -> None:
    async def story() -> None:
        with budget(tmp_path) as own:
            await own.reserve(600)
            large = asyncio.create_task(own.reserve(900))
            small = asyncio.create_task(own.reserve(50))
            assert await settled(large, small) == [False, False]
            assert not own.try_reserve(10), "nobody passes those who wait"
            own.release(300)
            assert await settled(large, small) == [False, False]
            own.release(300)
            await large
            await small
            assert own.reserved == 950
            assert not own.try_reserve(51)
            assert own.try_reserve(50)

    asyncio.run(story())


def test_who_stops_waiting_leaves_nothing_and_lets_the_next_one_through(tmp_path: Path) -> None:
    async def story() -> None:
        with budget(tmp_path) as own:
            await own.reserve(600)
            large, small = asyncio.create_task(own.reserve(900)), asyncio.create_task(own.reserve(400))
            assert await settled(large, small) == [False, False]
            large.cancel()
            await small
            assert own.reserved == 1000
            assert not waits(tmp_path)

    asyncio.run(story())


def test_a_request_beyond_the_total_is_refused_with_the_limit_and_the_remedies(tmp_path: Path) -> None:
    with budget(tmp_path) as own:
        with pytest.raises(SandboxUnavailable, match=r"1001 MB .* 1000 MB .* --memory-mb.* --overcommit"):
            asyncio.run(own.reserve(1001))
        assert not own.try_reserve(1001)
        assert own.reserved == 0


def test_overcommitting_grants_everything_and_is_counted_nowhere(tmp_path: Path) -> None:
    with budget(tmp_path, overcommit=True) as own, budget(tmp_path) as proper:
        asyncio.run(own.reserve(5000))
        assert own.try_reserve(5000)
        assert proper.try_reserve(1000)


def test_what_another_process_holds_is_not_there_until_it_is_released(tmp_path: Path) -> None:
    with budget(tmp_path) as own, other(tmp_path) as neighbour:
        neighbour.tell("reserve", 700)
        assert neighbour.done()
        assert not own.try_reserve(301)
        assert own.try_reserve(300)
        assert own.shared

        async def story() -> None:
            waiting = asyncio.create_task(own.reserve(200))
            assert await settled(waiting) == [False]
            neighbour.tell("release", 700)
            async with asyncio.timeout(5):
                await waiting

        asyncio.run(story())
        assert own.reserved == 500


def test_what_a_killed_process_held_or_waited_for_is_free_again(tmp_path: Path) -> None:
    with budget(tmp_path) as own, other(tmp_path) as holder, other(tmp_path) as waiter:
        holder.tell("reserve", 900)
        assert holder.done()
        waiter.tell("reserve", 1000)
        assert soon(waits(tmp_path) for _ in iter(int, 1))
        holder.kill()
        waiter.kill()

        async def story() -> None:
            async with asyncio.timeout(5):
                await own.reserve(1000)

        asyncio.run(story())
        assert len(list((tmp_path / "here").iterdir())) == 2, "the files of the dead are removed"


def test_a_large_request_of_another_process_is_not_starved_by_small_ones(tmp_path: Path) -> None:
    with budget(tmp_path) as own, other(tmp_path) as neighbour:
        assert own.try_reserve(200)
        assert own.try_reserve(200)
        neighbour.tell("reserve", 900)
        assert soon(waits(tmp_path) for _ in iter(int, 1))
        assert not own.try_reserve(100), "it came later"
        own.release(200)
        assert not own.try_reserve(100)
        own.release(200)
        assert neighbour.done()
        assert own.try_reserve(100)


def test_processes_that_reserve_and_release_at_the_same_time_are_all_served(tmp_path: Path) -> None:
    with ExitStack() as stack:
        others = [stack.enter_context(other(tmp_path)) for _ in range(3)]
        for _ in range(20):
            for each in others:
                each.tell("reserve", 600)
                each.tell("release", 600)
        for each in others:
            assert all(each.done() for _ in range(40))


def test_where_no_file_can_be_written_it_holds_for_this_process(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with budget(tmp_path / "file") as own:
        assert own.try_reserve(900)
        assert not own.try_reserve(200)
        assert not own.shared
        own.release(900)
        assert own.try_reserve(1000)


def test_machines_do_not_share_and_any_name_will_do(tmp_path: Path) -> None:
    with budget(tmp_path, key="ABCD:EFGH/../x") as own, budget(tmp_path, key="..") as second:
        assert own.try_reserve(1000)
        assert second.try_reserve(1000)
        assert own.shared
        assert second.shared
        assert len(list(tmp_path.iterdir())) == 2


def test_after_closing_no_file_is_left_but_the_lock(tmp_path: Path) -> None:
    with budget(tmp_path) as own:
        own.try_reserve(1)
    assert [path.name for path in (tmp_path / "here").iterdir()] == [LOCK]


def test_a_reservation_takes_a_fifth_of_a_millisecond_at_most_beside_others(tmp_path: Path) -> None:
    async def story() -> float:
        seconds = []
        for _ in range(200):
            began = time.perf_counter()
            await own.reserve(100)
            own.release(100)
            seconds.append(time.perf_counter() - began)
        return statistics.median(seconds)

    with budget(tmp_path) as own, budget(tmp_path) as second, budget(tmp_path) as third:
        second.try_reserve(10)
        third.try_reserve(10)
        assert asyncio.run(story()) < 0.0002


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 100), st.booleans()), max_size=40),
    total=st.integers(100, 300),
)
def test_the_sum_never_exceeds_the_total_and_everybody_is_served_in_the_end(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool]], total: int
) -> None:
    folder = tmp_path_factory.mktemp("budget")

    async def user(own: MemoryBudget, mb: int, gives_up: bool) -> None:
        try:
            async with asyncio.timeout(0 if gives_up else None):
                await own.reserve(mb)
        except TimeoutError:
            return
        assert sum(each.reserved for each in all_of_them) <= total
        await asyncio.sleep(0)
        own.release(mb)

    async def story() -> None:
        await asyncio.gather(*(user(all_of_them[who], mb, gives_up) for who, mb, gives_up in steps))

    with ExitStack() as stack:
        all_of_them = [stack.enter_context(budget(folder, total)) for _ in range(3)]
        asyncio.run(story())
        assert [each.reserved for each in all_of_them] == [0, 0, 0]


def test_a_machine_keeps_some_of_its_memory_to_itself() -> None:
    assert Machine("large", 64_000).usable_mb == 57_600
    assert Machine("usual", 8_000).usable_mb == 6_976
    assert Machine("small", 1_000).usable_mb == 500
    here = this_machine()
    assert 0 < here.memory_mb <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def test_the_files_lie_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from envs.cache_folder import cache_folder

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert budget_folder() == cache_folder() / "budget"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert budget_folder() == cache_folder() / "budget"
