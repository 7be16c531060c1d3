"""A model behind an OpenAI-compatible chat-completions server, or behind several with the same model.

Guarantees: every fault is treated as one table says (`agent.models.faults`). A request is sent again only if that can
help, no sooner than the server asks for and no later than its deadline. A fault that never yet gave way to an answer is
not taken for one that heals. What a server refuses is found out before it ends anything: the way in which we write
requests is changed for it (`agent.models.server_quirks`), and a conversation that is too long, or rejected for what it
says, is told apart from a request that can never succeed (`ModelRefused`, which stops the run) and from a server that
failed (`ModelUnavailable`, an infra error). During an outage requests wait until the server is back, and the clocks of
their attempts are stopped. Tokens are counted once: those of an answer in its `Reply`, those of an unusable answer
with the attempt's budget.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.agent import AttemptScope, Payer
from agent.models.admission import Handling
from agent.models.answers import is_hollow, read_replies, unparsed_reply
from agent.models.diagnosis import Cause
from agent.models.faults import Ends, Kind, Load, RequestFailure, Retry, connection_failure, refusal
from agent.models.http import HttpError, HttpTransport
from agent.models.model import ContextExceeded, ModelError, ModelRefused, ModelUnavailable, Rejected, Reply
from agent.models.refusals import REPEATED, Refusals, Refused, has_history
from agent.models.replicas import Replica, Replicas
from agent.models.server_quirks import ServerQuirks, signature
from agent.trajectory import Message
from envs.events import Sink, Warned, ignore

__all__ = ["ChatModel"]

CHECK_SECONDS = 20.0
LONGEST_BACKOFF = 30.0
VLLM = b'"vllm"'  # the owner of the models in a vLLM's list
# Faults that are taken for lasting ones, and how soon, where no request of the kind has ever been answered.
UNPROVEN = (Kind.HTML, Kind.NO_COMPLETION, Kind.NO_CHOICES, Kind.FAILED, Kind.HOLLOW, Kind.SERVER_ERROR)
UNPROVEN_SECONDS = 4.0
OUTAGES = (Kind.BAD_GATEWAY, Kind.UNAVAILABLE)  # of a server that answers other requests
OUTAGE_SECONDS = 30.0
LONG_WAIT = 30.0  # seconds for which a server asks to wait, of which people are told at once
BUSY_TIMES = 5  # refusals for too much load in a row, of which people are told
FAILURES = 3  # of such a kind in a row, after which a request is looked into as if it had been refused
HOLLOWS = 3  # empty messages that are taken for the model's where a server never tells usage
UNTOLD = 3  # answers without usage, after which people are told
TOLD = 20  # different faults that a person is told of
KEY = re.compile(r"\bapi[ _-]?key (?:is )?(?:not valid|invalid|missing|expired)|\binvalid api[ _-]?key", re.IGNORECASE)
NO_TOOLS = "where the server takes no tool calls, give --actions text, or start it with its tool parser"
TOOLS = re.compile(r"\btools?\b|tool[ _]choice|tool[ _-]call|function.?call", re.IGNORECASE)
WANTED = r"\b(?:required|missing|must be (?:given|set|provided))\b"
OPTIONS = {
    "temperature": "--temperature",
    "top_p": "--top-p",
    "top_k": "--top-k",
    "min_p": "--min-p",
    "stop": "--stop",
    "max_tokens": "--max-completion-tokens",
    "max_completion_tokens": "--max-completion-tokens",
    "logprobs": "--logprobs",
    "return_token_ids": "--return-token-ids",
}


class ChatModel:
    """The model `name` behind one or several addresses.

    `sampling` are further fields of the body (temperature, top_k, ...); one that is None removes a field. `reasoning`
    is "keep" or "drop": whether the model's reasoning is sent back, where the server takes it. One request may take
    `request_seconds`. A failed one is sent again, first after about `backoff_seconds`, until `retry_seconds` have
    passed since the first try, outages not counted. An outage may last `outage_seconds`. `scheduled` asks the server,
    by vLLM's field `priority`, to take later turns first. `events` receives outages and what the server does not take.
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
        events: Sink = ignore,
    ) -> None:
        self.name, self._events = name, events
        self._sampling, self._scheduled = dict(sampling), scheduled
        self._request_seconds, self._retry_seconds = request_seconds, retry_seconds
        self._outage_seconds, self._backoff_seconds = outage_seconds, backoff_seconds
        self._refusals = Refusals(ServerQuirks(drop=reasoning == "drop", chosen=self._sampling))
        self._tells_usage, self._untold = False, 0
        self._told: set[str] = set()  # faults that people were told of
        urls = (base_url,) if isinstance(base_url, str) else tuple(base_url or ())
        self._replicas = Replicas([HttpTransport(url, api_key) for url in urls or (None,)], events)

    async def check(self) -> None:
        """One cheap request to each server before anything is sampled. Raises `ModelRefused` with the remedy."""
        await asyncio.gather(*(self._check(replica) for replica in self._replicas.all))

    async def _check(self, replica: Replica) -> None:
        transport = replica.transport
        try:
            answer = await transport.get("/models", CHECK_SECONDS)
        except HttpError as error:
            raise ModelRefused(
                f"server {transport.name} cannot be reached ({error}); check --base-url and that it is running"
            ) from None
        if answer.status in (401, 403):  # a server without that page may well answer chat completions
            raise ModelRefused(_remedy(transport.name, self.name, refusal(answer)))
        if VLLM in answer.content:
            replica.steer()

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
    ) -> Reply:
        return (await self.replies(messages, tools, scope=scope, payer=scope, joined=lambda: (scope,)))[0]

    async def replies(
        self,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]],
        *,
        scope: AttemptScope,
        payer: Payer,
        joined: Callable[[], Sequence[AttemptScope]],
    ) -> list[Reply]:
        """Several answers to one request. There may be fewer than asked for, or more.

        `joined` is called each time the request goes out and gives the attempts that are to be answered. `scope` waits
        for admission on behalf of all of them, and `payer` pays for what went wrong.
        """
        turn = scope.turn(messages)
        body: dict[str, Any] = {"model": self.name, "messages": messages, "seed": scope.spec.seed & 0x7FFFFFFF}
        if tools:  # an empty list is refused by some servers
            body["tools"] = tools
        if self._scheduled:
            body["priority"] = -turn
        body.update(self._sampling)
        body = {name: value for name, value in body.items() if value is not None}
        asked = _Asked(body, turn, scope, payer, joined)
        try:
            return await self._until_answered(asked)
        except RequestFailure as failure:
            raise self._end(failure, asked) from None

    async def _until_answered(self, asked: _Asked) -> list[Reply]:
        """Send the request until it is answered. Raises the `RequestFailure` that cannot heal or did not in time."""
        import tenacity

        backoff = tenacity.wait_random_exponential(multiplier=self._backoff_seconds, max=LONGEST_BACKOFF)

        def wait(state: tenacity.RetryCallState) -> float:
            """As long as the server asks for, if it does; but the last try is made when the time is up."""
            failure = state.outcome.exception() if state.outcome else None
            assert isinstance(failure, RequestFailure)
            if failure.treatment.retry is Retry.WHEN_BACK:
                return 0.0  # admission waits for the server
            return max(0.0, min(max(backoff(state), failure.after), self._retry_seconds - asked.seconds))

        async def pause(seconds: float) -> None:
            with asked.payer.paused():
                await asyncio.sleep(seconds)

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_may_heal),
            wait=wait,
            stop=lambda _: asked.seconds >= self._patience(asked),
            sleep=pause,
            reraise=True,
        )
        replies: list[Reply] = await retrying(self._try, asked)
        return replies

    def _patience(self, asked: _Asked) -> float:
        """The seconds for which a request is sent again."""
        if self._proven(asked):
            return self._retry_seconds
        if asked.failure in UNPROVEN:
            return min(self._retry_seconds, UNPROVEN_SECONDS)
        outage = asked.failure is Kind.BROKEN_OFF or (asked.failure in OUTAGES and self._refusals.proven)
        return min(self._retry_seconds, OUTAGE_SECONDS) if outage else self._retry_seconds

    def _proven(self, asked: _Asked) -> bool:
        """Whether a request of its kind, with or without a history, was ever answered."""
        return has_history(asked.body) in self._refusals.proven

    async def _try(self, asked: _Asked) -> list[Reply]:
        """One request. Raises `RequestFailure`."""
        replica, place = await self._admitted(asked)
        asked.server, began = replica.transport.name, time.monotonic()
        scopes, body = asked.joined(), asked.body
        self._replicas.settle(asked.scope, scopes, replica)
        asked.shared = len(scopes) > 1
        if asked.shared:
            replica.admission.widen(place, len(scopes))
            # From one seed a server may give the same answer to all.
            body = {**{name: value for name, value in body.items() if name != "seed"}, "n": len(scopes)}
        try:
            replies = await self._answers(replica, body, asked)
        except (HttpError, RequestFailure) as error:
            failure = error if isinstance(error, RequestFailure) else connection_failure(error)
            replica.failed(place, failure)
            asked.payer.bill(failure.usage)
            asked.payer.give_back(time.monotonic() - began)
            asked.failed(failure)
            times = BUSY_TIMES if failure.treatment.load is Load.FULL else 2
            if asked.in_a_row >= times or failure.after >= LONG_WAIT:
                self._tell(f"{asked.server}: {failure}; the request is sent again", str(failure))
            raise failure from None
        except BaseException:  # cancelled
            replica.admission.leave(place, Handling.OTHER)
            raise
        for scope, reply in zip(scopes, replies, strict=False):
            replica.admission.cache.answered(scope, reply, asked.turn)
        for unasked in replies[len(scopes) :]:  # as `n` in the extra body makes them: no attempt gets these
            asked.payer.bill(unasked.usage)
        replica.answered(place)
        return replies

    async def _answers(self, replica: Replica, body: dict[str, Any], asked: _Asked) -> list[Reply]:
        """Send the body, written as this server wants it. Raises `HttpError` and `RequestFailure`."""

        async def send(written: dict[str, Any]) -> list[Reply]:
            return await self._sent(replica, written, asked)

        def tell(line: str) -> None:
            self._events(Warned(f"{replica.transport.name}: {line}"))

        refused = Refused(body, send, asked.payer, tell)
        try:
            return await self._refusals.answered(refused)
        except (HttpError, RequestFailure) as error:
            failure = error if isinstance(error, RequestFailure) else connection_failure(error)
            if failure.kind in REPEATED and failure.kind is asked.failure and asked.in_a_row + 1 == FAILURES:
                return await self._refusals.look_into(failure, refused)
            raise

    async def _sent(self, replica: Replica, written: dict[str, Any], asked: _Asked) -> list[Reply]:
        """One request and its replies. Raises `HttpError` and `RequestFailure`."""
        answer = await replica.transport.post("/chat/completions", written, self._request_seconds)
        if 200 <= answer.status < 300:
            replies = read_replies(answer.content)
            self._tells_usage = self._tells_usage or any(reply.usage.total for reply in replies)
            self._untold += not self._tells_usage
            if self._untold == UNTOLD:
                self._tell(
                    f"{replica.transport.name} tells no usage: tokens and costs are not counted, nor limited", "usage"
                )
            if is_hollow(replies[0]) and (self._tells_usage or asked.hollows + 1 < HOLLOWS):
                raise RequestFailure(Kind.HOLLOW, "the answer holds an empty message and no usage")
        elif reply := unparsed_reply(answer):
            replies = [reply]
        else:
            raise refusal(answer)
        self._refusals.accepted(written)
        return replies

    def _tell(self, text: str, cause: str) -> None:
        """Tell people of a fault, once for each cause."""
        if (key := signature(cause)) not in self._told and len(self._told) < TOLD:
            self._told.add(key)
            self._events(Warned(text))

    async def _admitted(self, asked: _Asked) -> tuple[Replica, int]:
        """A server that is up, and a place at it. Clocks are stopped while either is waited for."""
        replica = self._replicas.choose(asked.scope, asked.turn)
        if replica is not None and (place := replica.admission.enter_at_once(asked.scope)) is not None:
            return replica, place
        began = time.monotonic()
        try:
            with asked.payer.paused():
                return await self._in_turn(asked)
        finally:
            asked.waited += time.monotonic() - began

    async def _in_turn(self, asked: _Asked) -> tuple[Replica, int]:
        while True:
            replica = self._replicas.choose(asked.scope, asked.turn)
            if replica is None:
                await self._back_up()
                continue
            place = await replica.admission.enter(asked.turn, asked.scope)
            if replica.down_since is None:
                return replica, place
            replica.admission.leave(place, Handling.OTHER)  # it went down meanwhile
            replica.admission.over(asked.scope)

    async def _back_up(self) -> None:
        try:
            await self._replicas.up(self._outage_seconds)
        except TimeoutError:
            raise ModelUnavailable(
                f"{self._replicas.outage}, for more than {self._outage_seconds:g} s; "
                "check that it is running and what it logs"
            ) from None

    def _end(self, failure: RequestFailure, asked: _Asked) -> ModelError:
        """The error that a failure which did not heal is to the attempts that asked."""
        ends, never = failure.treatment.ends, not self._proven(asked)
        if ends is Ends.CONTEXT_LIMIT:
            return ContextExceeded(str(failure))
        if failure.kind in UNPROVEN and never and not asked.turn:
            return ModelRefused(
                f"server {asked.server} has not answered one request: {failure}; check --base-url, whose path mostly "
                "ends in /v1, --model, and what the server logs"
            )
        if ends is Ends.MODEL_FAILED:
            return ModelUnavailable(
                f"server {asked.server} keeps failing: {failure}; check that it is running and what it logs"
            )
        gone = failure.kind is Kind.NOT_FOUND and (failure.cause is Cause.FIELDS or not self._refusals.proven)
        if failure.kind in (Kind.FORBIDDEN, Kind.NOT_FOUND) and self._refusals.proven and not gone:
            # The key is good, and the model is there.
            failure = RequestFailure(Kind.BAD_REQUEST, str(failure), cause=failure.cause)
        text = _remedy(asked.server, self.name, failure, self._sampling)
        if ends is Ends.RUN or gone or asked.shared:
            return ModelRefused(text)
        if failure.cause in (Cause.TEXT, Cause.FORM) and not (asked.turn and never):
            what = "what it says" if failure.cause is Cause.TEXT else "its form"
            return Rejected(
                f"server {asked.server} accepts other conversations and not this one, for {what}: {failure}"
            )
        # Where no conversation was ever taken beyond its first turn, the server is not suited, whatever models say.
        return ModelUnavailable(text) if asked.turn or self._refusals.proven else ModelRefused(text)

    async def close(self) -> None:
        await self._replicas.close()


