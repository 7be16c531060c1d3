"""The `docker` back end: one hardened container per sandbox, one attached stream to its guest.

Guarantees: no network, no capabilities, no new privileges, limits on memory, swap, CPUs
and processes, no log driver, nothing of the host mounted. The guest is the first process:
it reaps orphans, and nothing inside can kill it.
The stream is the container's life line: its standard input closes when the runner is
gone, by SIGKILL too, the guest exits, and the engine removes the container. Any engine
with a Docker-compatible API, found by DOCKER_HOST; images are pulled once if they are not
here.
"""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from envs.channel import Channel
from envs.diff import diff_command
from envs.sandbox import Command, Completed, Limits, Origin, SandboxLost, SandboxUnavailable

if TYPE_CHECKING:
    import docker

__all__ = ["DockerBackend"]

T = TypeVar("T")

LABEL = "coding-monkeys"  # containers of ours carry LABEL.run, .owner and .for
START_SECONDS = 120.0
DIFF_SECONDS = 120.0
# The engine is slow when many containers start at once; running ones are not limited here.
STARTS_AT_ONCE = 4
# Whatever Python 3 the image holds runs the guest, which is handed over as an argument.
NO_PYTHON = "no Python 3 found in this image"
FIND_PYTHON = f"""
for p in python3 /usr/bin/python3 /usr/local/bin/python3 /opt/miniconda3/bin/python3 python; do
    if command -v "$p" >/dev/null 2>&1; then exec "$p" -E -s -S -c "$0" "$1"; fi
done
echo '{NO_PYTHON}' >&2; exit 127
"""


class DockerSandbox:
    """A container. Made by `DockerBackend.open`."""

    def __init__(self, channel: Channel, origin: Origin, base: str) -> None:
        self._channel, self._origin, self._base = channel, origin, base
        self.read = channel.read
        self.write = channel.write

    async def run(self, command: Command) -> Completed:
        return await self._channel.run(command)

    async def diff(self) -> bytes:
        return await self._channel.patch(diff_command(f"{self._origin.workdir}/.git", self._base, DIFF_SECONDS))

    async def close(self) -> None:
        self._channel.abandon("it was closed")


