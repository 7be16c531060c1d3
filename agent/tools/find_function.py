"""The tool `find_function`: shows the code of a function or method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from agent.index.definitions import definitions
from agent.index.shown import numbered, page, place
from agent.index.symbols import check_installed
from agent.tools.tool import Workspace


class FindFunction:
    name = "find_function"
    description = "Show the code of a function or method, wherever it is defined."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "Name, for a method also with its class, such as Book.add."},
            "path": {"type": "string", "description": "File or folder to look in; the whole repository if left out."},
        },
        "required": ["name"],
    }

    def __init__(self) -> None:
        check_installed(self.name)

    async def act(self, workspace: Workspace, arguments: Mapping[str, Any]) -> str:
        found = await definitions(workspace, "function", arguments["name"], arguments.get("path"))
        return page(
            [
                [place(source, one.first, one.last, one.qualname), *numbered(source, one.first, one.last)]
                for source, one in found
            ],
            "functions",
        )
