"""The servers behind one model: which of them a request goes to, and which of them are up.

An issue has a home server, so that its prompt is in one prefix cache. An attempt stays on the server where it began,
because its conversation is cached there. The home moves when it is clearly busier than another server; an attempt moves
only when its server is down. A server is down when it cannot be reached, or when nothing but failures has come from it
for a while. It is then probed until it answers, and gets no requests meanwhile. When all servers are down, requests
wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from agent.agent import AttemptScope
from agent.models.admission import Admission, Handling
from agent.models.faults import Load, RequestFailure
from agent.models.http import HttpError, HttpTransport
from agent.models.model import ModelRefused
from agent.models.vllm_metrics import steer
from envs.events import Sink, Status

__all__ = ["Replica", "Replicas"]

FAILING_SECONDS = 10.0  # nothing but failures for so long: down
PROBE_SECONDS = 20.0  # for one probe
PROBE_EVERY = (0.5, 15.0)  # first, and at most
# A home is left when it has more requests in flight than this sum of a constant and a multiple of the least busy one's.
SLACK, TIMES = 8, 1.5

HANDLING = {Load.FULL: Handling.REFUSED, Load.STALLED: Handling.STALLED}


class Replica:
    """One server: its connection, its admission control, and whether it is up."""

    def __init__(
        self, transport: HttpTransport, changed: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.transport, self.admission = transport, Admission()
        self.down_since: float | None = None
        self.cause = ""
        self._changed, self._clock = changed, clock
        self._failing_since: float | None = None
        self._probing: asyncio.Task[None] | None = None
        self._steering: asyncio.Task[None] | None = None

    def steer(self) -> None:
        """Let the server's own metrics adjust the admission limit."""
        self._steering = self._steering or asyncio.create_task(steer(self.admission, self.transport))

    def answered(self, place: int) -> None:
        """An answer came back, usable or not: the server is up."""
        self._failing_since = None
        self.admission.leave(place, Handling.ANSWERED)

    def failed(self, place: int, failure: RequestFailure) -> None:
        """Note a failure, which may mean that the server is down."""
        load, now = failure.treatment.load, self._clock()
        self.admission.leave(place, HANDLING.get(load, Handling.OTHER))
        if load not in (Load.DOWN, Load.FAILING):
            self._failing_since = None
            return
        self._failing_since = self._failing_since or now
        if self.down_since is None and (load is Load.DOWN or now - self._failing_since >= FAILING_SECONDS):
            self.down_since, self.cause = now, str(failure)
            self._probing = asyncio.create_task(self._until_up())
            self._changed()

    async def _until_up(self) -> None:
        wait, most = PROBE_EVERY
        while self.down_since is not None:
            await asyncio.sleep(wait)
            wait = min(wait * 2, most)
            try:
                alive = (await self.transport.get("/models", PROBE_SECONDS)).status < 500
            except (HttpError, ModelRefused):
                alive = False
            if alive:
                self.down_since = self._failing_since = None
        self._changed()

    async def close(self) -> None:
        for task in (self._probing, self._steering):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        await self.transport.close()


class Replicas:
    """All servers of a model. `events` gets a status when one goes down, and an empty one when all are up again."""

    def __init__(self, transports: Sequence[HttpTransport], events: Sink) -> None:
        self.all = [Replica(transport, self._changed) for transport in transports]
        self._events = events
        self._up = asyncio.Event()
        self._up.set()
        self._homes: dict[str, Replica] = {}
        self._places: dict[AttemptScope, Replica] = {}

    def choose(self, scope: AttemptScope, turn: int) -> Replica | None:
        """Where the attempt's next request goes; None while no server is up."""
        up = [replica for replica in self.all if replica.down_since is None]
        if not up or len(self.all) == 1:
            return up[0] if up else None
        here = self._places.get(scope) if turn else self._homes.get(scope.spec.task)
        least_busy = min(up, key=lambda replica: replica.admission.in_flight + replica.admission.waiting)
        if here is None or here.down_since is not None or (not turn and _overloaded(here, least_busy)):
            here = least_busy
        if not turn:
            self._homes[scope.spec.task] = here
        return here

    def settle(self, admitted: AttemptScope, scopes: Sequence[AttemptScope], here: Replica) -> None:
        """Keep these attempts at one server until they end; `admitted` entered on behalf of all of them."""
        if admitted not in scopes:
            here.admission.cache.leave(admitted)
        for scope in scopes:
            here.admission.cache.enter(scope)
            before = self._places.get(scope)
            self._places[scope] = here
            if before is None:
                scope.cleanup.callback(self._over, scope)
            elif before is not here:
                before.admission.over(scope)

    def _over(self, scope: AttemptScope) -> None:
        if here := self._places.pop(scope, None):
            here.admission.over(scope)

    async def up(self, patience: float) -> None:
        """Wait until one is up. Raises `TimeoutError` when none has been up for `patience` seconds."""
        since = max((replica.down_since or 0.0 for replica in self.all), default=0.0)
        async with asyncio.timeout(max(0.0, since + patience - time.monotonic())):
            await self._up.wait()

    @property
    def outage(self) -> str:
        """The servers that are down and why, in one line."""
        down = [replica for replica in self.all if replica.down_since is not None]
        return "; ".join(f"server {replica.transport.name} is down ({replica.cause})" for replica in down)

    async def close(self) -> None:
        for replica in self.all:
            await replica.close()

    def _changed(self) -> None:
        down = [replica for replica in self.all if replica.down_since is not None]
        if len(down) < len(self.all):
            self._up.set()
        else:
            self._up.clear()
        then = "its attempts go elsewhere" if self._up.is_set() else "the run waits and goes on once it is back"
        self._events(Status(f"{self.outage}: {then}" if down else ""))


def _overloaded(here: Replica, least_busy: Replica) -> bool:
    mine, least = here.admission, least_busy.admission
    return here is not least_busy and (mine.waiting > 0 or mine.in_flight > SLACK + TIMES * least.in_flight)
