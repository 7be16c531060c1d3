"""The scaffold `tools`: the issue, a shell and five more tools, in any form of actions."""

from __future__ import annotations

from typing import Any

from agent.actions import make_actions
from agent.agent import AttemptScope
from agent.prompts import opening, prompt_texts
from agent.scaffolds.scaffold import Opening
from agent.tools import TOOLS, Workspace
from tasks.task import Task

__all__ = ["Tools"]


class Tools:
    """Begins every attempt at an issue with the same messages, but for the brief."""

    name = "tools"

    def __init__(self, form: str = "native") -> None:
        self._actions = make_actions(form)
        self.form = self._actions.name
        self.tools = tuple(tool.name for tool in TOOLS)
        told = self._actions.instructions
        self.texts: dict[str, str] = {**prompt_texts(), **({"actions": told} if told else {})}
        self.body = self._actions.body
        self.sampling: dict[str, Any] = {}

    async def opening(self, task: Task, workspace: Workspace, scope: AttemptScope) -> Opening:
        return Opening(tuple(opening(task, self._actions.instructions, scope.spec.brief)), self._actions)
