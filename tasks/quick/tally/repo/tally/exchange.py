"""Changing money."""

from __future__ import annotations

from fractions import Fraction

from tally.currency import currency
from tally.money import Money
from tally.rounding import Rule, half_up


class Exchange:
    """Rates say how many of a currency one euro buys."""

    def __init__(self, rates: dict[str, str]) -> None:
        self._rates = {code: Fraction(rate) for code, rate in rates.items()}
        self._rates["EUR"] = Fraction(1)

    def rate(self, source: str, target: str) -> Fraction:
        return self._rates[target] / self._rates[source]

    def change(self, money: Money, code: str, rule: Rule = half_up) -> Money:
        target = currency(code)
        rate = self.rate(money.currency.code, target.code)
        exact = money.coins * rate * Fraction(target.unit, money.currency.unit)
        return Money(rule(exact.numerator, exact.denominator), target)
