"""Finds out why a server refuses a request, by what it says to requests that differ in one thing.

A refusal names its cause in its own words, in any language, or not at all. So the server is asked again: with one short
message in place of the conversation; with the conversation's form and next to no text; and with that form and as much
harmless text as the conversation has. What it accepts of these tells what it refuses.

    short message   form alone   as long   it refuses
    refused                                whatever is asked of it: the fields of the request
    accepted        refused                the form of this conversation
    accepted        accepted     refused   its length
    accepted        accepted     accepted  what it says
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import Any

from agent.actions.sanitize import REASONING
from agent.trajectory import Message

__all__ = ["Ask", "Cause", "as_long", "diagnose", "form_alone", "short_message"]

Body = Mapping[str, Any]
Ask = Callable[[Body], Awaitable[bool | None]]
"""Sends a body. Returns whether it was accepted; None if that cannot be told, as when the connection broke off."""

WORD = "ok"
FILLER = "This line is here to make the message as long as it was before. "
TIMES = 2  # characters of it for one of the conversation, which may have more tokens for its length


class Cause(Enum):
    """What a server refuses in a request."""

    FIELDS = "whatever it is asked"
    FORM = "the form of this conversation"
    LENGTH = "its length"
    TEXT = "what this conversation says"


async def diagnose(body: Body, ask: Ask) -> Cause | None:
    """The cause for which this body is refused; None if it cannot be told."""
    match await ask(form_alone(body)):
        case None:
            return None
        case False:
            short = await ask(short_message(body))
            return None if short is None else Cause.FORM if short else Cause.FIELDS
    long = await ask(as_long(body))
    return None if long is None else Cause.TEXT if long else Cause.LENGTH


def short_message(body: Body) -> Body:
    """The request with one short message in place of its conversation."""
    return {**body, "messages": [{"role": "user", "content": f"Answer with the word {WORD}."}]}


def form_alone(body: Body) -> Body:
    """The request with the form of its conversation and next to no text."""
    return {**body, "messages": [_bare(message) for message in body["messages"]]}


def as_long(body: Body) -> Body:
    """The request with the form of its conversation and as much text, which says nothing."""
    messages = [_bare(message) for message in body["messages"]]
    size = TIMES * (len(json.dumps(body["messages"])) - len(json.dumps(messages)))
    filler = (FILLER * (size // len(FILLER) + 1))[: max(0, size)]
    last = max((at for at, one in enumerate(messages) if isinstance(one.get("content"), str)), default=0)
    messages[last] = {**messages[last], "content": f"{WORD} {filler}"}
    return {**body, "messages": messages}


def _bare(message: Message) -> Message:
    bare = dict(message)
    for name in ("content", *(name for name, kind in REASONING.items() if kind is str)):
        if isinstance(bare.get(name), str) and bare[name]:
            bare[name] = WORD
    if isinstance(bare.get("content"), list):
        bare["content"] = [{**part, "text": WORD} if "text" in part else part for part in bare["content"]]
    if bare.get("tool_calls"):
        bare["tool_calls"] = [_bare_call(call) for call in bare["tool_calls"]]
    return bare


def _bare_call(call: Any) -> Any:
    function = call["function"]
    return {**call, "function": {**function, "arguments": "{}" if isinstance(function["arguments"], str) else {}}}
