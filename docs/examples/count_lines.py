"""A tool of one's own: it tells how many lines a file has. `--tools default count_lines`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from agent.tools import ToolError, Workspace
from envs import FileProblem


class CountLines:
    name = "count_lines"
    description = "Tell how many lines a file has."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {"path": {"type": "string", "description": "File, relative to the repository."}},
        "required": ["path"],
    }

    async def act(self, workspace: Workspace, arguments: Mapping[str, Any]) -> str:
        try:
            data = await workspace.sandbox.read(arguments["path"])
        except FileProblem as problem:
            raise ToolError(str(problem)) from None
        return f"[{arguments['path']} has {len(data.splitlines())} lines]"
