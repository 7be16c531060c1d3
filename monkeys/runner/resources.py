"""Where attempts are made and patches are tried: the tasks at hand, sandboxes, a grader, the limits.

Guarantees: all of it is closed at the end, in the reverse order; all sandboxes of this process,
of attempts and verifications alike, come out of one pool and one budget of the machine that
they run on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from envs import Limits, backend
from envs.memory_budget import MemoryBudget, Placed, this_machine
from envs.pool import WARM_SECONDS, Pool
from envs.start_limiter import StartLimiter
from monkeys.runner.task_group import task_group
from tasks import TaskSet
from tasks.quick.repositories import with_repositories
from tasks.swe.grading import Grader, UnittestGrader
from tasks.swe.harness import SwebenchGrader

__all__ = ["WARM_AT_MOST", "Reports", "ResourceSpec", "RunResources", "lifetime", "open_resources"]

MEMORY_MB = {"local": 512}  # of a process
CONTAINER_MB = 2048  # of a whole sandbox, in Docker and whatever else there is
WARM_AT_MOST = 4
# What a sandbox lives on top of an attempt or a verification: its wait in the pool, and patches applied and taken.
MARGIN_SECONDS = WARM_SECONDS + 900.0


@runtime_checkable
class Reports(Protocol):
    """A back end or a model that tells in one line what it is at, such as an image being pulled or an
    outage; nothing once that is over."""

    progress: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ResourceSpec:
    """Which sandboxes, and how many.

    `sandbox` is None for what the tasks need; `limits` are those of `Limits` that are to be other than usual;
    `options` are given to Docker's back end; `warm` is None for as many as suit `workers`; `taken_mb` of the
    machine's memory are for something else, if there is room for both.
    """

    sandbox: str | None = None
    limits: dict[str, Any] = field(default_factory=dict)
    workers: int = 2
    starts: int = 8
    warm: int | None = None
    overcommit: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    taken_mb: int = 0


@dataclass(frozen=True, slots=True)
class RunResources:
    """What an attempt, and trying a patch, takes. `tasks` have their repositories on this machine."""

    tasks: TaskSet
    pool: Pool
    grader: Grader
    limits: Limits
    at_once: int  # of the workers, those that memory has room for: the others would stand before each verification


def lifetime(seconds: float) -> float:
    """How long a sandbox may live whose longest use takes so long."""
    return seconds + MARGIN_SECONDS


@asynccontextmanager
async def open_resources(
    tasks: TaskSet,
    venue: ResourceSpec,
    *,
    seconds: float,
    beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> AsyncIterator[RunResources]:
    """All of it for `tasks`. `seconds` is the longest use of one sandbox; `beside` is awaited meanwhile.

    Raises `TaskError` and `SandboxUnavailable`, and what `beside` does.
    """
    name = venue.sandbox or ("docker" if any(task.origin.image for task in tasks.tasks) else "local")
    async with AsyncExitStack() as stack:
        rooms = backend(name, **(venue.options if name == "docker" else {}))
        stack.push_async_callback(rooms.close)
        grader: Grader = SwebenchGrader() if "log_parser" in tasks.tasks[0].instance else UnittestGrader()
        stack.push_async_callback(grader.close)
        # Each of these takes a moment and needs none of the others.
        async with task_group() as group:
            ready = group.create_task(asyncio.to_thread(with_repositories, tasks))
            group.create_task(rooms.start())
            if beside is not None:
                group.create_task(beside())
        for task in ready.result().tasks:
            rooms.check(task.origin)
        usual = {"memory_mb": MEMORY_MB.get(name, CONTAINER_MB), "lifetime_seconds": lifetime(seconds)}
        limits = Limits(**{**usual, **venue.limits})
        machine = rooms.machine if isinstance(rooms, Placed) else this_machine()
        budget = MemoryBudget(machine.usable_mb, key=machine.key, overcommit=venue.overcommit)
        stack.callback(budget.close)
        budget.check(limits.memory_mb)
        free = budget.total
        if venue.taken_mb and not isinstance(rooms, Placed) and budget.try_reserve(venue.taken_mb):
            stack.callback(budget.release, venue.taken_mb)
            free -= venue.taken_mb
        pool = Pool(rooms, budget=budget, gate=StartLimiter(venue.starts), warm=_warm(venue, name))
        stack.push_async_callback(pool.close)
        room = venue.workers if venue.overcommit else max(1, free // limits.memory_mb)
        yield RunResources(ready.result(), pool, grader, limits, min(venue.workers, room))


def _warm(venue: ResourceSpec, sandbox: str) -> int:
    if venue.warm is not None:
        return venue.warm
    return min(venue.workers, WARM_AT_MOST) if sandbox == "docker" else 0
