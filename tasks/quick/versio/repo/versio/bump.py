"""The next version."""

from __future__ import annotations

from versio.version import Version


def bump(version: Version, part: str) -> Version:
    """The next major, minor or patch release; a pre-release becomes its own release."""
    if part == "major":
        return Version(version.major + 1, 0, 0)
    if part == "minor":
        return Version(version.major, version.minor + 1, 0)
    if part == "patch":
        step = 0 if version.pre else 1
        return Version(version.major, version.minor, version.patch + step)
    raise ValueError(f"cannot bump {part!r}")
