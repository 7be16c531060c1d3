"""Typed events of a run. Whoever has something to tell is given one sink when it is made.

    Event
    ├── Status, Warned                      what a part is busy with; what a person should know once (envs.events)
    ├── RunBegan, SessionEnded              a session of a run, from its first line to its last
    ├── Recorded                            what earlier sessions of the run recorded of a task
    ├── AttemptBegan, AttemptEnded          one attempt
    ├── VerifyBegan, VerifyEnded            one verification of a submission
    ├── VerdictReached                      a verdict, for so many attempts with the same submission
    ├── TurnQueued, TurnVerdictReached      a submission that an attempt had after a turn, and its verdict
    ├── Incident                            an infrastructure failure, as the circuit breaker counts it
    └── BudgetSpent, LimitReached           what was spent, of how much; the run stops at a limit

Every event becomes one JSON object by `to_json`, with its class as "event".
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from agent.trajectory import Exit, Usage
from envs.events import Event, Sink, Status, Warned, ignore
from tasks.task import Outcome

__all__ = [
    "AttemptBegan",
    "AttemptEnded",
    "BudgetSpent",
    "Event",
    "Incident",
    "LimitReached",
    "Recorded",
    "RunBegan",
    "SessionEnded",
    "Sink",
    "Status",
    "TurnQueued",
    "TurnVerdictReached",
    "VerdictReached",
    "VerifyBegan",
    "VerifyEnded",
    "Warned",
    "ignore",
    "to_json",
]


@dataclass(frozen=True, slots=True)
class RunBegan(Event):
    """A session of a run begins. `lines` are what a person should know first, `warnings` what is dangerous."""

    run: str
    tasks: tuple[str, ...]
    attempts: int
    """Wanted per task, as the strategy has it."""
    title: str = ""
    """The task set and the model."""
    lines: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionEnded(Event):
    """A session of a run has ended; `note` says how: "done", "stopped at --max-cost $5.00", "stopped"."""

    run: str
    note: str


@dataclass(frozen=True, slots=True)
class Recorded(Event):
    """What earlier sessions recorded of a task. `sampled` counts attempts that are no infra errors."""

    task: str
    sampled: int = 0
    resolved: int = 0
    unresolved: int = 0
    infra: int = 0
    """Infra errors, cancelled attempts left out."""


@dataclass(frozen=True, slots=True)
class AttemptBegan(Event):
    """An attempt is under way."""

    task: str
    index: int


@dataclass(frozen=True, slots=True)
class AttemptEnded(Event):
    """An attempt is recorded. `counted` is False for an infra error, whose slot is filled again."""

    task: str
    index: int
    exit: Exit
    turns: int
    usage: Usage
    seconds: float
    counted: bool


@dataclass(frozen=True, slots=True)
class VerifyBegan(Event):
    """A submission for this task is being verified."""

    task: str


@dataclass(frozen=True, slots=True)
class VerifyEnded(Event):
    """A verification is over. An infra error is no verdict: it is tried again, with another `VerifyBegan`."""

    task: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class VerdictReached(Event):
    """`count` attempts at a task have their verdict. They handed in the same submission."""

    task: str
    outcome: Outcome
    count: int = 1


@dataclass(frozen=True, slots=True)
class TurnQueued(Event):
    """A submission that an attempt had after one of its turns waits for its verdict."""

    task: str


@dataclass(frozen=True, slots=True)
class TurnVerdictReached(Event):
    """Such a submission has its verdict. Where an attempt handed it in as well, a `VerdictReached` tells that too."""

    task: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Incident(Event):
    """A failure of our side: the kind, its cause, and how many of its kind followed one another."""

    kind: str
    cause: str
    in_a_row: int


@dataclass(frozen=True, slots=True)
class BudgetSpent(Event):
    """What all sessions of the run have used, of how much. `dollars` is None where no price is known."""

    tokens: int
    dollars: float | None = None
    max_tokens: float | None = None
    max_dollars: float | None = None
    max_seconds: float | None = None
    """Of this session alone."""


@dataclass(frozen=True, slots=True)
class LimitReached(Event):
    """The run stops; the text names the limit, what was spent, and how to go on."""

    text: str


def to_json(event: Event) -> dict[str, Any]:
    """The event as one JSON object."""
    return {"event": type(event).__name__, **asdict(event)}
