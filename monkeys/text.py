"""Numbers and foreign text, made fit for a screen.

Guarantees: what `plain` returns moves no cursor and changes no colour, whatever a model
or a test wrote; what goes through `Encodable` can be written in the console's encoding,
with our own drawing characters turned into ASCII where it has none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import floor, isnan, log10
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

__all__ = [
    "Encodable",
    "abridged",
    "amount",
    "count",
    "duration",
    "money",
    "percent",
    "plain",
    "put",
    "several",
    "span",
    "speaks_unicode",
]

MISSING = "–"
# One for one, so that what was aligned stays aligned.
ASCII = str.maketrans("–…·×━┄─│┤┬└◦░⠤", "-~.x=.-|+++o.*")
ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?", re.DOTALL)
# Controls (C0 but for tab and line feed, C1), and the marks that reorder text.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def count(number: float) -> str:
    """`12,345`."""
    return f"{number:,.0f}"


def several(number: int, noun: str) -> str:
    """`1 attempt`, `2,000 attempts`."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def amount(number: float) -> str:
    """Three digits are enough to see how much it is: `12.3 M`."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            value = number / size
            return f"{value:.{0 if value >= 99.95 else 1}f} {unit}"
    return f"{number:.0f}"


def money(dollars: float) -> str:
    """`$4.93`; two digits of what is less than a cent or so: `$0.0042`."""
    if 0 < dollars < 0.0995:
        return f"${dollars:.{1 - floor(log10(dollars))}f}" if dollars >= 1e-9 else "<$0.000000001"
    return f"${dollars:,.2f}"


def percent(share: float | None) -> str:
    """`12.3 %`; a share that is small but not nothing is never shown as nothing."""
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
    """A time that is mostly short: `0.6 s`, `12.0 s`, `1:02`."""
    return f"{seconds:.1f} s" if seconds < 59.95 else duration(seconds)


def plain(text: str) -> str:
    """Text from elsewhere without escape sequences and control characters."""
    text = ESCAPES.sub("", text.replace("\r\n", "\n"))
    return CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text.expandtabs(4))


def abridged(text: str, head: int, tail: int = 0) -> list[str]:
    """The first and last lines, and between them how many were left out."""
    lines = text.splitlines()
    left = len(lines) - head - tail
    if left <= 1:  # the note would take the place of the line
        return lines
    return [*lines[:head], f"… {left} more lines", *lines[len(lines) - tail :]]


def speaks_unicode(console: Console) -> bool:
    return console.encoding.startswith("utf")


@dataclass(frozen=True, slots=True)
class Encodable:
    """Draws `inner` with characters that the console can write, and without spaces at the ends of lines."""

    inner: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        ascii_only, encoding = not speaks_unicode(console), console.encoding
        for line in Segment.split_lines(console.render(self.inner, options)):
            # What tables are filled up with would only be in the way of whoever copies or greps.
            while line and not line[-1].text.strip(" "):
                line.pop()
            for number, (text, style, control) in enumerate(line, 1):
                shown = text.translate(ASCII) if ascii_only else text
                shown = shown.rstrip(" ") if number == len(line) else shown
                yield Segment(shown.encode(encoding, "replace").decode(encoding), style, control)
            yield Segment.line()


def put(console: Console, renderables: Iterable[Any]) -> None:
    """Print one below the other. Text is neither markup nor wrapped: a patch or a log can be copied from the screen."""
    from rich.text import Text

    for renderable in renderables:
        if isinstance(renderable, str):
            renderable = Text(renderable)
        console.print(Encodable(renderable), end="", soft_wrap=isinstance(renderable, Text))
