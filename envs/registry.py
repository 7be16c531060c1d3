"""Registries: the implementations of a seam by name, built in or offered by an installed package.

A seam is a protocol with several implementations. There are eight: sandboxes, suites, agents, tools, models, feedback,
strategies and executors. A built-in implementation is one line `name: "module:attribute"`; it is imported only when it
is asked for, since its imports may be slow. A package offers its own through an entry point in the group
`coding_monkeys.<seam>`:

    [project.entry-points."coding_monkeys.strategies"]
    last-two = "my_package:LastTwo"

A built-in name cannot be replaced by a package.

Guarantees: a mistake in a package is one line that names the package; the exception behind it is kept as its cause.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from envs.errors import MonkeysError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

__all__ = ["BrokenPackage", "Registry", "UnknownName"]

GROUP = "coding_monkeys"


class UnknownName(MonkeysError):
    """Nothing usable is registered under this name. The message lists the known names, or says what is wrong."""


class BrokenPackage(UnknownName):
    """A package registers this name, and what it registers cannot be imported, cannot be made, or lacks members."""


class Registry:
    """The implementations of one seam.

    `seam` is a plural and names the entry point group, such as "strategies". `what` is the singular, for messages.
    `protocol` is the contract of the seam: what is made must have its members.
    """

    def __init__(self, seam: str, what: str, protocol: type, built_in: Mapping[str, str]) -> None:
        self.group, self.what, self.built_in = f"{GROUP}.{seam}", what, dict(built_in)
        self.protocol = protocol

    @property
    def names(self) -> list[str]:
        """All names, the built-in ones first."""
        return [*self.built_in, *sorted(self._offered.names - self.built_in.keys())]

    @property
    def replaced(self) -> list[str]:
        """A warning for each package that registers a built-in name."""
        return [
            f"{self.what} {entry.name!r} ({entry.value}) is not used, for this name is built in; it is of "
            f"{_package(entry)}: register it under another name"
            for entry in self._offered
            if entry.name in self.built_in
        ]

    def get(self, name: str) -> Any:
        """Import and return the attribute that is registered as `name`. Raises `UnknownName`."""
        if name in self.built_in:
            module, _, attribute = self.built_in[name].partition(":")
            return getattr(import_module(module), attribute)
        if name not in self._offered.names:
            from difflib import get_close_matches

            close = get_close_matches(name, self.names, 1)
            hint = f"did you mean {close[0]}? There are " if close else "choose one of "
            raise UnknownName(f"there is no {self.what} {name!r}; {hint}{', '.join(self.names)}")
        try:
            return self._offered[name].load()
        except Exception as error:
            raise self._broken(name, f"cannot be imported: {_told(error)}") from error

    def make(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Call what is registered as `name`, and return what it makes.

        Raises `UnknownName`, and every `MonkeysError` with which it refuses the arguments.
        """
        factory = self.get(name)
        if name in self.built_in:
            return factory(*arguments, **options)
        try:
            made = factory(*arguments, **options)
            lacking = [member for member in _members(self.protocol) if not hasattr(made, member)]
        except MonkeysError:
            raise
        except Exception as error:
            raise self._broken(name, f"cannot be made: {_told(error)}") from error
        if lacking:
            contract = f"{self.protocol.__module__.replace('.', '/')}.py"
            raise self._broken(name, f"lacks {', '.join(lacking)}; see {contract}")
        return made

    def parameters(self, name: str) -> list[str] | None:
        """The names of the keyword parameters of what is registered as `name`; None if it takes any.

        Raises `UnknownName`.
        """
        factory = self.get(name)
        try:
            parameters = inspect.signature(factory).parameters.values()
        except (TypeError, ValueError) as error:
            raise self._broken(name, f"cannot be called: {_told(error)}") from error
        if any(each.kind is each.VAR_KEYWORD for each in parameters):
            return None
        return [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]

    def _broken(self, name: str, how: str) -> BrokenPackage:
        entry = self._offered[name]
        return BrokenPackage(
            f"{self.what} {name!r} ({entry.value}) {how}; it is of {_package(entry)}: mend or uninstall it"
        )

    @cached_property
    def _offered(self) -> EntryPoints:
        from importlib.metadata import entry_points  # which takes 30 ms to import

        return entry_points(group=self.group)


def _members(protocol: type) -> list[str]:
    return [name for name in vars(protocol) if not name.startswith("_")]


def _told(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


def _package(entry: EntryPoint) -> str:
    return f"package {entry.dist.name} {entry.dist.version}" if entry.dist else "an installed package"
