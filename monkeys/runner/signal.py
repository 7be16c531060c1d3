"""A signal: wakes everybody who waits for something to change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Signal"]


class Signal:
    """Waiters look again at what they wait for each time it fires."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        self._event.set()

    async def next(self) -> None:
        """Wait until it fires the next time."""
        self._event.clear()
        await self._event.wait()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until `true()`, asked now and each time it fires."""
        while not true():
            await self.next()
