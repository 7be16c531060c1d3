"""Moving lines to the left, the right, the centre, or both sides."""

from __future__ import annotations


def align(line: str, width: int, how: str = "left") -> str:
    if how == "left":
        return line
    if how == "right":
        return line.rjust(width)
    if how == "center":
        return (" " * ((width - len(line)) // 2) + line).rstrip()
    if how == "both":
        return stretch(line, width)
    raise ValueError(f"unknown alignment: {how!r}")


def stretch(line: str, width: int) -> str:
    """Widen the spaces between words, from the left, until the line is full."""
    words = line.split()
    gaps = len(words) - 1
    if gaps < 1:
        return line
    blanks = max(gaps, width - sum(map(len, words)))
    each, extra = divmod(blanks, gaps)
    pieces = []
    for place, word in enumerate(words[:-1]):
        pieces.append(word + " " * (each + (place < extra)))
    return "".join(pieces) + words[-1]
