"""Errors of the store.

MonkeysError
├── StoreError   a run cannot be opened or written
└── NotFound     there is no such run, task or attempt
"""

from __future__ import annotations

from envs.errors import MonkeysError

__all__ = ["NotFound", "StoreError"]


class StoreError(MonkeysError):
    """A run cannot be opened or written. The message says why, and that what was recorded is kept."""


class NotFound(MonkeysError):
    """There is no such run, task or attempt. The message says what there is instead."""
