"""One kind of goods."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Item:
    sku: str
    name: str
    on_hand: int = 0
    reserved: int = 0
    on_order: int = 0
    reorder_point: int = 0
    discontinued: bool = False

    @property
    def available(self) -> int:
        """What can still be promised."""
        return self.on_hand - self.reserved

    @property
    def projected(self) -> int:
        """What will be available once all orders have arrived."""
        return self.available + self.on_order
