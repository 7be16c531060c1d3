"""From method and path to a handler."""

from waymark.errors import BadPattern, MethodNotAllowed, NotFound
from waymark.pattern import Pattern
from waymark.router import Router

__all__ = ["BadPattern", "MethodNotAllowed", "NotFound", "Pattern", "Router"]
