"""How one server wants a request written, learnt from what it refuses.

Servers that speak the same protocol differ in a few fields, and say so with a 400 or a 422
that names the field:

    max_tokens   all know it but some of OpenAI's models, which want `max_completion_tokens`; that is
                 passed over in silence by older servers, so it is sent only where the other is refused
    thoughts     go back in the field in which they came: llama.cpp, SGLang, Moonshot, DeepSeek
                 (`reasoning_content`), vLLM (`reasoning`) and OpenRouter (`reasoning_details`) want them
                 there. Some that answer with such a field do not take it (Mistral): it is dropped. DeepSeek
                 wants it in all messages once it thinks: it is left empty in those that have none.

What was learnt holds for all requests that follow.
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
    """`drop` leaves thoughts out of what is sent back from the start."""

    def __init__(self, drop: bool = False) -> None:
        self._limit = LIMITS[0]
        self._dropped = set(REASONING) if drop else set()
        self._filled: set[str] = set()

    def written(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The same request, as the server wants it; itself is not changed."""
        limit = next((body[name] for name in reversed(LIMITS) if name in body), None)
        written = {name: value for name, value in body.items() if name not in LIMITS}
        if limit is not None:
            written[self._limit] = limit
        if self._dropped or self._filled:
            written["messages"] = [self._message(message) for message in body["messages"]]
        return written

    def learn(self, written: Mapping[str, Any], said: str) -> str:
        """From what the server said when it refused this request: one line for a person, empty if nothing new."""
        for name in REASONING:
            if not _names(said, name):
                continue
            if MISSING.search(said) and name not in self._filled | self._dropped and REASONING[name] is str:
                self._filled.add(name)
                return f"the server wants {name} in all messages; where the model thought nothing, it is sent empty"
            if UNKNOWN.search(said) and any(name in message for message in written["messages"]):
                self._dropped.add(name)
                return f"the server takes no {name} in messages; thoughts are kept in the run and not sent back"
        if LIMITS[0] in written and _names(said, LIMITS[0]) and UNKNOWN.search(said):
            self._limit = LIMITS[1]
            return f"the server wants {LIMITS[1]} in place of {LIMITS[0]}"
        return ""

    def _message(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        if message["role"] != "assistant":
            return message
        kept = {name: value for name, value in message.items() if name not in self._dropped}
        return {**dict.fromkeys(self._filled - self._dropped, ""), **kept}


def _names(said: str, field: str) -> bool:
    """Whether it is the field that is meant, and not another one whose name begins alike."""
    return re.search(rf"(?<!\w){field}(?!\w)", said) is not None
