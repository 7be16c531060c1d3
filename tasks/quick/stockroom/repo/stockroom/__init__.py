"""A warehouse in memory."""

from stockroom.errors import OutOfStock, UnknownItem
from stockroom.item import Item
from stockroom.store import Stockroom

__all__ = ["Item", "OutOfStock", "Stockroom", "UnknownItem"]
