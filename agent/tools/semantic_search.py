"""The tool `semantic_search`: finds the functions and passages that answer a question best."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

from agent.index.passages import Ranking, Words, passages
from agent.index.shown import numbered, page, place
from agent.index.sources import below, read_sources
from agent.index.symbols import check_installed
from agent.tools.tool import ToolError, Workspace

FOUND, FOUND_LINES = 8, 40


class SemanticSearch:
    """Ranks by the words that code and question share, unless it is given another ranking."""

    name = "semantic_search"
    description = "Find the functions and passages that have most to do with a question or a description."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What is looked for, in words."},
            "path": {"type": "string", "description": "File or folder to look in; the whole repository if left out."},
        },
        "required": ["query"],
    }

    def __init__(self, ranking: Ranking | None = None) -> None:
        check_installed(self.name, *(() if ranking else ("bm25s",)))
        self._ranking = ranking or Words()

    async def act(self, workspace: Workspace, arguments: Mapping[str, Any]) -> str:
        query = arguments["query"].strip()
        if not query:
            raise ToolError("the query is empty")
        sources = {one.path: one for one in below(await read_sources(workspace), arguments.get("path"))}
        there = await asyncio.to_thread(lambda: [part for one in sources.values() for part in passages(one)])
        best = await self._ranking.best(query, there, FOUND)
        if not best:
            raise ToolError("no passage has a word of this query; use other words")
        shown = []
        for one in best:
            source, last = sources[one.path], min(one.last, one.first + FOUND_LINES - 1)
            cut = [] if last == one.last else [f"[{one.last - last} more lines]"]
            shown.append([place(source, one.first, one.last, one.qualname), *numbered(source, one.first, last), *cut])
        return page(shown, "passages")
