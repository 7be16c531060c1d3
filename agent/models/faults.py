"""The faults of a server and how each is treated: one table, `TREATMENTS`.

A fault has a kind. Its treatment says whether the request is sent again and when, whether its tokens are paid for, what
it ends if it does not heal, and what it tells about the server's load. Nothing else in the program decides that. An
answer that is odd but usable (no content, broken UTF-8, no usage) has a row too, so that the table is complete: it was
paid for, so it is used and never asked for again.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum, StrEnum
from typing import Any

from agent.models.diagnosis import Cause
from agent.models.http import Answer, BrokenOff, Endless, HttpError, TooSlow, Unreachable
from agent.models.length import says_too_long
from agent.models.model import ModelError
from agent.models.payment import says_unpaid
from agent.trajectory import Usage

__all__ = [
    "TREATMENTS",
    "Billed",
    "Ends",
    "Kind",
    "Load",
    "RequestFailure",
    "Retry",
    "Treatment",
    "connection_failure",
    "refusal",
]


class Kind(StrEnum):
    """The kind of a fault, in the words of the documentation."""

    UNREACHABLE = "connection refused"
    BROKEN_OFF = "connection reset"
    TIME_OUT = "time-out"
    ENDLESS = "answer that never ends"
    CONTEXT = "400 or another status for a context too long"
    BAD_REQUEST = "400 or another 4xx"
    KEY = "401"
    QUOTA = "402, or another status for lack of credit"
    FORBIDDEN = "403"
    NOT_FOUND = "404 model or path"
    REQUEST_TIME_OUT = "408"
    CONFLICT = "409"
    TOO_LARGE = "413"
    UNPROCESSABLE = "422"
    TOO_EARLY = "425"
    RATE_LIMIT = "429 without Retry-After"
    RATE_LIMIT_TOLD = "429 with Retry-After"
    SERVER_ERROR = "500 or another 5xx"
    NOT_IMPLEMENTED = "501 or 505"
    BAD_GATEWAY = "502"
    UNAVAILABLE = "503"
    GATEWAY_TIME_OUT = "504"
    OVERLOADED = "529, or 503 of an overloaded server"
    HTML = "HTML instead of JSON"
    NO_COMPLETION = "JSON that is not a completion"
    NO_CHOICES = "empty choices"
    FAILED = "an error in an answer with status 200"
    HOLLOW = "empty message without usage"
    NO_CONTENT = "null content"
    UNPARSED = "a reply that the server could not parse"
    BROKEN_UTF8 = "garbage UTF-8"
    NO_USAGE = "usage missing"


class Retry(Enum):
    """Whether and when a request is sent again."""

    NEVER = "never: it cannot heal, or it is an answer"
    BACKOFF = "after a growing, random wait, and no sooner than the server asks for"
    WHEN_BACK = "once the server is back, for which the whole run waits"


class Billed(Enum):
    """Whether its tokens are counted."""

    NO = "nothing was generated"
    AS_TOLD = "as its usage tells, separately from the answer that follows"
    UNTOLD = "the server may have generated; what it does not tell is not counted"


class Ends(Enum):
    """What a fault ends, if it cannot heal or does not in time."""

    NOTHING = "it is an answer"
    CONTEXT_LIMIT = "the attempt, as `context limit`, submission salvaged"
    MODEL_FAILED = "the attempt, as `model failed`: an infra error, filled again"
    RUN = "the run, with the remedy"
    RUN_OR_ATTEMPT = "the run where every request is refused, else the attempt: by what is refused in its conversation"


class Load(Enum):
    """What a fault tells about the server."""

    NOTHING = "nothing"
    FULL = "it is overloaded, and refuses at once"
    STALLED = "it may be overloaded; to find that out cost a whole request"
    FAILING = "it is down, if nothing else comes from it for a while"
    DOWN = "it is down"


@dataclass(frozen=True, slots=True)
class Treatment:
    """One row of the table."""

    retry: Retry
    billed: Billed
    ends: Ends
    load: Load = Load.NOTHING


_HEALS = Treatment(Retry.BACKOFF, Billed.NO, Ends.MODEL_FAILED)
_FULL = Treatment(Retry.BACKOFF, Billed.NO, Ends.MODEL_FAILED, Load.FULL)
_STALLED = Treatment(Retry.BACKOFF, Billed.UNTOLD, Ends.MODEL_FAILED, Load.STALLED)
_FAILING = Treatment(Retry.BACKOFF, Billed.NO, Ends.MODEL_FAILED, Load.FAILING)
_NO_ANSWER = Treatment(Retry.BACKOFF, Billed.AS_TOLD, Ends.MODEL_FAILED)
_STOPS = Treatment(Retry.NEVER, Billed.NO, Ends.RUN)
_REQUEST = Treatment(Retry.NEVER, Billed.NO, Ends.RUN_OR_ATTEMPT)
_TOO_LONG = Treatment(Retry.NEVER, Billed.NO, Ends.CONTEXT_LIMIT)

TREATMENTS: Mapping[Kind, Treatment] = {
    Kind.UNREACHABLE: Treatment(Retry.WHEN_BACK, Billed.NO, Ends.MODEL_FAILED, Load.DOWN),
    Kind.BROKEN_OFF: Treatment(Retry.BACKOFF, Billed.UNTOLD, Ends.MODEL_FAILED),
    Kind.TIME_OUT: _STALLED,
    Kind.ENDLESS: _STALLED,
    Kind.CONTEXT: _TOO_LONG,
    Kind.BAD_REQUEST: _REQUEST,
    Kind.KEY: _STOPS,
    Kind.QUOTA: _STOPS,
    Kind.FORBIDDEN: _REQUEST,
    Kind.NOT_FOUND: _REQUEST,
    Kind.REQUEST_TIME_OUT: _STALLED,
    Kind.CONFLICT: _HEALS,
    Kind.TOO_LARGE: _TOO_LONG,
    Kind.UNPROCESSABLE: _REQUEST,
    Kind.TOO_EARLY: _HEALS,
    Kind.RATE_LIMIT: _FULL,
    Kind.RATE_LIMIT_TOLD: _FULL,
    Kind.SERVER_ERROR: _HEALS,
    Kind.NOT_IMPLEMENTED: _REQUEST,
    Kind.BAD_GATEWAY: _FAILING,
    Kind.UNAVAILABLE: _FAILING,
    Kind.GATEWAY_TIME_OUT: _STALLED,
    Kind.OVERLOADED: _FULL,
    Kind.HTML: _NO_ANSWER,
    Kind.NO_COMPLETION: _NO_ANSWER,
    Kind.NO_CHOICES: _NO_ANSWER,
    Kind.FAILED: _NO_ANSWER,
    Kind.HOLLOW: _NO_ANSWER,
    Kind.NO_CONTENT: Treatment(Retry.NEVER, Billed.AS_TOLD, Ends.NOTHING),
    Kind.UNPARSED: Treatment(Retry.NEVER, Billed.UNTOLD, Ends.NOTHING),
    Kind.BROKEN_UTF8: Treatment(Retry.NEVER, Billed.AS_TOLD, Ends.NOTHING),
    Kind.NO_USAGE: Treatment(Retry.NEVER, Billed.UNTOLD, Ends.NOTHING),
}

STATUS: Mapping[int, Kind] = {
    301: Kind.NOT_FOUND,
    302: Kind.NOT_FOUND,
    303: Kind.NOT_FOUND,
    401: Kind.KEY,
    402: Kind.QUOTA,
    403: Kind.FORBIDDEN,
    404: Kind.NOT_FOUND,
    408: Kind.REQUEST_TIME_OUT,
    409: Kind.CONFLICT,
    413: Kind.TOO_LARGE,
    422: Kind.UNPROCESSABLE,
    424: Kind.SERVER_ERROR,
    425: Kind.TOO_EARLY,
    429: Kind.RATE_LIMIT,
    501: Kind.NOT_IMPLEMENTED,
    502: Kind.BAD_GATEWAY,
    503: Kind.UNAVAILABLE,
    504: Kind.GATEWAY_TIME_OUT,
    505: Kind.NOT_IMPLEMENTED,
    529: Kind.OVERLOADED,
}
CONNECTION: Mapping[type[HttpError], Kind] = {
    Unreachable: Kind.UNREACHABLE,
    BrokenOff: Kind.BROKEN_OFF,
    TooSlow: Kind.TIME_OUT,
    Endless: Kind.ENDLESS,
}
# The statuses with which servers say that a conversation is too long, in words.
CONTEXT_STATUS = (400, 403, 404, 413, 422, 424, 500, 503)
# A 429 for one request that is larger than all that may be asked for in a minute.
ABOVE_RATE = ("request too large", "must be reduced", "prompt is too long", "context length", "context window")
SHOWN, MOST = 300, 4000  # characters of a message
# A 503 of a server that is there and has too much to do, such as a vLLM with --max-num-queued-reqs.
BUSY_WORDS = ("currently busy", "backlog limit", "overloaded")
# A limit of requests in a time, whatever the status.
RATE_STATUS = (400, 403, 500, 503)
RATE_WORDS = (
    *("rate limit", "rate_limit", "ratelimit", "ratequota", "too many requests", "throttl", "requests per "),
    *("速率限制", "请求频率", "频率超", "限流", "并发", "请求过于频繁"),
)
# A 429 that no waiting heals.
QUOTA_WORDS = ("insufficient_quota", "exceeded your current quota", "credit balance")
# The statuses with which servers say that they want to be paid, in words.
UNPAID_STATUS = (400, 401, 403, 404, 422, 424, 429, 500, 503)


class RequestFailure(ModelError):
    """One request failed. `after` how many seconds the server may be asked again; `usage` is what it cost.

    `cause` says what the server refuses in it, where that was found out. `status` is that of the answer, 0 if none.
    """

    def __init__(
        self,
        kind: Kind,
        text: str,
        *,
        after: float = 0.0,
        usage: Usage | None = None,
        cause: Cause | None = None,
        status: int = 0,
    ) -> None:
        super().__init__(text)
        self.kind, self.after, self.usage, self.cause, self.status = kind, after, usage or Usage(), cause, status

    @property
    def treatment(self) -> Treatment:
        return TREATMENTS[self.kind]


def connection_failure(error: HttpError) -> RequestFailure:
    """The fault of a connection."""
    return RequestFailure(CONNECTION[type(error)], str(error))


def refusal(answer: Answer) -> RequestFailure:
    """The fault that an answer with an error status reports."""
    status, body = answer.status, answer.content.decode("utf-8", "replace")
    kind = STATUS.get(status, Kind.SERVER_ERROR if status >= 500 else Kind.BAD_REQUEST)
    whole = body.lower()

    def says(some: tuple[str, ...]) -> bool:
        return any(words in whole for words in some)

    words = _words(body)
    unpaid = status in UNPAID_STATUS and says_unpaid(status, *words)
    if (status in CONTEXT_STATUS and not unpaid and says_too_long(*words)) or (status == 429 and says(ABOVE_RATE)):
        kind = Kind.CONTEXT
    elif unpaid or (status == 429 and says(QUOTA_WORDS)):
        kind = Kind.QUOTA
    elif status in RATE_STATUS and says(RATE_WORDS):
        kind = Kind.RATE_LIMIT
    elif status == 503 and says(BUSY_WORDS):
        kind = Kind.OVERLOADED
    after = _seconds(answer.retry_after)
    if kind is Kind.RATE_LIMIT and after:
        kind = Kind.RATE_LIMIT_TOLD
    said = _said(body)
    return RequestFailure(kind, f"HTTP {status}: {said}" if said else f"HTTP {status}", after=after, status=status)


def _seconds(retry_after: str) -> float:
    """The seconds that a Retry-After header asks for: it holds a number or a date."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return 0.0 if math.isnan(seconds) else max(0.0, seconds)


def _said(body: str) -> str:
    """The server's message in one short line."""
    return _words(body)[0][:SHOWN]


def _words(body: str) -> tuple[str, str]:
    """The server's message in one line, and all that its answer says besides, such as codes."""
    try:
        said = whole = json.loads(body)
    except (ValueError, RecursionError):
        said = whole = body
    if isinstance(said, list) and len(said) == 1:  # as Gemini's server writes it
        said = said[0]
    for key in ("error", "message"):
        if isinstance(said, dict):
            said = said.get(key) or said
    return " ".join(str(said).split())[:MOST], " ".join(" ; ".join(_texts(whole)).split())[:MOST]


def _texts(value: Any) -> Iterator[str]:
    """The texts and numbers in JSON, without the names of its fields."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)
    elif value is not None:
        yield str(value)
