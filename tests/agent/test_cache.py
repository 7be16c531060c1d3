"""Who is let in while a server's cache is short: against a server with an LRU prefix cache, in simulated time."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from agent.agent import AttemptScope
from agent.models.admission import BUSY, Admission, Handling
from agent.models.cache import Cache
from agent.models.model import Reply
from agent.models.vllm_metrics import VllmMetrics
from agent.trajectory import Usage
from tests.agent.test_admission import PAGE, simulate
from tests.helpers import attempt_scope

# The server computes so many tokens of prompts in a second, one prompt after the other, and samples 150 a turn.
PREFILL, SAMPLED = 10_000.0, 150
OPENINGS = {"a": 3000, "b": 3500}


class CachingServer:
    """Like vLLM: what runs holds its tokens, what ran keeps them until room is needed, the least recent first."""

    def __init__(self, capacity: float) -> None:
        self._capacity = capacity
        self._kept: OrderedDict[object, float] = OrderedDict()  # the tokens of each conversation, and of each opening
        self._running: Counter[object] = Counter()
        self._needed = 0.0
        self._prefill, self._room = asyncio.Lock(), asyncio.Condition()
        self.answers = 0
        self.hits = self.asked = 0.0

    async def ask(self, scope: AttemptScope, own: float) -> None:
        """A turn of a conversation that has `own` tokens beyond its opening."""
        opening, needed = OPENINGS[scope.spec.task], own + SAMPLED
        async with self._room:
            await self._room.wait_for(lambda: not self._running or self._needed + opening + needed <= self._capacity)
            known = min(opening, self._kept.get(scope.spec.task, 0.0))
            known += min(own, self._kept.get(scope, 0.0)) if known == opening else 0.0
            self._hold(scope.spec.task, opening)
            self._hold(scope, needed)
        self.hits, self.asked = self.hits + known, self.asked + opening + own
        async with self._prefill:
            await asyncio.sleep((opening + own - known) / PREFILL)
        await asyncio.sleep(SAMPLED * (0.01 + 0.0003 * len(self._running)))
        async with self._room:
            self._release(scope)
            self._release(scope.spec.task)
            self._room.notify_all()
        self.answers += 1

    def _hold(self, key: object, tokens: float) -> None:
        if not self._running[key]:
            self._needed += tokens
        self._running[key] += 1
        self._kept[key] = tokens
        self._evict()

    def _release(self, key: object) -> None:
        self._kept.move_to_end(key)
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]
            self._needed -= self._kept[key]

    def _evict(self) -> None:
        over = sum(self._kept.values()) - self._capacity
        for key in [key for key in self._kept if key not in self._running]:
            if over <= 0:
                return
            over -= self._kept[key]
            self._kept[key] = max(0.0, -over)  # a conversation loses its end first
            if over >= 0:
                del self._kept[key]


async def played(capacity: float, told: bool, tools: tuple[float, float] = (0.5, 4.0)) -> tuple[float, float]:
    """Answers a second, and the share of prompt tokens that were in the cache, when 32 workers play 80 attempts."""
    server, door, dice = CachingServer(capacity), Admission(), random.Random(3)
    if told:
        door.cache.capacity = capacity
    attempts = iter([attempt_scope(task, attempt) for task in OPENINGS for attempt in range(40)])

    async def work() -> None:
        for scope in attempts:
            plan, own = random.Random(f"{scope.spec.task} {scope.spec.index}"), 0.0
            for turn in range(plan.randint(5, 35)):
                place = await door.enter(turn, scope)
                await server.ask(scope, own)
                context = OPENINGS[scope.spec.task] + own
                door.cache.answered(scope, Reply({}, Usage(round(context), SAMPLED)), turn)
                door.leave(place, Handling.ANSWERED)
                own += SAMPLED + plan.uniform(300, 900)
                await asyncio.sleep(dice.uniform(*tools))
            door.over(scope)

    async def look() -> None:
        while True:  # as when the server's metrics are read
            await asyncio.sleep(1)
            door.look()

    looking = asyncio.create_task(look())
    await asyncio.gather(*(work() for _ in range(32)))
    looking.cancel()
    assert door.in_flight == door.waiting == 0
    return server.answers / asyncio.get_running_loop().time(), server.hits / server.asked


@pytest.mark.parametrize(
    ("capacity", "at_least"),
    [(20_000, 0.9), (60_000, 0.9), (120_000, 1.3), (200_000, 2.0), (300_000, 1.5), (1e6, 0.99)],
)
def test_a_server_whose_cache_is_told_does_more_where_the_cache_is_short_and_no_less_elsewhere(
    capacity: float, at_least: float
) -> None:
    without, _ = simulate(partial(played, capacity, False))
    found, hits = simulate(partial(played, capacity, True))
    assert found >= at_least * without, (found, without, hits)


def test_long_tools_leave_a_server_no_more_idle_than_without() -> None:
    for capacity in (60_000, 200_000):
        without, _ = simulate(partial(played, capacity, False, (5.0, 30.0)))
        found, _ = simulate(partial(played, capacity, True, (5.0, 30.0)))
        assert found >= 0.9 * without, (capacity, found, without)


# one at a time


def reply(prompt: int, sampled: int = 100) -> Reply:
    return Reply({}, Usage(prompt, sampled))


def scopes(count: int, task: str = "a") -> list[AttemptScope]:
    return [attempt_scope(task, attempt) for attempt in range(count)]


def test_one_is_always_in_and_where_nothing_is_told_all_are() -> None:
    cache, (first, second) = Cache(), scopes(2)
    for capacity, then in ((100.0, False), (math.inf, True)):
        cache.capacity = capacity
        cache.leave(first)
        assert cache.fits(first)
        cache.enter(first)
        cache.answered(first, reply(5000), 0)
        assert cache.fits(second) is then


def test_an_opening_counts_once_for_all_attempts_on_an_issue() -> None:
    def fitting(tasks: list[str]) -> int:
        cache = Cache()
        cache.capacity = 100_000
        one = attempt_scope("a", 99)  # from which it is known how far attempts go
        cache.enter(one)
        cache.answered(one, reply(20_000), 0)
        cache.answered(one, reply(21_000), 1)
        cache.leave(one)
        for count, task in enumerate(tasks):
            scope = attempt_scope(task, count)
            if not cache.fits(scope):
                return count
            cache.enter(scope)
            cache.answered(scope, reply(20_000), 0)
        return len(tasks)

    assert fitting(["a"] * 40) == 40
    assert fitting([f"issue {number}" for number in range(40)]) == 4


def test_who_came_in_last_makes_room_when_those_under_way_outgrow_it_and_comes_back_when_there_is_some() -> None:
    cache, (first, second, third) = Cache(), scopes(3)
    cache.capacity = 40_000
    for scope in (first, second, third):
        assert cache.fits(scope)
        cache.enter(scope)
        cache.answered(scope, reply(3000), 0)
    cache.answered(first, reply(14_000), 1)
    cache.answered(second, reply(14_000), 1)
    assert third in cache
    cache.answered(third, reply(14_000), 1)
    cache.answered(first, reply(20_000), 2)
    assert [scope in cache for scope in (first, second, third)] == [True, True, False]
    assert not cache.fits(third)
    cache.leave(first)
    assert cache.fits(third)


def test_later_turns_of_those_that_are_in_go_on_while_others_wait_for_room() -> None:
    async def main() -> None:
        door, (first, second, third) = Admission(64.0), scopes(3)
        door.cache.capacity = 10_000
        with busy(door):
            place = await door.enter(0, first)
            door.cache.answered(first, reply(8000), 0)
            door.leave(place, Handling.ANSWERED)
            waiting = [asyncio.create_task(door.enter(0, scope)) for scope in (second, third)]
            await asyncio.sleep(1)
            assert door.waiting == 2
            door.leave(await asyncio.wait_for(door.enter(1, first), 0.1), Handling.ANSWERED)
            waiting[0].cancel()
            await asyncio.sleep(1)
            assert door.waiting == 1
            door.over(first)
            door.leave(await asyncio.wait_for(waiting[1], 0.1), Handling.ANSWERED)

    simulate(main)


def test_a_server_with_little_to_do_is_given_more_whatever_its_cache_holds() -> None:
    async def main() -> None:
        door, (first, *others) = Admission(64.0), scopes(20)
        door.cache.capacity = 10_000
        place = await door.enter(0, first)
        door.cache.answered(first, reply(8000), 0)
        door.leave(place, Handling.ANSWERED)
        waiting = [asyncio.create_task(door.enter(0, scope)) for scope in others]
        await asyncio.sleep(100)
        assert door.in_flight == BUSY
        for task in waiting:
            task.cancel()

    simulate(main)


@contextmanager
def busy(door: Admission) -> Iterator[None]:
    """With enough in flight that only the cache decides."""
    places = [door.enter_at_once() for _ in range(BUSY)]
    yield
    for place in places:
        assert place is not None
        door.leave(place, Handling.OTHER)


# what vLLM tells

INFO = 'vllm:cache_config_info{block_size="16",engine="%s",enable_prefix_caching="%s",num_gpu_blocks="%s"} 1.0\n'


def test_the_capacity_is_that_of_all_engines_in_tokens_where_it_is_told_and_of_use() -> None:
    page = PAGE % ("0.0", "0.0")

    def capacity(info: str) -> float:
        metrics = VllmMetrics.read(page + info)
        assert metrics is not None
        return metrics.capacity

    assert capacity(INFO % (0, "True", 1000) + INFO % (1, "True", 500)) == 24_000
    assert capacity(INFO % (0, "False", 1000)) == math.inf
    assert capacity(INFO % (0, "True", "None")) == math.inf
    assert capacity("") == math.inf
