"""Registries: implementations of a seam by name, built in or brought by an installed package.

All six seams (sandboxes, suites, agents, models, strategies, executors) are found this way. A built-in is a line
`name: "module:attribute"` and is imported when it is asked for, since each brings its own weight. A package brings its
own through an entry point in the group `coding_monkeys.<seam>`:

    [project.entry-points."coding_monkeys.strategies"]
    last-two = "my_package:LastTwo"

A built-in name cannot be replaced by a package.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoints, entry_points
from typing import Any

from envs.errors import MonkeysError

__all__ = ["Registry", "UnknownName"]

GROUP = "coding_monkeys"


class UnknownName(MonkeysError):
    """Nothing is registered under this name, or it cannot be imported; the message lists what there is."""


class Registry:
    """The implementations of one seam.

    `seam` is the plural that names the entry point group, such as "strategies"; `what` is the singular for messages.
    """

    def __init__(self, seam: str, what: str, built_in: Mapping[str, str]) -> None:
        self.group, self.what, self.built_in = f"{GROUP}.{seam}", what, dict(built_in)

    @property
    def names(self) -> list[str]:
        """All names, the built-in ones first."""
        return [*self.built_in, *sorted(self._offered.names - self.built_in.keys())]

    def get(self, name: str) -> Any:
        """The attribute registered as `name`, imported now. Raises `UnknownName`."""
        if name in self.built_in:
            module, _, attribute = self.built_in[name].partition(":")
            return getattr(import_module(module), attribute)
        if name not in self._offered.names:
            close = get_close_matches(name, self.names, 1)
            hint = f"did you mean {close[0]}? There are " if close else "choose one of "
            raise UnknownName(f"there is no {self.what} {name!r}; {hint}{', '.join(self.names)}")
        entry = self._offered[name]
        try:
            return entry.load()
        except (ImportError, AttributeError) as error:
            raise UnknownName(f"{self.what} {name!r} ({entry.value}) cannot be imported: {error}") from None

    @cached_property
    def _offered(self) -> EntryPoints:
        return entry_points(group=self.group)
