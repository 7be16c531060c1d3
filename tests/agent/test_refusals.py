"""What servers refuse, and in which words: each is met by a real server with that quirk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from agent.actions.native import schemas
from agent.models import ContextExceeded, ModelError, ModelRefused, ModelUnavailable, Rejected, Reply
from agent.models.chat import ChatModel
from agent.tools import TOOLS
from agent.trajectory import Message, Usage
from tests.helpers import Answer, Heard, attempt_scope
from tests.quirky_server import Body, Quirk, QuirkyServer, answer, call, refuse, size_of

LONG = 20_000  # characters that are too many
PROMPT: list[Message] = [{"role": "system", "content": "You mend."}, {"role": "user", "content": "It is broken."}]


def turn(content: str | None, result: str, number: int = 1) -> list[Message]:
    """A reply with a call, and its result."""
    calls = [call("bash", {"command": "ls"}, f"call_{number}")]
    return [
        {"role": "assistant", "content": content, "tool_calls": calls},
        {"role": "tool", "tool_call_id": f"call_{number}", "content": result},
    ]


LATER: list[Message] = [*PROMPT, *turn(None, "a.py")]
OUTGROWN: list[Message] = [*PROMPT, *turn(None, "0123456789 " * (LONG // 10))]


Asked = tuple[Reply | ModelError, QuirkyServer, list[str]]


def always(given: Answer) -> Quirk:
    return lambda body, turn: given


def asked(quirk: Quirk, *conversations: list[Message], **how: Any) -> Asked:
    """What a server answers to the last of these conversations, after it was asked for the others."""

    async def main() -> Asked:
        heard, found = Heard(), list[Reply | ModelError]()
        async with QuirkyServer(quirk) as server:
            quick: dict[str, Any] = {"retry_seconds": 5.0, "request_seconds": 5.0, "backoff_seconds": 0.001, **how}
            model = ChatModel("tiny", server.url, None, quick.pop("sampling", {}), events=heard, **quick)
            for messages in conversations:
                scope = attempt_scope()
                try:
                    found.append(await model.reply(messages, schemas(TOOLS), scope=scope))
                except ModelError as error:
                    found.append(error)
            await model.close()
        return found[-1], server, heard.texts

    return asyncio.run(main())


# too long

WORDS = """\
This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (8000 in the messages, 10
Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.
Your input exceeds the context window of this model. Please adjust your input and try again.
prompt is too long: 201000 tokens > 200000 maximum
input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length or `max_token
The decoder prompt (length 9000) is longer than the maximum model length of 8192.
'max_completion_tokens' is too large: 4096. This model's maximum context length is 8192 tokens and your request
You passed 40000 input tokens and requested 100 output tokens. However, the model's context length is only 32768
The input (40000 tokens) is longer than the model's context length (32768 tokens).
Input length (40000 tokens) exceeds the maximum allowed length (32763 tokens). Use a shorter input
Input validation error: `inputs` must have less than 4095 tokens. Given: 5000
Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens and 0
request (9412 tokens) exceeds the available context size (8192 tokens), try increasing it
Context size has been exceeded.
context shift is disabled
input is too large to process. increase the physical batch size
Trying to keep the first 9000 tokens when context the overflows. However, the model is loaded with context lengt
The number of tokens to keep from the initial prompt is greater than the context length.
prompt too long; exceeded max context length by 12 tokens
Prompt length (9000) exceeds maximum input length (8192). Set log level to info and check
Number of input tokens (9000) is larger than max_input_len 8192
The input prompt token len 9000 + max_new_tokens 100 > session_len 8192
Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length
Please reduce the length of the messages or completion.
too many tokens: total number of tokens in the prompt cannot exceed 128000 - received 200000
The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).
ValidationException: The model returned the following errors: Input is too long for requested model.
litellm.ContextWindowExceededError: litellm.BadRequestError
This model's maximum prompt length is 131072 but the request contains 180001 tokens.
Invalid request: Your request exceeded model token limit: 131072
Prompt exceeds max length
<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]
prompt token count of 130000 exceeds the limit of 128000
invalid params, context window exceeds limit (2013)
Input token length too long
Current length is 40000 while limit is 32768
Prompt has 32769 tokens, but the configured context size is 32768 tokens
Total tokens of image and text exceed max message tokens.
Sequence length 9000 > model max length 8192
chat history exceeds model capacity
the prompt does not fit into the context
输入内容过长，超过模型上下文长度
Die Eingabe ist zu lang
Le prompt est trop long
入力トークン数が上限を超えています
입력 토큰이 최대 길이를 초과했습니다
Запрос слишком длинный: превышен контекст
Your prompt is 9,213 tokens but the model only supports 8,192
n_prompt_tokens = 9000 >= n_ctx = 8192
max_position_embeddings exceeded (9000/8192)
tokens_limit_reached: Request body too large for m. Max size: 8000 tokens.
Please start a new chat: this one has become too long"""
NO_WORDS = [
    Answer(400, b""),
    Answer(400, {"error": {"message": "Bad Request"}}),
    Answer(422, {"code": 20015}),
    Answer(400, {"errorCode": 7, "args": [9001]}),
    Answer(500, {"error": {"message": "Internal Server Error"}}),
    Answer(400, {"error": {"message": "Geht nicht, wegen Ueberfuellung geschlossen"}}),
    Answer(400, {"error": {"message": "max_new_tokens must be positive, got -12"}}),
    Answer(422, {"error": {"message": "This prompt needs 300 pages, and there are 256"}}),
    Answer(403, b"<html><h1>403 Forbidden</h1></html>"),
]
BIG = [Answer(413, b"<html><h1>413 Request Entity Too Large</h1></html>"), Answer(413, b"")]


def too_long(refusal: Answer) -> Quirk:
    return lambda body, turn: refusal if size_of(body) > LONG else None


@pytest.mark.parametrize("words", WORDS.splitlines(), ids=lambda words: words[:40])
def test_a_conversation_that_is_too_long_is_known_by_its_words_on_any_turn(words: str) -> None:
    quirk = too_long(refuse(words))
    found, server, _ = asked(quirk, PROMPT, OUTGROWN)
    assert isinstance(found, ContextExceeded)
    assert len(server.bodies) == 4  # a short message is taken, and it is refused again
    _, server, _ = asked(quirk, PROMPT, OUTGROWN, OUTGROWN)
    assert len(server.bodies) == 5  # which is asked once for these words
    first, _, _ = asked(quirk, [{"role": "user", "content": "x" * (LONG + 1)}])
    assert isinstance(first, ContextExceeded)


@pytest.mark.parametrize("refusal", [*NO_WORDS, *BIG], ids=lambda answer: f"{answer.status} {answer.body!r:.40}")
def test_a_conversation_that_is_too_long_is_known_without_any_words(refusal: Answer) -> None:
    found, _, _ = asked(too_long(refusal), PROMPT, LATER, OUTGROWN)
    assert isinstance(found, ContextExceeded)
    found, _, _ = asked(too_long(refusal), PROMPT, OUTGROWN)  # where no history was taken before, too
    assert isinstance(found, ContextExceeded)


def test_what_was_proved_about_length_once_is_not_proved_again() -> None:
    _, once, _ = asked(too_long(NO_WORDS[1]), PROMPT, LATER, OUTGROWN)
    _, twice, _ = asked(too_long(NO_WORDS[1]), PROMPT, LATER, OUTGROWN, OUTGROWN)
    assert len(twice.bodies) == len(once.bodies) + 1


@pytest.mark.parametrize(
    "words",
    [
        "max_tokens=100000 cannot be greater than max_model_len=8192.",
        "This model's maximum context length is 4097 tokens, however you requested 100130 tokens (130 in your prompt; "
        "100000 for the completion).",
    ],
)
def test_a_setting_that_is_too_large_for_any_conversation_stops_the_run(words: str) -> None:
    found, _, _ = asked(lambda body, turn: refuse(words), PROMPT, sampling={"max_tokens": 100_000})
    assert isinstance(found, ModelRefused)
    assert "leave out --max-completion-tokens" in str(found) or "max_tokens" not in words


ABOUT_LENGTHS = """\
Daily token limit exceeded: 1000000 > 900000
Internal error: queue length 900 exceeds the maximum 512
Monatliches Token-Limit überschritten
The maximum context length of this deployment is being changed
request failed: too many tokens in flight
The request exceeds the capacity that is available"""


@pytest.mark.parametrize("words", ABOUT_LENGTHS.splitlines())
@pytest.mark.parametrize("status", [400, 500])
def test_what_is_refused_whatever_its_length_is_no_fault_of_the_conversation(words: str, status: int) -> None:
    spent: list[int] = []

    def quirk(body: Body, turn: int) -> Answer | None:
        spent.append(turn)
        return refuse(words, status) if len(spent) > 2 else None

    found, _, _ = asked(quirk, PROMPT, LATER, LATER, retry_seconds=0.1)
    assert isinstance(found, ModelUnavailable)


@pytest.mark.parametrize("status", [400, 500, 503])
def test_a_refusal_about_a_length_that_goes_away_by_itself_is_no_length(status: int) -> None:
    refused: list[int] = []

    def quirk(body: Body, turn: int) -> Answer | None:
        if turn and not refused:
            refused.append(turn)
            return refuse("request exceeds the maximum number of tokens that are available now", status)
        return None

    found, _, _ = asked(quirk, PROMPT, LATER)
    assert isinstance(found, Reply)


RATES = """\
Requests rate limit exceeded
Throttling.RateQuota
Too many requests
您的账户已达到速率限制，请您控制请求频率"""


@pytest.mark.parametrize("words", RATES.splitlines())
@pytest.mark.parametrize("status", [400, 403, 503])
def test_a_limit_of_requests_in_a_time_heals_whatever_its_status(words: str, status: int) -> None:
    refused: list[int] = []

    def quirk(body: Body, turn: int) -> Answer | None:
        if turn and len(refused) < 6:
            refused.append(turn)
            return refuse(words, status)
        return None

    found, server, _ = asked(quirk, PROMPT, LATER)
    assert isinstance(found, Reply)
    assert server.bodies[-1] == server.bodies[1]  # nothing was changed for it


def test_a_server_that_refuses_now_and_then_without_words_refuses_no_length() -> None:
    answered: list[bool] = []

    def quirk(body: Body, turn: int) -> Answer | None:
        if not turn:
            return None
        answered.append(len(answered) in (1, 3))  # as if a form alone were taken, and nothing as long
        return None if answered[-1] or len(answered) > 5 else Answer(400, b"")

    found, _, _ = asked(quirk, PROMPT, LATER)
    assert not isinstance(found, ContextExceeded)


def test_a_finish_reason_that_names_the_window_is_too_long_as_well() -> None:
    found, _, _ = asked(lambda body, turn: answer({"content": ""}, "model_context_window_exceeded"), PROMPT, LATER)
    assert isinstance(found, ModelError)
    later: Quirk = lambda body, turn: answer({"content": ""}, "model_context_window_exceeded") if turn else None  # noqa: E731
    assert isinstance(asked(later, PROMPT, LATER)[0], ContextExceeded)


# what it says, and its form


def test_one_prompt_that_is_rejected_is_told_apart_from_a_server_that_rejects_all() -> None:
    def quirk(body: Body, turn: int) -> Answer | None:
        return refuse("flagged by our usage policy", 403) if "forbidden" in json.dumps(body["messages"]) else None

    bad: list[Message] = [*PROMPT, {"role": "user", "content": "a forbidden word"}]
    found, _, _ = asked(quirk, bad)
    assert isinstance(found, Rejected)
    assert "flagged by our usage policy" in str(found)
    found, _, _ = asked(quirk, PROMPT, LATER, [*LATER, *turn(None, "forbidden", 2)])
    assert isinstance(found, Rejected)
    found, _, _ = asked(lambda body, turn: refuse("flagged", 403), bad)
    assert isinstance(found, ModelRefused)
    assert "--api-key-env" in str(found)


def test_a_server_that_takes_no_history_at_all_has_failed_and_its_words_are_told() -> None:
    found, _, _ = asked(lambda body, turn: refuse("only one turn, please") if turn else None, PROMPT, LATER)
    assert isinstance(found, ModelUnavailable)
    assert "only one turn, please" in str(found)


# what we write


def contents(body: Body) -> list[Any]:
    return [message.get("content", "absent") for message in body["messages"]]


def blank(body: Body) -> bool:
    """Whether a message holds a text of white space alone."""
    texts = [part["text"] for one in contents(body) if isinstance(one, list) for part in one]
    return any(not text.strip() for text in [*texts, *(one for one in contents(body) if isinstance(one, str))])


def ids(body: Body) -> list[str]:
    return [one["id"] for message in body["messages"] for one in message.get("tool_calls", ())]


Wrong = Callable[[Body], bool]
TWICE: list[Message] = [*LATER, *turn("", "b.py", 1)]
QUIET: list[Message] = [*PROMPT, {"role": "assistant", "content": ""}, {"role": "user", "content": "go on"}]
BLANK: list[Message] = [*QUIET[:2], {**QUIET[2], "content": " \n"}, QUIET[3]]
BLANK_BESIDE: list[Message] = [*PROMPT, *turn("\n\n", "a.py")]
BLANK_PARTS: list[Message] = [*PROMPT, *turn("", "a.py")]
BLANK_PARTS[2] = {**BLANK_PARTS[2], "content": [{"type": "text", "text": "\n"}]}
PARTS: list[Message] = [*PROMPT, *turn("", "a.py")]
PARTS[2] = {**PARTS[2], "content": [{"type": "text", "text": "Looking."}]}
USERS: list[Message] = [*PROMPT, {"role": "user", "content": "and so"}]
SIGNED: list[Message] = [*PROMPT, *turn("", "a.py")]
SIGNED[2] = {**SIGNED[2], "tool_calls": [{**SIGNED[2]["tool_calls"][0], "extra_content": {"google": {}}}]}
# What is wrong with a body, in whose words, and a conversation that has it.
REWRITTEN: dict[str, tuple[Wrong, str, list[Message]]] = {
    "null": (lambda body: None in contents(body), "messages.2.content: Input should be a valid string", LATER),
    "empty": (lambda body: "" in contents(body), "messages: text content blocks must be non-empty", QUIET),
    "empty beside calls": (
        lambda body: any(one in ("", None) for one in contents(body)),
        "content must not be empty",
        TWICE,
    ),
    "blank": (blank, "messages: text content blocks must contain non-whitespace text", BLANK),
    "blank beside calls": (blank, "messages: text content blocks must contain non-whitespace text", BLANK_BESIDE),
    "blank parts": (blank, "messages: text content blocks must contain non-whitespace text", BLANK_PARTS),
    "parts": (
        lambda body: any(isinstance(one, list) for one in contents(body)),
        "assistant content must be a string",
        PARTS,
    ),
    "ids": (lambda body: len(set(ids(body))) < len(ids(body)), "`tool_use` ids must be unique", TWICE),
    "nine": (
        lambda body: any(len(one) != 9 or not one.isalnum() for one in ids(body)),
        "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.",
        LATER,
    ),
    "names": (
        lambda body: any(one["role"] == "tool" and "name" not in one for one in body["messages"]),
        "function_response.name: Name cannot be empty.",
        LATER,
    ),
    "objects": (
        lambda body: any(
            isinstance(one["function"]["arguments"], str)
            for message in body["messages"]
            for one in message.get("tool_calls", ())
        ),
        "invalid type: string, expected a map for arguments",
        LATER,
    ),
    "required": (
        lambda body: not all(contents(body)) or "absent" in contents(body),
        "messages: at least one content block is required",
        LATER,
    ),
    "no tool role": (
        lambda body: any(one["role"] == "tool" or "tool_calls" in one for one in body["messages"]),
        "Only user and assistant roles are supported!",
        LATER,
    ),
    "signature": (lambda body: "extra_content" in json.dumps(body), "Unknown field extra_content", SIGNED),
    "system": (lambda body: body["messages"][0]["role"] == "system", "System role not supported", PROMPT),
    "alternate": (
        lambda body: any(
            one["role"] == two["role"] == "user"
            for one, two in zip(body["messages"], body["messages"][1:], strict=False)
        ),
        "Conversation roles must alternate user/assistant/user/assistant/...",
        USERS,
    ),
    "seed": (
        lambda body: "seed" in body,
        'Invalid JSON payload received. Unknown name "seed": Cannot find field.',
        LATER,
    ),
}


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("told", [True, False], ids=["in words", "without words"])
@pytest.mark.parametrize("name", REWRITTEN)
def test_what_we_write_is_rewritten_once_for_a_server_that_refuses_it(name: str, told: bool, status: int) -> None:
    wrong, words, conversation = REWRITTEN[name]
    refusal = refuse(words if told else "Bad Request", status)
    found, server, lines = asked(lambda body, turn: refusal if wrong(body) else None, conversation, conversation)
    assert isinstance(found, Reply)
    assert not wrong(server.bodies[-1])
    assert len([line for line in lines if "server" in line]) == len(lines) >= 1
    again = asked(lambda body, turn: refusal if wrong(body) else None, conversation, conversation, conversation)[1]
    assert len(again.bodies) == len(server.bodies) + 1  # learnt once


def test_white_space_beside_calls_is_left_out_and_the_calls_stay_calls() -> None:
    words = REWRITTEN["blank beside calls"][1]
    found, server, _ = asked(lambda body, turn: refuse(words) if blank(body) else None, BLANK_BESIDE)
    assert isinstance(found, Reply)
    assert server.bodies[-1]["messages"][2] == {"role": "assistant", "tool_calls": BLANK_BESIDE[2]["tool_calls"]}


def test_what_nobody_refuses_is_sent_as_it_is() -> None:
    found, server, lines = asked(lambda body, turn: None, TWICE)
    assert isinstance(found, Reply)
    assert server.bodies[0]["messages"] == TWICE
    assert lines == []


def test_several_things_are_rewritten_for_one_server() -> None:
    def quirk(body: Body, turn: int) -> Answer | None:
        for name in ("system", "null", "names", "nine"):
            wrong, words, _ = REWRITTEN[name]
            if wrong(body):
                return refuse(words)
        return None

    found, server, lines = asked(quirk, PROMPT, LATER)
    assert isinstance(found, Reply)
    assert len(lines) == 4
    assert server.bodies[-1]["messages"][0]["content"] == "You mend.\n\nIt is broken."


def test_a_field_that_the_user_chose_is_never_taken_away() -> None:
    refusal = refuse("Unsupported value: 'temperature' does not support 0.8 with this model.")
    quirk: Quirk = lambda body, turn: refusal if "temperature" in body else None  # noqa: E731
    found, _, _ = asked(quirk, PROMPT, sampling={"temperature": 0.8})
    assert isinstance(found, ModelRefused)
    assert "leave out --temperature" in str(found)
    seeded: Quirk = lambda body, turn: refuse("no seed, please") if "seed" in body else None  # noqa: E731
    found, _, _ = asked(seeded, PROMPT, sampling={"seed": 5})
    assert isinstance(found, ModelRefused)


@pytest.mark.parametrize("words", ["m does not support tools", '"auto" tool choice requires --enable-auto-tool-choice'])
def test_a_server_without_tools_is_named_with_the_remedy(words: str) -> None:
    found, _, _ = asked(lambda body, turn: refuse(words) if "tools" in body else None, PROMPT)
    assert isinstance(found, ModelRefused)
    assert "--actions text" in str(found)


def test_a_gateway_that_finds_no_server_with_tools_is_told_from_one_that_does_not_know_the_model() -> None:
    found, _, _ = asked(always(refuse("No endpoints found that support tool use.", 404)), PROMPT)
    assert isinstance(found, ModelRefused)
    assert "check --model and --base-url; where the server takes no tool calls, give --actions text" in str(found)
    found, _, _ = asked(always(refuse("The model `tiny` does not exist.", 404)), PROMPT)
    assert isinstance(found, ModelRefused)
    assert str(found).endswith("check --model and --base-url")


# streams


def events(*chunks: Any, end: str = "data: [DONE]\n\n") -> Answer:
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + end
    return Answer(body=text.encode(), headers={"content-type": "text/event-stream"})


def delta(finish_reason: str | None = None, **fields: Any) -> Any:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]}


STREAM = events(
    delta(role="assistant", content="", reasoning_content="h"),
    delta(content="Look", reasoning_content="m"),
    delta(content="ing."),
    delta(tool_calls=[{"index": 0, "id": "a", "type": "function", "function": {"name": "bash", "arguments": ""}}]),
    delta(tool_calls=[{"index": 0, "function": {"arguments": '{"command": '}}]),
    delta(tool_calls=[{"index": 0, "function": {"arguments": '"ls"}'}}]),
    delta(tool_calls=[{"index": 1, "id": "b", "function": {"name": "submit", "arguments": "{}"}}]),
    delta("tool_calls"),
    {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}},
)


def test_a_server_that_streams_alone_is_read() -> None:
    def quirk(body: Body, turn: int) -> Answer | None:
        return STREAM if body.get("stream") else refuse("This model only support stream mode")

    found, server, lines = asked(quirk, PROMPT, PROMPT)
    assert isinstance(found, Reply)
    assert (found.usage, found.finish_reason) == (Usage(7, 3), "tool_calls")
    assert (found.message["content"], found.message["reasoning_content"]) == ("Looking.", "hm")
    first, second = found.message["tool_calls"]
    assert first["function"] == {"name": "bash", "arguments": '{"command": "ls"}'}
    assert second["id"] == "b"
    assert len(server.bodies) == 3
    assert len(lines) == 1


def test_a_stream_that_nobody_asked_for_is_read_and_one_that_broke_off_is_asked_for_again() -> None:
    found, server, _ = asked(lambda body, turn: STREAM, PROMPT, sampling={"stream": True})
    assert isinstance(found, Reply)
    assert len(server.bodies) == 1
    broken = events(delta(content="Look"), end="")
    count = iter(range(9))
    found, server, _ = asked(lambda body, turn: broken if next(count) == 0 else STREAM, PROMPT)
    assert isinstance(found, Reply)
    assert len(server.bodies) == 2


# faults in answers with status 200

EMPTY = {"content": ""}
ERROR = {"code": 502, "message": "Provider returned error"}
FAULTS = {
    "finish error": answer(EMPTY, "error", usage={"prompt_tokens": 0, "completion_tokens": 0}),
    "finish error with text": answer({"content": "Let me"}, "error"),
    "aborted": answer(EMPTY, "abort"),
    "network_error": answer(EMPTY, "network_error"),
    "no resource": answer(EMPTY, "insufficient_system_resource"),
    "error beside choices": answer({"content": "Let me"}, "stop", error=ERROR),
    "error in the choice": Answer(body={"choices": [{"message": EMPTY, "error": ERROR, "finish_reason": "stop"}]}),
    "error alone": Answer(body={"error": ERROR}),
    "error as a text": Answer(body={"error": "Unexpected endpoint or method. (POST /chat/completions)"}),
    "error in a stream": events(delta(content="Let"), {"error": ERROR}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_inside_an_answer_is_the_servers_and_is_sent_again(name: str) -> None:
    count = iter(range(99))
    found, server, _ = asked(lambda body, turn: FAULTS[name] if next(count) == 0 else None, PROMPT)
    assert isinstance(found, Reply)
    assert len(server.bodies) == 2
    proven: Quirk = lambda body, turn: FAULTS[name] if turn else None  # noqa: E731
    found, _, _ = asked(proven, PROMPT, LATER, retry_seconds=0.05)
    assert isinstance(found, ModelUnavailable)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_never_gave_way_to_an_answer_stops_the_run_with_what_came_back(name: str) -> None:
    found, _, lines = asked(lambda body, turn: FAULTS[name], PROMPT, retry_seconds=0.5)
    assert isinstance(found, ModelRefused)
    assert "has not answered one request" in str(found)
    assert "--base-url" in str(found)
    assert len(lines) == 1
    assert "sent again" in lines[0]


def test_a_server_that_fails_at_some_depth_whatever_is_said_has_failed() -> None:
    deeper: list[Message] = [*LATER, *turn(None, "b.py", 2)]
    for fault in (FAULTS["finish error"], FAULTS["error alone"], Answer(500, {"error": "boom"}), Answer(502, b"")):
        quirk: Quirk = lambda body, turn, fault=fault: fault if turn > 1 else None  # type: ignore[misc]  # noqa: E731
        found, _, _ = asked(quirk, PROMPT, LATER, deeper, retry_seconds=0.3)
        assert isinstance(found, ModelUnavailable)


def test_a_refusal_inside_an_answer_is_learnt_from_as_well() -> None:
    def quirk(body: Body, turn: int) -> Answer | None:
        system = body["messages"][0]["role"] == "system"
        return Answer(body={"error": "System role not supported"}) if system else None

    found, _, lines = asked(quirk, PROMPT)
    assert isinstance(found, Reply)
    assert any("role system" in line for line in lines)


def test_a_status_inside_an_answer_is_taken_for_one() -> None:
    found, _, _ = asked(lambda body, turn: Answer(body={"error": {"code": 401, "message": "no key"}}), PROMPT)
    assert isinstance(found, ModelRefused)
    assert "--api-key-env" in str(found)
    long = Answer(body={"error": {"message": "prompt is too long: 9 > 8"}})
    found, _, _ = asked(lambda body, turn: long if turn else None, PROMPT, LATER)
    assert isinstance(found, ContextExceeded)


@pytest.mark.parametrize(
    "body",
    [
        {"object": "error", "message": "This model's maximum context length is 9 tokens, not 10", "code": 400},
        {"choices": None, "base_resp": {"status_code": 2013, "status_msg": "invalid params, context window exceeds"}},
        {"detail": "prompt is too long: 9 > 8"},
        {"code": 400, "msg": "prompt is too long", "success": False},
        {"success": False, "errors": [{"code": 5021, "message": "The estimated number of input tokens is too large"}]},
        {"success": False},
    ],
)
def test_a_refusal_inside_an_answer_is_known_without_a_field_for_errors(body: Body) -> None:
    found, _, _ = asked(lambda _, turn: Answer(body=body) if turn else None, PROMPT, LATER)
    assert isinstance(found, ContextExceeded if len(body) > 1 or "detail" in body else ModelUnavailable)


def test_a_limit_of_requests_in_a_time_heals_also_where_it_is_told_inside_an_answer() -> None:
    count = iter(range(99))
    body = {"choices": None, "base_resp": {"status_code": 1039, "status_msg": "TPM rate limit exceeded"}}
    found, server, _ = asked(lambda _, turn: Answer(body=body) if next(count) < 6 else None, PROMPT)
    assert isinstance(found, Reply)
    assert len(server.bodies) == 7


def test_a_server_that_asks_for_a_long_wait_is_named_at_once() -> None:
    later = Answer(429, {"error": {"message": "tokens per day (TPD)"}}, {"retry-after": "86399"})
    _, server, lines = asked(lambda body, turn: later, PROMPT, retry_seconds=0.2)
    assert len(server.bodies) == 2
    assert len(lines) == 1
    assert "tokens per day" in lines[0]


@pytest.mark.parametrize("error", [{"code": 0, "message": ""}, {"code": None, "message": "ok"}, {"code": 200}])
def test_an_error_that_says_there_is_none_leaves_an_answer_an_answer(error: Any) -> None:
    found, server, _ = asked(lambda body, turn: answer({"content": "hm"}, "stop", error=error), PROMPT)
    assert isinstance(found, Reply)
    assert len(server.bodies) == 1


def test_a_field_that_the_server_misses_is_named_with_its_option() -> None:
    refusal = refuse("max_tokens: Field required", 422)
    found, _, _ = asked(lambda body, turn: None if "max_tokens" in body else refusal, PROMPT)
    assert "give --max-completion-tokens" in str(found)


def test_an_empty_message_without_usage_is_no_reply_unless_the_server_never_tells_usage() -> None:
    hollow = answer(EMPTY, "stop", usage=None)
    proven: Quirk = lambda body, turn: hollow if turn else None  # noqa: E731
    assert isinstance(asked(proven, PROMPT, LATER, retry_seconds=0.05)[0], ModelUnavailable)
    found, server, _ = asked(lambda body, turn: hollow, PROMPT)
    assert isinstance(found, Reply)
    assert len(server.bodies) == 3
    assert isinstance(asked(lambda body, turn: answer(EMPTY, "stop"), PROMPT)[0], Reply)  # it was paid for


def test_a_reply_that_the_server_could_not_parse_is_the_models() -> None:
    failed = refuse("Failed to call a function.", code="tool_use_failed", failed_generation="<tool_call>{")
    raw = refuse('error parsing tool call: raw=\'{"command": "ls\', err=unexpected end', 500)
    for refusal, text in ((failed, "<tool_call>{"), (raw, '{"command": "ls')):
        found, server, _ = asked(always(refusal), PROMPT)
        assert isinstance(found, Reply)
        assert found.message["content"] == text
        assert len(server.bodies) == 1


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\n\n  \n", b": PROCESSING\n\n: PROCESSING\n\n"])
def test_what_stands_before_the_json_is_read_over(before: bytes) -> None:
    body = before + json.dumps(answer({"content": "hello"}).body).encode()
    found, server, _ = asked(lambda _, turn: Answer(body=body), PROMPT)
    assert isinstance(found, Reply)
    assert found.message["content"] == "hello"
    assert len(server.bodies) == 1
    wide = json.dumps(answer({"content": "hello"}).body).encode("utf-16")
    assert isinstance(asked(lambda _, turn: Answer(body=wide), PROMPT)[0], Reply)


def test_what_stands_behind_the_json_is_read_over_and_json_in_json_is_read() -> None:
    body = json.dumps(answer({"content": "hello"}).body)
    for odd in (f"{body}\n\n{{}}", f"{body}\x00", json.dumps(body)):
        found, server, _ = asked(always(Answer(body=odd.encode())), PROMPT)
        assert isinstance(found, Reply)
        assert found.message["content"] == "hello"
        assert len(server.bodies) == 1


def test_a_redirect_that_loses_the_request_names_the_address_to_give() -> None:
    found, server, _ = asked(always(Answer(301, b"", {"location": "/v2/models"})), PROMPT)
    assert isinstance(found, ModelRefused)
    assert "/v2/models" in str(found)
    assert "--base-url" in str(found)
    assert len(server.bodies) == 1
    count = iter(range(9))
    kept: Quirk = lambda body, turn: Answer(307, b"", {"location": "/v2"}) if next(count) == 0 else None  # noqa: E731
    found, server, _ = asked(kept, PROMPT)
    assert isinstance(found, Reply)
    assert server.paths == ["/v1/chat/completions", "/v2"]


def test_redirects_without_end_are_a_fault_of_the_server_with_its_cause() -> None:
    found, _, _ = asked(always(Answer(307, b"", {"location": "/v1/chat/completions"})), PROMPT, retry_seconds=0.01)
    assert isinstance(found, ModelRefused)
    assert "redirects requests without end" in str(found)


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 0, "completion_tokens": 0}, {"completion_tokens": 0}])
def test_a_text_is_an_answer_also_where_it_is_told_to_have_no_tokens(usage: Any) -> None:
    for message in ({"content": "I look."}, {"content": None, "tool_calls": [call("submit", {})]}):
        found, server, _ = asked(always(answer(message, "stop", usage=usage)), PROMPT)
        assert isinstance(found, Reply)
        assert len(server.bodies) == 1


@pytest.mark.parametrize("ended", ["length", "max_tokens", "MAX_TOKENS", "max_output_tokens", "model_length"])
def test_a_reply_that_ended_at_its_length_is_known_in_any_servers_word(ended: str) -> None:
    found, _, _ = asked(always(answer({"content": "I look at"}, ended)), PROMPT)
    assert isinstance(found, Reply)
    assert found.cut
    found, _, _ = asked(always(answer({"content": "I look."}, "stop")), PROMPT)
    assert isinstance(found, Reply)
    assert not found.cut


@pytest.mark.parametrize("kind", [float, str])
def test_usage_is_counted_also_where_it_is_told_as_floats_or_texts(kind: type) -> None:
    usage = {"prompt_tokens": kind(100), "completion_tokens": kind(10), "total_tokens": kind(110)}
    found, _, _ = asked(lambda body, turn: answer({"content": "hello"}, usage=usage), PROMPT)
    assert isinstance(found, Reply)
    assert found.usage == Usage(100, 10)


@pytest.mark.parametrize("odd", [1e400, -5, "1e9999", "nan", True, 10**400, 10.0**300, [], "ten"])
def test_a_count_that_is_none_counts_nothing(odd: Any) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": odd}
    found, _, _ = asked(lambda body, turn: answer({"content": "hello"}, usage=usage), PROMPT)
    assert isinstance(found, Reply)
    assert found.usage == Usage(3)


def test_a_server_that_tells_no_usage_is_named_once() -> None:
    _, _, lines = asked(lambda body, turn: answer({"content": "hello"}, usage=None), *[PROMPT] * 5)
    [line] = lines
    assert "tells no usage" in line


# what a gateway says of long conversations, of models and of money


@pytest.mark.parametrize("status", [404, 408, 409, 502, 504])
def test_a_gateway_that_fails_with_long_conversations_alone_says_that_they_are_too_long(status: int) -> None:
    refusal = Answer(status, b"<html><h1>Gateway</h1></html>")
    found, server, lines = asked(too_long(refusal), PROMPT, LATER, OUTGROWN)
    assert isinstance(found, ContextExceeded)
    assert len(server.bodies) < 14
    assert any("long conversations" in line for line in lines)


@pytest.mark.parametrize("status", [404, 504])
def test_words_of_an_outage_that_were_proved_about_a_length_are_not_believed_of_shorter_conversations(
    status: int,
) -> None:
    given = list[int]()

    def quirk(body: Body, turn: int) -> Answer | None:
        given.append(size_of(body))
        proved = sum(size > LONG for size in given) > 2 and turn and size_of(body) <= LONG
        return Answer(status, b"gone") if size_of(body) > LONG or (proved and "b.py" in json.dumps(body)) else None

    short: list[Message] = [*LATER, *turn("", "b.py", 2)]
    found, _, _ = asked(quirk, PROMPT, LATER, OUTGROWN, short, retry_seconds=0.2)
    assert isinstance(found, ModelError)
    assert not isinstance(found, ContextExceeded)


def test_a_404_for_what_one_conversation_says_costs_that_attempt_and_one_for_all_stops_the_run() -> None:
    text: Quirk = lambda body, turn: refuse("Not Found", 404) if "b.py" in json.dumps(body) else None  # noqa: E731
    found, _, _ = asked(text, PROMPT, LATER, [*LATER, *turn("", "b.py", 2)])
    assert isinstance(found, Rejected)
    served = iter(range(99))
    gone: Quirk = lambda body, turn: refuse("Not Found", 404) if next(served) > 1 else None  # noqa: E731
    found, server, _ = asked(gone, PROMPT, LATER, LATER)
    assert isinstance(found, ModelRefused)
    assert "check --model" in str(found)
    assert len(server.bodies) < 8


UNPAID = """\
403 Your account balance is insufficient, please recharge
400 Your credit balance is too low to access this API. Please go to Plans & Billing
400 Access denied, please make sure your account is in good standing. (Arrearage)
403 Key limit exceeded (total limit)
403 用户额度不足，剩余额度: ＄0.0
403 insufficient_user_quota
400 Budget has been exceeded! Current cost: 150, Max budget: 100
403 The free tier of the model has been exhausted.
403 Your account is in arrears
402 no
403 You have reached your monthly spending limit
400 You have reached your specified API usage limits
403 This API method requires billing to be enabled
401 Billing is not active on this account
404 Your payment method was declined
429 Your account is suspended due to insufficient balance, please recharge
500 insufficient credits
403 Project has exceeded its quota
400 Error code: 1113, 余额不足"""


@pytest.mark.parametrize("line", UNPAID.splitlines())
def test_a_server_that_wants_to_be_paid_stops_the_run_soon_and_says_what_to_do(line: str) -> None:
    status, _, words = line.partition(" ")
    served = iter(range(99))
    quirk: Quirk = lambda body, turn: refuse(words, int(status)) if next(served) > 1 else None  # noqa: E731
    found, server, _ = asked(quirk, PROMPT, LATER, LATER)
    assert isinstance(found, ModelRefused)
    assert words.split("; ")[0][:30] in str(found)
    assert "paid first" in str(found)
    assert "--api-key-env" in str(found)
    assert "refuses the key" not in str(found)
    assert len(server.bodies) <= 4


@pytest.mark.parametrize("words", ["quoted: {'input': 'the invoice is overdue'}", "no funds: insufficient balance"])
def test_words_about_money_that_a_conversation_brings_about_cost_its_own_attempt(words: str) -> None:
    quirk: Quirk = lambda body, turn: refuse(words) if "b.py" in json.dumps(body) else None  # noqa: E731
    found, _, _ = asked(quirk, PROMPT, LATER, [*LATER, *turn("", "b.py", 2)])
    assert isinstance(found, Rejected)


@pytest.mark.parametrize(
    "words",
    [
        "Rate limit reached: 40000 / min. Please add a payment method to your account to increase it",
        "Quota exceeded for requests_per_minute",
        "Resource has been exhausted (e.g. check quota).",
        "You have reached your hourly usage limit",
        "Monthly limit reached. Please try again in 3.5s",
    ],
)
def test_a_limit_of_requests_in_a_time_that_names_a_quota_or_a_payment_heals(words: str) -> None:
    served = iter(range(99))
    quirk: Quirk = lambda body, turn: refuse(words, 429) if next(served) in (1, 2) else None  # noqa: E731
    assert isinstance(asked(quirk, PROMPT, LATER)[0], Reply)


@pytest.mark.parametrize("indices", [(1, 0), ("1", "0"), (1.0, 0.0), (7, 3), (2, None)])
def test_choices_out_of_order_are_taken_by_their_index(indices: tuple[Any, Any]) -> None:
    texts = ("", "hello")
    choices = [
        {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for index, text in zip(indices, texts, strict=True)
    ]
    found, server, _ = asked(always(answer({}, choices=choices)), PROMPT)
    assert isinstance(found, Reply)
    assert found.message["content"] == "hello"
    assert len(server.bodies) == 1
