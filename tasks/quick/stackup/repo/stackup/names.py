"""Names of packages and numbers of versions."""

from __future__ import annotations


def canonical(name: str) -> str:
    """The one spelling of a name that can be written in several ways."""
    return name.strip().lower().replace("_", "-").replace(".", "-")


def release(version: str) -> tuple[int, ...]:
    """A version as numbers that can be compared; `1.0` equals `1`."""
    numbers = [int(part) for part in version.split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
