"""An assistant message as any server takes it back.

Guarantees: `sendable` gives JSON in valid UTF-8 with the fields that belong to a message
of a conversation and none that only an answer has; what the model thought is kept in the
field in which it came, for servers want it back there or pass over it. `spoken` is what
the model said aloud.
"""

from __future__ import annotations

import json
import re
from typing import Any

from agent.trajectory import Message

__all__ = ["REASONING", "sendable", "spoken", "valid"]

# Where servers put what the model thought (llama.cpp, SGLang, DeepSeek; vLLM; OpenRouter; LiteLLM).
REASONING = {"reasoning_content": str, "reasoning": str, "reasoning_details": list, "thinking_blocks": list}
# Thoughts in the midst of the text, where the server does not part them. The prompt may already hold the beginning.
THOUGHTS = re.compile(r"\s*<think>.*?(?:</think>|\Z)|.*?</think>[^\S\n]*$", re.DOTALL | re.MULTILINE)


def valid(value: Any) -> Any:
    """The same value as JSON in UTF-8 can carry it: lone surrogates, NaN and infinities have no place there.

    Raises `TypeError`, `ValueError` or `RecursionError` when it is no JSON at all.
    """
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return json.loads(text, parse_constant=lambda _: None)


def sendable(message: Message) -> Message:
    """The message with its content, its thoughts and its `tool_calls` as they came; the rest is left out."""
    try:
        given = valid(message)
    except (TypeError, ValueError, RecursionError):
        given = {}  # nothing that could be sent back
    content = given.get("content")
    if isinstance(content, list) and not all(isinstance(part, dict) and "type" in part for part in content):
        content = json.dumps(content)
    if not isinstance(content, str | list | None):
        content = json.dumps(content)
    kept: Message = {"role": "assistant", "content": content}
    kept |= {key: given[key] for key, kind in REASONING.items() if isinstance(given.get(key), kind) and given[key]}
    if isinstance(given.get("refusal"), str) and not content:
        kept["content"] = given["refusal"]
    if given.get("tool_calls"):
        kept["tool_calls"] = given["tool_calls"]
    elif not kept["content"]:
        kept["content"] = ""  # a message with neither is refused by most servers
    return kept


def spoken(message: Message) -> str:
    """The text of a `sendable` message without thoughts, with line feeds for line ends."""
    content = message["content"]
    if isinstance(content, list):
        content = "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
    text = (content or "").replace("\r\n", "\n")
    thoughts = THOUGHTS.match(text)
    return text[thoughts.end() :] if thoughts else text
