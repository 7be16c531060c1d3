"""Trying again, within reason."""

from again.backoff import Backoff
from again.breaker import Breaker
from again.clock import ManualClock
from again.errors import BreakerOpen, GaveUp
from again.retry import Retry

__all__ = ["Backoff", "Breaker", "BreakerOpen", "GaveUp", "ManualClock", "Retry"]
