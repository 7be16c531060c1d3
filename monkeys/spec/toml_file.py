"""The configuration as a TOML file: a table for each section, a key for each option.

Guarantees: what `to_toml` writes, `read_toml` reads as the same configuration, also in what was given and what was not.
A wrong file is refused in one line that names the file, the line, the key, and the nearest known key or what the value
should be.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monkeys.spec.commands import COMMANDS
from monkeys.spec.errors import ConfigError
from monkeys.spec.nearest import did_you_mean, nearest
from monkeys.spec.option import Place, places, sections

__all__ = ["parse_toml", "read_toml", "to_toml"]

HEADER = re.compile(r"\s*\[{1,2}\s*([^\[\]]+?)\s*\]")
KEY = re.compile(r"\s*([\w-]+|\"[^\"]*\"|'[^']*')\s*(?:\.\s*([\w-]+|\"[^\"]*\"|'[^']*')\s*)?[.=]")
BARE = re.compile(r"[A-Za-z0-9_-]+")


def read_toml(kind: type, path: Path) -> dict[str, Any]:
    """The values by path that the file gives to a configuration of this class. Raises `ConfigError`."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"--config {path} cannot be read ({cause})") from None
    return parse_toml(kind, text, str(path))


def parse_toml(kind: type, text: str, name: str = "the configuration") -> dict[str, Any]:
    """The same of a text; `name` stands for the file in messages. Raises `ConfigError`."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}:{_not_toml(text, error)}") from None
    known = {(place.section.name, place.key): place for place in places(kind)}
    found = {}
    for title, table in tables.items():
        if title not in {taken.name for taken in sections(kind)}:
            raise ConfigError(f"{_where(name, text, title)}: {_no_section(kind, title, table)}")
        if not isinstance(table, dict):
            instead = f" once, not [[{title}]]" if isinstance(table, list) and dict in map(type, table) else ""
            raise ConfigError(
                f"{_where(name, text, title)}: {title} is a section: write [{title}]{instead}, then its keys"
            )
        for key, value in table.items():
            where = _where(name, text, title, key)
            place = known.get((title, key))
            if place is None:
                other = _of_another(kind, title, key)
                raise ConfigError(f"{where}: {other or f'[{title}] has no key {key}{_nearest_key(kind, title, key)}'}")
            try:
                found[place.path] = place.option.kind.take(value)
            except ValueError as error:
                raise ConfigError(f"{where}: {place.path}: {error}") from None
    return found


def to_toml(spec: Any) -> str:
    """The whole configuration: what was given as keys, the defaults as comments."""
    lines = ["# An option that was given is a key. A line that starts with # is an option with its default."]
    for taken in sections(type(spec)):
        lines += ["", f"[{taken.name}]"]
        lines += [_line(spec, place) for place in places(type(spec)) if place.section.name == taken.name]
    return "\n".join(lines) + "\n"


def _line(spec: Any, place: Place) -> str:
    value = getattr(getattr(spec, place.section.name), place.key)
    if place.path in spec.given:
        return f"{place.key} = {_value(place.option.kind.to_toml(value))}"
    if place.required:
        return f"# {place.key}: must be given"
    if value is None:
        return f"# {place.key}: {place.option.shown or 'not set'}"
    return f"# {place.key} = {_value(place.option.kind.to_toml(value))}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(key)} = {_value(each)}' for key, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        return _string(value)
    return json.dumps(value) if isinstance(value, bool) else repr(value)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if BARE.fullmatch(key) else _string(key)


# Mistakes


def _no_section(kind: type, title: str, value: Any) -> str:
    if isinstance(value, dict):
        if other := _of_another(kind, title):
            return other
        names = [taken.name for taken in sections(kind)]
        return f"there is no section [{title}]{did_you_mean(title, names, '[{}]')}"
    return f"{title} stands outside of a section{_nearest_key(kind, '', title)}"


def _of_another(kind: type, title: str, key: str = "") -> str:
    """A message on a section or a key of another command's files; empty if no other command has it."""
    for other, command in COMMANDS.items():
        if any(place.section.name == title and key in ("", place.key) for place in places(other)):
            what = f"{key} is an option" if key else f"[{title}] is a section"
            return f"{what} of {command}, not of {COMMANDS[kind]}"
    return ""


def _not_toml(text: str, error: tomllib.TOMLDecodeError) -> str:
    """The line of what is not TOML, and a message, which names the key where one is given twice."""
    if "Cannot " in str(error):
        seen: set[str] = set()
        for number, *parts in _keys(text):
            path = ".".join(filter(None, parts))
            if path in seen:
                return f"{number}: {path} is given twice; give it once"
            seen.add(path)
    said, _, place = str(error).partition(" (at ")
    line = re.search(r"line (\d+)", place)
    return f"{line[1] if line else len(text.splitlines())}: not TOML: {said}"


def _nearest_key(kind: type, title: str, key: str) -> str:
    """The end of a message about an unknown key: the nearest key of its section, else of any, or the nearest option."""
    known: dict[str, str] = {}
    denies = key.startswith(("no_", "no-"))
    for place in places(kind):
        full = place.key if place.section.name == title else f"{place.key} in [{place.section.name}]"
        if place.option.flag and denies:
            full += ", which says the opposite"
        known.setdefault(place.key, full)
        known[place.option.name.replace("-", "_")] = full
        if place.option.flag:
            known[place.option.opposite.replace("-", "_")] = full
    own = [place.key for place in places(kind) if place.section.name == title]
    if close := nearest(key, own, 0.75):
        return f"; did you mean {known[close] if denies else close}?"
    close = nearest(key.replace("-", "_"), known) or nearest(key, own)
    return f"; did you mean {known[close]}?" if close else f"; its keys are {', '.join(own)}" if own else ""


def _where(name: str, text: str, title: str, key: str = "") -> str:
    """The file and the line of a key, or of its section where the key cannot be found."""
    line = fallback = 0
    for number, header, first, second in _keys(text):
        if key and ((header, first) == (title, key) or (not header and (first, second) == (title, key))):
            line = line or number
        if header == title or (not header and first == title):
            fallback = fallback or number
    return f"{name}:{line or fallback}" if line or fallback else name


def _keys(text: str) -> Iterator[tuple[int, str, str, str]]:
    """The line, the table, and the first two parts of each key. The line of a table's heading has no key."""
    header, quoted = "", False
    for number, line in enumerate(text.split("\n"), 1):
        inside, quoted = quoted, quoted != bool(len(re.findall(r"\"\"\"|'''", line)) % 2)
        if inside:
            continue
        if found := HEADER.match(line):
            first, _, second = found[1].partition(".")
            header = first.strip("\"' ")
            yield number, header, second.strip("\"' "), ""
        elif found := KEY.match(line):
            yield number, header, found[1].strip("\"'"), (found[2] or "").strip("\"'")
