"""Actions as native tool calls: from an assistant message to what is to be done.

Tolerant on our side: whatever is wrong with a call (broken JSON, an unknown tool, an
argument missing or of the wrong type) becomes a `Fault` whose text tells the model, and
the message that is sent back next turn is made valid, because servers refuse a history
that holds what they themselves let through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.tools import Tool
from agent.trajectory import Message

__all__ = ["Action", "Fault", "observation", "read_actions", "schemas"]

TYPES: dict[str, type | tuple[type, ...]] = {"string": str, "integer": int, "boolean": bool, "number": (int, float)}


@dataclass(frozen=True, slots=True)
class Action:
    """One call of a tool that can be carried out."""

    call_id: str
    tool: Tool
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """One call that cannot: `text` says why."""

    call_id: str
    text: str


def schemas(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """The tools in the form that chat-completions servers take."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in tools
    ]


def read_actions(message: Message, tools: Iterable[Tool]) -> tuple[Message, list[Action | Fault]]:
    """The message as it can be sent back, and its calls in order."""
    by_name = {tool.name: tool for tool in tools}
    calls: list[dict[str, Any]] = []
    actions: list[Action | Fault] = []
    try:
        message = _valid(message)
    except (TypeError, ValueError, RecursionError):
        message = {}  # nothing that could be sent back
    given = message.get("tool_calls")
    for number, call in enumerate(given if isinstance(given, list) else ()):
        function = _object(_object(call).get("function"))
        call_id = str(_object(call).get("id") or f"call_{number}")
        while any(call_id == other["id"] for other in calls):  # an answer must find its call
            call_id += "_"
        name = str(function.get("name") or "")
        arguments, problem = _arguments(function.get("arguments") or "{}")
        tool = by_name.get(name)
        if tool is None:
            actions.append(Fault(call_id, f"there is no tool {name!r}; the tools are {', '.join(by_name)}"))
        elif problem := problem or _mismatch(tool.parameters, arguments):
            actions.append(Fault(call_id, f"{name}: {problem}"))
        else:
            actions.append(Action(call_id, tool, arguments))
        spelled = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64] or "unknown"  # what servers take for a name
        calls.append(
            {"id": call_id, "type": "function", "function": {"name": spelled, "arguments": _sent(function, arguments)}}
        )
    cleaned = {**message, "role": "assistant"}
    cleaned.pop("tool_calls", None)
    if not isinstance(cleaned.get("content"), str | list | None):
        cleaned["content"] = json.dumps(cleaned["content"])
    if calls:
        cleaned["tool_calls"] = calls
    elif not cleaned.get("content"):
        cleaned["content"] = ""  # a message with neither is refused by most servers
    return cleaned, actions


def observation(call_id: str, text: str) -> Message:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _valid(value: Any) -> Any:
    """The same value as JSON in UTF-8 can carry it: lone surrogates, NaN and infinities have no place there."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return json.loads(text, parse_constant=lambda _: None)


def _arguments(text: Any) -> tuple[dict[str, Any], str]:
    if isinstance(text, dict):  # some servers hand over an object in place of a text
        return text, ""
    try:
        arguments = _valid(json.loads(text))
    except (TypeError, ValueError, RecursionError) as error:
        return {}, f"the arguments are not JSON ({error})"
    return (arguments, "") if isinstance(arguments, dict) else ({}, "the arguments are not a JSON object")


def _sent(function: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    """The arguments as they go back: the model's own text if it can, for that is what the server has in its cache."""
    text = function.get("arguments")
    if isinstance(text, str):
        try:
            if json.loads(text) == arguments:
                return text
        except (ValueError, RecursionError):
            pass
    return json.dumps(arguments)


def _mismatch(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    for name in schema.get("required", ()):
        if name not in arguments:
            return f"argument {name!r} is missing"
    for name, value in arguments.items():
        wanted = schema["properties"].get(name)
        if wanted is None:
            return f"there is no argument {name!r}; the arguments are {', '.join(schema['properties']) or 'none'}"
        optional = name not in schema.get("required", ())
        if (value is None and optional) or "type" not in wanted:
            continue
        if not isinstance(value, TYPES[wanted["type"]]) or (isinstance(value, bool) and wanted["type"] != "boolean"):
            return f"argument {name!r} must be of type {wanted['type']}"
        if isinstance(value, str) and "\0" in value:
            return f"argument {name!r} holds a NUL character, which no command or path can"
        if "enum" in wanted and value not in wanted["enum"]:
            return f"argument {name!r} must be one of {', '.join(wanted['enum'])}"
    return ""
