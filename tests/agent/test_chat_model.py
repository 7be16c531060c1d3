"""The client of served models, against a real server on loopback: what it sends, what it counts, what it survives."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

import pytest

from agent.actions.native import schemas
from agent.agent import AttemptScope
from agent.models import ModelError, ModelRefused, ModelUnavailable, Reply, Tokens
from agent.models.chat import ChatModel
from agent.models.source import ModelRequest
from agent.models.sources import make_model
from agent.tools import TOOLS
from agent.trajectory import Message, Usage
from tests.helpers import Answer, ChatServer, Heard, attempt_scope, completion, said

MESSAGES: list[Message] = [{"role": "user", "content": "naïve 🐒"}]
SCHEMAS = schemas(TOOLS)


def error(status: int, message: Any = "no", **fields: Any) -> Answer:
    return Answer(status, {"error": {"message": message, **fields}})


def model_at(url: str, **how: Any) -> ChatModel:
    quick = {"retry_seconds": 5.0, "request_seconds": 5.0, "backoff_seconds": 0.001}
    return ChatModel("tiny", url, "secret-key", how.pop("sampling", {}), **{**quick, **how})


def talk(server: ChatServer, play: Callable[[ChatModel], Awaitable[Any]], **how: Any) -> Any:
    async def main() -> Any:
        async with server:
            model = model_at(server.url, **how)
            try:
                return await play(model)
            finally:
                await model.close()
                await model.close()  # idempotent

    return asyncio.run(main())


def asker() -> AttemptScope:
    return attempt_scope("task", 3, 2**63 - 5)


async def ask(model: ChatModel) -> Reply:
    return await model.reply(MESSAGES, SCHEMAS, scope=asker())


def reply_to(*answers: Answer, **how: Any) -> tuple[Reply, ChatServer]:
    server = ChatServer(*answers)
    return talk(server, ask, **how), server


def failure_of(*answers: Answer, **how: Any) -> tuple[ModelError, ChatServer]:
    """The error that a server's answers end in; its message is one line that leaks no key."""
    server = ChatServer(*answers)
    with pytest.raises(ModelError) as caught:
        talk(server, ask, **how)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 700
    assert "secret-key" not in text
    return caught.value, server


# what is sent and what is counted


def test_a_request_holds_model_messages_tools_seed_and_sampling_fields() -> None:
    _, server = reply_to(sampling={"temperature": 0.7, "max_tokens": 100})
    [request] = server.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.body == {
        "model": "tiny",
        "messages": MESSAGES,
        "tools": SCHEMAS,
        "seed": (2**63 - 5) & 0x7FFFFFFF,
        "temperature": 0.7,
        "max_tokens": 100,
    }


def test_a_request_without_tools_names_none() -> None:
    async def bare(model: ChatModel) -> Reply:
        return await model.reply(MESSAGES, [], scope=asker())

    server = ChatServer()
    talk(server, bare)
    assert "tools" not in server.requests[0].body


def test_the_key_is_in_the_header_without_the_line_end_of_its_file() -> None:
    async def main(key: str | None) -> str:
        async with ChatServer() as server:
            model = ChatModel("tiny", server.url, key, {})
            await ask(model)
            await model.close()
            return server.requests[0].headers["authorization"]

    assert asyncio.run(main("secret-key")) == "Bearer secret-key"
    assert asyncio.run(main("secret-key\n")) == "Bearer secret-key"
    assert asyncio.run(main(None)).startswith("Bearer ")


