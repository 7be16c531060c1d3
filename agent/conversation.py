"""The conversation of an attempt: all its messages, and the form in which they are sent.

Guarantees: no message is lost, and `as_sent` gives each request again to the byte. To make room, older observations are
sent as a stub of one line. The server's prefix cache then holds nothing beyond the first new stub, so this is done
seldom, and then for half of what is sent, beginning where it ended the last time: everything before stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agent.trajectory import Message

__all__ = ["ELIDED", "Conversation", "as_sent"]

# The key of a message that is sent as a stub, in all requests made when the conversation held at least as many messages
# as its value says.
ELIDED = "elided_from"
STUB = "[elided to make room: {} lines of an earlier result; repeat the action to see it again]"
WORTH = 200  # characters; a stub for less saves nothing
TOKENS_PER_CHARACTER = 0.3  # until a server has counted


class Conversation:
    """A conversation that begins with the messages of an opening, which are never elided."""

    def __init__(self, opening: Sequence[Message]) -> None:
        self.messages: list[Message] = list(opening)
        self._next = len(self.messages)  # the first message not yet considered for a stub
        self._rate = TOKENS_PER_CHARACTER

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
        return round(self._rate * _characters(self.sent()))

    def elide(self) -> bool:
        """Send older observations as stubs, until half of what is sent is left out; False if there are none left.

        Observations of the last reply are never elided: the model has not read them yet.
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
    """The request that was made when the conversation held these first messages of a trajectory."""
    return [_sent(message, len(messages)) if ELIDED in message else message for message in messages]


def _sent(message: Message, held: int) -> Message:
    sent = {key: value for key, value in message.items() if key != ELIDED}
    if held >= message[ELIDED]:
        sent["content"] = STUB.format(message["content"].count("\n") + 1)
    return sent


def _characters(messages: Iterable[Message]) -> int:
    return sum(len(str(message)) for message in messages) or 1
