"""The scaffold: what an attempt starts with, and how it may act.

A scaffold never knows how an attempt will be verified. It has the task's statement, the sandbox and the attempt's seed;
all its random choices follow from that seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from agent.actions import Actions
from agent.agent import AttemptScope
from agent.tools import Workspace
from agent.trajectory import Message
from envs.errors import MonkeysError
from tasks.task import Task

__all__ = ["Opening", "Scaffold", "Unsuited"]


class Unsuited(MonkeysError):
    """Agent, scaffold, model and task do not fit together, so no attempt can begin. The message says what would fit."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The first messages of one attempt, and the form of its actions."""

    messages: tuple[Message, ...]
    actions: Actions


class Scaffold(Protocol):
    """One way to put a model to work. Its attributes are recorded with the run."""

    @property
    def name(self) -> str: ...

    @property
    def form(self) -> str:
        """How actions are written."""
        ...

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of its tools."""
        ...

    @property
    def texts(self) -> Mapping[str, str]:
        """The prompts by name, with `$field` for what is filled in for each attempt."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """Further settings that identify it, by name."""
        ...

    @property
    def body(self) -> Mapping[str, Any]:
        """Fields that the form of actions needs in every request's body."""
        ...

    @property
    def sampling(self) -> Mapping[str, Any]:
        """Default fields of every request's body, such as a short `max_completion_tokens`; a run may override them."""
        ...

    async def opening(self, task: Task, workspace: Workspace, scope: AttemptScope) -> Opening:
        """Begin one attempt. May look into the sandbox; shows the brief of `scope.spec` after the statement.

        Raises `SandboxError` or `Unsuited`.
        """
        ...
