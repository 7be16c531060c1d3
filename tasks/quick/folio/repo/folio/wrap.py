"""Breaking words into lines."""

from __future__ import annotations


def wrap(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    """Lines of at most `width` columns.

    The first line begins with `first`, all others with `rest`.
    """
    if width < 1:
        raise ValueError(f"the width must be positive: {width}")
    lines: list[str] = []
    words: list[str] = []
    indent = first
    for word in text.split():
        if words and measure(indent, [*words, word]) > width:
            indent = rest
            lines.append(indent + " ".join(words))
            words = []
        words.append(word)
    if words:
        lines.append(indent + " ".join(words))
    return lines


def measure(indent: str, words: list[str]) -> int:
    """The columns that the words take on one line."""
    return len(indent) + sum(map(len, words)) + len(words) - 1
