"""The models `replay:gold`, `replay:empty`, `replay:noop` and `replay:PREDICTIONS`: they hand in what is known already.

With tools on offer a submission is a patch: it is applied through the same tools as every model has, by the same
appliers as the verifier tries, and submitted. One that none of them takes hands in nothing, and the attempt says so.
Without tools a submission is the text of the reply. Attempt i at a task plays the i-th row that a file has for it. No
row is played twice: a run that needs more rows than there are is refused before anything is sampled.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from operator import itemgetter
from pathlib import Path
from typing import Any

from agent.agent import AttemptScope
from agent.models.model import ModelRefused, Reply
from agent.models.scripted import say
from agent.trajectory import Message
from tasks.predictions import PATCH, PredictionsError, check_diffs, read_predictions, remarks_on
from tasks.swe.appliers import apply_script
from tasks.task import Task

__all__ = ["NOOP", "NOTHING", "Predictions", "Replay", "replayed"]

NOOP = "replay:noop"
NOTHING = ("empty", "noop")  # what hands in nothing; after `noop` the tests are run all the same

PATCH_FILE = "/tmp/replayed.patch"
REFUSED = "the replayed patch does not apply, so nothing is handed in"


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
        turn = scope.turn(messages)
        if turn == 1 and REFUSED in str(messages[-1].get("content")):
            scope.remark = REFUSED
        if turn or not solution.strip():
            return Reply(say(("submit", {})))
        end = "END_OF_PATCH"
        while end in solution:
            end += "_"
        patch = solution if solution.endswith("\n") else f"{solution}\n"
        # A subshell, so that the shell of the attempt outlives the script's exit.
        apply = f"( {apply_script(PATCH_FILE)}) || echo {shlex.quote(REFUSED)}; rm -f {PATCH_FILE}"
        return Reply(say(("bash", {"command": f"cat > {PATCH_FILE} <<'{end}'\n{patch}{end}\n{apply}"})))

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        pass


def replayed(model: str) -> str:
    """The file or run that a model's name asks to replay; empty for a model that replays neither."""
    kind, _, what = model.partition(":")
    return what if kind == "replay" and what not in ("gold", *NOTHING) else ""


class Predictions:
    """The submissions of a predictions file by task, in the order of the file. Raises `ModelRefused`."""

    def __init__(self, path: Path, kind: str = PATCH) -> None:
        rows: dict[str, list[str]] = defaultdict(list)
        try:
            if not path.exists():
                close = get_close_matches(str(path), ("gold", *NOTHING), 1)
                hint = f"did you mean replay:{close[0]}? " if close else ""
                raise ModelRefused(
                    f"predictions {path} cannot be read: there is no such file, and no run of that name to replay; "
                    f"{hint}`monkeys runs` lists the runs"
                )
            found = read_predictions(path, kind)
            check_diffs(path, found)
        except (OSError, PredictionsError) as error:
            raise ModelRefused(f"predictions cannot be replayed: {error}") from None
        for row in found:
            rows[row.task].append(row.submission.body.decode("utf-8", "surrogateescape"))
        self._path, self._rows = path, rows
        self._remarks = remarks_on(found)

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

    def remarks(self, tasks: Sequence[Task], attempts: int) -> list[str]:
        """What a person should know of these rows before their numbers are read, a line each."""
        longer = [task.id for task in tasks if len(self._of(task.id)) > attempts]
        if not longer:
            return self._remarks
        left = f"{len(longer)} of {len(tasks)} issues have more predictions than --attempts {attempts}, such as "
        return [*self._remarks, f"{left}{longer[0]}: the first ones are played"]

    def solution(self, task: str, index: int) -> str:
        """The row for an attempt. Raises `ModelRefused` if there is none."""
        rows = self._of(task)
        if index >= len(rows):
            raise ModelRefused(f"predictions {self._path} have no row {index} for {task}, counted from 0")
        return rows[index]

    def _of(self, task: str) -> Sequence[str]:
        return self._rows.get(task, ())
