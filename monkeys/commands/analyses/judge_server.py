"""The server of a judge or a reward model, behind the connection that the models of runs have.

Guarantees: a fault is treated as `agent.models.faults` says, and sent again for `retry_seconds` at most; a request that
is refused is written as the server wants it (`agent.models.refusals`); what is left is a `JudgeError` with the
server's words and what would help. Secrets are removed from all that the server says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from agent.agent import AttemptScope, AttemptSpec
from agent.models.answers import read_replies
from agent.models.faults import Kind, RequestFailure, Retry, connection_failure, refusal
from agent.models.http import Answer, HttpError, HttpTransport
from agent.models.model import ModelRefused, Reply
from agent.models.refusals import Refusals, Refused
from agent.models.server_quirks import ServerQuirks
from envs.events import Sink, Warned, ignore
from monkeys.science.selection.judging import JudgeError

__all__ = ["JudgeServer"]

CHECK_SECONDS = 20.0
LONGEST_BACKOFF = 10.0
CHAT = "/chat/completions"


class JudgeServer:
    """Any OpenAI-compatible server, as a context manager.

    `base_url` ends in `/v1`; paths other than chat completions are at the root, without `/v1`, as in vLLM.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None,
        api_key: str | None,
        *,
        request_seconds: float = 120.0,
        retry_seconds: float = 60.0,
        backoff_seconds: float = 0.5,
        events: Sink = ignore,
    ) -> None:
        self.model, self._transport = model, HttpTransport(base_url, api_key)
        self._request_seconds, self._retry_seconds = request_seconds, retry_seconds
        self._backoff_seconds, self._events = backoff_seconds, events
        self._refusals = Refusals(ServerQuirks())

    async def __aenter__(self) -> JudgeServer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    async def check(self) -> None:
        """Send one cheap request, once, before any question. Raises `JudgeError` where no server answers."""
        try:
            await self._transport.get("/models", CHECK_SECONDS)  # a server without that page may answer questions
        except HttpError as error:
            raise self._lost(error) from None
        except ModelRefused as error:
            raise JudgeError(str(error)) from None

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The decoded answer. Raises `JudgeError`."""
        import tenacity

        backoff = tenacity.wait_random_exponential(multiplier=self._backoff_seconds, max=LONGEST_BACKOFF)

        def wait(state: tenacity.RetryCallState) -> float:
            failure = state.outcome.exception() if state.outcome else None
            after = failure.after if isinstance(failure, RequestFailure) else 0.0
            return min(max(backoff(state), after), self._retry_seconds)

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_may_heal),
            wait=wait,
            stop=tenacity.stop_after_delay(self._retry_seconds),
            reraise=True,
        )
        try:
            return json.loads(await retrying(self._chat if path == CHAT else self._scores, path, dict(body)))
        except RequestFailure as failure:
            if failure.kind is Kind.UNREACHABLE:
                raise self._lost(failure) from None
            raise JudgeError(
                f"{self._transport.name}{path} does not answer for model {self.model!r}: {failure}; check the model, "
                "the path and the key"
            ) from None
        except ModelRefused as error:
            raise JudgeError(str(error)) from None
        except ValueError as error:
            raise JudgeError(f"{self._transport.name}{path} does not answer with JSON ({error})") from None

    async def _chat(self, path: str, body: dict[str, Any]) -> str:
        """The text of a completion, however the server wants to be asked for it."""
        said: dict[int, bytes] = {}

        async def send(written: dict[str, Any]) -> list[Reply]:
            answer = _accepted(await self._transport.post(path, written, self._request_seconds))
            replies = read_replies(answer.content)
            self._refusals.accepted(written)
            said[id(replies)] = answer.content
            return replies

        def tell(line: str) -> None:
            self._events(Warned(f"{self._transport.name}: {line}"))

        payer = AttemptScope(AttemptSpec("judge", 0, 0))
        try:
            replies = await self._refusals.answered(Refused(body, send, payer, tell))
        except HttpError as error:
            raise connection_failure(error) from None
        return said[id(replies)].decode("utf-8", "replace")

    async def _scores(self, path: str, body: dict[str, Any]) -> str:
        try:
            answer = await self._transport.post(path, body, self._request_seconds, beside=True)
        except HttpError as error:
            raise connection_failure(error) from None
        return _accepted(answer).content.decode("utf-8", "replace")

    def _lost(self, error: Exception) -> JudgeError:
        return JudgeError(
            f"server {self._transport.name} cannot be reached ({error}); check --base-url and that it is running"
        )


def _accepted(answer: Answer) -> Answer:
    """The answer, if its status is good. Raises `RequestFailure`."""
    if not 200 <= answer.status < 300:
        raise refusal(answer)
    return answer


def _may_heal(error: BaseException) -> bool:
    if not isinstance(error, RequestFailure) or error.kind is Kind.UNREACHABLE:  # nothing waits for it to come back
        return False
    return error.treatment.retry is not Retry.NEVER
