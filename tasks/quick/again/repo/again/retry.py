"""Calling a function until it works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from again.backoff import Backoff
from again.breaker import Breaker
from again.clock import ManualClock, SystemClock
from again.errors import GaveUp


class Retry:
    def __init__(
        self,
        attempts: int,
        backoff: Backoff,
        on: type[Exception] | tuple[type[Exception], ...] = OSError,
        breaker: Breaker | None = None,
        clock: SystemClock | ManualClock | None = None,
    ) -> None:
        if attempts < 1:
            raise ValueError(f"there must be an attempt: {attempts}")
        self.attempts = attempts
        self.backoff = backoff
        self.on = on
        self.breaker = breaker
        self._clock = clock or SystemClock()

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """The first result of the function, or `GaveUp` from its last failure."""
        for attempt in range(1, self.attempts + 1):
            if self.breaker is not None:
                self.breaker.check()
            try:
                result = function(*args)
            except self.on as error:
                if self.breaker is not None:
                    self.breaker.failed()
                if attempt == self.attempts:
                    raise GaveUp(attempt) from error
                self._clock.sleep(self.backoff.delay(attempt))
            else:
                if self.breaker is not None:
                    self.breaker.succeeded()
                return result
        raise AssertionError("unreachable")
