"""How a file of counts is read: which columns mean what, and what tells its sets apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from monkeys.formats.counts.cells import (
    ARM,
    ATTEMPTS,
    BENCHMARK,
    CORRECT,
    INDEX,
    LISTS,
    OUTCOME,
    PARTS,
    PRICE,
    QUESTIONS,
    REPEATS,
    REPO,
    ROW_IDS,
    SETTINGS,
    SPENT,
    TASK,
    TESTS,
    CountsError,
    find_column,
    listed,
    squeezed,
)
from monkeys.formats.counts.lists import is_one_of_several
from monkeys.science.coverage import Sampling

__all__ = ["ROLES", "Reading", "Unsubmitted"]

Unsubmitted: TypeAlias = Literal["", "unresolved", "left-out"]

ROLES: dict[str, tuple[str, ...]] = {
    "task": TASK,
    "n": ATTEMPTS,
    "correct": CORRECT,
    "outcome": OUTCOME,
    "outcomes": LISTS,
    "set": ARM,
    "benchmark": BENCHMARK,
    "attempt": INDEX,
    "repo": REPO,
    "cost": PRICE,
    "tokens": SPENT[:1],
    "seconds": SPENT[1:],
}
"""What a column may mean, with the names by which it is found when none is given."""


@dataclass(frozen=True)
class Reading:
    """How to read a file."""

    whole: bool = False
    """Keep single attempts with all their columns."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The column of a meaning among `ROLES`, "" for none; the others are found by their names."""
    by: str = ""
    """Make a set of each value of this column."""
    unsubmitted: Unsubmitted = ""
    """What an instance counts as that a summary of SWE-bench's harness has no submission for; "" refuses it."""
    sampling: Sampling | None = None
    """How the attempts came about, where the caller knows."""
    stopped_at: int | None = None
    """Attempts on a task ended with its first success, or after so many; None: their number was fixed beforehand."""
    first: int | None = None
    """Take only so many attempts on each task, in the order made."""

    def __post_init__(self) -> None:
        for role in self.columns:
            if role not in ROLES:
                raise CountsError(f"--columns: {role!r} is no meaning of a column; there are {', '.join(ROLES)}")

    def named(self, place: str, columns: Mapping[str, Any]) -> dict[str, Any]:
        """The columns with those that were given under the first name of their meaning.

        Raises:
            CountsError: there is no column of a name that was given.
        """
        if not self.columns:
            return dict(columns)
        given = {role: self._column(place, columns, name) for role, name in self.columns.items() if name}
        # What was given stands for its meaning alone: other columns of these names would be found in its place.
        hidden = {squeezed(name) for role in self.columns for name in ROLES[role]}
        if "attempt" in self.columns:
            hidden |= set(map(squeezed, REPEATS))
        if "outcome" in given:
            hidden |= {squeezed(name) for name in (*ATTEMPTS, *CORRECT, *LISTS)}
        kept = {
            key: values
            for key, values in columns.items()
            if key not in {name for name, _ in given.values()} and squeezed(str(key)) not in hidden
        }
        return {**kept, **{ROLES[role][0]: values for role, (_, values) in given.items()}}

    def wanted(self, place: str, names: Sequence[str]) -> list[str]:
        """The names of the columns that counts are made of, among those of a table."""
        known = {squeezed(name) for meant in (*ROLES.values(), REPEATS, TESTS, PARTS, SETTINGS) for name in meant}
        task = find_column(dict.fromkeys(names), TASK)
        if task is not None and squeezed(task[0]) in ROW_IDS and "task" not in self.columns:
            known |= set(map(squeezed, QUESTIONS))
        given = {self._column(place, dict.fromkeys(names), name)[0] for name in self.columns.values() if name}
        given |= {name for name in names if self.by and squeezed(name) == squeezed(self.by)}
        return [name for name in names if squeezed(name) in known or is_one_of_several(name) or name in given]

    def _column(self, place: str, columns: Mapping[str, Any], name: str) -> tuple[str, Any]:
        if name in columns:
            return name, columns[name]
        found = find_column(columns, (name,)) or _inner(columns, name)
        if found is None:
            raise CountsError(f"{place} has no column {name!r}; there are {listed(list(columns), 8)}")
        return found


def _inner(columns: Mapping[str, Any], name: str) -> tuple[str, Any] | None:
    """The values at a path into the objects of a column, such as `eval.resolved`."""
    column, *path = name.split(".")
    if (
        not path
        or not isinstance(columns.get(column), list)
        or not all(isinstance(one, dict) for one in columns[column])
    ):
        return None
    values: list[Any] = columns[column]
    for key in path:
        values = [one.get(key) if isinstance(one, dict) else None for one in values]
    return (name, values) if any(value is not None for value in values) else None
