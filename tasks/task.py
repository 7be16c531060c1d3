"""The records of a task: `Task`, `TaskSet`, the `Submission` of an attempt, and the `Verdict` on it.

MonkeysError
├── TaskError           a task set cannot be read or used        tasks.task
├── PredictionsError    predictions cannot be read or written    tasks.predictions
├── UnknownName         no suite has this name                   envs.registry
└── GraderFailed        SWE-bench's grader itself failed         tasks.swe.grading
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import StrEnum

from envs import Origin
from envs.errors import MonkeysError

__all__ = ["LEFT_OUT", "Outcome", "Submission", "Task", "TaskError", "TaskSet", "Verdict"]


LEFT_OUT = "left out of the patch"  # begins a remark on changes that a submission lacks


class TaskError(MonkeysError):
    """A task set cannot be read or used; the message names the file, the line and the remedy."""


class Outcome(StrEnum):
    """How an attempt ends. An infra error is a failure of this side: it is recorded and never counts as unresolved."""

    RESOLVED = "resolved"
    UNRESOLVED = "unresolved"
    INFRA_ERROR = "infra error"


@dataclass(frozen=True, slots=True)
class Submission:
    """The result that an attempt hands in. `kind` is "patch", "answer", "program" or "proof".

    `remark` tells people what it lacks, such as files that no patch can hold. It is no part of the submission.
    """

    body: bytes = b""
    kind: str = "patch"
    remark: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One problem of any suite. A suite adds what it verifies with in a subclass.

    `statement` is the problem as its author wrote it. Reports group tasks by `group`: a repository, a subject.
    `origin` is what a sandbox starts from, None where no sandbox is needed. `test_command` runs the tests that an
    agent may see, "" where there are none.
    """

    id: str
    statement: str
    group: str = ""
    origin: Origin | None = None
    test_command: str = ""

    @property
    def criteria(self) -> tuple[str, ...]:
        """The texts that decide whether a submission is right, such as hidden tests; a part of the digest."""
        return ()

    @property
    def digest(self) -> str:
        """Identity by content: id, base commit, statement and criteria."""
        commit = self.origin.commit if self.origin else ""
        parts = [self.id, commit, self.statement, *self.criteria]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class TaskSet:
    """Tasks of one suite in a fixed order, under a name."""

    name: str
    tasks: tuple[Task, ...]
    suite: str = "swe"

    def __len__(self) -> int:
        return len(self.tasks)

    def select(self, ids: list[str]) -> TaskSet:
        """The tasks with these ids, in the order of the set. Raises `TaskError` for an id that is not in it."""
        known = {task.id for task in self.tasks}
        unknown = [name for name in ids if name not in known]
        if unknown:
            some = ", ".join(task.id for task in self.tasks[:4])
            near = dict.fromkeys(close for name in unknown for close in get_close_matches(name, known, 1))
            hint = f"; did you mean {' and '.join(near)}?" if near else ""
            raise TaskError(
                f"no task {', '.join(unknown)} in {self.name}, which holds {len(self)} such as {some}{hint}"
            )
        return replace(self, tasks=tuple(task for task in self.tasks if task.id in ids))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of verifying one submission.

    `tests` gives the status of each expected test by its id. `reason` says why the submission is unresolved, or what
    failed on this side. `official` is the result of the task's own harness, None where there is none. `flags` are
    oddities for a person to look at; they change nothing. `cached` is True for a verdict that was reached before,
    `flaky` where several runs of the same tests disagreed.
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
