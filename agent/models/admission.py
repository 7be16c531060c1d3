"""How many requests one server has in flight: found, not guessed.

Additive increase, multiplicative decrease. The limit grows only where it is what holds
requests back. In each window (as many answers as the limit says) it doubles until the
server first has too much; from then on it grows by one while it is below that point, and
beyond by twice as many each window, for then the server has changed. A server that refuses
at once tells how many it holds, so the limit falls to a little below that; one that lets
requests time out is given half. A burst of refusals is one event: only a request let in
after the last cut can cut again.

Who waits is let in by turn, the latest first: a trajectory under way holds its prefix in
the server's cache, and one that has not begun holds nothing. Who has nothing there any more
or not yet comes after those that have, and only if it fits (`agent.models.cache`) or else
the server would have little to do: a server that idles while tools run loses more than one
that computes a prefix anew.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from enum import Enum

from agent.models.cache import Cache
from agent.models.model import Call

__all__ = ["Admission", "Handling"]

START = 8.0
MOST = 4096.0
REFUSED = 0.9  # of what the server held; a refusal costs next to nothing, so it pays to stay close
STALLED = 0.5
BUSY = 8  # in flight on the average: with fewer, what is in the cache does not count
AVERAGE_SECONDS = 20.0


class Handling(Enum):
    """How a request ended, as far as the server's load goes."""

    ANSWERED = "answered"
    REFUSED = "refused for too much load"
    STALLED = "timed out"
    OTHER = "says nothing about load"


# The turn, negated; a number that grows; who asks; and the place once there is one.
_Waiting = tuple[int, int, Call | None, asyncio.Future[int]]


class Admission:
    """The door to one server. Every `enter` that returned wants one `leave` with what it returned."""

    def __init__(self, start: float = START, most: float = MOST) -> None:
        self.limit = min(start, most)
        self.in_flight = 0
        self.saturated = False  # told to grow no further for now
        self.cache = Cache()
        self._most = most
        self._known: list[_Waiting] = []  # heaps
        self._strangers: list[_Waiting] = []  # with nothing in the cache
        self._wide: dict[int, int] = {}  # places that count for more than one
        self._usual = _Average()  # in flight
        self._numbers = itertools.count(1)
        self._cut = 0  # the last number given out before the limit was cut
        self._entered = 0
        self._ceiling = 0.0  # where the server last had too much
        self._step = 1.0  # by how much the limit grows in a window
        self._answers = 0  # in this window

    @property
    def waiting(self) -> int:
        return sum(not place.done() for _, _, _, place in (*self._known, *self._strangers))

    def enter_at_once(self, call: Call | None = None) -> int | None:
        """A place, if there is one and nobody waits for it."""
        if not self._room or _first(self._known) or (self._is_strange(call) and _first(self._strangers)):
            return None
        return self._let_in(call) if self._may(call) else None

    async def enter(self, turn: int, call: Call | None = None) -> int:
        """A place, once there is one. `turn` counts the replies that the trajectory has had."""
        if (place := self.enter_at_once(call)) is not None:
            return place
        waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        queue = self._strangers if self._is_strange(call) else self._known
        heapq.heappush(queue, (-turn, next(self._numbers), call, waiting))
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():  # let in and called off in the same moment
                self.leave(waiting.result(), Handling.OTHER)
                if call is not None:
                    self.cache.leave(call)
            self.look()  # those behind it may fit
            raise

    def widen(self, place: int, size: int) -> None:
        """Who has this place does the work of so many."""
        self._wide[place] = size
        self._count(size - 1)

    def leave(self, place: int, fate: Handling) -> None:
        """Give the place back, and say how it went."""
        held_back, size = self.in_flight >= int(self.limit), self._wide.pop(place, 1)
        self._count(-size)
        if fate is Handling.ANSWERED and held_back:
            for _ in range(size):
                self._grow()
        elif place > self._cut and fate in (Handling.REFUSED, Handling.STALLED):
            self._shrink(fate)
        self.look()

    def over(self, call: Call) -> None:
        """This attempt asks nothing more here."""
        self.cache.leave(call)
        self.look()

    def look(self) -> None:
        """Let in whoever may."""
        while self._room:
            queue = self._known
            first = _first(self._known)
            if first is None:
                queue, first = self._strangers, _first(self._strangers)
                if first is None or not self._may(first[2]):
                    return
            heapq.heappop(queue)
            first[3].set_result(self._let_in(first[2]))

    def idle(self) -> bool:
        """The server says that it could do more. The limit doubles if it is what holds requests back, until the server
        first has too much; returns whether it did."""
        if self._room or not self.waiting or self._ceiling or self.limit >= self._most:
            return False
        self.limit = self._step = min(self._most, self.limit * 2)
        self._answers = 0
        self.look()
        return True

    def crowded(self) -> None:
        """The server says that it holds too many."""
        self._shrink(Handling.REFUSED)

    @property
    def _room(self) -> bool:
        return self.in_flight < max(1, int(self.limit))

    def _is_strange(self, call: Call | None) -> bool:
        return call is not None and call not in self.cache

    def _may(self, call: Call | None) -> bool:
        if call is None or self.cache.fits(call):
            return True
        return self.in_flight < BUSY and self._usual.now(self.in_flight) < BUSY

    def _count(self, more: int) -> None:
        self._usual.now(self.in_flight)
        self.in_flight += more

    def _let_in(self, call: Call | None) -> int:
        if call is not None:
            self.cache.enter(call)
        self._count(1)
        self._entered = next(self._numbers)
        return self._entered

    def _grow(self) -> None:
        if self.saturated:
            return
        if not self._ceiling:  # nothing has been too much yet: doubled in a window
            self.limit = min(self._most, self.limit + 1)
            return
        self.limit = min(self._most, self.limit + self._step / self.limit)
        self._answers += 1
        if self._answers >= self.limit:
            self._answers = 0
            if self.limit > self._ceiling:
                self._step = min(self._step * 2, self.limit)

    def _shrink(self, fate: Handling) -> None:
        held = max(1.0, min(self.limit, self.in_flight)) if fate is Handling.REFUSED else self.limit
        self._ceiling = held
        self.limit = max(1.0, held * (REFUSED if fate is Handling.REFUSED else STALLED))
        self._step, self._answers, self._cut = 1.0, 0, self._entered


class _Average:
    """Of a number, over the last while, the more recent counting more."""

    def __init__(self) -> None:
        self._value = self._since = 0.0

    def now(self, number: float) -> float:
        """It has been this one since it was last told."""
        time = asyncio.get_running_loop().time()
        old = math.exp((self._since - time) / AVERAGE_SECONDS)
        self._value, self._since = old * self._value + (1 - old) * number, time
        return self._value


def _first(queue: list[_Waiting]) -> _Waiting | None:
    """Who waits there longest and was not called off."""
    while queue and queue[0][3].done():
        heapq.heappop(queue)
    return queue[0] if queue else None
