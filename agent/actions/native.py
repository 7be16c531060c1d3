"""The form `native`: actions as tool calls.

Calls are read tolerantly: arguments that are almost JSON are accepted, an object instead of a text, one call instead of
a list, the field `function_call` of the older protocol, calls in the form of other protocols, and calls that a server
left in the text of the reply (`agent.actions.notations`), whose results are given back as text. Whatever else is wrong
with a call (an unknown tool, an argument missing or of the wrong type, a call cut off in the middle) becomes an
`ActionError`. In the message that goes back every call has an id of its own, a name that servers accept, and arguments
that are JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agent.actions.actions import CUT, Action, ActionError, Result, called, in_one_message
from agent.actions.in_text import actions_in_text, no_action
from agent.actions.lenient import read_json
from agent.actions.sanitize import sendable
from agent.actions.synonyms import is_known, tool_name
from agent.tools import Tool
from agent.trajectory import Message

__all__ = ["Action", "ActionError", "Native", "observation", "read_actions", "schemas"]

ELSEWHERE = ("input", "parameters", "args")  # where other protocols hold the arguments of a call
NO_CALL = "no tool was called; call a tool to go on, or submit to hand in the repository as it stands"


class Native:
    """Tool calls in the server's own fields."""

    name = "native"
    instructions = ""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self.schemas = schemas(tools)
        self.body: dict[str, Any] = {}

    def read(self, message: Message, *, cut: bool = False) -> tuple[Message, list[Action | ActionError]]:
        message, actions = read_actions(message, self._tools.values(), cut=cut)
        actions = actions or actions_in_text(message, self._tools, cut)
        return message, actions or [no_action(message, self._tools, cut, NO_CALL)]

    def observations(self, results: Sequence[Result]) -> list[Message]:
        if len(results) == 1 and isinstance(results[0][0], ActionError) and not results[0][0].call_id:
            return [{"role": "user", "content": results[0][1]}]
        in_text = in_one_message([one for one in results if not one[0].call_id])
        return [observation(done.call_id, text) for done, text in results if done.call_id] + in_text


def schemas(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """The tools as function schemas of the chat-completions protocol."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in tools
    ]


def read_actions(
    message: Message, tools: Iterable[Tool], *, cut: bool = False
) -> tuple[Message, list[Action | ActionError]]:
    """The message as it can be sent back, and its calls in order; none where it has none."""
    by_name = {tool.name: tool for tool in tools}
    calls: list[dict[str, Any]] = []
    actions: list[Action | ActionError] = []
    given = _decoded(message.get("tool_calls")) or _parts(message.get("content"))
    if isinstance(given, dict) and (isinstance(given.get("function"), dict) or "name" in given):
        given = [given]
    elif not given and isinstance(message.get("function_call"), dict):
        given = [{"function": message["function_call"]}]
    content = message.get("content")
    if parts := _parts(content):  # a call goes back once, as one
        content = [one for one in content or () if one not in parts] or None
    message = sendable({**message, "content": content, "tool_calls": given})
    given = message.pop("tool_calls", None)
    for number, call in enumerate(given if isinstance(given, list) else ()):
        function = _object(_object(call).get("function")) or _object(call)
        call_id = str(_object(call).get("id") or f"call_{number}")
        while any(call_id == other["id"] for other in calls):  # a result names its call by its id
            call_id += "_"
        name = tool_name(str(function.get("name") or ""), by_name)
        written = next((function[key] for key in ("arguments", *ELSEWHERE) if function.get(key)), None)
        arguments, problem = _arguments(written or "{}", cut)
        if problem and is_known(name, by_name):
            actions.append(ActionError(call_id, f"{name}: {problem}"))
        else:
            actions.append(called(by_name, name, arguments, call_id))
        calls.append(_sent(_object(call), call_id, name, written, arguments))
    if calls:
        message["tool_calls"] = calls
    elif not message["content"]:
        message["content"] = ""
    return message, actions


def observation(call_id: str, text: str) -> Message:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def _decoded(given: Any) -> Any:
    """The calls, which some gateways give as one text of JSON."""
    if not isinstance(given, str):
        return given
    try:
        return read_json(given)
    except (ValueError, RecursionError):
        return None


def _parts(content: Any) -> list[Any] | None:
    """The calls among the parts of a content in Anthropic's form, which some gateways pass on."""
    return [one for one in content if _object(one).get("type") == "tool_use"] if isinstance(content, list) else None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _arguments(given: Any, cut: bool) -> tuple[dict[str, Any], str]:
    """The arguments as an object, and the error in them."""
    if isinstance(given, dict):  # some servers give an object instead of a text
        return given, ""
    try:
        arguments = read_json(given, closed=cut)
        if isinstance(arguments, str):  # some models encode the text twice
            arguments = read_json(arguments, closed=cut)
    except (TypeError, ValueError, RecursionError) as error:
        return {}, CUT if cut else f"the arguments are not JSON ({error})"
    return (arguments, "") if isinstance(arguments, dict) else ({}, "the arguments are not a JSON object")


def _sent(call: Mapping[str, Any], call_id: str, name: str, given: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A call as it is sent back. `given` are the arguments as the model wrote them, `arguments` as they were read."""
    spelled = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64] or "unknown"  # the characters that servers accept in a name
    text = given if _is_text_of(given, arguments) else json.dumps(arguments)
    sent = {"id": call_id, "type": "function", "function": {"name": spelled, "arguments": text}}
    # Gemini puts the signature of its reasoning there and wants it back.
    return {**sent, "extra_content": call["extra_content"]} if isinstance(call.get("extra_content"), dict) else sent


def _is_text_of(given: Any, arguments: Mapping[str, Any]) -> bool:
    """Whether the model's own text can be sent back, which is the text that the server has in its cache."""
    try:
        return isinstance(given, str) and bool(json.loads(given) == arguments)
    except (ValueError, RecursionError):
        return False
