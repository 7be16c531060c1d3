"""From what a person typed to a run, a task in it, an attempt at that. A miss says what there is."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from monkeys.store import AttemptRow, Store

__all__ = ["NotFound", "find_attempt", "find_run", "find_task", "run_folders"]

NAMED = 3


class NotFound(Exception):
    """There is no such thing; the message says what is there instead."""


def run_folders(runs: Path) -> list[Path]:
    """The folders below `runs` that hold a run, by name."""
    if not runs.is_dir():
        raise NotFound(f"no folder {runs}; name the one that the runs are in with --runs")
    return sorted(folder for folder in runs.iterdir() if (folder / "run.sqlite").is_file())


def find_run(runs: Path, name: str) -> Path:
    """The folder of the run called `name` in `runs`, or at the path `name`."""
    for folder in (runs / name, Path(name)):
        if (folder / "run.sqlite").is_file():
            return folder
    there = [folder.name for folder in run_folders(runs)] if runs.is_dir() else []
    raise NotFound(f"no run {name!r} in {runs}, nor a run at that path; {_instead(name, there, 'the runs there')}")


def find_task(store: Store, name: str) -> str:
    """The task with this id, or the only one whose id holds `name`."""
    there = store.task_ids()
    if name in there:
        return name
    found = [task for task in there if name in task]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFound(f"{name!r} may be any of {_listed(found)}; give more of the id")
    raise NotFound(f"no task {name!r} in run {store.folder.name}; {_instead(name, there, 'its tasks')}")


def find_attempt(store: Store, task: str, index: int, number: int | None) -> AttemptRow:
    """The try of an attempt that counts, or for want of one the last; or the one with this number."""
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
