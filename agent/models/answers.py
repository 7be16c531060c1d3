"""From the bytes of a chat completion to a `Reply`.

Read as plain JSON and tolerantly: whatever holds one message is an answer, for it was paid
for; what holds none is a `Trouble` that carries the usage it tells.
"""

from __future__ import annotations

import json
from typing import Any

from agent.models.faults import Kind, Trouble
from agent.models.model import Reply, Tokens
from agent.trajectory import Usage

__all__ = ["read_reply"]


def read_reply(content: bytes) -> Reply:
    """Raises `Trouble`."""
    text = content.decode("utf-8", "replace")  # a token may end in the middle of a character
    usage, kind = Usage(), Kind.HTML if text.lstrip().startswith("<") else Kind.NO_COMPLETION
    try:
        data = json.loads(text)
        usage = _usage(data)
        choices = data["choices"]
        if not choices:
            kind = Kind.NO_CHOICES
        choice = choices[0]
        message = choice["message"]
        message["role"] = "assistant"
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        why = f"the answer is no chat completion ({type(error).__name__}: {error}): {text[:120]!r}"
        raise Trouble(kind, why, usage=usage) from None
    for key in [key for key, value in message.items() if value is None and key != "content"]:
        del message[key]
    return Reply(message, usage, str(choice.get("finish_reason") or ""), _tokens(data, choice))


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
    """What `return_token_ids` and `logprobs` bring, where the server has them."""
    prompt, ids = _ids(data.get("prompt_token_ids")), _ids(choice.get("token_ids"))
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    values: tuple[float, ...] = ()
    if isinstance(content, list):
        values = tuple(float(one["logprob"]) for one in content if isinstance(one, dict) and "logprob" in one)
    return Tokens(prompt, ids, values) if prompt or ids or values else None


def _ids(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list) and all(isinstance(one, int) for one in value) else ()
