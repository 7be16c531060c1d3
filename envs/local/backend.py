"""The `local` back end: a copy-on-write view of a repository on this machine, opened in milliseconds.

On Linux with namespaces each sandbox has its own overlay, processes, network (loopback only, unless its limits name
"host") and limits; `envs.local.namespace_server` describes how. Elsewhere (`isolation == "none"`) it is a plain copy
of the repository and an ordinary child process: no protection, only for trying things out, and `warning` tells so.
A runner that is killed leaves nothing behind, no snapshot either: with namespaces the kernel removes everything, and a
plain copy is removed by its own guest.
"""

from __future__ import annotations

import asyncio
import functools
import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from shutil import which

from envs.base import assert_clean
from envs.diff import PatchSpec, Submodule
from envs.events import Sink, Status, ignore
from envs.local.backends import GuestHandle, IsolationBackend, SnapshotFiles
from envs.local.copy_backend import CopyBackend
from envs.local.namespace_client import GUEST_ID, NamespaceClient
from envs.local.shown import private_paths, shown_folders
from envs.local.submodules import submodules
from envs.sandbox import Command, Completed, Limits, Origin, SandboxError, SandboxLost, SandboxUnavailable

__all__ = ["LocalBackend", "LocalSandbox", "LocalSnapshot", "adopt"]

NETWORKS = ("none", "host")
PATCH_SECONDS = 120.0
OLDER_SECONDS = 2.0


_private_paths = functools.cache(private_paths)  # this process looks once, for it takes a part of a second


def adopt(repository: Path) -> None:
    """Prepare a repository for local sandboxes: readable, and owned by the user that they run as."""
    for folder, _, files in os.walk(repository):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            if os.geteuid() == 0:
                try:
                    os.lchown(path, GUEST_ID, GUEST_ID)
                except PermissionError:
                    pass  # a root without capabilities, which cannot start a sandbox as another user either
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode | 0o444 | (0o111 if path == folder else 0))


def _checked(repository: Path, commit: str) -> tuple[Submodule, ...]:
    assert_clean(repository, commit)
    return tuple(submodules(repository, commit))


def patch_spec(
    isolation: IsolationBackend,
    guest: GuestHandle,
    origin: Origin,
    limits: Limits,
    inner: tuple[Submodule, ...] = (),
    index: bytes = b"",
) -> PatchSpec:
    scratch = "/tmp" if isolation.isolation == "none" else "/run/scratch"
    return PatchSpec(
        guest.git,
        origin.commit,
        PATCH_SECONDS,
        (scratch,),
        memory_mb=limits.memory_mb,
        submodules=inner,
        index=index,
    )


def _last_change(repository: str) -> float:
    """When a file of the working tree was last changed, in seconds since 1970."""
    newest = 0.0
    for place, folders, files in os.walk(repository):
        if place == repository and ".git" in folders:
            folders.remove(".git")
        newest = max([newest, *(os.lstat(os.path.join(place, name)).st_ctime for name in files)])
    return newest


class LocalSandbox:
    """One attempt's view of a repository. Made by `LocalBackend.open` and `LocalSnapshot.fork`."""

    def __init__(
        self,
        isolation: IsolationBackend,
        guest: GuestHandle,
        origin: Origin,
        limits: Limits,
        inner: tuple[Submodule, ...],
        base_index: Callable[[], Awaitable[bytes]] | None = None,
    ) -> None:
        self._isolation, self._guest, self._origin, self._limits = isolation, guest, origin, limits
        self._submodules = inner
        # Opened on an overlay at the origin, so that what was not copied up is unchanged, and as this index has it.
        self._pristine, self._base_index = base_index is not None, base_index
        self._state: int | None = 0 if self._pristine else None  # of the files at the last patch taken in passing
        self._channel = guest.channel
        self.read = self._channel.read
        self.write = self._channel.write
        self.quiet = self._channel.quiet

    async def run(self, command: Command) -> Completed:
        return await self._channel.run(command)

    async def diff(self) -> bytes:
        changed = await self._changed()
        self._check_commit()
        if not changed and self._pristine:
            return b""  # nothing was copied up, so nothing differs, and git need not run
        return await self._channel.patch(await self._patch_spec())

    async def peek(self) -> bytes | None:
        """See `Peeking`."""
        overlay = self._isolation.isolation == "overlay"
        self._check_commit()
        state, patch = await self._channel.peek(await self._patch_spec(), self._state, overlay=overlay)
        self._state = state
        return patch

    def _check_commit(self) -> None:
        if not self._origin.commit:
            raise SandboxError(f"sandbox {self._channel.name} has no base commit to take a patch against")

    async def _patch_spec(self) -> PatchSpec:
        index = await self._base_index() if self._base_index and not self._submodules else b""
        return patch_spec(self._isolation, self._guest, self._origin, self._limits, self._submodules, index)

    async def snapshot(self) -> LocalSnapshot:
        """See `Sandbox.snapshot`. It includes /tmp, except without isolation, where /tmp is the host's.

        On an overlay, a fork that changes one name of a file with several hard links leaves the other names as they
        are. A file that a process is writing may be included incompletely. Raises `SandboxError` if the copy fails.
        """
        await self._changed()  # raises if the sandbox is lost
        files = await self._isolation.snapshot(self._guest, self._limits)
        return LocalSnapshot(self._isolation, files, self._origin, self._limits, self._submodules, self._channel.name)

    async def _changed(self) -> bool:
        """Whether anything was copied up; always true without an overlay. Raises `SandboxLost`."""
        return bool((await self._channel.call({"op": "changed"}))[0]["changed"])

    async def close(self) -> None:
        self._channel.abandon("it was closed")


