"""Numbers and texts as people read them: pure functions from values to strings.

Guarantees: what `plain` returns moves no cursor and changes no colour, whatever a model or a test wrote.
"""

from __future__ import annotations

import re
from math import floor, isnan, log10

__all__ = ["abridged", "amount", "count", "duration", "money", "percent", "plain", "several", "span"]

MISSING = "–"
ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?", re.DOTALL)
# Controls (C0 but for tab and line feed, C1), and the marks that reorder text.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def count(number: float) -> str:
    """`12,345`."""
    return f"{number:,.0f}"


def several(number: int, noun: str, ending: str = "s") -> str:
    """`1 attempt`, `2,000 attempts`; `ending` makes the plural."""
    return f"{count(number)} {noun}{'' if number == 1 else ending}"


def amount(number: float) -> str:
    """Three digits and a unit: `12.3 M`."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            value = number / size
            return f"{value:.{0 if value >= 99.95 else 1}f} {unit}"
    return f"{number:.0f}"


def money(dollars: float) -> str:
    """`$4.93`; below about ten cents the first two digits: `$0.0042`."""
    if 0 < dollars < 0.0995:
        return f"${dollars:.{1 - floor(log10(dollars))}f}" if dollars >= 1e-9 else "<$0.000000001"
    return f"${dollars:,.2f}"


def percent(share: float | None) -> str:
    """`12.3 %`; a share above zero is never shown as zero."""
    if share is None or isnan(share):
        return MISSING
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def duration(seconds: float | None) -> str:
    """`0:42`, `1:02:03`, `3 d 04:05`."""
    if seconds is None or isnan(seconds):
        return MISSING
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour:02}:{minute:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def span(seconds: float) -> str:
    """A short time: `0.6 s`, `12.0 s`, `1:02`."""
    return f"{seconds:.1f} s" if seconds < 59.95 else duration(seconds)


def plain(text: str) -> str:
    """Text that we did not write, without escape sequences and control characters."""
    text = ESCAPES.sub("", text.replace("\r\n", "\n"))
    return CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text.expandtabs(4))


def abridged(text: str, head: int, tail: int = 0) -> list[str]:
    """The first and the last lines; a line between them says how many are left out."""
    lines = text.splitlines()
    left = len(lines) - head - tail
    if left <= 1:  # the note would take the place of the line
        return lines
    return [*lines[:head], f"… {left} more lines", *lines[len(lines) - tail :]]