def test_usage_is_read_with_cached_and_reasoning_tokens() -> None:
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 200,
        "prompt_tokens_details": {"cached_tokens": 900},
        "completion_tokens_details": {"reasoning_tokens": 150},
    }
    reply, _ = reply_to(completion(usage=usage))
    assert reply.usage == Usage(1000, 200, 900, 150)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 20, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 80}},
        {"input_tokens": 20, "output_tokens": 5, "cache_read_input_tokens": 80},
        {"prompt_tokens": 100, "completion_tokens": 5, "prompt_cache_hit_tokens": 80, "cache_read_input_tokens": 80},
    ],
)
def test_cached_tokens_are_part_of_the_prompt_however_they_are_told(usage: Any) -> None:
    reply, _ = reply_to(completion(usage=usage))
    assert reply.usage == Usage(100, 5, 80)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        "12",
        {"prompt_tokens": None, "completion_tokens": "many"},
        {"prompt_tokens_details": 5, "completion_tokens_details": [1]},
        {"prompt_tokens_details": None, "completion_tokens_details": {"reasoning_tokens": None}},
    ],
)
def test_usage_that_is_missing_or_odd_counts_nothing(usage: Any) -> None:
    reply, _ = reply_to(completion(usage=usage))
    assert reply.usage == Usage()
    assert reply.message["content"] == "hello"


def test_a_reply_is_the_message_without_its_empty_fields() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "submit", "arguments": "{}"}}
    message = {"role": None, "content": None, "tool_calls": [call], "audio": None, "refusal": None, "reasoning": "hm"}
    reply, _ = reply_to(completion(choices=[{"message": message, "finish_reason": "tool_calls"}]))
    assert reply.message == {"role": "assistant", "content": None, "tool_calls": [call], "reasoning": "hm"}
    assert reply.finish_reason == "tool_calls"


def test_null_content_is_a_reply() -> None:
    reply, server = reply_to(Answer(body=said(None)))
    assert reply.message == {"role": "assistant", "content": None}
    assert len(server.requests) == 1


def test_invalid_utf8_in_an_answer_is_shown_as_such_and_not_asked_for_again() -> None:
    body = b'{"choices": [{"message": {"content": "caf\xe9"}}], "usage": {"prompt_tokens": 1}}'
    reply, server = reply_to(Answer(body=body))
    assert reply.message["content"] == "caf�"
    assert reply.usage == Usage(1)
    assert len(server.requests) == 1


EVERY_FIELD = {
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.05,
    "stop": ["END"],
    "max_tokens": 64,
    "logprobs": True,
    "return_token_ids": True,
    "chat_template_kwargs": {"enable_thinking": False},
}


def test_every_sampling_field_goes_into_the_body_and_one_that_is_none_leaves_it() -> None:
    _, server = reply_to(sampling={**EVERY_FIELD, "seed": None})
    assert server.requests[0].body == {"model": "tiny", "messages": MESSAGES, "tools": SCHEMAS, **EVERY_FIELD}


def test_a_server_that_schedules_is_told_to_take_later_turns_first() -> None:
    told: list[Message] = [*MESSAGES, {"role": "assistant", "content": "a"}, {"role": "user", "content": "go on"}]

    async def both(model: ChatModel) -> None:
        await ask(model)
        await model.reply(told, SCHEMAS, scope=asker())

    server = ChatServer()
    talk(server, both, scheduled=True)
    first, later = [request.body["priority"] for request in server.requests]
    assert later < first


def test_token_ids_and_log_probabilities_come_with_the_reply_where_the_server_has_them() -> None:
    choice = {
        **said()["choices"][0],
        "token_ids": [15339, 2],
        "logprobs": {"content": [{"token": "hello", "logprob": -0.5}, {"token": "", "logprob": -1}]},
    }
    reply, _ = reply_to(completion(choices=[choice], prompt_token_ids=[1, 2, 3]))
    assert reply.tokens == Tokens((1, 2, 3), (15339, 2), (-0.5, -1.0))
    odds: list[dict[str, Any]] = [{"logprobs": []}, {"logprobs": {"content": None}, "token_ids": "abc"}, {}]
    for odd in odds:
        reply, _ = reply_to(completion(choices=[{**said()["choices"][0], **odd}]))
        assert reply.tokens is None


# how a server wants it written


