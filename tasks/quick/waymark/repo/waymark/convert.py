"""Turning segments into values; None stands for "does not fit"."""

from __future__ import annotations

from collections.abc import Callable


def as_text(segment: str) -> str | None:
    return segment or None


def as_int(segment: str) -> int | None:
    return int(segment) if segment.isascii() and segment.isdigit() else None


CONVERTERS: dict[str, Callable[[str], object]] = {"text": as_text, "int": as_int}
