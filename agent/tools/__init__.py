"""The tools, one file each, found by name in a registry. An attempt gets `TOOLS` where a run names no others.

A package adds a tool through an entry point in the group `coding_monkeys.tools`: a callable without parameters, such as
a class, that makes a `Tool`. Its name is the one that it is registered under.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent.tools.bash import Bash
from agent.tools.edit import Edit
from agent.tools.run_tests import RunTests
from agent.tools.search import Search
from agent.tools.submit import Submit
from agent.tools.tool import Submitted, Tool, ToolError, Workspace
from agent.tools.view import View
from envs.errors import MonkeysError
from envs.registry import Registry

__all__ = [
    "DEFAULT",
    "REGISTRY",
    "TOOLS",
    "EmbeddingsSpec",
    "Submitted",
    "Tool",
    "ToolError",
    "Workspace",
    "make_tools",
]

TOOLS: tuple[Tool, ...] = (Bash(), View(), Search(), Edit(), RunTests(), Submit())

DEFAULT = "default"  # in a list of names: those of `TOOLS`

REGISTRY = Registry(
    "tools",
    "tool",
    Tool,
    {
        "bash": "agent.tools.bash:Bash",
        "view": "agent.tools.view:View",
        "search": "agent.tools.search:Search",
        "edit": "agent.tools.edit:Edit",
        "run_tests": "agent.tools.run_tests:RunTests",
        "submit": "agent.tools.submit:Submit",
        "find_class": "agent.tools.find_class:FindClass",
        "find_function": "agent.tools.find_function:FindFunction",
        "find_snippet": "agent.tools.find_snippet:FindSnippet",
        "find_usages": "agent.tools.find_usages:FindUsages",
        "semantic_search": "agent.tools.semantic_search:SemanticSearch",
        "view_spans": "agent.tools.view_spans:ViewSpans",
    },
)


class ToolsUnsuited(MonkeysError):
    """No attempt can work with this list of tools."""


@dataclass(frozen=True, slots=True)
class EmbeddingsSpec:
    """The embedding model behind `semantic_search`: the address of a server, and what that calls the model."""

    url: str
    model: str


def make_tools(names: Iterable[str] = (), embeddings: EmbeddingsSpec | None = None) -> tuple[Tool, ...]:
    """The tools of these names in order, each once; `TOOLS` if there are none.

    Raises `ToolsUnsuited` for a list that cannot work, `UnknownName` and, where libraries are missing, `ToolsMissing`.
    """
    usual = {tool.name: tool for tool in TOOLS}
    given = [each for name in names for each in (usual if name == DEFAULT else (name,))]
    wanted = list(dict.fromkeys(given or usual))
    if "submit" not in wanted:
        raise ToolsUnsuited("--tools lacks submit, with which an attempt ends; add it, or add default")
    if embeddings and "semantic_search" not in wanted:
        raise ToolsUnsuited("--embeddings has no effect without the tool semantic_search; add it to --tools")
    return tuple(usual.get(name) or _made(name, embeddings) for name in wanted)


def _made(name: str, embeddings: EmbeddingsSpec | None) -> Tool:
    if name == "semantic_search" and embeddings:
        from agent.index.embeddings import Embeddings
        from agent.tools.semantic_search import SemanticSearch

        return SemanticSearch(Embeddings(embeddings.url, embeddings.model))
    tool: Tool = REGISTRY.make(name)
    if tool.name != name:
        raise ToolsUnsuited(f"tool {name!r} calls itself {tool.name!r}; register it under that name")
    return tool
