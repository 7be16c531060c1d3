"""Who may hold something in one server's key-value cache, so that those under way keep theirs.

A trajectory under way has its conversation there also while its tools run. Once they all
hold more than there is room for, each turn pushes out what another is about to need, nearly
everything is computed anew, and the server does a fraction of its work. So a trajectory is
let in only while there is room for what it will come to and for those that are in; and when
these outgrow the cache all the same, the one that came in last has to wait until there is
room for it again. One is always in.

What an issue opens with is shared by all of its attempts and counts once. How far attempts
grow beyond it is learnt from those that ended. Those under way are somewhere on their way
there, so that half of it is kept for each; until one has ended, no more is expected than
the longest of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from agent.models.model import Call, Reply

__all__ = ["Cache"]

USABLE = 0.9  # of the capacity; the rest is for blocks that are not full, and for what is in the making
ON_THE_WAY = 0.5  # of how far it will grow, on the average


class Cache:
    """That of one server. `capacity` is in tokens, infinite where it is not known."""

    def __init__(self) -> None:
        self.capacity = math.inf
        self._in: dict[Call, float] = {}  # tokens beyond the opening; who came in last is last
        self._out: dict[Call, float] = {}  # the same of those under way that had to make room
        self._openings: dict[str, float] = {}  # tokens, by issue
        self._ended, self._grown = 0, 0.0  # how many have, and how far in all

    def __contains__(self, call: Call) -> bool:
        return call in self._in

    def fits(self, call: Call) -> bool:
        """Whether this attempt may come in."""
        if self.capacity == math.inf or not self._in or call in self._in:
            return True
        growth = self._growth
        mine = max(self._out.get(call, 0.0), growth)
        others = sum(max(held, ON_THE_WAY * growth) for held in self._in.values())
        return self._shared((call, *self._in)) + mine + others <= USABLE * self.capacity

    def enter(self, call: Call) -> None:
        self._in.setdefault(call, self._out.pop(call, 0.0))

    def answered(self, call: Call, reply: Reply, turn: int) -> None:
        """Its conversation is as long now as the reply says."""
        if not turn:
            self._openings[call.task] = reply.context - reply.usage.completion
        for among in (self._in, self._out):
            if call in among:
                among[call] = max(0.0, reply.context - self._opening(call.task))
        if self.capacity == math.inf:
            return
        while len(self._in) > 1 and self._shared(self._in) + sum(self._in.values()) > USABLE * self.capacity:
            last = next(reversed(self._in))
            self._out[last] = self._in.pop(last)

    def leave(self, call: Call) -> None:
        """It has ended, or goes elsewhere. Idempotent."""
        held = self._in.pop(call, 0.0) or self._out.pop(call, 0.0)
        if held:
            self._ended, self._grown = self._ended + 1, self._grown + held

    @property
    def _growth(self) -> float:
        """How far an attempt grows beyond its opening."""
        if self._ended:
            return self._grown / self._ended
        return max(*self._openings.values(), *self._in.values(), 0.0, 0.0)

    def _shared(self, calls: Iterable[Call]) -> float:
        return sum(self._opening(issue) for issue in {call.task for call in calls})

    def _opening(self, issue: str) -> float:
        """An issue that is new is taken to be like the longest."""
        known = self._openings.get(issue)
        return max(self._openings.values(), default=0.0) if known is None else known