@dataclass(slots=True)
class _Asked:
    """A reply that is asked for, however many requests that takes."""

    body: dict[str, Any]
    turn: int
    scope: AttemptScope
    payer: Payer
    joined: Callable[[], Sequence[AttemptScope]]
    server: str = ""  # the last one that was asked
    failure: Kind | None = None  # the last one
    in_a_row: int = 0  # how often it failed in that way
    hollows: int = 0
    shared: bool = False  # whether several attempts wait for the answers to it
    waited: float = 0.0  # seconds for a place, or for a server to come back
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began - self.waited

    def failed(self, failure: RequestFailure) -> None:
        """Note how it failed."""
        self.in_a_row = self.in_a_row + 1 if failure.kind is self.failure else 1
        self.hollows += failure.kind is Kind.HOLLOW
        self.failure = failure.kind


def _may_heal(error: BaseException) -> bool:
    return isinstance(error, RequestFailure) and error.treatment.retry is not Retry.NEVER


def _remedy(server: str, model: str, failure: RequestFailure, sampling: Mapping[str, Any] | None = None) -> str:
    """What a person can do about a request that will never succeed."""
    if failure.kind is Kind.QUOTA:
        return (
            f"server {server} wants to be paid first ({failure}); pay, or raise its limit, or give another key in "
            "OPENAI_API_KEY or the variable that --api-key-env names; then the same command goes on"
        )
    if failure.kind in (Kind.KEY, Kind.FORBIDDEN) or KEY.search(str(failure)):
        return (
            f"server {server} refuses the key ({failure}); set OPENAI_API_KEY, or name its variable with --api-key-env"
        )
    said = str(failure)
    if failure.kind is Kind.NOT_FOUND:
        hints = ["check --model and --base-url"]
        if TOOLS.search(said.replace(model, "")):  # a gateway that finds no server with tools for the model
            hints.append(NO_TOOLS)
        return "; ".join([f"server {server} does not know model {model!r} or this path ({failure})", *hints])
    named = [name for name in sampling or () if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said)]
    wanted = [name for name in OPTIONS if name not in named and re.search(rf"(?<!\w){name}\W+[^.;]*{WANTED}", said)]
    hints = [f"give {OPTIONS[name]}" for name in wanted]
    hints += [f"correct or leave out {OPTIONS.get(name, f'{name} in --extra-body')}" for name in named]
    if TOOLS.search(said):
        hints.append(NO_TOOLS)
    return "; ".join([f"server {server} refuses the request with {failure}", *hints])
