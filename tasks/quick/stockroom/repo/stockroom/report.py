"""A stock list for people."""

from __future__ import annotations

from collections.abc import Iterable

from stockroom.item import Item
from stockroom.policy import needs_reorder


def stock_list(items: Iterable[Item]) -> str:
    """One line per item; a star marks what must be ordered."""
    lines = []
    for item in items:
        mark = "*" if needs_reorder(item) else " "
        lines.append(f"{mark} {item.sku:<8}{item.available:>5} of {item.on_hand}  {item.name}")
    return "\n".join(lines)
