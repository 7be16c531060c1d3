"""A list of routes, searched in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from waymark.errors import MethodNotAllowed, NotFound
from waymark.pattern import Pattern

Handler = Callable[..., Any]


class Router:
    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix.rstrip("/")
        self._routes: list[tuple[str, Pattern, Handler]] = []

    def add(self, method: str, pattern: str, handler: Handler) -> None:
        self._routes.append((method.upper(), Pattern(self.prefix + pattern), handler))

    def find(self, method: str, path: str) -> tuple[Handler, dict[str, object]]:
        """The handler of the first route that fits, and the values of its fields."""
        allowed = []
        for known, pattern, handler in self._routes:
            values = pattern.match(path)
            if values is None:
                continue
            if known == method.upper():
                return handler, values
            allowed.append(known)
        if allowed:
            raise MethodNotAllowed(method.upper(), sorted(set(allowed)))
        raise NotFound(path)

    def include(self, other: Router) -> None:
        """Take over all routes of another router, behind one's own."""
        for method, pattern, handler in other._routes:
            self.add(method, pattern.text, handler)
