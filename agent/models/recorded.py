"""The model `replay:RUN`: plays the answers of a recorded run again, turn by turn, without a server.

Guarantees: an answer, its usage, its finish reason and its tokens are those recorded, as are answers outside of the
turns (reviews, summaries); wasted tokens are billed again. A request that differs from the recorded one is never
answered silently: the attempt goes on with a remark, because outputs such as the time that tests took differ each time;
or it ends there, if the replay is `strict`. Where the recorded attempt reached a limit that a replay cannot reach (the
server's window, time, money), this one ends in the same way. If it asks for more than was recorded, it ends as off the
record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agent.agent import AttemptScope
from agent.conversation import ELIDED, STUB_MARK, SUMMARY, WORTH, as_sent
from agent.models.model import ContextExceeded, ModelRefused, NoMoreAnswers, Rejected, Reply
from agent.summary import PURPOSE
from agent.trajectory import EXCHANGE, Exit, Message, Trajectory, Usage, exchanges

__all__ = ["IN_NUMBERS", "UNLIKE", "Recorded", "RecordedAttempts", "unlike", "unlike_messages"]

# How the remark begins on an attempt whose requests differ from the recorded ones.
UNLIKE = "unlike the record"
IN_NUMBERS = "in numbers alone"
SHOWN = 40  # characters of a passage that differs
LONGER = 1.25  # how much longer a request is of which a shorter form was recorded


class RecordedAttempts(Protocol):
    """The attempts of a recorded run."""

    def trajectory(self, task: str, index: int) -> Trajectory | None:
        """An attempt as it was recorded, None where there is none."""
        ...

    def close(self) -> None: ...


class Recorded:
    """Answers from `recording`. `strict` ends an attempt at the first request that differs from the recorded one."""

    def __init__(self, name: str, recording: RecordedAttempts, *, strict: bool = False) -> None:
        self.name = name
        self._recording, self._strict = recording, strict

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
    ) -> Reply:
        take = self._recording.trajectory(scope.spec.task, scope.spec.index)
        if take is None:
            raise ModelRefused(f"{self.name} has no attempt {scope.spec.index} at {scope.spec.task}")
        if scope.purpose:
            return self._aside(take, messages, scope)
        places = [*take.answers, len(take.messages)]
        turn = _answers(messages) + scope.left_out - _answers(take.messages[: places[0]])
        if not 0 <= turn < len(take.turns):
            raise self._over(take, scope)
        held = take.messages[: places[turn]]
        if sum(SUMMARY in message for message in held) > scope.summaries:
            raise ContextExceeded("older turns were summarised here when it was recorded (--context summarise)")
        self._compare(held, messages, turn, scope)
        if turn == len(take.turns) - 1:
            _bill(take, scope)
        answer = take.turns[turn]
        message = take.messages[places[turn]] if answer.given is None else answer.given
        return Reply(message, answer.usage, answer.finish_reason, answer.tokens, answer.shared)

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        self._recording.close()

    def _compare(self, held: Sequence[Message], asked: Sequence[Message], turn: int, scope: AttemptScope) -> None:
        """Compare a request with the recorded one, which was made when the conversation held the messages `held`."""
        if _longer(asked, held):
            raise ContextExceeded("older results were left out here when it was recorded (--context elide)")
        self._tell(_difference(as_sent(held), asked), f"turn {turn}", scope)

    def _aside(self, take: Trajectory, messages: Sequence[Message], scope: AttemptScope) -> Reply:
        """The recorded answer to a request outside of the turns."""
        told = [exchange for exchange in exchanges(take.messages) if exchange.purpose == scope.purpose]
        if scope.number >= len(told):
            why = f"{len(told)} requests for a {scope.purpose} were recorded, and this attempt makes one more"
            raise NoMoreAnswers(Exit.OFF_RECORD, why)
        exchange = told[scope.number]
        if scope.purpose == PURPOSE and _characters(messages) > LONGER * _characters(exchange.messages):
            raise ContextExceeded("a shorter request for a summary was made here when it was recorded")
        self._tell(_difference(exchange.messages, messages), f"{scope.purpose} {scope.number}", scope)
        return Reply(exchange.reply, exchange.usage)

    def _tell(self, difference: _Difference | None, where: str, scope: AttemptScope) -> None:
        """Note where a request is not as recorded. Raises `NoMoreAnswers` if the replay is strict."""
        if difference is None:
            return
        if self._strict:
            raise NoMoreAnswers(Exit.OFF_RECORD, f"{UNLIKE} at {where}: {difference}")
        if UNLIKE not in scope.remark or (IN_NUMBERS in scope.remark and not difference.in_numbers):
            scope.remark = f"{UNLIKE} from {where} on: {difference}"

    def _over(self, take: Trajectory, scope: AttemptScope) -> Exception:
        """The error with which the attempt ends where the recording ends."""
        _bill(take, scope)
        if take.exit is Exit.CONTEXT_LIMIT:
            return ContextExceeded(take.detail or "the recorded conversation outgrew its model here")
        if take.exit is Exit.REJECTED:
            return Rejected(take.detail or "the server rejected the recorded conversation here")
        if take.exit in (Exit.TIME_LIMIT, Exit.COST_LIMIT):
            return NoMoreAnswers(take.exit, f"the recorded attempt came to its {take.exit} here")
        why = f"{len(take.turns)} turns were recorded, which ended with {str(take.exit)!r}, and this attempt goes on"
        return NoMoreAnswers(Exit.OFF_RECORD, why)


def unlike(recorded: Trajectory, replayed: Trajectory) -> str:
    """How a replay differs from the attempt in what was shown after its first answer, in its turns or its submission.

    Empty where it does not, or where what was shown differs in numbers alone, as times do. Who was asked for a review
    or a summary was not shown: in a replay that is the record.
    """
    if len(recorded.turns) != len(replayed.turns):
        return f"{len(recorded.turns)} turns then and {len(replayed.turns)} now ({replayed.exit}: {replayed.detail})"
    if recorded.turns:
        was, now = (_shown(take.messages[take.answers[0] :]) for take in (recorded, replayed))
        if difference := unlike_messages(was, now):
            return difference
    return "" if recorded.submission.body == replayed.submission.body else "its submission is another one"


def _shown(messages: Sequence[Message]) -> list[Message]:
    """Messages without the exchanges that they were made from."""
    return [{key: value for key, value in message.items() if key != EXCHANGE} for message in messages]


def unlike_messages(recorded: Sequence[Message], now: Sequence[Message]) -> str:
    """The first difference between messages that is not in numbers alone; empty if there is none."""
    difference = _difference(recorded, now)
    return "" if difference is None or difference.in_numbers else difference.where


@dataclass(frozen=True, slots=True)
class _Difference:
    """The place where two requests differ, for people. `in_numbers`: they differ in numbers alone, as times do."""

    where: str
    in_numbers: bool

    def __str__(self) -> str:
        return f"{self.where}, {IN_NUMBERS}" if self.in_numbers else self.where


def _difference(recorded: Sequence[Message], asked: Sequence[Message]) -> _Difference | None:
    """The first difference that is not in numbers alone, or else the first one."""
    found: _Difference | None = None
    for at, (old, new) in enumerate(zip(recorded, asked, strict=False)):
        if old == new:
            continue
        was, now = _text(old, new), _text(new, old)
        first = next((n for n, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), min(len(was), len(now)))
        shown = slice(max(0, first - SHOWN // 2), first + SHOWN // 2)
        where = f"message {at} ({new.get('role')}) at character {first}, {was[shown]!r} then and {now[shown]!r} now"
        in_numbers = re.sub(r"\d+", "0", was) == re.sub(r"\d+", "0", now)
        found = found or _Difference(where, in_numbers)
        if not in_numbers:
            return _Difference(where, False)
    if len(recorded) != len(asked):
        return _Difference(f"{len(recorded)} messages then and {len(asked)} now", False)
    return found


def _text(message: Message, other: Message) -> str:
    """The content, where it is text and the only difference; else the whole message."""
    content = message.get("content")
    if isinstance(content, str) and {**message, "content": ""} == {**other, "content": ""}:
        return content
    return json.dumps(message, ensure_ascii=False, default=str)


def _longer(asked: Sequence[Message], held: Sequence[Message]) -> bool:
    """Whether the request holds results that were left out of the recorded one and can still be left out."""
    if not any(ELIDED in message for message in held):
        return False
    newest = max((at for at, message in enumerate(asked) if message["role"] == "assistant"), default=0)
    return any(
        now["role"] != "assistant"
        and str(now["content"]).count(STUB_MARK) < str(then["content"]).count(STUB_MARK)
        and len(now["content"]) >= WORTH
        for then, now in zip(as_sent(held), asked[:newest], strict=False)
        if then["role"] == now["role"]
    )


def _characters(messages: Sequence[Message]) -> int:
    return sum(len(str(message)) for message in messages)


def _answers(messages: Sequence[Message]) -> int:
    return sum(message["role"] == "assistant" for message in messages)


def _bill(take: Trajectory, scope: AttemptScope) -> None:
    """Bill wasted tokens, once. Not before the last turn, or a limit on tokens might be reached too early."""
    if scope.budget.wasted == Usage():
        scope.bill(take.wasted)
