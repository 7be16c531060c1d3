"""Ranges of versions."""

from __future__ import annotations

import operator

from versio.errors import BadRange, BadVersion
from versio.version import Version

COMPARISONS = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}


def matches(version: Version, text: str) -> bool:
    """Whether the version satisfies every part of the range."""
    parts = text.split()
    if not parts:
        raise BadRange("the range is empty")
    return all(_matches_part(version, part) for part in parts)


def _matches_part(version: Version, part: str) -> bool:
    try:
        if part.startswith("^"):
            base = Version.parse(part[1:])
            after = Version(base.major + 1, 0, 0) if base.major else Version(0, base.minor + 1, 0)
            return base <= version < after
        if part.startswith("~"):
            base = Version.parse(part[1:])
            return base <= version < Version(base.major, base.patch + 1, 0)
        for sign, compare in COMPARISONS.items():
            if part.startswith(sign):
                return bool(compare(version, Version.parse(part[len(sign) :])))
        return version == Version.parse(part)
    except BadVersion as error:
        raise BadRange(f"in range {part!r}: {error}") from error
