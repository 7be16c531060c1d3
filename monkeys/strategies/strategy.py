"""The strategy: which attempt is made next, what it is given of earlier ones, and which estimator then holds.

To bring a strategy of your own, write a class with the members of `Strategy` and register it under the entry point
`coding_monkeys.strategies` (docs/extending.md has a worked example). Of the two ways in which attempts may come to
depend on one another, a strategy declares both: `goes_by_verdicts` when outcomes decide who is attempted, and a
`sampling` of "dependent" when `brief` gives an attempt something of earlier ones. What `brief` gives never comes from
the hidden tests: it sees submissions and transcripts, and no verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from agent.trajectory import Exit, Message
from tasks.task import Submission, Task

__all__ = ["Brief", "Earlier", "PastAttempt", "Plan", "SamplingDesign", "Scheduler", "Slot", "Strategy"]

Slot: TypeAlias = tuple[str, int]
"""A task's id and the index of an attempt at it."""


@dataclass(frozen=True, slots=True)
class SamplingDesign:
    """How a run's attempts came about, as the science needs it; saved with the run.

    `kind` is one of `monkeys.science.coverage.Sampling`: "independent", "stopped" (each task until its first success),
    "adaptive" (as many as outcomes made worthwhile) or "dependent" (attempts know of one another). `first` is how many
    attempts each task has whose number did not depend on outcomes; only for "adaptive".
    """

    kind: str = "independent"
    first: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind} if self.first is None else {"kind": self.kind, "first": self.first}


@dataclass(frozen=True, slots=True)
class Brief:
    """What one attempt is given of earlier ones: a text for the agent, and the attempts that it is made of."""

    text: str = ""
    parents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """An attempt that has ended and counts, as a later one may know it: without its verdict."""

    index: int
    exit: Exit
    submission: Submission
    conversation: Callable[[], Sequence[Message]]


class Earlier(Protocol):
    """The attempts of a run so far."""

    def attempts(self, task: str) -> Sequence[PastAttempt]:
        """Those at a task that have ended and count, in the order of their indices."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What a scheduler is made for.

    `tasks` are the tasks' ids in order, `attempts` how many each is to have (or has on average, or at the most, as the
    strategy has it), `sampled` the indices that are recorded already, `resolved` gives how many attempts at each task
    are known to have resolved it, in the order of the tasks, and `ended` the indices of a task that have been recorded
    by now.
    """

    tasks: Sequence[str]
    attempts: int
    sampled: Mapping[str, set[int]]
    resolved: Callable[[], Sequence[int]]
    ended: Callable[[str], set[int]]
    seed: int


class Scheduler(Protocol):
    """Hands out slots.

    Guarantees, of every scheduler: no slot that has its attempt is handed out again; the indices of a task are handed
    out from 0 on without a gap; gaps that failures, interruptions and kills left are filled first.
    """

    def next(self) -> Slot | None:
        """The slot to attempt next; None if there is none for now. It is asked again after each attempt and verdict."""
        ...

    def again(self, slot: Slot) -> None:
        """Put a slot back whose attempt did not come about."""
        ...


class Strategy(Protocol):
    """One way to choose attempts. Stateless: what it keeps, its scheduler keeps."""

    @property
    def name(self) -> str:
        """Recorded with the run."""
        ...

    @property
    def goes_by_verdicts(self) -> bool:
        """Whether outcomes decide who is attempted: each attempt then waits for its verdict, and none goes without."""
        ...

    @property
    def sampling(self) -> SamplingDesign:
        """How its attempts come about, for the estimators."""
        ...

    def identity(self) -> Mapping[str, Any]:
        """Its parameters that must not change within a run, as JSON."""
        ...

    def scheduler(self, plan: Plan) -> Scheduler: ...

    def brief(self, task: Task, index: int, earlier: Earlier) -> Brief:
        """What this attempt is given of earlier ones. Called when it is about to start."""
        ...

    def wanted(self, attempts: int, sampled: Sequence[int], resolved: Sequence[int]) -> int:
        """How many attempts the run is to have in all, as far as is known, from the counts of each task so far."""
        ...
