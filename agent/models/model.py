"""Who answers: the interface that every model has, and what can go wrong with one.

A model is a stateless policy: messages, the tools on offer and the attempt's seed go
in, a `Reply` comes out. Whatever it needs to remember stands in the messages, so that
any trajectory can be resumed, branched or replayed from its messages alone.

    ModelError
    ├── ModelUnavailable   the server failed or cannot be reached: an infra error
    ├── ModelRefused       the request can never succeed (key, name, parameter): stops the run
    └── ContextExceeded    the conversation outgrew the model: the attempt ends, patch salvaged
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.trajectory import Message, Usage

__all__ = [
    "Call",
    "ContextExceeded",
    "Meter",
    "Model",
    "ModelError",
    "ModelRefused",
    "ModelUnavailable",
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


@dataclass(frozen=True, slots=True)
class Tokens:
    """What was sampled, as ids of the server's own vocabulary, with their log-probabilities; empty where not told."""

    prompt: tuple[int, ...] = ()
    completion: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `message` is the assistant message as it is to be sent back next turn."""

    message: Message
    usage: Usage = field(default_factory=Usage)
    finish_reason: str = "stop"
    tokens: Tokens | None = None


class Meter:
    """What one attempt is charged with and what not, beside its replies.

    `wasted` are the tokens of answers that were no use; whoever plays the attempt takes them, also when
    the attempt ends with an error. `clock` is its time limit, if it has one: what it waits for us or for
    a server that is away does not count.
    """

    def __init__(self) -> None:
        self.wasted = Usage()
        self.clock: asyncio.Timeout | None = None

    def bill(self, usage: Usage) -> None:
        self.wasted += usage

    def take(self) -> Usage:
        """What was wasted since it was last asked."""
        wasted, self.wasted = self.wasted, Usage()
        return wasted

    def give_back(self, seconds: float) -> None:
        clock = self.clock
        if clock is not None and not clock.expired() and (when := clock.when()) is not None:
            clock.reschedule(when + seconds)

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
            clock.reschedule(when + now() - began)


@dataclass(frozen=True, slots=True)
class Call:
    """Which attempt is asking. `seed` is the attempt's own, the same for each of its turns.

    A served model may use `task` to stay on one replica for its prefix, a replay to find
    what to play; a policy under study must not look at it. `opening` is how many messages the
    attempt began with: examples of answers may be among them.
    """

    task: str
    attempt: int
    seed: int
    opening: int = 0
    meter: Meter = field(default_factory=Meter, compare=False, repr=False)

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
