"""Reads a stream of server-sent events as the one chat completion that it makes up.

Guarantees: texts, reasoning, the arguments of calls, tokens and log-probabilities are joined in order; the last usage
counts. An error in the stream is an error of the whole. A stream that was broken off is no completion.
"""

from __future__ import annotations

import json
import re
from typing import Any

from agent.actions.sanitize import REASONING

__all__ = ["is_stream", "joined_stream"]

END = "[DONE]"
LINE = re.compile(r"\r\n|\n|\r")  # and no other, for JSON may hold them
JOINED = ("content", "refusal", "arguments", *(name for name, kind in REASONING.items() if kind is str))


def is_stream(text: str) -> bool:
    """Whether a body is a stream of events."""
    return re.match(r"(?:[ \t]*[\r\n]+|:[^\r\n]*|(?:event|id|retry):[^\r\n]*)*data:", text) is not None


def joined_stream(text: str) -> Any:
    """The chat completion, as an answer without a stream holds it. Raises `ValueError` if the stream is not whole."""
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    ended = False
    for line in LINE.split(text):
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == END:
            ended = True
            continue
        if not data:
            continue
        chunk = json.loads(data)
        if not isinstance(chunk, dict):
            raise ValueError(f"a chunk is no object: {data[:80]!r}")
        for key, value in chunk.items():
            if key != "choices" and (value is not None or key not in whole):
                whole[key] = value
        for choice in chunk.get("choices") or ():
            if isinstance(choice, dict):
                _add(choices.setdefault(_index(choice), {}), choice)
    whole["choices"] = [choices[at] for at in sorted(choices)]
    if not whole.get("error") and not ended and not any(choice.get("finish_reason") for choice in choices.values()):
        raise ValueError("the stream broke off")
    return whole


def _add(whole: dict[str, Any], choice: dict[str, Any]) -> None:
    message = whole.setdefault("message", {"role": "assistant", "content": None})
    for key, value in choice.items():
        if key in ("delta", "message"):
            if isinstance(value, dict):
                _join(message, value)
        elif key == "logprobs" and isinstance(value, dict) and isinstance(value.get("content"), list):
            whole.setdefault("logprobs", {"content": []})["content"] += value["content"]
        elif key == "token_ids" and isinstance(value, list):
            whole.setdefault("token_ids", []).extend(value)
        elif value is not None:
            whole[key] = value


def _join(whole: dict[str, Any], part: dict[str, Any]) -> None:
    for key, value in part.items():
        if value is None:
            continue
        if key == "tool_calls":
            _join_calls(whole.setdefault("tool_calls", []), value)
        elif isinstance(value, dict) and isinstance(whole.get(key), dict):
            _join(whole[key], value)
        elif type(value) is type(whole.get(key)) and (key in JOINED or isinstance(value, list)):
            whole[key] += value
        else:
            whole[key] = value


def _join_calls(calls: list[dict[str, Any]], parts: Any) -> None:
    """Add parts of calls. A part without an index belongs to the last call, unless it names an id of its own."""
    for part in parts if isinstance(parts, list) else [parts]:
        if not isinstance(part, dict):
            continue
        at = part.get("index")
        if isinstance(at, int):
            here = next((call for call in calls if call.get("index") == at), None)
        else:
            here = calls[-1] if calls and part.get("id") in (None, "", calls[-1].get("id")) else None
        if here is None:
            calls.append({"function": {}, **part})
        else:
            _join(
                here,
                {key: value for key, value in part.items() if key not in ("id", "type", "index") or key not in here},
            )


def _index(choice: dict[str, Any]) -> int:
    at = choice.get("index")
    return at if isinstance(at, int) else 0
