"""Amounts of money."""

from __future__ import annotations

from dataclasses import dataclass

from tally.currency import Currency, currency
from tally.rounding import Rule, half_up


@dataclass(frozen=True)
class Money:
    coins: int
    currency: Currency

    @classmethod
    def parse(cls, text: str) -> Money:
        """Read `19.99 EUR` or `-300 JPY`."""
        amount, _, code = text.strip().partition(" ")
        known = currency(code)
        sign = -1 if amount.startswith("-") else 1
        whole, _, fraction = amount.lstrip("-").partition(".")
        if not whole.isdigit() or len(fraction) > known.digits:
            raise ValueError(f"not an amount: {text!r}")
        coins = int(whole) * known.unit + int(fraction.ljust(known.digits, "0") or 0)
        return cls(sign * coins, known)

    def __str__(self) -> str:
        whole, rest = divmod(abs(self.coins), self.currency.unit)
        sign = "-" if self.coins < 0 else ""
        fraction = f".{rest:0{self.currency.digits}d}" if self.currency.digits else ""
        return f"{sign}{whole}{fraction} {self.currency.code}"

    def __add__(self, other: Money) -> Money:
        self._check(other)
        return Money(self.coins + other.coins, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._check(other)
        return Money(self.coins - other.coins, self.currency)

    def __neg__(self) -> Money:
        return Money(-self.coins, self.currency)

    def __mul__(self, times: int) -> Money:
        return Money(self.coins * times, self.currency)

    def percent(self, rate: int, rule: Rule = half_up) -> Money:
        return Money(rule(self.coins * rate, 100), self.currency)

    def split(self, parts: int) -> list[Money]:
        """Equal shares; the first ones get what remains."""
        share, rest = divmod(self.coins, parts)
        return [Money(share + (place < rest), self.currency) for place in range(parts)]

    def _check(self, other: Money) -> None:
        if other.currency != self.currency:
            raise ValueError(f"{self.currency.code} and {other.currency.code} do not add up")