THOUGHTFUL: list[Message] = [
    *MESSAGES,
    {"role": "assistant", "content": "a", "reasoning_content": "hm", "reasoning_details": [{"text": "hm"}]},
    {"role": "user", "content": "go on"},
    {"role": "assistant", "content": "b"},
    {"role": "user", "content": "and on"},
]
NO_MAX_TOKENS = error(
    400,
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    param="max_tokens",
    code="unsupported_parameter",
)
NO_THOUGHTS = Answer(
    422,
    {
        "object": "error",
        "message": {
            "detail": [
                {
                    "type": "extra_forbidden",
                    "loc": ["body", "messages", 1, "assistant", "reasoning_content"],
                    "msg": "Extra inputs are not permitted",
                }
            ]
        },
    },
)
ALL_THOUGHTS = error(400, "The `reasoning_content` in the thinking mode must be passed back to the API.")


def taught(*answers: Answer, times: int = 2, **how: Any) -> tuple[list[Any], list[str]]:
    """The bodies of the requests for as many replies, and what a person was told."""
    heard = Heard()

    async def play(model: ChatModel) -> None:
        for _ in range(times):
            await model.reply(THOUGHTFUL, SCHEMAS, scope=asker())

    server = ChatServer(*answers)
    talk(server, play, events=heard, **how)
    return [request.body for request in server.requests], heard.texts


def test_a_limit_of_completion_tokens_goes_by_the_name_that_all_servers_know() -> None:
    [body], lines = taught(times=1, sampling={"max_completion_tokens": 64})
    assert body["max_tokens"] == 64
    assert "max_completion_tokens" not in body
    assert lines == []


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_server_that_refuses_that_name_gets_the_other_one_from_then_on(name: str) -> None:
    bodies, lines = taught(NO_MAX_TOKENS, completion(), sampling={name: 64})
    assert [("max_tokens" in body, body.get("max_completion_tokens")) for body in bodies] == [
        (True, None),
        (False, 64),
        (False, 64),
    ]
    [line] = lines
    assert line.endswith("the server wants max_completion_tokens instead of max_tokens")


def test_a_limit_that_is_refused_for_its_value_is_refused() -> None:
    fault, _ = failure_of(error(400, "max_tokens must be at least 1, got 0"), sampling={"max_tokens": 0})
    assert isinstance(fault, ModelRefused)
    assert "leave out --max-completion-tokens" in str(fault)


def test_what_the_model_thought_goes_back_in_the_fields_in_which_it_came() -> None:
    [body], _ = taught(times=1)
    assert body["messages"] == THOUGHTFUL


def test_a_field_of_thoughts_that_a_server_refuses_is_dropped_from_then_on_and_others_are_not() -> None:
    bodies, lines = taught(NO_THOUGHTS, completion())
    kept = {"role": "assistant", "content": "a", "reasoning_details": [{"text": "hm"}]}
    assert [body["messages"][1] for body in bodies] == [THOUGHTFUL[1], kept, kept]
    [line] = lines
    assert "does not accept reasoning_content in messages" in line
    assert THOUGHTFUL[1]["reasoning_content"] == "hm"  # the conversation itself has it


def test_a_server_that_wants_thoughts_in_all_messages_gets_empty_ones_where_there_are_none() -> None:
    bodies, lines = taught(ALL_THOUGHTS, completion())
    assert [[message.get("reasoning_content") for message in body["messages"]] for body in bodies] == [
        [None, "hm", None, None, None],
        [None, "hm", None, "", None],
        [None, "hm", None, "", None],
    ]
    assert len(lines) == 1


def test_several_things_may_be_learnt_from_one_server() -> None:
    bodies, lines = taught(NO_MAX_TOKENS, NO_THOUGHTS, completion(), sampling={"max_tokens": 64})
    assert bodies[2] == bodies[3]
    assert bodies[2]["max_completion_tokens"] == 64
    assert "reasoning_content" not in bodies[2]["messages"][1]
    assert len(lines) == 2


def test_what_is_learnt_is_said_once_however_many_were_refused() -> None:
    heard = Heard()

    async def many(model: ChatModel) -> None:
        await asyncio.gather(*(model.reply(THOUGHTFUL, SCHEMAS, scope=asker()) for _ in range(8)))

    talk(ChatServer(*[NO_THOUGHTS] * 8, completion()), many, events=heard)
    assert len(heard.texts) == 1


