"""What stands behind an option, read from its text: kinds of arguments for `argparse`, light to import.

What is no such thing is refused with an `ArgumentTypeError` that says what would be.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable
from typing import Any

__all__ = ["at_least", "json_object", "positive", "seconds", "share", "words"]


def at_least(least: int) -> Callable[[str], int]:
    """A whole number."""

    def whole(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, not {value}")
        return value

    return whole


def json_object(text: str) -> dict[str, Any]:
    """An object of JSON."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object")
    return value


def words(text: str) -> list[str]:
    """Options as a shell would take them apart."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of words ({error})") from None


def positive(text: str) -> float:
    """A number above 0, and no infinity."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text}")
    return value


def seconds(text: str) -> float:
    """A time, such as 90, 15m, 2h or 1.5d, in seconds."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    try:
        return positive(text[:-1]) * units[text[-1]] if text[-1:] in units else positive(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give seconds, or the like of 15m, 2h") from None


def share(text: str) -> float:
    """From 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a share from 0 to 1, not {text}")
    return value
