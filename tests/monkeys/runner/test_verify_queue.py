"""Every attempt of a run gets its verdict once, whatever happens to the one who verifies."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.agent import AttemptSpec
from agent.trajectory import Exit, Trajectory, Turn, Usage
from monkeys.events import VerdictProgress
from monkeys.executors import WorkerFacts
from monkeys.runner.circuit_breaker import INCIDENTS_IN_A_ROW, CircuitBreaker, RunStopped
from monkeys.runner.session import Session
from monkeys.runner.task_group import task_group
from monkeys.spec import SessionOptions
from monkeys.store import Store
from tasks import Outcome, Submission, Task, Verdict, load_tasks
from tests.sampling import here

TASKS = load_tasks("quick").select(["quick__tally-1", "quick__stash-1"])
OTHER, TASK = TASKS.tasks


class Verifier:
    """Resolves patches that say so; fails on each as often as it is told, and counts."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.asked = failures, Counter[bytes]()
        self.active = self.most = 0

    async def verify(self, task: Task, submission: Submission) -> Verdict:
        patch = submission.body
        self.active += 1
        self.most = max(self.most, self.active)
        await asyncio.sleep(0)
        self.active -= 1
        self.asked[patch] += 1
        if self.asked[patch] <= self.failures:
            return Verdict(Outcome.INFRA_ERROR, "the engine is away", {}, 0.0)
        return Verdict(Outcome.RESOLVED if b"good" in patch else Outcome.UNRESOLVED, "", {}, 0.0)

    async def close(self) -> None: ...


class Machine(Verifier):
    """Loses its sandbox with every patch that says "evil"; the tests of a task run unless it is `broken`."""

    def __init__(self, *broken: str) -> None:
        super().__init__()
        self.broken, self.probes = broken, 0

    async def verify(self, task: Task, submission: Submission) -> Verdict:
        verdict = await super().verify(task, submission)
        lost = b"evil" in submission.body or task.id in self.broken
        return Verdict(Outcome.INFRA_ERROR, "the sandbox is lost", {}, 0.0) if lost else verdict

    async def probe(self, task: Task) -> str:
        self.probes += 1
        return "no sandbox opens" if task.id in self.broken else ""


class Case:
    """A run with these patches as further attempts, none of which has a verdict."""

    def __init__(
        self,
        folder: Path,
        verifier: Verifier,
        *patches: bytes,
        breaker: CircuitBreaker | None = None,
        first: Sequence[bytes] = (),
        turns: Sequence[bytes] = (),
    ) -> None:
        self.progress = VerdictProgress()
        session = Session(here(TASKS, verifier=verifier), WorkerFacts(), self.progress.take)
        session.breaker = breaker or session.breaker
        store = session.open_store(SessionOptions(runs=folder.parent, run=folder.name), "", {}, TASKS)
        there = sum(map(len, store.sampled().values()))
        for task, given in ((TASK, patches), (OTHER, first)):
            for index, patch in enumerate(given, there):
                taken = tuple(Turn(0, Usage(), 0.0, 0.0, submission=Submission(one)) for one in turns)
                trajectory = Trajectory(Exit.SUBMITTED, (), taken, Submission(patch), 0.0, each_turn=bool(taken))
                store.record_attempt(AttemptSpec(task.id, index, 0), trajectory)
        session.tell_began("", TASKS, there + len(patches), [], [])
        self.session, self.queue = session, session.verify_queue(at_once=2, retries=3)

    def run(self) -> tuple[int, int]:
        """How many attempts are resolved and unresolved in the end."""

        async def main() -> None:
            await self.session.executor.start()
            self.queue.recall()
            async with task_group() as group:
                self.queue.resume(group)
            await self.session.executor.close()

        try:
            asyncio.run(main())
            recorded = Counter(row.outcome for row in self.session.store.attempts(TASK.id))
        finally:
            self.session.close()
        row = self.progress.tasks[TASK.id]
        counts = row.resolved, row.unresolved
        assert counts == (recorded[Outcome.RESOLVED], recorded[Outcome.UNRESOLVED])
        assert self.queue.resolved[TASK.id] == row.resolved
        assert self.queue.idle
        return counts


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


def each_an_incident() -> CircuitBreaker:
    return CircuitBreaker(clock=iter(range(0, 10**6, 100)).__next__)


