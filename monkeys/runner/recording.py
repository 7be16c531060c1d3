"""A recording: the attempts of a run by task and index, which `agent.models.recorded` plays again.

Guarantees: an attempt is the try of it that counted. A replay that needs attempts which the run does not have is
refused before anything is sampled. Settings of the replay that lead to other requests than the recorded ones are told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from agent.models import ModelRefused
from agent.models.replay import replayed
from agent.trajectory import Exit, Trajectory
from monkeys.store import AttemptRow, Store
from monkeys.text import several
from tasks.predictions import holds_predictions
from tasks.task import TaskSet

__all__ = ["Recording"]

AT_HAND = 128  # attempts kept in memory, of which each turn asks
SHOWN = 16  # characters of a setting
# The settings that decide which requests are made, and what the sandbox answers.
SHAPING = ("agent", "limits", "sandbox.name")


class Recording:
    """The run in `folder`. Raises `StoreError` if there is none."""

    def __init__(self, folder: Path) -> None:
        self._store = Store.read(folder)
        self._rows: dict[str, dict[int, AttemptRow]] = {}
        try:
            self.folder, self.config = folder, self._store.config
            self._rows.update((task, {}) for task in self._store.task_ids())
            for row in self._store.attempts():
                if not row.exit.infra:
                    self._rows[row.task][row.index] = row
        except BaseException:
            self.close()
            raise
        self._take = lru_cache(AT_HAND)(self._store.trajectory)

    @classmethod
    def named(cls, model: str, runs: Path) -> Recording | None:
        """The run that `model` names, as replay:FOLDER or replay:NAME of a run in `runs`; None if it names none."""
        if not (name := replayed(model)):
            return None
        path = Path(name)
        if path.is_dir() and ((path / "run.sqlite").is_file() or not holds_predictions(path)):
            return cls(path)
        return cls(runs / name) if (runs / name / "run.sqlite").is_file() else None

    @property
    def name(self) -> str:
        return f"replay:{self.folder.resolve().name}"

    @property
    def identity(self) -> dict[str, Any]:
        """What tells this run apart from others; attempts that are added to it change nothing."""
        return {"run": self.folder.resolve().name, "created": self._store.created}

    def trajectory(self, task: str, index: int) -> Trajectory | None:
        row = self._rows.get(task, {}).get(index)
        return self._take(row) if row else None

    def seed(self, task: str, index: int) -> int:
        """The seed of an attempt: what a scaffold draws by it, it draws again."""
        row = self._rows[task].get(index)
        return row.seed if row else 0

    def require(self, tasks: TaskSet, attempts: int) -> None:
        """Raises `ModelRefused` unless each of `tasks` has as many attempts."""
        absent = [task.id for task in tasks.tasks if task.id not in self._rows]
        if absent:
            raise ModelRefused(
                f"run {self.folder} has no attempts at {several(len(absent), 'task')}, such as {absent[0]}; "
                f"choose with --tasks and --ids among those it has: `monkeys show {self.folder}` lists them"
            )
        fewest = min(tasks.tasks, key=lambda task: self._in_a_row(task.id))
        have = self._in_a_row(fewest.id)
        if have < attempts:
            raise ModelRefused(
                f"run {self.folder} has {several(have, 'attempt')} at {fewest.id} to replay, not {attempts}; "
                + (f"give --attempts {have}, or record more" if have else "leave that task out with --ids")
            )
        told = [row for task in tasks.tasks for row in self._rows[task.id].values()]
        if all(row.turns == 0 and row.exit is Exit.SUBMITTED for row in told):
            raise ModelRefused(
                f"run {self.folder} holds patches without conversations, as `monkeys verify` makes them; "
                f"`monkeys verify {self.folder}` verifies them again"
            )

    def attempts(self, ids: Sequence[str]) -> int:
        """How many can be replayed of each task, or of these."""
        return min((self._in_a_row(task) for task in ids or self._rows if task in self._rows), default=0)

    def _in_a_row(self, task: str) -> int:
        """How many attempts there are from the first on without a gap."""
        rows = self._rows[task]
        return next(index for index in range(len(rows) + 1) if index not in rows)

    def differences(self, tasks: TaskSet, config: Mapping[str, Any]) -> list[str]:
        """The settings of a run with this configuration that differ from the recorded run's and shape conversations."""
        found = []
        if not self._store.holds_answers:
            found.append("how answers ended, which this run's version did not record")
        digests = self._store.task_digests()
        if changed := [task.id for task in tasks.tasks if digests[task.id] != task.digest]:
            found.append(f"the contents of {several(len(changed), 'task')}")
        for key in SHAPING:
            found += _changes(key, _at(self.config, key), _at(config, key))
        return found

    def close(self) -> None:
        """Idempotent."""
        self._store.close()


def _at(config: Mapping[str, Any], key: str) -> Any:
    group, _, name = key.partition(".")
    return config.get(group, {}).get(name) if name else config.get(group, {})


def _changes(key: str, was: Any, now: Any) -> list[str]:
    if was == now:
        return []
    if isinstance(was, dict) and isinstance(now, dict):
        names = sorted({*was, *now})
        return [change for name in names for change in _changes(f"{key}.{name}", was.get(name), now.get(name))]
    shown = str(was)
    return [f"{key} (was {shown})" if len(shown) <= SHOWN else key]