def test_a_refusal_that_goes_on_is_refused() -> None:
    server = ChatServer(NO_THOUGHTS)
    with pytest.raises(ModelUnavailable, match="Extra inputs are not permitted"):
        talk(server, lambda model: model.reply(THOUGHTFUL, SCHEMAS, scope=asker()))


def test_thoughts_may_be_left_out_from_the_start() -> None:
    [body], lines = taught(times=1, reasoning="drop")
    assert body["messages"][1] == {"role": "assistant", "content": "a"}
    assert lines == []


# faults that can heal


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_a_status_that_can_heal_is_tried_again(status: int) -> None:
    reply, server = reply_to(error(status), error(status), completion())
    assert reply.message["content"] == "hello"
    assert len(server.requests) == 3
    assert server.requests[0].body == server.requests[2].body


HTML = Answer(body=b"<html>\n<h1>Welcome</h1>\n</html>", headers={"content-type": "text/html"})


@pytest.mark.parametrize(
    "answer",
    [
        HTML,
        Answer(body=b""),
        Answer(body=b"{"),
        Answer(body=b"null"),
        Answer(body=b"[" * 100_000),
        Answer(body={"error": {"message": "upstream failed", "code": 502}}),
        completion(choices=[]),
        completion(choices=None),
        completion(choices={"0": 1}),
        completion(choices=[None]),
        completion(choices=[{"message": None}]),
        completion(choices=[{"message": "hello"}]),
        completion(choices=[{"text": "hello"}]),
        Answer(cut=0),
        Answer(cut=20),
    ],
    ids=lambda answer: f"{answer.body!r:.50} cut {answer.cut}",
)
def test_an_answer_that_is_none_is_asked_for_again(answer: Answer) -> None:
    reply, server = reply_to(answer, completion())
    assert reply.message["content"] == "hello"
    assert len(server.requests) == 2


def test_tokens_of_unusable_answers_are_billed_to_the_attempt_and_those_of_the_answer_to_the_reply() -> None:
    scope = attempt_scope()
    reply = talk(
        ChatServer(completion(choices=[]), completion(choices=[]), completion()),
        lambda model: model.reply(MESSAGES, SCHEMAS, scope=scope),
    )
    assert reply.usage == Usage(7, 3)
    assert scope.budget.take_wasted() == Usage(14, 6)
    assert scope.budget.take_wasted() == Usage()


@pytest.mark.parametrize("more", [1, 3])
def test_answers_that_nobody_asked_for_are_billed_to_the_attempt(more: int) -> None:
    scope = attempt_scope()
    [choice] = completion().body["choices"]
    server = ChatServer(completion(choices=[choice] * (1 + more)))
    reply = talk(server, lambda model: model.reply(MESSAGES, SCHEMAS, scope=scope))
    assert reply.usage + scope.budget.take_wasted() == Usage(7, 3)


def test_a_server_that_closes_idle_connections_is_no_failure() -> None:
    async def twice(model: ChatModel) -> None:
        await ask(model)
        server.drop()
        await asyncio.sleep(0.05)
        await ask(model)

    server = ChatServer()
    talk(server, twice, retry_seconds=5.0)
    assert len(server.requests) == 2


def test_a_server_that_never_answers_is_given_up_at_the_deadline() -> None:
    fault, server = failure_of(Answer(wait=30), request_seconds=0.15, retry_seconds=0.4)
    assert isinstance(fault, ModelUnavailable)
    assert "keeps failing: no answer within 0.15 s" in str(fault)
    assert 2 <= len(server.requests) <= 5


def test_a_server_that_keeps_failing_is_unavailable_once_the_deadline_has_passed() -> None:
    began = time.monotonic()
    fault, server = failure_of(error(503, "loading the model"), retry_seconds=0.3, backoff_seconds=0.05)
    assert isinstance(fault, ModelUnavailable)
    assert "HTTP 503: loading the model" in str(fault)
    assert "check that it is running" in str(fault)
    assert len(server.requests) >= 2
    assert time.monotonic() - began < 2


def test_one_cause_reads_the_same_each_time() -> None:
    texts = set()
    for _ in range(2):
        fault, server = failure_of(error(500, "boom"), retry_seconds=0.0)
        texts.add(str(fault).replace(server.url, "URL"))
    assert len(texts) == 1


