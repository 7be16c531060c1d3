"""One attempt of an agent that asks a model: its conversation and turns, and how it ends.

Every agent of ours plays through an `Attempt`, so that limits, failures and salvage are handled in one place.
Guarantees: whatever ends an attempt becomes an `Exit`; the submission is collected at every exit; each reply is charged
once; a turn that a limit cuts short is recorded with its tokens. Failures of the sandbox or the server end the attempt
as an infra error, and the model never reads of them. What an attempt did to itself is no such failure: a sandbox that
its own commands ended, or of which no submission can be taken though it lives, is an exit that counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from agent.actions.sanitize import spoken
from agent.agent import AttemptScope
from agent.conversation import Conversation
from agent.limits import AttemptLimits
from agent.models.model import ContextExceeded, Model, ModelUnavailable, NoMoreAnswers, Rejected, Reply
from agent.trajectory import Exit, Message, Trajectory, Turn
from envs import SandboxError, SandboxExhausted, SandboxLost
from tasks.task import Submission

__all__ = ["Attempt"]

SALVAGE_SECONDS = 300.0  # longer than a sandbox takes for what a model can do to it
CANCELLED_SECONDS = 30.0  # somebody waits for the end


def _exit_of(error: SandboxError) -> Exit:
    return Exit.SANDBOX_ENDED if isinstance(error, SandboxExhausted) else Exit.SANDBOX_FAILED


class Attempt:
    """The state of one attempt under way."""

    def __init__(self, model: Model, limits: AttemptLimits, scope: AttemptScope) -> None:
        self.model, self.limits, self.scope = model, limits, scope
        self.conversation = Conversation(())
        self.turns: list[Turn] = []
        self._reply: Message | None = None
        self._model_seconds = 0.0

    async def run(
        self, play: Callable[[], Awaitable[Exit]], collect: Callable[[str], Awaitable[Submission]]
    ) -> Trajectory:
        """Play to the end, then collect the submission; `collect` gets the text of the last reply.

        Raises what `play` raises beyond limits and infrastructure failures, such as `ModelRefused`.
        """
        began = time.monotonic()
        detail = ""
        try:
            async with self.scope.clock.limit(self.limits.seconds):
                exit = await play()
        except TimeoutError:
            exit = Exit.CANCELLED if self.scope.budget.closed else Exit.TIME_LIMIT
        except ContextExceeded as error:
            exit, detail = Exit.CONTEXT_LIMIT, str(error)
        except Rejected as error:
            exit, detail = Exit.REJECTED if self.turns else Exit.PROMPT_REJECTED, str(error)
        except NoMoreAnswers as end:
            exit, detail = end.exit, str(end)
        except ModelUnavailable as error:
            exit, detail = Exit.MODEL_FAILED, str(error)
        except SandboxError as error:
            exit, detail = _exit_of(error), str(error)
        except asyncio.CancelledError:
            exit = Exit.CANCELLED
        finally:
            self.scope.cleanup.close()
        submission = Submission()
        try:
            async with asyncio.timeout(CANCELLED_SECONDS if exit is Exit.CANCELLED else SALVAGE_SECONDS):
                submission = await collect(spoken(self._reply) if self._reply else "")
        except asyncio.CancelledError:  # what was sampled is paid for, and kept
            exit = Exit.CANCELLED
        except SandboxLost as error:
            if not exit.infra and exit is not Exit.SANDBOX_ENDED:
                exit, detail = _exit_of(error), str(error)
        except SandboxError as error:
            if not exit.infra:
                exit, detail = Exit.PATCH_FAILED, str(error)
        except TimeoutError:
            if not exit.infra:
                exit, detail = Exit.SANDBOX_FAILED, "the submission could not be collected in time"
        return Trajectory(
            exit,
            tuple(self.conversation.messages),
            tuple(self.turns),
            submission,
            time.monotonic() - began,
            "; ".join(part for part in (detail, submission.remark, self.scope.remark) if part),
            self.scope.budget.take_wasted(),
        )

    def begin(self, messages: Sequence[Message]) -> None:
        """Start the conversation with these messages."""
        self.conversation, self.scope.opening = Conversation(messages), len(messages)

    async def sample(self, tools: Sequence[dict[str, Any]]) -> Reply:
        """The model's next reply, charged. Older observations are left out where they must and may be.

        Raises a `ModelError`.
        """
        window, conversation, began = self.limits.window, self.conversation, time.monotonic()
        while True:
            try:
                if window and conversation.tokens > window:
                    raise ContextExceeded(f"the next request has about {conversation.tokens} tokens of {window}")
                reply = await self.model.reply(conversation.sent(), tools, scope=self.scope)
                break
            except ContextExceeded:
                if self.limits.context != "elide" or not conversation.elide():
                    raise
        self.scope.budget.charge(reply.usage)
        self._model_seconds = time.monotonic() - began
        return reply

    @contextmanager
    def turn(self, reply: Reply, message: Message) -> Iterator[None]:
        """One turn, recorded at the end of the block: `reply`, kept as `message`, and what the block makes of it."""
        began = time.monotonic()
        self._reply = message
        self.conversation.add(message)
        if self.limits.window:
            self.conversation.counted(reply.context)
        try:
            yield
        finally:
            self.turns.append(
                Turn(
                    end=len(self.conversation.messages),
                    usage=reply.usage,
                    model_seconds=self._model_seconds,
                    tool_seconds=time.monotonic() - began,
                    finish_reason=reply.finish_reason,
                    shared=reply.shared,
                    given=None if reply.message == message else reply.message,
                    tokens=reply.tokens,
                )
            )
