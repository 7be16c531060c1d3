"""The form `structured`: one action a turn, as a JSON object whose schema the server enforces.

For models that do not call tools by themselves: with the schema as `response_format` each answer is an action with its
arguments, however small the model is. For servers without structured output the opening explains the form. Answers are
read tolerantly: with text or a fence around them, or with the arguments in an object of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agent.actions.actions import Action, ActionError, Result, called, in_one_message
from agent.actions.in_text import actions_in_text, no_action
from agent.actions.lenient import find_objects
from agent.actions.sanitize import sendable, spoken
from agent.prompts import form_text
from agent.tools import Tool
from agent.trajectory import Message

__all__ = ["Structured"]

NO_OBJECT = 'no action was found; answer with one JSON object: {{"thought": "...", "action": {}}}'
NAMES, ARGUMENTS = ("tool", "name", "function", "action"), ("arguments", "parameters", "args", "input")
PLACEHOLDERS = {"string": "...", "integer": 1, "number": 1, "boolean": True}


class Structured:
    """`{"thought": "...", "action": {"tool": "bash", "command": "ls"}}`, once a turn."""

    name = "structured"

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self.schemas: list[dict[str, Any]] = []
        wanted = {"name": "action", "strict": True, "schema": _schema(tools)}
        self.body: dict[str, Any] = {"response_format": {"type": "json_schema", "json_schema": wanted}}
        offered = [f"{json.dumps(_example(tool))}\n{tool.description}" for tool in tools]
        self.instructions = form_text("structured", "\n\n".join(offered))
        self._example = json.dumps(_example(tools[0])) if tools else "{}"

    def read(self, message: Message, *, cut: bool = False) -> tuple[Message, list[Action | ActionError]]:
        message = sendable({**message, "tool_calls": None})
        for found in find_objects(spoken(message), closed=cut):
            name, arguments = _call(found, self._tools)
            if name:
                return message, [called(self._tools, name, arguments)]
        actions = actions_in_text(message, self._tools, cut)
        return message, actions or [no_action(message, self._tools, cut, NO_OBJECT.format(self._example))]

    def observations(self, results: Sequence[Result]) -> list[Message]:
        return in_one_message(results)


def _schema(tools: Sequence[Tool]) -> dict[str, Any]:
    """The schema of an object with one call. The alternatives are not at its root, where strict servers refuse them."""
    return _closed({"thought": {"type": "string"}, "action": {"anyOf": [_tool_schema(tool) for tool in tools]}})


def _tool_schema(tool: Tool) -> dict[str, Any]:
    """The schema of a call of one tool. Strict servers require every argument, so optional ones may be null."""
    required = tool.parameters.get("required", ())
    arguments = {
        name: wanted if name in required or "type" not in wanted else {**wanted, "type": [wanted["type"], "null"]}
        for name, wanted in tool.parameters["properties"].items()
    }
    return _closed({"tool": {"type": "string", "enum": [tool.name]}, **arguments})


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    required = list(properties)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _example(tool: Tool) -> dict[str, Any]:
    properties = tool.parameters["properties"].items()
    return {
        "tool": tool.name,
        **{name: wanted.get("enum", [PLACEHOLDERS.get(wanted.get("type"), "...")])[0] for name, wanted in properties},
    }


def _call(found: Mapping[str, Any], tools: Mapping[str, Tool]) -> tuple[str, dict[str, Any]]:
    """The name and arguments of a call in an object; an empty name where it holds none."""
    inner = found.get("action")
    if isinstance(inner, dict):
        found = inner
    key = next((key for key in NAMES if isinstance(found.get(key), str) and found[key]), "")
    if not key:
        return "", {}
    name = found[key]
    rest = {other: value for other, value in found.items() if other not in (key, "thought")}
    for other in ARGUMENTS:
        if isinstance(rest.get(other), dict) and not (name in tools and other in tools[name].parameters["properties"]):
            return name, rest[other]
    return name, rest
