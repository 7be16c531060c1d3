"""The tool `find_snippet`: finds some lines of code in the files, whatever their indentation is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar

from agent.index.shown import numbered, page, place
from agent.index.sources import Source, below, read_sources
from agent.index.symbols import check_installed, inside
from agent.tools.tool import ToolError, Workspace

AROUND = 3  # lines that are shown above and below
MOST = 100  # places; more of them are not counted


class FindSnippet:
    name = "find_snippet"
    description = "Find a piece of code of one or more lines, and show what is around it. Indentation may differ."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "snippet": {"type": "string", "description": "The code, as it stands in a file."},
            "path": {"type": "string", "description": "File or folder to look in; the whole repository if left out."},
        },
        "required": ["snippet"],
    }

    def __init__(self) -> None:
        check_installed(self.name)

    async def act(self, workspace: Workspace, arguments: Mapping[str, Any]) -> str:
        sought = [line.strip() for line in arguments["snippet"].strip().split("\n")]
        if not any(sought):
            raise ToolError("the snippet is empty")
        sources = below(await read_sources(workspace), arguments.get("path"))
        places = (part for source in sources for part in _found(source, sought))
        found = await asyncio.to_thread(lambda: list(islice(places, MOST + 1)))
        if not found:
            raise ToolError("this code is in no file; give fewer lines, or use search with a pattern")
        return page(found[:MOST], "places") + ("\n[there are still more; name a path]" if len(found) > MOST else "")


def _found(source: Source, sought: Sequence[str]) -> Iterator[list[str]]:
    """The places of these lines in a file: whole lines, or for a single one a part of a line."""
    if sought[0] not in source.text:
        return
    lines = [line.strip() for line in source.text.split("\n")]
    for at in range(len(lines) - len(sought) + 1):
        there = lines[at : at + len(sought)]
        if there == list(sought) or (len(sought) == 1 and sought[0] in there[0]):
            first, last = max(1, at + 1 - AROUND), min(len(lines), at + len(sought) + AROUND)
            yield [place(source, at + 1, at + len(sought), inside(source, at + 1)), *numbered(source, first, last)]
