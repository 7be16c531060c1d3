"""Repeated sampling of coding agents: runs, single attempts, and the science of coverage.

From Python (docs/python.md):

    run, run_async          sample a run, or go on with it
    attempt, attempt_async  make and verify one attempt, without a store
    open_run                a run that is on disk: its attempts, counts and coverage
    MonkeysError            the base of every error of this project

Names are loaded when they are used, so that importing a part of the package stays cheap.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envs.errors import MonkeysError
    from monkeys.api import AttemptResult, Coverage, Run, attempt, attempt_async, open_run, run, run_async

__all__ = [
    "AttemptResult",
    "Coverage",
    "MonkeysError",
    "Run",
    "attempt",
    "attempt_async",
    "open_run",
    "run",
    "run_async",
]


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'monkeys' has no attribute {name!r}")
    from monkeys import api

    return getattr(api, name)
