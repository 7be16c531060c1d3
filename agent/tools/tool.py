"""The interface of a tool, and the workspace in which it acts.

A tool turns arguments into an observation, a text that the model reads. A mistake of the model (no such file, text not
found) is an observation too: `ToolError` carries it. A lost sandbox is never an observation: `envs.SandboxLost` passes
through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from envs import Command, Completed, Sandbox
from envs.errors import MonkeysError

__all__ = ["Submitted", "Tool", "ToolError", "Workspace", "render"]


class ToolError(MonkeysError):
    """The model asked for something that cannot be done; it reads the text, which says what and why."""


class Submitted(str):
    """The last observation of an attempt: it is submitted as it stands."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Workspace:
    """A sandbox with the repository in it, and the command that runs its visible tests."""

    sandbox: Sandbox
    test_command: str
    command_seconds: float

    async def shell(self, script: str) -> Completed:
        return await self.sandbox.run(Command(script, timeout=self.command_seconds))


class Tool(Protocol):
    """One kind of action. `parameters` is a JSON schema of an object."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def parameters(self) -> dict[str, Any]: ...

    async def act(self, workspace: Workspace, arguments: Mapping[str, Any]) -> str:
        """Carry out the action. Returns the observation. Raises `ToolError`."""
        ...


def render(done: Completed) -> str:
    """A finished command as the model reads it: its output, then its exit status unless that is 0."""
    text = done.output.decode("utf-8", "replace")
    if text and not text.endswith("\n"):
        text += "\n"
    if done.timed_out:
        return f"{text}[killed after {done.seconds:.0f} s: time limit]"
    if done.returncode:
        return f"{text}[exit status {done.returncode}]"
    return text or "[no output]"
