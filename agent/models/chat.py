"""Any OpenAI-compatible chat-completions server, or several of them with the same model.

Guarantees: what goes wrong is treated as the one table says (`agent.models.faults`); a
request is sent again only if that can help, no sooner than the server asks for and no later
than its deadline; a server that failed (`ModelUnavailable`, an infra error) is told apart
from a request that can never succeed (`ModelRefused`, which stops the run); an outage holds
requests back, on no attempt's clock, until the server is there again. Tokens are counted
once: those of an answer in its `Reply`, those of what was no use in the attempt's `Meter`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.models.admission import Handling
from agent.models.answers import read_replies
from agent.models.faults import Ends, Kind, RequestFailure, Retry, refusal, wire_trouble
from agent.models.http import HttpError, HttpTransport
from agent.models.model import Call, ContextExceeded, ModelError, ModelRefused, ModelUnavailable, Reply
from agent.models.replicas import Replica, Replicas
from agent.models.server_quirks import ServerQuirks
from agent.trajectory import Message

__all__ = ["ChatModel"]

CHECK_SECONDS = 20.0
LONGEST_BACKOFF = 30.0
VLLM = b'"vllm"'  # who owns the models that it lists


class ChatModel:
    """The model `name` behind one or several addresses. `sampling` are further body fields (temperature, top_k, ...);
    one that is None takes a field away.

    `reasoning` is "keep" or "drop": whether what the model thought is sent back, where the server takes it.
    One request may take `request_seconds`; a failed one is sent again, first after about `backoff_seconds`, until
    `retry_seconds` have passed since the first try, outages not counted; an outage may last `outage_seconds`.
    `scheduled` tells the server, by vLLM's field `priority`, to take later turns first too.
    """

    def __init__(
        self,
        name: str,
        base_url: str | Sequence[str] | None,
        api_key: str | None,
        sampling: Mapping[str, Any],
        *,
        scheduled: bool = False,
        reasoning: str = "keep",
        request_seconds: float = 600.0,
        retry_seconds: float = 300.0,
        outage_seconds: float = 1800.0,
        backoff_seconds: float = 0.5,
    ) -> None:
        self.name = name
        self.progress: Callable[[str], None] = lambda text: None  # told of outages
        self.warn: Callable[[str], None] = lambda text: None  # told once of each thing that the server does not take
        self._sampling, self._scheduled = dict(sampling), scheduled
        self._request_seconds, self._retry_seconds = request_seconds, retry_seconds
        self._outage_seconds, self._backoff_seconds = outage_seconds, backoff_seconds
        self._dialect = ServerQuirks(drop=reasoning == "drop")
        urls = (base_url,) if isinstance(base_url, str) else tuple(base_url or ())
        self._replicas = Replicas(
            [HttpTransport(url, api_key) for url in urls or (None,)], lambda text: self.progress(text)
        )

    async def check(self) -> None:
        """One cheap request to each server before anything is sampled. Raises `ModelRefused` with the remedy."""
        await asyncio.gather(*(self._check(replica) for replica in self._replicas.all))

    async def _check(self, replica: Replica) -> None:
        wire = replica.wire
        try:
            answer = await wire.get("/models", CHECK_SECONDS)
        except HttpError as error:
            raise ModelRefused(
                f"server {wire.name} cannot be reached ({error}); check --base-url and that it is running"
            ) from None
        if answer.status in (401, 403):  # a server without that page may well answer chat completions
            raise ModelRefused(_remedy(wire.name, self.name, refusal(answer)))
        if VLLM in answer.content:
            replica.steer()

    async def reply(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, call: Call) -> Reply:
        return (await self.replies(messages, tools, call=call, joined=lambda: (call,)))[0]

    async def replies(
        self,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]],
        *,
        call: Call,
        joined: Callable[[], Sequence[Call]],
    ) -> list[Reply]:
        """Several answers to one request. `joined` is asked for whom each time when it goes out; `call` speaks for
        all. There may be fewer answers, or more."""
        turn = call.turn(messages)
        body: dict[str, Any] = {"model": self.name, "messages": messages, "seed": call.seed & 0x7FFFFFFF}
        if tools:  # an empty list is refused by some servers
            body["tools"] = tools
        if self._scheduled:
            body["priority"] = -turn
        body.update(self._sampling)
        body = {name: value for name, value in body.items() if value is not None}
        asked = _Asked(body, turn, call, joined)
        try:
            return await self._until_answered(asked)
        except RequestFailure as trouble:
            raise self._end(trouble, asked) from None

    async def _until_answered(self, asked: _Asked) -> list[Reply]:
        """Raises the `RequestFailure` that cannot heal or did not in time."""
        import tenacity

        backoff = tenacity.wait_random_exponential(multiplier=self._backoff_seconds, max=LONGEST_BACKOFF)

        def wait(state: tenacity.RetryCallState) -> float:
            """As long as the server asks for, if it does; but the last try is made when the time is up."""
            trouble = state.outcome.exception() if state.outcome else None
            assert isinstance(trouble, RequestFailure)
            if trouble.treatment.retry is Retry.WHEN_BACK:
                return 0.0  # whoever waits at the door waits for that
            return max(0.0, min(max(backoff(state), trouble.after), self._retry_seconds - asked.seconds))

        async def pause(seconds: float) -> None:
            with asked.call.meter.paused():
                await asyncio.sleep(seconds)

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_may_heal),
            wait=wait,
            stop=lambda _: asked.seconds >= self._retry_seconds,
            sleep=pause,
            reraise=True,
        )
        replies: list[Reply] = await retrying(self._try, asked)
        return replies

    async def _try(self, asked: _Asked) -> list[Reply]:
        """One request. Raises `RequestFailure`."""
        replica, place = await self._admitted(asked)
        asked.server, meter, began = replica.wire.name, asked.call.meter, time.monotonic()
        calls, body = asked.joined(), asked.body
        self._replicas.settle(asked.call, calls, replica)
        if len(calls) > 1:
            replica.admission.widen(place, len(calls))
            # From one seed a server may give the same answer to all.
            body = {**{name: value for name, value in body.items() if name != "seed"}, "n": len(calls)}
        try:
            replies = await self._answers(replica, body)
        except (HttpError, RequestFailure) as error:
            trouble = error if isinstance(error, RequestFailure) else wire_trouble(error)
            replica.failed(place, trouble)
            meter.bill(trouble.usage)
            meter.give_back(time.monotonic() - began)
            raise trouble from None
        except BaseException:  # called off
            replica.admission.leave(place, Handling.OTHER)
            raise
        for call, reply in zip(calls, replies, strict=False):
            replica.admission.cache.answered(call, reply, asked.turn)
        replica.answered(place)
        return replies

    async def _answers(self, replica: Replica, body: dict[str, Any]) -> list[Reply]:
        """The request is written as the server wants it, which may take a refusal to learn. Raises `RequestFailure`."""
        while True:
            written = self._dialect.written(body)
            answer = await replica.wire.post("/chat/completions", written, self._request_seconds)
            if 200 <= answer.status < 300:
                return read_replies(answer.content)
            trouble = refusal(answer)
            if trouble.kind not in (Kind.BAD_REQUEST, Kind.UNPROCESSABLE):
                raise trouble
            if self._dialect.written(body) != written:
                continue  # learnt from another request meanwhile
            lesson = self._dialect.learn(written, answer.content.decode("utf-8", "replace"))
            if not lesson:
                raise trouble
            self.warn(f"{replica.wire.name}: {lesson}")

    async def _admitted(self, asked: _Asked) -> tuple[Replica, int]:
        """A server that is up and a place at it; waiting for either is on nobody's clock."""
        replica = self._replicas.choose(asked.call, asked.turn)
        if replica is not None and (place := replica.admission.enter_at_once(asked.call)) is not None:
            return replica, place
        began = time.monotonic()
        try:
            with asked.call.meter.paused():
                return await self._in_turn(asked)
        finally:
            asked.waited += time.monotonic() - began

    async def _in_turn(self, asked: _Asked) -> tuple[Replica, int]:
        while True:
            replica = self._replicas.choose(asked.call, asked.turn)
            if replica is None:
                await self._back_up()
                continue
            place = await replica.admission.enter(asked.turn, asked.call)
            if replica.down_since is None:
                return replica, place
            replica.admission.leave(place, Handling.OTHER)  # it went down meanwhile
            replica.admission.over(asked.call)

    async def _back_up(self) -> None:
        try:
            await self._replicas.up(self._outage_seconds)
        except TimeoutError:
            raise ModelUnavailable(
                f"{self._replicas.outage}, for more than {self._outage_seconds:g} s; "
                "check that it is running and what it logs"
            ) from None

    def _end(self, trouble: RequestFailure, asked: _Asked) -> ModelError:
        """What a fault that did not heal is to those who asked."""
        ends = trouble.treatment.ends
        if ends is Ends.CONTEXT_LIMIT:
            return ContextExceeded(str(trouble))
        if ends is Ends.MODEL_FAILED:
            return ModelUnavailable(
                f"server {asked.server} keeps failing: {trouble}; check that it is running and what it logs"
            )
        text = _remedy(asked.server, self.name, trouble)
        return ModelUnavailable(text) if ends is Ends.RUN_OR_ATTEMPT and asked.turn else ModelRefused(text)

    async def close(self) -> None:
        await self._replicas.close()


@dataclass(slots=True)
class _Asked:
    """One reply that is wanted, however many requests it takes."""

    body: dict[str, Any]
    turn: int
    call: Call
    joined: Callable[[], Sequence[Call]]
    server: str = ""  # that was asked last
    waited: float = 0.0  # at the door, for a place or for a server to come back
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began - self.waited


def _may_heal(error: BaseException) -> bool:
    return isinstance(error, RequestFailure) and error.treatment.retry is not Retry.NEVER


def _remedy(server: str, model: str, trouble: RequestFailure) -> str:
    """What a person can do about a request that will never succeed."""
    if trouble.kind in (Kind.KEY, Kind.FORBIDDEN):
        return (
            f"server {server} refuses the key ({trouble}); set OPENAI_API_KEY, or name its variable with --api-key-env"
        )
    if trouble.kind is Kind.NOT_FOUND:
        return f"server {server} does not know model {model!r} or this path ({trouble}); check --model and --base-url"
    if trouble.kind is Kind.QUOTA:
        return f"server {server} wants to be paid first: {trouble}"
    return f"server {server} refuses the request with {trouble}"
