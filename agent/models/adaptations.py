"""The ways in which a request can be written for servers that refuse it as it stands.

Servers with one protocol differ in what they accept. Each `Adaptation` changes one thing that we write, or that other
servers answered, and nothing that the model said. Guarantees: a rewritten body is a new object, and a body in which
there is nothing to change is returned as it is. `agent.models.server_quirks` learns which of them a server needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.actions.sanitize import spoken
from agent.trajectory import Message

__all__ = ["ADAPTATIONS", "LIMITS", "Adaptation", "drop_reasoning", "fill_reasoning"]

Body = Mapping[str, Any]
LIMITS = ("max_tokens", "max_completion_tokens")
EMPTY = "(empty)"  # stands for a text that a server does not take without content
ID_LENGTH = 9  # Mistral's; every server that names a length takes one of letters and digits


@dataclass(frozen=True, slots=True)
class Adaptation:
    """One change. `line` says it to people, `hint` matches the words of a server that refuses what it changes.

    `rewrite` gives the changed body. `field` is the field of the body that it takes away, empty if none. `blind`: it
    may be tried where the server's words say nothing.
    """

    name: str
    line: str
    hint: re.Pattern[str]
    rewrite: Callable[[Body], Body]
    field: str = ""
    blind: bool = True

    def touches(self, body: Body) -> bool:
        """Whether it would change this body."""
        return self.rewrite(body) is not body


def _hint(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


def _without(field: str) -> Callable[[Body], Body]:
    def rewrite(body: Body) -> Body:
        return {name: value for name, value in body.items() if name != field} if field in body else body

    return rewrite


def _each(change: Callable[[Message], Message]) -> Callable[[Body], Body]:
    """Change messages one by one. `change` returns the same object where it changes nothing."""

    def rewrite(body: Body) -> Body:
        messages = [change(message) for message in body["messages"]]
        same = all(new is old for new, old in zip(messages, body["messages"], strict=True))
        return body if same else {**body, "messages": messages}

    return rewrite


def _null_content(message: Message) -> Message:
    return {**message, "content": ""} if "content" in message and message["content"] is None else message


def _blank(content: Any) -> bool:
    """Whether content holds nothing but white space, which servers refuse in the words for empty content."""
    if isinstance(content, list):
        return not any(part.get("type") != "text" or str(part.get("text") or "").strip() for part in content)
    return not (content or "").strip()


def _no_content(message: Message) -> Message:
    if message.get("tool_calls") and "content" in message and _blank(message["content"]):
        return {name: value for name, value in message.items() if name != "content"}
    return message


def _filled_content(message: Message) -> Message:
    if message.get("tool_calls") and _blank(message.get("content")):
        return {**message, "content": EMPTY}
    return message


def _empty_content(message: Message) -> Message:
    if _blank(message.get("content")) and not message.get("tool_calls"):
        return {**message, "content": EMPTY}
    return message


def _parts(message: Message) -> Message:
    return {**message, "content": spoken(message)} if isinstance(message.get("content"), list) else message


def _argument_objects(message: Message) -> Message:
    """Arguments as objects in place of texts."""
    calls = message.get("tool_calls") or ()
    if not any(isinstance(call["function"]["arguments"], str) for call in calls):
        return message

    def rewritten(call: Any) -> Any:
        function = call["function"]
        given = function["arguments"]
        return {**call, "function": {**function, "arguments": json.loads(given) if isinstance(given, str) else given}}

    return {**message, "tool_calls": [rewritten(call) for call in calls]}


def _extra_content(message: Message) -> Message:
    calls = message.get("tool_calls") or ()
    if not any("extra_content" in call for call in calls):
        return message
    kept = [{name: value for name, value in call.items() if name != "extra_content"} for call in calls]
    return {**message, "tool_calls": kept}


def _call_ids(body: Body) -> Body:
    """Ids of letters and digits, each used once in the conversation."""
    messages, ids, number = [], dict[str, str](), 0
    for message in body["messages"]:
        if message.get("tool_calls"):
            calls = []
            for call in message["tool_calls"]:
                number += 1
                ids[call["id"]] = f"call{number:0{ID_LENGTH - 4}d}"
                calls.append({**call, "id": ids[call["id"]]})
            message = {**message, "tool_calls": calls}
        elif message["role"] == "tool":
            message = {**message, "tool_call_id": ids.get(message["tool_call_id"], message["tool_call_id"])}
        messages.append(message)
    return {**body, "messages": messages} if number else body


def _tool_names(body: Body) -> Body:
    """The name of its tool in each result."""
    messages, names, changed = [], dict[str, str](), False
    for message in body["messages"]:
        for call in message.get("tool_calls") or ():
            names[call["id"]] = call["function"]["name"]
        if message["role"] == "tool" and not message.get("name"):
            message = {**message, "name": names.get(message["tool_call_id"], "tool")}
            changed = True
        messages.append(message)
    return {**body, "messages": messages} if changed else body


def _as_text(body: Body) -> Body:
    """Calls and their results as texts of the assistant and the user."""
    messages, names = list[Message](), dict[str, str]()
    for message in body["messages"]:
        if message.get("tool_calls"):
            functions = [call["function"] for call in message["tool_calls"]]
            names |= {call["id"]: call["function"]["name"] for call in message["tool_calls"]}
            calls = [f"<tool_call>\n{json.dumps(function)}\n</tool_call>" for function in functions]
            rest = {name: value for name, value in message.items() if name != "tool_calls"}
            message = {
                **rest,
                "content": "\n".join([text for text in (spoken({"content": None, **message}),) if text] + calls),
            }
        elif message["role"] == "tool":
            text = f"Result of {names.get(message['tool_call_id'], 'the call')}:\n{message['content']}"
            if messages and messages[-1]["role"] == "user":
                messages[-1] = {**messages[-1], "content": f"{spoken(messages[-1])}\n\n{text}"}
                continue
            message = {"role": "user", "content": text}
        messages.append(message)
    return {**body, "messages": messages} if names else body


def _no_system(body: Body) -> Body:
    """The system's text at the beginning of the first user message."""
    told = [spoken(message) for message in body["messages"] if message["role"] == "system"]
    rest = [message for message in body["messages"] if message["role"] != "system"]
    if not told:
        return body
    first: Message = {"role": "user", "content": "\n\n".join(told)}
    if rest and rest[0]["role"] == "user":
        first["content"] = "\n\n".join([*told, spoken(rest.pop(0))])
    return {**body, "messages": [first, *rest]}


