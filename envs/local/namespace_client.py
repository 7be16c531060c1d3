"""The runner's side of the namespace server: starts it, asks it for guests and layers, and ends it.

A `NamespaceClient` lives as long as its server process. When that process ends, all its sandboxes and snapshots are
lost, and a new client can be made.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from envs.local.backends import (
    BOOT,
    ENVIRONMENT,
    PACKAGE,
    START_SECONDS,
    GuestHandle,
    IsolationBackend,
    SnapshotFiles,
)
from envs.offline import offline_environment
from envs.sandbox import Limits, Origin, SandboxError, SandboxLost

__all__ = ["GUEST_ID", "NamespaceClient"]

GUEST_ID = 64_999  # the unprivileged host user that guests run as when the runner is root

COPY_SECONDS = 120.0
# Snapshots of forks of snapshots: the kernel takes the names of an overlay's folders as one page of text.
DEEPEST_CHAIN = 250
RETRY_SECONDS = 0.005  # after which a full control socket is tried again


class OverlayLayer(SnapshotFiles):
    """The changes up to a snapshot, on top of the layer `below` it."""

    def __init__(self, client: NamespaceClient, number: int, below: OverlayLayer | None) -> None:
        super().__init__()
        self.client, self.number, self.below = client, number, below

    @property
    def numbers(self) -> list[int]:
        """The numbers of this layer and of those below it, topmost first."""
        layer: OverlayLayer | None = self
        found = []
        while layer is not None:
            found.append(layer.number)
            layer = layer.below
        return found

    def free(self) -> None:
        self.client.drop(self.number)
        if self.below is not None:
            self.below.release()


class NamespaceClient(IsolationBackend):
    """One namespace server. `isolation` is "overlay", or "copy" where the kernel offers no overlay.

    `private` are folders and files of the host that sandboxes must not see.
    """

    def __init__(self, isolation: str, private: Sequence[str] = ()) -> None:
        super().__init__()
        self.isolation = isolation
        self.grouped = False  # whether a control group limits the memory of each sandbox, once started
        self._numbers = itertools.count(1)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        with theirs:
            boot = BOOT.format(module="namespace_server", package=PACKAGE)
            python = os.path.realpath(sys.executable)
            prefix = os.path.realpath(sys.base_prefix)
            hidden = (os.path.dirname(PACKAGE), *private)  # first the folder with the packages beside this one
            arguments = [theirs.fileno(), python, prefix, isolation, GUEST_ID, *hidden]
            self.process = subprocess.Popen(
                [python, "-I", "-S", "-c", boot, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C must reach only the runner, which then closes sandboxes in order
                env={**ENVIRONMENT, "PATH": os.defpath},
            )

    async def start(self) -> str:
        """Wait until it is ready and open a trial sandbox. Returns the problem, empty if there is none."""
        loop = asyncio.get_running_loop()
        try:
            answer = await asyncio.wait_for(loop.sock_recv(self._control, 65536), START_SECONDS)
            told = json.loads(answer) if answer else {"error": "the namespace server died"}
            problem: str = told.get("error", "")
            self.grouped = bool(told.get("grouped"))
            if not problem:
                trial = await self.open(Origin(""), Limits(), "trial")
                trial.channel.abandon("the trial is over")
                return ""
        except (TimeoutError, SandboxLost) as error:
            problem = str(error)
        await self.close()
        return problem

    @property
    def lost(self) -> bool:
        return self._control.fileno() < 0

    async def open(self, origin: Origin, limits: Limits, label: str, files: SnapshotFiles | None = None) -> GuestHandle:
        """Start a guest at `origin`, on top of the layers of a snapshot. Raises `SandboxLost`."""
        assert files is None or isinstance(files, OverlayLayer)
        number = next(self._numbers)
        request = {
            "op": "open",
            "sandbox": number,
            "repository": None if origin.repository is None else os.path.realpath(origin.repository),
            "layers": [] if files is None else files.numbers,
            "limits": asdict(limits),
            "env": {**ENVIRONMENT, **offline_environment(limits.network), **origin.env},
        }
        ours = await self._request(request, f"sandbox {label} could not be started")
        channel = await self.attach(ours, label, limits)
        below = files if self.isolation == "overlay" else None
        if below is not None:  # a further snapshot is a layer on top of it
            below.acquire()
            channel.closed.add_done_callback(lambda _: below.release())
        return GuestHandle(channel, "/run/base.git", str(number), below)

    async def snapshot(self, guest: GuestHandle, limits: Limits) -> SnapshotFiles:
        """Copy the changes of a guest to a new layer. Raises `SandboxError` if they cannot be copied."""
        what = f"a snapshot of sandbox {guest.channel.name}"
        below = guest.files
        assert below is None or isinstance(below, OverlayLayer)
        if below is not None and len(below.numbers) >= DEEPEST_CHAIN:
            raise SandboxError(
                f"{what} would be the last of more than {DEEPEST_CHAIN} taken one from the other, which an overlay "
                "cannot hold; open a sandbox at the origin, apply the patch of this one and go on there"
            )
        layer = OverlayLayer(self, next(self._numbers), below)
        if below is not None:
            below.acquire()
        try:
            request = {"op": "snapshot", "sandbox": int(guest.name), "layer": layer.number, "disk_mb": limits.disk_mb}
            await self._copied(await self._request(request, what), what)
        except BaseException:
            layer.release()
            raise
        return layer

    async def _copied(self, ours: socket.socket, what: str) -> None:
        """Wait until a copy is complete."""
        loop = asyncio.get_running_loop()
        with ours:
            ours.setblocking(False)
            try:
                frame = await asyncio.wait_for(loop.sock_recv(ours, 65536), COPY_SECONDS)
            except TimeoutError:
                raise SandboxError(f"{what} could not be taken within {COPY_SECONDS:.0f} s") from None
        answer = json.loads(frame[8:]) if frame else {"error": "the process that copied it died"}
        if "error" in answer:
            raise SandboxError(f"{what} could not be taken: {answer['error']}")

    def drop(self, number: int) -> None:
        try:
            self._control.send(json.dumps({"op": "drop", "layer": number}).encode())
        except BlockingIOError:  # the server has not read earlier requests yet
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self.drop, number)
        except OSError:
            pass  # the layer ended with the server

    async def _request(self, request: dict[str, Any], what: str) -> socket.socket:
        """Send a request with one end of a new socket pair. Returns the other end. Raises `SandboxLost`."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                await self._send(json.dumps(request).encode(), theirs.fileno())
            except BaseException as error:
                ours.close()
                if isinstance(error, OSError):
                    raise SandboxLost(f"{what}: the namespace server is gone ({error})") from None
                raise
        return ours

    async def _send(self, request: bytes, fd: int) -> None:
        while not self.lost:
            try:
                socket.send_fds(self._control, [request], [fd])
                return
            except BlockingIOError:  # many requests at once: the server has not read the earlier ones yet
                await asyncio.sleep(RETRY_SECONDS)
            except OSError:
                self._control.close()
                raise
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    async def close(self) -> None:
        """End every guest and the server with all that it holds, and wait for its end."""
        await super().close()
        self._control.close()
        await asyncio.to_thread(self.process.wait)
