"""What a single line says."""

from __future__ import annotations


def is_blank(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def section_name(line: str) -> str | None:
    """The name in `[name]`, or None when the line opens no section."""
    text = line.strip()
    if text.startswith("[") and text.endswith("]"):
        return text[1:-1].strip()
    return None


def split_pair(line: str) -> tuple[str, str] | None:
    """Key and value of `key = value  # comment`, or None when there is no `=`."""
    key, equals, value = line.partition("=")
    if not equals:
        return None
    return key.strip(), without_comment(value.strip())


def without_comment(value: str) -> str:
    """Drop a comment; a `#` that starts the value belongs to it."""
    text, _, _ = value.partition(" #")
    return text
