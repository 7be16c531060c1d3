"""From the configuration that is saved with a run back to the options that it was made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monkeys.spec.errors import ConfigError
from monkeys.spec.option import places
from monkeys.spec.run import RunSpec
from monkeys.spec.sections import BODY

__all__ = ["recorded_values"]

# What is saved in another form than it was given, or belongs to what else is saved: a digest, a server, a recording.
OTHERWISE = ("verify.calibration", "model.served", "model.recording")


def recorded_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the options by path, such as "limits.turns", that a saved configuration tells.

    Raises `ConfigError` for a value that no option of this program takes.
    """
    found = {}
    # Such a scaffold has a form and tools of its own, under whose names they are saved.
    own = () if _at(config, "agent.scaffold") in (None, "tools") else ("agent.actions", "agent.tools")
    for place in places(RunSpec):
        saved = place.option.saved
        value = _at(config, saved) if saved and not saved.startswith(OTHERWISE) and place.path not in own else None
        if place.path == "model.extra_body" and isinstance(value, Mapping):
            value = {key: given for key, given in value.items() if key not in BODY}
        if value is None:
            continue
        try:
            found[place.path] = place.option.kind.take(value)
        except ValueError as error:
            raise ConfigError(f"{saved} in the configuration of the run: {error}") from None
    if own:
        found.setdefault("agent.locate", "words")  # what runs did that saved nothing of it
    return found


def _at(config: Mapping[str, Any], path: str) -> Any:
    value: Any = config
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
