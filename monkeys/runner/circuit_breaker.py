"""What of our own failures belongs together, and when they are too many to go on.

Whatever a run does again and again (sampling, verifying, calibrating) tells of its failures
and of what works here. So a lost engine or a dead server stops it within moments, and a
failure now and then does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["INCIDENTS_IN_A_ROW", "INCIDENT_SECONDS", "CircuitBreaker", "RunStopped"]

# An engine that is restarted may be away for half a minute: this many incidents take at least that long, unless
# attempts fail faster than one after the other.
INCIDENTS_IN_A_ROW = 8
INCIDENT_SECONDS = 5.0


class RunStopped(Exception):
    """The run ended before it was complete; the message says why and what to do. Nothing recorded is lost."""


@dataclass(slots=True)
class _Row:
    """Failures of one kind with nothing that worked between them."""

    failures: int = 0
    incidents: int = 0
    number: int = 0  # of the last incident in it
    began: float = 0.0  # when that did
    size: int = 0


class CircuitBreaker:
    """Counts our own failures, not one by one but by what may have been one cause: an incident.

    The failures of one kind within `INCIDENT_SECONDS` of the first of them are one incident, though no more of
    them than a crew, which is what is under way at once. So all that is lost in one moment is one incident, and
    both those who fail at once again and again and those who fail slowly soon make many. What the failures say
    does not matter, for it may hold names and numbers of their own. Whatever works ends every row of them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[str, _Row] = {}
        self._count = 0

    def worked(self) -> None:
        self._rows.clear()

    def failed(self, kind: str, cause: str, crew: int) -> tuple[int, int]:
        """Note a failure. Returns the number of its incident in the run, and of the failure in its row, both from 1.

        Raises `RunStopped`, with this cause, when its row comes to `INCIDENTS_IN_A_ROW`.
        """
        now, row = self._clock(), self._rows.setdefault(kind, _Row())
        if not row.incidents or row.size >= crew or now - row.began >= INCIDENT_SECONDS:
            self._count += 1
            row.number, row.began, row.size = self._count, now, 0
            row.incidents += 1
        row.size += 1
        row.failures += 1
        if row.incidents >= INCIDENTS_IN_A_ROW:
            raise RunStopped(
                f"{kind} {row.failures} times with nothing that worked between them; the last time: {cause}. "
                "Nothing recorded is lost; mend the cause and give the same command again"
            )
        return row.number, row.failures
