"""A calibration: how far the tests of each task can be trusted, in a file that sampling and verifying read.

A task is *broken* if the known solution does not resolve it in most runs, *weak* if the empty patch does in half of
them, and *unsteady* where two runs of one patch gave different results. `Calibration` says which tasks to leave out,
for which the majority of several runs decides, and how long a run of their tests may take. `monkeys calibrate` makes
the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from envs.errors import MonkeysError
from tasks import TaskSet

__all__ = ["UNSTABLE", "Calibrated", "Calibration", "CalibrationError", "Runs"]

FORMAT, VERSION = "coding-monkeys calibration", 1
MULTIPLE, LEAST_SECONDS = 5.0, 60.0  # a patch may be slower than the known solution, and the machine busier
UNSTABLE = ("majority", "exclude", "keep")
NAMED = 3


class CalibrationError(MonkeysError):
    """A calibration cannot be made, read or used. The message names the file or task, and the remedy."""


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of one patch, and how many of them the harness calls resolved."""

    runs: int = 0
    resolved: int = 0

    @property
    def differ(self) -> bool:
        return 0 < self.resolved < self.runs


@dataclass(frozen=True, slots=True)
class Calibrated:
    """One task.

    `flaky` holds the tests with several statuses: how often each status was seen, for each patch. Seconds are those of
    runs on the known solution ("gold"). `reason` is the commonest cause why one of these runs did not resolve the task.
    """

    id: str
    digest: str
    gold: Runs
    empty: Runs
    flaky: Mapping[str, Mapping[str, Mapping[str, int]]]
    seconds_median: float
    seconds_max: float
    reason: str = ""

    @property
    def broken(self) -> bool:
        return 2 * self.gold.resolved <= self.gold.runs

    @property
    def weak(self) -> bool:
        return self.empty.runs > 0 and 2 * self.empty.resolved >= self.empty.runs

    @property
    def unsteady(self) -> bool:
        """Whether runs of one patch gave different results."""
        return bool(self.flaky) or self.gold.differ or self.empty.differ


@dataclass(frozen=True, slots=True)
class Calibration:
    """The calibration of one task set, made in sandboxes of one kind.

    A run of tests may take `multiple` times the longest run of the known solution, and at least `least_seconds`.
    """

    tasks: str
    sandbox: str
    repeats_made: int
    issues: Mapping[str, Calibrated]
    limits: Mapping[str, Any] = field(default_factory=dict)
    verify_seconds: float = 0.0
    multiple: float = MULTIPLE
    least_seconds: float = LEAST_SECONDS

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Raises `CalibrationError`."""
        try:
            data = json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise CalibrationError(
                f"{path} cannot be read ({error.strerror}); `monkeys calibrate` makes such a file"
            ) from None
        except ValueError as error:
            raise CalibrationError(f"{path} is no calibration ({error}); `monkeys calibrate` makes one") from None
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise CalibrationError(f"{path} is no calibration; `monkeys calibrate` makes one")
        if data.get("version") != VERSION:
            raise CalibrationError(
                f"{path} has version {data.get('version')} and this program reads {VERSION}; calibrate again"
            )
        try:
            return cls(
                tasks=data["tasks"],
                sandbox=data["sandbox"],
                repeats_made=data["repeats"],
                issues={name: _calibrated(name, row) for name, row in data["issues"].items()},
                limits=data["limits"],
                verify_seconds=data["verify_seconds"],
                multiple=data["time_out"]["multiple"],
                least_seconds=data["time_out"]["least_seconds"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise CalibrationError(f"{path} is damaged ({type(error).__name__}: {error}); calibrate again") from None

    def to_json(self) -> str:
        def row(found: Calibrated) -> dict[str, Any]:
            said = {name: value for name, value in asdict(found).items() if name not in ("id", "seconds_median")}
            said["seconds_max"] = round(found.seconds_max, 3)
            return {**said, "seconds_median": round(found.seconds_median, 3), **_labels(found)}

        whole = {
            "format": FORMAT,
            "version": VERSION,
            "tasks": self.tasks,
            "sandbox": self.sandbox,
            "limits": self.limits,
            "verify_seconds": self.verify_seconds,
            "repeats": self.repeats_made,
            "time_out": {"multiple": self.multiple, "least_seconds": self.least_seconds},
            "issues": {name: row(found) for name, found in self.issues.items()},
        }
        return json.dumps(whole, indent=1, ensure_ascii=False)

    @property
    def digest(self) -> str:
        """Identity by content: what is decided with another calibration belongs to another run."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def select(self, tasks: TaskSet, unstable: str) -> TaskSet:
        """The tasks whose attempts count. `unstable` says what becomes of the unsteady ones.

        majority: broken and weak tasks are refused, and `repeats` says where several runs decide. exclude: broken, weak
        and unsteady tasks are left out. keep: all stay. Raises `CalibrationError`, also for a task that has changed
        since it was calibrated.
        """
        if unstable not in UNSTABLE:
            raise CalibrationError(
                f"unstable tasks cannot be treated by {unstable!r}; choose one of {', '.join(UNSTABLE)}"
            )
        known = [(task, self.issues[task.id]) for task in tasks.tasks if task.id in self.issues]
        if changed := [task.id for task, found in known if task.digest != found.digest]:
            raise CalibrationError(
                f"{_named(changed)} had other contents when calibrated; calibrate {tasks.name} again, or go without"
            )
        if unstable == "keep":
            return tasks
        bad = {task.id for task, found in known if found.broken or found.weak}
        if unstable == "majority":
            if bad:
                why = {task.id: "broken" if found.broken else "weak" for task, found in known if task.id in bad}
                raise CalibrationError(
                    f"the tests of {_named([f'{name} ({why[name]})' for name in why])} can verify no attempt; "
                    "leave these tasks out with --unstable exclude, or keep all with --unstable keep"
                )
            return tasks
        bad |= {task.id for task, found in known if found.unsteady}
        left = tuple(task for task in tasks.tasks if task.id not in bad)
        if not left:
            raise CalibrationError(f"no task of {tasks.name} is left without the broken, weak and flaky ones")
        return replace(tasks, tasks=left)

    def repeats(self, task_id: str) -> int:
        """How many runs decide on a patch for this task."""
        found = self.issues.get(task_id)
        return self.repeats_made if found and found.unsteady else 1

    def seconds(self, task_id: str, default: float) -> float:
        """How long one run of this task's tests may take; `default` where no run of the known solution passed."""
        found = self.issues.get(task_id)
        if found is None or not found.gold.resolved:
            return default
        return max(self.least_seconds, self.multiple * found.seconds_max)


def _calibrated(name: str, row: Mapping[str, Any]) -> Calibrated:
    return Calibrated(
        id=name,
        digest=row["digest"],
        gold=Runs(**row["gold"]),
        empty=Runs(**row["empty"]),
        flaky=row["flaky"],
        seconds_median=row["seconds_median"],
        seconds_max=row["seconds_max"],
        reason=row["reason"],
    )


def _labels(found: Calibrated) -> dict[str, bool]:
    return {"broken": found.broken, "weak": found.weak, "unsteady": found.unsteady}


def _named(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
