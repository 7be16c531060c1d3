"""The tool `view_spans`: shows some classes, functions or lines of a file, and nothing else of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from agent.index.shown import numbered, page, place
from agent.index.sources import Source, below, read_sources
from agent.index.symbols import check_installed, inside, symbols
from agent.tools.tool import ToolError, Workspace

LINES = re.compile(r"(\d{1,9})(?:\s*[-:]\s*(\d{1,9}))?")
NAMED = 40  # names that a mistake lists


class ViewSpans:
    name = "view_spans"
    description = "Show some classes, functions or ranges of lines of one file."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "File, relative to the repository."},
            "spans": {
                "type": "string",
                "description": "Names and ranges of lines with commas between, such as Book.add, Book.total, 10-20.",
            },
        },
        "required": ["path", "spans"],
    }

    def __init__(self) -> None:
        check_installed(self.name)

    async def act(self, workspace: Workspace, arguments: Mapping[str, Any]) -> str:
        sources = below(await read_sources(workspace), arguments["path"])
        if len(sources) != 1:
            raise ToolError(f"{arguments['path'] or '.'} is a folder; name one file")
        wanted = [name for part in re.split(r"[,;\n]", arguments["spans"]) for name in _names(part.strip())]
        if not wanted:
            raise ToolError("spans is empty; name classes, functions or ranges of lines")
        found = sorted({span for name in wanted for span in _spans(sources[0], name)})
        return page(
            [[place(sources[0], *span, inside(sources[0], span[0])), *numbered(sources[0], *span)] for span in found],
            "spans",
        )


def _names(part: str) -> list[str]:
    """One range, or the names in a part that may have spaces between them."""
    return [part] if LINES.fullmatch(part) else part.split()


def _spans(source: Source, name: str) -> list[tuple[int, int]]:
    """The first and last lines of a range or of all symbols of a name. Raises `ToolError`."""
    count = len(source.text.removesuffix("\n").split("\n"))
    if lines := LINES.fullmatch(name):
        first, last = int(lines[1]), min(int(lines[2] or lines[1]), count)
        if not 1 <= first <= last:
            raise ToolError(f"{source.path} has lines 1-{count}, not {name}")
        return [(first, last)]
    found = [one for one in symbols(source) if f".{one.qualname}".endswith(f".{name.removesuffix('()')}")]
    if not found:
        known = ", ".join(one.qualname for one in symbols(source)[:NAMED])
        raise ToolError(f"{source.path} has no class or function {name}" + (f"; it has {known}" if known else ""))
    return [(one.first, one.last) for one in found]
