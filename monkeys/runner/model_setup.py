"""Who answers in a run, and what stands behind: a server of the run's own, a recording, what tokens cost.

Guarantees: what cannot work together (a scaffold that the model cannot use, a limit in dollars
without prices, a recording that lacks attempts) is refused before anything is sampled; a
server of our own is up for as long as `served` lasts, and is gone after it.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.models import BUILT_IN, Model, make_model
from agent.models.recorded import Recorded
from agent.scaffolds import Scaffold, Unsuited, make_scaffold
from agent.servers import make_server
from monkeys.pricing.prices import PriceError, Quote, find_quote, how_to_price, served_at
from monkeys.runner.progress import Progress
from monkeys.runner.recording import Recording
from monkeys.runner.settings import Settings
from monkeys.runner.task_group import task_group
from monkeys.store import Store
from tasks import TaskSet

if TYPE_CHECKING:
    from agent.servers.server import Server

__all__ = ["ModelSetup"]

SERVED_WORKERS = 64
SERVER_LOG = "server.log"  # in the run's folder


class ModelSetup:
    """Chosen by `settings`, which a recording may complete: read them from here.

    Raises `StoreError`, `ModelRefused`, `Unsuited` and `PriceError`.
    """

    def __init__(self, settings: Settings) -> None:
        self.recording = None if settings.base_url else Recording.named(settings.model, settings.runs)
        self.settings = _as_recorded(settings, self.recording) if self.recording else settings
        self.scaffold = _scaffold(self.settings, recorded=self.recording is not None)
        self.server: Server | None = None
        self.quote: Quote | None = None

    def model(self, tasks: TaskSet) -> Model:
        """Who answers, not yet asked."""
        settings, recording = self.settings, self.recording
        if recording is not None:
            recording.require(tasks, settings.attempts)
            return Recorded(recording.name, recording, strict=settings.replay_strict)
        self.server = make_server(
            settings.model,
            settings.serve,
            served=bool(settings.base_url),
            tools=self.scaffold.form == "native",
            seed=settings.seed,
        )
        self.quote = self._priced()
        return make_model(
            settings.model,
            tasks,
            base_url=self.server.url if self.server else settings.base_url,
            api_key=None if self.server else os.environ.get(settings.api_key_env),
            sampling={**self.scaffold.body, **self.sampling},
            scheduled=settings.scheduled,
            reasoning=settings.reasoning,
            first_turns=settings.first_turns,
            request_seconds=settings.request_seconds,
            outage_seconds=settings.outage_seconds,
        )

    async def close(self) -> None:
        if self.recording is not None:
            self.recording.close()
        if self.server is not None:
            await self.server.stop()

    @property
    def sampling(self) -> dict[str, Any]:
        return {**self.scaffold.sampling, **self.settings.sampling}

    @property
    def workers(self) -> int:
        """Attempts at once."""
        usual = (os.cpu_count() or 2) + 1
        if self.server is not None:
            usual = self.server.spec.at_once
        elif self.settings.base_url:
            usual = SERVED_WORKERS
        return self.settings.workers or usual

    @property
    def memory_mb(self) -> int:
        """Of this machine, for the server."""
        return self.server.spec.memory_mb if self.server else 0

    @property
    def seeds(self) -> Callable[[str, int], int] | None:
        """The attempts' seeds, where they are given."""
        return self.recording.seed if self.recording else None

    def config(self) -> dict[str, Any]:
        """What the attempts of a run have in common: who answers, what is asked, what may be done."""
        settings = self.settings
        return {
            "sampling": self.sampling,
            "scaffold": self.scaffold.name,
            "actions": self.scaffold.form,
            "prompts": dict(self.scaffold.texts),
            "tools": list(self.scaffold.tools),
            **({"served": dict(self.server.spec.config)} if self.server else {}),
            **({"recording": {**self.recording.identity, "strict": settings.replay_strict}} if self.recording else {}),
            **({"reasoning": settings.reasoning} if settings.reasoning != "keep" else {}),
            **({"first_turns": settings.first_turns} if settings.first_turns > 1 else {}),
        }

    def environment(self) -> dict[str, Any]:
        """What may change from one session to the next, for answers do not depend on it."""
        return {
            **({"server": {"kind": self.server.spec.what, **self.server.spec.environment}} if self.server else {}),
            **({"prices": self.quote.record()} if self.quote else {}),
        }

    def lines(self, store: Store, tasks: TaskSet) -> list[str]:
        """What a person should know at the start."""
        lines = []
        if self.server:
            spec = self.server.spec
            lines += [f"{spec.what} is started for {spec.model}; its log: {store.folder / SERVER_LOG}", *spec.notes]
        if self.quote:
            lines.append(f"prices {self.quote}")
        elif not self._own:
            lines.append(f"{how_to_price(self.settings.model)}; there is no money in this run's report")
        if self.recording and (unlike := self.recording.differences(tasks, store.config)):
            lines.append(f"replayed unlike it was recorded: {', '.join(unlike)}")
        return lines

    @asynccontextmanager
    async def served(self, model: Model, store: Store, progress: Progress) -> AsyncIterator[None]:
        """The server of our own, if there is one, for as long as the block lasts. Raises `ServerLost`."""
        if self.server is None:
            yield
            return
        from agent.servers.server import serving

        self.server.tell = lambda text: setattr(progress, "note", text)
        async with serving(self.server, store.folder / SERVER_LOG), task_group() as group:
            await model.check()
            progress.began = time.monotonic()  # the pace is that of sampling
            keeping = group.create_task(self.server.keep())
            yield
            keeping.cancel()

    @property
    def _own(self) -> bool:
        """Nobody sends a bill for it."""
        kinds = {name.partition(":")[0] for name in BUILT_IN}
        built_in = not self.settings.base_url and self.settings.model.partition(":")[0] in kinds
        return built_in or self.server is not None

    def _priced(self) -> Quote | None:
        """What the model's tokens cost. Raises `PriceError` where a limit needs to know and nobody says."""
        settings = self.settings
        urls = () if self._own else served_at(settings.base_url)
        quote = find_quote(settings.model, urls, settings.prices)
        limits = {"--max-cost": settings.spend.dollars, "--max-attempt-cost": settings.attempt.dollars}
        if quote is None and (named := [name for name, limit in limits.items() if limit not in (None, math.inf)]):
            raise PriceError(f"{named[0]} cannot be kept: {how_to_price(settings.model)}")
        return quote


