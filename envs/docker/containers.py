"""The containers of one run and their snapshots: creation, start and removal.

Guarantees: each carries the labels of the run, by which `envs.docker.orphans` finds it; a container that could not be
started is removed.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import re
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from envs.base import BASE_GIT, PreparedImage
from envs.channel import Channel
from envs.docker.engine import Engine
from envs.docker.orphans import LABEL, owner_labels
from envs.docker.stream import Demultiplexer
from envs.guest_source import guest_source
from envs.offline import offline_environment
from envs.sandbox import Limits, Origin, SandboxLost

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["START_GUEST", "ContainerSpec", "Containers", "StartedContainer"]

HOST_NAME = "sandbox"
START_SECONDS = 120.0
END_SECONDS = 30.0
OOM_AGE = 30.0  # seconds before the end of a container
FLOOR_BYTES = 1 << 30  # stay free on the engine's disk, which nothing else keeps commands from filling
# The memory of a container is counted as a whole, so that the filter need not deny what a process hides from its own.
START_GUEST = """
import ast, sys
main(*ast.literal_eval(sys.argv[1]), restrict=lambda: restrict_calls(os.getpid(), counted=True))
"""
# Any Python 3 of the image runs the guest, whose source is an argument. Without Python, `cat` ends with the stream, so
# that the container still ends with its runner.
NO_PYTHON = "no Python 3 found in this image"
FIND_PYTHON = f"""
for p in python3 /usr/bin/python3 /usr/local/bin/python3 /opt/miniconda3/bin/python3 python; do
    if command -v "$p" >/dev/null 2>&1; then exec "$p" -I -S -c "$0" "$1"; fi
done
echo '{NO_PYTHON}' >&2; exec cat >/dev/null
"""


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What a container is created from."""

    base: PreparedImage
    origin: Origin
    limits: Limits


@dataclass(frozen=True, slots=True)
class StartedContainer:
    """A running container and the channel to its guest. Without `has_guest` the image has no Python to run one."""

    name: str
    spec: ContainerSpec
    channel: Channel
    has_guest: bool


