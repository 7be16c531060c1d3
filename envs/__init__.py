"""Sandboxes: where an attempt works. Knows nothing of tasks, agents or sampling."""

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


def backend(name: str) -> Backend:
    """The back end called `name`: "local" or "docker". Imported on first use, for each brings its own weight."""
    if name == "local":
        from envs.local import LocalBackend

        return LocalBackend()
    if name == "docker":
        from envs.docker import DockerBackend

        return DockerBackend()
    raise SandboxUnavailable(f"there is no sandbox {name!r}; choose local or docker")
