"""The `local` back end: a copy-on-write view of a repository on this machine, in milliseconds.

On Linux with namespaces each attempt gets its own overlay, processes, network (loopback
only) and limits; see `envs.nursery` for how. Elsewhere (`isolation == "none"`) it is a
plain copy of the repository and an ordinary child process: good for trying things out,
no protection, and it says so. Nothing is left behind when the runner is killed: in
namespaces the kernel sees to it, and a plain copy is removed by its own guest.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from envs.channel import Channel
from envs.diff import diff_command
from envs.sandbox import Command, Completed, Limits, Origin, SandboxLost, SandboxUnavailable

__all__ = ["LocalBackend", "adopt"]

GUEST_ID = 64_999  # the unprivileged host user that guests run as when the runner is root

START_SECONDS = 30.0
HERE = str(Path(__file__).resolve().parent)
ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PATH": "/opt/venv/bin:/usr/local/bin:/usr/bin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",  # two edits of one size within a second would run stale bytecode
    "TERM": "dumb",
}
# The package is stood in for by a bare module: its __init__ would load what every fork then copies.
BOOT = (
    "import sys; sys.modules['envs'] = p = type(sys)('envs'); p.__path__ = [{here!r}]; "
    "from envs.{module} import main; main()"
)


def adopt(repository: Path) -> None:
    """Make a repository one that local sandboxes can lay an overlay on: readable, and owned by the user they run as."""
    for folder, _, files in os.walk(repository):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            if os.geteuid() == 0:
                os.lchown(path, GUEST_ID, GUEST_ID)
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode | 0o444 | (0o111 if path == folder else 0))


class LocalSandbox:
    """One attempt's view of a repository. Made by `LocalBackend.open`."""

    def __init__(self, channel: Channel, origin: Origin, git: str, isolation: str) -> None:
        self._channel, self._origin, self._git, self._isolation = channel, origin, git, isolation
        self.read = channel.read
        self.write = channel.write

    async def run(self, command: Command) -> Completed:
        return await self._channel.run(command)

    async def diff(self) -> bytes:
        if self._isolation == "overlay" and not (await self._channel.call({"op": "changed"}))[0]["changed"]:
            return b""  # nothing was copied up, so nothing differs: spares the git processes
        scratch = "/tmp" if self._isolation == "none" else "/run/scratch"
        return await self._channel.patch(diff_command(self._git, self._origin.commit, START_SECONDS, scratch))

    async def close(self) -> None:
        self._channel.abandon("it was closed")


