"""The `docker` back end: one hardened container per sandbox, with one attached stream to its guest.

Guarantees: no network unless one is asked for, no capabilities, no new privileges; limits on memory, swap, CPUs,
processes, the size of a file and, where the engine's storage supports it, of all that is written; no log driver;
nothing of the host is mounted, only the base that patches are compared with, read-only. The guest is the first
process: it reaps orphaned processes, and no signal and no system call from inside ends it. Commands that use up the
container's memory may end it with their sandbox: calls then raise `SandboxExhausted`.

The stream is the life line: when the runner ends, also by SIGKILL, the standard input of the guest closes, the guest
exits, and the engine removes the container. A container that a runner killed at another moment leaves behind is
removed by the next run (`envs.docker.orphans`). Works with any engine with a Docker-compatible API, found by
DOCKER_HOST.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from envs.base import ANY_OWNER, BASE_GIT, PreparedImage, prepare_image
from envs.diff import PatchSpec
from envs.docker.containers import Containers, ContainerSpec, StartedContainer
from envs.docker.engine import Engine, EngineRefused
from envs.docker.orphans import orphans, owner_labels, remove
from envs.events import Sink, Status, Warned, ignore
from envs.memory_budget import Machine, this_machine
from envs.sandbox import (
    Command,
    Completed,
    Limits,
    Origin,
    Sandbox,
    SandboxError,
    SandboxExhausted,
    SandboxLost,
    SandboxUnavailable,
)
from envs.writable import WRITE_TRIAL, why_not_written

if TYPE_CHECKING:
    from envs.docker.exec_sandbox import ExecSandbox
    from envs.docker.images import Images

__all__ = ["DockerBackend"]

T = TypeVar("T")

DIFF_SECONDS = 120.0
PREPARE_SECONDS = 3600.0  # after which a container that prepares an image is an orphan


def patch_spec(base: PreparedImage, limits: Limits) -> PatchSpec:
    return PatchSpec(BASE_GIT, base.commit, DIFF_SECONDS, ("/tmp", "/dev/shm"), base.tools, limits.memory_mb)


class DockerSandbox:
    """A sandbox in a container with a guest. Made by `DockerBackend.open`."""

    def __init__(self, backend: DockerBackend, started: StartedContainer) -> None:
        self._backend, self._started = backend, started
        self._channel = started.channel
        self._told = False  # why its container is gone
        self._state: int | None = None  # of the files at the last patch taken in passing

    async def run(self, command: Command) -> Completed:
        return await self._with_cause(self._channel.run(command))

    async def read(self, path: str) -> bytes:
        return await self._with_cause(self._channel.read(path))

    async def write(self, path: str, data: bytes) -> None:
        await self._with_cause(self._channel.write(path, data))

    async def quiet(self) -> None:
        await self._with_cause(self._channel.quiet())

    async def diff(self) -> bytes:
        return await self._with_cause(self._channel.patch(self._patch_spec()))

    async def peek(self) -> bytes | None:
        """See `Peeking`."""
        peeked = self._channel.peek(self._patch_spec(), self._state, overlay=False)
        self._state, patch = await self._with_cause(peeked)
        return patch

    def _patch_spec(self) -> PatchSpec:
        base = self._started.spec.base
        if not base.commit:
            raise SandboxError(f"sandbox {self._channel.name} was opened without a base commit: it has no patch")
        return patch_spec(base, self._started.spec.limits)

    async def _with_cause(self, call: Coroutine[Any, Any, T]) -> T:
        """Make a call. If the container is gone because it used up its memory, raises `SandboxExhausted`."""
        try:
            return await call
        except SandboxExhausted:
            raise
        except SandboxLost:
            known, self._told = self._told, True  # looked up once, and not for a sandbox that was closed
            if not known and await self._backend.ran_out_of_memory(self._started):
                self._channel.exhaust(f"its commands used up its memory of {self._started.spec.limits.memory_mb} MB")
            raise self._channel.loss() from None

    async def snapshot(self) -> DockerSnapshot:
        return await self._backend.commit(self._started)

    async def close(self) -> None:
        self._told = True
        self._channel.abandon("it was closed")


class DockerSnapshot:
    """An image of one container. Made by `DockerSandbox.snapshot`."""

    def __init__(self, backend: DockerBackend, spec: ContainerSpec) -> None:
        self._backend, self._spec = backend, spec

    async def fork(self, *, label: str = "") -> Sandbox:
        return await self._backend.fork(self._spec, label)

    async def close(self) -> None:
        await self._backend.discard(self._spec.base.image)


class DockerBackend:
    """Opens containers on one engine.

    `images` makes the `Images`, given the engine's client and `events`. A `Status` tells which image is pulled or
    prepared, and is empty once that is over; a `Warned` tells, once per image, that it has no Python. `machine` is the
    machine whose memory the containers share, known once started; `swept` counts the orphans of earlier runs removed so
    far.
    """

    name = "docker"

    def __init__(
        self,
        images: Callable[..., Images] | None = None,
        engine: Engine | None = None,
        *,
        events: Sink = ignore,
    ) -> None:
        self._engine = engine or Engine()
        self._events = events
        self._containers = Containers(self._engine)
        self._make_images = images
        self._images: Images | None = None
        self._bases: dict[tuple[str, str, str], PreparedImage] = {}
        self._locks: defaultdict[tuple[str, str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._connecting = asyncio.Lock()
        self._without_python: set[str] = set()
        self._written: set[tuple[str, str, str]] = set()  # images in whose sandboxes commands can write
        self.machine = this_machine()
        self.swept = 0

    @property
    def run(self) -> str:
        """The identifier of this run, the value of the label LABEL.run on all that it makes."""
        return self._containers.run

    async def start(self) -> None:
        """Connect to the engine and remove orphans in the background. Raises `SandboxUnavailable`."""
        await self._connected()

    async def _connected(self) -> Images:
        async with self._connecting:
            if self._images is None:
                from envs.docker.images import Images

                client = await self._engine.connect()
                info = await self._engine.call(client.info)
                self.machine = Machine(info["ID"], info["MemTotal"] >> 20)
                self._images = await self._engine.call(self._make_images or Images, client, events=self._events)
                self._engine.later(self._sweep)
            return self._images

    def _sweep(self) -> None:
        client = self._engine.client
        for orphan in orphans(client, time.time()):
            try:
                remove(client, orphan)
                self.swept += 1
            except Exception:  # in use, or another run is removing it: the next run tries again
                pass

    def check(self, origin: Origin) -> None:
        if origin.image is None:
            raise SandboxUnavailable("a Docker sandbox needs an image, and these tasks name none; use --sandbox local")

    async def open(self, origin: Origin, limits: Limits, *, label: str = "") -> Sandbox:
        self.check(origin)
        images = await self._connected()
        # The repository may belong to another user than the one that commands run as; git would refuse it.
        inside = replace(origin, env={**ANY_OWNER, **origin.env})

        async def work() -> Sandbox:
            return await self._start(ContainerSpec(await self._base(images, origin), inside, limits), label)

        sandbox = await self._engine.patiently(work)
        try:
            await self._check_written(sandbox, origin)
        except BaseException:
            await sandbox.close()
            raise
        return sandbox

    async def _check_written(self, sandbox: Sandbox, origin: Origin) -> None:
        """Check, in the first sandbox of an image, that commands can write it. Raises `SandboxUnavailable`."""
        key = (str(origin.image), origin.commit, origin.workdir)
        async with self._locks[key]:
            if key in self._written or not origin.commit:
                return
            if why := why_not_written(await sandbox.run(WRITE_TRIAL)):
                raise SandboxUnavailable(
                    f"commands in a sandbox of image {origin.image} cannot write {origin.workdir}, so no patch could "
                    f"be made or applied there: {why}. A sandbox has no capabilities, not even for root: build the "
                    f"image with the files owned by the user that it names (chown -R USER {origin.workdir})"
                )
            self._written.add(key)

    async def prepare(self, origin: Origin) -> None:
        """Pull the image and prepare its base, once. `open` does it too, but then it counts as part of a start."""
        images = await self._connected()
        await self._engine.patiently(lambda: self._base(images, origin))

    async def identity(self, origin: Origin) -> str:
        """The image's id, which identifies the content of a sandbox. Raises `SandboxError`."""
        images = await self._connected()
        return await self._engine.patiently(lambda: self._have(images, origin))

    async def _have(self, images: Images, origin: Origin) -> str:
        """The id of the image, pulled if it is missing."""
        assert origin.image is not None
        identity = await self._engine.call(images.have, origin.image)
        self._events(Status(""))
        return identity

    async def _base(self, images: Images, origin: Origin) -> PreparedImage:
        """The image that attempts start from: pulled, and prepared once."""
        assert origin.image is not None
        identity = await self._have(images, origin)
        key = (origin.image, origin.commit, origin.workdir)
        async with self._locks[key]:
            if key not in self._bases:
                labels = owner_labels(self._containers.run, "base", PREPARE_SECONDS)
                client, events = self._engine.client, self._events
                self._bases[key] = await self._engine.call(
                    prepare_image, client, origin.image, origin, labels, identity, events=events
                )
        return self._bases[key]

    async def _start(self, spec: ContainerSpec, label: str) -> Sandbox:
        try:
            started = await self._containers.start(spec, label)
        except EngineRefused as error:
            self._forget(spec.origin)  # somebody may have removed the image
            raise SandboxLost(f"sandbox {label} could not be started: {error}") from None
        return DockerSandbox(self, started) if started.has_guest else await self._without_guest(started)

    async def _without_guest(self, started: StartedContainer) -> ExecSandbox:
        from envs.docker.exec_sandbox import WARNING, ExecSandbox

        spec = started.spec
        image = str(spec.origin.image)
        if image not in self._without_python:
            self._without_python.add(image)
            self._events(Warned(f"image {image} {WARNING}"))
        try:
            return await ExecSandbox.open(
                started.channel,
                self._engine,
                started.name,
                workdir=spec.origin.workdir,
                limits=spec.limits,
                patch=patch_spec(spec.base, spec.limits) if spec.base.commit else None,
                snapshot=lambda: self.commit(started),
                env=spec.origin.env,
            )
        except BaseException:
            started.channel.abandon("it could not be used")
            raise

    def _forget(self, origin: Origin) -> None:
        if self._images is not None and origin.image is not None:
            self._images.forget(origin.image)
            self._bases.pop((origin.image, origin.commit, origin.workdir), None)

    # snapshots

    async def commit(self, started: StartedContainer) -> DockerSnapshot:
        """A snapshot of a container. Raises `SandboxLost`, as `fork` does."""
        try:
            image = await self._containers.commit(started)
        except EngineRefused as error:
            if started.channel.closed.done():
                raise started.channel.loss() from None
            raise SandboxLost(f"no snapshot of sandbox {started.channel.name} could be taken: {error}") from None
        if started.channel.closed.done():  # it ended meanwhile, so the image may be incomplete
            await self.discard(image)
            raise started.channel.loss()
        return DockerSnapshot(self, replace(started.spec, base=replace(started.spec.base, image=image)))

    async def ran_out_of_memory(self, started: StartedContainer) -> bool:
        return await self._containers.ran_out_of_memory(started.name)

    async def fork(self, spec: ContainerSpec, label: str) -> Sandbox:
        return await self._engine.patiently(lambda: self._start(spec, label))

    async def discard(self, image: str) -> None:
        await self._containers.discard(image)

    # description and end

    def describe(self) -> dict[str, str]:
        unfiltered = self._containers.unfiltered
        if self._without_python:
            unfiltered = "an image holds no Python, which would set the filter"
        return {
            "sandbox": self.name,
            "isolation": "container, no capabilities",
            "engine": self._engine.version,
            "system calls": f"not filtered: {unfiltered}" if unfiltered else "filtered",
            "disk": "limited" if self._containers.limits_disk else "each file limited",
        }

    async def close(self) -> None:
        """Remove this run's containers and snapshots; those of other runs are not touched."""
        if self._images is not None:
            self._images.stop()
            self._images = None
            await self._containers.remove_all()
        await self._engine.close()
