"""The search for versions that get along."""

from __future__ import annotations

from collections.abc import Iterable

from stackup.catalog import Catalog
from stackup.errors import Unsolvable
from stackup.requirement import Requirement


def resolve(catalog: Catalog, needs: Iterable[str]) -> dict[str, str]:
    """One version for every package that is needed, as new as possible."""
    wanted = [Requirement.parse(need) for need in needs]
    pins = _search(catalog, wanted, {})
    if pins is None:
        raise Unsolvable(f"no versions satisfy {', '.join(need.name for need in wanted)}")
    return pins


def _search(
    catalog: Catalog, wanted: list[Requirement], pins: dict[str, str]
) -> dict[str, str] | None:
    """Pin the first open requirement to each of its versions in turn."""
    if not wanted:
        return pins
    need, rest = wanted[0], wanted[1:]
    if need.name in pins:
        return _search(catalog, rest, pins) if need.allows(pins[need.name]) else None
    for version in catalog.versions(need.name):
        if not need.allows(version):
            continue
        more = catalog.needs(need.name, version)
        found = _search(catalog, rest + more, {**pins, need.name: version})
        if found is not None:
            return found
    return None
