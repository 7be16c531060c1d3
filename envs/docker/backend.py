"""The `docker` back end: one hardened container per sandbox, one attached stream to its guest.

Guarantees: no network unless one is asked for, no capabilities, no new privileges, limits
on memory, swap, CPUs, processes, the size of a file and, where the engine's storage can,
of all that is written; no log driver; nothing of the host mounted, only the base that the
runner compares with, read-only. The guest is the first process: it reaps orphans, and
nothing inside can kill it.
The stream is the container's life line: its standard input closes when the runner is
gone, by SIGKILL too, the guest exits, and the engine removes the container. What a runner
killed in between leaves is an orphan (`envs.docker.orphans`), which the next run sweeps. Any
engine with a Docker-compatible API, found by DOCKER_HOST.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from envs.base import BASE_GIT, PreparedImage, prepare_image
from envs.diff import diff_command
from envs.docker.containers import ContainerPlan, Containers, Started
from envs.docker.engine import Engine, EngineRefused
from envs.docker.orphans import marks, orphans, remove
from envs.memory_budget import Machine, this_machine
from envs.sandbox import Command, Completed, Limits, Origin, Sandbox, SandboxError, SandboxLost, SandboxUnavailable

if TYPE_CHECKING:
    from envs.docker.exec_sandbox import ExecSandbox
    from envs.docker.images import Images

__all__ = ["DockerBackend"]

DIFF_SECONDS = 120.0
PREPARE_SECONDS = 3600.0  # after which a container that prepares an image is an orphan
NO_BASE = Command("echo it was opened without a base commit; exit 1")


def patch_command(base: PreparedImage) -> Command:
    return diff_command(BASE_GIT, base.commit, DIFF_SECONDS)


class DockerSandbox:
    """A container. Made by `DockerBackend.open`."""

    def __init__(self, backend: DockerBackend, started: Started) -> None:
        self._backend, self._started = backend, started
        self._channel = started.channel
        self.read = self._channel.read
        self.write = self._channel.write

    async def run(self, command: Command) -> Completed:
        return await self._channel.run(command)

    async def diff(self) -> bytes:
        base = self._started.plan.base
        if not base.commit:
            raise SandboxError(f"sandbox {self._channel.name} was opened without a base commit: it has no patch")
        return await self._channel.patch(patch_command(base))

    async def snapshot(self) -> DockerSnapshot:
        return await self._backend.commit(self._started)

    async def close(self) -> None:
        self._channel.abandon("it was closed")


class DockerSnapshot:
    """An image of one container. Made by `DockerSandbox.snapshot`."""

    def __init__(self, backend: DockerBackend, plan: ContainerPlan) -> None:
        self._backend, self._plan = backend, plan

    async def fork(self, *, label: str = "") -> Sandbox:
        return await self._backend.fork(self._plan, label)

    async def close(self) -> None:
        await self._backend.discard(self._plan.base.image)


class DockerBackend:
    """Opens containers on one engine.

    `images` makes what brings their images, given the engine's client and `progress`.
    `machine` is whose memory they share, known once started; `progress` hears in one line
    what is being pulled, and nothing once that is over; `swept` is how many orphans of
    earlier runs were removed so far; `warning` is what people should know, if anything.
    """

    name = "docker"

    def __init__(self, images: Callable[..., Images] | None = None, engine: Engine | None = None) -> None:
        self._engine = engine or Engine()
        self._containers = Containers(self._engine)
        self._make_images = images
        self._images: Images | None = None
        self._bases: dict[tuple[str, str, str], PreparedImage] = {}
        self._locks: defaultdict[tuple[str, str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._connecting = asyncio.Lock()
        self.progress: Callable[[str], None] = lambda line: None
        self.machine = this_machine()
        self.warning = ""
        self.swept = 0

    @property
    def run(self) -> str:
        """What the label LABEL.run of all that it makes says."""
        return self._containers.run

    async def start(self) -> None:
        """Find the engine; orphans are swept meanwhile. Raises `SandboxUnavailable`."""
        await self._found()

    async def _found(self) -> Images:
        async with self._connecting:
            if self._images is None:
                from envs.docker.images import Images

                client = await self._engine.connect()
                info = await self._engine.call(client.info)
                self.machine = Machine(info["ID"], info["MemTotal"] >> 20)
                self._images = await self._engine.call(self._make_images or Images, client, progress=self._tell)
                self._engine.later(self._sweep)
            return self._images

    def _tell(self, line: str) -> None:
        self.progress(line)  # whoever listens now

    def _sweep(self) -> None:
        client = self._engine.client
        for orphan in orphans(client, time.time()):
            try:
                remove(client, orphan)
                self.swept += 1
            except Exception:  # in use, or somebody else is at it: the next run sees to it
                pass

    def check(self, origin: Origin) -> None:
        if origin.image is None:
            raise SandboxUnavailable("a Docker sandbox needs an image, and these tasks name none; use --sandbox local")

    async def open(self, origin: Origin, limits: Limits, *, label: str = "") -> Sandbox:
        self.check(origin)
        images = await self._found()

        async def work() -> Sandbox:
            return await self._room(ContainerPlan(await self._base(images, origin), origin, limits), label)

        return await self._engine.patiently(work)

    async def prepare(self, origin: Origin) -> None:
        """Pull the image and see to its base, once; `open` does it too, but then it is part of a start."""
        images = await self._found()
        await self._engine.patiently(lambda: self._base(images, origin))

    async def identity(self, origin: Origin) -> str:
        """What a sandbox holds, by content: the image's id. Raises `SandboxError`."""
        assert origin.image is not None
        images = await self._found()
        return await self._engine.patiently(lambda: self._engine.call(images.have, origin.image))

    async def _base(self, images: Images, origin: Origin) -> PreparedImage:
        """The image that attempts start from: pulled, and seen to once."""
        assert origin.image is not None
        identity = await self._engine.call(images.have, origin.image)
        key = (origin.image, origin.commit, origin.workdir)
        async with self._locks[key]:
            self.progress("")
            if key not in self._bases:
                labels = marks(self._containers.run, "base", PREPARE_SECONDS)
                self._bases[key] = await self._engine.call(
                    prepare_image, self._engine.client, origin.image, origin, labels, identity
                )
        return self._bases[key]

    async def _room(self, plan: ContainerPlan, label: str) -> Sandbox:
        try:
            started = await self._containers.start(plan, label)
        except EngineRefused as error:
            self._forget(plan.origin)  # somebody may have removed the image
            raise SandboxLost(f"sandbox {label} could not be started: {error}") from None
        return DockerSandbox(self, started) if not started.bare else await self._bare(started)

    async def _bare(self, started: Started) -> ExecSandbox:
        from envs.docker.exec_sandbox import WARNING, ExecSandbox

        plan = started.plan
        self.warning = f"Image {plan.origin.image}: {WARNING}"
        try:
            return await ExecSandbox.open(
                started.channel,
                self._engine,
                started.name,
                workdir=plan.origin.workdir,
                limits=plan.limits,
                patch=patch_command(plan.base) if plan.base.commit else NO_BASE,
                snapshot=lambda: self.commit(started),
                env=plan.origin.env,
            )
        except BaseException:
            started.channel.abandon("it could not be used")
            raise

    def _forget(self, origin: Origin) -> None:
        if self._images is not None and origin.image is not None:
            self._images.forget(origin.image)
            self._bases.pop((origin.image, origin.commit, origin.workdir), None)

    # for snapshots

    async def commit(self, started: Started) -> DockerSnapshot:
        """Raises `SandboxLost`, as `fork` does."""
        try:
            image = await self._containers.commit(started)
        except EngineRefused as error:
            if started.channel.closed.done():
                raise started.channel.loss() from None
            raise SandboxLost(f"no snapshot of sandbox {started.channel.name} could be taken: {error}") from None
        if started.channel.closed.done():  # meanwhile: who knows what is in it
            await self.discard(image)
            raise started.channel.loss()
        return DockerSnapshot(self, replace(started.plan, base=replace(started.plan.base, image=image)))

    async def fork(self, plan: ContainerPlan, label: str) -> Sandbox:
        return await self._engine.patiently(lambda: self._room(plan, label))

    async def discard(self, image: str) -> None:
        await self._containers.discard(image)

    # the end

    def describe(self) -> dict[str, str]:
        return {
            "sandbox": self.name,
            "isolation": "container, no capabilities",
            "engine": self._engine.version,
            "disk": "limited" if self._containers.limits_disk else "each file limited",
        }

    async def close(self) -> None:
        """Remove what is left of this run's containers and snapshots; those of others are not touched."""
        if self._images is not None:
            self._images.stop()
            self._images = None
            await self._containers.remove_all()
        await self._engine.close()
