"""The tool `find_usages`: lists the places where the code uses a name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from agent.index.shown import numbered, page
from agent.index.sources import Source, below, read_sources
from agent.index.symbols import check_installed, inside, uses
from agent.tools.tool import ToolError, Workspace

MOST = 500  # places; more of them are not counted


class FindUsages:
    name = "find_usages"
    description = "List the lines of code that use a class, function or variable; texts and comments are left out."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "The name, without the names around it."},
            "path": {"type": "string", "description": "File or folder to look in; the whole repository if left out."},
        },
        "required": ["name"],
    }

    def __init__(self) -> None:
        check_installed(self.name)

    async def act(self, workspace: Workspace, arguments: Mapping[str, Any]) -> str:
        name = arguments["name"].strip().removesuffix("()").rpartition(".")[2]
        sources = below(await read_sources(workspace), arguments.get("path"))
        found = await asyncio.to_thread(_found, sources, name)
        if not found:
            raise ToolError(f"no line of code uses {name}")
        cut = len(found) > MOST
        return page(found[:MOST], "places") + ("\n[there are still more; name a path]" if cut else "")


def _found(sources: Sequence[Source], name: str) -> list[list[str]]:
    """Each use in a line, the first of a file below the file's path; at most one more than `MOST`."""
    found: list[list[str]] = []
    for source in sources:
        for number, use in enumerate(uses(source, name)):
            if len(found) > MOST:
                return found
            [line] = numbered(source, use.line, use.line)
            around = inside(source, use.line)
            told = "definition" if use.defines else f"in {around}" if around else ""
            found.append([*([] if number else [f"[{source.path}]"]), f"{line}{f'  [{told}]' if told else ''}"])
    return found
