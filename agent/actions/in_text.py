"""The actions in the text of a reply, for the forms of which it is not the own notation."""

from __future__ import annotations

from collections.abc import Mapping

from agent.actions.actions import CUT, Action, ActionError, called
from agent.actions.notations import calls_in_text, holds_call, without_thoughts
from agent.actions.sanitize import REASONING, text_of
from agent.actions.synonyms import is_known
from agent.tools import Tool
from agent.trajectory import Message

__all__ = ["actions_in_text", "no_action"]

QUOTED = "no tool was called: a call that is quoted, explained or thought of is not carried out; end the reply with it"


def actions_in_text(message: Message, tools: Mapping[str, Tool], cut: bool) -> list[Action | ActionError]:
    """The calls in the text of a `sendable` message, or in its reasoning where it holds nothing else."""

    def known(name: str) -> bool:
        return is_known(name, tools)

    whole = text_of(message)
    said = without_thoughts(whole, known)
    if said.strip():
        calls = calls_in_text(said, known, cut=cut)
    else:
        thoughts = [text for name in REASONING if isinstance(text := message.get(name), str)]
        calls = [call for text in (whole, *thoughts) for call in calls_in_text(text, known, cut=cut, thought=True)]
    return [called(tools, call.name, call.arguments) for call in calls]


def no_action(message: Message, tools: Mapping[str, Tool], cut: bool, told: str) -> ActionError:
    """The error of a reply in which no action was found; `told` says what the form wants."""
    if cut:
        return ActionError("", CUT)
    quotes = holds_call(text_of(message), lambda name: is_known(name, tools))
    return ActionError("", QUOTED if quotes else told)
