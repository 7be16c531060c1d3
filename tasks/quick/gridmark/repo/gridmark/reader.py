"""From Markdown back to rows."""

from __future__ import annotations

from gridmark.cells import split_row, unescape


def read(text: str) -> list[dict[str, str]]:
    """The rows of the first table in the text, by the names in its header."""
    lines = [line for line in text.splitlines() if line.strip().startswith("|")]
    if len(lines) < 2 or not _is_rule(lines[1]):
        raise ValueError("there is no table")
    header = [unescape(cell) for cell in split_row(lines[0])]
    return [dict(zip(header, (unescape(cell) for cell in split_row(line)))) for line in lines[2:]]


def _is_rule(line: str) -> bool:
    return set(line) <= set("|-: ") and "-" in line
