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
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from agent.actions import Action, ActionError
from agent.actions.sanitize import sendable, spoken
from agent.agent import AttemptScope
from agent.conversation import SUMMARY, Conversation
from agent.limits import AttemptLimits
from agent.models.model import ContextExceeded, Model, ModelUnavailable, NoMoreAnswers, Rejected, Reply
from agent.summary import PURPOSE, SHORTER, FilesRead, summary_message, summary_request
from agent.trajectory import Exchange, Exit, Message, Trajectory, Turn, exchanges
from agent.turn_submissions import TurnSubmissions
from envs import SandboxError, SandboxExhausted, SandboxLost
from tasks.task import Submission

__all__ = ["Attempt"]

SALVAGE_SECONDS = 300.0  # longer than a sandbox takes for what a model can do to it
CANCELLED_SECONDS = 30.0  # somebody waits for the end


def _exit_of(error: SandboxError) -> Exit:
    return Exit.SANDBOX_ENDED if isinstance(error, SandboxExhausted) else Exit.SANDBOX_FAILED


class Attempt:
    """The state of one attempt under way. Its submission is taken after each turn where `each_turn` is given."""

    def __init__(
        self, model: Model, limits: AttemptLimits, scope: AttemptScope, each_turn: TurnSubmissions | None = None
    ) -> None:
        self.model, self.limits, self.scope, self.each_turn = model, limits, scope, each_turn
        self.conversation = Conversation(())
        self.turns: list[Turn] = []
        self.files_read = FilesRead()
        self._opening: tuple[Message, ...] = ()
        self._reply: Message | None = None
        self._asked = Counter[str]()  # exchanges by purpose
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
        if self.each_turn and self.turns and (last := self.each_turn.changed(submission)) is not None:
            self.turns[-1] = replace(self.turns[-1], submission=last, untaken="")
        return Trajectory(
            exit,
            tuple(self.conversation.messages),
            tuple(self.turns),
            submission,
            time.monotonic() - began,
            "; ".join(part for part in (detail, submission.remark, self.scope.remark) if part),
            self.scope.budget.take_wasted(),
            self.each_turn is not None,
        )

    def begin(self, messages: Sequence[Message]) -> None:
        """Start the conversation with these messages."""
        self.conversation, self.scope.opening = Conversation(messages), len(messages)
        self._opening = tuple(messages)

    def resume(self, recorded: Trajectory, turns: int) -> None:
        """Take over the conversation of another attempt after so many of its turns, and what it had used by then."""
        opening = recorded.answers[0]
        held = recorded.messages[: recorded.turns[turns - 1].end if turns else opening]
        self.conversation, self.scope.opening = Conversation.resumed(held, opening), opening
        asked = exchanges(held)
        self.scope.budget.carry_over([*(turn.usage for turn in recorded.turns[:turns]), *(one.usage for one in asked)])
        answers = [message for message in held[opening:] if message["role"] == "assistant"]
        self._reply = answers[-1] if answers else None
        self._opening = tuple(held[:opening])
        self._asked = Counter(exchange.purpose for exchange in asked)
        summaries = [message[SUMMARY] for message in held if SUMMARY in message]
        if summaries:
            first, behind = summaries[-1]
            left_out = sum(message["role"] == "assistant" for message in held[first:behind])
            self.scope.left_out, self.scope.summaries = left_out, len(summaries)

    async def sample(self, tools: Sequence[dict[str, Any]]) -> Reply:
        """The model's next reply, charged. Older turns are left out or summarised where they must and may be.

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
                if not await self._make_room():
                    raise
        self.scope.budget.charge(reply.usage)
        self._model_seconds = time.monotonic() - began
        return reply

    def saw(self, action: Action | ActionError, observation: str) -> None:
        """Note what an action showed, for a summary."""
        if self.limits.context == "summarise" and isinstance(action, Action):
            self.files_read.note(action.tool.name, action.arguments, observation)

    async def ask(self, model: Model | None, messages: Sequence[Message], purpose: str) -> Exchange:
        """An answer outside of the turns, of `model` or else of the attempt's own, charged to the attempt.

        Raises a `ModelError`.
        """
        model, scope = model or self.model, self.scope.aside(purpose, self._asked[purpose])
        reply = await model.reply(list(messages), (), scope=scope)
        self._asked[purpose] += 1
        self.scope.budget.charge(reply.usage)
        self.scope.remark = self.scope.remark or scope.remark
        said = sendable({**reply.message, "tool_calls": None})
        return Exchange(purpose, model.name, tuple(messages), said, reply.usage)

    async def _make_room(self) -> bool:
        """Send less of the conversation, as the limits say how; False if there is nothing to leave out."""
        if self.limits.context == "elide":
            return self.conversation.elide()
        part = self.conversation.older() if self.limits.context == "summarise" else None
        if part is None:
            return False
        exchange = await self._summary(self.conversation.before(part[1]))
        self.conversation.summarise(summary_message(part, exchange, self.files_read.told))
        replies = (message["role"] == "assistant" for message in self.conversation.messages[part[0] : part[1]])
        self.scope.left_out, self.scope.summaries = sum(replies), self.scope.summaries + 1
        return True

    async def _summary(self, older: Sequence[Message]) -> Exchange:
        """Ask for a summary of these messages, shortened as far as the window needs. Raises a `ModelError`."""
        window = self.limits.window
        for most in SHORTER:
            request = summary_request(self._opening, older, most)
            last = most == SHORTER[-1]
            if window and self.conversation.tokens_of(request) > window and not last:
                continue
            try:
                return await self.ask(None, request, PURPOSE)
            except ContextExceeded:
                if last:
                    raise
        raise AssertionError("unreachable: the last length is tried")

    async def take_submission(self) -> None:
        """Record with the last turn what the attempt would hand in now, if submissions are taken after each turn."""
        if self.each_turn and self.turns:
            with self.scope.paused():
                submission, why = await self.each_turn.take(spoken(self._reply) if self._reply else "")
            self.turns[-1] = replace(self.turns[-1], submission=submission, untaken=why)

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
