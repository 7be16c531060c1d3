"""The grader of each task: SWE-bench's own for rows that name a log parser, unittest's for the embedded ones."""

from __future__ import annotations

from tasks.swe.grading import Grade, Grader, Scripts, UnittestGrader
from tasks.swe.harness import SwebenchGrader
from tasks.swe.task import SweTask

__all__ = ["GraderByTask", "needs_harness"]


def needs_harness(task: SweTask) -> bool:
    """Whether SWE-bench's own harness grades this task."""
    return "log_parser" in task.instance


class GraderByTask:
    """Grades each task with the grader that its row asks for; SWE-bench's is made when it is first needed."""

    def __init__(self) -> None:
        self._unittest = UnittestGrader()
        self._swebench: SwebenchGrader | None = None

    async def scripts(self, task: SweTask) -> Scripts:
        return await self._of(task).scripts(task)

    async def grade(self, task: SweTask, log: bytes) -> Grade:
        return await self._of(task).grade(task, log)

    async def close(self) -> None:
        if self._swebench is not None:
            await self._swebench.close()

    def _of(self, task: SweTask) -> Grader:
        if not needs_harness(task):
            return self._unittest
        if self._swebench is None:
            self._swebench = SwebenchGrader()
        return self._swebench
