"""How many requests one server has in flight: found, not guessed.

Additive increase, multiplicative decrease. The limit grows only where it is what holds
requests back: by one for each window (as many answers as the limit says) while it is below
the point where the server last had too much, and beyond that by twice as many each window,
for then the server has changed. A server that refuses at once tells how many it holds, so
the limit falls to a little below that; one that lets requests time out is given half. A
burst of refusals is one event: only a request let in after the last cut can cut again.

Who waits is let in by turn, the latest first: a trajectory under way holds its prefix in
the server's cache, and one that has not begun holds nothing.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from enum import Enum

__all__ = ["Admission", "Fate"]

START = 8.0
MOST = 4096.0
REFUSED = 0.9  # of what the server held; a refusal costs next to nothing, so it pays to stay close
STALLED = 0.5


class Fate(Enum):
    """How a request ended, as far as the server's load goes."""

    ANSWERED = "answered"
    REFUSED = "refused for too much load"
    STALLED = "timed out"
    OTHER = "says nothing about load"


class Admission:
    """The door to one server. Every `enter` that returned wants one `leave` with what it returned."""

    def __init__(self, start: float = START, most: float = MOST) -> None:
        self.limit = min(start, most)
        self.in_flight = 0
        self.saturated = False  # told to grow no further for now
        self._most = most
        self._waiting: list[tuple[int, int, asyncio.Future[int]]] = []
        self._numbers = itertools.count(1)
        self._cut = 0  # the last number given out before the limit was cut
        self._entered = 0
        self._ceiling = 0.0  # where the server last had too much
        self._step = self.limit  # by how much the limit grows in a window
        self._answers = 0  # in this window

    @property
    def waiting(self) -> int:
        return sum(not place.done() for _, _, place in self._waiting)

    @property
    def full(self) -> bool:
        return self.in_flight >= max(1, int(self.limit)) or bool(self._waiting)

    def enter_at_once(self) -> int:
        """A place; only where it is not `full`."""
        self.in_flight += 1
        self._entered = next(self._numbers)
        return self._entered

    async def enter(self, turn: int) -> int:
        """A place, once there is one. `turn` counts the replies that the trajectory has had."""
        if not self.full:
            return self.enter_at_once()
        place: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (-turn, next(self._numbers), place))
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # let in and called off in the same moment
                self.leave(place.result(), Fate.OTHER)
            raise

    def leave(self, place: int, fate: Fate) -> None:
        """Give the place back, and say how it went."""
        held_back = self.in_flight >= int(self.limit)
        self.in_flight -= 1
        if fate is Fate.ANSWERED and held_back:
            self._grow()
        elif place > self._cut and fate in (Fate.REFUSED, Fate.STALLED):
            self._shrink(fate)
        self.look()

    def look(self) -> None:
        """Let in whoever may."""
        while self._waiting and self.in_flight < max(1, int(self.limit)):
            _, _, waiting = heapq.heappop(self._waiting)
            if not waiting.done():
                waiting.set_result(self.enter_at_once())

    def idle(self) -> bool:
        """The server says that it could do more. The limit doubles if it is what holds requests back, until the server
        first has too much; returns whether it did."""
        if not self.waiting or self._ceiling or self.limit >= self._most:
            return False
        self.limit = self._step = min(self._most, self.limit * 2)
        self._answers = 0
        self.look()
        return True

    def crowded(self) -> None:
        """The server says that it holds too many."""
        self._shrink(Fate.REFUSED)

    def _grow(self) -> None:
        if self.saturated:
            return
        self.limit = min(self._most, self.limit + self._step / self.limit)
        self._answers += 1
        if self._answers >= self.limit:
            self._answers = 0
            if self.limit > self._ceiling:
                self._step = min(self._step * 2, self.limit)

    def _shrink(self, fate: Fate) -> None:
        held = max(1.0, min(self.limit, self.in_flight)) if fate is Fate.REFUSED else self.limit
        self._ceiling = held
        self.limit = max(1.0, held * (REFUSED if fate is Fate.REFUSED else STALLED))
        self._step, self._answers, self._cut = 1.0, 0, self._entered
