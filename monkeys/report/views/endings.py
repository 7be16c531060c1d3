"""Where attempts die: which had a solution and lost it, which never came near one, and what ended each.

Each line counts attempts among those of which it is known, resolved and unresolved ones apart. An attempt *ran a
failing test* if a command that runs tests (`agent.runs_of_tests`), or what it printed, names a FAIL_TO_PASS test, and
*ran its file* if it names the file or module of one: hidden tests are often not in the repository yet, but their file
is. A runner that prints no names hides both, so that these two are lower bounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agent.runs_of_tests import runs_of_tests
from envs.errors import MonkeysError
from monkeys.formats.turns import AttemptTurns, RunTurns
from monkeys.report.record import Record
from monkeys.store import Store
from monkeys.text import several
from tasks.suites import load_tasks
from tasks.swe.hidden_tests import hidden_tests
from tasks.swe.patches import touched_files
from tasks.swe.task import SweTask
from tasks.task import Outcome

__all__ = ["Endings", "Share", "TurnShares", "endings_view"]

MOST_READ = 3000  # conversations that are searched for tests
BY_TURN = "solved_at_some_turn"
BROKEN = "broke_it_again"
UNTOUCHED = "touched_no_file_of_the_known_patch"
RAN_FILE = "ran_the_file_of_a_failing_test"
RAN_TEST = "ran_a_failing_test"


@dataclass(frozen=True, slots=True)
class Share(Record):
    """How many attempts something is true of, among those of which it is known."""

    what: str
    resolved: int
    of_resolved: int
    unresolved: int
    of_unresolved: int

    @property
    def count(self) -> int:
        return self.resolved + self.unresolved

    @property
    def of(self) -> int:
        return self.of_resolved + self.of_unresolved


@dataclass(frozen=True, slots=True)
class TurnShares(Record):
    """Attempts after `turn` turns, as shares of those whose turns are all known."""

    turn: int
    going_on: float
    """Attempts that have more turns than that."""
    solved: float
    """Attempts that would resolve the task if they stopped here."""
    ever_solved: float
    """Attempts that would have resolved it if they had stopped here or earlier."""


@dataclass(frozen=True, slots=True)
class Endings(Record):
    """The attempts of a run with a verdict, and how they ended."""

    attempts: int
    resolved: int
    shares: tuple[Share, ...]
    """The first two only where the turns of attempts are known."""
    exits: tuple[Share, ...]
    """How attempts ended, the most common first; `what` is the exit."""
    turns: tuple[TurnShares, ...]
    notes: tuple[str, ...]
    """What is not known, and why."""


def endings_view(
    store: Store, attempts: Sequence[AttemptTurns], turns: RunTurns | None, shown: Sequence[int] = ()
) -> Endings:
    """Read how the attempts ended.

    Args:
        attempts: all that count.
        turns: their outcomes at every turn; None where these are not known.
        shown: the t of `Endings.turns`.
    """
    verified = [one for one in attempts if one.row.outcome is not None]
    outcomes = [one.row.outcome is Outcome.RESOLVED for one in verified]
    shares, notes = list[Share](), list[str]()
    by_turn: tuple[TurnShares, ...] = ()
    if turns is not None:
        found, by_turn, known = _by_turn(turns, shown)
        shares += found
        if known < len(verified):
            notes.append(f"what attempts had after turns: of the {known:,} attempts of which all of it has a verdict")
    tasks, missing = _tasks(store)
    if missing:
        notes.append(missing)
    if tasks:
        shares.append(_untouched(store, verified, tasks))
        ran, read = _ran(store, verified, tasks)
        shares += ran
        if 0 < read < len(verified):
            notes.append(
                f"which tests were run is read from {read:,} of {len(verified):,} attempts, the first on each task"
            )
        if not all(one.known for one in verified):
            notes.append("files touched: of attempts whose turns are not known, by what they handed in alone")
    exits = Counter(str(one.row.exit) for one in verified)
    return Endings(
        attempts=len(verified),
        resolved=sum(outcomes),
        shares=tuple(shares),
        exits=tuple(
            _share(exit, [(str(one.row.exit) == exit, good) for one, good in zip(verified, outcomes, strict=True)])
            for exit, _ in exits.most_common()
        ),
        turns=by_turn,
        notes=tuple(notes),
    )


def _share(what: str, known: Iterable[tuple[bool, bool]]) -> Share:
    """The share of pairs of whether it is true and whether the attempt is resolved."""
    counted = Counter(known)
    good, bad = counted[True, True], counted[True, False]
    return Share(what, good, good + counted[False, True], bad, bad + counted[False, False])


def _by_turn(turns: RunTurns, shown: Sequence[int]) -> tuple[list[Share], tuple[TurnShares, ...], int]:
    """What is known of attempts whose outcomes are all known, and how many these are."""
    known = ~np.isnan(turns.outcomes).any(axis=1)
    if not known.any():
        return [], (), 0
    table, lengths = turns.outcomes[known], turns.lengths[known]
    ever = np.maximum.accumulate(table, axis=1)
    final = (table[:, -1] == 1).tolist()
    solved = (ever[:, -1] == 1).tolist()
    shares = [
        _share(BY_TURN, zip(solved, final, strict=True)),
        _share(BROKEN, ((once and not good, good) for once, good in zip(solved, final, strict=True))),
    ]
    by_turn = tuple(
        TurnShares(
            turn=turn,
            going_on=float((lengths > turn).mean()),
            solved=float(table[:, turn - 1].mean()),
            ever_solved=float(ever[:, turn - 1].mean()),
        )
        for turn in shown
    )
    return shares, by_turn, int(known.sum())


def _tasks(store: Store) -> tuple[dict[str, SweTask], str]:
    """The tasks of the run that have a known patch and hidden tests, and what is to be said of others."""
    try:
        known = {task.id: task for task in load_tasks(store.task_set, store.suite).tasks}
    except MonkeysError as error:
        return {}, f"its tasks cannot be read, so that files and tests are not known ({error})"
    digests = store.task_digests()
    found = {
        name: task
        for name, task in known.items()
        if isinstance(task, SweTask) and digests.get(name) == task.digest and task.patch
    }
    missing = len(digests.keys() - found.keys())
    if missing == len(digests):
        return {}, "no task of the run has a known patch here, so that files and tests are not known"
    return found, f"without a known patch here: {several(missing, 'task')}" if missing else ""


def _untouched(store: Store, attempts: Sequence[AttemptTurns], tasks: Mapping[str, SweTask]) -> Share:
    files: dict[bytes, frozenset[str]] = {}

    def touched(digest: bytes) -> frozenset[str]:
        if digest not in files:
            files[digest] = frozenset(touched_files(store.body(digest).decode("utf-8", "surrogateescape")))
        return files[digest]

    wanted = {name: frozenset(touched_files(task.patch)) for name, task in tasks.items()}

    def missed(one: AttemptTurns) -> bool:
        digests = {one.row.digest, *(turn.digest for turn in one.turns if turn.digest is not None)}
        return all(wanted[one.row.task].isdisjoint(touched(digest)) for digest in digests)

    return _share(UNTOUCHED, _known(missed, attempts, tasks))


def _ran(store: Store, attempts: Sequence[AttemptTurns], tasks: Mapping[str, SweTask]) -> tuple[list[Share], int]:
    """Which attempts ran a failing test or its file, of the first at each task, and of how many this was read."""
    tests = {name: hidden_tests(task) for name, task in tasks.items()}
    most = max(1, MOST_READ // len(tasks))
    seen: Counter[str] = Counter()
    files, names = list[tuple[bool, bool]](), list[tuple[bool, bool]]()
    for one in attempts:
        task = one.row.task
        seen[task] += 1
        if task not in tests or seen[task] > most:
            continue
        runs = list(runs_of_tests(store.conversation(one.row)))
        good = one.row.outcome is Outcome.RESOLVED
        named = any(map(tests[task].named_in, runs))
        names.append((named, good))
        files.append((named or any(map(tests[task].file_in, runs)), good))
    return [_share(RAN_FILE, files), _share(RAN_TEST, names)], len(names)


def _known(
    true: Callable[[AttemptTurns], bool], attempts: Sequence[AttemptTurns], tasks: Mapping[str, SweTask]
) -> Iterable[tuple[bool, bool]]:
    return ((true(one), one.row.outcome is Outcome.RESOLVED) for one in attempts if one.row.task in tasks)
