"""The `local` back end: a copy-on-write view of a repository on this machine, in milliseconds.

On Linux with namespaces each attempt gets its own overlay, processes, network (loopback
only) and limits; see `envs.nursery` for how. Elsewhere (`isolation == "none"`) it is a
plain copy of the repository and an ordinary child process: good for trying things out,
no protection, and it says so. Nothing is left behind when the runner is killed: in
namespaces the kernel sees to it, and a plain copy is removed by its own guest.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from envs.channel import Channel
from envs.diff import diff_command, patch_of
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

    def __init__(self, channel: Channel, origin: Origin, git: str, *, overlay: bool) -> None:
        self._channel, self._origin, self._git, self._overlay = channel, origin, git, overlay
        self.read = channel.read
        self.write = channel.write

    async def run(self, command: Command) -> Completed:
        return await self._channel.run(command)

    async def diff(self) -> bytes:
        if self._overlay and not (await self._channel.call({"op": "changed"}))[0]["changed"]:
            return b""  # nothing was copied up, so nothing differs: spares two git processes
        return patch_of(await self.run(diff_command(self._git, self._origin.commit, START_SECONDS)))

    async def close(self) -> None:
        self._channel.abandon("it was closed")


class LocalBackend:
    """Opens local sandboxes. `isolation` is "overlay", "copy" (namespaces without overlayfs) or "none"."""

    name = "local"

    def __init__(self, isolation: str | None = None) -> None:
        self._wanted = isolation
        self._started = asyncio.Lock()
        self._nursery: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._open: set[Channel] = set()
        self.isolation = isolation or ""
        self.warning = ""

    async def start(self) -> None:
        """Find out what this machine can do. `open` calls it too; earlier, it overlaps other work."""
        async with self._started:
            if self._control or self.isolation == "none":
                return
            problems = []
            for kind in [self._wanted] if self._wanted else ["overlay", "copy"]:
                problem = await self._hatch(kind)
                if not problem:
                    self.isolation = kind
                    return
                problems.append(f"{kind}: {problem}")
            if self._wanted:
                raise SandboxUnavailable(
                    f"local sandboxes with isolation {self._wanted!r} cannot be made here: {problems[0]}"
                )
            self.isolation = "none"
            self.warning = (
                "NO ISOLATION: this machine cannot make namespaces "
                f"({'; '.join(problems)}). Attempts run as ordinary processes of yours on a plain copy of the "
                "repository, with your files and network in reach. Use --sandbox docker for anything that matters."
            )

    async def _hatch(self, kind: str) -> str:
        """Start the nursery and open a trial sandbox; what went wrong, or nothing."""
        if not sys.platform.startswith("linux"):
            return f"{sys.platform} has no Linux namespaces"
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            boot = BOOT.format(module="nursery", here=HERE)
            python = os.path.realpath(sys.executable)
            arguments = [str(theirs.fileno()), python, os.path.realpath(sys.base_prefix), kind, str(GUEST_ID)]
            self._nursery = subprocess.Popen(
                [python, "-E", "-s", "-S", "-c", boot, *arguments],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the runner, which then closes sandboxes in order
                env={**ENVIRONMENT, "PATH": os.defpath},
            )
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            word = json.loads(
                await asyncio.wait_for(loop.sock_recv(ours, 65536), START_SECONDS) or b'{"error": "it died"}'
            )
            if "error" not in word:
                self._control = ours
                with tempfile.TemporaryDirectory(prefix="sandbox-trial-") as trial:
                    os.mkdir(f"{trial}/.git")
                    os.chmod(trial, 0o755)
                    channel = await self._connect(Origin("", Path(trial)), Limits(), "trial", kind)
                    channel.abandon("trial over")
                    return ""
        except (TimeoutError, SandboxLost) as error:
            word = {"error": str(error)}
        self._control = None
        ours.close()
        await asyncio.to_thread(self._nursery.wait)
        return str(word["error"])

    async def open(self, origin: Origin, limits: Limits, *, label: str = "") -> LocalSandbox:
        if origin.repository is None:
            raise SandboxUnavailable(
                f"{label} names no repository on this machine, so a local sandbox cannot hold it; use --sandbox docker"
            )
        await self.start()
        if self.isolation == "none":
            channel, git = await self._copy(origin, limits, label), str(origin.repository / ".git")
        else:
            channel, git = await self._connect(origin, limits, label, self.isolation), "/run/base.git"
        return LocalSandbox(channel, origin, git, overlay=self.isolation == "overlay")

    async def _connect(self, origin: Origin, limits: Limits, label: str, kind: str) -> Channel:
        assert self._control is not None
        ours, theirs = socket.socketpair()
        request = {
            "repository": os.path.realpath(str(origin.repository)),
            "limits": asdict(limits),
            "env": {**ENVIRONMENT, **origin.env},
        }
        with theirs:
            try:
                socket.send_fds(self._control, [json.dumps(request).encode()], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise SandboxLost(f"sandbox {label} could not be started: the nursery is gone ({error})") from None
        return await self._attach(ours, label, limits)

    async def _copy(self, origin: Origin, limits: Limits, label: str) -> Channel:
        room = tempfile.mkdtemp(prefix="sandbox-")
        workdir = f"{room}/testbed"
        await asyncio.to_thread(shutil.copytree, str(origin.repository), workdir, symlinks=True)
        ours, theirs = socket.socketpair()
        settings: dict[str, Any] = {
            "room": room,
            "workdir": workdir,
            "env": {**ENVIRONMENT, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', os.defpath)}"},
            "limits": asdict(limits),
        }
        with theirs:
            boot = BOOT.format(module="plain", here=HERE)
            subprocess.Popen(
                [sys.executable, "-E", "-s", "-S", "-c", boot, str(theirs.fileno()), json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        return await self._attach(ours, label, limits)

    async def _attach(self, ours: socket.socket, label: str, limits: Limits) -> Channel:
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_connection(lambda: Channel(label, limits), sock=ours)
        self._open.add(channel)
        channel.closed.add_done_callback(lambda _: self._open.discard(channel))
        await channel.ready(START_SECONDS)
        return channel

    def describe(self) -> dict[str, str]:
        return {"sandbox": self.name, "isolation": self.isolation, "kernel": os.uname().release}

    async def close(self) -> None:
        for channel in list(self._open):
            channel.abandon("the run ended")
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._nursery is not None:
            await asyncio.to_thread(self._nursery.wait)
            self._nursery = None
