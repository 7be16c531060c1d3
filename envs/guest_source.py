"""The program of a guest as one text, for a Python that does not have this package."""

from __future__ import annotations

from pathlib import Path

__all__ = ["guest_source"]


def guest_source(start: str) -> str:
    """The filter of system calls, the guest and the line `start`, which calls `main` (see `envs.guest`)."""
    sources = [(Path(__file__).parent / name).read_text("utf-8") for name in ("syscall_filter.py", "guest.py")]
    return "\n".join([*sources, start])
