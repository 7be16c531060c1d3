"""Functions that remember their results."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from stash.cache import Cache

_MISSING = object()


def memoize(cache: Cache) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Keep the results of a function in the cache, None included."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def remembering(*args: Any) -> Any:
            key = (function.__qualname__, args)
            result = cache.get(key, _MISSING)
            if result is _MISSING:
                result = function(*args)
                cache.put(key, result)
            return result

        return remembering

    return decorate
