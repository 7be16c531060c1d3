"""Plays the answers of a recording, turn by turn: an attempt is answered as it was then, by no server.

Guarantees: an answer, its usage, its finish reason and its tokens are those recorded, and what was wasted is billed
again. A request that is unlike the recorded one is never passed over in silence: it is answered all the same, for
tests tell how long they took, and the attempt bears a remark; or, if it is `strict`, the attempt ends there. Where the
recorded attempt came to a limit that a replay cannot meet (the server's window, time, money) so does this one; if it
wants more than was recorded otherwise, it ends as off the record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agent.conversation import ELIDED, WORTH, as_sent
from agent.models.model import Call, ContextExceeded, ModelRefused, NoMoreAnswers, Reply
from agent.trajectory import Exit, Message, Trajectory, Usage

__all__ = ["IN_NUMBERS", "UNLIKE", "Recorded", "RecordedAttempts"]

# How the remark on an attempt begins that was asked otherwise than recorded.
UNLIKE = "unlike the record"
IN_NUMBERS = "in numbers alone"
SHOWN = 40  # characters of a passage that differs


class RecordedAttempts(Protocol):
    """Where the attempts are."""

    def trajectory(self, task: str, index: int) -> Trajectory | None:
        """An attempt as it was, None where there is none."""
        ...

    def close(self) -> None: ...


class Recorded:
    """`name` is recorded with the run. `strict`: an attempt ends at the first request that is unlike the recorded."""

    def __init__(self, name: str, recording: RecordedAttempts, *, strict: bool = False) -> None:
        self.name = name
        self._recording, self._strict = recording, strict

    async def reply(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, call: Call) -> Reply:
        take = self._recording.trajectory(call.task, call.attempt)
        if take is None:
            raise ModelRefused(f"{self.name} has no attempt {call.attempt} at {call.task}")
        places = [*take.answers, len(take.messages)]
        turn = _answers(messages) - _answers(take.messages[: places[0]])
        if not 0 <= turn < len(take.turns):
            raise self._over(take, call)
        self._compare(take.messages[: places[turn]], messages, turn, call)
        if turn == len(take.turns) - 1:
            _bill(take, call)
        answer = take.turns[turn]
        message = take.messages[places[turn]] if answer.given is None else answer.given
        return Reply(message, answer.usage, answer.finish_reason, answer.tokens, answer.shared)

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        self._recording.close()

    def _compare(self, held: Sequence[Message], asked: Sequence[Message], turn: int, call: Call) -> None:
        """Hold a request against the recorded one, which was made when the conversation held these messages."""
        if _longer(asked, held):
            raise ContextExceeded("older results were left out here when it was recorded (--context elide)")
        difference = _difference(as_sent(held), asked)
        if difference is None:
            return
        if self._strict:
            raise NoMoreAnswers(Exit.OFF_RECORD, f"{UNLIKE} at turn {turn}: {difference}")
        if not call.meter.remark or (IN_NUMBERS in call.meter.remark and not difference.in_numbers):
            call.meter.remark = f"{UNLIKE} from turn {turn} on: {difference}"

    def _over(self, take: Trajectory, call: Call) -> Exception:
        """What the end of the recording is to the attempt."""
        _bill(take, call)
        if take.exit is Exit.CONTEXT_LIMIT:
            return ContextExceeded(take.detail or "the recorded conversation outgrew its model here")
        if take.exit in (Exit.TIME_LIMIT, Exit.COST_LIMIT):
            return NoMoreAnswers(take.exit, f"the recorded attempt came to its {take.exit} here")
        why = f"{len(take.turns)} turns were recorded, which ended with {str(take.exit)!r}, and this attempt goes on"
        return NoMoreAnswers(Exit.OFF_RECORD, why)


@dataclass(frozen=True, slots=True)
class _Difference:
    """Where two requests differ, for a person. `in_numbers`: everywhere in their numbers alone, as times do."""

    where: str
    in_numbers: bool

    def __str__(self) -> str:
        return f"{self.where}, {IN_NUMBERS}" if self.in_numbers else self.where


def _difference(recorded: Sequence[Message], asked: Sequence[Message]) -> _Difference | None:
    """The first difference, of those that lie in numbers alone only for want of others."""
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
    """The content, where that is text and all that differs; else all of it."""
    content = message.get("content")
    if isinstance(content, str) and {**message, "content": ""} == {**other, "content": ""}:
        return content
    return json.dumps(message, ensure_ascii=False, default=str)


def _longer(asked: Sequence[Message], held: Sequence[Message]) -> bool:
    """Whether results stand in the request that had been left out of the recorded one, and can still be."""
    newest = max((at for at, message in enumerate(asked) if message["role"] == "assistant"), default=0)
    return any(
        message.get(ELIDED, len(held) + 1) <= len(held)
        and asked[at]["role"] != "assistant"
        and len(asked[at]["content"]) >= WORTH
        for at, message in enumerate(held[:newest])
    )


def _answers(messages: Sequence[Message]) -> int:
    return sum(message["role"] == "assistant" for message in messages)


def _bill(take: Trajectory, call: Call) -> None:
    """Once. No sooner than the last turn, or a limit on tokens might be met before it was."""
    if call.meter.wasted == Usage():
        call.meter.bill(take.wasted)
