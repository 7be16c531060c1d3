"""A number with a unit."""

from __future__ import annotations

from measure.errors import DimensionError
from measure.registry import find


class Quantity:
    def __init__(self, value: float, symbol: str) -> None:
        self.value = value
        self.unit = find(symbol)

    def to(self, symbol: str) -> Quantity:
        """The same amount in another unit of the same dimension."""
        target = find(symbol)
        if target.dimension != self.unit.dimension:
            raise DimensionError(self.unit.symbol, target.symbol)
        return Quantity(target.from_base(self.unit.to_base(self.value)), target.symbol)

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.value + other.to(self.unit.symbol).value, self.unit.symbol)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.value - other.to(self.unit.symbol).value, self.unit.symbol)

    def __mul__(self, times: float) -> Quantity:
        return Quantity(self.value * times, self.unit.symbol)

    def __lt__(self, other: Quantity) -> bool:
        if self.unit.dimension != other.unit.dimension:
            raise DimensionError(other.unit.symbol, self.unit.symbol)
        return self.unit.to_base(self.value) < other.unit.to_base(other.value)

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit.symbol}"

    def __repr__(self) -> str:
        return f"Quantity({self.value!r}, {self.unit.symbol!r})"
