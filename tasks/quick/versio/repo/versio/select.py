"""Choosing among versions."""

from __future__ import annotations

from collections.abc import Iterable

from versio.errors import NoMatch
from versio.ranges import matches
from versio.version import Version


def best(text: str, candidates: Iterable[str], pre: bool = False) -> Version:
    """The newest version in the range; pre-releases only when asked for."""
    versions = [Version.parse(candidate) for candidate in candidates]
    fitting = [v for v in versions if matches(v, text) and (pre or not v.pre)]
    if not fitting:
        raise NoMatch(f"none of {len(versions)} versions satisfies {text!r}")
    return max(fitting)
