"""Any OpenAI-compatible chat-completions server.

Guarantees: retries only what can heal (see `FAULTS`) and no sooner than the server asks
for, tells apart a server that failed (`ModelUnavailable`, an infra error) from a request
that can never succeed (`ModelRefused`, which stops the run), and counts the tokens of
every answer, also of one that turns out to be unusable. The `openai` package carries the
requests; answers are read as plain JSON, for parsing them into its classes costs more CPU
than all the rest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agent.models.model import Call, ContextExceeded, ModelError, ModelRefused, ModelUnavailable, Reply
from agent.trajectory import Message, Usage

if TYPE_CHECKING:
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

__all__ = ["ChatModel"]

# HTTP status -> can it heal by itself? What is not named here follows its class: 4xx no, 5xx yes.
FAULTS = {408: True, 409: True, 425: True, 429: True, 501: False, 505: False}
# How servers say that a conversation is too long for the model; some say it with a 500.
CONTEXT_STATUS = (400, 413, 422, 500)
CONTEXT_WORDS = (
    "context length",
    "context_length",
    "context limit",
    "context size",
    "context window",
    "input token count",
    "max_model_len",
    "max_new_tokens` must be <=",
    "maximum context",
    "maximum model length",
    "prompt is too long",
    "too many tokens",
)
NO_KEY = "none"  # servers without authentication take any


class ChatModel:
    """The model `name` behind `base_url`. `sampling` are further body fields (temperature, top_p, max_tokens, ...).

    One request may be silent for `request_seconds`; a failed one is tried again, first after about
    `backoff_seconds`, until `retry_seconds` have passed since the first try.
    """

    def __init__(
        self,
        name: str,
        base_url: str | None,
        api_key: str | None,
        sampling: Mapping[str, Any],
        *,
        request_seconds: float = 600.0,
        retry_seconds: float = 300.0,
        backoff_seconds: float = 0.5,
    ) -> None:
        self.name = name
        self._base_url, self._api_key, self._sampling = base_url, (api_key or "").strip() or NO_KEY, dict(sampling)
        self._request_seconds, self._retry_seconds = request_seconds, retry_seconds
        self._backoff_seconds = backoff_seconds
        self._client: AsyncOpenAI | None = None

    def _connected(self) -> AsyncOpenAI:
        if self._client is None:
            import openai  # half a second, and only served models need it

            if not (self._api_key.isascii() and self._api_key.isprintable()):
                raise ModelRefused(
                    "the key holds characters that no key has; "
                    "set OPENAI_API_KEY, or name its variable with --api-key-env"
                )
            if self._base_url is not None and not _is_address(self._base_url):
                raise ModelRefused(
                    f"{self._base_url!r} is no address of a server; "
                    "give --base-url the like of http://127.0.0.1:8000/v1"
                )
            self._client = openai.AsyncOpenAI(
                base_url=self._base_url,
                api_key=self._api_key,
                max_retries=0,  # tenacity retries, by one table
                timeout=self._request_seconds,
                http_client=self._http_client(),
            )
        return self._client

    def _http_client(self) -> DefaultAsyncHttpxClient | None:
        """A client that loads no certificates where none are asked for: 70 ms, and local servers speak plain HTTP."""
        import openai

        url = self._base_url or ""
        if not url.startswith("http://"):
            return None
        return openai.DefaultAsyncHttpxClient(verify=False, base_url=url, timeout=self._request_seconds)

    @property
    def _server(self) -> str:
        return self._base_url or "the default OpenAI endpoint"

    async def check(self) -> None:
        """One cheap request before anything is sampled. Raises `ModelRefused` with the remedy."""
        import openai

        client = self._connected()
        try:
            await client.get("/models", cast_to=openai.HttpxBinaryResponseContent, options={"timeout": 20.0})
        except openai.APIConnectionError as error:
            raise ModelRefused(
                f"server {self._server} cannot be reached ({_cause(error)}); check --base-url and that it is running"
            ) from None
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise ModelRefused(_key_message(self._server, error)) from None
        except openai.APIStatusError:
            pass  # a server without that page may well answer chat completions

    async def reply(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, call: Call) -> Reply:
        import tenacity

        body = {"model": self.name, "messages": messages, "seed": call.seed & 0x7FFFFFFF, **self._sampling}
        if tools:  # an empty list is refused by some servers
            body["tools"] = tools
        backoff = tenacity.wait_random_exponential(multiplier=self._backoff_seconds, max=30)
        spent = Usage()  # on answers that were unusable

        def wait(state: tenacity.RetryCallState) -> float:
            """As long as the server asks for, if it does; but the last try is made when the time is up."""
            nonlocal spent
            fault = state.outcome.exception() if state.outcome else None
            assert isinstance(fault, _Healable)
            spent += fault.usage
            left = self._retry_seconds - (state.seconds_since_start or 0.0)
            return max(0.0, min(max(backoff(state), fault.after), left))

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_Healable),
            wait=wait,
            stop=tenacity.stop_after_delay(self._retry_seconds),
            reraise=True,
        )
        try:
            reply: Reply = await retrying(self._request, body)
        except _Healable as error:
            raise ModelUnavailable(
                f"server {self._server} keeps failing: {error}; check that it is running and what it logs"
            ) from None
        except _RequestRefused as error:
            if any(message["role"] == "assistant" for message in messages):
                raise ModelUnavailable(str(error)) from None
            raise
        return replace(reply, usage=reply.usage + spent) if spent.total else reply

    async def _request(self, body: dict[str, Any]) -> Reply:
        import openai

        try:
            response = await self._connected().post(
                "/chat/completions", body=body, cast_to=openai.HttpxBinaryResponseContent
            )
        except openai.APIStatusError as error:
            raise _status_fault(self._server, self.name, error) from None
        except openai.APIConnectionError as error:
            raise _Healable(_cause(error)) from None
        return _read(response.content)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None


class _RequestRefused(ModelRefused):
    """This request as it stands, whose history the model wrote itself: another attempt's may be taken."""


