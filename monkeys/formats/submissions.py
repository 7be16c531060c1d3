"""What the attempts of a run handed in, as columns for `monkeys select` and `monkeys export`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monkeys.store import AttemptRow, Store
from tasks import Task
from tasks.suites import suite_of

__all__ = ["submission_columns", "submission_kind"]


def submission_kind(store: Store) -> str:
    """The kind of the run's submissions: "patch", "answer", "program" or "proof"."""
    return suite_of(store.suite).kind


def submission_columns(store: Store, rows: Sequence[AttemptRow]) -> dict[str, list[Any]]:
    """Each attempt's submission as text, under the name of its kind; `canonical` is the form in which two are compared.

    Patches have no canonical form here: those that do the same are found by their text. Raises `UnknownName` where the
    suite of the run is not installed.
    """
    suite = suite_of(store.suite)
    submissions = [store.submission(row) for row in rows]
    texts = [submission.body.decode("utf-8", "surrogateescape") for submission in submissions]
    if suite.kind == "patch":
        return {"patch": texts}
    canonical = [
        suite.canonical(Task(id=row.task, statement=""), submission).decode("utf-8", "surrogateescape")
        for row, submission in zip(rows, submissions, strict=True)
    ]
    return {suite.kind: texts, "canonical": canonical}
