"""The attempts at one task, every try of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from agent.trajectory import Exit, Usage
from monkeys.pricing.cost_report import attempt_dollars, quotes_of
from monkeys.pricing.prices import Quote
from monkeys.report.record import Record
from monkeys.store import AttemptRow, Store
from tasks.task import Outcome

__all__ = ["TaskView", "Try", "changed_lines", "read_try", "task_view"]

HUNK = re.compile(rb"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


@dataclass(frozen=True, slots=True)
class Try(Record):
    """One try of an attempt. An attempt has several where infra errors made it start again; at most one counts."""

    task: str
    index: int
    """Of the attempt, from 0."""
    try_number: int
    """Of the try, from 0."""
    seed: int
    exit: Exit
    """How the try ended; `detail` says more."""
    detail: str
    outcome: Outcome | None
    """The verdict, "infra error" where the try has none, null while it is not verified."""
    reason: str
    """Why the verdict is as it is."""
    official: bool | None
    """Whether the task's own harness calls it resolved; null where it was not asked."""
    flaky: bool
    """Whether the verdict changed when the tests ran again."""
    flags: tuple[str, ...]
    """What the verifier noticed about the submission."""
    turns: int
    usage: Usage
    seconds: float
    dollars: float | None
    """What the try cost; null without prices."""
    session: int
    """The number of the session that recorded it, from 1."""
    submission_kind: str
    submission_digest: str
    """Hexadecimal; equal submissions have equal digests."""
    submission_bytes: int
    lines_added: int | None
    """Of a patch; null for submissions of other kinds."""
    lines_removed: int | None

    @property
    def counts(self) -> bool:
        """False for an infra error, whose place another try takes."""
        return not self.exit.infra


@dataclass(frozen=True, slots=True)
class TaskView(Record):
    """The attempts at one task."""

    task: str
    tries: tuple[Try, ...]
    """In order of attempt and try, infra errors included."""

    @property
    def counted(self) -> tuple[Try, ...]:
        """The tries that count: one for each attempt."""
        return tuple(one for one in self.tries if one.counts)

    @property
    def resolved(self) -> int:
        return sum(one.outcome is Outcome.RESOLVED for one in self.counted)


def task_view(store: Store, task: str) -> TaskView:
    """Read every try at a task."""
    quotes = quotes_of(store)
    return TaskView(task, tuple(read_try(store, row, quotes) for row in store.attempts(task)))


def read_try(store: Store, row: AttemptRow, quotes: Mapping[int, Quote]) -> Try:
    """One try, priced with the quotes of its run."""
    submission = store.submission(row)
    added, removed = changed_lines(submission.body) if submission.kind == "patch" else (None, None)
    return Try(
        task=row.task,
        index=row.index,
        try_number=row.tries,
        seed=row.seed,
        exit=row.exit,
        detail=row.detail,
        outcome=row.outcome,
        reason=row.reason,
        official=row.official,
        flaky=row.flaky,
        flags=row.flags,
        turns=row.turns,
        usage=row.usage,
        seconds=row.seconds,
        dollars=attempt_dollars(store, row, quotes),
        session=row.session,
        submission_kind=submission.kind,
        submission_digest=row.digest.hex(),
        submission_bytes=len(submission.body),
        lines_added=added,
        lines_removed=removed,
    )


def changed_lines(patch: bytes) -> tuple[int, int]:
    """How many lines a git patch adds and removes."""
    added = removed = old = new = 0
    for line in patch.split(b"\n"):
        if old > 0 or new > 0:  # inside a hunk, where "--- a" is a line that begins with "-- a"
            added += line.startswith(b"+")
            removed += line.startswith(b"-")
            old -= not line.startswith((b"+", b"\\"))
            new -= not line.startswith((b"-", b"\\"))
        elif hunk := HUNK.match(line):
            old, new = (int(size) if size is not None else 1 for size in hunk.groups())
    return added, removed
