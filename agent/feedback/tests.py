"""The feedback `tests`: the visible tests that fail now and did not fail at the base.

The task's test command is run in the attempt's own sandbox, with the time limit of one command: at the beginning of the
first attempt at a task, which tells what fails at the base, and then after each turn that changed the repository, or
with `tests:submit` at a submission alone. The visible tests are those of the repository and what the attempt adds to
them. The hidden tests are not there.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass

from agent.agent import AttemptScope
from agent.feedback.failing import excerpt, failing_tests
from agent.feedback.feedback import FeedbackSetup, Moment, Said, listed
from agent.scaffolds import Unsuited
from agent.tools import Workspace
from envs import Command
from tasks.task import Task

__all__ = ["TestRun", "Tests", "run_visible_tests"]

# Runs for feedback leave nothing in the repository. Compiled code is not written either: two versions of a file in one
# second can have the same size.
ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_ADDOPTS": "-p no:cacheprovider"}
OUTPUT_BYTES = 4 << 20
SHOWN, END_CHARACTERS = 20, 1_500


@dataclass(frozen=True, slots=True)
class TestRun:
    """One run of the visible tests: the tests that failed, whether all is well, and what was printed."""

    failing: tuple[str, ...]
    passed: bool
    timed_out: bool
    output: str

    __test__ = False  # pytest takes it for a test case otherwise


class Tests:
    """Runs the visible tests after each edit, or at a submission."""

    name = "tests"
    instructions = ""
    extra_sandbox = False
    __test__ = False

    def __init__(self, setup: FeedbackSetup) -> None:
        if setup.argument not in ("", "submit"):
            raise Unsuited(f"feedback tests:{setup.argument} is unknown; there are tests and tests:submit")
        self.texts: dict[str, str] = {}
        self._at_submit = setup.argument == "submit"
        self._bases: dict[str, TestRun] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def begin(self, task: Task, workspace: Workspace, scope: AttemptScope) -> _Tested:
        if not workspace.test_command:
            raise Unsuited(f"feedback tests runs the visible tests, and {task.id} has none; leave it out")
        lock = self._locks[task.id]
        with scope.paused():  # another attempt does the work
            await lock.acquire()
        try:
            if task.id not in self._bases:
                self._bases[task.id] = await run_visible_tests(workspace)
        finally:
            lock.release()
        return _Tested(self._bases[task.id], self._at_submit)


class _Tested:
    """The visible tests in one attempt."""

    def __init__(self, base: TestRun, at_submit: bool) -> None:
        self._base, self._at_submit = base, at_submit
        self._tested: bytes = b""  # the patch that was tested last

    async def look(self, moment: Moment) -> Said | None:
        patch = moment.submission.body
        if patch == self._tested or (self._at_submit and not moment.submitting):
            return None
        first, self._tested = not self._tested, patch
        seconds = moment.workspace.command_seconds
        if self._base.timed_out:
            text = (
                f"The visible tests did not end within {seconds:.0f} s before your changes, so they are not run again."
            )
            return Said(text) if first else None
        return compared(self._base, await run_visible_tests(moment.workspace), seconds)


async def run_visible_tests(workspace: Workspace) -> TestRun:
    """Run the visible tests, and end what they leave running."""
    command = Command(
        workspace.test_command, env=ENVIRONMENT, timeout=workspace.command_seconds, output_cap=OUTPUT_BYTES
    )
    done = await workspace.sandbox.run(command)
    await workspace.sandbox.quiet()
    output = done.output.decode("utf-8", "replace").replace("\r\n", "\n")
    passed = not done.timed_out and done.returncode == 0
    failing = () if passed else tuple(await asyncio.to_thread(failing_tests, output))
    return TestRun(failing, passed, done.timed_out, output)


def compared(base: TestRun, now: TestRun, seconds: float) -> Said:
    """What a model is told of the tests now, against the tests at the base."""
    new = [test for test in now.failing if test not in base.failing]
    if new:
        count = "1 visible test fails" if len(new) == 1 else f"{len(new)} visible tests fail"
        told = f"{count} that did not fail before your changes:\n{listed(new, SHOWN)}"
        shown = excerpt(now.output, new[0])
        return Said(f"{told}\n\nOf the first:\n{shown}" if shown else told, holds=True)
    if now.timed_out:
        return Said(f"The visible tests did not end within {seconds:.0f} s, and did before your changes.", holds=True)
    if not now.passed and not now.failing:
        if base.passed or base.failing:
            text = "The visible tests do not come to their end, and did before your changes. The end of their output:"
            return Said(f"{text}\n{now.output[-END_CHARACTERS:].strip()}", holds=True)
        return Said("The visible tests fail, as before your changes; which of them is not known.")
    gone = [test for test in base.failing if test not in now.failing]
    text = "No visible test fails that did not fail before your changes."
    if gone:
        text += f" These failed before, and do not fail now:\n{listed(gone, SHOWN)}"
    elif now.failing:
        text += f" These failed before, and still fail:\n{listed(list(now.failing), SHOWN)}"
    return Said(text)
