"""The `local` back end: a copy-on-write view of a repository on this machine, in milliseconds.

On Linux with namespaces each attempt gets its own overlay, processes, network (loopback
only, unless its limits say "host") and limits; see `envs.local.namespace_server` for how. Elsewhere
(`isolation == "none"`) it is a plain copy of the repository and an ordinary child process:
good for trying things out, no protection, and it says so. Nothing is left behind when the
runner is killed, snapshots included: in namespaces the kernel sees to it, and a plain copy
is removed by its own guest.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from pathlib import Path

from envs.base import assert_clean
from envs.diff import diff_command
from envs.local.backends import START_SECONDS, Maker, Room, Seed
from envs.local.copy_backend import CopyBackend
from envs.local.namespace_client import GUEST_ID, NamespaceClient
from envs.sandbox import Command, Completed, Limits, Origin, SandboxError, SandboxLost, SandboxUnavailable

__all__ = ["LocalBackend", "LocalSandbox", "LocalSnapshot", "adopt"]

NETWORKS = ("none", "host")


def adopt(repository: Path) -> None:
    """Make a repository one that local sandboxes can lay an overlay on: readable, and owned by the user they run as."""
    for folder, _, files in os.walk(repository):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            if os.geteuid() == 0:
                os.lchown(path, GUEST_ID, GUEST_ID)
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode | 0o444 | (0o111 if path == folder else 0))


class LocalSandbox:
    """One attempt's view of a repository. Made by `LocalBackend.open` and `LocalSnapshot.fork`."""

    def __init__(self, maker: Maker, room: Room, origin: Origin, limits: Limits, pristine: bool) -> None:
        self._maker, self._room, self._origin, self._limits, self._pristine = maker, room, origin, limits, pristine
        self._channel = room.channel
        self.read = self._channel.read
        self.write = self._channel.write

    async def run(self, command: Command) -> Completed:
        return await self._channel.run(command)

    async def diff(self) -> bytes:
        changed = await self._changed()
        if not self._origin.commit:
            raise SandboxError(f"sandbox {self._channel.name} has no base commit to take a patch against")
        if not changed and self._pristine:
            return b""  # nothing was copied up, so nothing differs: spares the git processes
        scratch = "/tmp" if self._maker.isolation == "none" else "/run/scratch"
        return await self._channel.patch(diff_command(self._room.git, self._origin.commit, START_SECONDS, scratch))

    async def snapshot(self) -> LocalSnapshot:
        """See `Sandbox.snapshot`. What /tmp holds belongs to it, but without isolation, where it is the host's.

        Of a file with several names a fork that changes one leaves the others as they are (overlay). A file
        that a process is writing meanwhile may be half in it. Raises `SandboxError` if the copy fails.
        """
        await self._changed()  # a sandbox that is lost has no files any more
        seed = await self._maker.freeze(self._room, self._limits)
        return LocalSnapshot(self._maker, seed, self._origin, self._limits, self._channel.name)

    async def _changed(self) -> bool:
        """Whether anything was copied up; without an overlay, yes. Raises `SandboxLost`."""
        return bool((await self._channel.call({"op": "changed"}))[0]["changed"])

    async def close(self) -> None:
        self._channel.abandon("it was closed")


class LocalSnapshot:
    """The files of a local sandbox at one moment. Made by `LocalSandbox.snapshot`."""

    def __init__(self, maker: Maker, seed: Seed, origin: Origin, limits: Limits, name: str) -> None:
        self._maker, self._seed, self._origin, self._limits, self._name = maker, seed, origin, limits, name
        self._closed = False

    async def fork(self, *, label: str = "") -> LocalSandbox:
        """See `Snapshot.fork`. Raises `SandboxLost` when the snapshot is closed or gone with its nursery."""
        if self._closed:
            raise SandboxLost(f"the snapshot of sandbox {self._name} is lost: it was closed; take another one")
        self._seed.hold()  # it may be closed while we wait
        try:
            room = await self._maker.open(self._origin, self._limits, label, self._seed)
        finally:
            self._seed.release()
        return LocalSandbox(self._maker, room, self._origin, self._limits, pristine=False)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._seed.release()


