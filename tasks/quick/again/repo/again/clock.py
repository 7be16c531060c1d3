"""Clocks: the real one, and one for tests."""

from __future__ import annotations

import time


class SystemClock:
    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class ManualClock:
    """A clock on which sleeping takes no time; it remembers the naps."""

    def __init__(self) -> None:
        self.naps: list[float] = []
        self._now = 0.0

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self._now += seconds
