"""How the tests of each task are run: how long a run may take, and how many runs decide.

Both come from the options and, where there is one, from a calibration. Sampling and verifying go by the same rules.
"""

from __future__ import annotations

from dataclasses import dataclass

from monkeys.formats.calibration import Calibration
from monkeys.spec import VerifyOptions
from tasks import Task, TaskSet

__all__ = ["VerifyRules"]


@dataclass(frozen=True, slots=True)
class VerifyRules:
    """`seconds` is the limit of one run where the calibration knows none; `unstable` is as `--unstable`."""

    seconds: float
    unstable: str = "majority"
    calibration: Calibration | None = None

    @classmethod
    def of(cls, options: VerifyOptions) -> VerifyRules:
        """Those of the options. Raises `CalibrationError`."""
        calibration = Calibration.load(options.calibration) if options.calibration else None
        return cls(options.seconds, options.unstable, calibration)

    def select(self, tasks: TaskSet) -> TaskSet:
        """The tasks whose attempts count. Raises `CalibrationError`."""
        return self.calibration.select(tasks, self.unstable) if self.calibration else tasks

    def seconds_for(self, task: Task) -> float:
        """Seconds for one run of the task's hidden tests."""
        return self.calibration.seconds(task.id, self.seconds) if self.calibration else self.seconds

    def repeats_for(self, task: Task) -> int:
        """How many runs decide on a submission for the task."""
        return self.calibration.repeats(task.id) if self.calibration and self.unstable == "majority" else 1

    def saved(self) -> dict[str, object]:
        """What of it is saved with a run."""
        if self.calibration is None:
            return {"seconds": self.seconds}
        return {"seconds": self.seconds, "calibration": self.calibration.digest, "unstable": self.unstable}
