"""The shelves and what happens to them."""

from __future__ import annotations

from collections.abc import Iterator

from stockroom.errors import OutOfStock, UnknownItem
from stockroom.item import Item


class Stockroom:
    def __init__(self) -> None:
        self._items: dict[str, Item] = {}

    def __iter__(self) -> Iterator[Item]:
        return iter(sorted(self._items.values(), key=lambda item: item.sku))

    def add(self, item: Item) -> None:
        if item.sku in self._items:
            raise ValueError(f"{item.sku} is there already")
        self._items[item.sku] = item

    def item(self, sku: str) -> Item:
        try:
            return self._items[sku]
        except KeyError:
            raise UnknownItem(sku) from None

    def receive(self, sku: str, quantity: int) -> None:
        """Goods arrive; they count against what is on order."""
        item = self.item(sku)
        _check(quantity)
        item.on_hand += quantity
        item.on_order = max(0, item.on_order - quantity)

    def reserve(self, sku: str, quantity: int) -> None:
        item = self.item(sku)
        _check(quantity)
        if quantity > item.available:
            raise OutOfStock(sku, quantity, item.available)
        item.reserved += quantity

    def release(self, sku: str, quantity: int) -> None:
        item = self.item(sku)
        _check(quantity)
        if quantity > item.reserved:
            raise OutOfStock(sku, quantity, item.reserved)
        item.reserved -= quantity

    def ship(self, sku: str, quantity: int) -> None:
        """Send out goods that were reserved before."""
        item = self.item(sku)
        _check(quantity)
        if quantity > item.reserved and quantity > item.on_hand:
            raise OutOfStock(sku, quantity, min(item.reserved, item.on_hand))
        item.reserved -= quantity
        item.on_hand -= quantity


def _check(quantity: int) -> None:
    if quantity <= 0:
        raise ValueError(f"a quantity must be positive: {quantity}")
