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
from tasks.swe.error_line import with_error_line
from tasks.swe.patches import touched_files
from tasks.swe.task import SweTask

__all__ = ["NOT_PLACED", "Grade", "Grader", "GraderFailed", "Scripts", "UnittestGrader"]

NOT_PLACED = 98


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


@dataclass(frozen=True, slots=True)
class Scripts:
    """What is run in a fresh sandbox in which the patch is applied, each part by a bash of its own.

    `prepare` installs and builds; its folder, variables, functions and options are those in which `place` and `run`
    start. `place` restores the test files and adds the hidden ones; with the exit status NOT_PLACED nothing is run.
    `run` runs the tests. A part may be empty.
    """

    prepare: str
    place: str
    run: str


class Grader(Protocol):
    """Runs and reads the hidden tests of tasks."""

    async def scripts(self, task: SweTask) -> Scripts:
        """The scripts that run the task's hidden tests. Raises `GraderFailed`."""
        ...

    async def grade(self, task: SweTask, log: bytes) -> Grade:
        """The result that the script's log shows. Raises `GraderFailed`."""
        ...

    async def close(self) -> None:
        """End what it has started. Idempotent."""
        ...


class UnittestGrader:
    """Requires that unittest's verbose runner reports every expected test as ok, and as nothing else.

    The runner reports on standard error; what the tests print is sent elsewhere. What they write to standard error is
    in the same log and may stand before a result, on its line or on lines of its own: the last result before the next
    test counts. A test counts as failed if the runner lists it as failed, and a log with more results than tests that
    were run resolves nothing.
    """

    # The name of a test in brackets, as its line has it: "test_a (tests.test_x.TestX.test_a) ... ".
    NAME = re.compile(r" \((\w[\w.]*\.\w+)\)(?= \.\.\. |\n)")
    RESULT = re.compile(r"(?:ok|FAIL|ERROR|skipped (?:'.*'|\".*\")|expected failure|unexpected success)$", re.M)
    LISTED = re.compile(r"^(?:FAIL|ERROR|UNEXPECTED SUCCESS): [\w.]+ \(([\w.]+)\)", re.M)
    RAN = re.compile(r"^Ran (\d+) tests? in ", re.M)

    async def scripts(self, task: SweTask) -> Scripts:
        files = [shlex.quote(file) for file in touched_files(task.test_patch)]
        restore = "\n".join(
            f"git checkout -q {task.origin.commit} -- {file} 2>/dev/null || rm -rf {file}" for file in files
        )
        add = f"printf %s {shlex.quote(task.test_patch)} | git apply || exit {NOT_PLACED}"
        return Scripts("", f"{restore}\n{add}\n", f"exec >/dev/null\n{task.test_command}\n")

    async def grade(self, task: SweTask, log: bytes) -> Grade:
        text = log.decode("utf-8", "replace")
        results = self._results(text)
        good = {name for name, _ in results}
        bad = {name for name, result in results if result != "ok"} | set(self.LISTED.findall(text))
        expected = (*task.fail_to_pass, *task.pass_to_pass)
        tests = {name: "failed" if name in bad else "passed" if name in good else "missing" for name in expected}
        ran = self.RAN.findall(text)
        if not ran:
            return Grade(False, tests, with_error_line("the test run did not come to its end", text))
        resolved = all(status == "passed" for status in tests.values())
        if resolved and len(results) > int(ran[-1]):
            return Grade(False, tests, f"the log has {len(results)} results, but {ran[-1]} tests were run")
        return Grade(resolved, tests)

    def _results(self, text: str) -> list[tuple[str, str]]:
        """Each test that is named in the log, in order, with the last result before the next one."""
        end = max((found.start() for found in self.RAN.finditer(text)), default=len(text))
        starts = [found for found in self.NAME.finditer(text, 0, end) if self._is_test(text, found)]
        limits = [*(found.start() for found in starts[1:]), end][: len(starts)]
        told = (
            (found[1], self.RESULT.findall(text[found.end() : limit]))
            for found, limit in zip(starts, limits, strict=True)
        )
        return [(name, words[-1]) for name, words in told if words]

    def _is_test(self, text: str, found: re.Match[str]) -> bool:
        """Whether the word before the brackets is the last part of the name in them, as in the line of a test."""
        return text.endswith(found[1].rpartition(".")[2], 0, found.start())

    async def close(self) -> None:
        pass
