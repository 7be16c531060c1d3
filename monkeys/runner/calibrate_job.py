"""Finding out how far tests can be trusted: a task's known solution and the empty patch, each run several times.

Each run is written to a journal beside the calibration as it ends, under a key of all that
bears on it, and never made again: a killed calibration goes on, and more repeats add to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import statistics
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from envs import SandboxError
from monkeys.runner.calibration import Calibrated, Calibration, CalibrationError, Runs
from monkeys.runner.circuit_breaker import CircuitBreaker
from monkeys.runner.interruption import run_to_the_end
from monkeys.runner.task_group import task_group
from tasks import Task, TaskSet, load_tasks
from tasks.swe.cached_verifier import place_of, verdict_key
from tasks.swe.grading import GraderFailed
from tasks.swe.verify import Execution, PatchVerifier

if TYPE_CHECKING:
    from rich.console import Console

    from monkeys.runner.resources import ResourceSpec, RunResources

__all__ = ["REPEATS", "Repetition", "calibrate"]

REPEATS = 11  # as often as the paper ran the tests of each issue
KINDS = ("gold", "empty")
TRIES = 3
FAILED = "a run of tests failed"


@dataclass(frozen=True, slots=True)
class Repetition:
    """One run of a task's tests on its gold or its empty patch, as the journal keeps it."""

    key: str
    task: str
    patch: str
    resolved: bool
    reason: str
    seconds: float
    tests: Mapping[str, str]


class Journal:
    """Repetitions in a file, a line for each, written as they end. One writer. Raises `CalibrationError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = path.open("a+b", buffering=0)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise CalibrationError(f"{path} is being written by another process; wait, or give another --out") from None
        except OSError as error:
            raise CalibrationError(f"{path} cannot be written ({error.strerror}); give another --out") from None
        self.rows = list(self._read())

    def _read(self) -> Iterator[Repetition]:
        self._file.seek(0)
        whole = self._file.read()
        if whole and not whole.endswith(b"\n"):  # its writer was killed in the middle of a line
            self._file.truncate(whole.rfind(b"\n") + 1)
        for line in whole.split(b"\n")[:-1]:
            try:
                yield Repetition(**json.loads(line))
            except (ValueError, TypeError):
                raise CalibrationError(f"{self.path} is no journal of a calibration; give another --out") from None

    def add(self, row: Repetition) -> None:
        try:
            self._file.write(json.dumps(asdict(row)).encode() + b"\n")
        except OSError as error:
            raise CalibrationError(
                f"{self.path} cannot be written ({error.strerror}); what it holds is kept: free some space and go on"
            ) from None
        self.rows.append(row)

    def close(self) -> None:
        self._file.close()


def calibrate(
    spec: str,
    *,
    ids: Sequence[str] = (),
    repeats: int = REPEATS,
    out: Path | None = None,
    venue: ResourceSpec,
    seconds: float,
    console: Console,
    as_json: bool = False,
) -> int:
    """Run what is missing, write the calibration to `out` and show it. Returns the exit code.

    Raises `TaskError`, `SandboxError`, `CalibrationError` and `RunStopped`.
    """
    tasks = load_tasks(spec)
    if ids:
        tasks = tasks.select(list(ids))
    path = out or Path(f"{Path(tasks.name).name}.calibration.json")
    journal = Journal(path.with_name(f"{path.name}.runs.jsonl"))
    try:
        found = run_to_the_end(_calibrate(tasks, repeats, journal, venue, seconds))
    except KeyboardInterrupt:
        print("interrupted: all runs that ended are kept; give the same command again to go on", file=sys.stderr)
        return 130
    finally:
        journal.close()
    _write(path, found.to_json())
    if as_json:
        print(found.to_json())
    else:
        _show(found, path, console)
    return 0


async def _calibrate(
    tasks: TaskSet, repeats: int, journal: Journal, venue: ResourceSpec, seconds: float
) -> Calibration:
    from monkeys.runner.resources import Reports, open_resources

    async with open_resources(tasks, venue, seconds=seconds) as court:
        if isinstance(court.pool.backend, Reports):
            court.pool.backend.progress = _say
        verifier = PatchVerifier(court.pool, court.grader, court.limits, seconds=seconds, workers=venue.workers)
        keys = {}
        for task in tasks.tasks:
            place = await place_of(court.pool, task)
            for kind in KINDS:
                patch = _patch(task, kind)
                keys[task.id, kind] = verdict_key(task, patch, place=place, limits=court.limits, seconds=seconds)
        work = _Repeater(court, verifier, journal, keys, repeats)
        await work.run(venue.workers)
        by_key = defaultdict(list)
        for row in journal.rows:
            by_key[row.key].append(row)
        return Calibration(
            tasks=tasks.name,
            sandbox=court.pool.name,
            repeats_made=repeats,
            issues={
                task.id: _judge(task, *(by_key[keys[task.id, kind]][:repeats] for kind in KINDS))
                for task in tasks.tasks
            },
            limits=asdict(court.limits),
            verify_seconds=seconds,
        )


class _Repeater:
    """Runs what the journal lacks, task by task, several at once, and tells of each task that is done."""

    def __init__(
        self,
        court: RunResources,
        verifier: PatchVerifier,
        journal: Journal,
        keys: Mapping[tuple[str, str], str],
        repeats: int,
    ) -> None:
        self._verifier, self._journal, self._keys = verifier, journal, keys
        self._incidents = CircuitBreaker()
        there = Counter(row.key for row in journal.rows)
        self._left = Counter[str]()
        self._slots: deque[tuple[Task, str]] = deque()
        for task in court.tasks.tasks:
            for kind in KINDS:
                missing = max(0, repeats - there[keys[task.id, kind]])
                self._slots.extend([(task, kind)] * missing)
                self._left[task.id] += missing
        self._total, self._began = len(self._slots), time.monotonic()

    async def run(self, workers: int) -> None:
        async with task_group() as group:
            for _ in range(min(workers, len(self._slots))):
                group.create_task(self._work())

    async def _work(self) -> None:
        while self._slots:
            task, kind = self._slots.popleft()
            done = await self._one(task, kind)
            grade = done.grade
            key = self._keys[task.id, kind]
            resolved = grade.resolved and not grade.reason
            self._journal.add(Repetition(key, task.id, kind, resolved, grade.reason, done.seconds, grade.tests))
            self._left[task.id] -= 1
            if not self._left[task.id]:
                self._tell(task)

    async def _one(self, task: Task, kind: str) -> Execution:
        for tried in range(TRIES + 1):
            try:
                done = await self._verifier.execute(task, _patch(task, kind))
            except (SandboxError, GraderFailed) as error:
                self._incidents.failed(FAILED, f"{task.id}: {error}", max(1, len(self._slots)))
                if tried == TRIES:
                    raise CalibrationError(
                        f"the tests of {task.id} could not be run, time and again: {error}. What was run is kept; "
                        "mend the cause and give the same command again"
                    ) from None
                continue
            self._incidents.worked()
            return done
        raise AssertionError("the last try returns or raises")

    def _tell(self, task: Task) -> None:
        from monkeys.text import duration

        left = sum(self._left.values())
        spent = time.monotonic() - self._began
        ahead = f", about {duration(spent * left / (self._total - left))} left" if left else ""
        _say(f"{task.id}: done; {self._total - left} of {self._total} runs{ahead}")


def _say(line: str) -> None:
    if line:
        print(line, file=sys.stderr, flush=True)


def _patch(task: Task, kind: str) -> bytes:
    return task.patch.encode() if kind == "gold" else b""


def _judge(task: Task, gold: Sequence[Repetition], empty: Sequence[Repetition]) -> Calibrated:
    flaky: dict[str, dict[str, dict[str, int]]] = {}
    for kind, rows in zip(KINDS, (gold, empty), strict=True):
        for test, seen in _statuses(rows).items():
            if len(seen) > 1:
                flaky.setdefault(test, {})[kind] = dict(seen)
    against = Counter(row.reason or "some expected tests do not pass" for row in gold if not row.resolved)
    # Runs that the gold patch lost tell nothing of how long it takes, unless it lost them all.
    seconds = [row.seconds for row in gold if row.resolved] or [row.seconds for row in gold]
    return Calibrated(
        id=task.id,
        digest=task.digest,
        gold=_runs(gold),
        empty=_runs(empty),
        flaky=flaky,
        seconds_median=statistics.median(seconds),
        seconds_max=max(seconds),
        reason=against.most_common(1)[0][0] if against else "",
    )


def _statuses(rows: Iterable[Repetition]) -> dict[str, Counter[str]]:
    """How often each test had which status. Of a run without any, as one that was cut short, no test is told."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for test, status in row.tests.items():
            seen[test][status] += 1
    return seen


