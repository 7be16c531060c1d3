"""Events: what a part of a run has to tell, sent to one sink that it is given when it is made.

This is the lowest floor's share: a line about what a part is busy with, and a warning. The events of attempts, verdicts
and limits are in `monkeys.events`. A sink takes any event, returns at once and never raises; it may be called from any
thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Event", "Sink", "Status", "Warned", "ignore"]


@dataclass(frozen=True, slots=True)
class Event:
    """The base of all events."""


Sink: TypeAlias = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Status(Event):
    """What a part is busy with, such as an image that is being pulled or an outage; empty once it is over."""

    text: str


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """What a person should know once, such as a field that a server does not take."""

    text: str


def ignore(event: Event) -> None:
    """The sink of those to whom nothing needs to be told."""
