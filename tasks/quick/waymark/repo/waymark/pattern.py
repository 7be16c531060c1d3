"""Patterns of paths such as `/users/{id:int}/files/{name:rest}`."""

from __future__ import annotations

from dataclasses import dataclass

from waymark.convert import CONVERTERS
from waymark.errors import BadPattern


@dataclass(frozen=True)
class Segment:
    text: str
    kind: str = "literal"


class Pattern:
    def __init__(self, text: str) -> None:
        self.text = text
        self.segments = [_segment(part) for part in split(text)]
        if any(segment.kind == "rest" for segment in self.segments[:-1]):
            raise BadPattern(f"a rest field must come last: {text!r}")

    def match(self, path: str) -> dict[str, object] | None:
        """The values of the fields, or None when the path does not fit."""
        parts = split(path)
        values: dict[str, object] = {}
        for place, segment in enumerate(self.segments):
            if segment.kind == "rest":
                values[segment.text] = "/".join(parts[place:])
                return values
            if segment.kind == "literal":
                if parts[place] != segment.text:
                    return None
                continue
            value = CONVERTERS[segment.kind](parts[place])
            if value is None:
                return None
            values[segment.text] = value
        if len(parts) > len(self.segments):
            return None
        return values


def split(path: str) -> list[str]:
    """The segments of a path; a slash at the end makes no difference."""
    if not path.startswith("/"):
        raise BadPattern(f"a path begins with a slash: {path!r}")
    inner = path.strip("/")
    return inner.split("/") if inner else []


def _segment(part: str) -> Segment:
    if not part.startswith("{"):
        return Segment(part)
    if not part.endswith("}"):
        raise BadPattern(f"the field is not closed: {part!r}")
    name, _, kind = part[1:-1].partition(":")
    kind = kind or "text"
    if kind != "rest" and kind not in CONVERTERS:
        raise BadPattern(f"unknown kind of field: {kind!r}")
    return Segment(name, kind)
