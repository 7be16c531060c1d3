"""From a tree to a number."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

from abacus.errors import FormulaError
from abacus.parser import Tree, parse

OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}

FUNCTIONS = {"abs": abs, "min": min, "max": max, "round": round, "sqrt": math.sqrt}


def calculate(text: str, **variables: float) -> Any:
    """The value of a formula."""
    return evaluate(parse(text), variables)


def evaluate(tree: Tree, variables: Mapping[str, float]) -> Any:
    column, kind, *parts = tree
    if kind == "number":
        return number(parts[0])
    if kind == "variable":
        if parts[0] not in variables:
            raise FormulaError(column, f"unknown variable {parts[0]!r}")
        return variables[parts[0]]
    if kind == "negate":
        return -evaluate(parts[0], variables)
    if kind == "binary":
        left, right = (evaluate(part, variables) for part in parts[1:])
        if parts[0] in ("/", "//", "%") and right == 0:
            raise FormulaError(column, "division by zero")
        return OPERATORS[parts[0]](left, right)
    if parts[0] not in FUNCTIONS:
        raise FormulaError(column, f"unknown function {parts[0]!r}")
    return FUNCTIONS[parts[0]](*(evaluate(part, variables) for part in parts[1]))


def number(text: str) -> int | float:
    """Whole numbers stay exact."""
    return float(text) if "." in text else int(text)
