"""Events: messages from the parts of a run to one sink, which each part gets when it is made.

Here are the two kinds that every package may send: the current activity of a part, and a warning. The events of
attempts, verdicts and limits are in `monkeys.events`. A sink accepts any event, returns at once and never raises; it
may be called from any thread.
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
    """The current activity of a part, such as the pull of an image or an outage; an empty text once it is over.

    Activities with different `about` go on side by side: the end of one does not end the others.
    """

    text: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """A warning that a person should read once, such as a field that a server does not accept."""

    text: str
    numbers: bool = False
    """It changes the meaning of the run's numbers, so that a person should read it whatever else is left out."""


def ignore(event: Event) -> None:
    """A sink that drops every event."""
