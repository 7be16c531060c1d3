"""A call that was found in a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["BAR", "NAME", "Call", "Known", "value"]

BAR = "[|｜]"
NAME = r"[\w.:/-]+"

Known = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Call:
    """The name as it was written, the arguments, and the characters of the text that it takes up.

    Arguments that are a text are the value of the one argument that the tool must have.
    """

    name: str
    arguments: Mapping[str, Any] | str
    start: int
    end: int


def value(text: str) -> str:
    """A value between tags, without the line feeds that only set it apart."""
    return text.removeprefix("\n").removesuffix("\n")
