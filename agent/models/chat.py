"""Any OpenAI-compatible chat-completions server.

Guarantees: retries only what can heal (see `FAULTS`), tells apart a server that failed
(`ModelUnavailable`, an infra error) from a request that can never succeed
(`ModelRefused`, which stops the run), and counts the tokens of every answer, also of one
that turns out to be unusable. The `openai` package carries the requests; answers are read
as plain JSON, for parsing them into its classes costs more CPU than all the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent.models.model import Call, ContextExceeded, ModelError, ModelRefused, ModelUnavailable, Reply
from agent.trajectory import Message, Usage

if TYPE_CHECKING:
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

__all__ = ["ChatModel"]

# HTTP status -> can it heal by itself? What is not named here follows its class: 4xx no, 5xx yes.
FAULTS = {408: True, 409: True, 425: True, 429: True, 501: False, 505: False}
CONTEXT_WORDS = (
    "context length",
    "context_length",
    "context window",
    "maximum context",
    "too many tokens",
    "prompt is too long",
)
NO_KEY = "none"  # servers without authentication take any


class ChatModel:
    """The model `name` behind `base_url`. `sampling` are further body fields (temperature, top_p, max_tokens, ...)."""

    def __init__(
        self,
        name: str,
        base_url: str | None,
        api_key: str | None,
        sampling: Mapping[str, Any],
        *,
        request_seconds: float = 600.0,
        retry_seconds: float = 300.0,
    ) -> None:
        self.name = name
        self._base_url, self._api_key, self._sampling = base_url, api_key or NO_KEY, dict(sampling)
        self._request_seconds, self._retry_seconds = request_seconds, retry_seconds
        self._client: AsyncOpenAI | None = None

    def _connected(self) -> AsyncOpenAI:
        if self._client is None:
            import openai  # half a second, and only served models need it

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

        if not (self._base_url or "").startswith("http://"):
            return None
        return openai.DefaultAsyncHttpxClient(verify=False, base_url=self._base_url, timeout=self._request_seconds)

    @property
    def _server(self) -> str:
        return self._base_url or "the default OpenAI endpoint"

    async def check(self) -> None:
        """One cheap request before anything is sampled. Raises `ModelRefused` with the remedy."""
        import openai

        client = self._connected()
        try:
            await client.get("/models", cast_to=object, options={"timeout": 20.0})
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

        body = {
            "model": self.name,
            "messages": messages,
            "tools": tools,
            "seed": call.seed & 0x7FFFFFFF,
            **self._sampling,
        }
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_Healable),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=30),
            stop=tenacity.stop_after_delay(self._retry_seconds),
            reraise=True,
        )
        try:
            return await retrying(self._request, body)
        except _Healable as error:
            raise ModelUnavailable(f"server {self._server} keeps failing: {error}") from None

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
        return _read(response)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None


class _Healable(ModelError):
    """A fault that may be gone on the next try."""


def _status_fault(server: str, model: str, error: Any) -> ModelError:
    status, text = error.status_code, _said(error)
    if status in (401, 403):
        return ModelRefused(_key_message(server, error))
    if status == 404:
        return ModelRefused(
            f"server {server} does not know model {model!r} or this path ({text}); check --model and --base-url"
        )
    if status in (400, 413, 422) and any(word in text.lower() for word in CONTEXT_WORDS):
        return ContextExceeded(text)
    if FAULTS.get(status, status >= 500):
        return _Healable(f"HTTP {status}: {text}")
    return ModelRefused(f"server {server} refuses the request with HTTP {status}: {text}")


def _key_message(server: str, error: Any) -> str:
    said = f"HTTP {error.status_code}: {_said(error)}"
    return f"server {server} refuses the key ({said}); set OPENAI_API_KEY, or name its variable with --api-key-env"


def _said(error: Any) -> str:
    """What the server wrote, in one short line."""
    body = error.body if isinstance(error.body, dict) else {}
    inner = body.get("error", body)
    text = inner.get("message") if isinstance(inner, dict) else inner
    return " ".join(str(text or error.message).split())[:300]


def _cause(error: BaseException) -> str:
    cause = error.__cause__ or error
    return f"{type(cause).__name__}: {cause}".rstrip(": ")


def _read(response: Any) -> Reply:
    """An answer as a `Reply`. Raises `_Healable` when it is none."""
    try:
        data = json.loads(response.content)
        choice = data["choices"][0]
        message = choice["message"]
        message["role"] = "assistant"
    except (ValueError, LookupError, TypeError) as error:
        start = response.content[:120].decode("utf-8", "replace")
        raise _Healable(f"the answer is no chat completion ({type(error).__name__}: {error}): {start!r}") from None
    for key in [key for key, value in message.items() if value is None and key != "content"]:
        del message[key]
    return Reply(message, _usage(data.get("usage")), str(choice.get("finish_reason") or ""))


def _usage(usage: Any) -> Usage:
    if not isinstance(usage, dict):
        return Usage()
    prompt, completion = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    return Usage(
        prompt=int(usage.get("prompt_tokens") or 0),
        completion=int(usage.get("completion_tokens") or 0),
        cached=int(prompt.get("cached_tokens") or 0),
        reasoning=int(completion.get("reasoning_tokens") or 0),
    )
