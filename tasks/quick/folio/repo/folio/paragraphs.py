"""Paragraphs, which blank lines separate."""

from __future__ import annotations

from folio.wrap import wrap


def split(text: str) -> list[str]:
    """The paragraphs of a text, each on one line."""
    paragraphs: list[str] = []
    current: list[str] = []
    for line in text.splitlines():
        if line.strip():
            current.append(line.strip())
        elif current:
            paragraphs.append(" ".join(current))
            current = []
    if current:
        paragraphs.append(" ".join(current))
    return paragraphs


def fill(text: str, width: int, indent: str = "") -> str:
    """Every paragraph wrapped, with a blank line between them."""
    filled = ["\n".join(wrap(paragraph, width, indent, indent)) for paragraph in split(text)]
    return "\n\n".join(filled)
