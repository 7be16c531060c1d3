"""The tool `run_tests`: runs the repository's own visible tests. The hidden tests are never in the sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from agent.tools.tool import Workspace, render


class RunTests:
    name = "run_tests"
    description = "Run the repository's existing test suite and return its output."
    parameters: ClassVar[dict[str, Any]] = {"type": "object", "properties": {}}

    async def act(self, workspace: Workspace, arguments: Mapping[str, Any]) -> str:
        return render(await workspace.shell(workspace.test_command))
