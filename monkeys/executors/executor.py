"""The executor: where attempts are made and submissions are verified.

The driver hands in an `AttemptSpec` or a `VerifySpec` and gets a `Trajectory` or a `Verdict`. The driver alone writes
the store and keeps the run's budget; an executor only tells it of each payment as it is made. To bring an executor of
your own, write a class with the members of `Executor` and register it under the entry point
`coding_monkeys.executors` (docs/extending.md has a worked example).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agent.agent import AttemptSpec
from agent.trajectory import Trajectory
from tasks.task import Submission, Verdict

__all__ = ["Account", "Executor", "VerifySpec"]


@dataclass(frozen=True, slots=True)
class VerifySpec:
    """One submission to be verified."""

    task: str
    submission: Submission


class Account(Protocol):
    """The driver's side of one attempt's budget."""

    def paid(self, tokens: int, dollars: float) -> None:
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

    @property
    def at_once(self) -> int:
        """How many attempts it has room for at a time."""
        ...

    async def attempt(self, spec: AttemptSpec, account: Account) -> Trajectory:
        """Make an attempt. Raises only what no attempt can survive, such as `ModelRefused`."""
        ...

    async def verify(self, spec: VerifySpec) -> Verdict:
        """Verify a submission. Never raises for what the submission or a sandbox does."""
        ...

    async def close(self) -> None:
        """End all that it has started. Idempotent."""
        ...
