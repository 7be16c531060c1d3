"""The bookings of one room on one day."""

from __future__ import annotations

from dataclasses import dataclass

from spans.clock import clock, minutes
from spans.errors import Conflict
from spans.span import Span


@dataclass(frozen=True)
class Booking:
    title: str
    span: Span

    def __str__(self) -> str:
        return f"{clock(self.span.start)}-{clock(self.span.end)} {self.title}"


class Calendar:
    def __init__(self) -> None:
        self._bookings: list[Booking] = []

    def book(self, title: str, start: str, end: str) -> Booking:
        """Add a booking, or raise `Conflict` when the room is taken."""
        wanted = Booking(title, Span(minutes(start), minutes(end)))
        for booking in self._bookings:
            if booking.span.overlaps(wanted.span):
                raise Conflict(title, booking.title)
        self._bookings.append(wanted)
        self._bookings.sort(key=lambda booking: booking.span)
        return wanted

    def cancel(self, title: str) -> int:
        """Remove every booking of that title; say how many there were."""
        kept = [booking for booking in self._bookings if booking.title != title]
        removed = len(self._bookings) - len(kept)
        self._bookings = kept
        return removed

    def at(self, time: str) -> Booking | None:
        """What is on at that minute."""
        minute = minutes(time)
        for booking in self._bookings:
            if booking.span.contains(minute):
                return booking
        return None

    def agenda(self) -> list[str]:
        return [str(booking) for booking in self._bookings]

    def free(self, start: str, end: str) -> list[tuple[str, str]]:
        """The gaps between bookings, from `start` up to `end`."""
        day = Span(minutes(start), minutes(end))
        gaps = []
        cursor = day.start
        for booking in self._bookings:
            busy = booking.span.common(day)
            if busy is None:
                continue
            if cursor < busy.start:
                gaps.append((clock(cursor), clock(busy.start)))
            cursor = busy.end
        if cursor < day.end:
            gaps.append((clock(cursor), clock(day.end)))
        return gaps