class DockerBackend:
    """Opens containers on one engine. Every container carries this object's own run label."""

    name = "docker"

    def __init__(self) -> None:
        self._client: docker.DockerClient | None = None
        self._version = ""
        self._threads = ThreadPoolExecutor(STARTS_AT_ONCE * 2, thread_name_prefix="docker")
        self._starting = asyncio.Semaphore(STARTS_AT_ONCE)
        self._pulling: dict[str, asyncio.Lock] = {}
        self._images: set[str] = set()
        self._run = uuid.uuid4().hex[:12]
        self._guest = _guest_source()

    async def start(self) -> None:
        """Find the engine. Raises `SandboxUnavailable`."""
        if self._client is None:
            await self._thread(self._connect)

    def _connect(self) -> None:
        import docker
        from docker.errors import DockerException

        try:
            self._client = docker.from_env(timeout=120)
            self._version = self._client.version()["Version"]
        except DockerException as error:
            where = os.environ.get("DOCKER_HOST", "the default socket")
            raise SandboxUnavailable(
                f"no Docker engine answers at {where} ({_brief(error)}); start it, or set DOCKER_HOST, "
                "or use --sandbox local where the tasks allow it"
            ) from None

    async def _thread(self, call: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)

    def check(self, origin: Origin) -> None:
        if origin.image is None:
            raise SandboxUnavailable("a Docker sandbox needs an image, and these tasks name none; use --sandbox local")

    async def open(self, origin: Origin, limits: Limits, *, label: str = "") -> DockerSandbox:
        self.check(origin)
        await self.start()
        assert origin.image is not None
        await self._have(origin.image)
        async with self._starting:
            raw = await self._thread(self._launch, origin, limits, label)
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        stream = _Demultiplexer()
        _, channel = await loop.create_connection(lambda: Channel(label, limits, stream.unwrap), sock=raw)
        try:
            await channel.ready(START_SECONDS)
        except SandboxLost as error:
            if NO_PYTHON.encode() in stream.said:
                raise SandboxUnavailable(
                    f"image {origin.image} holds no Python 3, which the sandbox needs; install one in it"
                ) from None
            said = " ".join(stream.said.decode(errors="replace").split())
            raise SandboxLost(f"{error} (it said: {said})" if said else str(error)) from None
        except asyncio.CancelledError:
            channel.abandon("nobody waited for it")
            raise
        # The base is what the image has checked out: SWE-bench's own images commit on top of base_commit.
        head = await channel.run(Command("git rev-parse HEAD 2>&1", cwd=origin.workdir))
        if head.returncode:
            channel.abandon("no repository")
            said = " ".join(head.output.decode(errors="replace").split())
            raise SandboxUnavailable(f"image {origin.image} has no git repository at {origin.workdir}: {said}")
        return DockerSandbox(channel, origin, head.output.decode().strip())

    async def _have(self, image: str) -> None:
        """The image is on this machine, pulled once if need be. Raises `SandboxUnavailable`."""
        async with self._pulling.setdefault(image, asyncio.Lock()):
            if image not in self._images:
                await self._thread(self._pull, image)
                self._images.add(image)

    def _pull(self, image: str) -> None:
        from docker.errors import DockerException, ImageNotFound

        assert self._client is not None
        try:
            self._client.images.get(image)
        except ImageNotFound:
            try:
                self._client.images.pull(image)
            except DockerException as error:
                raise SandboxUnavailable(
                    f"image {image} is not on this machine and cannot be pulled ({_brief(error)}); "
                    "build or load it under this name, or leave its task out with --ids"
                ) from None

    def _launch(self, origin: Origin, limits: Limits, label: str) -> socket.socket:
        from docker.errors import DockerException
        from requests import RequestException  # the SDK lets its transport's own errors through

        assert self._client is not None
        api = self._client.api
        owner = f"{socket.gethostname()}:{os.getpid()}"
        container = None
        try:
            container = api.create_container(
                origin.image,
                ["/bin/sh", "-c", FIND_PYTHON, self._guest, repr((origin.workdir, dict(origin.env)))],
                entrypoint=[],
                stdin_open=True,
                stop_signal="SIGKILL",  # what a first process cannot ignore
                labels={f"{LABEL}.run": self._run, f"{LABEL}.owner": owner, f"{LABEL}.for": label},
                host_config=api.create_host_config(
                    auto_remove=True,
                    network_mode="none",
                    cap_drop=["ALL"],
                    security_opt=["no-new-privileges"],
                    mem_limit=f"{limits.memory_mb}m",
                    memswap_limit=f"{limits.memory_mb}m",
                    pids_limit=limits.processes,
                    nano_cpus=int(limits.cpus * 1e9),
                    log_config={"type": "none"},
                ),
            )["Id"]
            attached = api.attach_socket(container, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            api.start(container)
        except (DockerException, RequestException) as error:
            if container is not None:
                self._remove(container)
            raise SandboxLost(f"sandbox {label} could not be started: {_brief(error)}") from None
        # The SDK's response would close the socket with itself; a duplicate is ours alone.
        raw = socket.socket(fileno=os.dup(attached.fileno()))
        attached._response.close()
        return raw

    def describe(self) -> dict[str, str]:
        return {"sandbox": self.name, "isolation": "container, no network, no capabilities", "engine": self._version}

    async def close(self) -> None:
        """Remove what is left of this run's containers; those of others are not touched."""
        if self._client is not None:
            await self._thread(self._remove_all)
            self._client.close()
            self._client = None
        self._threads.shutdown()

    def _remove_all(self) -> None:
        from docker.errors import DockerException
        from requests import RequestException

        assert self._client is not None
        try:
            left = self._client.api.containers(all=True, filters={"label": f"{LABEL}.run={self._run}"})
        except (DockerException, RequestException):
            return  # the engine is gone; the life line takes care once it is back
        for container in left:
            self._remove(container["Id"])

    def _remove(self, container: str) -> None:
        from docker.errors import DockerException
        from requests import RequestException

        assert self._client is not None
        try:
            self._client.api.remove_container(container, force=True)
        except (DockerException, RequestException):
            pass  # it was going by itself, or the engine is gone


def _guest_source() -> str:
    source = (Path(__file__).parent / "guest.py").read_text("utf-8")
    return f"{source}\nimport ast, sys\nmain(*ast.literal_eval(sys.argv[1]))\n"


class _Demultiplexer:
    """Takes Docker's frames (stream type, three zeros, length, payload) apart; `said` is the end of stderr."""

    def __init__(self) -> None:
        self.said = b""
        self._buffer = bytearray()

    def unwrap(self, data: bytes) -> bytes:
        """The payload of stdout in the frames that are now complete."""
        buffer = self._buffer
        buffer += data
        payload = bytearray()
        while len(buffer) >= 8:
            end = 8 + int.from_bytes(buffer[4:8], "big")
            if len(buffer) < end:
                break
            if buffer[0] == 1:
                payload += buffer[8:end]
            else:
                self.said = (self.said + buffer[8:end])[-1000:]
            del buffer[:end]
        return bytes(payload)


def _brief(error: BaseException) -> str:
    """One line of what the engine said."""
    text = str(getattr(error, "explanation", None) or error)
    return " ".join(text.split())[:300]