def test_an_outage_is_waited_for_as_long_as_was_told_and_no_longer() -> None:
    async def main() -> None:
        model = model_at(closed_port(), outage_seconds=0.3)
        with pytest.raises(ModelUnavailable, match=r"is down \(\w*Connect\w*: .*for more than 0.3 s; check that it is"):
            await ask(model)
        with pytest.raises(ModelUnavailable, match="is down"):  # and at once from then on
            await asyncio.wait_for(ask(model), 0.1)
        await model.close()

    asyncio.run(main())


def test_a_server_that_comes_up_late_is_waited_for() -> None:
    async def main() -> Reply:
        url = closed_port()
        model = model_at(url, backoff_seconds=0.05)
        asked = asyncio.create_task(ask(model))
        await asyncio.sleep(0.2)
        async with ChatServer(port=int(url.rpartition(":")[2].removesuffix("/v1"))):
            reply = await asked
        await model.close()
        return reply

    assert asyncio.run(main()).message["content"] == "hello"


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


# Retry-After


def test_the_server_says_how_long_to_wait() -> None:
    began = time.monotonic()
    _, server = reply_to(Answer(429, {}, {"retry-after": "0.4"}), completion())
    assert 0.4 <= time.monotonic() - began < 3
    assert len(server.requests) == 2


def test_a_date_to_wait_for_is_understood() -> None:
    began = time.monotonic()
    reply_to(Answer(503, {}, {"retry-after": formatdate(time.time() + 1.9, usegmt=True)}), completion())
    assert 0.5 <= time.monotonic() - began < 4


@pytest.mark.parametrize("odd", ["soon", "-5", "", "nan", "Mon, 99 Foo 2024"])
def test_a_wish_that_makes_no_sense_is_passed_over(odd: str) -> None:
    _, server = reply_to(Answer(429, {}, {"retry-after": odd}), completion())
    assert len(server.requests) == 2


