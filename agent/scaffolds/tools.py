"""The scaffold `tools`: the issue, and tools to work with, in any form of actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.actions import make_actions
from agent.agent import AttemptScope
from agent.prompts import opening, prompt_texts
from agent.scaffolds.scaffold import Opening
from agent.tools import TOOLS, Tool, Workspace
from tasks.task import Task

__all__ = ["Tools"]


class Tools:
    """Begins every attempt at an issue with the same messages, but for the brief.

    `options` are further settings of the tools, which are recorded.
    """

    name = "tools"

    def __init__(
        self, form: str = "native", tools: Sequence[Tool] = TOOLS, options: Mapping[str, Any] | None = None
    ) -> None:
        self._actions = make_actions(form, tools)
        self.form = self._actions.name
        self.tools = tuple(tool.name for tool in tools)
        told = self._actions.instructions
        self.texts: dict[str, str] = {**prompt_texts(), **({"actions": told} if told else {})}
        self.options: dict[str, Any] = dict(options or {})
        self.body = self._actions.body
        self.sampling: dict[str, Any] = {}

    async def opening(self, task: Task, workspace: Workspace, scope: AttemptScope) -> Opening:
        return Opening(tuple(opening(task, self._actions.instructions, scope.spec.brief)), self._actions)
