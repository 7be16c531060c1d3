"""Parts of sources as a model reads them: with their place and numbered lines, no longer than a page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from agent.index.sources import Source

__all__ = ["PAGE_LINES", "numbered", "page", "place"]

PAGE_LINES = 400
LINE_CHARACTERS = 500


def place(source: Source, first: int, last: int, qualname: str = "") -> str:
    """Where lines stand, such as `[src/app.py:3-9 Book.add]`."""
    return f"[{source.path}:{first}-{last}{f' {qualname}' if qualname else ''}]"


def numbered(source: Source, first: int, last: int) -> list[str]:
    """These lines with their numbers, from 1; long ones are cut."""
    lines = _lines(source)[first - 1 : last]
    return [f"{number:6}\t{_cut(line.removesuffix(chr(13)))}" for number, line in enumerate(lines, first)]


def page(parts: Sequence[Sequence[str]], more: str) -> str:
    """Parts of several lines, as many whole ones as a page holds, at least one; then the number of `more` of them."""
    shown: list[str] = []
    for number, part in enumerate(parts):
        if number and len(shown) + len(part) > PAGE_LINES:
            return "\n".join([*shown, f"[{len(parts) - number} more {more}; name a path to see fewer]"])
        shown += part if len(part) <= PAGE_LINES else [*part[:PAGE_LINES], f"[{len(part) - PAGE_LINES} more lines]"]
    return "\n".join(shown)


@lru_cache(maxsize=64)
def _lines(source: Source) -> list[str]:
    return source.text.removesuffix("\n").split("\n")


def _cut(line: str) -> str:
    over = len(line) - LINE_CHARACTERS
    return line if over <= 0 else f"{line[:LINE_CHARACTERS]} [{over} more characters]"