def _as_recorded(settings: Settings, recording: Recording) -> Settings:
    """The settings of a replay: what they leave to the record is taken from it."""
    left, config = settings.as_recorded, recording.config
    found = {name: config[name] for name in ("tasks", "scaffold", "actions") if name in left and name in config}
    if found.get("scaffold", settings.scaffold) != "tools":
        found["actions"] = "native"  # others have a form of their own, under whose name it was recorded
    ids = settings.ids
    if "ids" in left and found.get("tasks", settings.tasks) == config.get("tasks"):
        ids = tuple(config.get("ids", ()))
    limits = {name: value for name, value in config.get("attempt_limits", {}).items() if name in left}
    return replace(
        settings,
        **found,
        ids=ids,
        attempt=replace(settings.attempt, **limits),
        attempts=(recording.attempts(ids) or settings.attempts) if "attempts" in left else settings.attempts,
    )


def _scaffold(settings: Settings, *, recorded: bool) -> Scaffold:
    """Raises `Unsuited` for one that the model cannot use."""
    try:
        scaffold = make_scaffold(settings.scaffold, settings.actions)
    except ValueError as error:
        raise Unsuited(str(error)) from None
    if not recorded and not settings.base_url and settings.model.startswith(("monkey", "replay:")):
        if scaffold.name != "tools":
            raise Unsuited(f"model {settings.model} works with the tools; leave out --scaffold {scaffold.name}")
        if scaffold.form != "native":
            raise Unsuited(f"model {settings.model} calls tools natively; leave out --actions {scaffold.form}")
    return scaffold
