"""A calculator for formulas."""

from abacus.errors import FormulaError
from abacus.evaluate import calculate
from abacus.parser import parse

__all__ = ["FormulaError", "calculate", "parse"]
