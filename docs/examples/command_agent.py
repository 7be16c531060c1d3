"""An agent that is a shell command: it gets the statement on its standard input and works in the sandbox.

    [project.entry-points."coding_monkeys.agents"]
    command = "command_agent:CommandAgent"

Its option `command` is run once in each attempt; what it changed in the repository is the submission. `Attempt` turns
limits, a lost sandbox and a cancellation into the exit of the trajectory, as for every agent.
"""

from __future__ import annotations

from functools import partial

from agent.agent import AttemptScope
from agent.agents import AgentSetup
from agent.attempt import Attempt
from agent.models import Reply
from agent.scaffolds import Unsuited
from agent.trajectory import Exit, Trajectory
from envs import Command, Sandbox
from tasks import Task


class CommandAgent:
    """Runs one command in the sandbox."""

    name = "command"
    needs_sandbox = True

    def __init__(self, setup: AgentSetup) -> None:
        if "command" not in setup.options:
            raise Unsuited("agent command needs its option `command`, the shell command that solves a task")
        self._command, self._setup = setup.options["command"], setup

    async def run(self, task: Task, sandbox: Sandbox | None, scope: AttemptScope) -> Trajectory:
        assert sandbox is not None
        attempt = Attempt(self._setup.model, self._setup.limits, scope)
        play = partial(self._play, attempt, self._setup.shown(task), sandbox)
        return await attempt.run(play, partial(self._setup.collect, task, sandbox))

    async def _play(self, attempt: Attempt, statement: str, sandbox: Sandbox) -> Exit:
        attempt.begin([{"role": "user", "content": statement}])
        command = Command(self._command, stdin=statement.encode(), timeout=self._setup.command_seconds)
        done = await sandbox.run(command)
        message = {"role": "assistant", "content": done.output.decode("utf-8", "replace")}
        with attempt.turn(Reply(message), message):
            return Exit.SUBMITTED if done.returncode == 0 else Exit.STOPPED
