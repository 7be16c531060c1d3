"""The suite: a family of tasks with one form of submission and one way to verify it.

A suite loads tasks, says what an agent is shown, collects a `Submission`, makes the verifier, says whether a sandbox is
needed, and says when two submissions are equivalent. To bring one of your own, write a class with these members and
register it under the entry point `coding_monkeys.suites` (docs/extending.md has a worked example).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from envs import Backend, Limits, Sandbox
from envs.events import Sink, ignore
from tasks.task import Submission, Task, TaskSet, Verdict

__all__ = ["Suite", "Verifier", "VerifierSetup"]


class Verifier(Protocol):
    """Says whether a submission solves its task."""

    async def verify(self, task: Task, submission: Submission) -> Verdict:
        """The verdict. Never raises for what a submission or a sandbox does: that is in the verdict."""
        ...

    async def close(self) -> None:
        """Release what it holds. Idempotent."""
        ...


def _once(task: Task) -> int:
    return 1


@dataclass(frozen=True, slots=True)
class VerifierSetup:
    """What a verifier is made with.

    `backend` opens its sandboxes under `limits`; both are None for a suite without sandboxes. `seconds` is how long one
    run of a task's tests may take, `workers` how many verifications run at once. `cache` uses and keeps the verdicts of
    this machine; `recheck` is the share of those that are verified again, drawn by `seed`; `repeats` says how many runs
    decide on a submission for a task.
    """

    backend: Backend | None
    limits: Limits | None
    seconds: Callable[[Task], float]
    workers: int = 2
    cache: bool = True
    recheck: float = 0.0
    seed: int = 0
    repeats: Callable[[Task], int] = _once
    events: Sink = ignore


class Suite(Protocol):
    """A family of tasks. Stateless: one object serves a whole run, in every process."""

    @property
    def name(self) -> str:
        """Recorded with the run."""
        ...

    @property
    def kind(self) -> str:
        """The kind of its submissions: "patch", "answer", "program" or "proof"."""
        ...

    @property
    def needs_sandbox(self) -> bool:
        """Whether an attempt and a verification take place in a sandbox."""
        ...

    def reads(self, source: str) -> bool:
        """Whether `source`, a name or a file, is a task set of this suite. Cheap, and never raises."""
        ...

    def load(self, source: str) -> TaskSet:
        """The tasks of `source`. Raises `TaskError` with the file, the line and the remedy."""
        ...

    def prepare(self, tasks: TaskSet) -> TaskSet:
        """The tasks with all that their sandboxes need on this machine, such as repositories. May take seconds."""
        ...

    def shown(self, task: Task) -> str:
        """The statement as an agent reads it; nothing of what verifies it."""
        ...

    async def collect(self, task: Task, sandbox: Sandbox | None, reply: str) -> Submission:
        """What an attempt hands in: taken from the sandbox where there is one, else from the model's last reply.

        Raises `SandboxError`.
        """
        ...

    def known(self, task: Task) -> Submission | None:
        """The known solution, None where the task has none."""
        ...

    def canonical(self, task: Task, submission: Submission) -> bytes:
        """The form in which two submissions are compared: equal bytes are one vote and one verdict."""
        ...

    def verifier(self, setup: VerifierSetup) -> Verifier:
        """A verifier for the tasks of this suite, open until it is closed."""
        ...
