"""What is done about a request that a server refuses: it is written otherwise, or the cause of the refusal is found.

Guarantees: one refusal at a time is looked into, and requests that were refused meanwhile profit from it. What helped
is kept for all later requests and told once. A change that the server's words did not ask for is kept only if the
request is refused again without it. What the server accepts of the requests made here is paid for. `proven` holds
whether requests with a history were ever answered, and requests without.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from agent.agent import Payer
from agent.models.adaptations import Adaptation
from agent.models.diagnosis import Cause, as_long, diagnose, short_message
from agent.models.faults import Kind, RequestFailure, connection_failure
from agent.models.http import HttpError
from agent.models.model import Reply
from agent.models.server_quirks import ServerQuirks, signature
from agent.trajectory import Usage

__all__ = ["REPEATED", "Refusals", "Refused", "has_history"]

Body = Mapping[str, Any]
REFUSED = (Kind.BAD_REQUEST, Kind.UNPROCESSABLE, Kind.FORBIDDEN, Kind.NOT_IMPLEMENTED)
PAY_FIRST = (402, 429)  # the statuses that speak for themselves where they want to be paid
TOO_LONG = (Kind.CONTEXT, Kind.TOO_LARGE)
# Failures that may be the request's own, if it meets them again and again and others do not.
TIMED_OUT = (Kind.GATEWAY_TIME_OUT, Kind.REQUEST_TIME_OUT)
REPEATED = (Kind.SERVER_ERROR, Kind.BAD_GATEWAY, Kind.BROKEN_OFF, Kind.FAILED, Kind.CONFLICT, *TIMED_OUT)
ABOUT_THE_REQUEST = (*REFUSED, Kind.NOT_FOUND, *TOO_LONG, *REPEATED)


@dataclass(frozen=True, slots=True)
class Refused:
    """A refused request: its body as we have it, how to send one as it is written, who pays, and whom to tell."""

    body: Body
    send: Callable[[dict[str, Any]], Awaitable[list[Reply]]]
    payer: Payer
    tell: Callable[[str], None]


class Refusals:
    """The refusals of one model's servers, and what was learnt from them."""

    def __init__(self, quirks: ServerQuirks) -> None:
        self.quirks = quirks
        self.proven: set[bool] = set()
        # Words that were proved to be about length, each with the shortest conversation that was too long.
        self._long: dict[str, int] = {}
        self._one = asyncio.Lock()

    def accepted(self, written: Body) -> None:
        """Note that this body was accepted."""
        self.quirks.accepted(written)
        self.proven.add(has_history(written))

    async def answered(self, refused: Refused) -> list[Reply]:
        """The replies to a request, which is written otherwise if it is refused.

        Raises a `RequestFailure`, with its cause where that was found.
        """
        while True:
            written = self.quirks.written(refused.body)
            try:
                return await refused.send(written)
            except RequestFailure as failure:
                if not self._is_open(failure):
                    raise
                async with self._alone(refused):
                    if self.quirks.written(refused.body) == written:
                        return await self._looked_into(failure, refused)

    def _is_open(self, failure: RequestFailure) -> bool:
        """Whether a refusal leaves its cause open, so that further requests may tell."""
        if failure.kind is Kind.NOT_FOUND:  # a gateway's, where others are answered
            return bool(self.proven)
        if failure.kind is Kind.QUOTA:  # its words may be quoted from the conversation
            return failure.status not in PAY_FIRST
        return failure.kind in (*REFUSED, *TOO_LONG)

    async def look_into(self, failure: RequestFailure, refused: Refused) -> list[Reply]:
        """The replies to a request that failed several times, as if it had been refused. Raises as `answered`."""
        async with self._alone(refused):
            return await self._looked_into(failure, refused)

    @asynccontextmanager
    async def _alone(self, refused: Refused) -> AsyncIterator[None]:
        """One request at a time; the clocks of the attempts that pay for it stand still."""
        with refused.payer.paused():
            async with self._one:
                yield

    async def _looked_into(self, failure: RequestFailure, refused: Refused) -> list[Reply]:
        body = refused.body
        refused.payer.bill(failure.usage)
        kind = failure.kind
        if kind is Kind.QUOTA:
            if await self._accepts(as_long(body), refused) is not True:
                raise failure
            kind = Kind.BAD_REQUEST  # what is as long is not too dear
        failure = RequestFailure(kind, str(failure), after=failure.after, status=failure.status)
        proved = self._long.get(signature(str(failure)))
        # Such words may be those of an outage as well, so they are believed of what is as long, and of nothing else.
        known = has_history(body) and proved is not None and _size(body) >= proved
        if failure.kind not in TOO_LONG and not known:
            if "n" in body and failure.kind in REFUSED:
                raise failure  # fewer replies may be what the server takes
            if failure.kind in (*REFUSED, Kind.SERVER_ERROR, Kind.FAILED):
                outcome = await self._adapted(failure, refused)
                if isinstance(outcome, list):
                    return outcome
                failure = outcome
        if failure.kind in TOO_LONG and proved is None:
            outcome = await self._sought_again(failure, refused)
            if isinstance(outcome, list):
                return outcome
            failure = outcome
        if failure.kind in TOO_LONG or known:
            raise RequestFailure(failure.kind if failure.kind in TOO_LONG else Kind.CONTEXT, str(failure))
        if failure.cause is Cause.FIELDS or failure.kind not in ABOUT_THE_REQUEST:
            raise failure
        raised = await self._diagnosed(failure, refused)
        if raised.cause in (Cause.TEXT, Cause.FORM, Cause.LENGTH):
            try:
                return await _sent(refused, self.quirks.written(body))  # it was refused once, and is not now
            except RequestFailure as again:
                refused.payer.bill(again.usage)
                if again.kind not in (*ABOUT_THE_REQUEST, Kind.QUOTA):
                    raise RequestFailure(again.kind, str(again), after=again.after) from None
                if signature(str(again)) != signature(str(failure)):  # it fails in one way after another
                    raise RequestFailure(Kind.SERVER_ERROR, str(again)) from None
        if raised.cause is Cause.LENGTH:
            self._prove(failure, refused)
            refused.tell(
                f"{failure} comes for long conversations and not for shorter ones of the same form: taken for a "
                "context limit"
            )
        raise raised

    def _prove(self, failure: RequestFailure, refused: Refused) -> None:
        """Note that its words are about the length of this conversation."""
        said, size = signature(str(failure)), _size(refused.body)
        self._long[said] = min(size, self._long.get(said, size))

    async def _sought_again(self, failure: RequestFailure, refused: Refused) -> list[Reply] | RequestFailure:
        """The replies to a request that was called too long, if it is not; else the failure that it is.

        Words about a length may be about a queue, a quota or a setting. What is too long is refused again, in the same
        words, and one short message is not.
        """
        said = signature(str(failure))
        if await self._accepts(short_message(refused.body), refused) is False:
            kind = Kind.BAD_REQUEST if failure.status < 500 else Kind.SERVER_ERROR
            return RequestFailure(kind, str(failure), cause=Cause.FIELDS if kind is Kind.BAD_REQUEST else None)
        try:
            return await _sent(refused, self.quirks.written(refused.body))
        except RequestFailure as again:
            refused.payer.bill(again.usage)
            if again.kind not in TOO_LONG:
                return RequestFailure(again.kind, str(again), after=again.after)
            if signature(str(again)) == said:
                self._prove(again, refused)
            return RequestFailure(again.kind, str(again))

    async def _diagnosed(self, failure: RequestFailure, refused: Refused) -> RequestFailure:
        """The failure with its cause."""

        async def ask(body: Body) -> bool | None:
            return await self._accepts(body, refused)

        text, repeated = str(failure), failure.kind in REPEATED
        cause = await diagnose(refused.body, ask)
        # A long answer to what it says may take too long as well, which is no fault of what it says.
        own = (Cause.LENGTH,) if failure.kind in (Kind.FAILED, *TIMED_OUT) else (Cause.LENGTH, Cause.TEXT)
        if repeated and (cause not in own or await diagnose(refused.body, ask) is not cause):
            return failure  # it fails whatever such a request says, or now and then
        if not repeated and cause is Cause.LENGTH and await diagnose(refused.body, ask) is not cause:
            return RequestFailure(Kind.SERVER_ERROR, text)  # it refuses now and then
        if cause is Cause.LENGTH:
            text = f"{text} (it accepts a shorter conversation of the same form)"
            return RequestFailure(Kind.CONTEXT, text, cause=cause)
        return RequestFailure(Kind.BAD_REQUEST if repeated else failure.kind, text, cause=cause)

    async def _adapted(self, failure: RequestFailure, refused: Refused) -> list[Reply] | RequestFailure:
        """The replies to the request written otherwise, or the refusal that is left."""
        while True:
            written, said = self.quirks.written(refused.body), str(failure)
            named = self.quirks.named(written, said)
            suspected = [one for one in self.quirks.suspected(written, said) if one not in named]
            trials = [[one] for one in (*named, *suspected)]
            if len(together := [one for one in (*named, *suspected) if one.blind]) > 1:
                trials.append(together)
            for trial in trials:
                try:
                    replies = await _sent(refused, self.quirks.written(refused.body, *trial))
                except RequestFailure as other:
                    refused.payer.bill(other.usage)
                    if other.kind not in ABOUT_THE_REQUEST:
                        raise RequestFailure(other.kind, str(other), after=other.after) from None
                    if trial[0] in named and len(trial) == 1 and signature(str(other)) != signature(said):
                        self._keep(trial, refused)
                        failure = RequestFailure(other.kind, str(other), after=other.after)
                        break  # it no longer names this, and names something else
                else:
                    if trial[0] in named or await self._accepts(refused.body, refused) is False:
                        self._keep(trial, refused)
                    return replies
            else:
                self.quirks.in_vain([one for trial in trials for one in trial], said)
                return failure
            if failure.kind in TOO_LONG:
                return failure

    def _keep(self, trial: Sequence[Adaptation], refused: Refused) -> None:
        self.quirks.keep(*trial)
        for one in trial:
            refused.tell(one.line)

    async def _accepts(self, body: Body, refused: Refused) -> bool | None:
        """Whether the server accepts this body; None where that cannot be told."""
        written = self.quirks.written({name: value for name, value in body.items() if name != "n"})
        try:
            replies = await _sent(refused, written)
        except RequestFailure as failure:
            refused.payer.bill(failure.usage)
            return False if failure.kind in ABOUT_THE_REQUEST else None
        refused.payer.bill(sum((reply.usage for reply in replies), Usage()))
        return True


async def _sent(refused: Refused, written: dict[str, Any]) -> list[Reply]:
    """The replies to a body. Raises `RequestFailure`, also for a failure of the connection."""
    try:
        return await refused.send(written)
    except HttpError as error:
        raise connection_failure(error) from None


def has_history(body: Body) -> bool:
    """Whether its conversation holds a reply of the model."""
    return any(message["role"] == "assistant" for message in body["messages"])


def _size(body: Body) -> int:
    """The characters of its conversation."""
    return len(json.dumps(body["messages"]))
