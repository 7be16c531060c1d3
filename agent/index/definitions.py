"""The definitions of a name in the sources of a sandbox, and how a model reads that there are none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from difflib import get_close_matches

from agent.index.sources import Source, below, read_sources
from agent.index.symbols import Symbol, symbols
from agent.tools.tool import ToolError, Workspace

__all__ = ["Definition", "definitions"]

Definition = tuple[Source, Symbol]


async def definitions(workspace: Workspace, kind: str, name: str, path: str | None) -> list[Definition]:
    """The classes or functions of this name at or below a path, by path and line.

    The name may hold those around it (`Book.add`). Raises `ToolError`, with the nearest names, if there is none.
    """
    sources = below(await read_sources(workspace), path)
    return await asyncio.to_thread(_found, sources, kind, name.strip().removesuffix("()").strip())


def _found(sources: Sequence[Source], kind: str, name: str) -> list[Definition]:
    last = name.rpartition(".")[2]
    of_name = [
        (source, symbol)
        for source in sources
        if last in source.text  # most files need not be parsed
        for symbol in symbols(source)
        if symbol.name == last
    ]
    found = [(source, one) for source, one in of_name if one.kind == kind and f".{one.qualname}".endswith(f".{name}")]
    if found and last:
        return found
    others = [f"{one.kind} {one.qualname} in {source.path}" for source, one in of_name][:5]
    if not others:
        known = sorted({one.name for source in sources for one in symbols(source) if one.kind == kind})
        others = get_close_matches(last, known, 5, 0.7)
    raise ToolError(f"there is no {kind} {name}" + (f"; there are {', '.join(others)}" if others else ""))
