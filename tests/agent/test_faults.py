"""The whole table of faults against a server that commits each, and 500 attempts among all of them at random."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.agent import AttemptBudget, AttemptScope, Payer
from agent.models import (
    ContextExceeded,
    Model,
    ModelError,
    ModelRefused,
    ModelUnavailable,
    Reply,
)
from agent.models.chat import UNPROVEN, ChatModel
from agent.models.faults import TREATMENTS, Billed, Ends, Kind, Load, Retry, refusal
from agent.models.http import Answer
from agent.models.shared_first_turn import SharedFirstTurn
from agent.trajectory import Exit, Message, Usage
from monkeys.store import AttemptRow
from tasks import TaskSet
from tests.fault_server import FaultServer, Plan
from tests.helpers import Heard, attempt_scope, quick_task
from tests.sampling import open_sampling

FIRST: list[Message] = [{"role": "user", "content": "go"}]
LATER: list[Message] = [*FIRST, {"role": "assistant", "content": "hm"}, {"role": "user", "content": "go on"}]
ERRORS: dict[Ends, type[ModelError]] = {
    Ends.CONTEXT_LIMIT: ContextExceeded,
    Ends.MODEL_FAILED: ModelUnavailable,
    Ends.RUN: ModelRefused,
}
REFUSALS = (Ends.CONTEXT_LIMIT, Ends.RUN_OR_ATTEMPT)  # which are looked into by further requests
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


# An empty message without usage is taken for the model's where no answer ever told usage.
HEALING = [kind for kind in MET if TREATMENTS[kind].retry is not Retry.NEVER and kind is not Kind.HOLLOW]


@pytest.mark.parametrize("kind", HEALING)
def test_what_can_heal_heals_and_every_token_that_was_told_is_counted_once(kind: Kind) -> None:
    async def main() -> None:
        async with served(once(kind), request_seconds=seconds(kind)) as (server, model):
            scope = attempt_scope()
            reply = await model.reply(FIRST, [], scope=scope)
            assert reply.message["content"] == "said here"
            assert server.requests == 2
            wasted = scope.budget.take_wasted()
            assert reply.usage + wasted == server.served
            assert bool(wasted.total) == (TREATMENTS[kind].billed is Billed.AS_TOLD and kind is not Kind.HTML)

    asyncio.run(main())


@pytest.mark.parametrize("kind", HEALING)
def test_what_could_heal_and_does_not_ends_the_attempt_and_what_it_cost_is_known(kind: Kind) -> None:
    async def main() -> None:
        async with served(always(kind), retry_seconds=0.05, request_seconds=seconds(kind)) as (server, model):
            scope = attempt_scope()
            # What no request was ever answered to get past is not taken for what heals.
            lasting = kind in UNPROVEN
            with pytest.raises(
                ModelRefused if lasting else ModelUnavailable, match="not answered one" if lasting else "keeps failing"
            ):
                await model.reply(FIRST, [], scope=scope)
            assert server.requests >= 2 or (server.requests == 1 and kind in (Kind.TIME_OUT, Kind.ENDLESS))
            assert scope.budget.take_wasted() == server.served

    asyncio.run(main())


NEVER_AGAIN = [kind for kind in MET if TREATMENTS[kind].retry is Retry.NEVER]


@pytest.mark.parametrize("turn", ["first", "later"])
@pytest.mark.parametrize("kind", [kind for kind in NEVER_AGAIN if TREATMENTS[kind].ends not in REFUSALS])
def test_what_cannot_heal_is_asked_once(kind: Kind, turn: str) -> None:
    ends = TREATMENTS[kind].ends

    async def main() -> None:
        async with served(always(kind)) as (server, model):
            asked = model.reply(FIRST if turn == "first" else LATER, [], scope=attempt_scope())
            if ends is Ends.NOTHING:
                assert (await asked).usage == server.served
            else:
                with pytest.raises(ERRORS[ends]):
                    await asked
                assert server.served == Usage()
            assert server.requests == 1

    asyncio.run(main())


@pytest.mark.parametrize("kind", [kind for kind in NEVER_AGAIN if TREATMENTS[kind].ends in REFUSALS])
def test_what_is_refused_whatever_the_conversation_stops_the_run_and_never_counts_as_too_long(kind: Kind) -> None:
    async def main() -> None:
        async with served(always(kind)) as (server, model):
            with pytest.raises(ModelRefused):
                await model.reply(FIRST, [], scope=attempt_scope())
            with pytest.raises(ModelRefused if kind is Kind.NOT_FOUND else ModelUnavailable):
                await model.reply(LATER, [], scope=attempt_scope())
            assert server.requests < 20

    asyncio.run(main())


@pytest.mark.parametrize("kind", [kind for kind in NEVER_AGAIN if TREATMENTS[kind].ends is Ends.RUN_OR_ATTEMPT])
def test_a_refusal_that_does_not_come_again_is_passed_over(kind: Kind) -> None:
    async def main() -> None:
        async with served(lambda number, turn: kind if number == 3 else None) as (server, model):
            scope = attempt_scope()
            replies = [await model.reply(told, [], scope=scope) for told in (FIRST, LATER, LATER)]
            assert sum((reply.usage for reply in replies), scope.budget.take_wasted()) == server.served

    asyncio.run(main())


# a server that is down


def test_an_outage_is_said_waited_for_on_no_clock_and_its_end_is_said_too() -> None:
    async def main() -> None:
        heard = Heard()
        lines = heard.texts
        async with served(lambda number, turn: None, retry_seconds=0.1, events=heard) as (server, model):
            await server.stop()
            scope = attempt_scope()
            async with scope.clock.limit(0.3):  # less than the outage takes
                asked = asyncio.create_task(model.reply(FIRST, [], scope=attempt_scope("task", 1)))
                waiting = asyncio.create_task(restart(server))
                reply = await model.reply(FIRST, [], scope=scope)
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
        heard = Heard()
        lines = heard.texts
        plan: Plan = lambda number, turn: Kind.BAD_GATEWAY if number <= 12 else None  # noqa: E731
        async with served(plan, backoff_seconds=0.02, events=heard) as (_, model):
            await asyncio.gather(*(model.reply(FIRST, [], scope=attempt_scope("task", one)) for one in range(2)))
        assert "502" in lines[0]
        assert lines[-1] == ""

    asyncio.run(main())


# 500 attempts


class Overseen(ChatModel):
    """Remembers every budget, so that what nobody took from them is known."""

    budgets: dict[int, AttemptBudget]

    async def replies(
        self,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]],
        *,
        scope: AttemptScope,
        payer: Payer,
        joined: Callable[[], Sequence[AttemptScope]],
    ) -> list[Reply]:
        def seen() -> Sequence[AttemptScope]:
            scopes = joined()
            self.budgets.update((id(one.budget), one.budget) for one in scopes)
            return scopes

        return await super().replies(messages, tools, scope=scope, payer=payer, joined=seen)


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
    async def main() -> tuple[FaultServer, list[AttemptRow], Usage, list[str]]:
        async with FaultServer(tenth_at_random(1)) as server:
            heard = Heard()
            quick: dict[str, Any] = {"request_seconds": 3.0, "retry_seconds": 30.0, "backoff_seconds": 0.01}
            model = Overseen("tiny", server.url, None, {}, events=heard, **quick)
            model.budgets = {}
            asked: Model = model if first_turns == 1 else SharedFirstTurn(model, first_turns, heard)
            rows = await sampled(tmp_path, asked, lambda: restarted(server, after=300))
            await asked.close()
            return server, rows, sum((budget.wasted for budget in model.budgets.values()), Usage()), heard.texts

    server, rows, left, lines = asyncio.run(main())
    counted = [row for row in rows if not row.exit.infra]
    assert len(counted) == len({row.index for row in counted}) == 500
    # A conversation that is refused once only is none to end with; by chance one is refused again in the same words.
    exits = Counter(row.exit for row in counted)
    assert set(exits) <= {Exit.SUBMITTED, Exit.CONTEXT_LIMIT, Exit.REJECTED}
    assert exits[Exit.CONTEXT_LIMIT] + exits[Exit.REJECTED] < 25
    infra = [row for row in rows if row.exit.infra]  # and each of them was filled again
    assert {row.index for row in infra} <= {row.index for row in counted}
    assert left == Usage()
    assert sum((row.usage for row in rows), Usage()) == server.served
    assert set(server.met) - {None} == {kind for kind in MET if TREATMENTS[kind].ends is not Ends.RUN}
    assert any("the run waits" in line for line in lines)
    assert lines[-1] == ""


async def restarted(server: FaultServer, after: int) -> None:
    while server.requests < after:
        await asyncio.sleep(0.01)
    await server.stop()
    await asyncio.sleep(0.3)
    await server.start()


async def sampled(folder: Path, model: Model, meanwhile: Callable[[], Awaitable[None]]) -> list[AttemptRow]:
    tasks = TaskSet("one", (quick_task("tally"),))
    async with open_sampling(folder / "run", tasks, model, attempts=500, workers=16) as sampling:
        await asyncio.gather(sampling.sampler.run(), meanwhile())
        return list(sampling.store.attempts())