def _alternating(body: Body) -> Body:
    """User messages that follow one another as one."""
    messages: list[Message] = []
    for message in body["messages"]:
        if messages and message["role"] == messages[-1]["role"] == "user":
            messages[-1] = {**messages[-1], "content": f"{spoken(messages[-1])}\n\n{spoken(message)}"}
        else:
            messages.append(message)
    return body if len(messages) == len(body["messages"]) else {**body, "messages": messages}


def _streamed(body: Body) -> Body:
    return body if body.get("stream") else {**body, "stream": True, "stream_options": {"include_usage": True}}


def _other_limit(body: Body) -> Body:
    if LIMITS[0] not in body:
        return body
    return {(LIMITS[1] if name == LIMITS[0] else name): value for name, value in body.items()}


def drop_reasoning(name: str) -> Adaptation:
    """Leave a field of reasoning out of messages."""

    def change(message: Message) -> Message:
        return {key: value for key, value in message.items() if key != name} if name in message else message

    line = f"the server does not accept {name} in messages; reasoning is kept in the run and not sent back"
    return Adaptation(
        f"drop {name}", line, _hint(rf"(?<!\w){name}(?!\w).*{UNKNOWN}|{UNKNOWN}.*(?<!\w){name}(?!\w)"), _each(change)
    )


def fill_reasoning(name: str) -> Adaptation:
    """Give every reply a field of reasoning, empty where the model gave none."""

    def change(message: Message) -> Message:
        return {**message, name: ""} if message["role"] == "assistant" and name not in message else message

    line = f"the server wants {name} in all messages; it is sent empty where the model gave none"
    missing = r"(?:\bmissing\b|\brequired\b|passed back)"
    hint = _hint(rf"(?<!\w){name}(?!\w).*{missing}|{missing}.*(?<!\w){name}(?!\w)")
    return Adaptation(f"fill {name}", line, hint, _each(change), blind=False)


