"""The feedback `reproduce`: the model writes a test that fails because of the issue, and it is run at a submission.

The test is a shell script outside the repository, so that it is no part of the patch. It is run in two forks of the
attempt's sandbox: one as it stands, and one in which the patch is taken back. So nothing that it does changes the
attempt.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from string import Template

from agent.agent import AttemptScope
from agent.feedback.feedback import FeedbackSetup, Moment, Said
from agent.scaffolds import Unsuited
from agent.tools import Workspace
from envs import Command, Completed, FileProblem, Sandbox, SandboxError, SandboxLost
from tasks.task import Task

__all__ = ["SCRIPT", "Reproduce"]

SCRIPT = "/tmp/reproduce.sh"
PATCH = "/tmp/reproduce.patch"
SCRIPT_BYTES = 1 << 20
APPLY_SECONDS, END_CHARACTERS = 120.0, 1_500


class Reproduce:
    """Holds a submission back until there is a test that fails without the changes and passes with them."""

    name = "reproduce"
    extra_sandbox = True

    def __init__(self, setup: FeedbackSetup) -> None:
        if setup.argument:
            raise Unsuited(f"feedback reproduce takes no argument; leave out :{setup.argument}")
        text = (Path(__file__).parent / "texts" / "reproduce.md").read_text("utf-8").strip()
        self.instructions = Template(text).substitute(path=SCRIPT)
        self.texts = {"reproduce": self.instructions}

    async def begin(self, task: Task, workspace: Workspace, scope: AttemptScope) -> Reproduce:
        return self

    async def look(self, moment: Moment) -> Said | None:
        if not moment.submitting:
            return None
        try:
            script = await moment.workspace.sandbox.read(SCRIPT)
        except FileProblem:
            return Said(f"There is no test at {SCRIPT}. Write it, then submit.", holds=True)
        if len(script) > SCRIPT_BYTES:
            return Said(f"The test at {SCRIPT} has more than {SCRIPT_BYTES} bytes. Make it shorter.", holds=True)
        try:
            return await self._judged(moment, script)
        except SandboxLost:
            raise
        except SandboxError as error:
            return Said(f"The test at {SCRIPT} could not be run: {error}")

    async def _judged(self, moment: Moment, script: bytes) -> Said:
        async with _forked(moment.workspace.sandbox) as fork:
            now = await _run(fork, script, moment.workspace)
        async with _forked(moment.workspace.sandbox) as fork:
            if problem := await _take_back(fork, moment.submission.body):
                return Said(f"Your changes cannot be taken back to run the test without them: {problem}")
            base = await _run(fork, script, moment.workspace)
        if not moment.submission.body.strip():
            return Said(f"You have changed nothing yet. The test at {SCRIPT} {_ended(now)}.", holds=True)
        if base.returncode == 0 and not base.timed_out:
            text = f"The test at {SCRIPT} passes without your changes too, so it does not show the issue."
            return Said(_with_end(text, now) if now.returncode else text, holds=True)
        if now.returncode or now.timed_out:
            text = f"The test at {SCRIPT} fails without your changes, as it should, and with them it {_ended(now)}."
            return Said(_with_end(text, now), holds=True)
        return Said(f"The test at {SCRIPT} fails without your changes and passes with them.")


@asynccontextmanager
async def _forked(sandbox: Sandbox) -> AsyncIterator[Sandbox]:
    """A sandbox with the same files, closed at the end."""
    snapshot = await sandbox.snapshot()
    try:
        fork = await snapshot.fork(label="reproduce")
    finally:
        await snapshot.close()
    try:
        yield fork
    finally:
        await fork.close()


async def _take_back(fork: Sandbox, patch: bytes) -> str:
    """Undo the patch in a fork. Returns what failed, "" if nothing."""
    if not patch.strip():
        return ""
    await fork.write(PATCH, patch)
    done = await fork.run(Command(("git", "apply", "-R", "--whitespace=nowarn", PATCH), timeout=APPLY_SECONDS))
    return done.output.decode("utf-8", "replace").strip()[-END_CHARACTERS:] if done.returncode else ""


async def _run(fork: Sandbox, script: bytes, workspace: Workspace) -> Completed:
    await fork.write(SCRIPT, script)  # a snapshot need not hold what lies outside the repository
    environment = {"PYTHONDONTWRITEBYTECODE": "1"}
    shell = f"if command -v bash > /dev/null; then exec bash {SCRIPT}; else exec sh {SCRIPT}; fi"
    return await fork.run(Command(shell, env=environment, timeout=workspace.command_seconds))


def _ended(done: Completed) -> str:
    if done.timed_out:
        return f"does not end within {done.seconds:.0f} s"
    return f"ends with exit status {done.returncode}" if done.returncode else "passes"


def _with_end(text: str, done: Completed) -> str:
    end = done.output.decode("utf-8", "replace").strip()[-END_CHARACTERS:]
    return f"{text} The end of its output:\n{end}" if end else text
