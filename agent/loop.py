"""Our agent: a model and its tools at work in a sandbox until it submits.

    begin:                as the scaffold opens it
    while within limits:  sample a reply, act on it, observe
    whatever happens:     collect the submission

A mistake of the model is an observation that it reads. A failure of the sandbox or the server ends the attempt as an
infra error and is never shown to the model. How an attempt ends and what is recorded stands in `agent.attempt`, how an
action is written in `agent.actions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from agent.actions import Action, ActionError, Actions
from agent.agent import AttemptScope
from agent.agents import AgentSetup
from agent.attempt import Attempt
from agent.scaffolds import Unsuited, make_scaffold
from agent.tools import Submitted, ToolError, Workspace
from agent.trajectory import Exit, Trajectory
from envs import Sandbox
from tasks.task import Task

__all__ = ["ToolLoop"]

USELESS_IN_A_ROW = 4  # replies without one action that can be carried out


class ToolLoop:
    """Samples, acts and observes, turn by turn."""

    name = "loop"
    needs_sandbox = True
    uses_scaffold = True

    def __init__(self, setup: AgentSetup) -> None:
        self.model, self.scaffold, self.limits = setup.model, setup.scaffold or make_scaffold(), setup.limits
        self.command_seconds, self.collect = setup.command_seconds, setup.collect

    async def run(self, task: Task, sandbox: Sandbox | None, scope: AttemptScope) -> Trajectory:
        if sandbox is None:
            raise Unsuited("agent loop works in a sandbox, and this attempt has none; use --agent oneshot")
        attempt = Attempt(self.model, self.limits, scope)
        workspace = Workspace(sandbox, task.test_command, self.command_seconds)
        return await attempt.run(partial(self.play, attempt, task, workspace), partial(self.collect, task, sandbox))

    async def play(self, attempt: Attempt, task: Task, workspace: Workspace) -> Exit:
        opening = await self.scaffold.opening(task, workspace, attempt.scope)
        attempt.begin(opening.messages)
        useless = 0
        for _ in range(self.limits.turns):
            if attempt.scope.budget.closed:
                return Exit.CANCELLED
            reply = await attempt.sample(opening.actions.schemas)
            message, actions = opening.actions.read(reply.message, cut=reply.finish_reason == "length")
            with attempt.turn(reply, message):
                submitted = await self.act(attempt, workspace, opening.actions, actions)
            if submitted:
                return Exit.SUBMITTED
            useless = 0 if any(isinstance(action, Action) for action in actions) else useless + 1
            if useless >= USELESS_IN_A_ROW:
                return Exit.STOPPED
            if limit := self.limits.reached(attempt.scope.budget):
                return limit
        return Exit.TURN_LIMIT

    async def act(
        self, attempt: Attempt, workspace: Workspace, form: Actions, actions: Sequence[Action | ActionError]
    ) -> bool:
        """Carry out the actions of one reply in order and add what they showed; True if one of them submits."""
        results: list[tuple[Action | ActionError, str]] = []
        try:
            for action in actions:
                results.append((action, await observe(workspace, action)))
                if isinstance(results[-1][1], Submitted):
                    return True
        finally:
            attempt.conversation.add(*form.observations(results))
        return False


async def observe(workspace: Workspace, action: Action | ActionError) -> str:
    """Carry out one action. Returns what the model reads of it."""
    if isinstance(action, ActionError):
        return f"[error] {action.text}"
    try:
        return await action.tool.act(workspace, action.arguments)
    except ToolError as mistake:
        return f"[error] {mistake}"
