"""What is to be done, whatever the form in which a model writes it.

Guarantees of every form (`Actions`): `read` takes any message without an exception and
gives at least one `Action` or `ActionError`; whatever is wrong with what the model wrote is a
`ActionError`, whose text tells it; and the message that `read` gives back can be sent to the
server as it stands, because servers refuse a history that holds what they themselves
let through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agent.tools import Tool
from agent.trajectory import Message

__all__ = ["CUT", "Action", "ActionError", "Actions", "Result", "called", "in_one_message"]

CUT = "the reply was cut off at its length limit before the action was complete; say less, or take smaller steps"
TYPES: dict[str, type | tuple[type, ...]] = {"string": str, "integer": int, "boolean": bool, "number": (int, float)}


@dataclass(frozen=True, slots=True)
class Action:
    """One call of a tool that can be carried out. `call_id` is empty where a form has no names for calls."""

    call_id: str
    tool: Tool
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ActionError:
    """One call that cannot, or a reply without any: `text` says why."""

    call_id: str
    text: str


# What was asked for, and what the model is to read of it.
Result = tuple[Action | ActionError, str]


class Actions(Protocol):
    """One way to write actions, for a set of tools."""

    @property
    def name(self) -> str: ...

    @property
    def instructions(self) -> str:
        """What the opening says of the form; empty where the request says it all."""
        ...

    @property
    def schemas(self) -> list[dict[str, Any]]:
        """What a request offers as its tools."""
        ...

    @property
    def body(self) -> dict[str, Any]:
        """Further fields of every request's body, the same for a whole run."""
        ...

    def read(self, message: Message, *, cut: bool = False) -> tuple[Message, list[Action | ActionError]]:
        """The message as it can be sent back, and what it asks for, in order. `cut`: it ended at its length limit."""
        ...

    def observations(self, results: Sequence[Result]) -> list[Message]:
        """What the model reads next of the actions of one message, as far as they were carried out."""
        ...


def called(
    tools: Mapping[str, Tool], name: str, arguments: Mapping[str, Any], call_id: str = ""
) -> Action | ActionError:
    """A call of the tool `name`, or what is wrong with it."""
    tool = tools.get(name)
    if tool is None:
        return ActionError(call_id, f"there is no tool {name[:64]!r}; the tools are {', '.join(tools)}")
    if problem := _mismatch(tool.parameters, arguments):
        return ActionError(call_id, f"{name}: {problem}")
    return Action(call_id, tool, arguments)


def in_one_message(results: Sequence[Result]) -> list[Message]:
    """All results as one message of the user's: many chat templates want user and assistant to take turns."""
    parts = [
        text if isinstance(done, ActionError) else f"Result of {done.tool.name}:\n{text}" for done, text in results
    ]
    return [{"role": "user", "content": "\n\n".join(parts)}] if parts else []


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
