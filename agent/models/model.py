"""Who answers: the interface that every model has, and what can go wrong with one.

A model is a stateless policy: messages, the tools on offer and the attempt's seed go
in, a `Reply` comes out. Whatever it needs to remember stands in the messages, so that
any trajectory can be resumed, branched or replayed from its messages alone.

    ModelError
    ├── ModelUnavailable   the server failed or cannot be reached: an infra error
    ├── ModelRefused       the request can never succeed (key, name, parameter): stops the run
    ├── ContextExceeded    the conversation outgrew the model: the attempt ends, patch salvaged
    └── NoMoreAnswers      the model has none for this attempt any more: it ends as told, patch salvaged
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.trajectory import Exit, Message, Tokens, Usage

__all__ = [
    "Call",
    "ContextExceeded",
    "Meter",
    "Model",
    "ModelError",
    "ModelRefused",
    "ModelUnavailable",
    "NoMoreAnswers",
    "Reply",
    "Tokens",
]


class ModelError(Exception):
    """A model could not answer; the message says why and what would help."""


class ModelUnavailable(ModelError):
    """The server failed, timed out or cannot be reached, and retrying did not help."""


class ModelRefused(ModelError):
    """The server will never accept this request: wrong key, model name or parameter."""


class ContextExceeded(ModelError):
    """The conversation no longer fits the model's context window."""


class NoMoreAnswers(ModelError):
    """What is played from a recording is over, or was left; the attempt ends with `exit`."""

    def __init__(self, exit: Exit, why: str) -> None:
        super().__init__(why)
        self.exit = exit


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `message` is the assistant message as it is to be sent back next turn.

    `usage` is this answer's part of what the server bills; `shared` are further tokens of its prompt, billed to
    other answers to the same request. `finish_reason` is empty where no server told one.
    """

    message: Message
    usage: Usage = field(default_factory=Usage)
    finish_reason: str = ""
    tokens: Tokens | None = None
    shared: int = 0

    @property
    def context(self) -> int:
        """How many tokens the conversation has with it."""
        return self.usage.total + self.shared


class Meter:
    """What one attempt is charged with and what not.

    `used` are all its tokens so far, `dollars` what they cost where prices are known. `wasted` are those of
    answers that were no use; whoever plays the attempt takes them, also when the attempt ends with an error.
    `clock` is its time limit, if it has one: what it waits for us or for a server that is away does not count.
    An attempt that is `closed` samples no more: the run has reached a limit. `remark` is what a person should
    know of the attempt.
    """

    def __init__(self) -> None:
        self.used = self.wasted = Usage()
        self.dollars = 0.0
        self.closed = False
        self.remark = ""
        self.clock: asyncio.Timeout | None = None

    def charge(self, usage: Usage) -> None:
        """Note the tokens of a reply."""
        self.used += usage

    def bill(self, usage: Usage) -> None:
        """Note the tokens of an answer that was no use."""
        self.used += usage
        self.wasted += usage

    def close(self, *, at_once: bool = False) -> None:
        """Let the attempt end after its turn, or break it off in the midst of one."""
        self.closed = True
        if at_once and self.clock is not None:
            try:
                self.clock.reschedule(asyncio.get_running_loop().time())
            except RuntimeError:
                pass  # it has run out or been stopped: the attempt is at its end

    def take(self) -> Usage:
        """What was wasted since it was last asked."""
        wasted, self.wasted = self.wasted, Usage()
        return wasted

    def give_back(self, seconds: float) -> None:
        clock = self.clock
        if clock is not None and not clock.expired() and (when := clock.when()) is not None:
            _move(clock, when + seconds)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The clock stands still."""
        clock = self.clock
        when = None if clock is None or clock.expired() else clock.when()
        if clock is None or when is None:
            yield
            return
        now = asyncio.get_running_loop().time
        began = now()
        clock.reschedule(None)
        try:
            yield
        finally:
            if clock.when() is None:  # or else it was set meanwhile
                _move(clock, when + now() - began)


def _move(clock: asyncio.Timeout, when: float) -> None:
    try:
        clock.reschedule(when)
    except RuntimeError:
        pass  # the attempt is over meanwhile


@dataclass(frozen=True, slots=True)
class Call:
    """Which attempt is asking. `seed` is the attempt's own, the same for each of its turns.

    A served model may use `task` to stay on one replica for its prefix, a replay to find
    what to play; a policy under study must not look at it. `opening` is how many messages the
    attempt began with: examples of answers may be among them. `over` is closed by whoever plays
    the attempt once it has ended: a model puts there what it is to do then.
    """

    task: str
    attempt: int
    seed: int
    opening: int = 0
    meter: Meter = field(default_factory=Meter, compare=False, repr=False)
    over: ExitStack = field(default_factory=ExitStack, compare=False, repr=False)

    def turn(self, messages: Sequence[Message]) -> int:
        """Which turn a conversation is at, from 0."""
        return sum(message["role"] == "assistant" for message in messages[self.opening :])


class Model(Protocol):
    """What answers. `name` is recorded with the run."""

    @property
    def name(self) -> str: ...

    async def reply(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, call: Call) -> Reply:
        """Answer the conversation so far. `tools` are function schemas in the chat-completions form.

        Raises a `ModelError`.
        """
        ...

    async def check(self) -> None:
        """Whether it can answer at all, before anything is sampled. Raises `ModelRefused`."""
        ...

    async def close(self) -> None:
        """Give back connections and processes. Idempotent."""
        ...
