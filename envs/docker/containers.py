"""The containers of one run, and the snapshots taken of them: how they are made, and that they go.

Guarantees: all carry the run's marks, and whatever could not be started or used is removed.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envs.base import BASE_GIT, PreparedImage
from envs.channel import Channel
from envs.docker.engine import Engine
from envs.docker.orphans import LABEL, marks
from envs.docker.stream import Demultiplexer
from envs.sandbox import Limits, Origin, SandboxLost

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ContainerPlan", "Containers", "Started"]

START_SECONDS = 120.0
END_SECONDS = 30.0
FLOOR_BYTES = 1 << 30  # of the engine's disk, which commands are not otherwise kept from filling
# Whatever Python 3 the image holds runs the guest, which is handed over as an argument. Without one the life line
# still holds.
NO_PYTHON = "no Python 3 found in this image"
FIND_PYTHON = f"""
for p in python3 /usr/bin/python3 /usr/local/bin/python3 /opt/miniconda3/bin/python3 python; do
    if command -v "$p" >/dev/null 2>&1; then exec "$p" -E -s -S -c "$0" "$1"; fi
done
echo '{NO_PYTHON}' >&2; exec cat >/dev/null
"""


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """What a container is made from."""

    base: PreparedImage
    origin: Origin
    limits: Limits


@dataclass(frozen=True, slots=True)
class Started:
    """A running container and its stream, at whose other end a guest serves; none if it is `bare` of Python."""

    name: str
    plan: ContainerPlan
    channel: Channel
    bare: bool


class Containers:
    """Those of one run on one engine. `limits_disk` is whether all that one writes is limited, not each file only."""

    def __init__(self, engine: Engine) -> None:
        self.run = uuid.uuid4().hex[:12]
        self.limits_disk = True  # until the engine refuses to
        self._engine = engine
        self._guest = guest_source()
        self._numbers = itertools.count(1)
        self._ours = {"label": f"{LABEL}.run={self.run}"}
        self._open: set[Channel] = set()
        self._discarded: set[str] = set()

    async def start(self, plan: ContainerPlan, label: str) -> Started:
        """A running container. Raises `EngineRefused`, `EngineAway` or `SandboxLost`; nothing is left then."""
        name = f"monkeys-{self.run}-{next(self._numbers)}"
        bare = asyncio.Event()
        stream = Demultiplexer(NO_PYTHON.encode(), bare.set)
        channel = Channel(label, plan.limits, stream.unwrap)
        try:
            await self._engine.call(self._create, name, plan, label)
            await self._engine.attach(name, channel)
            await self._engine.call(self._engine.api.start, name)
            await _first_word(channel, bare)
        except BaseException as error:
            channel.abandon("it could not be started")
            self._engine.later(self._remove, name)
            if type(error) is SandboxLost and stream.said:
                said = " ".join(stream.said.decode(errors="replace").split())
                raise SandboxLost(f"{error} (it said: {said})") from None
            raise
        self._open.add(channel)
        channel.closed.add_done_callback(lambda _: self._open.discard(channel))
        return Started(name, plan, channel, bare.is_set())

    def _create(self, name: str, plan: ContainerPlan, label: str) -> None:
        from docker.errors import APIError
        from docker.types import Ulimit

        limits, origin = plan.limits, plan.origin
        largest = limits.disk_mb << 20
        settings = (origin.workdir, dict(origin.env), limits.lifetime_seconds, FLOOR_BYTES)
        host = functools.partial(
            self._engine.api.create_host_config,
            auto_remove=True,
            network_mode=limits.network,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            mem_limit=f"{limits.memory_mb}m",
            memswap_limit=f"{limits.memory_mb}m",
            pids_limit=limits.processes,
            nano_cpus=int(limits.cpus * 1e9),
            ulimits=[Ulimit(name="fsize", soft=largest, hard=largest), Ulimit(name="core", soft=0, hard=0)],
            binds=[f"{plan.base.volume}:{BASE_GIT}:ro"] if plan.base.volume else [],
            log_config={"type": "none"},
        )
        create = functools.partial(
            self._engine.api.create_container,
            plan.base.image,
            ["/bin/sh", "-c", FIND_PYTHON, self._guest, repr(settings)],
            name=name,
            entrypoint=[],
            stdin_open=True,
            stop_signal="SIGKILL",  # what a first process cannot ignore
            labels=marks(self.run, label, START_SECONDS + limits.lifetime_seconds),
        )
        if self.limits_disk:
            try:
                create(host_config=host(storage_opt={"size": f"{limits.disk_mb}m"}))
                return
            except APIError:
                pass  # few engines can; what else may be the matter is told in a moment
        create(host_config=host())
        self.limits_disk = False

    # snapshots

    async def commit(self, started: Started) -> str:
        """The files of a running container, as the name of an image. Raises `EngineRefused` or `EngineAway`."""
        repository, tag = f"{LABEL}-snapshot", f"{self.run}-{next(self._numbers)}"
        labels = marks(self.run, started.channel.name, START_SECONDS + started.plan.limits.lifetime_seconds)
        changes = [f'LABEL {name}="{value}"' for name, value in labels.items()]
        await self._engine.call(self._engine.api.commit, started.name, repository, tag, changes=changes)
        return f"{repository}:{tag}"

    async def discard(self, image: str) -> None:
        """Remove a snapshot, now or, where containers stand on it, with one of the next or all. Never raises."""
        self._discarded.add(image)
        try:
            await self._engine.call(self._discard, list(self._discarded))
        except (SandboxLost, RuntimeError):
            pass  # the engine is away, or the back end is closed and it is gone already

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

    # the end

    async def remove_all(self) -> None:
        """Remove all containers and snapshots that are left. Never raises: what stays is swept by a later run."""
        for channel in list(self._open):
            channel.abandon("the run ended")  # they go by themselves, all at once
        deadline = time.monotonic() + END_SECONDS
        try:
            while left := await self._engine.call(self._engine.api.containers, all=True, filters=self._ours):
                await asyncio.gather(*[self._engine.call(self._remove, each["Id"]) for each in left])
                if time.monotonic() > deadline:
                    break
            images = await self._engine.call(self._engine.api.images, filters=self._ours)
            await self._engine.call(self._discard, [tag for image in images for tag in image["RepoTags"] or ()])
        except SandboxLost:
            pass  # the engine is gone

    def _remove(self, container: str) -> None:
        from docker.errors import APIError

        try:
            self._engine.api.remove_container(container, force=True)
        except APIError:
            pass  # it was going by itself


async def _first_word(channel: Channel, bare: asyncio.Event) -> None:
    """Wait until the guest is ready or the image has turned out to hold no Python. Raises `SandboxLost`."""
    ready = asyncio.ensure_future(channel.ready(START_SECONDS))
    told = asyncio.ensure_future(bare.wait())
    try:
        await asyncio.wait({ready, told}, return_when=asyncio.FIRST_COMPLETED)
        if not bare.is_set():
            await ready
    finally:
        told.cancel()
        ready.cancel()
        await asyncio.gather(ready, told, return_exceptions=True)


def guest_source() -> str:
    """The program that a container's Python is handed."""
    source = (Path(__file__).parents[1] / "guest.py").read_text("utf-8")
    return f"{source}\nimport ast, sys\nmain(*ast.literal_eval(sys.argv[1]))\n"
