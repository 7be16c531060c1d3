"""The scaffold `tools`: the issue, a shell and five more tools, in any form of actions."""

from __future__ import annotations

from typing import Any

from agent.actions import make_actions
from agent.models.model import Call
from agent.prompts import opening, prompt_texts
from agent.scaffolds.scaffold import Opening
from agent.tools import TOOLS, Workspace
from tasks.task import Task

__all__ = ["Tools"]


class Tools:
    """Every attempt at an issue begins with the same messages."""

    name = "tools"

    def __init__(self, form: str = "native") -> None:
        self._actions = make_actions(form)
        self.form = self._actions.name
        self.tools = tuple(tool.name for tool in TOOLS)
        told = self._actions.instructions
        self.texts: dict[str, str] = {**prompt_texts(), **({"actions": told} if told else {})}
        self.body = self._actions.body
        self.sampling: dict[str, Any] = {}

    async def opening(self, task: Task, workspace: Workspace, call: Call) -> Opening:
        return Opening(tuple(opening(task, self._actions.instructions)), self._actions)