UNKNOWN = (
    r"(?:extra|forbid|permit|unknown|unrecogni|unexpected|unsupported|support|not allowed|not accepted|remove|instead|"
    r"cannot find|invalid|additional|no such|ignored)"
)
# In the order in which they are applied, and tried.
ADAPTATIONS = (
    Adaptation(
        "limit",
        f"the server wants {LIMITS[1]} instead of {LIMITS[0]}",
        _hint(rf"(?<!\w){LIMITS[0]}(?!\w).*(?:support|instead|unknown|unrecogni|unexpected|extra|permit)"),
        _other_limit,
        blind=False,
    ),
    Adaptation(
        "null content",
        "the server does not accept null as the content of a message; it is sent as an empty text",
        _hint(r"content.*(?:string|null|none|valid|required|missing|must be|str\b|type)|(?:null|none).*content"),
        _each(_null_content),
    ),
    Adaptation(
        "no content",
        "the server does not accept empty content beside calls; it is left out",
        _hint(r"content.*(?:empty|non-empty|blank|white.?space|valid|length|at least)|(?:empty|blank).*content"),
        _each(_no_content),
    ),
    Adaptation(
        "filled content",
        f"the server wants content beside calls; where there is none {EMPTY!r} is sent",
        _hint(r"content.*(?:required|missing|empty|at least|must)"),
        _each(_filled_content),
    ),
    Adaptation(
        "empty content",
        f"the server does not accept an empty message; it is sent as {EMPTY!r}",
        _hint(
            r"(?:content|message|text).*(?:empty|required|blank|white.?space|invalid|must)|"
            r"(?:empty|invalid).*(?:message|content|text)"
        ),
        _each(_empty_content),
    ),
    Adaptation(
        "parts",
        "the server does not accept content in parts; it is sent as one text",
        _hint(r"content.*(?:string|str\b|text|array|list|part|type|sequence)|(?:part|array|list|sequence).*content"),
        _each(_parts),
    ),
    Adaptation(
        "call ids",
        f"the server wants other ids of tool calls; each is sent as one of {ID_LENGTH} letters and digits of its own",
        _hint(r"\bids?\b|call_id|tool_use_id|duplicate"),
        _call_ids,
    ),
    Adaptation(
        "tool names",
        "the server wants the name of the tool in each result; it is sent",
        _hint(r"\bname\b|tool_name"),
        _tool_names,
    ),
    Adaptation(
        "argument objects",
        "the server wants the arguments of calls as objects, not as texts",
        _hint(r"arguments?.*(?:object|dict|map|record|struct)"),
        _each(_argument_objects),
    ),
    Adaptation(
        "extra content",
        "the server does not accept extra_content in calls; it is not sent back",
        _hint(r"extra_content|thought_signature"),
        _each(_extra_content),
    ),
    Adaptation(
        "system",
        "the server does not accept the role system; its text begins the first user message",
        _hint(r"system"),
        _no_system,
    ),
    Adaptation(
        "alternating",
        "the server wants user and assistant to alternate; messages that follow one another are sent as one",
        _hint(r"alternat|consecutive|same role|roles? must|after.*user|in a row"),
        _alternating,
    ),
    Adaptation(
        "calls as text",
        "the server takes no calls and results in a history; they are sent as texts",
        _hint(r"\broles?\b|tool"),
        _as_text,
    ),
    Adaptation(
        "seed",
        "the server does not accept seeds; they are not sent, so its replies depend on its own randomness",
        _hint(r"(?<!\w)seed(?!\w)"),
        _without("seed"),
        field="seed",
    ),
    Adaptation(
        "priority",
        "the server does not accept priorities; --scheduled has no effect",
        _hint(r"(?<!\w)priority(?!\w)"),
        _without("priority"),
        field="priority",
    ),
    Adaptation(
        "response format",
        "the server enforces no schema; response_format is not sent, and the prompt alone explains the form of actions",
        _hint(r"response_?format|json_?schema|structured|guided|grammar"),
        _without("response_format"),
        field="response_format",
        blind=False,
    ),
    Adaptation(
        "stream options",
        "the server does not accept stream_options; it may tell no usage",
        _hint(r"stream_options|include_usage"),
        _without("stream_options"),
        field="stream_options",
    ),
    Adaptation(
        "stream",
        "the server answers with streams alone; its streams are read",
        _hint(r"(?<![a-z])stream"),
        _streamed,
    ),
)
