"""Repositories of the embedded tasks on this machine: built once, kept in the user's cache, never changed.

A repository is built in a temporary folder and moved to its place in one step. So runs that start at the same time
share it, and a run that is killed leaves nothing half-made in its place.
"""

from __future__ import annotations

import compileall
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from py_compile import PycInvalidationMode

from tasks.task import Task, TaskError, TaskSet

__all__ = ["cache_folder", "with_repositories"]


def cache_folder() -> Path:
    """The folder where this program keeps what it can make again."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "coding-monkeys"


def with_repositories(tasks: TaskSet) -> TaskSet:
    """The same tasks, each embedded one with its repository on this machine (40 ms for each that is not there yet).

    Raises `TaskError` for a task of SWE-bench's form that has no image and is not an embedded one.
    """
    folder = cache_folder() / "repositories"
    return replace(tasks, tasks=tuple(_with_repository(task, folder) for task in tasks.tasks))


def _with_repository(task: Task, folder: Path) -> Task:
    if task.origin is None or task.origin.image is not None:
        return task
    place = folder / f"{task.id}-{task.origin.commit[:12]}"
    if not place.is_dir():
        from envs.local.backend import adopt
        from tasks import quick

        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=folder) as building:
            fresh = Path(building) / "repository"
            try:
                commit = quick.build_repository(task.id, fresh)
            except KeyError:
                raise TaskError(
                    f"task {task.id} names no image and is not an embedded one; add the field image, or use set quick"
                ) from None
            if commit != task.origin.commit:
                raise TaskError(
                    f"task {task.id} is at commit {commit}, not at its base_commit {task.origin.commit}; "
                    "copy the row from the set quick"
                )
            # Saves a tenth of each test run. The compiled files are checked by the contents of the source: an edit may
            # come within the second in which the file was made, and may keep its size.
            compileall.compile_dir(fresh, quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
            adopt(fresh)
            try:
                fresh.rename(place)
            except OSError:
                if not place.is_dir():  # otherwise another run was faster, and its copy is the same
                    raise
    return replace(task, origin=replace(task.origin, repository=place))
