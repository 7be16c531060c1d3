"""How many requests are in flight, in simulated time: against servers whose limits are hidden and change."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from agent.agent import AttemptScope
from agent.models.admission import Admission, Handling
from agent.models.chat import ChatModel
from agent.models.faults import Kind, RequestFailure
from agent.models.http import HttpTransport
from agent.models.replicas import Replica, Replicas
from agent.models.vllm_metrics import VllmMetrics
from tests.helpers import Answer, ChatServer, Heard, attempt_scope

CLIENTS = 128
PHASES = [(32, 400.0), (8, 400.0), (64, 400.0)]  # the hidden limit, and for how many seconds


class _NoWaiting(selectors.DefaultSelector):
    """Passes over the time that it was to wait."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


class SimulatedTime(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to whatever is due next."""

    def __init__(self) -> None:
        self._waits = _NoWaiting()
        super().__init__(self._waits)

    def time(self) -> float:
        return self._waits.now


def simulate(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    with asyncio.Runner(loop_factory=SimulatedTime) as runner:
        return runner.run(main())


class HiddenLimit:
    """Serves as many as its limit says at once, each for about a second, and refuses whoever comes beyond."""

    def __init__(self, seed: int = 0, stalls: bool = False) -> None:
        self._dice = random.Random(seed)
        self.stalls = stalls
        self.in_service = 0
        self.limit = PHASES[0][0]
        self.done = 0

    async def ask(self) -> Handling:
        if self.in_service >= self.limit:
            await asyncio.sleep(10.0 if self.stalls else 0.01)
            return Handling.STALLED if self.stalls else Handling.REFUSED
        self.in_service += 1
        await asyncio.sleep(self._dice.uniform(0.5, 1.5))
        self.in_service -= 1
        self.done += 1
        return Handling.ANSWERED


async def throughputs(admission: Admission | None, phases: list[tuple[int, float]] = PHASES) -> list[float]:
    """Answers a second in each phase; None: as many in flight as the server holds, the best fixed setting."""
    server = HiddenLimit(seed=1)
    dice = random.Random(2)

    async def client() -> None:
        while True:
            place = await admission.enter(0) if admission else 0
            fate = await server.ask()
            if admission:
                admission.leave(place, fate)
            if fate is not Handling.ANSWERED:
                await asyncio.sleep(dice.uniform(0.0, 0.5))

    clients = [] if admission is None else [asyncio.create_task(client()) for _ in range(CLIENTS)]
    found = []
    for limit, seconds in phases:
        server.limit, before = limit, server.done
        best = [] if admission else [asyncio.create_task(client()) for _ in range(limit)]
        await asyncio.sleep(seconds)
        found.append((server.done - before) / seconds)
        for task in best:
            task.cancel()
        server.in_service = 0 if best else server.in_service
    for task in clients:
        task.cancel()
    return found


def test_throughput_stays_within_a_tenth_of_the_best_fixed_setting_while_the_hidden_limit_changes() -> None:
    found, best = simulate(partial(throughputs, Admission())), simulate(partial(throughputs, None))
    shares = [mine / most for mine, most in zip(found, best, strict=True)]
    assert min(shares) > 0.9, shares


@pytest.mark.parametrize("limit", [1, 2, 8, 32, 100])
def test_a_limit_that_stays_is_found_from_any_start(limit: int) -> None:
    for start in (1.0, 8.0, 500.0):
        [found] = simulate(partial(throughputs, Admission(start), [(limit, 200.0)]))
        [best] = simulate(partial(throughputs, None, [(limit, 200.0)]))
        assert found / best > (0.9 if limit >= 8 else 0.8), (start, found, best)


def test_a_server_that_refuses_nothing_is_given_all_there_is() -> None:
    [found] = simulate(partial(throughputs, Admission(), [(1000, 100.0)]))
    assert found > 0.9 * CLIENTS


def test_it_doubles_with_each_round_of_answers_until_there_was_too_much() -> None:
    async def main() -> list[int]:
        door, found = Admission(), []

        async def client() -> None:
            while True:
                place = await door.enter(0)
                await asyncio.sleep(1)
                door.leave(place, Handling.ANSWERED)

        clients = [asyncio.create_task(client()) for _ in range(64)]
        for _ in range(4):
            await asyncio.sleep(1)
            found.append(door.in_flight)
        for task in clients:
            task.cancel()
        return found

    assert simulate(main) == [8, 16, 32, 64]


def test_a_time_out_halves_and_a_burst_of_them_halves_once() -> None:
    async def main() -> None:
        door = Admission(16.0)
        places = [await door.enter(0) for _ in range(16)]
        for place in places:
            door.leave(place, Handling.STALLED)
        assert door.limit == 8
        door.leave(await door.enter(0), Handling.STALLED)
        assert door.limit == 4

    simulate(main)


def test_the_limit_does_not_grow_where_it_holds_nothing_back() -> None:
    async def main() -> None:
        door = Admission(8.0)
        for _ in range(1000):
            door.leave(await door.enter(0), Handling.ANSWERED)
        assert door.limit == 8

    simulate(main)


def test_later_turns_go_before_first_turns_and_within_a_turn_the_first_that_came() -> None:
    async def main() -> list[str]:
        door, order = Admission(1.0), []

        async def ask(name: str, turn: int) -> None:
            place = await door.enter(turn)
            order.append(name)
            await asyncio.sleep(1)
            door.leave(place, Handling.OTHER)

        asked = [("begun", 0), ("first", 0), ("also first", 0), ("later", 3), ("last", 7)]
        await asyncio.gather(*(ask(name, turn) for name, turn in asked))
        return order

    assert simulate(main) == ["begun", "last", "later", "first", "also first"]


def test_whoever_is_called_off_takes_no_place_also_in_the_moment_of_being_let_in() -> None:
    async def main() -> None:
        door = Admission(1.0)
        place = await door.enter(0)
        waiting = [asyncio.create_task(door.enter(0)) for _ in range(3)]
        await asyncio.sleep(1)
        waiting[1].cancel()
        door.leave(place, Handling.OTHER)  # lets the first one in,
        waiting[0].cancel()  # which is called off before it knows
        assert await waiting[2]
        assert door.in_flight == 1
        assert door.waiting == 0

    simulate(main)


# a vLLM, which refuses nothing and says how it fares

PAGE = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 12.0
vllm:num_requests_running{engine="1",model_name="tiny"} 8.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} %s
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="tiny"} 0.97
vllm:num_preemptions_total{engine="0",model_name="tiny"} %s
vllm:num_preemptions_created{engine="0",model_name="tiny"} 1.7e+09
"""


def test_the_gauges_of_all_engines_are_read_and_other_pages_are_none() -> None:
    assert VllmMetrics.read(PAGE % ("3.0", "1e1")) == VllmMetrics(20, 3, 0.97, 10)
    assert VllmMetrics.read("<html>") is None
    assert VllmMetrics.read("llamacpp:requests_processing 3") is None


def test_a_vllm_is_given_no_more_while_it_queues_and_less_once_it_preempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.models.vllm_metrics.EVERY_SECONDS", 0.02)

    async def main() -> None:
        pages = [("0.0", "0.0"), ("5.0", "0.0"), ("5.0", "2.0"), ("0.0", "2.0")]
        listed = Answer(body={"data": [{"id": "tiny", "owned_by": "vllm"}]})
        answers = [Answer(body=(PAGE % page).encode(), headers={"content-type": "text/plain"}) for page in pages]
        async with ChatServer(listed, *answers) as server:
            model = ChatModel("tiny", server.url, None, {})
            await model.check()
            door = model._replicas.all[0].admission
            held = [await door.enter(0) for _ in range(8)]
            await until(lambda: door.saturated)
            assert door.limit == 8
            await until(lambda: door.limit < 8)
            await until(lambda: not door.saturated)
            assert [request.path for request in server.requests[:3]] == ["/v1/models", "/metrics", "/metrics"]
            for place in held:
                door.leave(place, Handling.OTHER)
            await model.close()

    asyncio.run(main())


def test_a_vllm_that_could_do_more_is_given_twice_as_much_at_each_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.models.vllm_metrics.EVERY_SECONDS", 0.02)
    page = "vllm:num_requests_running 8\nvllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0.1\n"

    async def main() -> None:
        listed = Answer(body={"data": [{"id": "tiny", "owned_by": "vllm"}]})
        async with ChatServer(listed, Answer(body=page.encode())) as server:
            model = ChatModel("tiny", server.url, None, {})
            await model.check()
            door = model._replicas.all[0].admission
            held = [asyncio.create_task(door.enter(0)) for _ in range(40)]
            places = await asyncio.wait_for(asyncio.gather(*held), 10)  # though none left
            assert door.limit == 64
            for place in places:
                door.leave(place, Handling.OTHER)
            await model.close()

    asyncio.run(main())


async def until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not so():
            await asyncio.sleep(0.002)


# several servers


def replicas(count: int) -> tuple[Replicas, list[str]]:
    heard = Heard()
    return Replicas(
        [HttpTransport(f"http://127.0.0.1:{port}/v1", None) for port in range(1, count + 1)], heard
    ), heard.texts


def sent(servers: Replicas, scope: AttemptScope, turn: int) -> Replica | None:
    """Where this attempt's request goes."""
    if replica := servers.choose(scope, turn):
        servers.settle(scope, [scope], replica)
    return replica


def test_an_issue_stays_at_one_server_until_that_has_clearly_more_to_do() -> None:
    async def main() -> None:
        servers, _ = replicas(2)
        home, scopes = servers.all[0], [attempt_scope("one", attempt) for attempt in range(11)]
        for attempt in range(8):
            assert sent(servers, scopes[attempt], 0) is home
            home.admission.in_flight += 1
        assert sent(servers, attempt_scope("two"), 0) is servers.all[1]  # another issue, the calmest
        assert sent(servers, scopes[8], 0) is home
        home.admission.in_flight += 1
        assert sent(servers, scopes[9], 0) is servers.all[1]
        assert sent(servers, scopes[10], 0) is servers.all[1]
        assert sent(servers, scopes[3], 1) is home  # under way

    simulate(main)


def test_all_attempts_of_one_issue_use_all_servers_in_the_end_and_each_attempt_only_one() -> None:
    async def main() -> None:
        servers, _ = replicas(2)
        chosen = {}
        for attempt in range(100):
            scope = attempt_scope("one", attempt)
            replica = sent(servers, scope, 0)
            assert replica is not None
            chosen[scope] = replica
            replica.admission.in_flight += 1
        shares = [sum(replica is one for replica in chosen.values()) for one in servers.all]
        assert min(shares) > 25
        for scope, replica in chosen.items():
            assert sent(servers, scope, 3) is replica

    simulate(main)


def test_attempts_leave_a_server_that_is_down() -> None:
    async def main() -> None:
        servers, lines = replicas(2)
        first, second = servers.all
        scope = attempt_scope("one")
        assert sent(servers, scope, 0) is first
        first.failed(await first.admission.enter(0), RequestFailure(Kind.UNREACHABLE, "refused"))
        assert sent(servers, scope, 1) is second
        assert sent(servers, attempt_scope("one", 1), 0) is second
        assert lines == ["server http://127.0.0.1:1/v1 is down (refused): its attempts go elsewhere"]
        second.failed(await second.admission.enter(0), RequestFailure(Kind.UNREACHABLE, "refused"))
        assert sent(servers, scope, 1) is None
        assert lines[-1].endswith("the run waits and goes on once it is back")
        await servers.close()

    simulate(main)
