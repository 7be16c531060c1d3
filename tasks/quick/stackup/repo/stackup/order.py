"""The order of installation, and the lock file."""

from __future__ import annotations

from stackup.catalog import Catalog
from stackup.errors import Cycle
from stackup.names import canonical


def install_order(catalog: Catalog, pins: dict[str, str]) -> list[str]:
    """Every package behind those that it needs, otherwise by name."""
    order: list[str] = []
    waiting = sorted(pins)
    while waiting:
        ready = [
            name
            for name in waiting
            if all(need.name in order for need in catalog.needs(name, pins[name]))
        ]
        if not ready:
            raise Cycle(", ".join(waiting))
        order.append(ready[0])
        waiting.remove(ready[0])
    return order


def lock(pins: dict[str, str]) -> str:
    """The pins as lines of a lock file."""
    lines = sorted(f"{canonical(name)}=={version}" for name, version in pins.items())
    return "".join(line + "\n" for line in lines)
