"""Finding a run by its name, a run by its configuration, a task of a run, and an attempt at a task.

What is not found raises `NotFound`, whose message says what there is.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from monkeys.spec.identity import differences
from monkeys.store.checks import check_config, check_schema, guard
from monkeys.store.connections import FILE, open_to_read
from monkeys.store.errors import NotFound, StoreError
from monkeys.store.migrations import check_version, config_of
from monkeys.store.rows import AttemptRow
from monkeys.store.store import Store
from tasks.task import TaskSet

__all__ = ["NotFound", "find_attempt", "find_run", "find_same", "find_task", "run_folders"]

NAMED = 3


def run_folders(runs: Path) -> list[Path]:
    """The folders in `runs` that hold a run, by name."""
    if not runs.is_dir():
        raise NotFound(f"there is no folder {runs}; give the folder that the runs are in with --runs")
    return sorted(folder for folder in runs.iterdir() if (folder / FILE).is_file())


def find_run(runs: Path, name: str) -> Path:
    """The folder of the run called `name` in `runs`, or at the path `name`."""
    for folder in (runs / name, Path(name)):
        if (folder / FILE).is_file():
            return folder
    there = [folder.name for folder in run_folders(runs)] if runs.is_dir() else []
    raise NotFound(f"no run {name!r} in {runs}, nor a run at that path; {_instead(name, there, 'the runs there')}")


def find_same(
    runs: Path,
    stem: str,
    config: Mapping[str, Any],
    tasks: TaskSet,
    also: Callable[[Store], bool] | None = None,
) -> Path | None:
    """The run in `runs` with this configuration and these tasks whose name is `stem`, a dash and eight hex digits.

    That is the form of a name which was not chosen by a person. It finds the run of a version of the program that
    computed the digits in another way. `also` is a further condition. Only a few rows are read of each run with such a
    name, unless it has the same configuration and there is a further condition.
    """
    if not runs.is_dir():
        return None
    names = re.compile(re.escape(stem) + "-[0-9a-f]{8}")
    digests = {task.id: task.digest for task in tasks.tasks}
    for folder in run_folders(runs):
        if names.fullmatch(folder.name) and _is(folder, config, digests) and (also is None or _holds(folder, also)):
            return folder
    return None


def _holds(folder: Path, condition: Callable[[Store], bool]) -> bool:
    store = Store.read(folder)
    try:
        return condition(store)
    finally:
        store.close()


def _is(folder: Path, config: Mapping[str, Any], digests: Mapping[str, str]) -> bool:
    try:
        db = open_to_read(folder / FILE)
        try:
            guard(db)
            check_schema(db, f"run {folder}")
            check_version(db, folder)
            same = not differences(check_config(config_of(db), f"run {folder}"), config)
            return same and dict(db.execute("SELECT id, digest FROM tasks")) == digests
        finally:
            db.close()
    except (sqlite3.Error, StoreError):
        return False  # not a run that this program can go on with


def find_task(store: Store, name: str) -> str:
    """The task with this id, or the only one whose id contains `name`."""
    there = store.task_ids()
    if name in there:
        return name
    found = [task for task in there if name in task]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFound(f"{name!r} matches {_listed(found)}; give more of the id")
    raise NotFound(f"no task {name!r} in run {store.folder.name}; {_instead(name, there, 'its tasks')}")


def find_attempt(store: Store, task: str, index: int, number: int | None) -> AttemptRow:
    """The try of an attempt that counts, or the last one if none counts. With `number`, the try of that number."""
    tries = [row for row in store.attempts(task) if row.index == index]
    if not tries:
        have = sorted({row.index for row in store.attempts(task)})
        span = f"has attempts {have[0]} to {have[-1]}" if have else "has no attempts yet"
        raise NotFound(f"no attempt {index} at {task} in run {store.folder.name}, which {span}")
    if number is None:
        return next((row for row in tries if not row.exit.infra), tries[-1])
    for row in tries:
        if row.tries == number:
            return row
    raise NotFound(f"attempt {index} at {task} has no try {number}; there are {len(tries)}, counted from 0")


def _instead(name: str, there: Sequence[str], what: str) -> str:
    if not there:
        return f"{what} are none"
    close = get_close_matches(name, there, NAMED)
    return f"did you mean {' or '.join(close)}?" if close else f"{what} are {_listed(there)}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
