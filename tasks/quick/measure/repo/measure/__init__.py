"""Quantities with units."""

from measure.errors import DimensionError, UnknownUnit
from measure.parse import parse
from measure.quantity import Quantity

__all__ = ["DimensionError", "Quantity", "UnknownUnit", "parse"]
