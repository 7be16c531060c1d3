"""What may differ between two sessions of one run, and is kept with each: versions, the machine, the command."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from envs.pool import Pool

__all__ = ["environment"]

PACKAGES = ("coding-monkeys", "openai", "docker", "swebench", "numpy", "scipy")


def environment(pool: Pool) -> dict[str, Any]:
    """Of a session whose sandboxes come out of `pool`."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **pool.describe(),
        "memory_budget_mb": None if pool.budget.overcommit else pool.budget.total,
        **found,
    }
