"""The engine behind the `docker` back end: calls to it that do not block, and patience while it is away.

An engine that is stopped and started again costs whoever waits for it some time, no more:
`patiently` does the work anew once it answers. One that stays away stops the run.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from envs.docker.stream import Refusal, attach, attach_exec, ping
from envs.sandbox import SandboxLost, SandboxUnavailable

if TYPE_CHECKING:
    import docker
    from docker.api import APIClient

__all__ = ["Engine", "EngineAway", "EngineRefused"]

T = TypeVar("T")

PATIENCE_SECONDS = 120.0
TIMEOUT_SECONDS = 120.0  # of one call: an engine on a slow disk takes its time to start many containers
PING_SECONDS = 10.0
LONGEST_PAUSE = 5.0
THREADS = 12  # so many calls at once; pulls are among them


class EngineAway(SandboxLost):
    """The engine did not answer, or not in time."""


class EngineRefused(SandboxLost):
    """The engine answered that it cannot. `status` is that of HTTP."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


class Engine:
    """One engine. `patience` is how many seconds it may stay away; `sleep` is a test's to replace."""

    def __init__(
        self, patience: float = PATIENCE_SECONDS, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self.patience, self._sleep = patience, sleep
        self.version = ""
        self._client: docker.DockerClient | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="docker")

    @property
    def client(self) -> docker.DockerClient:
        assert self._client is not None, "connect first"
        return self._client

    @property
    def api(self) -> APIClient:
        return self.client.api

    async def connect(self) -> docker.DockerClient:
        """Find the engine. Raises `SandboxUnavailable`, without patience."""
        from envs.docker.images import connect

        self._client = client = await self._run(functools.partial(connect, TIMEOUT_SECONDS))
        try:
            self.version = (await self.call(client.version))["Version"]
        except SandboxLost as error:
            raise SandboxUnavailable(f"the Docker engine does not answer ({error}); start it again") from None
        return client

    async def call(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Call the SDK in a thread. Raises `EngineAway` or `EngineRefused`."""
        from docker.errors import APIError, DockerException
        from requests import RequestException
        from urllib3.exceptions import HTTPError

        try:
            return await self._run(functools.partial(function, *arguments, **named))
        except APIError as error:
            raise EngineRefused(brief(error), error.status_code) from None
        except (DockerException, RequestException, HTTPError) as error:
            raise EngineAway(f"the engine does not answer ({brief(error)})") from None

    async def _run(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    def later(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call it in a thread, some time before `close` is done; nobody hears what comes of it."""
        self._threads.submit(function, *arguments)

    async def attach(self, container: str, protocol: asyncio.Protocol) -> None:
        """Give the stream of a container to `protocol`. Raises `EngineAway` or `EngineRefused`."""
        await self._speak(attach(container, self.api.api_version, protocol), TIMEOUT_SECONDS)

    async def attach_exec(self, number: str, protocol: asyncio.Protocol) -> None:
        """Start an exec and give its stream to `protocol`. Raises `EngineAway`."""
        await self._speak(attach_exec(number, self.api.api_version, protocol), TIMEOUT_SECONDS)

    async def _ping(self) -> None:
        await self._speak(ping(), PING_SECONDS)

    async def _speak(self, words: Awaitable[None], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await words
        except Refusal as error:
            raise EngineRefused(brief(error), error.status) from None
        except OSError as error:
            raise EngineAway(f"the engine does not answer ({brief(error) or f'for {seconds:.0f} s'})") from None

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` gives; where it fails because the engine is away, once more when the engine is back.

        Raises what `work` does, and `SandboxUnavailable` once patience is at its end.
        """
        try:
            return await work()
        except EngineAway:
            pass
        except (SandboxLost, SandboxUnavailable):  # its own fault, or may the engine be going away in this moment?
            try:
                await self._ping()
            except EngineAway:
                pass
            else:
                raise
        await self._back()
        return await work()

    async def _back(self) -> None:
        """Wait until the engine answers."""
        from tenacity import AsyncRetrying, RetryError, retry_if_exception_type, wait_exponential

        waiting = AsyncRetrying(
            retry=retry_if_exception_type(SandboxLost),
            wait=wait_exponential(0.1, LONGEST_PAUSE),
            stop=lambda state: state.idle_for + state.upcoming_sleep > self.patience,
            sleep=self._sleep,
        )
        try:
            await waiting(self._ping)
        except RetryError as error:
            raise SandboxUnavailable(
                f"the Docker engine has been away for {self.patience:.0f} s ({error.last_attempt.exception()}); "
                "start it and run the same command again, which goes on where this run ended"
            ) from None

    async def close(self) -> None:
        """Wait for what is left to do and hang up. Idempotent."""
        await asyncio.to_thread(self._threads.shutdown)
        if self._client is not None:
            self._client.close()
            self._client = None


def brief(error: BaseException) -> str:
    """One line of what the engine said."""
    return " ".join(str(getattr(error, "explanation", None) or error).split())[:300]
