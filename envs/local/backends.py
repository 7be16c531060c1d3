"""Parts shared by the two kinds of local sandbox: `namespace_client` (isolated) and `copy_backend` (not isolated).

A maker opens a `Room`, which is a guest with its stream, and turns the files of a room
into a `Seed`, from which further rooms are opened.
"""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from envs.channel import Channel
from envs.sandbox import Limits, Origin

__all__ = ["BOOT", "ENVIRONMENT", "HERE", "START_SECONDS", "Maker", "Room", "Seed"]

START_SECONDS = 30.0
HERE = str(Path(__file__).resolve().parents[1])
ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PATH": "/opt/venv/bin:/usr/local/bin:/usr/bin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",  # two edits of one size within a second would run stale bytecode
    "TERM": "dumb",
}
# A bare module stands in for the package: its `__init__` would load what every fork then copies.
BOOT = (
    "import sys; sys.modules['envs'] = p = type(sys)('envs'); p.__path__ = [{here!r}]; "
    "from envs.local.{module} import main; main()"
)


class Seed(ABC):
    """Files that rooms are opened from. Whoever made it holds it once; it is freed when nobody does any more."""

    def __init__(self) -> None:
        self._holders = 1

    def hold(self) -> None:
        self._holders += 1

    def release(self) -> None:
        self._holders -= 1
        if not self._holders:
            self.free()

    @abstractmethod
    def free(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Room:
    """A guest and its stream.

    `git` is where it finds the base, `name` how its maker knows it, `seed` what it lies on.
    """

    channel: Channel
    git: str
    name: str
    seed: Seed | None = None


class Maker(ABC):
    """Makes rooms in one way, and ends them all."""

    isolation: str

    def __init__(self) -> None:
        self._open: set[Channel] = set()

    @abstractmethod
    async def open(self, origin: Origin, limits: Limits, label: str, seed: Seed | None = None) -> Room:
        """A new guest on the files of `origin`, or of `seed`. Raises `SandboxLost`."""

    @abstractmethod
    async def freeze(self, room: Room, limits: Limits) -> Seed:
        """The files of a room as they are now. Raises `SandboxError` if they cannot be copied."""

    async def attach(self, ours: socket.socket, label: str, limits: Limits) -> Channel:
        """The channel to a guest that was just started at the other end. Raises `SandboxLost`."""
        ours.setblocking(False)
        _, channel = await asyncio.get_running_loop().create_connection(lambda: Channel(label, limits), sock=ours)
        self._open.add(channel)
        channel.closed.add_done_callback(lambda _: self._open.discard(channel))
        try:
            await channel.ready(START_SECONDS)
        except asyncio.CancelledError:
            channel.abandon("nobody waited for it")
            raise
        return channel

    async def close(self) -> None:
        """End every room."""
        for channel in list(self._open):
            channel.abandon("the run ended")
