"""From values by path, such as "limits.turns", to a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from monkeys.spec.errors import ConfigError
from monkeys.spec.nearest import did_you_mean
from monkeys.spec.option import places, sections
from monkeys.spec.run import RunSpec

__all__ = ["build", "from_values"]

Spec = TypeVar("Spec")


def build(kind: type[Spec], values: Mapping[str, Any], typed: Iterable[str] = ()) -> Spec:
    """The configuration of this class with these values, which are of their kinds; the rest has its defaults.

    `typed` are the paths of those values that were given for this one session.
    """
    known = {place.path: place for place in places(kind)}
    parts: dict[str, Any] = {"given": frozenset(values)}
    if kind is RunSpec:
        parts["typed"] = frozenset(typed)
    for taken in sections(kind):
        mine = {known[path].key: value for path, value in values.items() if known[path].section.name == taken.name}
        parts[taken.name] = taken.kind(**{**taken.defaults, **mine})
    return kind(**parts)


def from_values(kind: type[Spec], values: Mapping[str, Any]) -> Spec:
    """The same for Python code: each value is checked, and may be a text as on the command line or in a file.

    Raises `ConfigError`.
    """
    known = {place.path: place for place in places(kind)}
    checked = {}
    for path, value in values.items():
        if path not in known:
            raise ConfigError(f"{kind.__name__} has no option {path!r}{did_you_mean(path, known)}")
        try:
            checked[path] = known[path].option.kind.take(value)
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from None
    return build(kind, checked, checked)
