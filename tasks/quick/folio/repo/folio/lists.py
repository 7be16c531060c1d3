"""Lists whose items hang from their marks."""

from __future__ import annotations

from collections.abc import Sequence

from folio.wrap import wrap


def bullets(items: Sequence[str], width: int, mark: str = "-") -> str:
    return "\n".join(line for item in items for line in _item(item, width, f"{mark} "))


def numbered(items: Sequence[str], width: int, start: int = 1) -> str:
    """A numbered list; the numbers are flush right."""
    digits = len(str(start + len(items) - 1))
    lines = []
    for number, item in enumerate(items, start):
        lines.extend(_item(item, width, f"{number:>{digits}}. "))
    return "\n".join(lines)


def _item(text: str, width: int, mark: str) -> list[str]:
    return wrap(text, width, first=mark, rest=" " * len(mark))
