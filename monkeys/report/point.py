"""One point of a coverage curve."""

from __future__ import annotations

from dataclasses import dataclass

from monkeys.report.record import Record

__all__ = ["Point"]


@dataclass(frozen=True, slots=True)
class Point(Record):
    """Coverage at k attempts. `low` and `high` are the ends of its interval, None where there is none."""

    k: int
    coverage: float
    low: float | None
    high: float | None
