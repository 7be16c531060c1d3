"""Cells: what a table may hold and how it is written."""

from __future__ import annotations


def escape(value: object) -> str:
    """The text of a value, made safe inside of a table."""
    text = "" if value is None else str(value)
    return " ".join(text.replace("|", "\\|").split())


def unescape(text: str) -> str:
    return text.replace("\\|", "|")


def split_row(line: str) -> list[str]:
    """The cells between the bars of a row; an escaped bar is no bar."""
    cells = [""]
    previous = ""
    for char in line.strip().removeprefix("|").removesuffix("|"):
        if char == "|" and previous != "\\":
            cells.append("")
        else:
            cells[-1] += char
        previous = char
    return [cell.strip() for cell in cells]
