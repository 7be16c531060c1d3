"""One attempt: a model and its tools at work in a sandbox until it submits.

    while within limits:  sample a reply, act on it, observe
    whatever happens:     take the patch

Every exit has a status (`agent.trajectory.Exit`), and the patch is taken by the runner at
each of them. What a model does wrong it is told, as an observation; what we do wrong (a
sandbox that dies, a server that fails) ends the attempt as an infra error and is never
shown to it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from agent.actions.native import Action, Fault, observation, read_actions, schemas
from agent.models.model import Call, ContextExceeded, Model, ModelUnavailable
from agent.tools import TOOLS, Mistake, Tool, Workspace
from agent.trajectory import Exit, Message, Trajectory, Turn, Usage
from envs import SandboxError

__all__ = ["AttemptLimits", "run_attempt"]

# What the model reads when a reply holds no action, and how often in a row it may.
NUDGE = "No tool was called. Call a tool to go on, or submit to hand in the repository as it stands."
FAULTS_IN_A_ROW = 4
SALVAGE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """What one attempt may use: turns, tokens (prompt and completion, all turns), wall seconds."""

    turns: int = 40
    tokens: int = 2_000_000
    seconds: float = 3600.0


async def run_attempt(
    model: Model,
    workspace: Workspace,
    opening: Sequence[Message],
    call: Call,
    limits: AttemptLimits,
    tools: Sequence[Tool] = TOOLS,
) -> Trajectory:
    """Play one attempt to its end. Raises only `ModelRefused`: then no attempt can succeed."""
    attempt = _Attempt(model, workspace, list(opening), call, limits, tools)
    began = time.monotonic()
    detail = ""
    try:
        async with asyncio.timeout(limits.seconds):
            exit = await attempt.play()
    except TimeoutError:
        exit = Exit.TIME_LIMIT
    except ContextExceeded as error:
        exit, detail = Exit.CONTEXT_LIMIT, str(error)
    except ModelUnavailable as error:
        exit, detail = Exit.MODEL_FAILED, str(error)
    except SandboxError as error:
        exit, detail = Exit.SANDBOX_FAILED, str(error)
    except asyncio.CancelledError:
        exit = Exit.CANCELLED
    patch = b""
    try:
        async with asyncio.timeout(SALVAGE_SECONDS):
            patch = await workspace.sandbox.diff()
    except asyncio.CancelledError:  # what was sampled is paid for, and kept
        exit = Exit.CANCELLED
    except (SandboxError, TimeoutError) as error:
        if not exit.infra:
            exit, detail = Exit.SANDBOX_FAILED, str(error) or "the patch could not be taken in time"
    return Trajectory(exit, tuple(attempt.messages), tuple(attempt.turns), patch, time.monotonic() - began, detail)


class _Attempt:
    """The state of one attempt under way: the conversation and its turns so far."""

    def __init__(
        self,
        model: Model,
        workspace: Workspace,
        opening: list[Message],
        call: Call,
        limits: AttemptLimits,
        tools: Sequence[Tool],
    ) -> None:
        self.model, self.workspace, self.call, self.limits, self.tools = model, workspace, call, limits, tools
        self.schemas = schemas(tools)
        self.messages = opening
        self.turns: list[Turn] = []

    async def play(self) -> Exit:
        tokens = faults = 0
        for _ in range(self.limits.turns):
            before = time.monotonic()
            reply = await self.model.reply(self.messages, self.schemas, call=self.call)
            sampled = time.monotonic()
            message, actions = read_actions(reply.message, self.tools)
            self.messages.append(message)
            submitted = False
            try:
                submitted = await self.act(actions)
            finally:  # a turn that a limit cuts short is paid for all the same
                self.turns.append(self.turn(reply.usage, sampled - before, time.monotonic() - sampled))
            if submitted:
                return Exit.SUBMITTED
            faults = 0 if any(isinstance(action, Action) for action in actions) else faults + 1
            if faults >= FAULTS_IN_A_ROW:
                return Exit.STOPPED
            tokens += reply.usage.total
            if tokens >= self.limits.tokens:
                return Exit.TOKEN_LIMIT
        return Exit.TURN_LIMIT

    async def act(self, actions: Sequence[Action | Fault]) -> bool:
        """Carry out one reply's actions in order; True if one of them submits."""
        for action in actions:
            if isinstance(action, Fault):
                text = f"[error] {action.text}"
            else:
                try:
                    text = await action.tool.act(self.workspace, action.arguments)
                except Mistake as mistake:
                    text = f"[error] {mistake}"
            self.messages.append(observation(action.call_id, text))
            if isinstance(action, Action) and action.tool.name == "submit":
                return True
        if not actions:
            self.messages.append({"role": "user", "content": NUDGE})
        return False

    def turn(self, usage: Usage, model_seconds: float, tool_seconds: float) -> Turn:
        return Turn(len(self.messages), usage, model_seconds, tool_seconds)
