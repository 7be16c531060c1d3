"""The fields in which one server differs from others, learnt from what it refuses.

Servers with the same protocol differ in a few fields, and say so with a 400 or a 422 that names the field:

    max_tokens   all servers know it except some of OpenAI's models, which want `max_completion_tokens`. Older servers
                 ignore that name silently, so it is sent only where `max_tokens` is refused.
    reasoning    goes back in the field in which it came: llama.cpp, SGLang, Moonshot, DeepSeek (`reasoning_content`),
                 vLLM (`reasoning`) and OpenRouter (`reasoning_details`) want it there. Some servers that answer with
                 such a field do not accept it (Mistral): it is dropped. DeepSeek wants it in all messages once one has
                 it: the others get an empty one.

What was learnt holds for all later requests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agent.actions.sanitize import REASONING

__all__ = ["ServerQuirks"]

LIMITS = ("max_tokens", "max_completion_tokens")
MISSING = re.compile(r"\bmissing\b|\brequired\b|passed back", re.IGNORECASE)
UNKNOWN = re.compile(
    r"extra|forbid|permit|unknown|unrecogni|unexpected|unsupported|support|not allowed|remove|instead", re.IGNORECASE
)


class ServerQuirks:
    """What is known about one server. `drop` leaves reasoning out of requests from the start."""

    def __init__(self, drop: bool = False) -> None:
        self._limit = LIMITS[0]
        self._dropped = set(REASONING) if drop else set()
        self._filled: set[str] = set()

    def written(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body as the server wants it; the argument is not changed."""
        limit = next((body[name] for name in reversed(LIMITS) if name in body), None)
        written = {name: value for name, value in body.items() if name not in LIMITS}
        if limit is not None:
            written[self._limit] = limit
        if self._dropped or self._filled:
            written["messages"] = [self._message(message) for message in body["messages"]]
        return written

    def learn(self, written: Mapping[str, Any], said: str) -> str:
        """Learn from the message `said` with which the server refused a request.

        Returns a line for people, empty if nothing was learnt.
        """
        for name in REASONING:
            if not _names(said, name):
                continue
            if MISSING.search(said) and name not in self._filled | self._dropped and REASONING[name] is str:
                self._filled.add(name)
                return f"the server wants {name} in all messages; it is sent empty where the model gave none"
            if UNKNOWN.search(said) and any(name in message for message in written["messages"]):
                self._dropped.add(name)
                return f"the server does not accept {name} in messages; reasoning is kept in the run and not sent back"
        if LIMITS[0] in written and _names(said, LIMITS[0]) and UNKNOWN.search(said):
            self._limit = LIMITS[1]
            return f"the server wants {LIMITS[1]} instead of {LIMITS[0]}"
        return ""

    def _message(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        if message["role"] != "assistant":
            return message
        kept = {name: value for name, value in message.items() if name not in self._dropped}
        return {**dict.fromkeys(self._filled - self._dropped, ""), **kept}


def _names(said: str, field: str) -> bool:
    """Whether this field is named, and not another one whose name begins in the same way."""
    return re.search(rf"(?<!\w){field}(?!\w)", said) is not None
