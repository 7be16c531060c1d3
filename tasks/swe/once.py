"""Work that is done once for each task, by the first who asks for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from tasks.swe.task import SweTask

__all__ = ["OncePerTask"]

T = TypeVar("T")


class OncePerTask(Generic[T]):
    """Keeps the result of `make` for each task. After a failure the next who asks has it made again.

    Work belongs to all who ask for it at the moment: it is cancelled when the last of them goes away.
    """

    def __init__(self, make: Callable[[SweTask], Coroutine[Any, Any, T]]) -> None:
        self._make = make
        self._made: dict[str, asyncio.Task[T]] = {}
        self._asking = Counter[str]()

    def __contains__(self, task: SweTask) -> bool:
        """Whether it is made, or being made."""
        return task.id in self._made

    async def get(self, task: SweTask) -> T:
        """The result for this task. Raises what `make` raises."""
        async with self._asked(task) as made:
            return await asyncio.shield(made)

    @asynccontextmanager
    async def _asked(self, task: SweTask) -> AsyncIterator[asyncio.Task[T]]:
        if task.id not in self._made:
            self._made[task.id] = asyncio.create_task(self._make(task))
        made = self._made[task.id]
        self._asking[task.id] += 1
        try:
            yield made
        finally:
            self._asking[task.id] -= 1
            ends = not self._asking[task.id] and not made.done()
            failed = made.done() and (made.cancelled() or made.exception() is not None)
            if (ends or failed) and self._made.get(task.id) is made:
                del self._made[task.id]
            if ends:
                made.cancel()
                await asyncio.gather(made, return_exceptions=True)
