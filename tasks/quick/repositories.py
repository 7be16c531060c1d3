"""Repositories of the embedded tasks on this machine: built once, kept in the user's cache, never changed.

A repository is built in a temporary folder and moved to its place in one step. So runs that start at the same time
share it, and a run that is killed leaves nothing half-made in its place.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from shutil import which

from envs.cache_folder import cache_folder, cannot_keep
from tasks.task import Task, TaskError, TaskSet

__all__ = ["FORM", "with_repositories"]

# The form in which repositories are kept: the base and nothing else. (In the first form they hold compiled files too,
# and a patch that adds such files does not apply there.)
FORM = "v2"


def with_repositories(tasks: TaskSet) -> TaskSet:
    """The same tasks, each embedded one with its repository on this machine (40 ms for each that is not there yet).

    Raises `TaskError` for a task of SWE-bench's form that has no image and is not an embedded one, and where the
    repositories cannot be made.
    """
    folder = cache_folder() / "repositories"
    try:
        return replace(tasks, tasks=tuple(_with_repository(task, folder) for task in tasks.tasks))
    except OSError as error:
        raise TaskError(
            f"the repositories of the embedded tasks cannot be made: {cannot_keep(folder, error)}"
        ) from None


def _with_repository(task: Task, folder: Path) -> Task:
    if task.origin is None or task.origin.image is not None:
        return task
    place = folder / f"{task.id}-{task.origin.commit[:12]}-{FORM}"
    if not place.is_dir():
        from envs.local.backend import adopt
        from tasks import quick

        if which("git") is None:
            raise TaskError(
                "git is not installed, and the repositories of the embedded tasks are made with it: install it"
            )
        from git.exc import GitError

        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=folder) as building:
            fresh = Path(building) / "repository"
            try:
                commit = quick.build_repository(task.id, fresh)
            except GitError as error:
                said = " ".join(str(getattr(error, "stderr", "") or error).split())
                raise TaskError(
                    f"the repository of task {task.id} cannot be made in {folder} ({said}); free some space there, or "
                    "set XDG_CACHE_HOME to another folder"
                ) from None
            except KeyError:
                raise TaskError(
                    f"task {task.id} names no image and is not an embedded one; add the field image, or use set quick"
                ) from None
            if commit != task.origin.commit:
                raise TaskError(
                    f"task {task.id} is at commit {commit}, not at its base_commit {task.origin.commit}; "
                    "copy the row from the embedded set"
                )
            adopt(fresh)
            try:
                fresh.rename(place)
            except OSError:
                if not place.is_dir():  # otherwise another run was faster, and its copy is the same
                    raise
    return replace(task, origin=replace(task.origin, repository=place))
