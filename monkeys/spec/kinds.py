"""Kinds of values: what an option takes, read from a text or from a TOML value.

A text comes from the command line or the environment. Whatever is not of the kind is refused with a `ValueError` whose
message says what would be.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from datetime import date, time
from pathlib import Path
from typing import Any

__all__ = [
    "FLAG",
    "GIGABYTES",
    "NAME",
    "NUMBER",
    "OBJECT",
    "PATH",
    "POSITIVE",
    "RUN_NAME",
    "SHARE",
    "TEXT",
    "TIME",
    "WHOLE",
    "WORDS",
    "Choice",
    "Flag",
    "Kind",
    "Many",
    "Name",
    "Number",
    "Object",
    "PathKind",
    "RunName",
    "Share",
    "Text",
    "Time",
    "Whole",
    "Words",
]

TYPES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    list: "a list",
    tuple: "a list",
    dict: "a table",
    date: "a date",
    time: "a time",
    type(None): "None",
}
NAME_LENGTH = 100  # characters of a run's name
NAME_SHOWN = 16  # of a longer one
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
ON, OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class Kind:
    """One kind of value. `what` names it in messages."""

    what = "a text"

    def read(self, text: str) -> Any:
        """The value of a text. Raises `ValueError`."""
        raise NotImplementedError

    def take(self, value: object) -> Any:
        """The value of a TOML value, or of what Python code gives. Raises `ValueError`."""
        if isinstance(value, str):
            return self.read(value)
        raise self._wrong(value)

    def to_toml(self, value: Any) -> Any:
        """The value as TOML has it: `take` of it is the value again."""
        return value

    def show(self, value: Any) -> str:
        """The value as a person writes it."""
        return str(value)

    def _wrong(self, value: object) -> ValueError:
        return ValueError(f"needs {self.what}, not {_type_of(value)}")


class Text(Kind):
    """Any text, and from Python a path for the text that it is."""

    what = "a string"

    def read(self, text: str) -> str:
        return text

    def take(self, value: object) -> str:
        return self.read(str(value)) if isinstance(value, Path) else str(super().take(value))


class Name(Text):
    """A text that names something, so that it holds more than blanks."""

    def read(self, text: str) -> str:
        if not text.strip():
            raise ValueError("is empty; give a name, or leave it out")
        return text


class RunName(Name):
    """The name of a run, which is a folder among the runs and nowhere else."""

    def read(self, text: str) -> str:
        text = super().read(text)
        wrong = re.search(r"[^\w.-]", text)
        if len(text) > NAME_LENGTH:
            cause, text = f"it has {len(text)} characters", f"{text[:NAME_SHOWN]}..."
        elif wrong:
            cause = f"it has {wrong[0]!r}"
        elif text.startswith("."):
            cause = "it begins with '.'"
        else:
            return text
        raise ValueError(
            f"{text!r} cannot be a run's name, for {cause}: a name has letters, digits, '.', '_' and '-', does not "
            f"begin with '.', and has at most {NAME_LENGTH} characters; --runs DIR chooses another place"
        )


class PathKind(Kind):
    """A file or a folder, relative to the working directory."""

    what = "a path, as a string"

    def read(self, text: str) -> Path:
        return Path(text)

    def take(self, value: object) -> Path:
        return value if isinstance(value, Path) else Path(super().take(value))

    def to_toml(self, value: Path) -> str:
        return str(value)


class Choice(Kind):
    """One of a few names. `meaning` translates names that stand for others."""

    def __init__(self, *names: str, meaning: dict[str, str] | None = None) -> None:
        self.names, self.meaning = names, meaning or {}
        self.what = f"one of {', '.join(names)}"

    def read(self, text: str) -> str:
        if text not in self.names:
            raise ValueError(f"{text!r} is unknown; choose from {', '.join(self.names)}")
        return self.meaning.get(text, text)


class Flag(Kind):
    """Yes or no."""

    what = "true or false"

    def read(self, text: str) -> bool:
        if text.lower() in (*ON, *OFF):
            return text.lower() in ON
        raise ValueError(f"{text!r} is neither yes nor no; give 1 or 0")

    def take(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        raise self._wrong(value)


class Whole(Kind):
    """A whole number, at least `least`."""

    what = "a whole number"

    def __init__(self, least: int | None = None) -> None:
        self.least = least

    def read(self, text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number") from None
        return self.take(value)

    def take(self, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(value)
        if self.least is not None and value < self.least:
            raise ValueError(f"must be at least {self.least}, not {value}")
        return value


class Number(Kind):
    """A finite number; with `positive` above 0, or from 0 with `zero` too. `unit` is named in messages."""

    def __init__(self, *, positive: bool = False, zero: bool = False, unit: str = "") -> None:
        self.positive, self.zero = positive, zero
        self.number = f"number of {unit}" if unit else "number"
        self.what = f"a {self.number}"

    def read(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not {self.what}") from None
        return self.take(value)

    def take(self, value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._wrong(value)
        if not math.isfinite(value):
            raise ValueError(f"must be a {'positive' if self.positive else 'finite'} {self.number}, not {value:g}")
        if self.positive and (value < 0 or (value == 0 and not self.zero)):
            wanted = f"{self.number} from 0" if self.zero else f"positive {self.number}"
            raise ValueError(f"must be a {wanted}, not {value:g}")
        return float(value)

    def show(self, value: float) -> str:
        return f"{value:g}"


class Share(Number):
    """A number from 0 to 1."""

    def take(self, value: object) -> float:
        share = super().take(value)
        if not 0 <= share <= 1:
            raise ValueError(f"must be a share from 0 to 1, not {share:g}")
        return share


class Time(Kind):
    """A time in seconds: 90, 15m, 2h or 1.5d."""

    what = "a time, such as 90 or '15m'"

    def read(self, text: str) -> float:
        number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
        try:
            return self.take(float(number) * UNITS[unit])
        except ValueError:
            raise ValueError(f"{text!r} is no time: give seconds, or a time such as 15m or 2h") from None

    def take(self, value: object) -> float:
        if isinstance(value, str):
            return self.read(value)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._wrong(value)
        if not 0 < value < math.inf:
            raise ValueError(f"{value:g} is no time: give seconds above 0, or a time such as '15m'")
        return float(value)

    def show(self, value: float) -> str:
        for unit in ("h", "m"):
            if value % UNITS[unit] == 0:
                return f"{value / UNITS[unit]:g}{unit}"
        return f"{value:g}"


class Many(Kind):
    """Several values of one kind. In one text they are apart by spaces, quoted as in a shell."""

    def __init__(self, one: Kind) -> None:
        self.one = one
        self.what = f"a list, each of them {one.what}"

    def read(self, text: str) -> tuple[Any, ...]:
        return tuple(self.one.read(word) for word in _words(text))

    def take(self, value: object) -> tuple[Any, ...]:
        if isinstance(value, str | Path):
            return (self.one.take(value),)
        if isinstance(value, list | tuple):
            return tuple(self.one.take(each) for each in value)
        raise self._wrong(value)

    def to_toml(self, value: tuple[Any, ...]) -> list[Any]:
        return [self.one.to_toml(each) for each in value]


class Words(Many):
    """Words that are given as one text on the command line too, quoted as in a shell."""

    def __init__(self) -> None:
        super().__init__(Text())

    def take(self, value: object) -> tuple[Any, ...]:
        return self.read(value) if isinstance(value, str) else super().take(value)


class Commas(Kind):
    """Names with commas between them, of which `none` stands for no name."""

    what = "names, as a list or as one string with commas between them"

    def read(self, text: str) -> tuple[str, ...]:
        names = [name.strip() for name in text.split(",")]
        if not all(names):
            raise ValueError(f"{text!r} holds an empty name; give names with commas between them, or none")
        if "none" in names and len(names) > 1:
            raise ValueError(f"{text!r} names none and others; give none alone, or leave it out")
        return () if names == ["none"] else tuple(dict.fromkeys(names))

    def take(self, value: object) -> tuple[str, ...]:
        if isinstance(value, str):
            return self.read(value)
        if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
            return self.read(",".join(value) or "none")
        raise self._wrong(value)

    def to_toml(self, value: tuple[str, ...]) -> list[str]:
        return list(value or ("none",))

    def show(self, value: tuple[str, ...]) -> str:
        return ",".join(value or ("none",))


class Object(Kind):
    """A JSON object; in TOML a table, or a text of JSON where it holds null, for which TOML has no form."""

    what = "a table, or a JSON object as a string"

    def read(self, text: str) -> dict[str, Any]:
        try:
            value = json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{text!r} is not JSON ({error})") from None
        if not isinstance(value, dict):
            raise ValueError(f"{text!r} is not a JSON object")
        return value

    def take(self, value: object) -> dict[str, Any]:
        if isinstance(value, str):
            return self.read(value)
        if not isinstance(value, dict):
            raise self._wrong(value)
        json.dumps(value, default=_no_json, allow_nan=False)
        return value

    def to_toml(self, value: dict[str, Any]) -> Any:
        return json.dumps(value, ensure_ascii=False) if _holds_null(value) else value


TEXT, NAME, RUN_NAME, PATH, WORDS, OBJECT = Text(), Name(), RunName(), PathKind(), Words(), Object()
COMMAS = Commas()
FLAG, TIME = Flag(), Time()
WHOLE, NUMBER, POSITIVE, SHARE = Whole(), Number(), Number(positive=True), Share()
GIGABYTES = Number(positive=True, unit="gigabytes")


def _type_of(value: object) -> str:
    """The type of a value, for messages."""
    return next((name for kind, name in TYPES.items() if isinstance(value, kind)), f"a {type(value).__name__}")


def _no_number(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")


def _no_json(value: object) -> None:
    raise ValueError(f"holds {_type_of(value)}, for which JSON has no form")


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no list of words ({error})") from None


def _holds_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_null, value.values()))
    if isinstance(value, list):
        return any(map(_holds_null, value))
    return value is None
