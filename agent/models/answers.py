"""Reads the replies in the bytes of a chat completion.

The bytes are read as JSON, tolerantly: after a byte order mark or comments, or as a stream of events. Whatever holds
one message is an answer, because it was paid for. What holds none, or an error in place of one, is a `RequestFailure`
with the usage that it tells. Where one prompt has several answers, their usage adds up to what the server told: the
prompt, which is billed once, is divided evenly, the completion by the length of each.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

from agent.actions.sanitize import REASONING
from agent.models.faults import Kind, RequestFailure, refusal
from agent.models.http import Answer
from agent.models.model import Reply, Tokens
from agent.models.streams import is_stream, joined_stream
from agent.trajectory import Usage

__all__ = ["divided", "is_hollow", "read_replies", "unparsed_reply"]

# What stands in front of the JSON while a server has nothing to say: blank lines, and comments of an event stream.
BEFORE = re.compile(r"(?:\s+|:[^\n]*\n)*")
# How a reply ended that the server could not complete, and one for which the conversation left no room.
FAILED = re.compile(
    r"^(?:fail|abort|cancel|unavailable|time_?out)|error|insufficient_system_resource|overload",
    re.IGNORECASE,
)
NO_ROOM = re.compile(r"context_window|context_length|model_length_exceeded", re.IGNORECASE)
# Replies that a server could not read, and gives in its refusal.
UNPARSED = (
    re.compile(r"error parsing tool call: raw='(?P<raw>.*)', err=", re.DOTALL),
    re.compile(r"failed to parse (?:input|output|tool call\w*)[^:]*: ?(?P<raw>.*)", re.DOTALL | re.IGNORECASE),
)
SAID = ("message", "msg", "detail", "errors", "error_msg", "error_message", "errorMessage")  # without a field `error`
MOST_TOKENS = 10**12  # a larger number counts nothing


def read_replies(content: bytes) -> list[Reply]:
    """The replies, one or more. Raises `RequestFailure`."""
    usage, kind, text = Usage(), Kind.NO_COMPLETION, ""
    try:
        text = _text(content)
        kind = Kind.HTML if text.startswith("<") else kind
        data = joined_stream(text) if is_stream(text) else _decoded(text)
        usage = _usage(data)
        _check_error(data, usage)
        choices = sorted(data["choices"], key=_place)
        if not choices:
            kind = Kind.NO_CHOICES
        for choice in choices:
            _check_choice(choice, usage)
        usable = [
            choice for choice in choices[1:] if isinstance(choice, dict) and isinstance(choice.get("message"), dict)
        ]
        replies = [_reply(data, choice) for choice in (choices[0], *usable)]
    except RequestFailure:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        why = f"the answer is not a chat completion ({type(error).__name__}: {error}): {text[:120]!r}"
        raise RequestFailure(kind, why, usage=usage) from None
    if len(replies) == 1:
        return [replace(replies[0], usage=usage)]
    ids = sum(len(reply.tokens.completion or reply.tokens.logprobs) for reply in replies if reply.tokens)
    if ids > usage.completion:  # llama.cpp counts one of them
        usage = replace(usage, completion=ids)
    parts = divided(usage, [_length(reply) for reply in replies])
    return [
        replace(reply, usage=part, shared=usage.prompt - part.prompt)
        for reply, part in zip(replies, parts, strict=True)
    ]


def _place(choice: Any) -> float:
    """The place of a choice among the others: its index, which some servers write as a text; first without one."""
    index = choice.get("index") if isinstance(choice, dict) else None
    try:
        return 0.0 if index is None or math.isnan(place := float(index)) else place
    except (TypeError, ValueError, OverflowError):
        return 0.0


def is_hollow(reply: Reply) -> bool:
    """Whether a reply holds nothing and cost nothing: no model made it."""
    message = reply.message
    held = any(message.get(key) for key in ("content", "tool_calls", "function_call", "refusal", *REASONING))
    return not (held or reply.usage.total or reply.tokens or reply.cut or reply.finish_reason == "content_filter")


def unparsed_reply(answer: Answer) -> Reply | None:
    """The reply of a model that the server could not read, from its refusal; None for a refusal of another kind."""
    try:
        body = json.loads(_text(answer.content))
        error = body["error"]
        said = error.get("message") if isinstance(error, dict) else error
        given = error.get("failed_generation") if isinstance(error, dict) else None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    if isinstance(error, dict) and (error.get("code") == "tool_use_failed" or given):
        return _unparsed(given if isinstance(given, str) else json.dumps(given) if given else "")
    found = next((match for one in UNPARSED if (match := one.search(str(said)))), None)
    return _unparsed(found["raw"]) if found else None


def _unparsed(text: str) -> Reply:
    return Reply({"role": "assistant", "content": text}, finish_reason="unparsed")


def _text(content: bytes) -> str:
    """The body as a text, from its first character that says something."""
    # A token may end in the middle of a character.
    encoding = json.detect_encoding(content)
    text = content.decode("utf-8-sig" if encoding == "utf-8" else encoding, "replace")
    before = BEFORE.match(text)
    return text[before.end() :] if before else text


def _decoded(text: str) -> Any:
    """The first value of JSON in a text; some gateways add to it, or encode it twice. Raises `ValueError`."""
    data, end = json.JSONDecoder().raw_decode(text)
    if text[end:].strip() and not isinstance(data, dict):
        raise ValueError(f"something follows the JSON: {text[end:].strip()[:80]!r}")
    return json.loads(data) if isinstance(data, str) else data


def _check_error(data: Any, usage: Usage) -> None:
    """Raise the `RequestFailure` that stands in the body of an answer with a good status."""
    if not isinstance(data, dict):
        return
    error = data.get("error") or (None if data.get("choices") else _told_otherwise(data))
    if error and not (_is_none(error) and data.get("choices")):
        raise _inside(error, data, usage)


def _told_otherwise(data: Mapping[str, Any]) -> Any:
    """The error in an answer without choices that has no field `error`, as some gateways write it; None for none."""
    status = data.get("base_resp")  # of MiniMax, beside empty choices
    if isinstance(status, dict) and status.get("status_code"):
        return {"code": status["status_code"], "message": status.get("status_msg") or status}
    failed = data.get("object") == "error" or data.get("success") is False
    said = next((data[key] for key in SAID if data.get(key) and not isinstance(data[key], bool)), None)
    if said is None:
        return dict(data) if failed else None
    return {"code": data.get("code") or data.get("status"), "message": said if isinstance(said, str) else str(said)}


def _is_none(error: Any) -> bool:
    """Whether an error says that there is none, as in `{"code": 0, "message": "ok"}`."""
    if not isinstance(error, dict):
        return False
    told = {str(value).strip().lower() for value in error.values() if value is not None}
    return told <= {"", "0", "200", "none", "ok", "success"}


def _check_choice(choice: Any, usage: Usage) -> None:
    """Raise the `RequestFailure` that stands in place of a reply."""
    if not isinstance(choice, dict):
        return
    ended = str(choice.get("finish_reason") or "")
    if choice.get("error"):
        raise _inside(choice["error"], choice, usage)
    if NO_ROOM.search(ended):
        raise RequestFailure(Kind.CONTEXT, f"the reply ended with {ended!r}", usage=usage)
    if FAILED.search(ended):
        raise RequestFailure(Kind.FAILED, f"the reply ended with finish_reason {ended!r}", usage=usage)


def _inside(error: Any, whole: Mapping[str, Any], usage: Usage) -> RequestFailure:
    """The fault that an error inside an answer reports: as if it had come with the status that it names."""
    codes = [error.get("code"), error.get("status")] if isinstance(error, dict) else []
    status = next((int(code) for code in map(str, codes) if re.fullmatch(r"[45]\d\d", code)), 0)
    found = refusal(Answer(status or 400, json.dumps({"error": error}).encode()))
    # A status of 500 and more is that of a server behind this one, which itself is not down.
    told = (Kind.CONTEXT, Kind.RATE_LIMIT, Kind.QUOTA)
    kind = found.kind if status in range(400, 500) or found.kind in told else Kind.FAILED
    text = str(found).partition(": ")[2] or json.dumps(whole)[:200]
    return RequestFailure(kind, f"an answer with an error: {text}", usage=usage)


def divided(usage: Usage, lengths: Sequence[int]) -> list[Usage]:
    """Divide the usage: the prompt into equal parts, the completion in proportion to the lengths."""
    equal = [1] * len(lengths)
    parts = zip(
        _divided(usage.prompt - usage.cached, equal),
        _divided(usage.cached, equal),
        _divided(usage.completion - usage.reasoning, lengths),
        _divided(usage.reasoning, lengths),
        strict=True,
    )
    return [Usage(fresh + cached, said + thought, cached, thought) for fresh, cached, said, thought in parts]


def _divided(total: int, weights: Sequence[int]) -> list[int]:
    ends = [0, *accumulate(weights)]
    return [total * end // ends[-1] - total * begin // ends[-1] for begin, end in pairwise(ends)]


def _reply(data: dict[str, Any], choice: Any) -> Reply:
    message = dict(choice["message"])
    message["role"] = "assistant"
    for key in [key for key, value in message.items() if value is None and key != "content"]:
        del message[key]
    return Reply(message, finish_reason=str(choice.get("finish_reason") or ""), tokens=_tokens(data, choice))


def _length(reply: Reply) -> int:
    """The length of a reply: in tokens where the server tells them, else in characters."""
    told = len(reply.tokens.completion or reply.tokens.logprobs) if reply.tokens else 0
    return told or len(json.dumps(reply.message))


def _usage(data: Any) -> Usage:
    told = data.get("usage") if isinstance(data, dict) else None

    def count(*paths: str) -> int:
        for path in paths:
            value = told
            for key in path.split("."):
                value = value.get(key) if isinstance(value, dict) else None
            if number := _whole(value):
                return number
        return 0

    prompt, completion = count("prompt_tokens"), count("completion_tokens", "output_tokens")
    cached = count("prompt_tokens_details.cached_tokens", "prompt_cache_hit_tokens")
    if not prompt and (fresh := count("input_tokens")):  # Anthropic's, which leave out what was cached
        cached = cached or count("cache_read_input_tokens")
        prompt = fresh + count("cache_read_input_tokens") + count("cache_creation_input_tokens")
    completion = completion or max(0, count("total_tokens") - prompt)
    reasoning = count("completion_tokens_details.reasoning_tokens")
    return Usage(
        prompt=prompt if cached <= prompt else prompt + cached,  # which some count apart, as they do reasoning
        completion=completion if reasoning <= completion else completion + reasoning,
        cached=cached,
        reasoning=reasoning,
    )


def _whole(value: Any) -> int:
    """A count that may be told as 100, 100.0 or "100"; 0 for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return 0
    return round(number) if math.isfinite(number) and 0 <= number <= MOST_TOKENS else 0


def _tokens(data: dict[str, Any], choice: dict[str, Any]) -> Tokens | None:
    """The tokens that `return_token_ids` and `logprobs` ask for, where the server gives them."""
    prompt, ids = _ids(data.get("prompt_token_ids")), _ids(choice.get("token_ids"))
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    values = [one.get("logprob") for one in content if isinstance(one, dict)] if isinstance(content, list) else []
    numbers = [float(value) for value in values if isinstance(value, int | float) and abs(value) < MOST_TOKENS]
    told = tuple(numbers) if len(numbers) == len(values) else ()  # with gaps, they would be taken for other tokens'
    return Tokens(prompt, ids, told) if prompt or ids or told else None


def _ids(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list) and all(isinstance(one, int) for one in value) else ()
