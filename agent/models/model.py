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

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.trajectory import Message, Usage

__all__ = ["Call", "ContextExceeded", "Model", "ModelError", "ModelRefused", "ModelUnavailable", "Reply"]


class ModelError(Exception):
    """A model could not answer; the message says why and what would help."""


class ModelUnavailable(ModelError):
    """The server failed, timed out or cannot be reached, and retrying did not help."""


class ModelRefused(ModelError):
    """The server will never accept this request: wrong key, model name or parameter."""


class ContextExceeded(ModelError):
    """The conversation no longer fits the model's context window."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `message` is the assistant message as it is to be sent back next turn."""

    message: Message
    usage: Usage = field(default_factory=Usage)
    finish_reason: str = "stop"


@dataclass(frozen=True, slots=True)
class Call:
    """Which attempt is asking. `seed` is the attempt's own, the same for each of its turns.

    A served model may use `task` to stay on one replica for its prefix, a replay to find
    what to play; a policy under study must not look at it.
    """

    task: str
    attempt: int
    seed: int


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
