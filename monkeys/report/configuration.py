"""Reads the saved configuration of a run for display: its parts by name, and all of it as lines.

A run keeps its configuration as nested sections: `{"model": {"name": ..., "sampling": {...}}, ...}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["is_replay", "lines", "strategy_name"]

# The option of a section that names what was chosen; it is shown without its own name.
NAMING = ("name", "set")
WHOLE_TEXTS = "prompts"  # long texts, of which only the names are shown


def strategy_name(config: Mapping[str, Any]) -> str:
    """The name of the strategy that chose the attempts."""
    return str(config.get("strategy", {}).get("name", "independent"))


def is_replay(config: Mapping[str, Any]) -> bool:
    """Whether the attempts were answered from the recording of an earlier run."""
    return "recording" in config.get("model", {})


def lines(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Pairs of a label and a text. Empty lists and sections are left out."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _section(_words(key), key, value)
        elif isinstance(value, list | tuple):
            if value:
                yield _words(key), ", ".join(map(str, value))
        else:
            yield _words(key), str(value)


def _section(label: str, key: str, section: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A section: one line for its plain options, then one for each option that holds several values."""
    if key == WHOLE_TEXTS:
        if section:
            yield label, f"{', '.join(section)} (whole in the run)"
        return
    options, inner = [], []
    for option, value in section.items():
        if isinstance(value, Mapping | list | tuple):
            inner.append((option, value))
        elif value is not None and value != "":
            options.append(str(value) if option in NAMING else f"{_words(option)} {value}")
    if options:
        yield label, ", ".join(options)
    for option, value in inner:
        if isinstance(value, Mapping):
            yield from _section(f"{label} {_words(option)}", option, value)
        elif value:
            yield f"{label} {_words(option)}", ", ".join(map(str, value))


def _words(key: str) -> str:
    return key.replace("_", " ")
