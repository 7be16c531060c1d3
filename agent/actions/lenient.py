"""Reads JSON as models write it.

Guarantees: valid JSON is read as such. Other text may have single quotes, Python's words for true, false and null, bare
keys, extra commas, line ends and stray backslashes in strings, and missing brackets at its end. A string without its
end is refused: half a command is not the command.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from agent.actions.sanitize import valid

__all__ = ["find_objects", "read_json", "read_prefix"]

SPACE = re.compile(r"\s*")
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
WORD = re.compile(r"[A-Za-z_$][\w$-]*")
PLAIN = {quote: re.compile(rf"[^\\{quote}]*") for quote in "\"'"}
HEX = re.compile(r"[0-9a-fA-F]{4}")
WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None, "NaN": None}
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\", "/": "/"}
STARTS = 32  # braces in a text at which an object is looked for


def read_json(text: str, *, closed: bool = False) -> Any:
    """The value of `text`; `closed`: all brackets must be closed. Raises `ValueError` or `RecursionError`."""
    try:
        return valid(json.loads(text, strict=False))
    except ValueError:
        reader = _Reader(text, closed)
        value = reader.value()
        if reader.space() < len(text):
            reader.fail("something follows its end")
        return valid(value)


def read_prefix(text: str, *, closed: bool = False) -> tuple[Any, int]:
    """The value with which a text begins, and the place of its end. Raises as `read_json`."""
    reader = _Reader(text, closed)
    value = reader.value()
    return valid(value), reader.at


def find_objects(text: str, *, closed: bool = False) -> list[dict[str, Any]]:
    """The objects in a text, one after another, with anything around them."""
    found: list[dict[str, Any]] = []
    at = 0
    for _ in range(STARTS):
        at = text.find("{", at)
        if at < 0:
            break
        reader = _Reader(text, closed, at)
        try:
            value = valid(reader.value())
        except (ValueError, RecursionError):
            at += 1
            continue
        found.append(value)
        at = reader.at
    return found


class _Reader:
    """Reads one value, from `at` on."""

    def __init__(self, text: str, closed: bool, at: int = 0) -> None:
        self.text, self.closed, self.at = text, closed, at

    def fail(self, why: str) -> NoReturn:
        raise ValueError(f"{why}, at character {self.at}")

    def space(self) -> int:
        found = SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.at

    def take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found.group() if found else ""

    def next(self) -> str:
        """The next character that is not a space; empty at the end."""
        self.space()
        return self.text[self.at : self.at + 1]

    def value(self) -> Any:
        match self.next():
            case "{":
                return self.members()
            case "[":
                return self.items()
            case '"' | "'" as quote:
                return self.string(quote)
        if number := self.take(NUMBER):
            return float(number) if set(number) & set(".eE") else int(number)
        if (word := self.take(WORD)) in WORDS:
            return WORDS[word]
        return self.fail(f"{word!r} is not a value" if word else "a value is missing")

    def members(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.goes_on("}"):
            mark = self.next()
            key = self.string(mark) if mark in ('"', "'") else self.take(WORD)
            if self.next() != ":":
                self.fail("a name and a colon are expected")
            self.at += 1
            found[key] = self.value()
            self.comma("}")
        return found

    def items(self) -> list[Any]:
        found: list[Any] = []
        while self.goes_on("]"):
            found.append(self.value())
            self.comma("]")
        return found

    def goes_on(self, end: str) -> bool:
        """Whether another member follows the opening bracket or the comma that `at` is at."""
        if self.text[self.at : self.at + 1] in ("{", "[", ","):
            self.at += 1
        following = self.next()
        if not following and self.closed:
            self.fail(f"it ends without {end!r}")
        if following == end:
            self.at += 1
        return bool(following) and following != end

    def comma(self, end: str) -> None:
        if self.next() not in ("", ",", end):
            self.fail(f"a comma or {end!r} is missing")

    def string(self, quote: str) -> str:
        self.at += 1
        parts = []
        while True:
            parts.append(self.take(PLAIN[quote]))
            mark = self.text[self.at : self.at + 1]
            if not mark:
                self.fail("it ends inside a text")
            self.at += 1
            if mark == quote:
                # Two escapes may stand for one character.
                return "".join(parts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            parts.append(self.escape())

    def escape(self) -> str:
        letter = self.text[self.at : self.at + 1]
        self.at += len(letter)
        if letter == "u" and (code := self.take(HEX)):
            return chr(int(code, 16))
        return ESCAPES.get(letter, "\\" + letter)  # a regular expression such as \d is kept
