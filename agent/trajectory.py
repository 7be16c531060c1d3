"""The records of one attempt: its messages, its cost, and how it ended.

Guarantees: every record is frozen. A `Trajectory` holds what was sent to the model exactly as it was sent, and what the
model answered exactly as it answered. How an attempt ended (`Exit`) is kept apart from whether its submission is right,
which only the verifier says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from tasks.task import Submission

__all__ = [
    "EXCHANGE",
    "ORACLE",
    "Exchange",
    "Exit",
    "Message",
    "Tokens",
    "Trajectory",
    "Turn",
    "Usage",
    "exchanges",
    "is_cut",
]

# A message in the chat-completions form: role, content, tool_calls, tool_call_id.
Message = dict[str, Any]
# The key of a message that was made from an answer outside of the turns. Its value is that `Exchange` as an object.
EXCHANGE = "exchange"
# Begins the name of every kind of feedback that may look at the hidden tests.
ORACLE = "oracle-"


class Exit(StrEnum):
    """How an attempt ended. The last five are failures of the infrastructure, not of the model.

    `PATCH_FAILED` and `SANDBOX_ENDED` are what an attempt did to itself: it counts, as any other exit of the model.
    """

    SUBMITTED = "submitted"
    STOPPED = "stopped"  # the model kept answering without a usable action
    TURN_LIMIT = "turn limit"
    TOKEN_LIMIT = "token limit"
    COST_LIMIT = "cost limit"
    TIME_LIMIT = "time limit"
    CONTEXT_LIMIT = "context limit"
    PATCH_FAILED = "patch failed"  # no submission can be taken of what it left in its sandbox
    SANDBOX_ENDED = "sandbox ended"  # its own commands ended its sandbox, and its work is gone
    REJECTED = "conversation rejected"  # the server takes other conversations, and not what this one came to
    OFF_RECORD = "off the record"  # a replay asked for more than its recording holds
    SANDBOX_FAILED = "sandbox failed"
    MODEL_FAILED = "model failed"
    PROMPT_REJECTED = "prompt rejected"  # the server takes other prompts, and never this one: not made again
    WORKER_LOST = "worker lost"  # the process that made the attempt ended under it
    CANCELLED = "cancelled"

    @property
    def infra(self) -> bool:
        """True where this machine, the daemon or the server failed: the attempt does not count."""
        return self in INFRA


INFRA = (Exit.SANDBOX_FAILED, Exit.MODEL_FAILED, Exit.PROMPT_REJECTED, Exit.WORKER_LOST, Exit.CANCELLED)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server counts them; `cached` is part of `prompt`, `reasoning` is part of `completion`."""

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
class Exchange:
    """A request to a model outside of the turns of an attempt, and its answer.

    `purpose` is "review" or "summary", `model` the name of the model that was asked.
    """

    purpose: str
    model: str
    messages: tuple[Message, ...]
    reply: Message
    usage: Usage

    def record(self) -> dict[str, Any]:
        """The exchange as a JSON object, for a message's key `EXCHANGE`."""
        return {**asdict(self), "messages": list(self.messages)}


def exchanges(messages: Iterable[Message]) -> list[Exchange]:
    """The exchanges that are recorded in a conversation, in order."""
    told = [message[EXCHANGE] for message in messages if EXCHANGE in message]
    return [Exchange(**{**one, "messages": tuple(one["messages"]), "usage": Usage(**one["usage"])}) for one in told]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a reply, as ids of the server's vocabulary with log-probabilities; empty where it gave none."""

    prompt: tuple[int, ...] = ()
    completion: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()


# How servers say that a reply ended at its length limit (OpenAI's word; Anthropic's and Gemini's; of the Responses API;
# Mistral's for the window; of older servers).
CUT = ("length", "max_tokens", "max_output_tokens", "model_length", "max_length", "token_limit")


def is_cut(finish_reason: str) -> bool:
    """Whether a reply with this finish reason ended at a limit of its length, so that its end is missing."""
    return finish_reason.lower() in CUT


@dataclass(frozen=True, slots=True)
class Turn:
    """One model reply and the observations of its actions.

    `end` is how many messages the trajectory holds after the turn; seconds are wall time. `finish_reason` is the
    server's, empty where it gave none. `given` is the answer as it came, None where it is the message that the
    trajectory holds. `shared` is as in a `Reply`.

    `submission` is what the attempt would have handed in after this turn. Where submissions are taken after each turn
    (`Trajectory.each_turn`) it is None if it is the same as after the turn before, which is the empty one before any
    turn; where that is not known, it is None too, and `untaken` says why. Otherwise it is None and tells nothing.
    """

    end: int
    usage: Usage
    model_seconds: float
    tool_seconds: float
    finish_reason: str = ""
    shared: int = 0
    given: Message | None = None
    tokens: Tokens | None = None
    submission: Submission | None = None
    untaken: str = ""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One whole attempt. `submission` was taken from the sandbox, or from the last reply.

    `wasted` are the tokens of unusable answers: they were paid for and belong to no turn. With `each_turn` it is known
    which submission the attempt had after each turn; that of the last turn is `submission`.
    """

    exit: Exit
    messages: tuple[Message, ...]
    turns: tuple[Turn, ...]
    submission: Submission
    seconds: float
    detail: str = ""
    wasted: Usage = field(default_factory=Usage)
    each_turn: bool = False

    @property
    def usage(self) -> Usage:
        return sum((turn.usage for turn in self.turns), self.wasted + self.aside)

    @property
    def aside(self) -> Usage:
        """The tokens of exchanges outside of the turns: reviews and summaries."""
        return sum((exchange.usage for exchange in exchanges(self.messages)), Usage())

    @property
    def answers(self) -> list[int]:
        """The position of each turn's answer among the messages; the messages before it were its request."""
        found, begin = [], 0
        for turn in self.turns:
            own = range(begin, min(turn.end, len(self.messages)))
            # An opening may hold answers too, as examples: the turn's own is the last.
            found.append(next((at for at in reversed(own) if self.messages[at]["role"] == "assistant"), turn.end))
            begin = turn.end
        return found
