"""A unit: how its readings relate to the base unit of its dimension."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    symbol: str
    dimension: str
    factor: float = 1.0
    offset: float = 0.0  # what to add to a reading so that zero means nothing at all

    def to_base(self, reading: float) -> float:
        return (reading + self.offset) * self.factor

    def from_base(self, amount: float) -> float:
        return amount / self.factor + self.offset
