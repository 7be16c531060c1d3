"""The circuit breaker: groups infrastructure failures into incidents, and stops the run after too many in a row.

Sampling, verifying and calibrating tell it of their failures and of what works. So a lost engine or a dead server stops
a run within moments, and a failure now and then does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from envs.errors import MonkeysError

__all__ = ["INCIDENTS_IN_A_ROW", "INCIDENT_SECONDS", "CircuitBreaker", "RunStopped"]

# An engine that is restarted may be away for half a minute: this many incidents take at least that long, unless
# attempts fail faster than one after the other.
INCIDENTS_IN_A_ROW = 8
INCIDENT_SECONDS = 5.0


class RunStopped(MonkeysError):
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
    """Counts our own failures by what may have been one cause: an incident.

    The failures of one kind within `INCIDENT_SECONDS` of the first of them are one incident, but no more of them than
    were under way at once. So all that is lost in one moment is one incident, while work that fails at once again and
    again, or slowly one after the other, soon makes many. What a failure's message says does not matter, for it may
    hold names and numbers of its own. Anything that works ends every row of incidents.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[str, _Row] = {}
        self._count = 0

    def worked(self) -> None:
        """Note that something worked."""
        self._rows.clear()

    def failed(self, kind: str, cause: str, at_once: int) -> tuple[int, int]:
        """Note a failure of work of which `at_once` may be under way.

        Returns the number of its incident in the run, and of the failure in its row, both from 1. Raises `RunStopped`,
        with this cause, when its row comes to `INCIDENTS_IN_A_ROW`.
        """
        now, row = self._clock(), self._rows.setdefault(kind, _Row())
        if not row.incidents or row.size >= at_once or now - row.began >= INCIDENT_SECONDS:
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