class LocalSnapshot:
    """The files of a local sandbox at one moment. Made by `LocalSandbox.snapshot`."""

    def __init__(
        self,
        isolation: IsolationBackend,
        files: SnapshotFiles,
        origin: Origin,
        limits: Limits,
        inner: tuple[Submodule, ...],
        name: str,
    ) -> None:
        self._isolation, self._files, self._origin, self._limits, self._name = isolation, files, origin, limits, name
        self._submodules = inner
        self._closed = False

    async def fork(self, *, label: str = "") -> LocalSandbox:
        """See `Snapshot.fork`. Raises `SandboxLost` if the snapshot is closed or its namespace server has ended."""
        if self._closed:
            raise SandboxLost(f"the snapshot of sandbox {self._name} is lost: it was closed; take another one")
        self._files.acquire()  # the snapshot may be closed meanwhile
        try:
            guest = await self._isolation.open(self._origin, self._limits, label, self._files)
        finally:
            self._files.release()
        return LocalSandbox(self._isolation, guest, self._origin, self._limits, self._submodules)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._files.release()


class LocalBackend:
    """Opens local sandboxes. `isolation` is "overlay", "copy" (namespaces without overlayfs) or "none".

    `warning` is a text for the person who starts a run, empty if there is no reason: nothing isolates, or sandboxes
    with the host's network were opened. A `Status` tells that the process which makes sandboxes is started again.
    """

    name = "local"

    def __init__(self, isolation: str | None = None, *, events: Sink = ignore) -> None:
        if isolation not in (None, "overlay", "copy", "none"):
            raise SandboxUnavailable(f"there is no isolation {isolation!r}; choose overlay, copy or none")
        self._wanted, self._events = isolation, events
        self._starting = asyncio.Lock()
        self._isolation: IsolationBackend | None = None
        self._indexes: dict[tuple[str, str], asyncio.Task[tuple[bytes, float]]] = {}
        self._bases: dict[tuple[str, str], asyncio.Task[tuple[Submodule, ...]]] = {}  # each checked once
        self._online = False
        self._unfiltered = ""
        self._why_none = ""
        self.isolation = ""  # until `start` has found out

    @property
    def warning(self) -> str:
        if self.isolation == "none":
            return (
                f"NO ISOLATION: no namespaces here ({self._why_none}). Attempts run as your own ordinary processes "
                "on a plain copy of the repository and can reach your files, processes and network. "
                "Use --sandbox docker for anything that matters."
            )
        if self._online:
            return (
                "OPEN NETWORK: attempts can reach everything that this machine can reach, its own services too, and "
                "may look up solutions. Use --network none for results that are reported."
            )
        return ""

    async def start(self) -> None:
        """Find out which isolation this machine offers. `open` does it too; an earlier call overlaps other work."""
        async with self._starting:
            lost = isinstance(self._isolation, NamespaceClient) and self._isolation.lost
            if self._isolation is not None and not lost:
                return
            if self._isolation is not None:
                self._events(Status("the process that makes local sandboxes has ended; starting it again"))
                await self._isolation.close()
                self._isolation = None
            try:
                await self._find_isolation()
            finally:
                if lost:
                    self._events(Status(""))

    async def _find_isolation(self) -> None:
        problems = []
        for kind in [self._wanted] if self._wanted else ["overlay", "copy"]:
            problem = await self._try_isolation(kind) if kind != "none" else "they are not wanted"
            if not problem:
                return
            problems.append(f"{kind}: {problem}")
        if self._wanted not in (None, "none"):
            raise SandboxUnavailable(
                f"local sandboxes with isolation {self._wanted!r} cannot be made here: {problems[0]}"
            )
        self._why_none = "; ".join(problems)
        self._isolation = CopyBackend()
        self.isolation = "none"

    async def _try_isolation(self, kind: str) -> str:
        """Try one kind of isolation with namespaces. Returns the problem, empty if it works."""
        if not sys.platform.startswith("linux"):
            return f"{sys.platform} has no Linux namespaces"
        shown = shown_folders(os.path.realpath(sys.base_prefix))
        client = NamespaceClient(kind, await asyncio.to_thread(_private_paths, shown))
        try:
            problem = await client.start()
        except BaseException:
            await client.close()
            raise
        if not problem:
            self._isolation, self.isolation = client, kind
        return problem

    def check(self, origin: Origin) -> None:
        if origin.repository is None:
            raise SandboxUnavailable(
                f"a local sandbox needs a repository on this machine, and these tasks name {origin.image or 'none'}; "
                "use --sandbox docker"
            )
        if which("git") is None:
            raise SandboxUnavailable(
                "git is not installed, and local sandboxes compare their files with it: install it"
            )
        if not origin.repository.is_dir():
            raise SandboxUnavailable(f"there is no repository {origin.repository}; check the path in the task")

    async def open(self, origin: Origin, limits: Limits, *, label: str = "") -> LocalSandbox:
        self.check(origin)
        if limits.network not in NETWORKS:
            raise SandboxUnavailable(
                f"a local sandbox cannot join the network {limits.network!r}; choose none, host for the network of "
                "this machine, or --sandbox docker for a network of that name"
            )
        await self.start()
        inner = await self._check_base(origin)
        self._online = self._online or limits.network != "none"
        assert self._isolation is not None
        guest = await self._isolation.open(origin, limits, label)
        self._unfiltered = guest.channel.unfiltered
        index = partial(self._base_index, origin, limits, time.time()) if self.isolation == "overlay" else None
        return LocalSandbox(self._isolation, guest, origin, limits, inner, index)

    async def _base_index(self, origin: Origin, limits: Limits, opened: float) -> bytes:
        """An index of the base as sandboxes see it, made once per repository; empty where none can be used.

        With it git reads those files alone that an attempt has touched, and not all of them for each patch. It compares
        times in whole seconds, so that the base must be older than what was changed in a sandbox `opened` then.
        """
        key = os.path.realpath(str(origin.repository)), origin.commit
        if key not in self._indexes:
            make = asyncio.get_running_loop().create_task(self._make_index(origin, limits))
            self._indexes[key] = make
        index, newest = await asyncio.shield(self._indexes[key])
        return index if opened >= newest + OLDER_SECONDS else b""

    async def _make_index(self, origin: Origin, limits: Limits) -> tuple[bytes, float]:
        """The index, and when the last of its files was changed."""
        assert self._isolation is not None
        newest = await asyncio.to_thread(_last_change, str(origin.repository))
        try:
            guest = await self._isolation.open(origin, limits, "index of the base")
        except SandboxError:
            return b"", newest
        try:
            command = patch_spec(self._isolation, guest, origin, limits).index_command()
            done = await guest.channel.run(command)
        except SandboxError:
            return b"", newest
        finally:
            guest.channel.abandon("it was closed")
        return b"" if done.returncode or done.dropped or done.timed_out else done.output, newest

    async def _check_base(self, origin: Origin) -> tuple[Submodule, ...]:
        """The submodules of a repository, once it is known, by one check, to hold nothing later than its base.

        Raises `SandboxUnavailable`.
        """
        if not origin.commit:
            return ()
        assert origin.repository is not None
        key = os.path.realpath(origin.repository), origin.commit
        if key not in self._bases:
            check = asyncio.to_thread(_checked, origin.repository, origin.commit)
            self._bases[key] = asyncio.get_running_loop().create_task(check)
        return await asyncio.shield(self._bases[key])

    async def identity(self, origin: Origin) -> str:
        """The content of a sandbox in one line: the base, and the Python that it shares with the runner."""
        return f"{origin.commit or origin.repository} python {platform.python_version()}"

    def describe(self) -> dict[str, str]:
        network = "host" if self._online or self.isolation == "none" else "none"
        return {
            "sandbox": self.name,
            "isolation": self.isolation,
            "network": network,
            "memory": "limited together" if self._grouped else "limited for each process",
            "system calls": f"not filtered: {self._unfiltered}" if self._unfiltered else "filtered",
            "kernel": os.uname().release,
        }

    @property
    def _grouped(self) -> bool:
        return isinstance(self._isolation, NamespaceClient) and self._isolation.grouped

    async def close(self) -> None:
        if self._isolation is not None:
            await self._isolation.close()
            self._isolation = None