def _runs(rows: Sequence[Repetition]) -> Runs:
    return Runs(len(rows), sum(row.resolved for row in rows))


# What is shown


def _write(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(f"{text}\n", "utf-8")
        os.replace(part, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()


def _show(found: Calibration, path: Path, console: Console) -> None:
    from rich.padding import Padding

    from monkeys.report.terminal.final_screen import columns, name
    from monkeys.text import plain, put, several, span

    table = columns("<issue", "gold", "empty", "median", "longest", "may take", "<found")
    for row in found.issues.values():
        said, hue = _said(row)
        table.add_row(
            name(row.id),
            f"{row.gold.resolved}/{row.gold.runs}",
            f"{row.empty.resolved}/{row.empty.runs}",
            span(row.seconds_median),
            span(row.seconds_max),
            span(found.seconds(row.id, found.verify_seconds)),
            name(said, hue),
        )
    rows = found.issues.values()
    counts: list[tuple[str, Callable[[Calibrated], bool]]] = [
        ("broken", lambda row: row.broken),
        ("weak", lambda row: row.weak),
        ("unsteady", lambda row: row.unsteady),
    ]
    told = ", ".join(f"{sum(map(is_so, rows))} {word}" for word, is_so in counts)
    put(console, [Padding(table, (1, 1, 1, 1)), f" {several(len(rows), 'issue')}: {told}"])
    for row in rows:
        for test, kinds in row.flaky.items():
            seen = "; ".join(
                f"{kind} {', '.join(f'{status} {number}' for status, number in statuses.items())}"
                for kind, statuses in kinds.items()
            )
            put(console, [f" flaky: {plain(row.id)} {plain(test)} ({plain(seen)})"])
    times = f"{found.multiple:g} times the longest run of the gold patch, at least {found.least_seconds:g} s"
    put(console, [f" a run may take {times}", f" {plain(str(path))}, for --calibration", ""])


def _said(row: Calibrated) -> tuple[str, str]:
    if row.broken:
        return f"broken: {row.reason}", "red"
    if row.weak:
        return "weak: the empty patch passes", "red"
    if row.flaky:
        return f"flaky: {len(row.flaky)} of its tests", "yellow"
    return ("flaky as a whole", "yellow") if row.unsteady else ("", "")
