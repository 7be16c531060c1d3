"""The runner's end of the nursery: starts it, asks it for guests and layers, and ends it.

A `NamespaceClient` lives as long as its nursery does. When that one is lost, all that came from it is
lost, and another nest can be made.
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
from dataclasses import asdict
from typing import Any

from envs.local.backends import BOOT, ENVIRONMENT, HERE, START_SECONDS, Maker, Room, Seed
from envs.sandbox import Limits, Origin, SandboxError, SandboxLost

__all__ = ["GUEST_ID", "NamespaceClient"]

GUEST_ID = 64_999  # the unprivileged host user that guests run as when the runner is root

COPY_SECONDS = 120.0
# Of snapshots of forks of snapshots: an overlay takes its folders as one page of text.
DEEPEST_CHAIN = 250


class Layer(Seed):
    """What changed up to a snapshot, on top of what had changed before it."""

    def __init__(self, nest: NamespaceClient, number: int, below: Layer | None) -> None:
        super().__init__()
        self.nest, self.number, self.below = nest, number, below

    @property
    def numbers(self) -> list[int]:
        """Topmost first."""
        layer: Layer | None = self
        found = []
        while layer is not None:
            found.append(layer.number)
            layer = layer.below
        return found

    def free(self) -> None:
        self.nest.drop(self.number)
        if self.below is not None:
            self.below.release()


class NamespaceClient(Maker):
    """One nursery. `isolation` is "overlay" or "copy"."""

    def __init__(self, isolation: str) -> None:
        super().__init__()
        self.isolation = isolation
        self._numbers = itertools.count(1)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        with theirs:
            boot = BOOT.format(module="namespace_server", here=HERE)
            python = os.path.realpath(sys.executable)
            private = os.path.dirname(HERE)  # what is installed beside this package
            arguments = [theirs.fileno(), python, os.path.realpath(sys.base_prefix), isolation, GUEST_ID, private]
            self.process = subprocess.Popen(
                [python, "-E", "-s", "-S", "-c", boot, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the runner, which then closes sandboxes in order
                env={**ENVIRONMENT, "PATH": os.defpath},
            )

    async def start(self) -> str:
        """Wait for its first word and open a trial sandbox; what went wrong, or nothing."""
        loop = asyncio.get_running_loop()
        try:
            word = await asyncio.wait_for(loop.sock_recv(self._control, 65536), START_SECONDS)
            problem = json.loads(word).get("error") if word else "the nursery died"
            if not problem:
                trial = await self.open(Origin(""), Limits(), "trial")
                trial.channel.abandon("the trial is over")
                return ""
        except (TimeoutError, SandboxLost) as error:
            problem = str(error)
        await self.close()
        return str(problem)

    @property
    def lost(self) -> bool:
        return self._control.fileno() < 0

    async def open(self, origin: Origin, limits: Limits, label: str, seed: Seed | None = None) -> Room:
        """A new guest at `origin`, laid upon the layers of `seed`. Raises `SandboxLost`."""
        assert seed is None or isinstance(seed, Layer)
        number = next(self._numbers)
        request = {
            "op": "open",
            "sandbox": number,
            "repository": None if origin.repository is None else os.path.realpath(origin.repository),
            "layers": [] if seed is None else seed.numbers,
            "limits": asdict(limits),
            "env": {**ENVIRONMENT, **origin.env},
        }
        ours = await self._ask(request, f"sandbox {label} could not be started")
        channel = await self.attach(ours, label, limits)
        ground = seed if self.isolation == "overlay" else None
        if ground is not None:  # a further snapshot will be laid upon it
            ground.hold()
            channel.closed.add_done_callback(lambda _: ground.release())
        return Room(channel, "/run/base.git", str(number), ground)

    async def freeze(self, room: Room, limits: Limits) -> Seed:
        """The files of a room as a new layer. Raises `SandboxError` if they cannot be copied."""
        what = f"a snapshot of sandbox {room.channel.name}"
        below = room.seed
        assert below is None or isinstance(below, Layer)
        if below is not None and len(below.numbers) >= DEEPEST_CHAIN:
            raise SandboxError(
                f"{what} would be the last of more than {DEEPEST_CHAIN} taken one from the other, which an overlay "
                "cannot hold; open a sandbox at the origin, apply the patch of this one and go on there"
            )
        layer = Layer(self, next(self._numbers), below)
        if below is not None:
            below.hold()
        try:
            request = {"op": "snapshot", "sandbox": int(room.name), "layer": layer.number, "disk_mb": limits.disk_mb}
            await self._answer(await self._ask(request, what), what)
        except BaseException:
            layer.release()
            raise
        return layer

    async def _answer(self, ours: socket.socket, what: str) -> None:
        """Wait until a copy is made."""
        loop = asyncio.get_running_loop()
        with ours:
            ours.setblocking(False)
            try:
                frame = await asyncio.wait_for(loop.sock_recv(ours, 65536), COPY_SECONDS)
            except TimeoutError:
                raise SandboxError(f"{what} could not be taken within {COPY_SECONDS:.0f} s") from None
        word = json.loads(frame[8:]) if frame else {"error": "the process that copied it died"}
        if "error" in word:
            raise SandboxError(f"{what} could not be taken: {word['error']}")

    def drop(self, number: int) -> None:
        try:
            self._control.send(json.dumps({"op": "drop", "layer": number}).encode())
        except BlockingIOError:  # it has yet to read what it was asked before
            asyncio.get_running_loop().call_later(0.005, self.drop, number)
        except OSError:
            pass  # the layer is gone with the nursery

    async def _ask(self, request: dict[str, Any], what: str) -> socket.socket:
        """Hand the nursery a request and the other end of the socket that is returned. Raises `SandboxLost`."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                await self._send(json.dumps(request).encode(), theirs.fileno())
            except BaseException as error:
                ours.close()
                if isinstance(error, OSError):
                    raise SandboxLost(f"{what}: the nursery is gone ({error})") from None
                raise
        return ours

    async def _send(self, request: bytes, fd: int) -> None:
        while not self.lost:
            try:
                socket.send_fds(self._control, [request], [fd])
                return
            except BlockingIOError:  # very many at once: it has yet to read the last ones
                await asyncio.sleep(0.005)
            except OSError:
                self._control.close()
                raise
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    async def close(self) -> None:
        """Let go of the nursery too, which ends all that it still holds, and wait for its end."""
        await super().close()
        self._control.close()
        await asyncio.to_thread(self.process.wait)
