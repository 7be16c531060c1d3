"""What to order, and how much of it."""

from __future__ import annotations

from collections.abc import Iterable

from stockroom.item import Item


def needs_reorder(item: Item) -> bool:
    return item.projected <= item.reorder_point and not item.discontinued


def order_quantity(item: Item, pack: int = 1) -> int:
    """Enough whole packs to reach twice the reorder point."""
    missing = 2 * item.reorder_point - item.projected
    packs = -(-missing // pack)
    return max(0, packs * pack)


def shopping_list(items: Iterable[Item], pack: int = 1) -> dict[str, int]:
    return {item.sku: order_quantity(item, pack) for item in items if needs_reorder(item)}
