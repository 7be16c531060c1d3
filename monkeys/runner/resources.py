"""The resources of a worker: the back end of its sandboxes behind one pool, within the memory of the machine.

Guarantees: everything is closed at the end, in the reverse order; all sandboxes of one process, of attempts and of
verifications alike, come out of one pool, and all processes of a machine share one memory budget.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from envs import Limits, backend
from envs.events import Sink, ignore
from envs.memory_budget import MemoryBudget, RemoteBackend, this_machine
from envs.pool import WARM_SECONDS, Pool
from envs.start_limiter import StartLimiter
from monkeys.executors import WorkerFacts
from monkeys.runner.task_group import task_group
from monkeys.spec import ImageOptions, SandboxOptions
from tasks import TaskSet
from tasks.suite import Suite

__all__ = ["WARM_AT_MOST", "ResourceSpec", "RunResources", "lifetime", "open_resources"]

MEMORY_MB = {"local": 512}  # of a process
CONTAINER_MB = 2048  # of a whole sandbox, in Docker and in any other back end
WARM_AT_MOST = 4
# A sandbox lives longer than its attempt or verification: it waits in the pool, and patches are applied and taken.
MARGIN_SECONDS = WARM_SECONDS + 900.0
LIMITS = ("memory_mb", "processes", "disk_mb", "cpus", "command_seconds", "network")


@dataclass(frozen=True, slots=True)
class ResourceSpec:
    """Which sandboxes, and how many.

    `sandbox` is None for the one that the tasks need; `limits` are those of `Limits` that are given; `warm` is None for
    as many as suit `workers`. `seconds` is the longest use of one sandbox. `taken_mb` of this machine's memory are
    reserved for something else already.
    """

    sandbox: str | None = None
    limits: dict[str, Any] = field(default_factory=dict)
    workers: int = 2
    starts: int = 8
    warm: int | None = None
    overcommit: bool = False
    images: ImageOptions = field(default_factory=ImageOptions)
    seconds: float = 3600.0
    taken_mb: int = 0

    @staticmethod
    def limits_of(options: SandboxOptions) -> dict[str, Any]:
        """The limits that the options give."""
        return {name: value for name in LIMITS if (value := getattr(options, name)) is not None}


@dataclass(frozen=True, slots=True)
class RunResources:
    """`tasks` have what their sandboxes need on this machine. Without sandboxes `pool` and `limits` are None."""

    tasks: TaskSet
    pool: Pool | None = None
    limits: Limits | None = None
    room: int | None = None  # how many sandboxes the memory has room for

    def facts(self) -> WorkerFacts:
        """What the driver records and tells of them."""
        if self.pool is None:
            return WorkerFacts()
        budget = self.pool.budget
        return WorkerFacts(
            sandbox=self.pool.name,
            limits=self.limits,
            described=self.pool.describe(),
            warning=self.pool.warning,
            room=self.room,
            memory_budget_mb=None if budget.overcommit else budget.total,
        )


def lifetime(seconds: float) -> float:
    """How long a sandbox may live whose longest use takes so long."""
    return seconds + MARGIN_SECONDS


@asynccontextmanager
async def open_resources(
    tasks: TaskSet, suite: Suite, spec: ResourceSpec, events: Sink = ignore
) -> AsyncIterator[RunResources]:
    """Open what attempts at `tasks`, and verifying their submissions, take.

    Raises `TaskError`, `UnknownName` and `SandboxUnavailable`.
    """
    if not suite.needs_sandbox:
        yield RunResources(await asyncio.to_thread(suite.prepare, tasks))
        return
    origins = [task.origin for task in tasks.tasks if task.origin is not None]
    name = spec.sandbox or ("docker" if any(origin.image for origin in origins) else "local")
    async with AsyncExitStack() as stack:
        inner = backend(name, events=events, **(_docker_options(spec) if name == "docker" else {}))
        stack.push_async_callback(inner.close)
        async with task_group() as group:  # each takes a moment and does not need the other
            ready = group.create_task(asyncio.to_thread(suite.prepare, tasks))
            group.create_task(inner.start())
        prepared = ready.result()
        for task in prepared.tasks:
            if task.origin is not None:
                inner.check(task.origin)
        usual = {"memory_mb": MEMORY_MB.get(name, CONTAINER_MB), "lifetime_seconds": lifetime(spec.seconds)}
        limits = Limits(**{**usual, **spec.limits})
        machine = inner.machine if isinstance(inner, RemoteBackend) else this_machine()
        budget = MemoryBudget(machine.usable_mb, key=machine.key, overcommit=spec.overcommit)
        stack.callback(budget.close)
        budget.check(limits.memory_mb)
        free = budget.total - (0 if isinstance(inner, RemoteBackend) else spec.taken_mb)
        pool = Pool(inner, budget=budget, limiter=StartLimiter(spec.starts), warm=_warm(spec, name), events=events)
        stack.push_async_callback(pool.close)
        room = None if spec.overcommit else max(1, free // limits.memory_mb)
        yield RunResources(prepared, pool, limits, room)


def _docker_options(spec: ResourceSpec) -> dict[str, Any]:
    from envs.docker.images import Images

    images = spec.images
    return {"images": partial(Images, mirror=images.mirror, platform=images.platform, quota_gb=images.quota)}


def _warm(spec: ResourceSpec, sandbox: str) -> int:
    if spec.warm is not None:
        return spec.warm
    return min(spec.workers, WARM_AT_MOST) if sandbox == "docker" else 0
