"""Calls to a Docker-compatible engine that do not block the event loop, and waiting while the engine is down.

An engine that is restarted costs its callers time and nothing else: `patiently` repeats the work once the engine
answers again. An engine that stays down stops the run.

    SandboxLost
    ├── EngineAway      the engine did not answer, or not in time
    └── EngineRefused   the engine answered with an error
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from envs.docker.client import brief, connect
from envs.docker.stream import AttachRefused, attach, attach_exec, ping
from envs.sandbox import SandboxLost, SandboxUnavailable

if TYPE_CHECKING:
    import docker
    from docker.api import APIClient

__all__ = ["Engine", "EngineAway", "EngineRefused"]

T = TypeVar("T")

PATIENCE_SECONDS = 120.0
TIMEOUT_SECONDS = 120.0  # of one call: an engine on a slow disk needs long to start many containers
PING_SECONDS = 10.0
LONGEST_PAUSE = 5.0
THREADS = 12  # calls in progress at once, pulls included


class EngineAway(SandboxLost):
    """The engine did not answer, or not in time."""


class EngineRefused(SandboxLost):
    """The engine answered with an error. `status` is the HTTP status, where it is known."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


class Engine:
    """One engine. `patience` is how many seconds it may be down; tests replace `sleep`."""

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
        """Connect to the engine, once and without waiting for it. Raises `SandboxUnavailable`."""
        self._client = client = await self._run(functools.partial(connect, TIMEOUT_SECONDS))
        try:
            self.version = (await self.call(client.version))["Version"]
        except SandboxLost as error:
            raise SandboxUnavailable(f"the Docker engine does not answer ({error}); start it again") from None
        return client

    async def call(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Call a function of the SDK in a thread. Raises `EngineAway` or `EngineRefused`."""
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
        """Call a function in a thread, at some time before `close` returns; its result and its errors are dropped."""
        self._threads.submit(function, *arguments)

    async def attach(self, container: str, protocol: asyncio.Protocol) -> None:
        """Connect `protocol` to the stream of a container. Raises `EngineAway` or `EngineRefused`."""
        await self._request(attach(container, self.api.api_version, protocol), TIMEOUT_SECONDS)

    async def attach_exec(self, number: str, protocol: asyncio.Protocol) -> None:
        """Start an exec and connect `protocol` to its stream. Raises `EngineAway` or `EngineRefused`."""
        await self._request(attach_exec(number, self.api.api_version, protocol), TIMEOUT_SECONDS)

    async def _ping(self) -> None:
        await self._request(ping(), PING_SECONDS)

    async def _request(self, request: Awaitable[None], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await request
        except AttachRefused as error:
            raise EngineRefused(brief(error), error.status) from None
        except OSError as error:
            raise EngineAway(f"the engine does not answer ({brief(error) or f'for {seconds:.0f} s'})") from None

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`. Where it fails because the engine is down, it is repeated once the engine is back.

        Raises what `work` raises, and `SandboxUnavailable` if the engine is down for longer than `patience`.
        """
        try:
            return await work()
        except EngineAway:
            pass
        except (SandboxLost, SandboxUnavailable):  # the work's own failure, unless the engine is just going down
            try:
                await self._ping()
            except EngineAway:
                pass
            else:
                raise
        await self._wait_for_answer()
        return await work()

    async def _wait_for_answer(self) -> None:
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
        """Wait for the calls in progress and disconnect. Idempotent."""
        await asyncio.to_thread(self._threads.shutdown)
        if self._client is not None:
            self._client.close()
            self._client = None
