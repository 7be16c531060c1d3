"""Actions, and the interface of the forms in which a model writes them.

Guarantees of every form (`Actions`): `read` takes any message without an exception and gives at least one `Action` or
`ActionError`. Whatever is wrong with what the model wrote is an `ActionError`, whose text tells the model. The message
that `read` returns can be sent to the server as it stands; this matters because servers refuse in a history what they
themselves have answered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agent.actions.synonyms import as_command, meant
from agent.tools import Tool
from agent.trajectory import Message

__all__ = ["CUT", "NO_TOOL", "Action", "ActionError", "Actions", "Result", "called", "in_one_message"]

CUT = "the reply was cut off at its length limit before the action was complete; say less, or take smaller steps"
NO_TOOL = "there is no tool"
TYPES: dict[str, type | tuple[type, ...]] = {"string": str, "integer": int, "boolean": bool, "number": (int, float)}


@dataclass(frozen=True, slots=True)
class Action:
    """One call of a tool that can be carried out. `call_id` is empty where a form has no names for calls."""

    call_id: str
    tool: Tool
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ActionError:
    """A call that cannot be carried out, or a reply without a call: `text` says why."""

    call_id: str
    text: str


# An action, and the observation of it.
Result = tuple[Action | ActionError, str]


class Actions(Protocol):
    """One way to write actions, for a set of tools."""

    @property
    def name(self) -> str: ...

    @property
    def instructions(self) -> str:
        """The text of the opening that explains the form; empty where the request itself does."""
        ...

    @property
    def schemas(self) -> list[dict[str, Any]]:
        """The function schemas of a request."""
        ...

    @property
    def body(self) -> dict[str, Any]:
        """Further fields of every request's body, the same for a whole run."""
        ...

    def read(self, message: Message, *, cut: bool = False) -> tuple[Message, list[Action | ActionError]]:
        """The message as it can be sent back, and its actions in order. `cut`: it ended at the length limit."""
        ...

    def observations(self, results: Sequence[Result]) -> list[Message]:
        """The messages with the observations of one message's actions, as far as they were carried out."""
        ...


def called(
    tools: Mapping[str, Tool], name: str, arguments: Mapping[str, Any] | str, call_id: str = ""
) -> Action | ActionError:
    """A call of the tool `name`, or the error in it. A text is the value of the one argument that it must have."""
    meant_name, given = meant(name, arguments if not isinstance(arguments, str) else {}, tools)
    tool = tools.get(meant_name)
    if tool is None:
        return ActionError(call_id, f"{NO_TOOL} {name[:64]!r}; the tools are {', '.join(tools)}")
    properties = tool.parameters["properties"]
    if isinstance(arguments, str):
        needed = tool.parameters.get("required", ())
        if len(needed) != 1:
            return ActionError(
                call_id, f"{tool.name}: its arguments are {', '.join(properties) or 'none'}; give them by name"
            )
        given = {needed[0]: arguments}
    given = {key: _as_wanted(value, properties.get(key)) for key, value in given.items()}
    if problem := _mismatch(tool.parameters, given):
        return ActionError(call_id, f"{tool.name}: {problem}")
    return Action(call_id, tool, given)


def _as_wanted(value: Any, wanted: Mapping[str, Any] | None) -> Any:
    """A value in the type of its parameter where it can mean nothing else, such as 12 for "12" or 12.0."""
    match (wanted or {}).get("type"):
        case "integer" if isinstance(value, float) and value.is_integer():
            return int(value)
        case "integer" if isinstance(value, str) and re.fullmatch(r"\s*[-+]?\d{1,18}(\.0+)?\s*", value):
            return int(float(value))
        case "number" if isinstance(value, str) and re.fullmatch(r"\s*[-+]?\d{1,18}(\.\d{1,18})?\s*", value):
            return float(value)
        case "boolean" if isinstance(value, str) and value.strip().lower() in ("true", "false"):
            return value.strip().lower() == "true"
        case "integer" | "number" | "boolean" if isinstance(value, str) and value.strip().lower() in (
            "",
            "null",
            "none",
        ):
            return None
        case "string" if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        case "string" if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
            return as_command(value)
    return value


def in_one_message(results: Sequence[Result]) -> list[Message]:
    """All results as one user message, because many chat templates require user and assistant to alternate."""
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
