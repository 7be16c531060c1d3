"""The nearest known name to a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["did_you_mean", "nearest"]


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that is the most like `name`; None if none is like it."""
    return next(iter(get_close_matches(name, list(known), 1, cutoff)), None)


def did_you_mean(name: str, known: Iterable[str], form: str = "{}") -> str:
    """The end of a message about an unknown name: empty if no known name is like it. `form` is how a name is shown."""
    close = nearest(name, known)
    return f"; did you mean {form.format(close)}?" if close else ""
