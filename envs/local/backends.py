"""The common part of the two kinds of local sandbox: `namespace_client` (isolated) and `copy_backend` (not isolated).

An `IsolationBackend` starts guests. A `GuestHandle` is one of them with its channel; its files can be kept as
`SnapshotFiles`, from which further guests start.
"""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from envs.channel import Channel
from envs.sandbox import Limits, Origin

__all__ = ["BOOT", "ENVIRONMENT", "PACKAGE", "START_SECONDS", "GuestHandle", "IsolationBackend", "SnapshotFiles"]

START_SECONDS = 30.0
PACKAGE = str(Path(__file__).resolve().parents[1])
ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PATH": "/opt/venv/bin:/usr/local/bin:/usr/bin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",  # after two edits of the same size within a second, stale bytecode would run
    "TERM": "dumb",
}
# A bare module replaces the package: its `__init__` would load modules that every fork then copies.
BOOT = (
    "import sys; sys.modules['envs'] = p = type(sys)('envs'); p.__path__ = [{package!r}]; "
    "from envs.local.{module} import main; main()"
)


class SnapshotFiles(ABC):
    """The files of a snapshot, with a reference count. Creation counts as a reference; the last release frees them."""

    def __init__(self) -> None:
        self._references = 1

    def acquire(self) -> None:
        self._references += 1

    def release(self) -> None:
        self._references -= 1
        if not self._references:
            self.free()

    @abstractmethod
    def free(self) -> None: ...


@dataclass(frozen=True, slots=True)
class GuestHandle:
    """A running guest and its channel.

    `git` is the path inside at which it finds the base, `name` the identifier that its `IsolationBackend` uses, and
    `files` the snapshot that it was started from.
    """

    channel: Channel
    git: str
    name: str
    files: SnapshotFiles | None = None


class IsolationBackend(ABC):
    """Starts guests with one kind of isolation, and ends them all."""

    isolation: str

    def __init__(self) -> None:
        self._open: set[Channel] = set()

    @abstractmethod
    async def open(self, origin: Origin, limits: Limits, label: str, files: SnapshotFiles | None = None) -> GuestHandle:
        """Start a guest on the files of `origin`, or on those of a snapshot. Raises `SandboxLost`."""

    @abstractmethod
    async def snapshot(self, guest: GuestHandle, limits: Limits) -> SnapshotFiles:
        """Keep the files of a guest as they are now. Raises `SandboxError` if they cannot be copied."""

    async def attach(self, ours: socket.socket, label: str, limits: Limits) -> Channel:
        """The channel to a guest that was just started at the other end of a socket. Raises `SandboxLost`."""
        ours.setblocking(False)
        _, channel = await asyncio.get_running_loop().create_connection(lambda: Channel(label, limits), sock=ours)
        self._open.add(channel)
        channel.closed.add_done_callback(lambda _: self._open.discard(channel))
        try:
            await channel.ready(START_SECONDS)
        except asyncio.CancelledError:
            channel.abandon("its start was cancelled")
            raise
        return channel

    async def close(self) -> None:
        """End every guest."""
        for channel in list(self._open):
            channel.abandon("the run ended")
