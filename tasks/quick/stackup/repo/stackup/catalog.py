"""Every package there is, in every version."""

from __future__ import annotations

from collections.abc import Iterable

from stackup.errors import UnknownPackage
from stackup.names import release
from stackup.requirement import Requirement


class Catalog:
    def __init__(self) -> None:
        self._packages: dict[str, dict[str, list[Requirement]]] = {}

    def add(self, name: str, version: str, needs: Iterable[str] = ()) -> None:
        versions = self._packages.setdefault(name, {})
        if version in versions:
            raise ValueError(f"{name} {version} is there already")
        versions[version] = [Requirement.parse(need) for need in needs]

    def versions(self, name: str) -> list[str]:
        """All versions of a package, the newest first."""
        if name not in self._packages:
            raise UnknownPackage(name)
        return sorted(self._packages[name], key=release, reverse=True)

    def needs(self, name: str, version: str) -> list[Requirement]:
        return self._packages[name][version]
