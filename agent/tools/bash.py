"""The tool `bash`: runs a shell command in the repository."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from agent.tools.tool import Workspace, render
from envs import Command


class Bash:
    name = "bash"
    description = "Run a shell command in the repository. Each call starts a new shell there. There is no network."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {"command": {"type": "string", "description": "The command."}},
        "required": ["command"],
    }

    async def act(self, workspace: Workspace, arguments: Mapping[str, Any]) -> str:
        command = ("bash", "-c", arguments["command"])  # sh may be a shell with fewer features
        return render(await workspace.sandbox.run(Command(command, timeout=workspace.command_seconds)))
