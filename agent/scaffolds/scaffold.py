"""What an attempt starts with, and in which form it may act: the interface of a scaffold.

A scaffold never knows how an attempt will be judged: it has the task's statement, the
sandbox and the attempt's seed, and whatever it draws it draws by that seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from agent.actions import Actions
from agent.models.model import Call
from agent.tools import Workspace
from agent.trajectory import Message
from tasks.task import Task

__all__ = ["Opening", "Scaffold", "Unsuited"]


class Unsuited(Exception):
    """The scaffold has nothing to offer for this repository; no attempt at it can begin."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The first messages of one attempt, and the actions that it has from then on."""

    messages: tuple[Message, ...]
    actions: Actions


class Scaffold(Protocol):
    """One way to put a model to work. All that is here is recorded with the run."""

    @property
    def name(self) -> str: ...

    @property
    def form(self) -> str:
        """How actions are written."""
        ...

    @property
    def tools(self) -> tuple[str, ...]:
        """What may be done, by name."""
        ...

    @property
    def texts(self) -> Mapping[str, str]:
        """The prompts by name, with the fields that are filled in for each attempt."""
        ...

    @property
    def body(self) -> Mapping[str, Any]:
        """Fields that the form of actions needs in every request's body."""
        ...

    @property
    def sampling(self) -> Mapping[str, Any]:
        """Fields of every request's body where the run is not told otherwise, such as a short `max_tokens`."""
        ...

    async def opening(self, task: Task, workspace: Workspace, call: Call) -> Opening:
        """How this attempt begins; it may look into the sandbox. Raises `SandboxError` or `Unsuited`."""
        ...
