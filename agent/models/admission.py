"""Admission control for one server: how many requests it has in flight, and which one is next.

The limit is found by additive increase and multiplicative decrease. It grows only where it is what holds requests back.
In each window (as many answers as the limit says) it doubles until the server is first overloaded. From then on it
grows by one while it is below that point, and by twice as much each window beyond it, because the server has changed
then. A server that refuses at once tells how many requests it holds, so the limit falls to a little below that; after a
time-out it falls to half. A burst of refusals is one event: only a request admitted after the last decrease can cause
another.

Waiting requests are admitted by turn, the latest first: a trajectory under way has its prefix in the server's cache,
and one that has not begun has nothing there. Attempts with nothing in the cache come after those that have something,
and only if they fit (`agent.models.cache`) or the server would have little to do: a server that idles while tools run
loses more than one that computes a prefix again.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from enum import Enum

from agent.agent import AttemptScope
from agent.models.cache import Cache

__all__ = ["Admission", "Handling"]

START = 8.0
MOST = 4096.0
REFUSED = 0.9  # of what the server held; a refusal costs next to nothing, so it pays to stay close
STALLED = 0.5
BUSY = 8  # in flight on the average: with fewer, the cache does not limit admission
AVERAGE_SECONDS = 20.0


class Handling(Enum):
    """How the server handled a request, as far as its load goes."""

    ANSWERED = "answered"
    REFUSED = "refused for too much load"
    STALLED = "timed out"
    OTHER = "says nothing about load"


# The turn, negated; a number that grows; the attempt that asks; and its place once there is one.
_Waiting = tuple[int, int, AttemptScope | None, asyncio.Future[int]]


class Admission:
    """Admission to one server. Every `enter` that returned needs one `leave` with the place that it returned."""

    def __init__(self, start: float = START, most: float = MOST) -> None:
        self.limit = min(start, most)
        self.in_flight = 0
        self.saturated = False  # may not grow for now
        self.cache = Cache()
        self._most = most
        self._known: list[_Waiting] = []  # heaps: attempts with something in the cache
        self._unknown: list[_Waiting] = []  # and those with nothing there
        self._wide: dict[int, int] = {}  # places that count for more than one request
        self._usual = _Average()  # requests in flight
        self._numbers = itertools.count(1)
        self._cut = 0  # the last place given out before the limit fell
        self._entered = 0
        self._ceiling = 0.0  # where the server was last overloaded
        self._step = 1.0  # by how much the limit grows in a window
        self._answers = 0  # in this window

    @property
    def waiting(self) -> int:
        return sum(not place.done() for _, _, _, place in (*self._known, *self._unknown))

    def enter_at_once(self, scope: AttemptScope | None = None) -> int | None:
        """A place, if one is free and nobody waits for it; else None."""
        if not self._room or _first(self._known) or (self._is_unknown(scope) and _first(self._unknown)):
            return None
        return self._let_in(scope) if self._may(scope) else None

    async def enter(self, turn: int, scope: AttemptScope | None = None) -> int:
        """A place, once one is free. `turn` counts the replies that the attempt has had."""
        if (place := self.enter_at_once(scope)) is not None:
            return place
        waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        queue = self._unknown if self._is_unknown(scope) else self._known
        heapq.heappush(queue, (-turn, next(self._numbers), scope, waiting))
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():  # admitted and cancelled in the same moment
                self.leave(waiting.result(), Handling.OTHER)
                if scope is not None:
                    self.cache.leave(scope)
            self.look()  # those behind it may fit
            raise

    def widen(self, place: int, size: int) -> None:
        """Count this place as `size` requests."""
        self._wide[place] = size
        self._count(size - 1)

    def leave(self, place: int, handling: Handling) -> None:
        """Give the place back, and say how the request was handled."""
        held_back, size = self.in_flight >= int(self.limit), self._wide.pop(place, 1)
        self._count(-size)
        if handling is Handling.ANSWERED and held_back:
            for _ in range(size):
                self._grow()
        elif place > self._cut and handling in (Handling.REFUSED, Handling.STALLED):
            self._shrink(handling)
        self.look()

    def over(self, scope: AttemptScope) -> None:
        """This attempt asks nothing more here."""
        self.cache.leave(scope)
        self.look()

    def look(self) -> None:
        """Admit the waiting requests that may enter now."""
        while self._room:
            queue = self._known
            first = _first(self._known)
            if first is None:
                queue, first = self._unknown, _first(self._unknown)
                if first is None or not self._may(first[2]):
                    return
            heapq.heappop(queue)
            first[3].set_result(self._let_in(first[2]))

    def idle(self) -> bool:
        """The server reports that it could do more: double the limit, if it is what holds requests back and the server
        has not been overloaded yet. Returns whether it was doubled."""
        if self._room or not self.waiting or self._ceiling or self.limit >= self._most:
            return False
        self.limit = self._step = min(self._most, self.limit * 2)
        self._answers = 0
        self.look()
        return True

    def crowded(self) -> None:
        """The server reports that it holds too many requests."""
        self._shrink(Handling.REFUSED)

    @property
    def _room(self) -> bool:
        return self.in_flight < max(1, int(self.limit))

    def _is_unknown(self, scope: AttemptScope | None) -> bool:
        return scope is not None and scope not in self.cache

    def _may(self, scope: AttemptScope | None) -> bool:
        if scope is None or self.cache.fits(scope):
            return True
        return self.in_flight < BUSY and self._usual.now(self.in_flight) < BUSY

    def _count(self, more: int) -> None:
        self._usual.now(self.in_flight)
        self.in_flight += more

    def _let_in(self, scope: AttemptScope | None) -> int:
        if scope is not None:
            self.cache.enter(scope)
        self._count(1)
        self._entered = next(self._numbers)
        return self._entered

    def _grow(self) -> None:
        if self.saturated:
            return
        if not self._ceiling:  # never overloaded yet: doubled in a window
            self.limit = min(self._most, self.limit + 1)
            return
        self.limit = min(self._most, self.limit + self._step / self.limit)
        self._answers += 1
        if self._answers >= self.limit:
            self._answers = 0
            if self.limit > self._ceiling:
                self._step = min(self._step * 2, self.limit)

    def _shrink(self, handling: Handling) -> None:
        held = max(1.0, min(self.limit, self.in_flight)) if handling is Handling.REFUSED else self.limit
        self._ceiling = held
        self.limit = max(1.0, held * (REFUSED if handling is Handling.REFUSED else STALLED))
        self._step, self._answers, self._cut = 1.0, 0, self._entered


class _Average:
    """The average of a number over the last `AVERAGE_SECONDS`, recent values counting more."""

    def __init__(self) -> None:
        self._value = self._since = 0.0

    def now(self, number: float) -> float:
        """The average, if the number has had this value since the last call."""
        time = asyncio.get_running_loop().time()
        old = math.exp((self._since - time) / AVERAGE_SECONDS)
        self._value, self._since = old * self._value + (1 - old) * number, time
        return self._value


def _first(queue: list[_Waiting]) -> _Waiting | None:
    """The first one waiting there that was not cancelled."""
    while queue and queue[0][3].done():
        heapq.heappop(queue)
    return queue[0] if queue else None
