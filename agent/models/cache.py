"""The attempts that may use one server's key-value cache, so that those under way keep their prefixes.

An attempt under way has its conversation in the cache also while its tools run. Once all conversations together need
more room than there is, each turn evicts what another one is about to need, nearly everything is computed again, and
the server does a fraction of its work. So an attempt is admitted only while there is room for the length that it will
reach and for the attempts inside. When these outgrow the cache all the same, the one admitted last waits until there is
room for it again. One attempt is always inside.

The opening of an issue is shared by all its attempts and counts once. How far attempts grow beyond it is learnt from
those that ended. Attempts under way are somewhere between, so half of that growth is reserved for each. Until one has
ended, no more growth is expected than that of the longest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from agent.agent import AttemptScope
from agent.models.model import Reply

__all__ = ["Cache"]

USABLE = 0.9  # of the capacity; the rest is for blocks that are not full, and for answers being generated
ON_THE_WAY = 0.5  # of the growth that is expected, on average


class Cache:
    """The cache of one server. `capacity` is in tokens, infinite where it is not known."""

    def __init__(self) -> None:
        self.capacity = math.inf
        self._in: dict[AttemptScope, float] = {}  # tokens beyond the opening; the one admitted last is last
        self._out: dict[AttemptScope, float] = {}  # the same of attempts under way that had to leave
        self._openings: dict[str, float] = {}  # tokens, by issue
        self._ended, self._grown = 0, 0.0  # how many attempts, and their growth in all

    def __contains__(self, scope: AttemptScope) -> bool:
        return scope in self._in

    def fits(self, scope: AttemptScope) -> bool:
        """Whether there is room for this attempt."""
        if self.capacity == math.inf or not self._in or scope in self._in:
            return True
        growth = self._growth
        mine = max(self._out.get(scope, 0.0), growth)
        others = sum(max(held, ON_THE_WAY * growth) for held in self._in.values())
        return self._shared((scope, *self._in)) + mine + others <= USABLE * self.capacity

    def enter(self, scope: AttemptScope) -> None:
        self._in.setdefault(scope, self._out.pop(scope, 0.0))

    def answered(self, scope: AttemptScope, reply: Reply, turn: int) -> None:
        """Note the length of a conversation after this reply."""
        if not turn:
            self._openings[scope.spec.task] = reply.context - reply.usage.completion
        for among in (self._in, self._out):
            if scope in among:
                among[scope] = max(0.0, reply.context - self._opening(scope.spec.task))
        if self.capacity == math.inf:
            return
        while len(self._in) > 1 and self._shared(self._in) + sum(self._in.values()) > USABLE * self.capacity:
            last = next(reversed(self._in))
            self._out[last] = self._in.pop(last)

    def leave(self, scope: AttemptScope) -> None:
        """Forget an attempt that has ended or goes to another server. Idempotent."""
        held = self._in.pop(scope, 0.0) or self._out.pop(scope, 0.0)
        if held:
            self._ended, self._grown = self._ended + 1, self._grown + held

    @property
    def _growth(self) -> float:
        """How many tokens an attempt grows beyond its opening."""
        if self._ended:
            return self._grown / self._ended
        return max(*self._openings.values(), *self._in.values(), 0.0, 0.0)

    def _shared(self, scopes: Iterable[AttemptScope]) -> float:
        return sum(self._opening(issue) for issue in {scope.spec.task for scope in scopes})

    def _opening(self, issue: str) -> float:
        """The tokens of an issue's opening; a new issue is taken to be as long as the longest."""
        known = self._openings.get(issue)
        return max(self._openings.values(), default=0.0) if known is None else known
