"""The tool `find_class`: shows where a class is defined, and its outline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from agent.index.definitions import definitions
from agent.index.shown import numbered, page, place
from agent.index.sources import Source
from agent.index.symbols import Symbol, check_installed, symbols
from agent.tools.tool import Workspace

WHOLE_LINES = 40


class FindClass:
    name = "find_class"
    description = "Show where a class is defined, with its code, or with the heads of its methods if it is long."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "Name of the class."},
            "path": {"type": "string", "description": "File or folder to look in; the whole repository if left out."},
        },
        "required": ["name"],
    }

    def __init__(self) -> None:
        check_installed(self.name)

    async def act(self, workspace: Workspace, arguments: Mapping[str, Any]) -> str:
        found = await definitions(workspace, "class", arguments["name"], arguments.get("path"))
        return page([list(_outline(source, symbol)) for source, symbol in found], "classes")


def _outline(source: Source, symbol: Symbol) -> Iterator[str]:
    """The lines of a class; of a long one only those above its first method, and the first line of each method."""
    yield place(source, symbol.first, symbol.last, symbol.qualname)
    if symbol.last - symbol.first < WHOLE_LINES:
        yield from numbered(source, symbol.first, symbol.last)
        return
    inner = [one for one in symbols(source) if one.qualname.rpartition(".")[0] == symbol.qualname]
    inner = [one for one in inner if symbol.first <= one.first and one.last <= symbol.last]
    yield from numbered(source, symbol.first, min([one.first for one in inner] or [symbol.last + 1]) - 1)
    for one in inner:
        yield f"{one.first:6}\t... {one.kind} {one.name} (lines {one.first}-{one.last})"
