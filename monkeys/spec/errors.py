"""The error of a wrong setting."""

from __future__ import annotations

from envs.errors import MonkeysError

__all__ = ["ConfigError"]


class ConfigError(MonkeysError):
    """A setting is wrong; the message names where it was given and what would be right."""
