"""Local sandboxes without isolation: each is a plain copy of the repository and an ordinary process.

The guest owns its copy (see `envs.local.copy_guest`) and removes it when its stream ends, also when the runner was
killed. A snapshot is a copy with a guest that runs nothing.
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
from envs.local.backends import BOOT, ENVIRONMENT, PACKAGE, GuestHandle, IsolationBackend, SnapshotFiles
from envs.sandbox import Limits, Origin, SandboxError, SandboxLost

__all__ = ["CopyBackend"]


class CopiedFiles(SnapshotFiles):
    """A copy in which no command runs, and the guest that owns it."""

    def __init__(self, owner: GuestHandle) -> None:
        super().__init__()
        self.owner = owner

    def free(self) -> None:
        self.owner.channel.abandon("its snapshot was closed")


class CopyBackend(IsolationBackend):
    """Starts guests without isolation."""

    isolation = "none"

    def __init__(self) -> None:
        super().__init__()
        self._processes: list[subprocess.Popen[bytes]] = []

    async def open(self, origin: Origin, limits: Limits, label: str, files: SnapshotFiles | None = None) -> GuestHandle:
        """Start a guest on a copy of the repository, or of a snapshot. Raises `SandboxLost`."""
        repository = os.path.realpath(str(origin.repository))
        folder = _new_folder()
        path = f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', os.defpath)}"
        settings: dict[str, Any] = {
            "folder": folder,
            "repository": repository,
            "snapshot": _files_of(files.owner) if isinstance(files, CopiedFiles) else "",
            "env": {**ENVIRONMENT, "PATH": path, **origin.env},
            "memory_mb": limits.memory_mb,
            "lifetime": limits.lifetime_seconds,
        }
        return GuestHandle(await self._start(settings, label, limits), f"{repository}/.git", folder)

    async def snapshot(self, guest: GuestHandle, limits: Limits) -> SnapshotFiles:
        """Copy the files of a guest. Raises `SandboxError` if one of them cannot be copied."""
        folder = _new_folder()
        settings = {
            "folder": folder,
            "repository": "",
            "snapshot": _files_of(guest),
            "env": {"PATH": os.defpath},
            "memory_mb": limits.memory_mb,
            "lifetime": None,  # it lives until it is closed or the runner ends
        }
        label = f"snapshot of {guest.channel.name}"
        try:
            channel = await self._start(settings, label, limits)
        except SandboxLost as error:
            raise SandboxError(str(error)) from None
        return CopiedFiles(GuestHandle(channel, "", folder))

    async def _start(self, settings: dict[str, Any], label: str, limits: Limits) -> Channel:
        ours, theirs = socket.socketpair()
        with theirs:
            boot = BOOT.format(module="copy_guest", package=PACKAGE)
            self._processes = [process for process in self._processes if process.poll() is None]
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", boot, str(theirs.fileno()), json.dumps(settings)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            )
        return await self.attach(ours, label, limits)

    async def close(self) -> None:
        """End every guest and wait until the copies are removed."""
        await super().close()
        for process in self._processes:
            await asyncio.to_thread(process.wait)
        self._processes = []


def _new_folder() -> str:
    return os.path.join(tempfile.gettempdir(), f"sandbox-{secrets.token_hex(8)}")


def _files_of(guest: GuestHandle) -> str:
    return f"{guest.name}/testbed"
