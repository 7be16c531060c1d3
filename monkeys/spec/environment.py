"""Environment variables: MONKEYS_ and the name of an option, such as MONKEYS_MAX_TURNS.

An empty variable counts as absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from monkeys.spec.commands import COMMANDS
from monkeys.spec.errors import ConfigError
from monkeys.spec.nearest import nearest
from monkeys.spec.option import PREFIX, places

__all__ = ["read_environment", "unknown_variables"]

ALIKE = 0.8  # how alike two names are of which one is taken for a mistyped other, from 0 to 1
OTHERS = (f"{PREFIX}PUBLISHED_COUNTS", f"{PREFIX}VLLM")  # what the tests and the benchmarks read


def read_environment(kind: type, environment: Mapping[str, str]) -> dict[str, Any]:
    """The values by path that variables give. Raises `ConfigError`."""
    found: dict[str, Any] = {}
    for place in places(kind):
        for name, texts in place.variables.items():
            if text := environment.get(name, ""):
                try:
                    value = texts.read(text)
                except ValueError as error:
                    raise ConfigError(f"environment variable {name}: {error}") from None
                value = value != place.denied_by(name) if place.option.flag else value
                if found.setdefault(place.path, value) != value:
                    others = " and ".join(other for other in place.variables if environment.get(other))
                    raise ConfigError(f"environment variables {others} contradict each other; set one of them")
    return found


def unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """A warning for each variable that sets no option of any command."""
    known = {name for kind in COMMANDS for place in places(kind) for name in place.variables}
    ends = {name.removeprefix(PREFIX): name for name in known}
    for name in sorted(environment):
        if name == f"{PREFIX}CONFIG":
            yield f"environment variable {name} sets no option; name the file with --config"
        elif name.startswith(PREFIX) and name not in known and not name.startswith(OTHERS):
            close = nearest(name.removeprefix(PREFIX), ends, ALIKE)
            yield f"environment variable {name} sets no option" + (f"; did you mean {ends[close]}?" if close else "")
