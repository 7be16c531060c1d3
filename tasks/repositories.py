"""Repositories of the embedded tasks on this machine: built once, kept in the user's cache, never changed.

A repository is built beside its place and moved there in one step, so that runs which
start at the same time share it and a killed one leaves nothing half-made in its place.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from tasks.task import Task, TaskSet

__all__ = ["cache_folder", "with_repositories"]


def cache_folder() -> Path:
    """Where this program keeps what it can make again."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "coding-monkeys"


def with_repositories(tasks: TaskSet) -> TaskSet:
    """The same tasks, each embedded one with its repository on this machine (40 ms for one that is not there yet)."""
    folder = cache_folder() / "repositories"
    return TaskSet(tasks.name, tuple(_with_repository(task, folder) for task in tasks.tasks))


def _with_repository(task: Task, folder: Path) -> Task:
    if task.origin.image is not None:
        return task
    place = folder / f"{task.id}-{task.origin.commit[:12]}"
    if not place.is_dir():
        from envs.local import adopt
        from tasks import quick

        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=folder) as building:
            fresh = Path(building) / "repository"
            quick.build_repository(task.id, fresh)
            adopt(fresh)
            try:
                fresh.rename(place)
            except OSError:
                if not place.is_dir():  # else another run was faster, and its copy is the same
                    raise
    return replace(task, origin=replace(task.origin, repository=place))