class _Healable(ModelError):
    """A fault that may be gone on the next try, `after` seconds if the server said so; `usage` is what it cost."""

    def __init__(self, text: str, *, after: float = 0.0, usage: Usage | None = None) -> None:
        super().__init__(text)
        self.after, self.usage = after, usage or Usage()


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _status_fault(server: str, model: str, error: Any) -> ModelError:
    status, text = error.status_code, _said(error)
    if status in (401, 403):
        return ModelRefused(_key_message(server, error))
    if status == 404:
        return ModelRefused(
            f"server {server} does not know model {model!r} or this path ({text}); check --model and --base-url"
        )
    whole = f"{error.body} {error.message}".lower()
    if status == 413 or (status in CONTEXT_STATUS and any(word in whole for word in CONTEXT_WORDS)):
        return ContextExceeded(text)
    if FAULTS.get(status, status >= 500):
        return _Healable(f"HTTP {status}: {text}", after=_retry_after(error.response.headers.get("retry-after", "")))
    return _RequestRefused(f"server {server} refuses the request with HTTP {status}: {text}")


def _retry_after(text: str) -> float:
    """Seconds, from the header of that name: a number or a date."""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _key_message(server: str, error: Any) -> str:
    said = f"HTTP {error.status_code}: {_said(error)}"
    return f"server {server} refuses the key ({said}); set OPENAI_API_KEY, or name its variable with --api-key-env"


def _said(error: Any) -> str:
    """What the server wrote, in one short line."""
    said = error.body
    for key in ("error", "message"):
        if isinstance(said, dict):
            said = said.get(key) or said
    return " ".join(str(said or error.message).split())[:300]


def _cause(error: BaseException) -> str:
    cause = error.__cause__ or error
    return " ".join(f"{type(cause).__name__}: {cause}".split()).rstrip(": ")


def _read(content: bytes) -> Reply:
    """An answer as a `Reply`. Raises `_Healable` when it is none."""
    text, usage = content.decode("utf-8", "replace"), Usage()  # a token may end in the middle of a character
    try:
        data = json.loads(text)
        usage = _usage(data)
        choice = data["choices"][0]
        message = choice["message"]
        message["role"] = "assistant"
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        why = f"the answer is no chat completion ({type(error).__name__}: {error}): {text[:120]!r}"
        raise _Healable(why, usage=usage) from None
    for key in [key for key, value in message.items() if value is None and key != "content"]:
        del message[key]
    return Reply(message, usage, str(choice.get("finish_reason") or ""))


def _usage(data: Any) -> Usage:
    def count(*path: str) -> int:
        value = data
        for key in ("usage", *path):
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, int) else 0

    return Usage(
        prompt=count("prompt_tokens"),
        completion=count("completion_tokens"),
        cached=count("prompt_tokens_details", "cached_tokens"),
        reasoning=count("completion_tokens_details", "reasoning_tokens"),
    )
