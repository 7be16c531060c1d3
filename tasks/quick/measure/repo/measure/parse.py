"""Quantities as people write them."""

from __future__ import annotations

from measure.quantity import Quantity

_NUMBER = "+-.0123456789"


def parse(text: str) -> Quantity:
    """Read `3.5 km`, `3.5km` or `-40 degF`."""
    text = text.strip()
    end = 0
    while end < len(text) and text[end] in _NUMBER:
        end += 1
    number, symbol = text[:end], text[end:].strip()
    if not number or not symbol:
        raise ValueError(f"expected a number and a unit: {text!r}")
    return Quantity(float(number), symbol)
