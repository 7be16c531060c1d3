"""The suites by name, and the task sets that they read.

A package adds a suite through an entry point in the group `coding_monkeys.suites`: a callable without parameters, such
as a class, that makes a `Suite`. A source is read by the suite that is named, or else by the first suite whose `reads`
is true; the built-in suites are asked first.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from envs.errors import MonkeysError
from envs.registry import Registry
from tasks.row_files import is_path, rows_of_file
from tasks.suite import Suite
from tasks.task import TaskError, TaskSet

__all__ = ["SUITES", "load_tasks", "suite_of"]

SUITES = Registry(
    "suites", "suite", Suite, {"swe": "tasks.swe.suite:SweSuite", "answers": "tasks.answers.suite:AnswerSuite"}
)


def suite_of(name: str) -> Suite:
    """The suite registered as `name`. Raises `UnknownName`, which lists what there is."""
    suite: Suite = SUITES.make(name)
    return suite


def load_tasks(source: str, suite: str | None = None) -> TaskSet:
    """The tasks of `source`, a name or a file, as `suite` reads it, or else the first suite that knows it.

    Raises `TaskError` with the file, the line and the remedy, and `UnknownName` for a suite that does not exist.
    """
    if suite is not None:
        return suite_of(suite).load(source)
    asked: dict[str, Suite] = {}
    broken = []  # a suite that cannot be made must not hide the others
    for name in SUITES.names:
        try:
            asked[name] = suite_of(name)
        except MonkeysError as error:
            broken.append(str(error))
            continue
        if asked[name].reads(source):
            return asked[name].load(source)
    raise TaskError("; ".join([_refusal(source, asked), *broken]))


def _refusal(source: str, suites: Mapping[str, Suite]) -> str:
    """Why no suite reads `source`. Raises `TaskError` itself for a file that cannot be read at all."""
    known = "; ".join(f"suite {name} reads {suite.sources}" for name, suite in suites.items())
    if not is_path(source):
        names = [word for suite in suites.values() for word in suite.sources.split(", ") if " " not in word]
        close = get_close_matches(source, names, 1)
        return f"no task set {source!r}{f' (did you mean {close[0]}?)' if close else ''}: {known}"
    for where, _ in rows_of_file(Path(source)):
        return f"{where}: no suite reads this row: {known}"
    return f"{source} holds no task: {known}"
