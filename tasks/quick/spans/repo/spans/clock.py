"""Times of day as minutes since midnight."""

from spans.errors import BadTime

DAY = 24 * 60


def minutes(text: str) -> int:
    """Read `HH:MM`; `24:00` is the end of the day."""
    hour, colon, minute = text.partition(":")
    if not colon or not hour.isdigit() or not minute.isdigit():
        raise BadTime(f"not a time of day: {text!r}")
    total = int(hour) * 60 + int(minute)
    if int(minute) > 59 or total > DAY:
        raise BadTime(f"no such time of day: {text!r}")
    return total


def clock(total: int) -> str:
    """Write minutes since midnight as `HH:MM`."""
    return f"{total // 60:02d}:{total % 60:02d}"
