"""Where attempts die, as a section of a result."""

from __future__ import annotations

from monkeys.report.result import Section, Table
from monkeys.report.views.endings import Endings, Share
from monkeys.text import count, percent

__all__ = ["ending_section"]

WORDS = {
    "solved_at_some_turn": "had solved it after some turn",
    "broke_it_again": "had solved it and broke it again",
    "touched_no_file_of_the_known_patch": "touched no file of the known patch",
    "ran_the_file_of_a_failing_test": "ran the file of a failing test",
    "ran_a_failing_test": "ran a failing test by name",
}


def ending_section(view: Endings) -> Section:
    """What happened to how many attempts, how they ended, and how many still go on after each turn."""
    rows = [_row(WORDS.get(one.what, one.what), one) for one in view.shares]
    rows += [_row(f"ended: {one.what}", one) for one in view.exits]
    tables = [Table(("<attempts that", "of", "all", "resolved", "unresolved"), tuple(rows))]
    if view.turns:
        headings = ("turns", "still going on", "solved if stopped here", "solved here or before")
        lines = [
            (f"{one.turn}", percent(one.going_on), percent(one.solved), percent(one.ever_solved)) for one in view.turns
        ]
        tables.append(Table(headings, tuple(lines)))
    title = f"where attempts die   {count(view.attempts)} with a verdict, {count(view.resolved)} resolved"
    return Section(title, tuple(tables), None, tuple(("note", note) for note in view.notes))


def _row(what: str, one: Share) -> tuple[str, ...]:
    return (
        what,
        count(one.of),
        _share(one.count, one.of),
        _share(one.resolved, one.of_resolved),
        _share(one.unresolved, one.of_unresolved),
    )


def _share(number: int, of: int) -> str:
    return percent(number / of if of else None)
