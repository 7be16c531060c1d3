"""From the text of a file to its configuration."""

from __future__ import annotations

from plainconf.config import Config
from plainconf.errors import ConfigError
from plainconf.lines import is_blank, section_name, split_pair


def parse(text: str) -> Config:
    config = Config()
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if is_blank(line):
            continue
        name = section_name(line)
        if name is not None:
            section = name
            continue
        pair = split_pair(line)
        if pair is None:
            raise ConfigError(number, f"expected key = value: {line.strip()!r}")
        key, value = pair
        if not key:
            raise ConfigError(number, "the key is missing")
        if key in config.keys(section):
            raise ConfigError(number, f"{key!r} is set twice")
        config.set(section, key, value)
    return config
