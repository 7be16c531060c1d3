"""Filling cells up to the width of their column."""

from __future__ import annotations

RULES = {"left": "-", "right": "-:", "center": ":-:", "point": "-:"}


def pad(text: str, how: str, width: int) -> str:
    missing = width - len(text)
    if how == "left":
        return text + " " * missing
    if how == "right":
        return " " * missing + text
    before = missing // 2
    return " " * before + text + " " * (missing - before)


def pad_point(text: str, before: int, after: int) -> str:
    """Put the decimal point behind `before` columns, and `after` columns behind it."""
    whole, _, fraction = text.partition(".")
    if not fraction:
        return pad(whole, "right", before) + " " * after
    return pad(whole, "right", before) + "." + pad(fraction, after - 1, "left")


def point_widths(texts: list[str]) -> tuple[int, int]:
    """Columns before the decimal point, and from the point on."""
    before = max((len(text.partition(".")[0]) for text in texts), default=0)
    after = max((len(text) - len(text.partition(".")[0]) for text in texts), default=0)
    return before, after


def rule(how: str, width: int) -> str:
    """The line under the header, such as `---:`."""
    mark = RULES[how]
    return mark[0] + "-" * (width - len(mark)) + mark[1:] if len(mark) > 1 else mark * width
