"""One attempt: a model and its tools at work in a sandbox until it submits.

    begin:                as the scaffold opens it
    while within limits:  sample a reply, act on it, observe
    whatever happens:     take the patch

Every exit has a status (`agent.trajectory.Exit`), and the patch is taken by the runner at
each of them. What a model does wrong it is told, as an observation; what we do wrong (a
sandbox that dies, a server that fails) ends the attempt as an infra error and is never
shown to it. How an action is written is the business of `agent.actions`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from agent.actions import Action, ActionError
from agent.conversation import Conversation
from agent.models.model import Call, ContextExceeded, Meter, Model, ModelUnavailable, NoMoreAnswers, Reply
from agent.scaffolds import Opening
from agent.tools import Submitted, ToolError, Workspace
from agent.trajectory import Exit, Message, Trajectory, Turn
from envs import SandboxError
from tasks.task import Submission

__all__ = ["AttemptLimits", "Begins", "run_attempt"]

# How an attempt begins, in its own sandbox and by its own seed.
Begins = Callable[[Workspace, Call], Awaitable[Opening]]

FAULTS_IN_A_ROW = 4  # replies without one action that can be carried out
SALVAGE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """What one attempt may use: turns, tokens (prompt and completion, all turns), wall seconds, dollars if priced.

    `window` is how many tokens one request may have, None for what the server takes; `context` is what
    becomes of a conversation that outgrows it: "stop" ends the attempt, "elide" leaves out older observations.
    """

    turns: int = 40
    tokens: int = 2_000_000
    seconds: float = 3600.0
    window: int | None = None
    context: str = "stop"
    dollars: float | None = None

    def reached(self, meter: Meter) -> Exit | None:
        """The limit that ends an attempt which has used so much."""
        if meter.used.total >= self.tokens:
            return Exit.TOKEN_LIMIT
        return Exit.COST_LIMIT if self.dollars is not None and meter.dollars >= self.dollars else None


async def run_attempt(
    model: Model, workspace: Workspace, begins: Begins, call: Call, limits: AttemptLimits
) -> Trajectory:
    """Play one attempt to its end.

    Raises only `ModelRefused` and `Unsuited`: then no attempt can succeed.
    """
    attempt = _Attempt(model, workspace, call, limits)
    began = time.monotonic()
    detail = ""
    try:
        async with asyncio.timeout(limits.seconds) as call.meter.clock:  # which stands still while a server is away
            exit = await attempt.play(await begins(workspace, call))
    except TimeoutError:
        exit = Exit.CANCELLED if call.meter.closed else Exit.TIME_LIMIT
    except ContextExceeded as error:
        exit, detail = Exit.CONTEXT_LIMIT, str(error)
    except NoMoreAnswers as end:
        exit, detail = end.exit, str(end)
    except ModelUnavailable as error:
        exit, detail = Exit.MODEL_FAILED, str(error)
    except SandboxError as error:
        exit, detail = Exit.SANDBOX_FAILED, str(error)
    except asyncio.CancelledError:
        exit = Exit.CANCELLED
    finally:
        call.over.close()
    patch = b""
    try:
        async with asyncio.timeout(SALVAGE_SECONDS):
            patch = await workspace.sandbox.diff()
    except asyncio.CancelledError:  # what was sampled is paid for, and kept
        exit = Exit.CANCELLED
    except (SandboxError, TimeoutError) as error:
        if not exit.infra:
            exit, detail = Exit.SANDBOX_FAILED, str(error) or "the patch could not be taken in time"
    seconds, wasted = time.monotonic() - began, call.meter.take()
    detail = "; ".join(part for part in (detail, call.meter.remark) if part)
    return Trajectory(
        exit, tuple(attempt.said.messages), tuple(attempt.turns), Submission(patch), seconds, detail, wasted
    )


class _Attempt:
    """The state of one attempt under way: the conversation and its turns so far."""

    def __init__(self, model: Model, workspace: Workspace, call: Call, limits: AttemptLimits) -> None:
        self.model, self.workspace, self.call, self.limits = model, workspace, call, limits
        self.said = Conversation(())
        self.turns: list[Turn] = []

    async def play(self, opening: Opening) -> Exit:
        self.said, self.actions = Conversation(opening.messages), opening.actions
        self.call = replace(self.call, opening=len(opening.messages))
        faults, meter = 0, self.call.meter
        for _ in range(self.limits.turns):
            if meter.closed:
                return Exit.CANCELLED
            before = time.monotonic()
            reply = await self.sample()
            meter.charge(reply.usage)
            sampled = time.monotonic()
            message, actions = self.actions.read(reply.message, cut=reply.finish_reason == "length")
            self.said.add(message)
            if self.limits.window:
                self.said.counted(reply.context)
            submitted = False
            try:
                submitted = await self.act(actions)
            finally:  # a turn that a limit cuts short is paid for all the same
                self.turns.append(self.turn(reply, message, sampled - before, time.monotonic() - sampled))
            if submitted:
                return Exit.SUBMITTED
            faults = 0 if any(isinstance(action, Action) for action in actions) else faults + 1
            if faults >= FAULTS_IN_A_ROW:
                return Exit.STOPPED
            if limit := self.limits.reached(meter):
                return limit
        return Exit.TURN_LIMIT

    async def sample(self) -> Reply:
        """The model's next reply, with older observations left out if they must and may be."""
        window, said = self.limits.window, self.said
        while True:
            try:
                if window and said.tokens > window:
                    raise ContextExceeded(f"the next request has about {said.tokens} tokens of {window}")
                return await self.model.reply(said.sent(), self.actions.schemas, call=self.call)
            except ContextExceeded:
                if self.limits.context != "elide" or not said.elide():
                    raise

    async def act(self, actions: Sequence[Action | ActionError]) -> bool:
        """Carry out one reply's actions in order; True if one of them submits."""
        results: list[tuple[Action | ActionError, str]] = []
        try:
            for action in actions:
                text = await self.result(action)
                results.append((action, text))
                if isinstance(text, Submitted):
                    return True
        finally:
            self.said.add(*self.actions.observations(results))
        return False

    async def result(self, action: Action | ActionError) -> str:
        """What the model is to read of it."""
        if isinstance(action, ActionError):
            return f"[error] {action.text}"
        try:
            return await action.tool.act(self.workspace, action.arguments)
        except ToolError as mistake:
            return f"[error] {mistake}"

    def turn(self, reply: Reply, kept: Message, model_seconds: float, tool_seconds: float) -> Turn:
        return Turn(
            end=len(self.said.messages),
            usage=reply.usage,
            model_seconds=model_seconds,
            tool_seconds=tool_seconds,
            finish_reason=reply.finish_reason,
            shared=reply.shared,
            given=None if reply.message == kept else reply.message,
            tokens=reply.tokens,
        )
