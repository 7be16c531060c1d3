"""Every attempt of a run gets its verdict once, whatever happens to the one who verifies."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agent.trajectory import Exit, Trajectory
from monkeys.runner.circuit_breaker import CircuitBreaker, RunStopped
from monkeys.runner.progress import Progress
from monkeys.runner.task_group import task_group
from monkeys.runner.verify_queue import VerifyQueue
from monkeys.store import Store
from tasks import Outcome, Submission, Task, Verdict, load_tasks

TASKS = load_tasks("quick").select(["quick__tally-1"])
TASK = TASKS.tasks[0]


class Verifier:
    """Resolves patches that say so; fails on each as often as it is told, and counts."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.asked = failures, Counter[bytes]()
        self.active = self.most = 0

    async def verify(self, task: Task, patch: bytes) -> Verdict:
        self.active += 1
        self.most = max(self.most, self.active)
        await asyncio.sleep(0)
        self.active -= 1
        self.asked[patch] += 1
        if self.asked[patch] <= self.failures:
            return Verdict(Outcome.INFRA_ERROR, "the engine is away", {}, 0.0)
        return Verdict(Outcome.RESOLVED if b"good" in patch else Outcome.UNRESOLVED, "", {}, 0.0)


class Case:
    """A run with these patches as attempts, none of which has a verdict."""

    def __init__(self, folder: Path, verifier: Verifier | None, *patches: bytes, **how: Any) -> None:
        self.store = Store.write(folder, {}, TASKS, {})
        there = sum(map(len, self.store.sampled().values()))
        for index, patch in enumerate(patches, there):
            self.store.record_attempt(TASK.id, index, 0, Trajectory(Exit.SUBMITTED, (), (), Submission(patch), 0.0))
        self.progress = Progress.start([TASK.id], len(patches))
        incidents = how.pop("incidents", CircuitBreaker())
        how = {"at_once": 2, "retries": 3, **how}
        self.judging = VerifyQueue(self.store, TASKS, verifier, self.progress, incidents, **how)

    def run(self) -> tuple[int, int]:
        async def main() -> None:
            self.judging.recall()
            async with task_group() as group:
                self.judging.resume(group)

        try:
            asyncio.run(main())
        finally:
            self.store.close()
        return self.counts

    @property
    def counts(self) -> tuple[int, int]:
        row = self.progress.tasks[TASK.id]
        return row.resolved, row.unresolved


def test_equal_patches_share_a_verdict_and_no_more_are_verified_at_a_time_than_told(tmp_path: Path) -> None:
    verifier = Verifier()
    case = Case(tmp_path / "run", verifier, b"good", b"bad", b"good", *(b"bad %d" % n for n in range(9)))
    assert case.run() == (2, 10)
    assert set(verifier.asked.values()) == {1}
    assert verifier.most == 2


def test_what_has_its_verdict_is_counted_and_not_verified_again(tmp_path: Path) -> None:
    Case(tmp_path / "run", Verifier(), b"good", b"bad").run()
    verifier = Verifier()
    case = Case(tmp_path / "run", verifier, b"good", b"new")
    assert case.run() == (2, 2)
    assert verifier.asked == {b"new": 1}


def test_a_failure_of_ours_is_kept_as_evidence_and_the_patch_verified_again(tmp_path: Path) -> None:
    case = Case(tmp_path / "run", Verifier(failures=2), b"good", b"bad")
    assert case.run() == (1, 1)


def test_a_patch_that_can_never_be_verified_stops_the_run_with_its_cause(tmp_path: Path) -> None:
    incidents = CircuitBreaker(clock=iter(range(0, 10**6, 100)).__next__)  # each failure is an incident of its own
    case = Case(tmp_path / "run", Verifier(failures=99), b"good", incidents=incidents)
    with pytest.raises(RunStopped, match=r"a patch of quick__tally-1 could not be verified.*the engine is away"):
        case.run()


def test_without_a_verifier_nothing_is_verified_and_nothing_fails(tmp_path: Path) -> None:
    assert Case(tmp_path / "run", None, b"good").run() == (0, 0)
