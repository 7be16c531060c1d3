"""From a test log to a status for each expected test, and from these to a verdict's outcome.

`UnittestGrader` reads what `python -m unittest -v` prints (the embedded tasks); SWE-bench's
own grader is in `tasks.swebench`.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Protocol

from tasks.task import Task

__all__ = ["Grade", "Grader", "GraderFailed", "UnittestGrader", "test_files"]


class GraderFailed(Exception):
    """The grader itself broke, whatever the patch was: an infra error."""


@dataclass(frozen=True, slots=True)
class Grade:
    """`tests` maps every expected test id to its status: passed, failed or missing."""

    resolved: bool
    tests: dict[str, str]
    reason: str = ""


class Grader(Protocol):
    async def script(self, task: Task) -> str:
        """What to run in a fresh sandbox once the patch is applied: restore, add and run the tests."""
        ...

    async def grade(self, task: Task, log: bytes) -> Grade:
        """Raises `GraderFailed`."""
        ...

    async def close(self) -> None: ...


def test_files(patch: str) -> list[str]:
    """The files that a git patch touches, as paths in the repository."""
    return re.findall(r"^diff --git a/(.+?) b/\1$", patch, re.MULTILINE)


class UnittestGrader:
    """Every expected test must be reported as ok by unittest's verbose runner, each time it is named."""

    LINE = re.compile(
        rb"^\w+ \(([\w.]+)\) \.\.\. (?:.*\n)*?(ok|FAIL|ERROR|skipped .*|expected failure|unexpected success)$", re.M
    )

    async def script(self, task: Task) -> str:
        files = [shlex.quote(file) for file in test_files(task.test_patch)]
        restore = "\n".join(
            f"git checkout -q {task.origin.commit} -- {file} 2>/dev/null || rm -f {file}" for file in files
        )
        return f"{restore}\ngit apply /tmp/tests.patch || exit 98\n{task.test_command}\n"

    async def grade(self, task: Task, log: bytes) -> Grade:
        seen: dict[str, str] = {}
        for name, word in self.LINE.findall(log):
            test = name.decode()
            if seen.get(test) != "failed":  # said twice, the worse counts
                seen[test] = "passed" if word == b"ok" else "failed"
        expected = (*task.fail_to_pass, *task.pass_to_pass)
        tests = {name: seen.get(name, "missing") for name in expected}
        return Grade(all(status == "passed" for status in tests.values()), tests)

    async def close(self) -> None:
        pass