@pytest.mark.parametrize("long", ["3600", "inf", "1e300", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_wait_beyond_the_deadline_ends_with_one_last_try_at_the_deadline(long: str) -> None:
    began = time.monotonic()
    fault, server = failure_of(Answer(429, {}, {"retry-after": long}), retry_seconds=0.4)
    assert isinstance(fault, ModelUnavailable)
    assert 0.4 <= time.monotonic() - began < 3
    assert len(server.requests) == 2


# faults that cannot


@pytest.mark.parametrize(
    ("answer", "texts"),
    [
        (error(400, "unknown parameter: top_q"), ["refuses the request with HTTP 400: unknown parameter: top_q"]),
        (error(400, "max_tokens=100000 cannot be greater than max_model_len=8192."), ["max_tokens=100000"]),
        (error(422, "seed must be small"), ["refuses the request with HTTP 422: seed must be small"]),
        (Answer(422, {"detail": [{"msg": "bad"}]}), ["HTTP 422", "bad"]),
        (error(401, "Incorrect API key"), ["refuses the key (HTTP 401: Incorrect API key)", "--api-key-env"]),
        (error(403, "not yours"), ["refuses the key (HTTP 403: not yours)", "--api-key-env"]),
        (error(404, "no such model"), ["does not know model 'tiny'", "no such model", "--model", "--base-url"]),
        (error(402, "pay first"), ["HTTP 402: pay first"]),
        (error(501), ["HTTP 501"]),
        (Answer(400, b"<html>\n<b>Bad\nRequest</b></html>"), ["HTTP 400", "Bad Request"]),
        (Answer(400, {"error": "a\n text"}), ["HTTP 400: a text"]),
        (Answer(400, {"error": None}), ["HTTP 400"]),
        (Answer(400, [{"error": {"message": "in a list"}}]), ["HTTP 400", "in a list"]),
        (
            Answer(400, [{"error": {"message": "API key not valid."}}]),
            ["(HTTP 400: API key not valid.)", "--api-key-env"],
        ),
        (Answer(400, b"\xff\xfe"), ["HTTP 400"]),
        (error(400, {"nested": ["text"]}), ["HTTP 400", "nested"]),
        (error(400, "x" * 5000), ["HTTP 400"]),
    ],
    ids=lambda value: f"{value.status} {value.body!r:.40}" if isinstance(value, Answer) else "",
)
def test_a_request_that_can_never_succeed_is_refused_with_the_remedy(answer: Answer, texts: list[str]) -> None:
    fault, server = failure_of(answer)
    assert isinstance(fault, ModelRefused)
    assert server.url in str(fault)
    for text in texts:
        assert text in str(fault)


@pytest.mark.parametrize("status", [400, 422])
def test_a_history_that_the_server_refuses_costs_its_own_attempt_and_not_the_run(status: int) -> None:
    told: list[Message] = [*MESSAGES, {"role": "assistant", "content": "odd"}, {"role": "user", "content": "go on"}]
    server = ChatServer(error(status, "bad tool call in the history"))
    with pytest.raises(ModelUnavailable, match="bad tool call in the history"):
        talk(server, lambda model: model.reply(told, SCHEMAS, scope=asker()))


# check


async def checked(url: str, key: str | None = "key") -> str:
    model = make_model(ModelRequest("tiny", base_url=(url,), api_key=key))
    text = ""
    try:
        await model.check()
    except ModelRefused as refusal:
        text = str(refusal)
    await model.close()
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    "answer", [Answer(body={"data": []}), error(404), error(500), HTML, Answer(body=b"{"), Answer(body=b"")]
)
def test_a_server_that_is_there_passes_the_check(answer: Answer) -> None:
    async def main() -> None:
        async with ChatServer(answer) as server:
            assert await checked(server.url) == ""
            assert [(request.method, request.path) for request in server.requests] == [("GET", "/v1/models")]

    asyncio.run(main())


@pytest.mark.parametrize("status", [401, 403])
def test_the_check_finds_a_wrong_key(status: int) -> None:
    async def main() -> None:
        async with ChatServer(error(status, "bad key")) as server:
            text = await checked(server.url)
            assert text.startswith(f"server {server.url} refuses the key (HTTP {status}: bad key)")
            assert "--api-key-env" in text

    asyncio.run(main())


def test_the_check_finds_that_nobody_is_there() -> None:
    text = asyncio.run(checked(closed_port()))
    assert "cannot be reached" in text
    assert text.endswith("check --base-url and that it is running")


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000/v1",
        "127.0.0.1",
        "http://[::1/v1",
        "http://127.0.0.1:port/v1",
        "http://127.0.0.1:99999/v1",
        "http://",
        "ftp://x/v1",
        "",
    ],
)
def test_the_check_refuses_what_is_no_address(url: str) -> None:
    assert "--base-url" in asyncio.run(checked(url))


def test_a_key_that_no_header_can_carry_is_refused_without_being_shown() -> None:
    for key in ("sch€n", "two\nlines"):
        text = asyncio.run(checked("http://127.0.0.1:9/v1", key))
        assert "--api-key-env" in text
        assert key not in text


# many at once


def test_fifty_requests_at_once_reuse_their_connections() -> None:
    async def many(model: ChatModel) -> tuple[int, int]:
        await asyncio.gather(*(ask(model) for _ in range(50)))
        first = server.connections
        for _ in range(3):
            await asyncio.gather(*(ask(model) for _ in range(50)))
        return first, server.connections

    server = ChatServer(Answer(wait=0.02))
    first, last = talk(server, many)
    assert first <= 50
    assert last <= 50  # as many as are in flight at once, which grows
    assert len(server.requests) == 200


def test_a_cancelled_request_ends_at_once_also_between_two_tries() -> None:
    async def cancelled(model: ChatModel) -> None:
        asked = asyncio.create_task(ask(model))
        await asyncio.sleep(0.3)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    began = time.monotonic()
    talk(ChatServer(Answer(wait=30)), cancelled, request_seconds=60.0)
    talk(ChatServer(Answer(429, {}, {"retry-after": "60"})), cancelled, retry_seconds=60.0)
    assert time.monotonic() - began < 5
