"""The forms of actions: native tool calls, fenced text, or one JSON object. `make_actions` makes one by its name."""

from __future__ import annotations

from collections.abc import Sequence

from agent.actions.actions import Action, ActionError, Actions
from agent.tools import TOOLS, Tool

__all__ = ["FORMS", "Action", "ActionError", "Actions", "make_actions"]

FORMS = ("native", "text", "structured")


def make_actions(name: str = "native", tools: Sequence[Tool] = TOOLS) -> Actions:
    """The form called `name`, one of `FORMS`, for these tools. Raises `ValueError` when there is none."""
    if name == "native":
        from agent.actions.native import Native

        return Native(tools)
    if name == "text":
        from agent.actions.text import Text

        return Text(tools)
    if name == "structured":
        from agent.actions.structured import Structured

        return Structured(tools)
    raise ValueError(f"there is no form of actions {name!r}; choose one of {', '.join(FORMS)}")
