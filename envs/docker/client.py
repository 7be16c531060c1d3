"""Connecting to a Docker-compatible engine, and its error messages in one line."""

from __future__ import annotations

import gc
import os
import warnings
from typing import TYPE_CHECKING

from envs.sandbox import SandboxUnavailable

if TYPE_CHECKING:
    import docker

__all__ = ["brief", "connect"]

LONGEST_MESSAGE = 300  # characters


def connect(timeout: float = 120.0) -> docker.DockerClient:
    """A client of the engine that DOCKER_HOST names, or of the one on this machine. Raises `SandboxUnavailable`."""
    import docker
    from docker.errors import DockerException

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # without an engine the SDK leaves a socket open
        try:
            return docker.from_env(timeout=timeout)
        except DockerException as error:
            where, cause = os.environ.get("DOCKER_HOST", "the default socket"), brief(error)
        gc.collect()
    raise SandboxUnavailable(f"no Docker engine answers at {where} ({cause}); start it, or set DOCKER_HOST")


def brief(error: BaseException) -> str:
    """The engine's message in one line."""
    text = str(getattr(error, "explanation", None) or error)
    return " ".join(text.split())[:LONGEST_MESSAGE]
