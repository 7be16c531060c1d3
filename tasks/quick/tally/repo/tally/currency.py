"""Currencies and how many digits their coins have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Currency:
    code: str
    digits: int = 2

    @property
    def unit(self) -> int:
        """How many of the smallest coin make one."""
        return 10**self.digits


_KNOWN = {c.code: c for c in (Currency("EUR"), Currency("USD"), Currency("JPY", 0))}


def currency(code: str) -> Currency:
    try:
        return _KNOWN[code.upper()]
    except KeyError:
        raise ValueError(f"unknown currency: {code!r}") from None
