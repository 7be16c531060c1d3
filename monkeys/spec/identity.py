"""What identifies a run: the part of the configuration that is saved with it, and how two saved ones differ.

`identity` gives what the options say. The runner adds what it finds (`merged`): the model's and the sandbox's names,
prompts, tools, the strategy's parameters, the digest of a calibration. Attempts belong to one run when `differences`
finds none.

Guarantees: a key that is missing means its default, or that its value is unknown, so that a run saved by a program with
fewer options is the same run still; every difference is told, under the name of its option where it has one, and not
what only follows from another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from monkeys.spec.kinds import Object
from monkeys.spec.option import Place, places
from monkeys.spec.run import RunSpec

__all__ = ["differences", "identity", "merged"]

# What a missing key means where that is not the option's default.
DEFAULTS: dict[str, Any] = {"suite": "swe", "strategy.sampling.kind": "independent", "agent.locate": "words"}
# What earlier versions did not save: where it is missing on record, it is unknown.
UNKNOWN = {"model.content"}
# Lists in which the order means nothing.
UNORDERED = {"tasks.ids", "agent.feedback"}
# What follows from which settings, by the beginnings of paths: it is told only where none of these differs.
FOLLOWS = {
    "strategy.sampling": ("strategy",),
    "strategy": ("strategy.name",),
    "agent.prompts": ("agent.name", "agent.scaffold", "agent.actions", "agent.feedback", "limits.context"),
    "agent.tools": ("agent.name", "agent.scaffold", "agent.actions"),
    "agent.locate": ("agent.name", "agent.scaffold"),
    "agent.scaffold": ("agent.name",),
    "agent.actions": ("agent.name",),
    "agent.review_content": ("agent.review_model",),
    "model.content": ("model.name",),
    "model.recording.run": ("model.name",),
    "model.recording.created": ("model.name",),
}
# The names of settings without an option of their own.
NAMES = {
    "strategy.sampling": "how attempts are sampled,",
    "strategy": "--strategy-options",
    "agent.prompts": "the prompt",
    "agent.review_content": "the content of the file that --review-model names",
    "model.content": "the content of the file that --model names",
    "model.recording.run": "the recorded run",
    "model.recording.created": "the time of the recorded run",
    "model.served": "the server's",
    "sandbox.limits": "the sandbox's",
}
SHOWN = 60  # characters of a value in a message
Tree = Mapping[str, Any]


def identity(spec: Any) -> dict[str, Any]:
    """The options of a configuration that identify a run, nested as they are saved. What is None is left out."""
    found: dict[str, Any] = {}
    for place in places(type(spec)):
        value = getattr(getattr(spec, place.section.name), place.key)
        if place.option.saved and not place.option.resolved and value is not None and _counts(spec, place):
            _put(found, place.option.saved, _plain(value))
    if isinstance(spec, RunSpec):
        found["model"] |= {"name": spec.model_name, "sampling": spec.model.sampling}
    return found


def merged(tree: Tree, more: Tree) -> dict[str, Any]:
    """A tree with another put over it, table by table."""
    both = dict(tree)
    for key, value in more.items():
        old = both.get(key)
        both[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return both


def differences(known: Tree, now: Tree) -> list[str]:
    """How two saved configurations differ, such as "--max-turns was 40 and is now 8"; the options first."""
    options = {place.option.saved: place for place in places(RunSpec) if place.option.saved}
    before, after = dict(_leaves(known)), dict(_leaves(now))
    order = [*options, *sorted({*before, *after} - options.keys())]
    told = {}
    for path in order:
        standard = options[path].standard if path in options else None
        default = DEFAULTS.get(path, None if standard == () else standard)
        was, is_now = (default if tree.get(path) in (None, []) else tree[path] for tree in (before, after))
        if was != is_now and not (was is None and path in UNKNOWN):
            told[path] = _told(_name(path, options), was, is_now)
    return [text for path, text in told.items() if not _follows(path, told)]


def _counts(spec: Any, place: Place) -> bool:
    """Whether the option has an effect: what is done with flaky tests matters only where a calibration names them."""
    if place.option.saved.startswith("model.sampling"):
        return False  # the body of the requests is saved as one
    if place.path == "agent.feedback":
        return bool(spec.agent.feedback)  # none is what runs without the option have
    return place.path != "verify.unstable" or spec.verify.calibration is not None


def _within(path: str, table: str) -> bool:
    return path == table or path.startswith(f"{table}.")


def _follows(path: str, told: Iterable[str]) -> bool:
    """Whether a difference follows from another one that is told."""
    for part, causes in FOLLOWS.items():
        if _within(path, part):
            others = [other for other in told if not _within(other, part) or other in causes]
            if path not in causes and any(_within(other, cause) for other in others for cause in causes):
                return True
    return False


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    *tables, key = path.split(".")
    for table in tables:
        tree = tree.setdefault(table, {})
    tree[key] = value


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def _leaves(tree: Tree, path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", sorted(value) if f"{path}{key}" in UNORDERED else _plain(value)


def _name(path: str, options: Mapping[str, Place]) -> str:
    if path in options:
        return f"--{options[path].option.name}"
    for saved, place in options.items():
        if isinstance(place.option.kind, Object) and path.startswith(f"{saved}."):
            return f"--{place.option.name} {path.removeprefix(f'{saved}.')}"
    for table, name in NAMES.items():
        if _within(path, table):
            return f"{name} {path.removeprefix(table).lstrip('.')}".rstrip()
    return path


def _told(name: str, was: Any, is_now: Any) -> str:
    before, after = _shown(was), _shown(is_now)
    if max(len(before), len(after)) > SHOWN:
        return f"{name} is not the same"
    return f"{name} was {before} and is now {after}"


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:.12g}" if isinstance(value, float) else str(value)
