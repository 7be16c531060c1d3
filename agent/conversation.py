"""The conversation of an attempt: all its messages, and the form in which they are sent.

Guarantees: no message is lost, and `as_sent` gives each request again to the byte. A message of feedback is kept apart
from what a tool answered, and sent at its end, since chat templates refuse a user's message behind a tool's. To make
room, older observations are sent as a stub of one line, or a summary is sent in the place of older turns. The server's
prefix cache then holds nothing beyond the change, so this is done seldom, and then for half of what is sent or more:
everything before stays as it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agent.trajectory import EXCHANGE, Message

__all__ = [
    "ELIDED",
    "FEEDBACK",
    "OURS",
    "STUB_MARK",
    "SUMMARY",
    "Conversation",
    "as_added",
    "as_sent",
    "call_of",
    "feedback_message",
    "text_of",
]

# Keys of messages that are not sent.
# A message that is sent as a stub, in all requests made when the conversation held at least as many messages as this
# says.
ELIDED = "elided_from"
# A message of feedback: its kind.
FEEDBACK = "feedback"
# A summary: the first of the messages in whose place it is sent, and the one after the last.
SUMMARY = "summarises"
OURS = frozenset({ELIDED, FEEDBACK, SUMMARY, EXCHANGE})
STUB = "[elided to make room: {} lines of an earlier result; repeat the action to see it again]"
FEEDBACK_STUB = "[elided to make room: {} lines of earlier feedback]"
STUB_MARK = "[elided to make room: "
MOST_FEEDBACK = 12_000  # characters of one message
WORTH = 200  # characters; a stub for less saves nothing
KEPT = 0.25  # of what is sent: the most that stays as it is behind a summary, unless the last turn alone is longer
ARGUMENT = 200_000  # characters of an argument
TOKENS_PER_CHARACTER = 0.3  # until a server has counted


class Conversation:
    """A conversation that begins with the messages of an opening, which are never elided or summarised."""

    def __init__(self, opening: Sequence[Message]) -> None:
        self.messages: list[Message] = list(opening)
        self._opening = len(self.messages)
        self._next = len(self.messages)  # the first message not yet considered for a stub
        self._summarised = len(self.messages)  # the first message that no summary stands for
        self._rate = TOKENS_PER_CHARACTER

    @classmethod
    def resumed(cls, held: Sequence[Message], opening: int) -> Conversation:
        """A conversation as it was when it held these first messages of a trajectory, of which `opening` began it."""
        conversation = cls([_as_held(message, len(held)) for message in held])
        elided = [at for at, message in enumerate(conversation.messages) if ELIDED in message]
        conversation._opening, conversation._next = opening, elided[-1] + 1 if elided else opening
        conversation._summarised = max((one[SUMMARY][1] for one in held if SUMMARY in one), default=opening)
        return conversation

    def add(self, *messages: Message) -> None:
        self.messages.extend(messages)

    def sent(self) -> list[Message]:
        """The messages of the next request."""
        return as_sent(self.messages)

    def counted(self, tokens: int) -> None:
        """Note how many tokens the last request and its reply had, the reply being the last message; 0 if not known."""
        if tokens:
            self._rate = tokens / _characters(self.sent())

    @property
    def tokens(self) -> int:
        """An estimate of the tokens of the next request, from the server's last count."""
        return self.tokens_of(self.sent())

    def tokens_of(self, messages: Sequence[Message]) -> int:
        """An estimate of the tokens of a request, from the server's last count."""
        return round(self._rate * _characters(messages))

    def elide(self) -> bool:
        """Send older observations as stubs, until half of what is sent is left out; False if there are none left.

        Observations of the last reply are never elided: the model has not read them yet.
        """
        size = left = _characters(self.sent())
        for at in range(self._next, self._newest()):
            message = self.messages[at]
            if message["role"] != "assistant" and len(message["content"]) >= WORTH:
                self.messages[at] = {**message, ELIDED: len(self.messages)}
                left -= len(message["content"])
                self._next = at + 1
                if 2 * left <= size:
                    break
        return left < size

    def older(self) -> tuple[int, int] | None:
        """The older turns, for a summary: their first message, and the one after their last; None if there are none.

        The last turn is never among them, for the model has not read its observations yet. Turns that a summary stands
        for already are part of the range, so that the next summary takes its place.
        """
        newest, end = self._newest(), self._newest()
        if newest <= self._summarised:
            return None
        most = KEPT * _characters(self.sent())
        for at in range(newest - 1, self._summarised, -1):
            if self.messages[at]["role"] == "assistant":
                if _characters(self.messages[at:]) > most:
                    break
                end = at
        return self._opening, end

    def before(self, end: int) -> list[Message]:
        """The messages of older turns up to `end`, a summary in the place of those that it stands for."""
        return list(_standing(self.messages, end)[self._opening :])

    def summarise(self, message: Message) -> None:
        """Send this summary from now on, in the place of the messages that its key `SUMMARY` names."""
        self.add(message)
        self._summarised = message[SUMMARY][1]

    def _newest(self) -> int:
        """The position of the last reply."""
        replies = (at for at in reversed(range(len(self.messages))) if self.messages[at]["role"] == "assistant")
        return next(replies, 0)


