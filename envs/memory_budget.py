"""The memory that all runners on one machine may hand out together: no more than it has.

Each process keeps one small file, in a folder per machine, with what it has reserved and
what it waits for, and holds a lock on it for as long as it lives. Whoever wants more adds
up the files of the living under one lock of the folder. The kernel drops the locks of a
process that ends, by SIGKILL too, so that nothing of the dead is counted; their files are
removed by whoever comes across them.

Guarantees: the sum of what is reserved never exceeds the total, unless overcommitting was
asked for; requests are granted first come, first served, across processes too, so that a
large one is not starved by small ones. Where no file can be written or locked the budget
holds for this process alone, and `shared` says so.
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

from envs.sandbox import SandboxUnavailable

__all__ = ["Machine", "MemoryBudget", "Placed", "budget_folder", "this_machine"]

# What others free is found by looking; what this process frees, at once.
FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.002, 0.5
LOCK, SUFFIX = "lock", ".reserved"
RECORD = "{:12d} {:12d} {:20.6f}\n"  # MB reserved, MB waited for, since when; always of one length


@dataclass(frozen=True, slots=True)
class Machine:
    """Where sandboxes run: a name that every process on it agrees on, and the MB of memory it has."""

    key: str
    memory_mb: int

    @property
    def usable_mb(self) -> int:
        """All but what is left to the system and to the runners: a tenth, at least 1 GB, at most half."""
        return self.memory_mb - min(max(1024, self.memory_mb // 10), self.memory_mb // 2)


@runtime_checkable
class Placed(Protocol):
    """A back end whose sandboxes run on another machine than this process, which is known once it has started."""

    @property
    def machine(self) -> Machine: ...


def this_machine() -> Machine:
    """The machine that this process runs on; of its memory, what control groups let it have."""
    return Machine(f"local-{socket.gethostname()}", min([_physical_mb(), *_control_group_limits()]))


def _physical_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def _control_group_limits() -> Iterator[int]:
    """The limit of each control group that this process is in, in MB."""
    try:
        memberships = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return  # no Linux
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
                pass  # no such file here, or "max"
            if folder == root:
                break


def budget_folder() -> Path:
    """Where the files lie if nothing else is said: in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "coding-monkeys" / "budget"


class MemoryBudget:
    """Hands out `total` MB to all processes of this user that name the same `key`.

    Every `reserve` that returned, and every `try_reserve` that was granted, is undone by one `release` of as much.
    """

    def __init__(self, total: int, *, key: str, folder: Path | None = None, overcommit: bool = False) -> None:
        self.total, self.overcommit = total, overcommit
        self.reserved = 0
        self._folder = (folder or budget_folder()) / "".join(c if c.isalnum() or c == "-" else "_" for c in key)
        self._file: _OwnFile | None = None
        self._tried = overcommit  # whether there is a file, or a reason for none
        self._turn = asyncio.Lock()  # whoever holds it is at the head of the queue
        self._freed = asyncio.Event()

    @property
    def shared(self) -> bool:
        """Whether other processes are counted; known after the first request."""
        return self._file is not None

    def check(self, mb: int) -> None:
        """Raises `SandboxUnavailable` if such a request can never be granted."""
        if mb > self.total and not self.overcommit:
            raise SandboxUnavailable(
                f"a sandbox of {mb} MB is more than the {self.total} MB that this machine has for all of them; "
                "give less with --memory-mb, or take the risk with --overcommit"
            )

    async def reserve(self, mb: int) -> None:
        """Wait for `mb` and take them. Raises `SandboxUnavailable` if they can never be had."""
        self.check(mb)
        since = time.monotonic()
        async with self._turn:
            look = FIRST_LOOK_SECONDS
            try:
                while not self._take(mb, since, wait=True):
                    self._freed.clear()
                    try:
                        async with asyncio.timeout(look):
                            await self._freed.wait()
                        look = FIRST_LOOK_SECONDS
                    except TimeoutError:
                        look = min(2 * look, LONGEST_LOOK_SECONDS)
            except asyncio.CancelledError:
                if self._file is not None:
                    self._file.write(self.reserved)  # waits for nothing any more
                raise

    def try_reserve(self, mb: int) -> bool:
        """Take `mb` if they are there and nobody waits for them; whether they were taken."""
        return (mb <= self.total or self.overcommit) and not self._turn.locked() and self._take(mb, time.monotonic())

    def release(self, mb: int) -> None:
        self.reserved -= mb
        assert self.reserved >= 0, "more was released than reserved"
        if self._file is not None:
            self._file.write(self.reserved)
        self._freed.set()

    def close(self) -> None:
        """Take this process's file away. What it still holds is no longer counted."""
        if self._file is not None:
            self._file.remove()
        self._file, self._tried = None, True

    def _take(self, mb: int, since: float, *, wait: bool = False) -> bool:
        if not self._tried:
            self._tried = True
            try:
                self._file = _OwnFile(self._folder)
            except OSError:
                pass  # then for this process alone
        if self._file is not None:
            granted = self._file.claim(self.reserved, mb, since, self.total, wait)
        else:
            granted = self.overcommit or self.reserved + mb <= self.total
        if granted:
            self.reserved += mb
        return granted


class _OwnFile:
    """This process's file among those of the others. Raises `OSError` if it cannot be made or locked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}{SUFFIX}"
        self._lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            # Nobody may see it before its lock is held: it would be taken for that of a dead process.
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._own = os.open(folder / self._name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            fcntl.flock(self._own, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.pwrite(self._own, RECORD.format(0, 0, 0.0).encode(), 0)
        except OSError:
            os.close(self._lock)
            raise
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def write(self, reserved: int, waits: int = 0, since: float = 0.0) -> None:
        """Say how things are now. More than before only within a claim; less at any time."""
        try:
            os.pwrite(self._own, RECORD.format(reserved, waits, since).encode(), 0)
        except OSError:
            pass  # in place, so only a file system that never writes in place can be too full: the last word stands

    def claim(self, reserved: int, mb: int, since: float, total: int, wait: bool) -> bool:
        """Whether `mb` more fit beside what all others hold and what those wait for who came earlier."""
        with self._alone() as alone:
            if not alone:
                return False  # for the moment that another one takes to add up
            room = total - reserved - sum(self._others(since))
            if mb > room:
                if wait:
                    self.write(reserved, mb, since)
                return False
            self.write(reserved + mb)
            return True

    @contextmanager
    def _alone(self) -> Iterator[bool]:
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
                continue  # it has just been taken away
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
