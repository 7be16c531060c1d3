"""Reads the replies in the bytes of a chat completion.

The bytes are read as plain JSON, tolerantly: whatever holds one message is an answer, because it was paid for. What
holds none is a `RequestFailure` with the usage that it tells. Where one prompt has several answers, their usage adds up
to what the server told: the prompt, which is billed once, is divided evenly, the completion by the length of each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

from agent.models.faults import Kind, RequestFailure
from agent.models.model import Reply, Tokens
from agent.trajectory import Usage

__all__ = ["divided", "read_replies"]


def read_replies(content: bytes) -> list[Reply]:
    """The replies, one or more. Raises `RequestFailure`."""
    text = content.decode("utf-8", "replace")  # a token may end in the middle of a character
    usage, kind = Usage(), Kind.HTML if text.lstrip().startswith("<") else Kind.NO_COMPLETION
    try:
        data = json.loads(text)
        usage = _usage(data)
        choices = data["choices"]
        if not choices:
            kind = Kind.NO_CHOICES
        usable = [
            choice for choice in choices[1:] if isinstance(choice, dict) and isinstance(choice.get("message"), dict)
        ]
        replies = [_reply(data, choice) for choice in (choices[0], *usable)]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
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
    message = choice["message"]
    message["role"] = "assistant"
    for key in [key for key, value in message.items() if value is None and key != "content"]:
        del message[key]
    return Reply(message, finish_reason=str(choice.get("finish_reason") or ""), tokens=_tokens(data, choice))


def _length(reply: Reply) -> int:
    """The length of a reply: in tokens where the server tells them, else in characters."""
    told = len(reply.tokens.completion or reply.tokens.logprobs) if reply.tokens else 0
    return told or len(json.dumps(reply.message))


def _usage(data: Any) -> Usage:
    def count(*path: str) -> int:
        value = data
        for key in ("usage", *path):
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, int) else 0

    return Usage(
        prompt=count("prompt_tokens"),
        completion=count("completion_tokens"),
        cached=count("prompt_tokens_details", "cached_tokens"),
        reasoning=count("completion_tokens_details", "reasoning_tokens"),
    )


def _tokens(data: dict[str, Any], choice: dict[str, Any]) -> Tokens | None:
    """The tokens that `return_token_ids` and `logprobs` ask for, where the server gives them."""
    prompt, ids = _ids(data.get("prompt_token_ids")), _ids(choice.get("token_ids"))
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    values: tuple[float, ...] = ()
    if isinstance(content, list):
        values = tuple(float(one["logprob"]) for one in content if isinstance(one, dict) and "logprob" in one)
    return Tokens(prompt, ids, values) if prompt or ids or values else None


def _ids(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list) and all(isinstance(one, int) for one in value) else ()
