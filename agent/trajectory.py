"""The records of one attempt: what was said, what it cost, how it ended.

Guarantees: every record is frozen, and a `Trajectory` holds what was sent to the
model exactly as it was sent, and what it answered exactly as it was answered. How an
attempt ended (`Exit`) is told apart from whether its patch is right, which only the
verifier says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tasks.task import Submission

__all__ = ["Exit", "Message", "Tokens", "Trajectory", "Turn", "Usage"]

# A message in the chat-completions form: role, content, tool_calls, tool_call_id.
Message = dict[str, Any]


class Exit(StrEnum):
    """How an attempt ended. The last three are our failures, not the model's."""

    SUBMITTED = "submitted"
    STOPPED = "stopped"  # the model kept answering without a usable action
    TURN_LIMIT = "turn limit"
    TOKEN_LIMIT = "token limit"
    COST_LIMIT = "cost limit"
    TIME_LIMIT = "time limit"
    CONTEXT_LIMIT = "context limit"
    OFF_RECORD = "off the record"  # a replay came to where its recording holds no answer
    SANDBOX_FAILED = "sandbox failed"
    MODEL_FAILED = "model failed"
    CANCELLED = "cancelled"

    @property
    def infra(self) -> bool:
        """True where our machine, the daemon or the server failed: the slot is filled again."""
        return self in (Exit.SANDBOX_FAILED, Exit.MODEL_FAILED, Exit.CANCELLED)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server counts them; `cached` is a part of `prompt`, `reasoning` of `completion`."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.cached + other.cached,
            self.reasoning + other.reasoning,
        )

    @property
    def total(self) -> int:
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True)
class Tokens:
    """What was sampled, as ids of the server's own vocabulary, with their log-probabilities; empty where not told."""

    prompt: tuple[int, ...] = ()
    completion: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """One model reply and the observations of the actions in it.

    `end` is how many messages the trajectory holds once the turn is over; seconds are wall time.
    `finish_reason` is the server's, empty where it told none. `given` is the answer as it came,
    None where it is the message that the trajectory holds. `shared` is as in a reply.
    """

    end: int
    usage: Usage
    model_seconds: float
    tool_seconds: float
    finish_reason: str = ""
    shared: int = 0
    given: Message | None = None
    tokens: Tokens | None = None


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One whole attempt. `submission` is what the runner took from the sandbox, or the last reply.

    `wasted` are the tokens of answers that were no use: paid for, and of no turn.
    """

    exit: Exit
    messages: tuple[Message, ...]
    turns: tuple[Turn, ...]
    submission: Submission
    seconds: float
    detail: str = ""
    wasted: Usage = field(default_factory=Usage)

    @property
    def usage(self) -> Usage:
        return sum((turn.usage for turn in self.turns), self.wasted)

    @property
    def answers(self) -> list[int]:
        """Where each turn's answer stands among the messages: those before it are what its request was made of."""
        found, begin = [], 0
        for turn in self.turns:
            own = range(begin, min(turn.end, len(self.messages)))
            # An opening may hold answers too, as examples: the turn's own is the last.
            found.append(next((at for at in reversed(own) if self.messages[at]["role"] == "assistant"), turn.end))
            begin = turn.end
        return found
