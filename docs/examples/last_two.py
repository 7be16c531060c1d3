"""A strategy of one's own: each attempt is shown the patches of the two attempts before it.

Attempts at a task are made one after another (`InOrder`), and the attempts that one was shown are recorded with it
(`parents`). Attempts are then not independent: the curve of the run is the coverage of the procedure as it was run, and
estimators that need independent attempts refuse it.
"""

from __future__ import annotations

from typing import ClassVar

from monkeys.strategies import Brief, Earlier, Plan, SamplingDesign
from monkeys.strategies.in_order import InOrder
from monkeys.strategies.independent import FixedNumber
from tasks.task import Task

SHOWN = 2


class LastTwo(FixedNumber):
    """Name it under `[project.entry-points."coding_monkeys.strategies"]`."""

    name: ClassVar[str] = "last-two"

    @property
    def sampling(self) -> SamplingDesign:
        return SamplingDesign("dependent")

    def scheduler(self, plan: Plan) -> InOrder:
        return InOrder(plan)

    def brief(self, task: Task, index: int, earlier: Earlier) -> Brief:
        before = [past for past in earlier.attempts(task.id) if past.index < index][-SHOWN:]
        if not before:
            return Brief()
        patches = "\n\n".join(
            f"Attempt {past.index}:\n{past.submission.body.decode('utf-8', 'replace') or 'no change'}"
            for past in before
        )
        text = f"Earlier attempts at this issue made these changes. They may be wrong.\n\n{patches}"
        return Brief(text, tuple(past.index for past in before))
