"""What all renderers for a terminal share: printing, tables, styles.

Guarantees: what is printed through `put` or `Encodable` moves no cursor, whoever wrote it: control characters are shown
(`monkeys.text.plain`). It can be written in the console's encoding, with our own drawing characters turned into ASCII
where it has none of them; no line ends with spaces.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from monkeys.text import brief, plain

__all__ = ["LAID_OUT", "MARGIN", "Encodable", "columns", "facts", "make_console", "name", "put", "speaks_unicode"]

MARGIN = 1
NARROWEST = 20  # columns
LAID_OUT = 200_000  # characters of a text that is laid out
# One for one, so that what was aligned stays aligned.
ASCII = str.maketrans("–…·×━┄─│┤┬└◦░⠤", "-~.x=.-|+++o.*")


def make_console(kind: type[Console] = Console, **options: Any) -> Console:
    """A console with rich's options. A width in COLUMNS that holds no line of ours means that it is not known."""
    told = os.environ.get("COLUMNS", "")
    unknown = ("COLUMNS", "LINES") if told.isdecimal() and int(told) < NARROWEST else ()
    return kind(_environ={key: value for key, value in os.environ.items() if key not in unknown}, **options)


def speaks_unicode(console: Console) -> bool:
    return console.encoding.startswith("utf")


@dataclass(frozen=True, slots=True)
class Encodable:
    """Draws `inner` with characters that the console can write, and without spaces at the ends of lines."""

    inner: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        ascii_only, encoding = not speaks_unicode(console), console.encoding
        for line in Segment.split_lines(console.render(self.inner, options)):
            # Tables are filled up with spaces, which are in the way of copying and searching.
            while line and not line[-1].text.strip(" "):
                line.pop()
            for number, (text, style, control) in enumerate(line, 1):
                if control:
                    yield Segment(text, style, control)
                    continue
                shown = plain(text)
                shown = shown.translate(ASCII) if ascii_only else shown
                shown = shown.rstrip(" ") if number == len(line) else shown
                yield Segment(shown.encode(encoding, "replace").decode(encoding), style)
            yield Segment.line()


def put(console: Console, renderables: Iterable[Any]) -> None:
    """Print one below the other. Text is neither markup nor wrapped: a patch or a log can be copied from the screen.

    A very long string is written as it is, because laying it out would take minutes.
    """
    for renderable in renderables:
        if isinstance(renderable, str) and len(renderable) > LAID_OUT:
            shown = plain(renderable) if speaks_unicode(console) else plain(renderable).translate(ASCII)
            console.file.write(shown.encode(console.encoding, "replace").decode(console.encoding) + "\n")
            continue
        if isinstance(renderable, str):
            renderable = Text(renderable)
        console.print(Encodable(renderable), end="", soft_wrap=isinstance(renderable, Text))


def columns(*names: str) -> Table:
    """An empty table. Columns whose names begin with < are aligned left, the others right."""
    table = Table(box=SIMPLE, show_edge=False, pad_edge=False, header_style="dim", border_style="bright_black")
    for heading in names:
        left = heading.startswith("<")
        # Rich narrows columns that may wrap before the others: names are cut, numbers stay whole.
        table.add_column(Text(heading.removeprefix("<")), justify="left" if left else "right", no_wrap=not left)
    return table


def name(text: str, style: str = "") -> Text:
    """A cell of a left column: one line, cut where there is no room."""
    return Text(brief(text), style=style, no_wrap=True, overflow="ellipsis")


def facts(*, fold: bool = False) -> Table:
    """An empty table of pairs of a label and a text. `fold` breaks long words, such as paths, instead of cutting."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold" if fold else "ellipsis")
    return table