class Containers:
    """The containers of one run on one engine.

    `limits_disk` tells whether the engine limits all that a container writes, or only the size of each file.
    `unfiltered` is why a guest could not filter system calls, empty if each could.
    """

    def __init__(self, engine: Engine) -> None:
        self.run = uuid.uuid4().hex[:12]
        self.limits_disk = True  # until the engine refuses it
        self.unfiltered = ""
        self._engine = engine
        self._guest = guest_source(START_GUEST)
        self._numbers = itertools.count(1)
        self._of_this_run = {"label": f"{LABEL}.run={self.run}"}
        self._open: set[Channel] = set()
        self._discarded: set[str] = set()

    async def start(self, spec: ContainerSpec, label: str) -> StartedContainer:
        """Create and start a container. Raises `EngineRefused`, `EngineAway` or `SandboxLost`, and then removes it."""
        name = f"monkeys-{self.run}-{next(self._numbers)}"
        no_python = asyncio.Event()
        stream = Demultiplexer(NO_PYTHON.encode(), no_python.set)
        channel = Channel(label, spec.limits, stream.unwrap)
        try:
            await self._engine.call(self._create, name, spec, label)
            await self._engine.attach(name, channel)
            await self._engine.call(self._engine.api.start, name)
            await _ready(channel, no_python)
        except BaseException as error:
            channel.abandon("it could not be started")
            self._engine.later(self._remove, name)
            if type(error) is SandboxLost and stream.stderr:
                stderr = " ".join(stream.stderr.decode(errors="replace").split())
                raise SandboxLost(f"{error} (its standard error: {stderr})") from None
            raise
        self.unfiltered = self.unfiltered or channel.unfiltered
        self._open.add(channel)
        channel.closed.add_done_callback(lambda _: self._open.discard(channel))
        return StartedContainer(name, spec, channel, not no_python.is_set())

    def _create(self, name: str, spec: ContainerSpec, label: str) -> None:
        from docker.errors import APIError
        from docker.types import Ulimit

        limits, origin = spec.limits, spec.origin
        largest = limits.disk_mb << 20
        defaults = dict(offline_environment(limits.network))
        settings = (origin.workdir, dict(origin.env), limits.lifetime_seconds, FLOOR_BYTES, defaults)
        # Without a network the engine does not list the container's own name.
        own = {HOST_NAME: "127.0.1.1"} if limits.network == "none" else None
        host = functools.partial(
            self._engine.api.create_host_config,
            auto_remove=True,
            extra_hosts=own,
            network_mode=limits.network,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            mem_limit=f"{limits.memory_mb}m",
            memswap_limit=f"{limits.memory_mb}m",
            pids_limit=limits.processes,
            nano_cpus=int(limits.cpus * 1e9),
            ulimits=[Ulimit(name="fsize", soft=largest, hard=largest), Ulimit(name="core", soft=0, hard=0)],
            binds=[f"{spec.base.volume}:{BASE_GIT}:ro"] if spec.base.volume else [],
            log_config={"type": "none"},
        )
        create = functools.partial(
            self._engine.api.create_container,
            spec.base.image,
            ["/bin/sh", "-c", FIND_PYTHON, self._guest, repr(settings)],
            name=name,
            hostname=HOST_NAME if own else None,
            entrypoint=[],
            stdin_open=True,
            stop_signal="SIGKILL",  # the first process can ignore any other signal
            labels=owner_labels(self.run, label, START_SECONDS + limits.lifetime_seconds),
        )
        if self.limits_disk:
            try:
                create(host_config=host(storage_opt={"size": f"{limits.disk_mb}m"}))
                return
            except APIError:
                pass  # few engines can limit it; any other cause is raised by the call below
        create(host_config=host())
        self.limits_disk = False

    async def ran_out_of_memory(self, name: str) -> bool:
        """Whether the kernel ended a process of a container a moment ago because the container's memory was used up."""
        try:
            return bool(await self._engine.call(self._oom_events, name))
        except SandboxLost:
            return False  # the engine itself is away

    def _oom_events(self, name: str) -> list[object]:
        api = self._engine.api
        now = datetime.fromisoformat(re.sub(r"\.\d+", "", api.info()["SystemTime"])).timestamp()
        filters = {"container": name, "event": "oom"}
        # Until the next second, for the engine tells of it a moment after the end.
        return list(api.events(since=int(now - OOM_AGE), until=int(now) + 1, filters=filters, decode=True))

    # snapshots

    async def commit(self, started: StartedContainer) -> str:
        """Make an image of a container's files and return its name. Raises `EngineRefused` or `EngineAway`."""
        repository, tag = f"{LABEL}-snapshot", f"{self.run}-{next(self._numbers)}"
        labels = owner_labels(self.run, started.channel.name, START_SECONDS + started.spec.limits.lifetime_seconds)
        changes = [f'LABEL {name}="{value}"' for name, value in labels.items()]
        await self._engine.call(self._engine.api.commit, started.name, repository, tag, changes=changes)
        return f"{repository}:{tag}"

    async def discard(self, image: str) -> None:
        """Remove a snapshot, later if containers still use it: with another snapshot or at the end. Never raises."""
        self._discarded.add(image)
        try:
            await self._engine.call(self._discard, list(self._discarded))
        except (SandboxLost, RuntimeError):
            pass  # the engine is down, or the back end is closed and has removed it

    def _discard(self, images: Iterable[str]) -> None:
        from docker.errors import APIError, ImageNotFound

        for image in images:
            try:
                self._engine.api.remove_image(image)
            except ImageNotFound:
                pass
            except APIError:
                continue
            self._discarded.discard(image)

    # removal

    async def remove_all(self) -> None:
        """Remove all containers and snapshots of the run. Never raises: a later run removes what is left."""
        for channel in list(self._open):
            channel.abandon("the run ended")  # all containers then end by themselves at the same time
        deadline = time.monotonic() + END_SECONDS
        try:
            while left := await self._engine.call(self._engine.api.containers, all=True, filters=self._of_this_run):
                await asyncio.gather(*[self._engine.call(self._remove, each["Id"]) for each in left])
                if time.monotonic() > deadline:
                    break
            images = await self._engine.call(self._engine.api.images, filters=self._of_this_run)
            await self._engine.call(self._discard, [tag for image in images for tag in image["RepoTags"] or ()])
        except SandboxLost:
            pass  # the engine is down

    def _remove(self, container: str) -> None:
        from docker.errors import APIError

        try:
            self._engine.api.remove_container(container, force=True)
        except APIError:
            pass  # it was ending by itself


async def _ready(channel: Channel, no_python: asyncio.Event) -> None:
    """Wait until the guest is ready or the image is known to have no Python. Raises `SandboxLost`."""
    ready = asyncio.ensure_future(channel.ready(START_SECONDS))
    missing = asyncio.ensure_future(no_python.wait())
    try:
        await asyncio.wait({ready, missing}, return_when=asyncio.FIRST_COMPLETED)
        if not no_python.is_set():
            await ready
    finally:
        missing.cancel()
        ready.cancel()
        await asyncio.gather(ready, missing, return_exceptions=True)
