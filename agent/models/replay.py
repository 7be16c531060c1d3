"""The models `replay:gold`, `replay:empty` and `replay:PREDICTIONS`: they hand in submissions that are known already.

With tools on offer a submission is a patch: it is applied through the same tools as every model has, and submitted.
Without tools it is the text of the reply. Attempt i at a task plays the i-th row that a file has for it. No row is
played twice: a run that needs more rows than there are is refused before anything is sampled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from agent.agent import AttemptScope
from agent.models.model import ModelRefused, Reply
from agent.models.scripted import say
from agent.trajectory import Message
from tasks.predictions import PATCH, PredictionsError, read_predictions
from tasks.task import Task

__all__ = ["Predictions", "Replay", "replayed"]


class Replay:
    """Hands in what `solution` gives for a task, by its id, and the index of the attempt."""

    def __init__(self, solution: Callable[[str, int], str], name: str = "replay") -> None:
        self.name, self._solution = name, solution

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
    ) -> Reply:
        solution = self._solution(scope.spec.task, scope.spec.index)
        if not tools:
            return Reply({"role": "assistant", "content": solution})
        if not solution or scope.turn(messages):
            return Reply(say(("submit", {})))
        end = "END_OF_PATCH"
        while end in solution:
            end += "_"
        patch = solution if solution.endswith("\n") else f"{solution}\n"  # a binary patch ends with an empty line
        return Reply(say(("bash", {"command": f"git apply - <<'{end}'\n{patch}{end}"})))

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        pass


def replayed(model: str) -> str:
    """The file or run that a model's name asks to replay; empty for `replay:gold`, `replay:empty` and other models."""
    kind, _, what = model.partition(":")
    return what if kind == "replay" and what not in ("gold", "empty") else ""


class Predictions:
    """The submissions of a predictions file by task, in the order of the file. Raises `ModelRefused`."""

    def __init__(self, path: Path, kind: str = PATCH) -> None:
        rows: dict[str, list[str]] = defaultdict(list)
        try:
            if not path.exists():
                raise ModelRefused(
                    f"predictions {path} cannot be read: there is no such file, and no run of that name to replay; "
                    "`monkeys runs` lists the runs"
                )
            for row in read_predictions(path, kind):
                rows[row.task].append(row.submission.body.decode("utf-8", "surrogateescape"))
        except (OSError, PredictionsError) as error:
            raise ModelRefused(f"predictions cannot be replayed: {error}") from None
        self._path, self._rows = path, rows

    def require(self, tasks: Sequence[Task], attempts: int) -> None:
        """Raises `ModelRefused` unless each of `tasks` has a row for each attempt."""
        short = {task.id: len(self._of(task.id)) for task in tasks if len(self._of(task.id)) < attempts}
        if absent := [task for task, rows in short.items() if not rows]:
            more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
            raise ModelRefused(
                f"predictions {self._path} have no row for {absent[0]}{more} to replay; choose other tasks with --ids, "
                "or add rows"
            )
        if short:
            task, rows = min(short.items(), key=itemgetter(1))
            raise ModelRefused(
                f"predictions {self._path} have {rows} row{'' if rows == 1 else 's'} for {task} to replay, not "
                f"{attempts}; give --attempts {rows}, leave that task out with --ids, or add rows"
            )

    def solution(self, task: str, index: int) -> str:
        """The row for an attempt. Raises `ModelRefused` if there is none."""
        rows = self._of(task)
        if index >= len(rows):
            raise ModelRefused(f"predictions {self._path} have no row {index} for {task}, counted from 0")
        return rows[index]

    def _of(self, task: str) -> Sequence[str]:
        return self._rows.get(task, ())