def test_a_submission_that_cannot_be_verified_is_named_with_its_cause_after_the_others(tmp_path: Path) -> None:
    case = Case(tmp_path / "run", Verifier(failures=5), b"bad", breaker=each_an_incident())
    assert case.run() == (0, 0)
    complaint = "a submission for quick__tally-1 could not be verified after 3 retries: the engine is away. Nothing"
    assert case.queue.unverified.startswith(complaint)


def test_submissions_that_break_their_sandboxes_are_unresolved_and_the_run_goes_on(tmp_path: Path) -> None:
    patches = [b"evil %d" % number for number in range(12)]
    machine = Machine()
    case = Case(tmp_path / "run", machine, *patches, b"good", breaker=each_an_incident())
    assert case.run() == (1, 12)
    assert case.queue.unverified == ""
    assert machine.probes >= 12
    store = Store.read(tmp_path / "run")
    said = {row.reason for row in store.attempts() if row.outcome is Outcome.UNRESOLVED}
    store.close()
    told = "could not be verified 4 times of 4, while the task's tests run without it: the sandbox is lost"
    assert said == {told}


def test_a_task_whose_tests_cannot_run_stops_no_other_task(tmp_path: Path) -> None:
    machine = Machine(OTHER.id)
    first = [b"good %d" % number for number in range(20)]
    case = Case(tmp_path / "run", machine, b"good", b"bad", b"evil", first=first, breaker=each_an_incident())
    assert case.run() == (1, 2)
    assert "20 submissions, the first one for quick__stash-1, could not be verified" in case.queue.unverified


def test_a_machine_on_which_nothing_works_stops_the_run_early(tmp_path: Path) -> None:
    machine = Machine(TASK.id, OTHER.id)
    patches = [b"good %d" % number for number in range(50)]
    case = Case(tmp_path / "run", machine, *patches, first=patches, breaker=each_an_incident())
    with pytest.raises(RunStopped, match="the sandbox is lost"):
        case.run()
    assert machine.asked.total() <= INCIDENTS_IN_A_ROW + 2


# Submissions of turns


class InOrder(Verifier):
    """Keeps the order in which it was asked; one at a time would be asked in the order of the queue."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[bytes] = []

    async def verify(self, task: Task, submission: Submission) -> Verdict:
        self.order.append(submission.body)
        return await super().verify(task, submission)


def test_what_attempts_handed_in_is_verified_before_what_they_had_after_their_turns(tmp_path: Path) -> None:
    verifier = InOrder()
    patches = [f"good {number}".encode() for number in range(6)]
    case = Case(tmp_path / "run", verifier, *patches, turns=[b"half", b"other half", b"good 3"])
    assert case.run() == (6, 0)
    assert sorted(verifier.order[:6]) == patches
    assert verifier.order[6:] == [b"half", b"other half"], "each once, and none that an attempt handed in as well"
    assert (case.progress.turns_queued, case.progress.turns_verified) == (2, 2)


def test_a_submission_of_a_turn_that_is_handed_in_meanwhile_moves_to_the_front(tmp_path: Path) -> None:
    verifier = InOrder()
    case = Case(tmp_path / "run", verifier)

    async def main() -> None:
        await case.session.executor.start()
        async with task_group() as group:
            case.queue.add_turns(group, TASK.id, [Submission(b"turn %d" % number) for number in range(9)])
            await asyncio.sleep(0)
            case.queue.add(group, TASK.id, Submission(b"turn 8"))
            case.queue.add(group, TASK.id, Submission(b"final"))
            assert not case.queue.idle
            await case.queue._changed.until(lambda: case.queue.idle)
            assert len(verifier.order) < 9, "idle once all that was handed in is settled"

    asyncio.run(main())
    case.session.close()
    assert max(verifier.order.index(body) for body in (b"turn 8", b"final")) <= 4, "behind what was under way"
    assert sorted(verifier.order) == sorted({b"final", *(b"turn %d" % number for number in range(9))})
    assert case.queue.resolved[TASK.id] == 0
    row = case.progress.tasks[TASK.id]
    assert (row.unresolved, case.progress.turns_queued, case.progress.turns_verified) == (2, 9, 9)


def test_verdicts_on_turns_are_not_reached_again_by_the_next_session(tmp_path: Path) -> None:
    first = InOrder()
    Case(tmp_path / "run", first, b"good", turns=[b"half"]).run()
    again = InOrder()
    assert Case(tmp_path / "run", again, b"half").run() == (1, 1), "known from a turn, it counts for an attempt"
    assert (first.order, again.order) == ([b"good", b"half"], [])
