"""What is to be solved: `Task`, `TaskSet`, and what a verifier says of a patch, `Verdict`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from envs import Origin

__all__ = ["Outcome", "Submission", "Task", "TaskError", "TaskSet", "Verdict"]


class TaskError(Exception):
    """A task set cannot be read; the message names the file, the line and the remedy."""


class Outcome(StrEnum):
    """How an attempt ends. An infra error is ours, is kept as evidence and never counts as a failure."""

    RESOLVED = "resolved"
    UNRESOLVED = "unresolved"
    INFRA_ERROR = "infra error"


@dataclass(frozen=True, slots=True)
class Submission:
    """What an attempt hands in. `kind` is "patch", "answer", "program" or "proof"."""

    body: bytes = b""
    kind: str = "patch"


@dataclass(frozen=True, slots=True)
class Task:
    """One issue: a statement, an environment and what verifies it.

    `test_command` runs the tests that the repository shows at its base; the hidden ones
    come with `test_patch` and are only ever in the verifier's sandbox. `instance` is the
    row as it was read.
    """

    id: str
    repo: str
    version: str
    problem_statement: str
    patch: str
    test_patch: str
    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]
    origin: Origin
    test_command: str
    instance: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def digest(self) -> str:
        """Identity by content: what was asked, from where, and what decides."""
        parts = [
            self.id,
            self.origin.commit,
            self.problem_statement,
            self.test_patch,
            *self.fail_to_pass,
            *self.pass_to_pass,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class TaskSet:
    """Tasks in a fixed order, under a name."""

    name: str
    tasks: tuple[Task, ...]

    def __len__(self) -> int:
        return len(self.tasks)

    def select(self, ids: list[str]) -> TaskSet:
        """Only these, in the set's order. Raises `TaskError` for an id that is not in it."""
        known = {task.id for task in self.tasks}
        unknown = [name for name in ids if name not in known]
        if unknown:
            some = ", ".join(task.id for task in self.tasks[:4])
            raise TaskError(f"no task {', '.join(unknown)} in {self.name}, which holds {len(self)} such as {some}")
        return TaskSet(self.name, tuple(task for task in self.tasks if task.id in ids))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the verifier says of one patch. `tests` are the expected ids with their status.

    `official` is what the task's own harness says of it, None where it was not asked;
    `flags` are oddities for a person to look at, which by themselves change nothing.
    `cached` tells that it was found, not made; `flaky` that a second run said otherwise.
    """

    outcome: Outcome
    reason: str
    tests: Mapping[str, str]
    seconds: float
    log: bytes = field(repr=False, default=b"")
    official: bool | None = None
    flags: tuple[str, ...] = ()
    cached: bool = False
    flaky: bool = False

    @property
    def resolved(self) -> bool:
        return self.outcome is Outcome.RESOLVED