class LocalBackend:
    """Opens local sandboxes. `isolation` is "overlay", "copy" (namespaces without overlayfs) or "none"."""

    name = "local"

    def __init__(self, isolation: str | None = None) -> None:
        self._wanted = isolation
        self._starting = asyncio.Lock()
        self._nursery: subprocess.Popen[bytes] | None = None
        self._copies: list[subprocess.Popen[bytes]] = []  # guests without isolation
        self._control: socket.socket | None = None
        self._open: set[Channel] = set()
        self.isolation = ""
        self.warning = ""
        if isolation not in (None, "overlay", "copy", "none"):
            raise SandboxUnavailable(f"there is no isolation {isolation!r}; choose overlay, copy or none")

    async def start(self) -> None:
        """Find out what this machine can do. `open` calls it too; earlier, it overlaps other work."""
        async with self._starting:
            if self._control is not None or self.isolation == "none":
                return
            problems = []
            for kind in [self._wanted] if self._wanted else ["overlay", "copy"]:
                problem = await self._hatch(kind) if kind != "none" else "they are not wanted"
                if not problem:
                    self.isolation = kind
                    return
                problems.append(f"{kind}: {problem}")
            if self._wanted not in (None, "none"):
                raise SandboxUnavailable(
                    f"local sandboxes with isolation {self._wanted!r} cannot be made here: {problems[0]}"
                )
            self.isolation = "none"
            self.warning = (
                f"NO ISOLATION: no namespaces here ({'; '.join(problems)}). Attempts run as ordinary processes of "
                "yours on a plain copy of the repository, with your files, processes and network in reach. "
                "Use --sandbox docker for anything that matters."
            )

    async def _hatch(self, kind: str) -> str:
        """Start the nursery and open a trial sandbox; what went wrong, or nothing."""
        if not sys.platform.startswith("linux"):
            return f"{sys.platform} has no Linux namespaces"
        if self._nursery is not None:  # one before this one was lost
            await asyncio.to_thread(self._nursery.wait)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            boot = BOOT.format(module="nursery", here=HERE)
            python = os.path.realpath(sys.executable)
            private = os.path.dirname(HERE)  # what is installed beside this package
            arguments = [theirs.fileno(), python, os.path.realpath(sys.base_prefix), kind, GUEST_ID, private]
            self._nursery = subprocess.Popen(
                [python, "-E", "-s", "-S", "-c", boot, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the runner, which then closes sandboxes in order
                env={**ENVIRONMENT, "PATH": os.defpath},
            )
        ours.setblocking(False)
        self._control = ours
        loop = asyncio.get_running_loop()
        try:
            word = await asyncio.wait_for(loop.sock_recv(ours, 65536), START_SECONDS)
            problem = json.loads(word).get("error") if word else "the nursery died"
            if not problem:
                trial = await self._connect(None, Origin(""), Limits(), "trial")
                trial.abandon("the trial is over")
                return ""
        except (TimeoutError, SandboxLost) as error:
            problem = str(error)
        await self.close()
        return str(problem)

    def check(self, origin: Origin) -> None:
        if origin.repository is None:
            raise SandboxUnavailable(
                f"a local sandbox needs a repository on this machine, and these tasks name {origin.image or 'none'}; "
                "use --sandbox docker"
            )

    async def open(self, origin: Origin, limits: Limits, *, label: str = "") -> LocalSandbox:
        self.check(origin)
        await self.start()
        repository = os.path.realpath(str(origin.repository))
        if self.isolation == "none":
            channel, git = await self._copy(repository, origin, limits, label), f"{repository}/.git"
        else:
            channel, git = await self._connect(repository, origin, limits, label), "/run/base.git"
        return LocalSandbox(channel, origin, git, self.isolation)

    async def _connect(self, repository: str | None, origin: Origin, limits: Limits, label: str) -> Channel:
        request = {"repository": repository, "limits": asdict(limits), "env": {**ENVIRONMENT, **origin.env}}
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                await self._send(json.dumps(request).encode(), theirs.fileno())
            except BaseException as error:
                ours.close()
                if isinstance(error, OSError):
                    raise SandboxLost(f"sandbox {label} could not be started: the nursery is gone ({error})") from None
                raise
        return await self._attach(ours, label, limits)

    async def _send(self, request: bytes, fd: int) -> None:
        """Ask the nursery for a guest at the other end of `fd`. Raises `OSError`; the next `start` makes a new one."""
        while self._control is not None:
            try:
                socket.send_fds(self._control, [request], [fd])
                return
            except BlockingIOError:  # very many at once: it has yet to read the last ones
                await asyncio.sleep(0.005)
            except OSError:
                self._control.close()
                self._control = None
                raise
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    async def _copy(self, repository: str, origin: Origin, limits: Limits, label: str) -> Channel:
        ours, theirs = socket.socketpair()
        path = f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', os.defpath)}"
        settings: dict[str, Any] = {
            "repository": repository,
            "env": {**ENVIRONMENT, "PATH": path, **origin.env},
            "memory_mb": limits.memory_mb,
        }
        with theirs:
            boot = BOOT.format(module="plain", here=HERE)
            self._copies = [copy for copy in self._copies if copy.poll() is None]
            self._copies.append(
                subprocess.Popen(
                    [sys.executable, "-E", "-s", "-S", "-c", boot, str(theirs.fileno()), json.dumps(settings)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            )
        return await self._attach(ours, label, limits)

    async def _attach(self, ours: socket.socket, label: str, limits: Limits) -> Channel:
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_connection(lambda: Channel(label, limits), sock=ours)
        self._open.add(channel)
        channel.closed.add_done_callback(lambda _: self._open.discard(channel))
        try:
            await channel.ready(START_SECONDS)
        except asyncio.CancelledError:
            channel.abandon("nobody waited for it")
            raise
        return channel

    def describe(self) -> dict[str, str]:
        return {"sandbox": self.name, "isolation": self.isolation, "kernel": os.uname().release}

    async def close(self) -> None:
        for channel in list(self._open):
            channel.abandon("the run ended")
        if self._control is not None:
            self._control.close()
            self._control = None
        for process in (self._nursery, *self._copies):
            if process is not None:
                await asyncio.to_thread(process.wait)
        self._nursery, self._copies = None, []
