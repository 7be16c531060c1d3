"""The servers behind one model: which of them a request goes to, and whether they are there.

An issue has a home, so that its prompt is in one server's prefix cache; an attempt stays
where it began, for its whole conversation is. The home moves when it has clearly more to do
than another; an attempt moves only when its server is down. A server that cannot be reached,
or from which nothing but failures came for a while, is down: it is asked for a sign of life
until it gives one, and meanwhile gets no requests. When all are down, requests wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from agent.models.admission import Admission, Handling
from agent.models.faults import Load, RequestFailure
from agent.models.http import HttpError, HttpTransport
from agent.models.model import Call, ModelRefused
from agent.models.vllm_metrics import steer

__all__ = ["Replica", "Replicas"]

FAILING_SECONDS = 10.0  # nothing but failures for so long: down
SIGN_SECONDS = 20.0  # for one sign of life
ASK_EVERY = (0.5, 15.0)  # first, and at most
# A home is left when it has this many more in flight than the calmest, times as many.
SLACK, TIMES = 8, 1.5

FATES = {Load.FULL: Handling.REFUSED, Load.STALLED: Handling.STALLED}


class Replica:
    """One server: its connection, its door, and whether it is up."""

    def __init__(
        self, wire: HttpTransport, changed: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.wire, self.admission = wire, Admission()
        self.down_since: float | None = None
        self.cause = ""
        self._changed, self._clock = changed, clock
        self._failing_since: float | None = None
        self._asking: asyncio.Task[None] | None = None
        self._steering: asyncio.Task[None] | None = None

    def steer(self) -> None:
        """By the server's own gauges, for it has some."""
        self._steering = self._steering or asyncio.create_task(steer(self.admission, self.wire))

    def answered(self, place: int) -> None:
        """An answer came back, of whatever use: the server is there."""
        self._failing_since = None
        self.admission.leave(place, Handling.ANSWERED)

    def failed(self, place: int, trouble: RequestFailure) -> None:
        load, now = trouble.treatment.load, self._clock()
        self.admission.leave(place, FATES.get(load, Handling.OTHER))
        if load not in (Load.DOWN, Load.FAILING):
            self._failing_since = None
            return
        self._failing_since = self._failing_since or now
        if self.down_since is None and (load is Load.DOWN or now - self._failing_since >= FAILING_SECONDS):
            self.down_since, self.cause = now, str(trouble)
            self._asking = asyncio.create_task(self._until_up())
            self._changed()

    async def _until_up(self) -> None:
        wait, most = ASK_EVERY
        while self.down_since is not None:
            await asyncio.sleep(wait)
            wait = min(wait * 2, most)
            try:
                alive = (await self.wire.get("/models", SIGN_SECONDS)).status < 500
            except (HttpError, ModelRefused):
                alive = False
            if alive:
                self.down_since = self._failing_since = None
        self._changed()

    async def close(self) -> None:
        for task in (self._asking, self._steering):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        await self.wire.close()


class Replicas:
    """All of them. `tell` gets one line when one goes down, and an empty one when all are up again."""

    def __init__(self, wires: Sequence[HttpTransport], tell: Callable[[str], None]) -> None:
        self.all = [Replica(wire, self._changed) for wire in wires]
        self._tell = tell
        self._up = asyncio.Event()
        self._up.set()
        self._homes: dict[str, Replica] = {}
        self._places: dict[Call, Replica] = {}

    def choose(self, call: Call, turn: int) -> Replica | None:
        """Where the attempt's next request goes; None while no server is up."""
        up = [replica for replica in self.all if replica.down_since is None]
        if not up or len(self.all) == 1:
            return up[0] if up else None
        here = self._places.get(call) if turn else self._homes.get(call.task)
        calmest = min(up, key=lambda replica: replica.admission.in_flight + replica.admission.waiting)
        if here is None or here.down_since is not None or (not turn and _overloaded(here, calmest)):
            here = calmest
        if not turn:
            self._homes[call.task] = here
        return here

    def settle(self, asked: Call, calls: Sequence[Call], here: Replica) -> None:
        """These attempts are at this one from now on, until they are over; `asked`, who was let in, spoke for them."""
        if asked not in calls:
            here.admission.cache.leave(asked)
        for call in calls:
            here.admission.cache.enter(call)
            before = self._places.get(call)
            self._places[call] = here
            if before is None:
                call.over.callback(self._over, call)
            elif before is not here:
                before.admission.over(call)

    def _over(self, call: Call) -> None:
        if here := self._places.pop(call, None):
            here.admission.over(call)

    async def up(self, patience: float) -> None:
        """Until one is up. Raises `TimeoutError` when none has been for `patience` seconds."""
        since = max((replica.down_since or 0.0 for replica in self.all), default=0.0)
        async with asyncio.timeout(max(0.0, since + patience - time.monotonic())):
            await self._up.wait()

    @property
    def outage(self) -> str:
        """Who is down and why, in one line."""
        down = [replica for replica in self.all if replica.down_since is not None]
        return "; ".join(f"server {replica.wire.name} is down ({replica.cause})" for replica in down)

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
        self._tell(f"{self.outage}: {then}" if down else "")


def _overloaded(here: Replica, calmest: Replica) -> bool:
    mine, least = here.admission, calmest.admission
    return here is not calmest and (mine.waiting > 0 or mine.in_flight > SLACK + TIMES * least.in_flight)
