"""Money without floats."""

from tally.currency import Currency, currency
from tally.exchange import Exchange
from tally.money import Money

__all__ = ["Currency", "Exchange", "Money", "currency"]
