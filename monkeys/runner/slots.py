"""A number of slots, which are given to those who wait in the order in which they came, the preferred ones first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

__all__ = ["Slots"]

K = TypeVar("K", bound=Hashable)


class Slots(Generic[K]):
    """`number` slots. Each holder is known by a key, and waits under it at most once at a time."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._preferred: dict[K, asyncio.Future[None]] = {}
        self._others: dict[K, asyncio.Future[None]] = {}

    @asynccontextmanager
    async def hold(self, key: K, *, preferred: bool) -> AsyncIterator[None]:
        """Wait for a slot, and hold it during the block."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(key, preferred)
        try:
            yield
        finally:
            self._release()

    def prefer(self, key: K) -> None:
        """Prefer this one from now on, if it waits."""
        if key in self._others:
            self._preferred[key] = self._others.pop(key)

    async def _wait(self, key: K, preferred: bool) -> None:
        given = asyncio.get_running_loop().create_future()
        (self._preferred if preferred else self._others)[key] = given
        try:
            await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                self._release()  # the slot was given in the same moment
            raise
        finally:
            self._preferred.pop(key, None)
            self._others.pop(key, None)

    def _release(self) -> None:
        for waiting in (self._preferred, self._others):
            while waiting:
                given = waiting.pop(next(iter(waiting)))
                if not given.done():
                    given.set_result(None)
                    return
        self._free += 1
