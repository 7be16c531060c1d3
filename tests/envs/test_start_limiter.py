"""The limiter for starts, in a time of its own: it opens with quick starts, closes with slow ones and failures."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import SandboxLost, SandboxUnavailable
from envs.start_limiter import LONGEST_PAUSE_SECONDS, StartLimiter


class Time:
    """Seconds that pass only when nobody has anything else to do."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        waking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), waking))
        await waking

    async def run(self, *stories: Coroutine[Any, Any, Any]) -> list[Any]:
        """Let all of them come to their end; it is an error if they stop for ever."""
        tasks = [asyncio.create_task(story) for story in stories]
        while not all(task.done() for task in tasks):
            for _ in range(2 * len(tasks) + 10):
                await asyncio.sleep(0)
            if not all(task.done() for task in tasks):
                assert self._sleepers, "a deadlock: somebody waits and nothing is under way"
                self.now, _, waking = heapq.heappop(self._sleepers)
                if not waking.done():
                    waking.set_result(None)
        return await asyncio.gather(*tasks, return_exceptions=True)


def play(story: Callable[[Time, StartLimiter], Awaitable[Any]], ceiling: int = 8, **how: Any) -> Any:
    time = Time()
    return asyncio.run(story(time, StartLimiter(ceiling, clock=time, sleep=time.sleep, jitter=lambda: 0.5, **how)))  # type: ignore[arg-type]


async def start(time: Time, limiter: StartLimiter, seconds: float = 1.0, error: Exception | None = None) -> float:
    """One start; when it began."""
    async with limiter:
        began = time.now
        await time.sleep(seconds)
        if error:
            raise error
    return began


def test_few_starts_at_first_and_more_with_each_round_that_was_quick() -> None:
    async def story(time: Time, limiter: StartLimiter) -> None:
        began = await time.run(*(start(time, limiter) for _ in range(40)))
        rounds = [began.count(float(second)) for second in range(int(max(began)) + 1)]
        assert rounds[:4] == [2, 3, 4, 5]
        assert max(rounds) <= 8
        assert limiter.limit == 8
        assert limiter.starting == 0

    play(story)


def test_starts_one_after_the_other_prove_nothing_about_more_at_once() -> None:
    async def story(time: Time, limiter: StartLimiter) -> None:
        for _ in range(20):
            await time.run(start(time, limiter))
        assert limiter.limit == 2

    play(story)


def test_starts_come_in_the_order_in_which_they_were_asked_for() -> None:
    async def story(time: Time, limiter: StartLimiter) -> None:
        began = await time.run(*(start(time, limiter) for _ in range(20)))
        assert began == sorted(began)

    play(story)


def test_slow_starts_halve_the_limit_once_for_all_that_were_under_way() -> None:
    async def story(time: Time, limiter: StartLimiter) -> None:
        await time.run(start(time, limiter))
        assert limiter.limit == 8
        await time.run(*(start(time, limiter, 4.0) for _ in range(8)))
        assert limiter.limit == 4
        await time.run(start(time, limiter, 4.0))
        assert limiter.limit == 2

    play(story, begin=8)


def test_a_machine_that_has_become_slower_for_good_is_not_held_against_it_for_ever() -> None:
    async def story(time: Time, limiter: StartLimiter) -> None:
        await time.run(*(start(time, limiter) for _ in range(40)))
        await time.run(*(start(time, limiter, 10.0) for _ in range(60)))
        assert limiter.limit < 8
        await time.run(*(start(time, limiter, 10.0) for _ in range(60)))
        assert limiter.limit == 8

    play(story)


def test_failures_pause_starts_for_longer_and_longer_and_one_success_ends_that() -> None:
    async def story(time: Time, limiter: StartLimiter) -> None:
        lost = SandboxLost("the daemon is away")
        failed, pauses = 0.0, []
        for _ in range(8):
            before = time.now
            assert (await time.run(start(time, limiter, 0.0, lost)))[0] is lost
            pauses.append(time.now - before)
            failed = time.now
        assert pauses == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
        assert limiter.limit == 1
        assert (await time.run(start(time, limiter)))[0] == failed + LONGEST_PAUSE_SECONDS
        await time.run(start(time, limiter, 0.0, lost))
        failed = time.now
        assert (await time.run(start(time, limiter)))[0] == failed + 0.5

    play(story)


def test_starts_that_fail_together_are_one_failure() -> None:
    async def story(time: Time, limiter: StartLimiter) -> None:
        await time.run(*(start(time, limiter, 1.0, SandboxLost("the daemon is away")) for _ in range(8)))
        assert limiter.limit == 4
        assert (await time.run(start(time, limiter)))[0] == 1.5

    play(story, begin=8)


@pytest.mark.parametrize("error", [SandboxUnavailable("no such image"), asyncio.CancelledError()])
def test_what_is_refused_for_good_or_cancelled_says_nothing_about_the_load(error: Exception) -> None:
    async def story(time: Time, limiter: StartLimiter) -> None:
        await time.run(*(start(time, limiter, 100.0, error) for _ in range(8)))
        assert (limiter.limit, limiter.starting) == (8, 0)
        assert (await time.run(start(time, limiter)))[0] == 100.0

    play(story, begin=8)


def test_who_stops_waiting_holds_up_nobody() -> None:
    async def story(time: Time, limiter: StartLimiter) -> None:
        async def impatient() -> None:
            waiting = asyncio.create_task(start(time, limiter))
            await time.sleep(0.5)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

        began = await time.run(start(time, limiter), *(impatient() for _ in range(3)), start(time, limiter))
        assert began[-1] == 1.0
        assert limiter.starting == 0

    play(story, begin=1)


def test_a_ceiling_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        StartLimiter(0)


@settings(deadline=None, max_examples=150)
@given(
    ceiling=st.integers(1, 9),
    begin=st.integers(0, 12),
    starts=st.lists(
        st.tuples(
            st.floats(0, 20),  # asked for when
            st.floats(0, 5),  # takes how long
            st.sampled_from([None, None, SandboxLost("lost"), SandboxUnavailable("no"), OSError("odd")]),
            st.one_of(st.none(), st.floats(0, 10)),  # given up after
        ),
        max_size=30,
    ),
)
def test_never_more_than_the_ceiling_always_progress_and_nothing_left_over(
    ceiling: int, begin: int, starts: list[tuple[float, float, Exception | None, float | None]]
) -> None:
    async def story(time: Time, limiter: StartLimiter) -> None:
        under_way = 0

        async def one(delay: float, seconds: float, error: Exception | None) -> None:
            nonlocal under_way
            await time.sleep(delay)
            async with limiter:
                under_way += 1
                try:
                    assert under_way == limiter.starting <= ceiling
                    assert 1 <= limiter.limit <= ceiling
                    await time.sleep(seconds)
                    if error:
                        raise error
                finally:
                    under_way -= 1

        async def perhaps(delay: float, seconds: float, error: Exception | None, patience: float | None) -> None:
            task = asyncio.create_task(one(delay, seconds, error))
            if patience is not None:
                await time.sleep(patience)
                task.cancel()
            (end,) = await asyncio.gather(task, return_exceptions=True)
            assert end is error or end is None or (patience is not None and isinstance(end, asyncio.CancelledError))

        ends = await time.run(*(perhaps(*each) for each in starts))
        assert ends == [None] * len(starts)
        assert limiter.starting == under_way == 0

    play(story, ceiling, begin=begin)
