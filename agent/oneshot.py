"""The agent `oneshot`: one completion without tools, whose text is the submission.

The model is shown the statement as the suite writes it, and the strategy's brief if there is one. Nothing is run, so no
sandbox is needed. Limits and failures are handled as in the loop (`agent.attempt`).
"""

from __future__ import annotations

from functools import partial

from agent.actions.sanitize import sendable
from agent.agent import AttemptScope
from agent.agents import AgentSetup
from agent.attempt import Attempt
from agent.prompts import with_brief
from agent.trajectory import Exit, Trajectory
from envs import Sandbox
from tasks.task import Task

__all__ = ["OneShot"]


class OneShot:
    """Asks once and hands in the reply."""

    name = "oneshot"
    needs_sandbox = False

    def __init__(self, setup: AgentSetup) -> None:
        self.model, self.limits = setup.model, setup.limits
        self.shown, self.collect = setup.shown, setup.collect

    async def run(self, task: Task, sandbox: Sandbox | None, scope: AttemptScope) -> Trajectory:
        attempt = Attempt(self.model, self.limits, scope)
        # Without the sandbox, in which nothing was changed: the reply is what is handed in.
        return await attempt.run(partial(self.play, attempt, task), partial(self.collect, task, None))

    async def play(self, attempt: Attempt, task: Task) -> Exit:
        if attempt.scope.budget.closed:
            return Exit.CANCELLED
        statement = with_brief(self.shown(task), attempt.scope.spec.brief)
        attempt.begin([{"role": "user", "content": statement}])
        reply = await attempt.sample([])
        with attempt.turn(reply, sendable({**reply.message, "tool_calls": None})):
            return Exit.SUBMITTED
