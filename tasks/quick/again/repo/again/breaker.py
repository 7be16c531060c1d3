"""A circuit breaker: closed, open, or on trial."""

from __future__ import annotations

from again.clock import ManualClock, SystemClock
from again.errors import BreakerOpen

CLOSED, OPEN, TRIAL = "closed", "open", "trial"


class Breaker:
    def __init__(
        self,
        threshold: int,
        cooldown: float = 30.0,
        clock: SystemClock | ManualClock | None = None,
    ) -> None:
        self.threshold = threshold
        self.cooldown = cooldown
        self.state = CLOSED
        self._clock = clock or SystemClock()
        self._failures = 0
        self._opened = 0.0

    def check(self) -> None:
        """Raise `BreakerOpen` unless a call may be made now."""
        if self.state != OPEN:
            return
        rest = self._opened + self.cooldown - self._clock.now()
        if rest > 0:
            raise BreakerOpen(rest)
        self.state = TRIAL

    def succeeded(self) -> None:
        self.state = CLOSED

    def failed(self) -> None:
        self._failures += 1
        if self.state == TRIAL or self._failures >= self.threshold:
            self._open()

    def _open(self) -> None:
        self.state = OPEN
        self._failures = 0
        self._opened = self._clock.now()
