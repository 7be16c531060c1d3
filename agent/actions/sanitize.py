"""Makes an assistant message acceptable to any server as part of a conversation.

Guarantees: `sendable` gives JSON in valid UTF-8 with the fields of a conversation's message and none that only an
answer has. The model's reasoning stays in the field in which it came, because servers want it back there or ignore it.
`spoken` gives the text without reasoning, `text_of` all of it.
"""

from __future__ import annotations

import json
import re
from typing import Any

from agent.trajectory import Message

__all__ = ["REASONING", "sendable", "spoken", "text_of", "valid"]

# The fields in which servers give reasoning (llama.cpp, SGLang, DeepSeek; vLLM; OpenRouter; LiteLLM).
REASONING = {"reasoning_content": str, "reasoning": str, "reasoning_details": list, "thinking_blocks": list}
# Reasoning inside the text, where the server does not separate it. Its beginning may be part of the prompt.
THOUGHTS = re.compile(r"\s*<think>.*?(?:</think>|\Z)|.*?</think>[^\S\n]*$", re.DOTALL | re.MULTILINE)


def valid(value: Any) -> Any:
    """The value as JSON in UTF-8 can hold it: without lone surrogates, NaN and infinities.

    Raises `TypeError`, `ValueError` or `RecursionError` for a value that JSON cannot hold at all.
    """
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return json.loads(text, parse_constant=lambda _: None)


def sendable(message: Message) -> Message:
    """The message with its content, reasoning and `tool_calls` as they came, and without its other fields."""
    try:
        given = valid(message)
    except (TypeError, ValueError, RecursionError):
        given = {}  # nothing in it can be sent back
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
        kept["content"] = ""  # most servers refuse a message with neither
    return kept


def spoken(message: Message) -> str:
    """The text of a `sendable` message without reasoning, with line feeds as line ends."""
    text = text_of(message)
    thoughts = THOUGHTS.match(text)
    return text[thoughts.end() :] if thoughts else text


def text_of(message: Message) -> str:
    """The text of a `sendable` message with all that stands in it, with line feeds as line ends."""
    content = message["content"]
    if isinstance(content, list):
        content = "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return (content or "").replace("\r\n", "\n")
