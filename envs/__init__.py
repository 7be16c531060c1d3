"""Sandboxes: where an attempt works. Knows nothing of tasks, agents or sampling."""

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from envs.sandbox import (
    Backend,
    Command,
    Completed,
    FileProblem,
    Limits,
    Origin,
    Sandbox,
    SandboxError,
    SandboxLost,
    SandboxUnavailable,
    Snapshot,
)

__all__ = [
    "Backend",
    "Command",
    "Completed",
    "FileProblem",
    "Limits",
    "Origin",
    "Sandbox",
    "SandboxError",
    "SandboxLost",
    "SandboxUnavailable",
    "Snapshot",
    "backend",
]

BUILT_IN = {"local": "envs.local.backend:LocalBackend", "docker": "envs.docker.backend:DockerBackend"}
PLUG_INS = "coding_monkeys.sandboxes"  # the entry points under which others offer theirs


def backend(name: str, **options: Any) -> Backend:
    """The back end called `name`: "local", "docker" or one that an installed package offers.

    Each is imported when it is asked for, since each brings its own weight; `options` are
    its own. Raises `SandboxUnavailable` for a name that nobody offers.
    """
    if name in BUILT_IN:
        module, _, kind = BUILT_IN[name].partition(":")
        return cast(Backend, getattr(import_module(module), kind)(**options))
    offered = entry_points(group=PLUG_INS)
    if name not in offered.names:
        known = ", ".join([*BUILT_IN, *sorted(offered.names)])
        raise SandboxUnavailable(f"there is no sandbox {name!r}; choose one of {known}")
    try:
        return cast(Backend, offered[name].load()(**options))
    except ImportError as error:
        raise SandboxUnavailable(f"sandbox {name!r} ({offered[name].value}) cannot be imported: {error}") from None
