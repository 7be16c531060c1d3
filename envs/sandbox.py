"""Where an attempt works: the `Sandbox` protocol, its records and its errors.

A sandbox is a fresh view of one repository at its base commit in which commands run
under limits and without a network. It belongs to the process that opened it and is gone
soon after that one is, also when it is killed with SIGKILL.

    SandboxError
    ├── SandboxUnavailable   this back end cannot work here (no daemon, no image): stops the run
    ├── SandboxLost          the sandbox died under us: an infra error, never an observation
    └── FileProblem          a path that cannot be read or written: the caller's mistake
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

__all__ = [
    "Backend",
    "Command",
    "Completed",
    "FileProblem",
    "Limits",
    "Origin",
    "Sandbox",
    "SandboxError",
    "SandboxLost",
    "SandboxUnavailable",
    "Snapshot",
]


class SandboxError(Exception):
    """Something about a sandbox failed; the message names the thing, the cause and the remedy."""


class SandboxUnavailable(SandboxError):
    """The back end cannot open such a sandbox on this machine, now or on a second try."""


class SandboxLost(SandboxError):
    """The sandbox is gone (killed, out of memory, daemon restarted). Nothing in it is left."""


class FileProblem(SandboxError):
    """A path inside the sandbox cannot be read or written as asked."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one sandbox may use. They are recorded with the run, for they can change a score."""

    memory_mb: int = 2048  # per process on the local back end, per container in Docker
    processes: int = 256
    disk_mb: int = 1024  # written files; local back end
    output_bytes: int = 64 * 1024  # of one command, head and tail kept
    command_seconds: float = 120.0
    cpus: float = 2.0  # Docker
    lifetime_seconds: float = 6 * 3600.0  # after which the sandbox ends itself, whoever still holds it
    network: str = "none"  # any other value lets commands out: "host" on the local back end, a network's name in Docker


@dataclass(frozen=True, slots=True)
class Origin:
    """What a sandbox starts from: a repository on this machine, or an image that holds one.

    `commit` is the base, from which no later commit may be readable inside; `workdir` is
    where the repository stands. Without a commit it is a room without a repository, which
    has no diff.
    """

    commit: str
    repository: Path | None = None
    image: str | None = None
    workdir: str = "/testbed"
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Command:
    """A command to run: a shell script (str) or an argument vector (tuple).

    `timeout` in seconds; `output_cap` in bytes, None for the sandbox's limit.
    Scripts that name the same `session` follow one another as in one shell: each starts in
    the folder and with the exported variables with which the last one ended. One that was
    killed, or called exec, leaves the session as it was.
    """

    run: str | tuple[str, ...]
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    timeout: float | None = None
    output_cap: int | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Completed:
    """What came of a command. `output` is stdout and stderr as they were written.

    Of an output over the cap the head and the tail are kept and the middle is replaced by
    a line that tells how many bytes were `dropped`. `returncode` is negative for a signal.
    """

    returncode: int
    output: bytes
    dropped: int
    timed_out: bool
    seconds: float


class Sandbox(Protocol):
    """A room of one's own for one attempt. Every method but `close` raises `SandboxLost` if it died."""

    async def run(self, command: Command) -> Completed:
        """Run a command to its end. A command ends when its first process does."""
        ...

    async def read(self, path: str) -> bytes:
        """A file's bytes. Relative paths start at the working directory. Raises `FileProblem`."""
        ...

    async def write(self, path: str, data: bytes) -> None:
        """Write a file, making its folders; an existing file keeps its mode. Raises `FileProblem`."""
        ...

    async def diff(self) -> bytes:
        """All that differs from the start, as a binary git patch: new, deleted, changed, modes."""
        ...

    async def snapshot(self) -> Snapshot:
        """The files as they are now, to fork from; processes are not in it. The sandbox goes on."""
        ...

    async def close(self) -> None:
        """End every process inside and free what it holds. Idempotent, never raises."""
        ...


class Snapshot(Protocol):
    """The files of a sandbox at one moment. It belongs to the process that took it, as a sandbox does."""

    async def fork(self, *, label: str = "") -> Sandbox:
        """A new sandbox with these files, the same origin and limits, independent of all others."""
        ...

    async def close(self) -> None:
        """Free it; what was forked from it lives on. Idempotent, never raises."""
        ...


class Backend(Protocol):
    """Opens sandboxes of one kind."""

    @property
    def name(self) -> str: ...

    async def start(self) -> None:
        """Find out whether and how it works here. Raises `SandboxUnavailable`. Idempotent; `open` calls it too."""
        ...

    def check(self, origin: Origin) -> None:
        """Whether such an origin can be held at all. Raises `SandboxUnavailable`."""
        ...

    async def open(self, origin: Origin, limits: Limits, *, label: str = "") -> Sandbox:
        """A new sandbox at `origin`. Raises `SandboxUnavailable` or `SandboxLost`."""
        ...

    def describe(self) -> dict[str, str]:
        """What isolates here and with which versions; recorded with the run."""
        ...

    async def close(self) -> None:
        """Close all that was opened. Idempotent."""
        ...
