"""The cache itself. The dict is in order of use, the least recently used entry first."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from stash.clock import ManualClock, SystemClock
from stash.entry import Entry
from stash.stats import Stats


class Cache:
    def __init__(
        self,
        capacity: int,
        ttl: float | None = None,
        clock: SystemClock | ManualClock | None = None,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"the capacity must be positive: {capacity}")
        self.capacity = capacity
        self.ttl = ttl
        self.stats = Stats()
        self._clock = clock or SystemClock()
        self._entries: dict[Hashable, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        return self._find(key) is not None

    def put(self, key: Hashable, value: Any, ttl: float | None = None) -> None:
        """Keep a value, for `ttl` seconds or for as long as the cache does."""
        lifetime = self.ttl if ttl is None else ttl
        expires = None if lifetime is None else self._clock.now() + lifetime
        self._entries.pop(key, None)
        while len(self._entries) >= self.capacity:
            self._evict()
        self._entries[key] = Entry(value, expires)

    def get(self, key: Hashable, default: Any = None) -> Any:
        """The value of a key, which is now the most recently used one."""
        entry = self._find(key, touch=True)
        if entry is None:
            self.stats.misses += 1
            return default
        self.stats.hits += 1
        return entry.value

    def peek(self, key: Hashable, default: Any = None) -> Any:
        """The value of a key, without counting as use."""
        entry = self._find(key)
        return default if entry is None else entry.value

    def purge(self) -> int:
        """Forget what has expired; say how much that was."""
        now = self._clock.now()
        gone = [key for key, entry in self._entries.items() if entry.expired(now)]
        for key in gone:
            del self._entries[key]
        return len(gone)

    def _find(self, key: Hashable, touch: bool = True) -> Entry | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expired(self._clock.now()):
            del self._entries[key]
            return None
        if touch:
            self._entries[key] = self._entries.pop(key)
        return entry

    def _evict(self) -> None:
        """Forget what has expired or, failing that, what was used least recently."""
        if self.purge():
            return
        del self._entries[next(iter(self._entries))]
        self.stats.evictions += 1
