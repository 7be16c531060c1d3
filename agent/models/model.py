"""The model: what every model looks like to an agent, and what can go wrong with one.

A model is a stateless policy: messages, the tools on offer and the attempt's scope go in, a `Reply` comes out. What it
needs to remember stands in the messages, so that any trajectory can be resumed, branched or replayed from its messages
alone.

    ModelError
    ├── ModelUnavailable   the server failed or cannot be reached: an infra error
    ├── ModelRefused       the request can never succeed (key, name, parameter): stops the run
    ├── Rejected           the server takes other conversations and not this one: the attempt ends, submission salvaged
    ├── ContextExceeded    the conversation outgrew the model: the attempt ends, submission salvaged
    ├── NoMoreAnswers      a recording has no answer left for this attempt: it ends as told, submission salvaged
    ├── RequestFailure     one request to a server failed                      agent.models.faults
    └── ServerLost         a server of this run died again and again           agent.servers
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.agent import AttemptScope
from agent.trajectory import Exit, Message, Tokens, Usage, is_cut
from envs.errors import MonkeysError

__all__ = [
    "ContextExceeded",
    "Model",
    "ModelError",
    "ModelRefused",
    "ModelUnavailable",
    "NoMoreAnswers",
    "Rejected",
    "Reply",
    "Tokens",
]


class ModelError(MonkeysError):
    """A model could not answer; the message says why and what would help."""


class ModelUnavailable(ModelError):
    """The server failed, timed out or cannot be reached, and retrying did not help."""


class ModelRefused(ModelError):
    """The server will never accept this request: wrong key, model name or parameter."""


class Rejected(ModelError):
    """The server accepts other conversations and not this one, for what it says or for its form."""


class ContextExceeded(ModelError):
    """The conversation no longer fits the model's context window."""


class NoMoreAnswers(ModelError):
    """A recording has no answer left, or was abandoned; the attempt ends with `exit`."""

    def __init__(self, exit: Exit, why: str) -> None:
        super().__init__(why)
        self.exit = exit


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `message` is the assistant message as it came.

    `usage` is this answer's part of what the server bills. `shared` are further tokens of its prompt, billed to other
    answers to the same request. `finish_reason` is empty where the server gave none.
    """

    message: Message
    usage: Usage = field(default_factory=Usage)
    finish_reason: str = ""
    tokens: Tokens | None = None
    shared: int = 0

    @property
    def cut(self) -> bool:
        """Whether it ended at a limit of its length, so that its end is missing."""
        return is_cut(self.finish_reason)

    @property
    def context(self) -> int:
        """The number of tokens of the conversation, this answer included."""
        return self.usage.total + self.shared


class Model(Protocol):
    """Answers conversations. `name` is recorded with the run.

    What a model has to tell people (an outage, a field that the server does not take) goes to the sink with which it
    was made.
    """

    @property
    def name(self) -> str: ...

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
    ) -> Reply:
        """Answer the conversation so far. `tools` are function schemas in the chat-completions form.

        A served model may use the task in `scope` to stay on one replica, a replay to find what to play; a policy under
        study must not look at it. Raises a `ModelError`.
        """
        ...

    async def check(self) -> None:
        """Find out whether it can answer at all, before anything is sampled. Raises `ModelRefused`."""
        ...

    async def close(self) -> None:
        """Release connections and processes. Idempotent."""
        ...
