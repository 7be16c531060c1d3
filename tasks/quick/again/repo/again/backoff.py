"""How long to wait."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    first: float
    factor: float = 1.0
    limit: float = float("inf")

    def delay(self, attempt: int) -> float:
        """Seconds to wait after the failed attempt of that number, counted from 1."""
        if attempt < 1:
            raise ValueError(f"attempts are counted from 1: {attempt}")
        return min(self.first * self.factor ** (attempt - 1), self.limit)
