"""The interval of one share: of so many independent trials with the same chance, some succeeded."""

from __future__ import annotations

__all__ = ["wilson"]


def wilson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, `trials` at least 1. It holds `level` on average over chances."""
    from scipy.stats import binomtest  # type: ignore[import-untyped]  # slow to import

    found = binomtest(successes, trials).proportion_ci(level, "wilson")
    return float(found.low), float(found.high)
