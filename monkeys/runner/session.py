"""One session of a run: its workers, its store, its verify queue and its events, opened and closed together.

Sampling, verifying and calibrating are jobs on top of it. Guarantees: whatever ends a session, its end is noted in the
store, the store is closed after everything that writes to it, and the workers end last.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent.agents import AGENTS
from agent.feedback import FEEDBACK
from agent.models.sources import MODELS
from envs import SANDBOXES
from monkeys.events import Recorded, RunBegan, SessionEnded, Sink, ignore
from monkeys.executors import EXECUTORS, Executor, WorkerFacts
from monkeys.runner.circuit_breaker import CircuitBreaker
from monkeys.runner.environment import environment
from monkeys.runner.signal import Signal
from monkeys.runner.verify_queue import VerifyQueue
from monkeys.spec import SessionOptions, TaskOptions
from monkeys.store import Store, find_same, run_folder
from monkeys.strategies import STRATEGIES
from tasks import TaskSet, load_tasks
from tasks.suites import SUITES

__all__ = ["STEM", "Session", "load_chosen", "open_session", "run_stem"]

REGISTRIES = (SANDBOXES, SUITES, AGENTS, MODELS, FEEDBACK, STRATEGIES, EXECUTORS)
STEM = 80  # characters of a run's name before its digest


class Session:
    """`executor` is started, and `facts` are those of its workers. `note` is how the session ended."""

    def __init__(self, executor: Executor, facts: WorkerFacts, events: Sink) -> None:
        self.executor, self.facts, self.events = executor, facts, events
        self.breaker, self.changed = CircuitBreaker(), Signal()
        self.note = "stopped"
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """The run, once it is open."""
        if self._store is None:
            raise ValueError("open the store first")
        return self._store

    def open_store(
        self,
        options: SessionOptions,
        stem: str,
        config: Mapping[str, Any],
        tasks: TaskSet,
        more: Mapping[str, Any] | None = None,
    ) -> Store:
        """Open the run that the options name, or else the one of this configuration, new if there is none.

        `more` is kept with the session besides its environment. Raises `StoreError`.
        """
        folder = self.folder(options, stem, config, tasks)
        self._store = Store.write(folder, config, tasks, {**environment(self.facts), **(more or {})})
        return self._store

    def reopen_store(
        self, folder: Path, config: Mapping[str, Any], tasks: TaskSet, more: Mapping[str, Any] | None = None
    ) -> Store:
        """Open the run in `folder` to add to it; `more` is as in `open_store`. Raises `StoreError`."""
        self._store = Store.write(folder, config, tasks, {**environment(self.facts), **(more or {})})
        return self._store

    @staticmethod
    def folder(options: SessionOptions, stem: str, config: Mapping[str, Any], tasks: TaskSet) -> Path:
        """Where a run of this configuration is kept: the same configuration goes on with the same run."""
        if options.run:
            return run_folder(options.runs, options.run)
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
        stem = run_stem(stem)
        named = options.runs / f"{stem}-{digest}"
        if (named / "run.sqlite").is_file():
            return named
        return find_same(options.runs, stem, config, tasks) or named

    def verify_queue(self, *, at_once: int, retries: int, workers: int = 1) -> VerifyQueue:
        """The queue of this session's verifications; see `VerifyQueue`."""
        return VerifyQueue(
            self.store,
            self.executor,
            self.breaker,
            at_once=at_once,
            retries=retries,
            workers=workers,
            changed=self.changed,
            events=self.events,
        )

    def tell_began(self, title: str, tasks: TaskSet, attempts: int, lines: list[str], warnings: list[str]) -> None:
        """Tell that the session begins, and what the run holds already."""
        ids = tuple(task.id for task in tasks.tasks)
        told = (*filter(None, warnings), *(line for registry in REGISTRIES for line in registry.replaced))
        self.events(RunBegan(self.store.folder.name, ids, attempts, title, tuple(lines), told))
        for tally in self.store.tallies():
            if tally.task in ids:
                sampled = tally.resolved + tally.unresolved + tally.unverified
                self.events(Recorded(tally.task, sampled, tally.resolved, tally.unresolved, tally.infra))

    def close(self) -> None:
        """Note the end in the store, and close it."""
        if self._store is None:
            return
        try:
            self._store.end_session(self.note)
            self.events(SessionEnded(self._store.folder.name, self.note))
        finally:
            self._store.close()


def run_stem(text: str) -> str:
    """The beginning of a run's name, made of characters that such a name may have."""
    return re.sub(r"[^\w.]", "-", text, flags=re.ASCII)[:STEM].strip("-.")


@asynccontextmanager
async def open_session(executor: Executor, events: Sink = ignore) -> AsyncIterator[Session]:
    """A session on `executor`, which is started now and closed at the end. Raises what keeps it from starting."""
    try:
        session = Session(executor, await executor.start(), events)
        try:
            yield session
        finally:
            session.close()
    finally:
        await executor.close()


def load_chosen(options: TaskOptions) -> TaskSet:
    """The tasks that the options choose. Raises `TaskError` and `UnknownName`."""
    tasks = load_tasks(options.set, options.suite)
    return tasks.select(list(options.ids)) if options.ids else tasks
