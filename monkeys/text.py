"""Numbers and texts as people read them: pure functions from values to strings.

Guarantees: what `plain` and `abridged` return moves no cursor and changes no colour, whatever a model or a test wrote.
What they cost does not grow with what is left out.
"""

from __future__ import annotations

from math import floor, isnan, log10

from envs.messages import plain

__all__ = [
    "LINE",
    "abridged",
    "amount",
    "brief",
    "count",
    "disk_size",
    "duration",
    "money",
    "percent",
    "plain",
    "several",
    "span",
]

MISSING = "–"
LINE = 4_000  # characters that are shown of a line


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


def disk_size(size: float) -> str:
    """Bytes as `1.2 GB` or `12 MB`; what is there is never shown as nothing."""
    if size >= 0.9995e9:
        return f"{size / 1e9:,.1f} GB"
    return "<1 MB" if 0 < size < 0.5e6 else f"{count(size / 1e6)} MB"


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


def brief(text: str, most: int = LINE) -> str:
    """The text as `plain` gives it, on one line, with its first `most` characters; how many more there are is said."""
    shown = plain(text[:most]).replace("\n", " ")
    return shown if len(text) <= most else f"{shown} {_more(len(text) - most, 'character')}"


def abridged(text: str, head: int, tail: int = 0) -> list[str]:
    """The first and the last lines as `plain` gives them, and the first `LINE` characters of each.

    A line between them says how many are left out.
    """
    text = text.removesuffix("\n")
    if not text:
        return []
    left = text.count("\n") + 1 - head - tail
    if left <= 1:  # the note would take the place of the line
        return [_cut(line) for line in text.split("\n")]
    first = text.split("\n", head)[:head]
    last = text.rsplit("\n", tail)[1:] if tail else []
    return [*map(_cut, first), _more(left, "line"), *map(_cut, last)]


def _cut(line: str) -> str:
    line = line.removesuffix("\r")
    shown = plain(line[:LINE])
    return shown if len(line) <= LINE else f"{shown} {_more(len(line) - LINE, 'character')}"


def _more(number: int, noun: str) -> str:
    return f"… {count(number)} more {noun}{'' if number == 1 else 's'}"
