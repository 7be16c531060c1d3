"""Where patches are tried outside of a sampled run: the tasks at hand, sandboxes, a grader, the limits.

The same parts as the main job puts together, without a model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from envs import Limits, backend
from envs.budget import Budget, Placed, this_machine
from envs.gate import Gate
from envs.pool import Pool
from monkeys.run import CONTAINER_MB, MARGIN_SECONDS, MEMORY_MB, WARM_AT_MOST
from monkeys.together import together
from tasks import TaskSet
from tasks.grading import Grader, UnittestGrader
from tasks.repositories import with_repositories
from tasks.swebench import SwebenchGrader

__all__ = ["Court", "Venue", "open_court"]

STARTS = 8


@dataclass(frozen=True, slots=True)
class Venue:
    """Which sandboxes (None: what the tasks need), which of their limits are to be other than usual, how many."""

    sandbox: str | None = None
    limits: dict[str, Any] = field(default_factory=dict)
    workers: int = 2


@dataclass(frozen=True, slots=True)
class Court:
    """What trying a patch takes. `tasks` have their repositories on this machine."""

    tasks: TaskSet
    pool: Pool
    grader: Grader
    limits: Limits


@asynccontextmanager
async def open_court(tasks: TaskSet, venue: Venue, *, seconds: float) -> AsyncIterator[Court]:
    """All of it for `tasks`, closed at the end. `seconds` is the longest that one run of tests may take.

    Raises `TaskError` and `SandboxUnavailable`.
    """
    name = venue.sandbox or ("docker" if any(task.origin.image for task in tasks.tasks) else "local")
    async with AsyncExitStack() as stack:
        rooms = backend(name)
        stack.push_async_callback(rooms.close)
        grader: Grader = SwebenchGrader() if "log_parser" in tasks.tasks[0].instance else UnittestGrader()
        stack.push_async_callback(grader.close)
        async with together() as group:
            ready = group.create_task(asyncio.to_thread(with_repositories, tasks))
            group.create_task(rooms.start())
        for task in ready.result().tasks:
            rooms.check(task.origin)
        usual = {"memory_mb": MEMORY_MB.get(name, CONTAINER_MB), "lifetime_seconds": seconds + MARGIN_SECONDS}
        limits = Limits(**{**usual, **venue.limits})
        machine = rooms.machine if isinstance(rooms, Placed) else this_machine()
        budget = Budget(machine.usable_mb, key=machine.key)
        stack.callback(budget.close)
        budget.check(limits.memory_mb)
        # The next sandbox is opened while tests run in this one: then a verification waits for little but its tests.
        pool = Pool(rooms, budget=budget, gate=Gate(STARTS), warm=min(venue.workers, WARM_AT_MOST))
        stack.push_async_callback(pool.close)
        yield Court(ready.result(), pool, grader, limits)
