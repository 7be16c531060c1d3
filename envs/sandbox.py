"""The `Sandbox` protocol, its records and its errors.

A sandbox is a fresh view of one repository at its base commit, in which commands run under limits and without a
network. It belongs to the process that opened it and ends soon after that process ends, also by SIGKILL.

    SandboxError
    ├── SandboxUnavailable   the back end cannot open it on this machine (no daemon, no image): stops the run
    ├── SandboxLost          the sandbox died during its use: an infra error, never an observation
    │   └── SandboxExhausted its own commands ended it: what an attempt did to itself
    └── FileProblem          a path cannot be read or written: the caller's mistake
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from envs.errors import MonkeysError

__all__ = [
    "Backend",
    "Command",
    "Completed",
    "FileProblem",
    "Limits",
    "Origin",
    "Patch",
    "Peeking",
    "Sandbox",
    "SandboxError",
    "SandboxExhausted",
    "SandboxLost",
    "SandboxUnavailable",
    "Snapshot",
]


class SandboxError(MonkeysError):
    """A sandbox failed or cannot be opened."""


class SandboxUnavailable(SandboxError):
    """The back end cannot open such a sandbox on this machine; a second try would fail too."""


class SandboxLost(SandboxError):
    """The sandbox is gone (killed, out of memory, daemon restarted) with everything in it."""


class SandboxExhausted(SandboxLost):
    """The sandbox is gone because its own commands used up its memory, and not through a fault of the machine."""


class FileProblem(SandboxError):
    """A path inside the sandbox cannot be read or written as asked."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one sandbox may use. The limits are recorded with the run, for they can change a score."""

    memory_mb: int = 2048
    """Of each process on the local back end, and with `disk_mb` of the whole sandbox where control groups can be made;
    of the whole container in Docker."""
    processes: int = 256
    disk_mb: int = 1024
    """Of all written files on the local back end, of each file in Docker, and of all where its storage can."""
    output_bytes: int = 64 * 1024
    """Of one command; the head and the tail are kept."""
    command_seconds: float = 120.0
    cpus: float = 2.0
    """In Docker only."""
    lifetime_seconds: float = 6 * 3600.0
    """After this time the sandbox ends, even if it is still in use."""
    network: str = "none"
    """"host" on the local back end, or a network's name in Docker, gives commands a network."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a sandbox starts from: a repository on this machine, or an image that holds one.

    `commit` is the base; no later commit can be read inside. `workdir` is the path of the repository inside an image.
    Without a commit the sandbox has no repository and no diff.
    """

    commit: str
    repository: Path | None = None
    image: str | None = None
    workdir: str = "/testbed"
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Command:
    """A command to run: a shell script (str) or an argument vector (tuple).

    `timeout` is in seconds; `output_cap` is in bytes, None for the sandbox's limit. Scripts with the same `session`
    follow one another as in one shell: each starts in the folder and with the exported variables in which the last one
    ended. A script that was killed or called exec leaves its session as it was.
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
    """The result of a command. `output` is stdout and stderr in the order in which they were written.

    An output over the cap keeps its head and its tail; the middle is replaced by a line with the number of bytes
    `dropped`. `returncode` is negative for a signal.
    """

    returncode: int
    output: bytes
    dropped: int
    timed_out: bool
    seconds: float


class Patch(bytes):
    """A binary git patch. `left_out` names what it lacks of the changes in the sandbox, each with the reason."""

    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, body: bytes, left_out: Iterable[str]) -> Patch:
        patch = cls(body)
        patch.left_out = tuple(left_out)
        return patch


class Sandbox(Protocol):
    """The environment of one attempt. Every method but `close` raises `SandboxLost` if the sandbox has died."""

    async def run(self, command: Command) -> Completed:
        """Run a command to its end. A command ends when its first process ends."""
        ...

    async def read(self, path: str) -> bytes:
        """A file's bytes. Relative paths start at the working directory. Raises `FileProblem`."""
        ...

    async def write(self, path: str, data: bytes) -> None:
        """Write a file, making its folders; an existing file keeps its mode. Raises `FileProblem`."""
        ...

    async def diff(self) -> bytes:
        """All differences from the start, as a binary git patch: new, deleted and changed files, and modes.

        Ends all processes in the sandbox first. A `Patch` names what was left out, such as a file that is too large.
        Raises `SandboxError` if no patch can be taken of what is there, though the sandbox lives.
        """
        ...

    async def quiet(self) -> None:
        """End every process that commands have left behind; files stay. Raises `SandboxLost` if that fails."""
        ...

    async def snapshot(self) -> Snapshot:
        """A snapshot of the files, without processes, to fork sandboxes from. The sandbox goes on."""
        ...

    async def close(self) -> None:
        """End every process inside and free its resources. Idempotent, never raises."""
        ...


@runtime_checkable
class Peeking(Protocol):
    """What a sandbox has in addition if a patch can be taken of it while it is in use."""

    async def peek(self) -> bytes | None:
        """The patch that `diff` would take now; None if no file has changed since the last call that gave one.

        Before the first call nothing has changed. It ends no process and changes no file and no time of one; commands
        can tell it by the numbers of later processes alone. Raises `SandboxError` if no patch can be taken in this way.
        """
        ...


class Snapshot(Protocol):
    """The files of a sandbox at one moment. Like a sandbox, it ends with the process that took it."""

    async def fork(self, *, label: str = "") -> Sandbox:
        """A new sandbox with these files and the same origin and limits, independent of all others."""
        ...

    async def close(self) -> None:
        """Free the snapshot; sandboxes forked from it live on. Idempotent, never raises."""
        ...


class Backend(Protocol):
    """Opens sandboxes of one kind. It is made with the argument `events`, an `envs.events.Sink`."""

    @property
    def name(self) -> str: ...

    async def start(self) -> None:
        """Find out how it works on this machine. Raises `SandboxUnavailable`. Idempotent; `open` does it too."""
        ...

    def check(self, origin: Origin) -> None:
        """Raise `SandboxUnavailable` if the back end cannot open sandboxes at such an origin."""
        ...

    async def open(self, origin: Origin, limits: Limits, *, label: str = "") -> Sandbox:
        """A new sandbox at `origin`. Raises `SandboxUnavailable` or `SandboxLost`."""
        ...

    def describe(self) -> dict[str, str]:
        """The kind of isolation and the versions in use; recorded with the run."""
        ...

    async def close(self) -> None:
        """Close all sandboxes and snapshots. Idempotent."""
        ...
