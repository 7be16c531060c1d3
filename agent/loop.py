"""Our agent: a model and its tools at work in a sandbox until it submits.

    begin:                as the scaffold opens it
    while within limits:  sample a reply, act on it, observe, hear the feedback
    whatever happens:     collect the submission

A mistake of the model is an observation that it reads. A failure of the sandbox or the server ends the attempt as an
infra error and is never shown to the model. How an attempt ends and what is recorded stands in `agent.attempt`, how an
action is written in `agent.actions`, what is said beyond what tools answer in `agent.feedback`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from agent.actions import Action, ActionError, Actions
from agent.agent import AttemptScope
from agent.agents import AgentSetup
from agent.attempt import Attempt
from agent.conversation import FEEDBACK, as_added
from agent.feedback.attempt_feedback import HELD_BACK, AttemptFeedback
from agent.models.recorded import unlike_messages
from agent.scaffolds import Unsuited, make_scaffold
from agent.tools import Submitted, ToolError, Workspace
from agent.trajectory import Exit, Message, Trajectory, is_cut
from agent.turn_submissions import TurnSubmissions, submission_after
from envs import Peeking, Sandbox, SandboxError, SandboxExhausted, SandboxLost
from envs.in_passing import InPassing
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
        self.feedback, self.each_turn = setup.feedback, setup.each_turn

    async def run(self, task: Task, sandbox: Sandbox | None, scope: AttemptScope) -> Trajectory:
        if sandbox is None:
            raise Unsuited("agent loop works in a sandbox, and this attempt has none; use --agent oneshot")
        if self.each_turn and not isinstance(sandbox, Peeking):
            raise Unsuited("no patch can be taken after each turn in this kind of sandbox; leave out --patch-each-turn")
        each_turn = TurnSubmissions(partial(self.collect, task, InPassing(sandbox))) if self.each_turn else None
        attempt = Attempt(self.model, self.limits, scope, each_turn)
        workspace = Workspace(sandbox, task.test_command, self.command_seconds)
        collect = partial(self.collect, task, sandbox)
        feedback = AttemptFeedback(self.feedback, task, workspace, partial(collect, ""), attempt.ask)
        return await attempt.run(partial(self.play, attempt, task, workspace, feedback), collect)

    async def play(self, attempt: Attempt, task: Task, workspace: Workspace, feedback: AttemptFeedback) -> Exit:
        await feedback.begin(attempt.scope)
        opening = await self.scaffold.opening(task, workspace, attempt.scope)
        attempt.begin(feedback.instructed(opening.messages))
        useless, turns = 0, self.limits.turns
        if attempt.scope.spec.continues:
            useless = await self.resume(attempt, task, workspace, opening.actions)
            turns -= attempt.scope.spec.continues.turn
        for _ in range(turns):
            await attempt.take_submission()
            if attempt.scope.budget.closed:
                return Exit.CANCELLED
            reply = await attempt.sample(opening.actions.schemas)
            message, actions = opening.actions.read(reply.message, cut=reply.cut)
            with attempt.turn(reply, message):
                submitted = await self.act(attempt, workspace, feedback, opening.actions, actions)
            if submitted:
                return Exit.SUBMITTED
            useless = 0 if any(isinstance(action, Action) for action in actions) else useless + 1
            if useless >= USELESS_IN_A_ROW:
                return Exit.STOPPED
            if limit := self.limits.reached(attempt.scope.budget):
                return limit
        return Exit.TURN_LIMIT

    async def resume(self, attempt: Attempt, task: Task, workspace: Workspace, form: Actions) -> int:
        """Bring the sandbox and the conversation to where this attempt continues another one.

        The recorded actions are carried out again, so that files that no patch holds and background processes are there
        too; the conversation is the recorded one. Returns how many useless replies it ends with. Raises `SandboxError`
        if the sandbox does not behave as it did.
        """
        branch, recorded = attempt.scope.spec.continues, attempt.scope.recorded
        if branch is None or recorded is None or not 0 <= branch.turn < len(recorded.turns):
            raise SandboxError("the turn from which this attempt goes on is not on record")
        try:
            with attempt.scope.paused():
                async with asyncio.timeout(self.limits.seconds):
                    useless = await self.restore(attempt, workspace, form, recorded, branch.turn)
                    await self.compare(task, workspace.sandbox, recorded, branch.turn)
        except TimeoutError:
            raise SandboxError(f"turn {branch.turn} was not reached again within {self.limits.seconds:g} s") from None
        except SandboxExhausted as error:  # no doing of the replies that are still to come
            raise SandboxLost(str(error)) from None
        attempt.resume(recorded, branch.turn)
        return useless

    async def restore(
        self, attempt: Attempt, workspace: Workspace, form: Actions, recorded: Trajectory, turns: int
    ) -> int:
        """Carry out the actions of the first turns of an attempt. Returns how many useless replies they end with."""
        useless = 0
        for number, (turn, at) in enumerate(zip(recorded.turns[:turns], recorded.answers, strict=False)):
            answer = recorded.messages[at] if turn.given is None else turn.given
            _, actions = form.read(answer, cut=is_cut(turn.finish_reason))
            results: list[tuple[Action | ActionError, str]] = []
            for action in actions:
                seen = await observe(workspace, action)
                attempt.saw(action, seen)
                results.append((action, HELD_BACK if isinstance(seen, Submitted) else seen))
            answers = recorded.messages[at + 1 : turn.end]
            shown = [as_added(message) for message in answers if FEEDBACK not in message]
            if difference := unlike_messages(shown, form.observations(results)):
                raise SandboxError(f"the sandbox does not behave as recorded at turn {number}: {difference}")
            useless = 0 if any(isinstance(action, Action) for action in actions) else useless + 1
        return useless

    async def compare(self, task: Task, sandbox: Sandbox, recorded: Trajectory, turns: int) -> None:
        """Compare the submission with the recorded one after so many turns, where that is known."""
        known = submission_after(recorded, turns)
        if known is not None and (await self.collect(task, InPassing(sandbox), "")).body != known.body:
            raise SandboxError(f"the submission before turn {turns} is not as recorded")

    async def act(
        self,
        attempt: Attempt,
        workspace: Workspace,
        feedback: AttemptFeedback,
        form: Actions,
        actions: Sequence[Action | ActionError],
    ) -> bool:
        """Carry out the actions of one reply in order and add what they showed, and the feedback on it.

        True if one of them submits, and the feedback does not hold it back.
        """
        results: list[tuple[Action | ActionError, str]] = []
        told: list[Message] = []
        submitting = False
        try:
            for action in actions:
                results.append((action, await observe(workspace, action)))
                attempt.saw(action, results[-1][1])
                if submitting := isinstance(results[-1][1], Submitted):
                    break
            acted = any(isinstance(action, Action) for action, _ in results)
            told, held = await feedback.after_turn(acted=acted, submitting=submitting)
            if held:
                submitting, results[-1] = False, (results[-1][0], HELD_BACK)
        finally:
            attempt.conversation.add(*form.observations(results), *told)
        return submitting


async def observe(workspace: Workspace, action: Action | ActionError) -> str:
    """Carry out one action. Returns what the model reads of it."""
    if isinstance(action, ActionError):
        return f"[error] {action.text}"
    try:
        return await action.tool.act(workspace, action.arguments)
    except ToolError as mistake:
        return f"[error] {mistake}"
