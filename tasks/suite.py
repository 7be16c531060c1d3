"""The suite: a family of tasks with one form of submission and one way to verify it.

A suite loads tasks, says what an agent is shown, collects a `Submission`, makes the verifier, says whether a sandbox is
needed, and says when two submissions are equivalent. `tasks.suites` finds suites by name. To add one, write a class
with the members of `Suite` and register it under the entry point `coding_monkeys.suites` (docs/extending.md has a
worked example).

Guarantees, of every suite:
- What an agent is shown holds nothing of what verifies its submission.
- Submissions with the same canonical form get the same verdict.
- A failure of this side is the outcome "infra error" and never "unresolved".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from envs import Backend, Limits, Sandbox
from envs.events import Sink, ignore
from tasks.task import Submission, Task, TaskSet, Verdict

__all__ = ["Probing", "Suite", "Verifier", "VerifierSetup"]


class Verifier(Protocol):
    """Says whether a submission solves its task; many at once."""

    async def verify(self, task: Task, submission: Submission) -> Verdict:
        """The verdict. Never raises for what a submission or a sandbox does: that is in the verdict."""
        ...

    async def close(self) -> None:
        """Release what it holds. Idempotent."""
        ...


@runtime_checkable
class Probing(Protocol):
    """What a verifier has in addition if it can tell a broken machine from a submission that breaks its sandbox."""

    async def probe(self, task: Task) -> str:
        """Run the task's tests now, without a submission of an attempt. Empty if they ran, else what failed."""
        ...


def _half_an_hour(task: Task) -> float:
    return 1800.0


def _once(task: Task) -> int:
    return 1


@dataclass(frozen=True, slots=True)
class VerifierSetup:
    """The settings that a verifier is made with.

    `backend` opens its sandboxes under `limits`; both are None for a suite without sandboxes. `seconds` is how long one
    run of a task's tests may take, `workers` how many verifications run at once. With `cache`, verdicts that were
    reached on this machine are used, and new ones are kept; `recheck` is the share of those found that are verified
    again, drawn by `seed`. `repeats` is how many runs of a task's tests decide on a submission. With `test_base`, tests
    are run for an empty submission too, where there is a base to run them on. Warnings go to `events`.
    """

    backend: Backend | None = None
    limits: Limits | None = None
    seconds: Callable[[Task], float] = _half_an_hour
    workers: int = 2
    cache: bool = True
    recheck: float = 0.0
    seed: int = 0
    repeats: Callable[[Task], int] = _once
    test_base: bool = False
    events: Sink = ignore


class Suite(Protocol):
    """A family of tasks. Stateless: one object serves a whole run, in every process."""

    @property
    def name(self) -> str:
        """Under which it is registered."""
        ...

    @property
    def kind(self) -> str:
        """The kind of its submissions: "patch", "answer", "program" or "proof"."""
        ...

    @property
    def needs_sandbox(self) -> bool:
        """Whether an attempt and a verification take place in a sandbox."""
        ...

    @property
    def sources(self) -> str:
        """The sources that it reads, in a few words, for the message on one that no suite reads."""
        ...

    def reads(self, source: str) -> bool:
        """Whether `source`, a name or a file, is a task set of this suite. Cheap, and never raises."""
        ...

    def load(self, source: str) -> TaskSet:
        """The tasks of `source`. Raises `TaskError` with the file, the line and the remedy."""
        ...

    def prepare(self, tasks: TaskSet) -> TaskSet:
        """The tasks with all that their sandboxes need on this machine, such as repositories. May take seconds.

        Raises `TaskError` for what is missing, such as a package that verifies these tasks.
        """
        ...

    def shown(self, task: Task) -> str:
        """The statement as an agent reads it, with nothing of what verifies a submission."""
        ...

    async def collect(self, task: Task, sandbox: Sandbox | None, reply: str) -> Submission:
        """The submission of an attempt: taken from the sandbox if there is one, else from the model's last reply.

        Raises `SandboxError`.
        """
        ...

    def known(self, task: Task) -> Submission | None:
        """The known solution, None if the task has none."""
        ...

    def canonical(self, task: Task, submission: Submission) -> bytes:
        """The form in which two submissions are compared: equal bytes are one vote and one verdict."""
        ...

    def verifier(self, setup: VerifierSetup) -> Verifier:
        """A verifier for the tasks of this suite, open until it is closed."""
        ...
