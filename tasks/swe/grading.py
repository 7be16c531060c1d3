"""From a test log to a status for each expected test, and from these to a verdict's outcome.

`UnittestGrader` reads what `python -m unittest -v` prints (the embedded tasks); SWE-bench's
own grader is in `tasks.swe.harness`.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Protocol

from tasks.swe.patches import touched_files
from tasks.task import Task

__all__ = ["Grade", "Grader", "GraderFailed", "UnittestGrader"]


class GraderFailed(Exception):
    """The grader itself broke, whatever the patch was: an infra error."""


@dataclass(frozen=True, slots=True)
class Grade:
    """What one log says.

    `tests` maps every expected test id to its status: passed, failed, error, skipped,
    xfail or missing. `resolved` is the harness's own conclusion; a `reason` says what
    speaks against the log as a whole.
    """

    resolved: bool
    tests: dict[str, str]
    reason: str = ""


class Grader(Protocol):
    async def script(self, task: Task, before: str = "") -> str:
        """What to run in a fresh sandbox once the patch is applied: restore, add and run the tests.

        `before` is a command to run when the tests are in place, just before they are run.
        """
        ...

    async def grade(self, task: Task, log: bytes) -> Grade:
        """Raises `GraderFailed`."""
        ...

    async def close(self) -> None: ...


class UnittestGrader:
    """Every expected test must be reported as ok, and as nothing else, by unittest's verbose runner.

    What the code under test prints stands in the same log. So a test counts as failed if
    anything says so, and a log with more results than tests were run resolves nothing.
    """

    START = re.compile(r"(?!setUp|tearDown)[\w.]+ \(([\w.]+)\)(?: \.\.\. (.*))?")
    END = re.compile(r"(?:.* \.\.\. )?(ok|FAIL|ERROR|skipped .*|expected failure|unexpected success)")
    RULE = re.compile(r"[=-]{70}")
    LISTED = re.compile(r"^(?:FAIL|ERROR|UNEXPECTED SUCCESS): [\w.]+ \(([\w.]+)\)", re.M)
    RAN = re.compile(r"^Ran (\d+) tests? in ", re.M)

    async def script(self, task: Task, before: str = "") -> str:
        files = [shlex.quote(file) for file in touched_files(task.test_patch)]
        restore = "\n".join(
            f"git checkout -q {task.origin.commit} -- {file} 2>/dev/null || rm -rf {file}" for file in files
        )
        add = f"printf %s {shlex.quote(task.test_patch)} | git apply || exit 98"
        return f"{restore}\n{add}\n{before}\n{task.test_command}\n"

    async def grade(self, task: Task, log: bytes) -> Grade:
        text = log.decode("utf-8", "replace")
        said = [(name, words) for name, words in self._said(text) if words]
        good = {name for name, _ in said}
        bad = {name for name, words in said if set(words) != {"ok"}} | set(self.LISTED.findall(text))
        expected = (*task.fail_to_pass, *task.pass_to_pass)
        tests = {name: "failed" if name in bad else "passed" if name in good else "missing" for name in expected}
        ran = self.RAN.findall(text)
        if not ran:
            return Grade(False, tests, "the test run did not come to its end")
        resolved = all(status == "passed" for status in tests.values())
        if resolved and len(said) > int(ran[-1]):
            return Grade(False, tests, f"the log tells of {len(said)} results where {ran[-1]} tests were run")
        return Grade(resolved, tests)

    def _said(self, text: str) -> list[tuple[str, list[str]]]:
        """The results that stand between each test's own line and the next one's."""
        said: list[tuple[str, list[str]]] = []
        for line in text.split("\n"):
            if start := self.START.fullmatch(line):
                said.append((start[1], []))
                line = start[2] or ""
            elif self.RULE.fullmatch(line):
                said.append(("", []))
            if said and said[-1][0] and (end := self.END.fullmatch(line)):
                said[-1][1].append(end[1])
        return said

    async def close(self) -> None:
        pass
