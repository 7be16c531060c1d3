"""The conversation of an attempt: all that was said, and what of it is sent.

Guarantees: nothing that was said is lost, and from what is kept `as_sent` gives each
request to the byte. To make room, older observations are sent as a stub of one line.
That costs the server's prefix cache all that follows the first new stub, so it is done
seldom and then for half of what is sent, from where the last time ended: what lies
before stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agent.trajectory import Message

__all__ = ["ELIDED", "Conversation", "as_sent"]

# The key of a kept message that was sent as a stub: in all requests made when the conversation
# held so many messages or more.
ELIDED = "elided_from"
STUB = "[elided to make room: {} lines of an earlier result; repeat the action to see it again]"
WORTH = 200  # characters below which a stub saves nothing
TOKENS_PER_CHARACTER = 0.3  # until a server has counted


class Conversation:
    """Begins with the messages of an opening, which are never elided."""

    def __init__(self, opening: Sequence[Message]) -> None:
        self.messages: list[Message] = list(opening)
        self._next = len(self.messages)  # the first message that was not yet considered for a stub
        self._rate = TOKENS_PER_CHARACTER

    def add(self, *messages: Message) -> None:
        self.messages.extend(messages)

    def sent(self) -> list[Message]:
        """The messages of the next request."""
        return as_sent(self.messages)

    def counted(self, tokens: int) -> None:
        """Learn from what the last request and its reply, which is the last message, came to; 0 if that is unknown."""
        if tokens:
            self._rate = tokens / _characters(self.sent())

    @property
    def tokens(self) -> int:
        """About how many tokens the next request has, by the server's last count."""
        return round(self._rate * _characters(self.sent()))

    def elide(self) -> bool:
        """Send older observations as stubs, until half of what is sent is gone; False if there are none left.

        What the last reply led to is never elided: the model has not read it yet.
        """
        size = left = _characters(self.sent())
        newest = max((at for at, message in enumerate(self.messages) if message["role"] == "assistant"), default=0)
        for at in range(self._next, newest):
            message = self.messages[at]
            if message["role"] != "assistant" and len(message["content"]) >= WORTH:
                self.messages[at] = {**message, ELIDED: len(self.messages)}
                left -= len(message["content"])
                self._next = at + 1
                if 2 * left <= size:
                    break
        return left < size


def as_sent(messages: Sequence[Message]) -> list[Message]:
    """The request that was made when a conversation held these messages, which are a trajectory's first."""
    return [_sent(message, len(messages)) if ELIDED in message else message for message in messages]


def _sent(message: Message, held: int) -> Message:
    sent = {key: value for key, value in message.items() if key != ELIDED}
    if held >= message[ELIDED]:
        sent["content"] = STUB.format(message["content"].count("\n") + 1)
    return sent


def _characters(messages: Iterable[Message]) -> int:
    return sum(len(str(message)) for message in messages) or 1
