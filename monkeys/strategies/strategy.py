"""The strategy: which attempt is made next, what it is given of earlier attempts, and which estimator then holds.

To bring a strategy of your own, write a class with the members of `Strategy` and register it under the entry point
`coding_monkeys.strategies` (docs/extending.md has a worked example). Attempts may come to depend on one another in two
ways, and a strategy declares both: `goes_by_verdicts` when outcomes decide which task is attempted, and a `sampling` of
kind "dependent" when `brief` gives an attempt something of earlier ones.

Guarantee: what `brief` gives never comes from the hidden tests. It sees submissions and conversations, and no verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, get_args

from agent.trajectory import Exit, Message
from envs.errors import MonkeysError
from tasks.task import Submission, Task

__all__ = [
    "Brief",
    "Earlier",
    "PastAttempt",
    "Plan",
    "SamplingDesign",
    "SamplingKind",
    "Scheduler",
    "Slot",
    "Strategy",
    "StrategyError",
    "strategy_config",
]

Slot: TypeAlias = tuple[str, int]
"""A task's id and the index of an attempt at it."""

SamplingKind: TypeAlias = Literal["independent", "stopped", "adaptive", "dependent"]
"""The same four words as `monkeys.science.coverage.Sampling`."""


class StrategyError(MonkeysError):
    """A strategy cannot work with these parameters; the message says what would be right instead."""


@dataclass(frozen=True, slots=True)
class SamplingDesign:
    """How a run's attempts came about, as the estimators need it; saved with the run.

    | kind | attempts | what holds |
    |---|---|---|
    | independent | as many on each task as fixed beforehand | every estimator |
    | stopped | each task until its first success | the estimators for stopped attempts |
    | adaptive | as many on each task as outcomes made worthwhile | coverage from the `first` of each task |
    | dependent | attempts know of earlier ones | coverage of the whole procedure, in the order of the attempts |

    `first` is how many attempts each task has whose number did not depend on outcomes; only "adaptive" has one.
    """

    kind: SamplingKind = "independent"
    first: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(SamplingKind):
            raise StrategyError(f"sampling {self.kind!r} is unknown: choose one of {', '.join(get_args(SamplingKind))}")
        if (self.kind == "adaptive") != (self.first is not None):
            raise StrategyError(f"sampling {self.kind!r} with first = {self.first}: adaptive has a first, others none")

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind} if self.first is None else {"kind": self.kind, "first": self.first}


@dataclass(frozen=True, slots=True)
class Brief:
    """What one attempt is given of earlier ones: a text for the agent, and the attempts that it is made of."""

    text: str = ""
    parents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """An attempt that has ended and counts, as a later attempt may know it: without its verdict."""

    index: int
    exit: Exit
    submission: Submission
    conversation: Callable[[], Sequence[Message]]


class Earlier(Protocol):
    """The attempts of a run so far."""

    def attempts(self, task: str) -> Sequence[PastAttempt]:
        """The attempts at a task that have ended and count, in the order of their indices."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What a scheduler is made for.

    `tasks` are the ids of the tasks in order. `attempts` is how many attempts each task is to have; whether exactly, on
    average or at the most is up to the strategy. `sampled` holds the indices that were recorded when the session began.
    `resolved` gives how many attempts at each task are known to have resolved it, in the order of the tasks. `ended`
    gives the indices of a task that are recorded by now; infra errors are not among them. `seed` is the run's.
    """

    tasks: Sequence[str]
    attempts: int
    sampled: Mapping[str, set[int]]
    resolved: Callable[[], Sequence[int]]
    ended: Callable[[str], set[int]]
    seed: int


class Scheduler(Protocol):
    """Hands out slots.

    Guarantees, of every scheduler: a slot is handed out once, and again only after it was put back. The indices of a
    task are handed out from 0 on without a gap. A gap that an earlier session left in a task is filled before an index
    that this task has not reached yet.
    """

    def next(self) -> Slot | None:
        """The slot to attempt next; None if there is none for now.

        After None it is asked again whenever an attempt has ended or a verdict is known. The run is complete once it
        gives None while no attempt is under way.
        """
        ...

    def again(self, slot: Slot) -> None:
        """Put back a slot whose attempt was an infra error. A slot that is given up for good is not put back."""
        ...


class Strategy(Protocol):
    """One way to choose attempts. Stateless: what changes during a run is in its scheduler.

    `monkeys.strategies.independent.FixedNumber` has the members of a strategy that makes the same number of attempts on
    every task; a class that derives from it adds what is its own.
    """

    @property
    def name(self) -> str:
        """Recorded with the run."""
        ...

    @property
    def goes_by_verdicts(self) -> bool:
        """Whether outcomes decide which task is attempted: a worker then waits for the verdict on its attempt."""
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
        """How many attempts the run is to have in all, as far as is known.

        `attempts` is as in `Plan`; `sampled` and `resolved` count the attempts at each task so far.
        """
        ...

    def done(self, attempts: int, sampled: Sequence[int]) -> int:
        """How many of the wanted attempts have been made. A run is complete when it is as many as `wanted`."""
        ...


def strategy_config(strategy: Strategy) -> dict[str, Any]:
    """The part of a run's configuration that records its strategy."""
    return {"name": strategy.name, "sampling": strategy.sampling.to_json(), **strategy.identity()}
