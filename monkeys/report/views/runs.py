"""The runs of a folder, one row each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from monkeys.formats.design import arms_apart
from monkeys.report.record import Record
from monkeys.store import Store, StoreError

__all__ = ["RunRow", "RunsView", "runs_view"]


@dataclass(frozen=True, slots=True)
class RunRow(Record):
    """One run. Where it cannot be read `error` says why, and there is nothing else but its name and folder."""

    run: str
    folder: str
    began: float | None = None
    """When its first session began, in seconds since 1970."""
    model: str = ""
    tasks: str = ""
    """The name of its task set."""
    issues: int = 0
    attempts: int = 0
    """Attempts that count, with or without a verdict."""
    solved: int = 0
    """Issues that at least one attempt resolved."""
    oracle: tuple[str, ...] = ()
    """The kinds of feedback that told its attempts what the hidden tests say."""
    error: str = ""

    @property
    def coverage(self) -> float | None:
        """The share of issues that are solved."""
        return self.solved / self.issues if self.issues else None


@dataclass(frozen=True, slots=True)
class RunsView(Record):
    """Runs, the newest first; those that cannot be read come last."""

    runs: tuple[RunRow, ...]


def runs_view(folders: Iterable[Path]) -> RunsView:
    """Look at each folder's run."""
    return RunsView(tuple(sorted(map(_row, folders), key=lambda row: row.began or 0.0, reverse=True)))


def _row(folder: Path) -> RunRow:
    try:
        return _read(folder)
    except StoreError as error:
        return RunRow(folder.name, str(folder), error=str(error))


def _read(folder: Path) -> RunRow:
    store = Store.read(folder)
    try:
        sessions, counted = store.sessions(), next(iter(arms_apart(store).values()))
        tallies = counted.tallies()
        model, tasks, oracle = store.model, store.task_set, store.oracles
    finally:
        store.close()
    return RunRow(
        run=folder.name,
        folder=str(folder),
        began=sessions[0]["began"] if sessions else None,
        model=model,
        tasks=tasks,
        issues=len(tallies),
        attempts=sum(tally.resolved + tally.unresolved + tally.unverified for tally in tallies),
        solved=sum(tally.resolved > 0 for tally in tallies),
        oracle=oracle,
    )
