"""The interface for Python: runs and single attempts, in a script or in a notebook.

Every function takes the options of `python -m agent.swe` as keywords, with underscores for dashes: `max_turns=4`. Each
has a form for `await`. The plain forms work in a notebook too, where a loop is running already: the work then has a
loop of its own in another thread.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from agent.trajectory import Trajectory
from envs.errors import MonkeysError
from envs.events import Sink, ignore
from monkeys.events import JsonLines
from monkeys.runner.sample_job import open_worker, sample_run
from monkeys.spec import ConfigError, RunSpec
from monkeys.spec.build import from_values
from monkeys.spec.nearest import did_you_mean
from monkeys.spec.option import places
from monkeys.store import Store, find_run
from tasks.task import Verdict

if TYPE_CHECKING:
    import numpy as np
    import pandas
    from numpy.typing import NDArray

    from monkeys.formats.counts import Counts

__all__ = [
    "AttemptResult",
    "Coverage",
    "MonkeysError",
    "Run",
    "attempt",
    "attempt_async",
    "open_run",
    "run",
    "run_async",
]

T = TypeVar("T")
Events: TypeAlias = Sink | str | Path
# Sections and options of a run that mean nothing to one attempt.
ALONE = {"budget", "executor", "session", "strategy", "tasks.attempts", "tasks.ids"}


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """One attempt. `verdict` is None where it was not verified."""

    trajectory: Trajectory
    verdict: Verdict | None

    @property
    def resolved(self) -> bool:
        return self.verdict is not None and self.verdict.resolved


@dataclass(frozen=True, slots=True)
class Coverage:
    """Coverage (pass@k) over k, as arrays that run in parallel: shares of tasks in [0, 1].

    `low` and `high` are NaN where there is no interval; `interval` says what the interval is.
    """

    k: NDArray[np.int64]
    coverage: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    interval: str

    def frame(self) -> pandas.DataFrame:
        """The arrays as columns of a pandas frame. Raises `MonkeysError` where pandas is not installed."""
        return _pandas().DataFrame({"k": self.k, "coverage": self.coverage, "low": self.low, "high": self.high})


@dataclass(frozen=True, slots=True)
class Run:
    """A run on disk.

    `stopped` is the limit at which sampling was stopped, empty if it was not. `given_up` attempts failed on our side
    again and again; the same call makes them.
    """

    folder: Path
    stopped: str = ""
    given_up: int = 0

    def counts(self) -> Counts:
        """Attempts and resolved attempts of each task. Raises `CountsError`."""
        from monkeys.formats.counts import read_counts

        return read_counts(self.folder)[0]

    def coverage(self, ks: Sequence[int] | None = None) -> Coverage:
        """Coverage at each k, or at the usual ones, with its interval.

        The estimator is the one that holds for the strategy of the run. Raises `CountsError` and `CoverageError`.
        """
        import numpy as np

        from monkeys.formats.counts.curves import curve_of

        curve = curve_of(self.counts().sampled(), ks)
        return Coverage(
            k=np.array(curve.ks, np.int64),
            coverage=np.array(curve.coverage, np.float64),
            low=np.array(curve.low, np.float64),
            high=np.array(curve.high, np.float64),
            interval=curve.interval,
        )

    def attempts(self) -> list[dict[str, Any]]:
        """A row for every try of an attempt, infra errors included, in the order of tasks and indices."""
        store = Store.read(self.folder)
        try:
            return [
                {
                    "task": row.task,
                    "index": row.index,
                    "outcome": None if row.outcome is None else str(row.outcome),
                    "exit": str(row.exit),
                    "turns": row.turns,
                    "prompt_tokens": row.usage.prompt,
                    "completion_tokens": row.usage.completion,
                    "seconds": row.seconds,
                    "seed": row.seed,
                    "submission": store.submission(row).body,
                }
                for row in store.attempts()
            ]
        finally:
            store.close()

    def frame(self) -> pandas.DataFrame:
        """`attempts` as a pandas frame. Raises `MonkeysError` where pandas is not installed."""
        return _pandas().DataFrame(self.attempts())


def run(*, events: Events = ignore, **options: Any) -> Run:
    """Sample a run, or go on with it: `run(tasks="quick", attempts=20)`.

    `events` is called with every event of the run, or names a file to which they are appended as JSON lines.

    Raises a `MonkeysError` for everything that a person can mend; what was recorded until then is kept.
    """
    return _wait(run_async(events=events, **options))


async def run_async(*, events: Events = ignore, **options: Any) -> Run:
    """As `run`, for `await`."""
    with _sink(events) as sink:
        end = await sample_run(_spec(options), sink)
    return Run(end.folder, end.stopped, end.given_up)


def attempt(task: str, index: int = 0, *, events: Events = ignore, **options: Any) -> AttemptResult:
    """Make attempt `index` at one task and verify it, without a store: `attempt("quick__ledger-1")`.

    It is the attempt that a run with these options makes at this index. Raises a `MonkeysError`.
    """
    return _wait(attempt_async(task, index, events=events, **options))


async def attempt_async(task: str, index: int = 0, *, events: Events = ignore, **options: Any) -> AttemptResult:
    """As `attempt`, for `await`."""
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise ConfigError(f"an attempt's index is a whole number from 0, not {index!r}")
    spec = _spec(options)
    if without := sorted(path for path in spec.given if path in ALONE or path.split(".")[0] in ALONE):
        raise ConfigError(f"{without[0]} means nothing to a single attempt; leave it out, or use `run`")
    tasks = replace(spec.tasks, ids=(task,), attempts=index + 1)
    spec = replace(spec, tasks=tasks, given=spec.given | {"tasks.ids", "tasks.attempts"})
    with _sink(events) as sink:
        return await _attempt(spec, task, index, sink)


async def _attempt(spec: RunSpec, task: str, index: int, events: Sink) -> AttemptResult:
    async with open_worker(spec, events) as (worker, spec_of):
        trajectory = await worker.attempt(worker.scope(spec_of(task, index)))
        if (waiting := asyncio.current_task()) and waiting.cancelling():
            raise asyncio.CancelledError  # which the attempt took to salvage what there is
        verify = spec.verify.enabled and not trajectory.exit.infra
        return AttemptResult(trajectory, await worker.verify(task, trajectory.submission) if verify else None)


def open_run(run: str | Path, runs: str | Path = "runs") -> Run:
    """The run of this name in `runs`, or in this folder. Raises `NotFound`."""
    return Run(find_run(Path(runs), str(run)))


@contextmanager
def _sink(events: Events) -> Iterator[Sink]:
    if callable(events):
        yield events
        return
    with JsonLines(Path(events)) as sink:
        yield sink
    if sink.failure:
        warnings.warn(f"not all events were written to {events} ({sink.failure.strerror})", stacklevel=2)


def _spec(options: dict[str, Any]) -> RunSpec:
    """The specification with these options, by their names on the command line. Raises `ConfigError`.

    An option that denies, as `no_verify` does, has its opposite too: `verify=False`.
    """
    paths = {}
    for place in places(RunSpec):
        name = place.option.name.replace("-", "_")
        paths[name] = place, place.option.negative
        if place.option.negative:
            paths[name.removeprefix("no_")] = place, False
    values = {}
    for name, value in options.items():
        if name not in paths:
            raise ConfigError(f"there is no option {name}{did_you_mean(name, paths)}")
        place, denied = paths[name]
        values[place.path] = not value if denied else value
    return from_values(RunSpec, values)


def _wait(work: Coroutine[Any, Any, T]) -> T:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    return _Elsewhere(work).result()


class _Elsewhere(Generic[T]):
    """Work in a thread with a loop of its own. What interrupts the waiting thread cancels the work, then waits."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self._begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = Future()

    def result(self) -> T:
        with ThreadPoolExecutor(1, thread_name_prefix="monkeys") as thread:
            done = thread.submit(asyncio.run, self._main())
            try:
                return done.result()
            except BaseException:
                if not done.done():
                    loop, task = self._begun.result()
                    loop.call_soon_threadsafe(task.cancel)
                raise

    async def _main(self) -> T:
        task = asyncio.current_task()
        assert task is not None
        self._begun.set_result((asyncio.get_running_loop(), task))
        return await self._work


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise MonkeysError("a frame needs pandas: pip install pandas; `attempts` and `coverage` do without") from None
    return pandas