def feedback_message(kind: str, text: str) -> Message:
    """What the model is told by feedback of one kind, as a message of its own, in valid UTF-8 and of bounded length."""
    text = text.encode("utf-8", "replace").decode()
    if len(text) > MOST_FEEDBACK:
        out = len(text) - MOST_FEEDBACK
        text = f"{text[: MOST_FEEDBACK // 2]}\n[... {out} characters left out ...]\n{text[-MOST_FEEDBACK // 2 :]}"
    return {"role": "user", "content": f"[feedback: {kind}]\n{text}", FEEDBACK: kind}


def as_sent(messages: Sequence[Message]) -> list[Message]:
    """The request that was made when the conversation held these first messages of a trajectory."""
    sent: list[Message] = []
    for message in _standing(messages, len(messages)):
        if OURS.isdisjoint(message):
            sent.append(message)
        else:
            _put(sent, message, len(messages))
    return sent


def as_added(message: Message) -> Message:
    """A message as it was before it was elided."""
    return _as_held(message, 0)


def _as_held(message: Message, held: int) -> Message:
    """A message without the mark that it was elided later."""
    later = message.get(ELIDED, 0) > held
    return {key: value for key, value in message.items() if key != ELIDED} if later else message


def _standing(messages: Sequence[Message], end: int) -> Sequence[Message]:
    """The messages up to `end` without those that a summary stands for, the last summary in their place."""
    at = next((at for at in reversed(range(len(messages))) if SUMMARY in messages[at]), None)
    if at is None:
        return messages[:end]
    first, behind = messages[at][SUMMARY]
    rest = (message for message in messages[behind:end] if SUMMARY not in message)
    return [*messages[:first], messages[at], *rest]


def _put(sent: list[Message], message: Message, held: int) -> None:
    """Add a message with keys of ours to a request, made when the conversation held so many messages."""
    own = {key: value for key, value in message.items() if key not in OURS}
    if held >= message.get(ELIDED, held + 1):
        stub = FEEDBACK_STUB if FEEDBACK in message else STUB
        own["content"] = stub.format(message["content"].count("\n") + 1)
    last = sent[-1] if sent and not {FEEDBACK, SUMMARY}.isdisjoint(message) else own
    if last is not own and last["role"] in ("user", "tool") and isinstance(last["content"], str):
        sent[-1] = {**last, "content": f"{last['content']}\n\n{own['content']}"}
    else:
        sent.append(own)


def text_of(message: Message) -> str:
    """The text of a message, whose content may be text, parts as some servers send them, or nothing."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def call_of(call: Mapping[str, Any]) -> tuple[str, str]:
    """The tool of a tool call, and its text arguments joined by line ends; of each its first 200,000 characters."""
    function = call.get("function") or {}
    written = function.get("arguments")
    try:
        arguments: Any = json.loads(written) if isinstance(written, str) else written
    except (ValueError, RecursionError):
        arguments = written
    values = arguments.values() if isinstance(arguments, dict) else [arguments]
    return str(function.get("name")), "\n".join(value[:ARGUMENT] for value in values if isinstance(value, str))


def _characters(messages: Iterable[Message]) -> int:
    return sum(len(str(message)) for message in messages) or 1
