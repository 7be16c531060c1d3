"""The executor: where attempts are made and submissions are verified.

The driver hands in an `AttemptSpec` or a `VerifySpec` and gets a `Trajectory` or a `Verdict`. The driver alone writes
the store and keeps the run's budget; an executor only tells it of each payment as it is made. Behind every executor
stand workers, which `WorkerSetup` opens wherever it is sent. To bring an executor of your own, write a class with the
members of `Executor`, made from an `ExecutorSetup`, and register it under the entry point `coding_monkeys.executors`
(docs/extending.md has a worked example).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from agent.agent import AttemptSpec
from agent.trajectory import Trajectory, Usage
from envs import Limits
from monkeys.events import Sink, ignore
from monkeys.executors.worker import Worker
from tasks.task import Submission, Verdict

__all__ = ["Account", "Executor", "ExecutorSetup", "VerifySpec", "WorkerFacts", "WorkerSetup"]


@dataclass(frozen=True, slots=True)
class VerifySpec:
    """One submission to be verified.

    With `probe` the question is whether the task's tests can be run at all, which this submission could not: the
    outcome is an infra error if they cannot, else "unresolved".
    """

    task: str
    submission: Submission
    probe: bool = False


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What the driver records and tells of its workers.

    `sandbox` is the back end's name, empty for a suite without sandboxes; `limits` are those of one sandbox;
    `described` says what isolates and with which versions. `room` is how many sandboxes the machine's memory has room
    for, None where that does not matter, out of `memory_budget_mb`. `warning` is what a person should know.
    """

    sandbox: str = ""
    limits: Limits | None = None
    described: Mapping[str, str] = field(default_factory=dict)
    warning: str = ""
    room: int | None = None
    memory_budget_mb: int | None = None


class WorkerSetup(Protocol):
    """The recipe of a worker. It can be pickled."""

    def open(self, events: Sink) -> AbstractAsyncContextManager[tuple[Worker, WorkerFacts]]:
        """A worker with everything that it needs, closed at the end. Raises what keeps it from working."""
        ...


@dataclass(frozen=True, slots=True)
class ExecutorSetup:
    """What an executor is made with. `workers` attempts are wanted at once, in `processes` where there are several."""

    worker: WorkerSetup
    workers: int
    processes: int = 1
    events: Sink = ignore


class Account(Protocol):
    """The driver's side of one attempt's budget."""

    def paid(self, usage: Usage, dollars: float) -> None:
        """Note a payment of the attempt."""
        ...

    def on_close(self, close: Callable[[bool], None]) -> None:
        """`close` is called when the run reaches a limit: True breaks the attempt off, False lets its turn end.

        At once, where the limit is reached already.
        """
        ...


class Executor(Protocol):
    """Makes attempts and verifies submissions, many at once.

    Guarantees: what it has started ends with it, also when it or its driver is killed; what is lost with a worker is an
    infra error, in the trajectory's `exit` or the verdict's outcome, and never an exception.
    """

    async def start(self) -> WorkerFacts:
        """Open its workers. Raises what keeps one from opening; then nothing is left open."""
        ...

    async def check(self) -> None:
        """Whether the model can answer at all. Raises `ModelRefused`."""
        ...

    async def attempt(self, spec: AttemptSpec, account: Account) -> Trajectory:
        """Make an attempt. Raises only what no attempt can survive, such as `ModelRefused`.

        Called off once the agent has begun, it returns what there is of the attempt, as cancelled.
        """
        ...

    async def verify(self, spec: VerifySpec) -> Verdict:
        """Verify a submission. Never raises for what the submission or a sandbox does."""
        ...

    async def close(self) -> None:
        """End all that it has started. Idempotent."""
        ...
