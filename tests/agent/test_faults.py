"""The whole table of faults against a server that commits each, and 500 attempts among all of them at random."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.loop import AttemptLimits
from agent.models import (
    Call,
    ContextExceeded,
    Meter,
    Model,
    ModelError,
    ModelRefused,
    ModelUnavailable,
    Reply,
)
from agent.models.chat import ChatModel
from agent.models.faults import TREATMENTS, Billed, Ends, Kind, Load, Retry, refusal
from agent.models.http import Answer
from agent.models.shared_first_turn import SharedFirstTurn
from agent.scaffolds import make_scaffold
from agent.trajectory import Exit, Message, Usage
from envs import Limits
from envs.local.backend import LocalBackend
from envs.memory_budget import MemoryBudget
from envs.pool import Pool
from envs.start_limiter import StartLimiter
from monkeys.runner.progress import Progress
from monkeys.runner.sampler import Arm, Sampler
from monkeys.store import Store
from tasks import TaskSet
from tests.fault_server import FaultServer, Plan
from tests.helpers import quick_task

FIRST: list[Message] = [{"role": "user", "content": "go"}]
LATER: list[Message] = [*FIRST, {"role": "assistant", "content": "hm"}, {"role": "user", "content": "go on"}]
ERRORS: dict[Ends, type[ModelError]] = {
    Ends.CONTEXT_LIMIT: ContextExceeded,
    Ends.MODEL_FAILED: ModelUnavailable,
    Ends.RUN: ModelRefused,
}
MET = [kind for kind in Kind if kind is not Kind.UNREACHABLE]  # which is no answer


@asynccontextmanager
async def served(plan: Plan, **how: Any) -> AsyncIterator[tuple[FaultServer, ChatModel]]:
    async with FaultServer(plan) as server:
        quick: dict[str, Any] = {"request_seconds": 10.0, "retry_seconds": 20.0, "backoff_seconds": 0.001, **how}
        model = ChatModel("tiny", server.url, None, {}, **quick)
        try:
            yield server, model
        finally:
            await model.close()


def once(kind: Kind) -> Plan:
    return lambda number, turn: kind if number == 1 else None


def always(kind: Kind) -> Plan:
    return lambda number, turn: kind


def seconds(kind: Kind) -> float:
    """That a request may take: few where that is what is tried, else plenty, for the machine may be busy."""
    return 0.2 if kind in (Kind.TIME_OUT, Kind.ENDLESS) else 10.0


# one at a time


def test_every_kind_has_a_treatment_and_none_contradicts_itself() -> None:
    assert set(TREATMENTS) == set(Kind)
    for treatment in TREATMENTS.values():
        assert (treatment.retry is Retry.NEVER) == (treatment.ends is not Ends.MODEL_FAILED)
        assert treatment.load is Load.NOTHING or treatment.retry is not Retry.NEVER


def test_the_table_in_the_documentation_is_the_one_in_the_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")
    for kind, row in TREATMENTS.items():
        cells = (kind, row.retry.value, row.billed.value, row.ends.value, row.load.value)
        assert f"| {' | '.join(cells)} |\n" in page


@pytest.mark.parametrize("kind", [kind for kind in MET if TREATMENTS[kind].retry is not Retry.NEVER])
def test_what_can_heal_heals_and_every_token_that_was_told_is_counted_once(kind: Kind) -> None:
    async def main() -> None:
        async with served(once(kind), request_seconds=seconds(kind)) as (server, model):
            call = Call("task", 0, 1)
            reply = await model.reply(FIRST, [], call=call)
            assert reply.message["content"] == "said here"
            assert server.requests == 2
            wasted = call.meter.take()
            assert reply.usage + wasted == server.served
            assert bool(wasted.total) == (TREATMENTS[kind].billed is Billed.AS_TOLD and kind is not Kind.HTML)

    asyncio.run(main())


@pytest.mark.parametrize("kind", [kind for kind in MET if TREATMENTS[kind].retry is not Retry.NEVER])
def test_what_could_heal_and_does_not_ends_the_attempt_and_what_it_cost_is_known(kind: Kind) -> None:
    async def main() -> None:
        async with served(always(kind), retry_seconds=0.05, request_seconds=seconds(kind)) as (server, model):
            call = Call("task", 0, 1)
            with pytest.raises(ModelUnavailable, match="keeps failing"):
                await model.reply(FIRST, [], call=call)
            assert server.requests >= 2 or (server.requests == 1 and kind in (Kind.TIME_OUT, Kind.ENDLESS))
            assert call.meter.take() == server.served

    asyncio.run(main())


@pytest.mark.parametrize("turn", ["first", "later"])
@pytest.mark.parametrize("kind", [kind for kind in MET if TREATMENTS[kind].retry is Retry.NEVER])
def test_what_cannot_heal_is_asked_once(kind: Kind, turn: str) -> None:
    ends = TREATMENTS[kind].ends
    if ends is Ends.RUN_OR_ATTEMPT:
        ends = Ends.RUN if turn == "first" else Ends.MODEL_FAILED

    async def main() -> None:
        async with served(always(kind)) as (server, model):
            asked = model.reply(FIRST if turn == "first" else LATER, [], call=Call("task", 0, 1))
            if ends is Ends.NOTHING:
                assert (await asked).usage == server.served
            else:
                with pytest.raises(ERRORS[ends]):
                    await asked
                assert server.served == Usage()
            assert server.requests == 1

    asyncio.run(main())


# a server that is down


def test_an_outage_is_said_waited_for_on_no_clock_and_its_end_is_said_too() -> None:
    async def main() -> None:
        lines: list[str] = []
        async with served(lambda number, turn: None, retry_seconds=0.1) as (server, model):
            model.progress = lines.append
            await server.stop()
            call = Call("task", 0, 1)
            async with asyncio.timeout(0.3) as clock:  # less than the outage takes, but for the meter
                call.meter.clock = clock
                asked = asyncio.create_task(model.reply(FIRST, [], call=Call("task", 1, 1)))
                waiting = asyncio.create_task(restart(server))
                reply = await model.reply(FIRST, [], call=call)
            await asyncio.gather(asked, waiting)
            assert reply.usage + (await asked).usage == server.served
            assert lines[0].startswith(f"server {server.url} is down")
            assert lines[0].endswith("the run waits and goes on once it is back")
            assert lines[1:] == [""]

    asyncio.run(main())


async def restart(server: FaultServer) -> None:
    await asyncio.sleep(0.7)
    await server.start()


def test_a_503_for_too_much_to_do_is_no_outage() -> None:
    says = "The engine is currently busy and cannot accept new requests."
    busy = json.dumps({"error": {"message": says, "type": "ServiceUnavailableError", "code": 503}}).encode()
    assert refusal(Answer(503, busy)).kind is Kind.OVERLOADED
    assert refusal(Answer(503, b"<h1>503 Service Temporarily Unavailable</h1>")).kind is Kind.UNAVAILABLE


def test_a_gateway_before_a_dead_server_is_an_outage_once_nothing_else_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.models.replicas.FAILING_SECONDS", 0.05)

    async def main() -> None:
        lines: list[str] = []
        async with served(lambda number, turn: Kind.BAD_GATEWAY if number <= 12 else None, backoff_seconds=0.02) as (
            _,
            model,
        ):
            model.progress = lines.append
            await asyncio.gather(*(model.reply(FIRST, [], call=Call("task", one, 1)) for one in range(2)))
        assert "502" in lines[0]
        assert lines[-1] == ""

    asyncio.run(main())


# 500 attempts


class Overseen(ChatModel):
    """Remembers every meter, so that what nobody took from them is known."""

    meters: dict[int, Meter]

    async def replies(
        self,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]],
        *,
        call: Call,
        joined: Callable[[], Sequence[Call]],
    ) -> list[Reply]:
        def seen() -> Sequence[Call]:
            calls = joined()
            self.meters.update((id(one.meter), one.meter) for one in calls)
            return calls

        return await super().replies(messages, tools, call=call, joined=seen)


def tenth_at_random(seed: int) -> Plan:
    """Every tenth request meets a fault, all kinds in turn; what stops a run by design is left out."""
    dice = random.Random(seed)
    deck = [kind for kind in MET if TREATMENTS[kind].ends is not Ends.RUN]
    dice.shuffle(deck)

    def plan(number: int, turn: int) -> Kind | None:
        if dice.random() >= 0.1:
            return None
        kind = next(kind for kind in deck if turn or TREATMENTS[kind].ends is not Ends.RUN_OR_ATTEMPT)
        deck.remove(kind)
        deck.append(kind)
        return kind

    return plan


@pytest.mark.parametrize("first_turns", [1, 8])
def test_500_attempts_among_random_faults_and_an_outage_all_reach_an_outcome_and_no_token_is_lost(
    tmp_path: Path, first_turns: int
) -> None:
    async def main() -> tuple[FaultServer, Store, Usage, list[str]]:
        async with FaultServer(tenth_at_random(1)) as server:
            model = Overseen(
                "tiny", server.url, None, {}, request_seconds=3.0, retry_seconds=30.0, backoff_seconds=0.01
            )
            model.meters = {}
            lines: list[str] = []
            model.progress = lines.append
            asked: Model = model if first_turns == 1 else SharedFirstTurn(model, first_turns)
            store = await sampled(tmp_path, asked, lambda: restarted(server, after=300))
            await asked.close()
            return server, store, sum((meter.wasted for meter in model.meters.values()), Usage()), lines

    server, store, left, lines = asyncio.run(main())
    rows = list(store.attempts())
    counted = [row for row in rows if not row.exit.infra]
    assert len(counted) == len({row.index for row in counted}) == 500
    assert {row.exit for row in counted} == {Exit.SUBMITTED, Exit.CONTEXT_LIMIT}
    infra = [row for row in rows if row.exit.infra]
    assert infra  # and each of them was filled again
    assert {row.index for row in infra} <= {row.index for row in counted}
    assert left == Usage()
    assert sum((row.usage for row in rows), Usage()) == server.served
    assert set(server.met) - {None} == {kind for kind in MET if TREATMENTS[kind].ends is not Ends.RUN}
    assert any("the run waits" in line for line in lines)
    assert lines[-1] == ""
    store.close()


async def restarted(server: FaultServer, after: int) -> None:
    while server.requests < after:
        await asyncio.sleep(0.01)
    await server.stop()
    await asyncio.sleep(0.3)
    await server.start()


async def sampled(folder: Path, model: Model, meanwhile: Callable[[], Awaitable[None]]) -> Store:
    task = quick_task("tally")
    tasks = TaskSet("one", (task,))
    store = Store.write(folder / "run", {}, tasks, {})
    budget = MemoryBudget(20_000, key="test", folder=folder / "budget")
    pool = Pool(LocalBackend(), budget=budget, gate=StartLimiter(8))
    limits = Limits(memory_mb=512)
    arm = Arm("test", model, make_scaffold(), AttemptLimits(), limits, seed=0)
    progress = Progress.start(store.task_ids(), 500)
    try:
        sampler = Sampler(store, tasks, arm, pool, None, progress, workers=16, retries=3)
        await asyncio.gather(sampler.run(), meanwhile())
    finally:
        await pool.close()
        budget.close()
    return store
