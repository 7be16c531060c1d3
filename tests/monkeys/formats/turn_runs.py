"""Runs whose attempts are known after each of their turns, written as sampling writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.agent import AttemptSpec, Branch
from agent.trajectory import Exit, Message, Trajectory, Turn, Usage
from monkeys.store import Store
from tasks.task import Outcome, Submission, Task, TaskSet, Verdict
from tests.monkeys.report.test_report import CONFIG, make_task

__all__ = ["Played", "write_turn_run"]

PRICES = {"source": "a file", "prompt": 1.0, "completion": 10.0}


@dataclass(frozen=True)
class Played:
    """An attempt in letters, one a turn: what it had after it.

    `+` a patch that resolves the task, `-` one that does not, `?` one without a verdict, `0` nothing, `.` what it had
    before, `!` what could not be taken. Where submissions are not `taken` after turns, the last alone is recorded.
    """

    turns: str
    exit: Exit = Exit.SUBMITTED
    taken: bool = True
    arm: str = "model"
    messages: tuple[Message, ...] = ()
    file: str = "a.py"
    """The file that its patches change."""
    wasted: int = 0
    """Prompt tokens of answers that could not be used."""
    unlike: bool = False
    """Whether a replay of it showed something else."""

    @property
    def final(self) -> str:
        return (self.turns.replace(".", "").replace("!", "") or "0")[-1]


def write_turn_run(
    folder: Path,
    tasks: Mapping[str, Sequence[Played]],
    *,
    config: Mapping[str, Any] = CONFIG,
    known: Sequence[Task] = (),
    priced: bool = False,
    continuations: Mapping[tuple[str, int, int], str] | None = None,
    begun: int = 0,
    counted: bool = True,
) -> Path:
    """A run on disk. `continuations` gives the outcomes of those at each task, attempt and turn as `+`, `-` and `?`.

    The first `begun` attempts at each task are on record from an earlier session. Turn t of an attempt takes 100 t
    prompt tokens, 10 completion tokens (none is `counted` by some servers) and 2 seconds; an attempt takes 3 more.
    """
    made = tuple(known) or tuple(map(make_task, tasks))
    environment = {"python": "3", **({"prices": PRICES} if priced else {})}
    store = Store.write(folder, config, TaskSet("quick", made), environment)
    for task, attempts in tasks.items():
        for index, played in list(enumerate(attempts))[begun:]:
            turns = tuple(
                Turn(
                    end=number + 1,
                    usage=Usage(100 * (number + 1), 10) if counted else Usage(),
                    model_seconds=1.5,
                    tool_seconds=0.5,
                    submission=_submission(task, index, number, mark, played.file)
                    if played.taken and not played.unlike and mark not in ".!"
                    else None,
                    untaken="it is too large" if played.taken and mark == "!" else "",
                )
                for number, mark in enumerate(played.turns)
            )
            last = max((at for at, mark in enumerate(played.turns) if mark not in ".!"), default=0)
            final = _submission(task, index, last, played.final, played.file)
            seconds = 2.0 * len(turns) + 3
            trajectory = Trajectory(
                played.exit,
                played.messages,
                turns,
                final,
                seconds,
                "",
                Usage(played.wasted),
                played.taken and not played.unlike,
            )
            store.record_attempt(AttemptSpec(task, index, index, played.arm), trajectory)
            marks = [*enumerate(played.turns)] if played.taken else []
            for number, mark in [*marks, (last, played.final)]:
                _verify(store, task, _submission(task, index, number, mark, played.file), mark)
    for (task, index, turn), outcomes in (continuations or {}).items():
        for number, mark in enumerate(outcomes):
            submission = _submission(task, 10_000 * (index + 1) + number, turn, mark)
            trajectory = Trajectory(Exit.SUBMITTED, (), (), submission, 1.0)
            arm = f"branch:{task}:{index}:{turn}"
            spec = AttemptSpec(task, number, number, arm, "", (index,), Branch(index, turn, index))
            store.record_attempt(spec, trajectory)
            _verify(store, task, submission, mark)
    for row in list(store.attempts()):
        if tasks[row.task][row.index].unlike:
            store.record_unlike(row, "another observation")
    store.end_session("done")
    store.close()
    return folder


def _submission(task: str, index: int, number: int, mark: str, file: str = "a.py") -> Submission:
    if mark == "0":
        return Submission()
    head = f"diff --git a/{file} b/{file}\n--- a/{file}\n+++ b/{file}\n@@ -1 +1 @@\n"
    return Submission(f"{head}-x\n+{mark} {index} {number}\n".encode())


def _verify(store: Store, task: str, submission: Submission, mark: str) -> None:
    if mark in "+-":
        outcome = Outcome.RESOLVED if mark == "+" else Outcome.UNRESOLVED
        store.record_verdict(task, submission, Verdict(outcome, "", {}, 0.1))
    elif mark == "0":
        store.record_verdict(task, submission, Verdict(Outcome.UNRESOLVED, "", {}, 0.1))
