"""One run: how it was set up, the sessions that wrote it, and its summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monkeys.report.record import Record
from monkeys.report.summary import Summary, summarize
from monkeys.store import Store

__all__ = ["RunView", "Session", "run_view"]


@dataclass(frozen=True, slots=True)
class Session(Record):
    """One process that wrote the run. Times are in seconds since 1970."""

    began: float
    ended: float | None
    """None while it is under way, and for ever if it was killed."""
    note: str
    """How it ended: "done", "stopped", "stopped at --max-cost $5.00"."""
    tries: int
    """Tries that it recorded, infra errors included."""
    pid: int
    host: str
    environment: Mapping[str, Any]
    """Its command, versions, sandbox and prices."""

    @property
    def seconds(self) -> float | None:
        """How long it lasted."""
        return None if self.ended is None else self.ended - self.began


@dataclass(frozen=True, slots=True)
class RunView(Record):
    """One run."""

    created: float
    """When it was made, in seconds since 1970."""
    configuration: Mapping[str, Any]
    """As it is saved: what all its attempts have in common."""
    sessions: tuple[Session, ...]
    summary: Summary
    """Its issues, coverage, fitted law and costs. `Summary.to_json` documents the keys."""

    @property
    def name(self) -> str:
        return self.summary.run


def run_view(store: Store) -> RunView:
    """Read a run; it may still be written."""
    return RunView(store.created, store.config, tuple(map(_session, store.sessions())), summarize(store))


def _session(row: Mapping[str, Any]) -> Session:
    return Session(
        began=row["began"],
        ended=row["ended"],
        note=row["note"],
        tries=row["attempts"],
        pid=row["pid"],
        host=row["host"],
        environment=row["environment"],
    )
