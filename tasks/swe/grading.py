"""Graders: the script that runs a task's hidden tests, and the status of each expected test in its log.

`UnittestGrader` reads what `python -m unittest -v` prints, for the embedded tasks. `tasks.swe.harness` has SWE-bench's
own grader, `tasks.swe.graders` the one that chooses between the two for each task.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Protocol

from envs.errors import MonkeysError
from tasks.swe.patches import touched_files
from tasks.swe.task import SweTask

__all__ = ["Grade", "Grader", "GraderFailed", "UnittestGrader"]


class GraderFailed(MonkeysError):
    """The grader itself failed, whatever the patch is: an infra error."""


@dataclass(frozen=True, slots=True)
class Grade:
    """The result that one log shows.

    `tests` maps every expected test id to its status: passed, failed, error, skipped, xfail or missing. `resolved` is
    the harness's own conclusion. `reason` says what is wrong with the log as a whole, "" if nothing is.
    """

    resolved: bool
    tests: dict[str, str]
    reason: str = ""


class Grader(Protocol):
    """Runs and reads the hidden tests of tasks."""

    async def script(self, task: SweTask, before: str = "") -> str:
        """The script for a fresh sandbox in which the patch is applied: it restores, adds and runs the tests.

        `before` is a command for the moment when the tests are in place and not yet run. Raises `GraderFailed`.
        """
        ...

    async def grade(self, task: SweTask, log: bytes) -> Grade:
        """The result that the script's log shows. Raises `GraderFailed`."""
        ...

    async def close(self) -> None:
        """End what it has started. Idempotent."""
        ...


class UnittestGrader:
    """Requires that unittest's verbose runner reports every expected test as ok, and as nothing else.

    What the code under test prints is in the same log. So a test counts as failed if any line says so, and a log with
    more results than tests that were run resolves nothing.
    """

    START = re.compile(r"(?!setUp|tearDown)[\w.]+ \(([\w.]+)\)(?: \.\.\. (.*))?")
    END = re.compile(r"(?:.* \.\.\. )?(ok|FAIL|ERROR|skipped .*|expected failure|unexpected success)")
    RULE = re.compile(r"[=-]{70}")
    LISTED = re.compile(r"^(?:FAIL|ERROR|UNEXPECTED SUCCESS): [\w.]+ \(([\w.]+)\)", re.M)
    RAN = re.compile(r"^Ran (\d+) tests? in ", re.M)

    async def script(self, task: SweTask, before: str = "") -> str:
        files = [shlex.quote(file) for file in touched_files(task.test_patch)]
        restore = "\n".join(
            f"git checkout -q {task.origin.commit} -- {file} 2>/dev/null || rm -rf {file}" for file in files
        )
        add = f"printf %s {shlex.quote(task.test_patch)} | git apply || exit 98"
        return f"{restore}\n{add}\n{before}\n{task.test_command}\n"

    async def grade(self, task: SweTask, log: bytes) -> Grade:
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
            return Grade(False, tests, f"the log has {len(said)} results, but {ran[-1]} tests were run")
        return Grade(resolved, tests)

    def _said(self, text: str) -> list[tuple[str, list[str]]]:
        """Each test with the results between its own line and that of the next test."""
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
