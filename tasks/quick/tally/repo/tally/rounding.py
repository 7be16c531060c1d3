"""Rounding of fractions to whole numbers; the denominator is positive."""

from __future__ import annotations

from collections.abc import Callable

Rule = Callable[[int, int], int]


def down(numerator: int, denominator: int) -> int:
    """Towards zero."""
    if numerator < 0:
        return -down(-numerator, denominator)
    return numerator // denominator


def half_up(numerator: int, denominator: int) -> int:
    """To the nearest, halves away from zero."""
    return (2 * numerator + denominator) // (2 * denominator)


def half_even(numerator: int, denominator: int) -> int:
    """To the nearest, halves to the even neighbour."""
    whole, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1):
        whole += 1
    return whole