class LocalBackend:
    """Opens local sandboxes. `isolation` is "overlay", "copy" (namespaces without overlayfs) or "none".

    `warning` is what whoever starts a run must be told: that nothing isolates, or that
    sandboxes with the host's network were asked for.
    """

    name = "local"

    def __init__(self, isolation: str | None = None) -> None:
        if isolation not in (None, "overlay", "copy", "none"):
            raise SandboxUnavailable(f"there is no isolation {isolation!r}; choose overlay, copy or none")
        self._wanted = isolation
        self._starting = asyncio.Lock()
        self._maker: Maker | None = None
        self._bases: dict[tuple[str, str], asyncio.Task[None]] = {}  # each looked at once
        self._online = False
        self._why_none = ""
        self.isolation = ""  # until it has been found out

    @property
    def warning(self) -> str:
        if self.isolation == "none":
            return (
                f"NO ISOLATION: no namespaces here ({self._why_none}). Attempts run as ordinary processes of "
                "yours on a plain copy of the repository, with your files, processes and network in reach. "
                "Use --sandbox docker for anything that matters."
            )
        if self._online:
            return (
                "OPEN NETWORK: attempts reach what this machine reaches, its own services too, and may look up "
                "solutions. Leave the network at none for anything that is counted."
            )
        return ""

    async def start(self) -> None:
        """Find out what this machine can do. `open` calls it too; earlier, it overlaps other work."""
        async with self._starting:
            if isinstance(self._maker, NamespaceClient) and self._maker.lost:
                await self._maker.close()
                self._maker = None
            if self._maker is not None:
                return
            problems = []
            for kind in [self._wanted] if self._wanted else ["overlay", "copy"]:
                problem = await self._hatch(kind) if kind != "none" else "they are not wanted"
                if not problem:
                    return
                problems.append(f"{kind}: {problem}")
            if self._wanted not in (None, "none"):
                raise SandboxUnavailable(
                    f"local sandboxes with isolation {self._wanted!r} cannot be made here: {problems[0]}"
                )
            self._why_none = "; ".join(problems)
            self._maker = CopyBackend()
            self.isolation = "none"

    async def _hatch(self, kind: str) -> str:
        """Try one kind of namespaces; what went wrong, or nothing."""
        if not sys.platform.startswith("linux"):
            return f"{sys.platform} has no Linux namespaces"
        nest = NamespaceClient(kind)
        try:
            problem = await nest.start()
        except BaseException:
            await nest.close()
            raise
        if not problem:
            self._maker, self.isolation = nest, kind
        return problem

    def check(self, origin: Origin) -> None:
        if origin.repository is None:
            raise SandboxUnavailable(
                f"a local sandbox needs a repository on this machine, and these tasks name {origin.image or 'none'}; "
                "use --sandbox docker"
            )
        if not origin.repository.is_dir():
            raise SandboxUnavailable(f"there is no repository {origin.repository}; check the path in the task")

    async def open(self, origin: Origin, limits: Limits, *, label: str = "") -> LocalSandbox:
        self.check(origin)
        if limits.network not in NETWORKS:
            raise SandboxUnavailable(
                f"a local sandbox cannot join the network {limits.network!r}; choose none, host for all that this "
                "machine reaches, or --sandbox docker for a network of that name"
            )
        await self.start()
        await self._look_at(origin)
        self._online = self._online or limits.network != "none"
        assert self._maker is not None
        room = await self._maker.open(origin, limits, label)
        return LocalSandbox(self._maker, room, origin, limits, pristine=self.isolation == "overlay")

    async def _look_at(self, origin: Origin) -> None:
        """That the repository holds nothing later than its base. Raises `SandboxUnavailable`."""
        if not origin.commit:
            return
        assert origin.repository is not None
        key = os.path.realpath(origin.repository), origin.commit
        if key not in self._bases:
            look = asyncio.to_thread(assert_clean, origin.repository, origin.commit)
            self._bases[key] = asyncio.get_running_loop().create_task(look)
        await asyncio.shield(self._bases[key])

    async def identity(self, origin: Origin) -> str:
        """What a sandbox holds, by content: the base, and the Python that it shares with the runner."""
        return f"{origin.commit or origin.repository} python {platform.python_version()}"

    def describe(self) -> dict[str, str]:
        network = "host" if self._online or self.isolation == "none" else "none"
        return {"sandbox": self.name, "isolation": self.isolation, "network": network, "kernel": os.uname().release}

    async def close(self) -> None:
        if self._maker is not None:
            await self._maker.close()
            self._maker = None
