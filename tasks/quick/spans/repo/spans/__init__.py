"""Bookings on a single day, kept free of conflicts."""

from spans.calendar import Booking, Calendar
from spans.errors import BadTime, Conflict
from spans.span import Span

__all__ = ["BadTime", "Booking", "Calendar", "Conflict", "Span"]
