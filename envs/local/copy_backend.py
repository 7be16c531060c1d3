"""Sandboxes where there are no namespaces: plain copies, each with a guest that is an ordinary process.

The copy belongs to its guest (see `envs.local.copy_guest`), which removes it when its stream ends,
also when the runner was killed. A snapshot is a copy with a guest that has nothing to do.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from typing import Any

from envs.channel import Channel
from envs.local.backends import BOOT, ENVIRONMENT, HERE, Maker, Room, Seed
from envs.sandbox import Limits, Origin, SandboxError, SandboxLost

__all__ = ["CopyBackend"]


class Kept(Seed):
    """A copy that nobody works in."""

    def __init__(self, room: Room) -> None:
        super().__init__()
        self.room = room

    def free(self) -> None:
        self.room.channel.abandon("its snapshot was closed")


class CopyBackend(Maker):
    """Makes rooms without isolation."""

    isolation = "none"

    def __init__(self) -> None:
        super().__init__()
        self._guests: list[subprocess.Popen[bytes]] = []

    async def open(self, origin: Origin, limits: Limits, label: str, seed: Seed | None = None) -> Room:
        """A guest on a copy of the repository, or of the files of `seed`. Raises `SandboxLost`."""
        repository = os.path.realpath(str(origin.repository))
        source = f"{seed.room.name}/testbed" if isinstance(seed, Kept) else ""
        place = os.path.join(tempfile.gettempdir(), f"sandbox-{secrets.token_hex(8)}")
        path = f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', os.defpath)}"
        settings: dict[str, Any] = {
            "room": place,
            "repository": repository,
            "seed": source,
            "env": {**ENVIRONMENT, "PATH": path, **origin.env},
            "memory_mb": limits.memory_mb,
            "lifetime": limits.lifetime_seconds,
        }
        return Room(await self._guest(settings, label, limits), f"{repository}/.git", place)

    async def freeze(self, room: Room, limits: Limits) -> Seed:
        """A copy of the room's files. Raises `SandboxError` if there is something that cannot be copied."""
        place = os.path.join(tempfile.gettempdir(), f"sandbox-{secrets.token_hex(8)}")
        settings = {
            "room": place,
            "repository": "",
            "seed": f"{room.name}/testbed",
            "env": {"PATH": os.defpath},
            "memory_mb": limits.memory_mb,
            "lifetime": None,  # the runner's to end
        }
        label = f"snapshot of {room.channel.name}"
        try:
            channel = await self._guest(settings, label, limits)
        except SandboxLost as error:
            raise SandboxError(str(error)) from None
        return Kept(Room(channel, "", place))

    async def _guest(self, settings: dict[str, Any], label: str, limits: Limits) -> Channel:
        ours, theirs = socket.socketpair()
        with theirs:
            boot = BOOT.format(module="copy_guest", here=HERE)
            self._guests = [guest for guest in self._guests if guest.poll() is None]
            self._guests.append(
                subprocess.Popen(
                    [sys.executable, "-E", "-s", "-S", "-c", boot, str(theirs.fileno()), json.dumps(settings)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            )
        return await self.attach(ours, label, limits)

    async def close(self) -> None:
        """End every room and wait until the copies are removed."""
        await super().close()
        for guest in self._guests:
            await asyncio.to_thread(guest.wait)
        self._guests = []
