"""The memory budget that all runners on one machine share: together they reserve no more memory than it has.

Each process keeps one small file, in a folder per machine, with the memory that it has reserved and the request that it
waits for. It holds a lock on this file as long as it lives. A process that wants more adds up the files of all living
processes under one lock of the folder. The kernel releases the locks of a process that ends, also by SIGKILL, so dead
processes are not counted; the next process that reads their files removes them.

Guarantees: the sum of the reservations never exceeds the total, unless overcommitting was asked for. Requests are
granted first come, first served, also between processes, so that small ones do not starve a large one. Where no file
can be written or locked, the budget covers this process alone, and `shared` is false.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from envs.cache_folder import cache_folder
from envs.sandbox import SandboxUnavailable

__all__ = ["Machine", "MemoryBudget", "RemoteBackend", "budget_folder", "this_machine"]

# Between two checks for memory that other processes have freed; memory that this process frees is seen at once.
FIRST_CHECK_SECONDS, LONGEST_CHECK_SECONDS = 0.002, 0.5
LOCK, SUFFIX = "lock", ".reserved"
RECORD = "{:12d} {:12d} {:20.6f}\n"  # MB reserved, MB waited for, since when; always of one length


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that runs sandboxes: a name that every process on it derives alike, and its memory in MB."""

    key: str
    memory_mb: int

    @property
    def usable_mb(self) -> int:
        """The memory for sandboxes. The system and the runners keep a tenth of it, at least 1 GB, at most half."""
        return self.memory_mb - min(max(1024, self.memory_mb // 10), self.memory_mb // 2)


@runtime_checkable
class RemoteBackend(Protocol):
    """A back end whose sandboxes may run on another machine than this process. It is known after `start`."""

    @property
    def machine(self) -> Machine: ...


def this_machine() -> Machine:
    """The machine of this process, with the memory that its control groups allow."""
    return Machine(f"local-{socket.gethostname()}", min([_physical_mb(), *_control_group_limits()]))


def _physical_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def _control_group_limits() -> Iterator[int]:
    """The memory limit in MB of each control group of this process."""
    try:
        memberships = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return  # not on Linux
    for membership in memberships:
        _, controllers, path = membership.split(":", 2)
        if not controllers:
            root, name = Path("/sys/fs/cgroup"), "memory.max"
        elif "memory" in controllers.split(","):
            root, name = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
        else:
            continue
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            try:
                yield int((folder / name).read_text()) >> 20
            except (OSError, ValueError):
                pass  # no such file, or "max"
            if folder == root:
                break


def budget_folder() -> Path:
    """The default folder of the files, in the user's cache."""
    return cache_folder() / "budget"


class MemoryBudget:
    """Shares `total` MB among all processes of this user with the same `key`.

    Each `reserve` that returned, and each `try_reserve` that returned true, must be followed by one `release` of the
    same size.
    """

    def __init__(self, total: int, *, key: str, folder: Path | None = None, overcommit: bool = False) -> None:
        self.total, self.overcommit = total, overcommit
        self.reserved = 0
        self._folder = (folder or budget_folder()) / "".join(c if c.isalnum() or c == "-" else "_" for c in key)
        self._file: _OwnFile | None = None
        self._tried = overcommit  # whether the file was made, or cannot be made, or is not needed
        self._turn = asyncio.Lock()  # held by the first in the queue
        self._freed = asyncio.Event()

    @property
    def shared(self) -> bool:
        """Whether other processes are counted too; known after the first request."""
        return self._file is not None

    def check(self, mb: int) -> None:
        """Raise `SandboxUnavailable` if such a request can never be granted."""
        if mb > self.total and not self.overcommit:
            raise SandboxUnavailable(
                f"a sandbox of {mb} MB is more than the {self.total} MB that this machine has for all of them; "
                "give less with --memory-mb, or take the risk with --overcommit"
            )

    async def reserve(self, mb: int) -> None:
        """Wait until `mb` are free and reserve them. Raises `SandboxUnavailable` if that can never be."""
        self.check(mb)
        since = time.monotonic()
        async with self._turn:
            pause = FIRST_CHECK_SECONDS
            try:
                while not self._take(mb, since, wait=True):
                    self._freed.clear()
                    try:
                        async with asyncio.timeout(pause):
                            await self._freed.wait()
                        pause = FIRST_CHECK_SECONDS
                    except TimeoutError:
                        pause = min(2 * pause, LONGEST_CHECK_SECONDS)
            except asyncio.CancelledError:
                if self._file is not None:
                    self._file.write(self.reserved)  # withdraws the request
                raise

    def try_reserve(self, mb: int) -> bool:
        """Reserve `mb` if they are free and no other request waits. Returns whether it did."""
        return (mb <= self.total or self.overcommit) and not self._turn.locked() and self._take(mb, time.monotonic())

    def release(self, mb: int) -> None:
        self.reserved -= mb
        assert self.reserved >= 0, "more was released than reserved"
        if self._file is not None:
            self._file.write(self.reserved)
        self._freed.set()

    def close(self) -> None:
        """Remove this process's file. Its reservations are no longer counted."""
        if self._file is not None:
            self._file.remove()
        self._file, self._tried = None, True

    def _take(self, mb: int, since: float, *, wait: bool = False) -> bool:
        if not self._tried:
            self._tried = True
            try:
                self._file = _OwnFile(self._folder)
            except OSError:
                pass  # the budget then covers this process alone
        if self._file is not None:
            granted = self._file.claim(self.reserved, mb, since, self.total, wait)
        else:
            granted = self.overcommit or self.reserved + mb <= self.total
        if granted:
            self.reserved += mb
        return granted


class _OwnFile:
    """The file of this process among those of the others. Raises `OSError` if it cannot be made or locked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}{SUFFIX}"
        self._lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            # No process may see the file before its lock is held: it would look like that of a dead process.
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._own = os.open(folder / self._name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            fcntl.flock(self._own, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.pwrite(self._own, RECORD.format(0, 0, 0.0).encode(), 0)
        except OSError:
            os.close(self._lock)
            raise
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def write(self, reserved: int, waits: int = 0, since: float = 0.0) -> None:
        """Write the current state. An increase only within `claim`, a decrease at any time."""
        try:
            os.pwrite(self._own, RECORD.format(reserved, waits, since).encode(), 0)
        except OSError:
            pass  # on a full copy-on-write file system; the last state stays in the file

    def claim(self, reserved: int, mb: int, since: float, total: int, wait: bool) -> bool:
        """Reserve `mb` more if they fit beside all reservations and all earlier requests. Returns whether it did."""
        with self._locked() as locked:
            if not locked:
                return False  # another process is adding up, which takes a moment
            free = total - reserved - sum(self._others(since))
            if mb > free:
                if wait:
                    self.write(reserved, mb, since)
                return False
            self.write(reserved + mb)
            return True

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        try:
            yield True
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _others(self, since: float) -> Iterator[int]:
        for name in os.listdir(self._folder):
            if name == self._name or not name.endswith(SUFFIX):
                continue
            path = self._folder / name
            try:
                fd = os.open(path, os.O_RDONLY)
            except OSError:
                continue  # it has just been removed
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:  # its owner lives
                held, waits, waiting_since = os.pread(fd, 100, 0).split()
                yield int(held) + (int(waits) if float(waiting_since) < since else 0)
            else:
                path.unlink(missing_ok=True)
            finally:
                os.close(fd)

    def remove(self) -> None:
        (self._folder / self._name).unlink(missing_ok=True)
        os.close(self._own)
        os.close(self._lock)
