"""The environment of a session: versions, the machine, the command without secrets.

It may differ between sessions of one run.
"""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from envs.secrets import redacted_command
from monkeys.executors import WorkerFacts

__all__ = ["environment"]

PACKAGES = ("coding-monkeys", "openai", "docker", "swebench", "numpy", "scipy")


def environment(facts: WorkerFacts) -> dict[str, Any]:
    """What is kept with a session whose workers have these facts."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return {
        "command": redacted_command(sys.argv),
        "python": platform.python_version(),
        "platform": platform.platform(),
        **facts.described,
        "memory_budget_mb": facts.memory_budget_mb,
        **found,
    }
