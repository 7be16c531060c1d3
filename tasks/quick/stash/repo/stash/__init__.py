"""A cache in memory that forgets."""

from stash.cache import Cache
from stash.clock import ManualClock
from stash.memo import memoize
from stash.stats import Stats

__all__ = ["Cache", "ManualClock", "Stats", "memoize"]
