"""Events of a run, and those that listen: counts, a log file, displays."""

from monkeys.events.events import (
    AttemptBegan,
    AttemptEnded,
    BudgetSpent,
    Event,
    Incident,
    LimitReached,
    Recorded,
    RunBegan,
    SessionEnded,
    Sink,
    Status,
    VerdictReached,
    VerifyBegan,
    VerifyEnded,
    Warned,
    ignore,
    to_json,
)
from monkeys.events.progress import Progress, VerdictProgress
from monkeys.events.sinks import JsonLines, several

__all__ = [
    "AttemptBegan",
    "AttemptEnded",
    "BudgetSpent",
    "Event",
    "Incident",
    "JsonLines",
    "LimitReached",
    "Progress",
    "Recorded",
    "RunBegan",
    "SessionEnded",
    "Sink",
    "Status",
    "VerdictProgress",
    "VerdictReached",
    "VerifyBegan",
    "VerifyEnded",
    "Warned",
    "ignore",
    "several",
    "to_json",
]
