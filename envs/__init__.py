"""Sandboxes: where an attempt works. This package knows nothing of tasks, agents or sampling."""

from typing import Any

from envs.events import Sink, ignore
from envs.registry import BrokenPackage, Registry, UnknownName
from envs.sandbox import (
    Backend,
    Command,
    Completed,
    FileProblem,
    Limits,
    Origin,
    Patch,
    Peeking,
    Sandbox,
    SandboxError,
    SandboxExhausted,
    SandboxLost,
    SandboxUnavailable,
    Snapshot,
)

__all__ = [
    "SANDBOXES",
    "Backend",
    "BrokenPackage",
    "Command",
    "Completed",
    "FileProblem",
    "Limits",
    "Origin",
    "Patch",
    "Peeking",
    "Sandbox",
    "SandboxError",
    "SandboxExhausted",
    "SandboxLost",
    "SandboxUnavailable",
    "Snapshot",
    "UnknownName",
    "backend",
]

SANDBOXES = Registry(
    "sandboxes",
    "sandbox",
    Backend,
    {"local": "envs.local.backend:LocalBackend", "docker": "envs.docker.backend:DockerBackend"},
)


def backend(name: str, *, events: Sink = ignore, **options: Any) -> Backend:
    """The back end called `name`: "local", "docker" or one that an installed package offers.

    `events` gets what the back end tells; `options` are its own. Raises `UnknownName`.
    """
    made: Backend = SANDBOXES.make(name, events=events, **options)
    return made
