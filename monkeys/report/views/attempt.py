"""One attempt: what the model was told, said, did and saw, what it handed in, and its verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from agent.conversation import FEEDBACK, SUMMARY, text_of
from agent.scan import Sign, scan
from agent.trajectory import Message, Turn, Usage, exchanges
from monkeys.pricing.cost_report import quotes_of
from monkeys.report.record import Record
from monkeys.report.views.task import Try, read_try
from monkeys.store import AttemptRow, Store
from tasks.task import Submission

__all__ = ["AttemptView", "Call", "PlainMessage", "TurnView", "attempt_view"]


@dataclass(frozen=True, slots=True)
class PlainMessage(Record):
    """A message as text, with the role of its author."""

    role: str
    text: str
    feedback: str = ""
    """The kind of feedback that it is, "" for another message."""
    usage: Usage | None = None
    """The tokens of the review or the summary that it holds, which belong to no turn."""


@dataclass(frozen=True, slots=True)
class Call(Record):
    """One tool call and what came back."""

    tool: str
    arguments: Mapping[str, Any] | None
    """None where what the model wrote is not a JSON object."""
    written: str
    """The arguments as the model wrote them."""
    observation: str | None
    """None where the attempt ended before there was one."""


@dataclass(frozen=True, slots=True)
class TurnView(Record):
    """One reply of the model and the observations of its actions."""

    number: int
    """From 0."""
    usage: Usage | None
    """Tokens; None, like the times, where the store has no record of the turn."""
    model_seconds: float | None
    tool_seconds: float | None
    reasoning: str
    text: str
    calls: tuple[Call, ...]
    messages: tuple[PlainMessage, ...]
    """Messages after the reply that do not answer one of its calls."""


@dataclass(frozen=True, slots=True)
class AttemptView(Record):
    """One attempt."""

    attempt: Try
    """How it ended, its verdict and costs."""
    tries: int
    """How many tries the attempt has in all."""
    opening: tuple[PlainMessage, ...]
    """What the model was told before its first reply."""
    turns: tuple[TurnView, ...]
    submission: Submission
    tests: Mapping[str, str]
    """The status of each expected test, as the verifier saw it; empty for an infra error."""
    log: str
    """What the verifier's test run printed."""
    signs: tuple[Sign, ...]
    """Actions that a person should look at, such as a look at the history of the repository."""


def attempt_view(store: Store, row: AttemptRow) -> AttemptView:
    """Read one try of an attempt; `monkeys.store.finding.find_attempt` finds its row."""
    messages, costs = store.conversation(row), store.turns(row)
    opening, turns = _split(messages, costs)
    submission = store.submission(row)
    # An infra error is not verified, though another try with the same submission may have been.
    tests, log = ({}, "") if row.exit.infra else store.verdict_detail(row.task, submission)
    return AttemptView(
        attempt=read_try(store, row, quotes_of(store)),
        tries=sum(other.index == row.index for other in store.attempts(row.task)),
        opening=tuple(map(_message, opening)),
        turns=tuple(
            _turn(number, said, costs[number] if number < len(costs) else None) for number, said in enumerate(turns)
        ),
        submission=submission,
        tests=tests,
        log=log,
        signs=tuple(scan(messages)),
    )


def _split(messages: Sequence[Message], costs: Sequence[Turn]) -> tuple[list[Message], list[list[Message]]]:
    """What came before the model's first reply, example replies included, and its turns."""
    replies = [at for at, message in enumerate(messages) if message.get("role") == "assistant"]
    examples = sum(at < costs[0].end for at in replies) - 1 if costs else len(replies)
    bounds = [*replies[max(0, examples) :], len(messages)]
    return list(messages[: bounds[0]]), [list(messages[start:end]) for start, end in pairwise(bounds)]


def _turn(number: int, messages: Sequence[Message], cost: Turn | None) -> TurnView:
    reply, *rest = messages
    observations = {message.get("tool_call_id"): message for message in rest if message.get("role") == "tool"}
    calls = tuple(_calls(reply, observations))
    others = [
        message for message in rest if message.get("role") != "tool" or message.get("tool_call_id") in observations
    ]
    return TurnView(
        number=number,
        usage=cost.usage if cost else None,
        model_seconds=cost.model_seconds if cost else None,
        tool_seconds=cost.tool_seconds if cost else None,
        reasoning=str(reply.get("reasoning_content") or reply.get("reasoning") or ""),
        text=text_of(reply),
        calls=calls,
        messages=tuple(map(_message, others)),
    )


def _calls(reply: Message, observations: dict[Any, Message]) -> Iterator[Call]:
    """The calls of a reply. Observations that answer one are taken out."""
    for call in reply.get("tool_calls") or ():
        function = call.get("function") or {}
        observation = observations.pop(call.get("id"), None)
        yield Call(
            tool=str(function.get("name")),
            arguments=_arguments(function.get("arguments")),
            written=str(function.get("arguments") or ""),
            observation=None if observation is None else text_of(observation),
        )


def _arguments(written: Any) -> dict[str, Any] | None:
    try:
        arguments = json.loads(written or "{}")
    except (TypeError, ValueError, RecursionError):
        return None
    return arguments if isinstance(arguments, dict) else None


def _message(message: Message) -> PlainMessage:
    kind, text = str(message.get(FEEDBACK, "")), text_of(message)
    asked = exchanges([message])
    return PlainMessage(
        role="summary" if SUMMARY in message else str(message.get("role")),
        text=text.removeprefix(f"[feedback: {kind}]\n") if kind else text,
        feedback=kind,
        usage=asked[0].usage if asked else None,
    )
