"""How well a cache does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Stats:
    hits: int = 0
    misses: int = 0
    evictions: int = 0

    @property
    def rate(self) -> float:
        """The share of hits; 0 before the first use."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0
