"""An example of a sandbox back end, in under 100 lines: the guest runs inside bubblewrap.

A back end starts `envs.guest` with one stream to it and gives the stream to a `Channel`, which offers `run`, `read` and
`write` over it. The stream is the life line: the guest ends when the stream ends, and here everything that an attempt
wrote is gone then.
"""

from __future__ import annotations

import asyncio
import shutil
import socket

from envs import Command, Limits, Origin, Sandbox, SandboxError, SandboxUnavailable
from envs.channel import Channel
from envs.diff import PatchSpec
from envs.events import Sink, ignore
from envs.guest_source import guest_source

FILTER = "lambda: restrict_calls(os.getpid(), counted=False)"  # of system calls; nothing counts memory as a whole
GUEST = guest_source(f"main('/testbed', {{'HOME': '/tmp', 'LANG': 'C.UTF-8'}}, restrict={FILTER})")
# All is private except the programs in /usr, which are read-only; the repository is copied into memory.
BWRAP = [
    *("bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1", "--hostname", "sandbox"),
    *("--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib"),
    *("--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),
    *("--clearenv", "--setenv", "PATH", "/usr/bin:/bin", "--tmpfs", "/testbed", "--chdir", "/testbed"),
]
START = 'cp -dR --preserve=mode,timestamps /run/origin/. . && exec python3 -E -s -S -c "$0"'


class BubblewrapSandbox:
    """A sandbox in bubblewrap. Made by `BubblewrapBackend.open`."""

    def __init__(self, backend: BubblewrapBackend, channel: Channel, origin: Origin, limits: Limits) -> None:
        self._backend, self._channel, self._origin, self._limits = backend, channel, origin, limits
        self.run, self.read, self.write, self.quiet = channel.run, channel.read, channel.write, channel.quiet

    async def diff(self) -> bytes:
        return await self._channel.patch(PatchSpec("/run/origin/.git", self._origin.commit, 60.0))

    async def snapshot(self) -> BubblewrapSnapshot:
        packed = await self.run(Command("tar -cf - .", output_cap=1 << 30))
        if packed.returncode or packed.dropped:
            raise SandboxError(f"no snapshot could be taken: tar gave exit status {packed.returncode}")
        return BubblewrapSnapshot(self._backend, self._origin, self._limits, packed.output)

    async def close(self) -> None:
        self._channel.abandon("it was closed")


class BubblewrapSnapshot:
    """The repository's files, as a tar archive in the runner's memory."""

    def __init__(self, backend: BubblewrapBackend, origin: Origin, limits: Limits, archive: bytes) -> None:
        self._backend, self._origin, self._limits, self._archive = backend, origin, limits, archive

    async def fork(self, *, label: str = "") -> Sandbox:
        sandbox = await self._backend.open(self._origin, self._limits, label=label)
        await sandbox.run(Command("find . -mindepth 1 -delete && tar -xf - --no-same-owner", stdin=self._archive))
        return sandbox

    async def close(self) -> None:
        pass


class BubblewrapBackend:
    """Opens sandboxes in bubblewrap. Register it as an entry point and choose it with `--sandbox bubblewrap`."""

    name = "bubblewrap"

    def __init__(self, *, events: Sink = ignore) -> None:
        self._open: list[tuple[Channel, asyncio.subprocess.Process]] = []

    async def start(self) -> None:
        if shutil.which("bwrap") is None:
            raise SandboxUnavailable("bwrap is not installed: apt-get install bubblewrap")

    def check(self, origin: Origin) -> None:
        if origin.repository is None:
            raise SandboxUnavailable("bubblewrap sandboxes need a repository on this machine")

    async def open(self, origin: Origin, limits: Limits, *, label: str = "") -> BubblewrapSandbox:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [*BWRAP, "--ro-bind", str(origin.repository), "/run/origin", "/bin/sh", "-c", START, GUEST]
            guest = await asyncio.create_subprocess_exec(*command, stdin=theirs.fileno(), stdout=theirs.fileno())
        ours.setblocking(False)
        _, channel = await asyncio.get_running_loop().create_connection(lambda: Channel(label, limits), sock=ours)
        self._open.append((channel, guest))
        await channel.ready(30.0)
        return BubblewrapSandbox(self, channel, origin, limits)

    def describe(self) -> dict[str, str]:
        return {"sandbox": self.name, "isolation": "bubblewrap, no network"}

    async def close(self) -> None:
        for channel, guest in self._open:
            channel.abandon("the run ended")
            await guest.wait()
