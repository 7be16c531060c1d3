"""Semantic versions."""

from versio.bump import bump
from versio.errors import BadRange, BadVersion, NoMatch
from versio.ranges import matches
from versio.select import best
from versio.version import Version

__all__ = ["BadRange", "BadVersion", "NoMatch", "Version", "best", "bump", "matches"]
