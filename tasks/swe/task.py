"""A task of SWE-bench: an issue in a repository, hidden tests, and the known solution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from envs import Origin
from tasks.task import Task

__all__ = ["SweTask", "as_swe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweTask(Task):
    """One issue; its group is the repository.

    `test_command` runs the tests that the repository has at its base. The hidden tests come with `test_patch` and are
    only ever in the verifier's sandbox. A submission must make `fail_to_pass` pass and keep `pass_to_pass` passing.
    `patch` is the known solution. `instance` is the row as it was read.
    """

    origin: Origin
    version: str = ""
    patch: str
    test_patch: str
    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]
    instance: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def criteria(self) -> tuple[str, ...]:
        return (self.test_patch, *self.fail_to_pass, *self.pass_to_pass)


def as_swe(task: Task) -> SweTask:
    """The task as one of SWE-bench. Raises `TypeError` for a task of another suite."""
    if not isinstance(task, SweTask):
        raise TypeError(f"task {task.id} is a {type(task).__name__} and not one of the suite swe")
    return task
