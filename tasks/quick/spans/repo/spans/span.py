"""Half-open spans of minutes: the start belongs to a span, the end does not."""

from __future__ import annotations

from dataclasses import dataclass

from spans.errors import BadTime


@dataclass(frozen=True, order=True)
class Span:
    start: int
    end: int

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise BadTime(f"a span must end after it starts: {self.start}-{self.end}")

    @property
    def length(self) -> int:
        return self.end - self.start

    def contains(self, minute: int) -> bool:
        return self.start <= minute < self.end

    def overlaps(self, other: Span) -> bool:
        """Whether the two spans share at least one minute."""
        return self.start <= other.end and other.start < self.end

    def common(self, other: Span) -> Span | None:
        """The minutes that both spans cover, if there are any."""
        start = max(self.start, other.start)
        end = min(self.end, other.end)
        return Span(start, end) if start < end else None
