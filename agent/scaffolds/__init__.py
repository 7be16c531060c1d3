"""Scaffolds: what an attempt starts with and may do. `make_scaffold` makes one by its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent.scaffolds.scaffold import Opening, Scaffold, Unsuited
from agent.tools import EmbeddingsSpec, make_tools

__all__ = ["LOCATE", "SCAFFOLDS", "TURNS", "Opening", "Scaffold", "ScaffoldSpec", "Unsuited", "make_scaffold"]

SCAFFOLDS = ("tools", "repair")
# The limit of turns where the run sets none: more turns do not help a small model.
TURNS = {"tools": 40, "repair": 4}
# How scaffold repair finds the function to show; the first is the usual one.
LOCATE = ("tests", "words")


@dataclass(frozen=True, slots=True)
class ScaffoldSpec:
    """What a scaffold is made from; it can be pickled.

    `name` is one of `SCAFFOLDS`. `form` is how actions are written, where that can be chosen. `locate` is one of
    `LOCATE`, for scaffold repair alone, None for the usual one. `tools` are the names of the tools, none for the usual
    ones, and `embeddings` is what ranks behind `semantic_search`; both are for scaffold tools alone.
    """

    name: str = "tools"
    form: str = "native"
    locate: str | None = None
    tools: tuple[str, ...] = ()
    embeddings: EmbeddingsSpec | None = None

    def make(self) -> Scaffold:
        """The scaffold. Raises `Unsuited` when there is none with these settings, and what `make_tools` raises."""
        if self.name == "tools":
            return self._tools()
        if self.name == "repair":
            return self._repair()
        raise Unsuited(f"there is no scaffold {self.name!r}; choose one of {', '.join(SCAFFOLDS)}")

    def _tools(self) -> Scaffold:
        from agent.scaffolds.tools import Tools

        if self.locate is not None:
            raise Unsuited("scaffold tools shows no function; leave out --locate, or give --scaffold repair")
        # Vectors of another server are the same, those of another model are not.
        options = {"embeddings": self.embeddings.model} if self.embeddings else {}
        try:
            return Tools(self.form, make_tools(self.tools, self.embeddings), options)
        except ValueError as error:
            raise Unsuited(str(error)) from None

    def _repair(self) -> Scaffold:
        from agent.scaffolds.repair import Repair

        if self.form != "native":
            raise Unsuited(f"scaffold repair has a form of actions of its own; leave out --actions {self.form}")
        if self.tools or self.embeddings:
            raise Unsuited(
                "scaffold repair has a tool of its own; leave out --tools and --embeddings, or give --scaffold tools"
            )
        return Repair(self.locate or LOCATE[0])


def make_scaffold(name: str = "tools", form: str = "native", **more: Any) -> Scaffold:
    """The scaffold of a `ScaffoldSpec` with these fields. Raises `Unsuited`."""
    return ScaffoldSpec(name, form, **more).make()
