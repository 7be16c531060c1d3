"""First turns that are asked for together, against a real server on loopback: who gets what, and who pays for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agent.agent import AttemptScope
from agent.models import ModelError, ModelRefused, ModelUnavailable, Reply
from agent.models.admission import Handling
from agent.models.answers import divided
from agent.models.chat import ChatModel
from agent.models.shared_first_turn import SharedFirstTurn
from agent.trajectory import Message, Usage
from tests.helpers import Answer, ChatServer, Heard, attempt_scope

MESSAGES: list[Message] = [{"role": "user", "content": "an issue"}]
LATER: list[Message] = [*MESSAGES, {"role": "assistant", "content": "a"}, {"role": "user", "content": "go on"}]
USAGE = {"prompt_tokens": 103, "completion_tokens": 31, "prompt_tokens_details": {"cached_tokens": 50}}


def answers(*texts: str, **fields: Any) -> Answer:
    """One completion with a choice for each text."""
    choices = [{"index": at, "message": {"content": text}} for at, text in enumerate(texts)]
    return Answer(body={"choices": choices, "usage": USAGE, **fields})


def played(
    server: ChatServer, play: Callable[[SharedFirstTurn], Awaitable[Any]], most: int = 32, **how: Any
) -> tuple[Any, list[str]]:
    """What came of it, and what a person was told."""

    async def main() -> tuple[Any, list[str]]:
        heard = Heard()
        async with server:
            quick = {"retry_seconds": 5.0, "request_seconds": 5.0, "backoff_seconds": 0.001}
            chat = ChatModel("tiny", server.url, None, {"temperature": 1}, **{**quick, **how})
            model = SharedFirstTurn(chat, most, heard)
            try:
                return await play(model), heard.texts
            finally:
                await model.close()

    return asyncio.run(main())


def asks(
    count: int, task: str = "task", messages: list[Message] = MESSAGES
) -> Callable[[SharedFirstTurn], Awaitable[list[Any]]]:
    """So many attempts at once."""

    async def play(model: SharedFirstTurn) -> list[Any]:
        scopes = [attempt_scope(task, attempt, attempt) for attempt in range(count)]
        asked = (model.reply(messages, [], scope=scope) for scope in scopes)
        return await asyncio.gather(*asked, return_exceptions=True)

    return play


def texts(replies: list[Reply]) -> list[str]:
    return [reply.message["content"] for reply in replies]


def sizes(server: ChatServer) -> list[int]:
    return [request.body.get("n", 1) for request in server.requests]


def test_attempts_that_ask_at_about_the_same_time_get_the_answers_to_one_request_without_a_seed() -> None:
    server = ChatServer(answers("one", "two", "three"))
    replies, lines = played(server, asks(3))
    assert texts(replies) == ["one", "two", "three"]
    [request] = server.requests
    assert request.body == {"model": "tiny", "messages": MESSAGES, "temperature": 1, "n": 3}
    assert lines == []


def test_who_asks_alone_asks_as_ever() -> None:
    server = ChatServer(answers("one"))
    [reply], _ = played(server, asks(1))
    assert reply.usage == Usage(103, 31, 50)
    assert server.requests[0].body == {"model": "tiny", "messages": MESSAGES, "temperature": 1, "seed": 0}


def test_no_more_are_joined_than_was_told() -> None:
    server = ChatServer(answers("a", "b"), answers("c", "d"), answers("e"))
    replies, _ = played(server, asks(5), most=2)
    assert sorted(texts(replies)) == ["a", "b", "c", "d", "e"]
    assert sorted(sizes(server)) == [1, 2, 2]


def test_later_turns_and_other_prompts_are_asked_for_each_by_itself() -> None:
    server = ChatServer(answers("a"))
    played(server, asks(3, messages=LATER))
    assert sizes(server) == [1, 1, 1]

    async def two_issues(model: SharedFirstTurn) -> None:
        await asyncio.gather(*(model.reply(MESSAGES, [], scope=attempt_scope(task)) for task in ("one", "two")))

    server = ChatServer(answers("a"))
    played(server, two_issues)
    assert sizes(server) == [1, 1]


def test_the_server_is_paid_once() -> None:
    server = ChatServer(answers("short", "a much longer answer than that", "medium sized"))
    replies, _ = played(server, asks(3))
    assert sum((reply.usage for reply in replies), Usage()) == Usage(103, 31, 50)
    assert {reply.usage.prompt for reply in replies} == {33, 35}  # evenly, up to what does not divide
    assert replies[0].usage.completion < replies[2].usage.completion < replies[1].usage.completion
    assert {reply.usage.prompt + reply.shared for reply in replies} == {103}


def test_token_ids_tell_what_usage_does_not() -> None:
    body = answers("a", "b").body
    for choice, ids in zip(body["choices"], ([1] * 31, [1] * 40), strict=True):
        choice["token_ids"] = ids
    replies, _ = played(ChatServer(Answer(body=body)), asks(2))
    assert [reply.usage.completion for reply in replies] == [31, 40]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64])
def test_parts_add_up_to_the_whole_and_no_part_is_more_than_it_is_part_of(count: int) -> None:
    for prompt in range(0, 40, 3):
        for cached in range(0, prompt + 1, 2):
            whole = Usage(prompt, 17, cached, 9)
            parts = divided(whole, list(range(1, count + 1)))
            assert sum(parts, Usage()) == whole
            assert all(part.cached <= part.prompt and part.reasoning <= part.completion for part in parts)


def test_who_got_no_answer_asks_again_and_the_server_is_asked_for_no_more_than_it_gives() -> None:
    server = ChatServer(answers("a", "b"), answers("c", "d"), answers("e", "f"))
    replies, lines = played(server, asks(6))
    assert sorted(texts(replies)) == ["a", "b", "c", "d", "e", "f"]
    assert sizes(server) == [6, 2, 2]
    assert lines == ["a request for 6 first turns has 2 answers: they are asked for at most 2 at a time from now on"]


def test_a_server_that_gives_one_answer_whatever_it_is_asked_for_is_asked_singly() -> None:
    server = ChatServer(answers("a"))
    replies, lines = played(server, asks(4))
    assert texts(replies) == ["a"] * 4
    assert sizes(server) == [4, 1, 1, 1]
    [line] = lines
    assert line.endswith("they are asked for one at a time from now on")


def test_a_server_that_refuses_so_many_is_asked_for_half_until_it_does_not() -> None:
    no = Answer(400, {"error": {"message": "n must be at most 2"}})
    server = ChatServer(no, no, answers("a", "b"), answers("c", "d"), answers("e", "f"), answers("g", "h"))
    replies, lines = played(server, asks(8))
    assert len(texts(replies)) == 8
    assert sizes(server)[0] == 8
    assert set(sizes(server)[-3:]) == {2}
    assert "refused (server" in lines[0]


def test_a_request_that_is_refused_also_singly_is_refused_to_all() -> None:
    server = ChatServer(Answer(400, {"error": {"message": "bad parameter"}}))
    found, _ = played(server, asks(4))
    assert all(isinstance(one, ModelRefused) for one in found)
    assert sizes(server)[0] == 4


def test_a_fault_hits_all_and_the_request_that_is_sent_again_is_the_same() -> None:
    server = ChatServer(Answer(503, {}), Answer(cut=20), answers("a", "b"))
    replies, _ = played(server, asks(2))
    assert texts(replies) == ["a", "b"]
    assert sizes(server) == [2, 2, 2]

    server = ChatServer(Answer(502, {"error": "boom"}))
    found, _ = played(server, asks(3), retry_seconds=0.0)
    assert [type(one) for one in found] == [ModelUnavailable] * 3
    assert len(server.requests) == 1


def test_an_answer_that_was_no_use_is_billed_once_among_all() -> None:
    scopes = [attempt_scope("task", attempt) for attempt in range(3)]

    async def play(model: SharedFirstTurn) -> list[Reply]:
        return await asyncio.gather(*(model.reply(MESSAGES, [], scope=scope) for scope in scopes))

    replies, _ = played(ChatServer(answers(), answers("a", "b", "c")), play)
    assert sum((scope.budget.take_wasted() for scope in scopes), Usage()) == Usage(103, 31, 50)
    assert sum((reply.usage for reply in replies), Usage()) == Usage(103, 31, 50)


def test_who_is_called_off_costs_the_others_no_answer_and_what_was_paid_for_it_is_counted() -> None:
    scopes = [attempt_scope("task", attempt) for attempt in range(3)]

    async def play(model: SharedFirstTurn) -> Usage:
        asked = [asyncio.create_task(model.reply(MESSAGES, [], scope=scope)) for scope in scopes]
        while not server.requests:
            await asyncio.sleep(0.005)
        asked[0].cancel()
        replies = await asyncio.gather(*asked[1:])
        assert len(replies) == 2
        return sum((reply.usage for reply in replies), Usage())

    server = ChatServer(Answer(body=answers("a", "b", "c").body, wait=0.1))
    told, _ = played(server, play)
    assert told + sum((scope.budget.take_wasted() for scope in scopes), Usage()) == Usage(103, 31, 50)


def test_a_request_that_nobody_waits_for_any_more_is_called_off() -> None:
    async def play(model: SharedFirstTurn) -> None:
        asked = [asyncio.create_task(model.reply(MESSAGES, [], scope=attempt_scope("task", at))) for at in range(2)]
        while not server.requests:
            await asyncio.sleep(0.005)
        for task in asked:
            task.cancel()
        await asyncio.wait(asked)
        async with asyncio.timeout(2):
            while model._requests:
                await asyncio.sleep(0.001)

    server = ChatServer(Answer(wait=30))
    played(server, play, request_seconds=60.0)


def test_the_wait_to_be_let_in_is_on_nobodys_clock() -> None:
    """One place at the server, taken for longer than the attempts may last."""
    scopes = [attempt_scope("task", attempt) for attempt in range(2)]

    async def attempt(model: SharedFirstTurn, scope: AttemptScope) -> Reply:
        async with scope.clock.limit(0.3):
            return await model.reply(MESSAGES, [], scope=scope)

    async def play(model: SharedFirstTurn) -> list[Reply]:
        chat = model._model
        assert isinstance(chat, ChatModel)
        door = chat._replicas.all[0].admission
        door.limit = 1.0
        other = await door.enter(0)
        asked = [asyncio.create_task(attempt(model, scope)) for scope in scopes]
        await asyncio.sleep(0.5)
        door.leave(other, Handling.OTHER)
        replies = await asyncio.gather(*asked)
        assert door.in_flight == 0
        return replies

    replies, _ = played(ChatServer(answers("a", "b")), play)
    assert texts(replies) == ["a", "b"]


def test_outages_are_told_through_it() -> None:
    async def main() -> None:
        heard = Heard()
        chat = ChatModel("tiny", "http://127.0.0.1:9/v1", None, {}, outage_seconds=0.2, events=heard)
        model = SharedFirstTurn(chat, 4, heard)
        with pytest.raises(ModelError):
            await model.reply(MESSAGES, [], scope=attempt_scope())
        assert "is down" in heard.texts[0]
        await model.close()

    asyncio.run(main())
