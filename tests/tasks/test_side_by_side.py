"""Runs that do not depend on another go on side by side, on idle workers, and none lasts longer than it may."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import pytest

from envs import Limits, Origin
from envs.local.backend import LocalBackend, LocalSandbox
from tasks import Submission, Verdict
from tasks.swe import running
from tasks.swe.grading import GraderFailed, Scripts, UnittestGrader
from tasks.swe.once import OncePerTask
from tasks.swe.patch_verifier import PatchVerifier
from tasks.swe.running import Runner
from tasks.swe.task import SweTask
from tests.cheats import new_file
from tests.helpers import quick_task

T = TypeVar("T")
TALLY, PLAIN = quick_task("tally"), quick_task("plainconf")
GOLD = TALLY.patch.encode()
MORE = new_file("NEWS", "more")


class Watched(LocalBackend):
    """Counts the sandboxes that are open for runs of tests."""

    def __init__(self) -> None:
        super().__init__()
        self.open_now = self.most = 0

    async def open(self, origin: Origin, limits: Limits, *, label: str = "") -> LocalSandbox:
        sandbox = await super().open(origin, limits, label=label)
        if not label.startswith("verify"):
            return sandbox
        self.open_now += 1
        self.most = max(self.most, self.open_now)
        close = sandbox.close

        async def closing() -> None:
            self.open_now -= 1
            sandbox.close = close  # type: ignore[method-assign]
            await close()

        sandbox.close = closing  # type: ignore[method-assign]
        return sandbox


class Slow(UnittestGrader):
    """Its tests take so long that a worker which could go on beside them does."""

    async def scripts(self, task: SweTask) -> Scripts:
        scripts = await super().scripts(task)
        return replace(scripts, run=f"sleep 1\n{scripts.run}")


def playing(play: Callable[[PatchVerifier], Awaitable[T]], *, workers: int) -> tuple[T, PatchVerifier, Watched]:
    """The result of `play`, and what was used for it."""

    async def main() -> tuple[T, PatchVerifier, Watched]:
        backend = Watched()
        try:
            verifier = PatchVerifier(backend, Slow(), Limits(), seconds=60.0, workers=workers)
            result = await play(verifier)
            assert backend.open_now == 0
            return result, verifier, backend
        finally:
            await backend.close()

    return asyncio.run(main())


# Of the known solution the proofs are the mixed run: official, base and proving, and one more of another patch. That of
# TALLY compares something more behind the assertion that fails on the base, so what was run beside its proofs is run
# again with what these show.
@pytest.mark.parametrize(
    ("task", "more", "runs"),
    [(TALLY, b"", [3, 3]), (PLAIN, MORE, [4, 4]), (TALLY, MORE, [5, 4])],
    ids=["known solution", "another", "another, with more to compare"],
)
def test_the_first_verdict_of_a_task_uses_idle_workers_and_no_others(
    task: SweTask, more: bytes, runs: list[int]
) -> None:
    found: list[int] = []
    for workers in (2, 1):
        submission = Submission(task.patch.encode() + more)
        verdict, verifier, backend = playing(
            partial(PatchVerifier.verify, task=task, submission=submission), workers=workers
        )
        assert (verdict.resolved, verdict.flags) == (True, ()), (verdict.reason, verdict.log)
        assert backend.most == workers
        found.append(verifier.runs)
    assert found == runs


# The base fails at the first assertion, so it shows none of the others.
LATER = """import unittest

from tally import rounding


class TestTimesTen(unittest.TestCase):
    def test_times_ten(self):
        self.assertEqual(rounding.times_ten(1), 10)
        self.assertEqual(rounding.times_ten(2), 20)
        self.assertEqual(rounding.times_ten(3), 30)
"""
EQUAL_LATER = """class Any(int):
    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __hash__ = int.__hash__


def times_ten(number):
    return 10 if number == 1 else Any(7)
"""


def with_code(text: str) -> bytes:
    """A patch that adds this module, which `tally.rounding` imports."""
    imports = (
        "--- a/tally/rounding.py\n+++ b/tally/rounding.py\n@@ -1,3 +1,4 @@\n"
        ' """Rounding of fractions to whole numbers; the denominator is positive."""\n \n'
        " from __future__ import annotations\n"
        "+from tally.ten import times_ten\n"
    )
    return imports.encode() + new_file("tally/ten.py", text)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_deceives_an_assertion_that_the_base_does_not_reach_is_found(workers: int) -> None:
    task = replace(
        TALLY,
        id="own-later",
        patch=with_code("def times_ten(number):\n    return 10 * number").decode(),
        test_patch=new_file("tests/test_times_ten.py", LATER).decode(),
        fail_to_pass=("tests.test_times_ten.TestTimesTen.test_times_ten",),
        pass_to_pass=("tests.test_rounding.TestRounding.test_half_up",),
    )

    async def both(verifier: PatchVerifier) -> list[Verdict]:
        patches = map(with_code, (EQUAL_LATER, "def times_ten(number):\n    return number * 10"))
        return [await verifier.verify(task, Submission(patch)) for patch in patches]

    (cheat, honest), _, _ = playing(both, workers=workers)
    assert (cheat.official, cheat.resolved) == (True, False), (cheat.reason, cheat.log)
    assert "passes although it was made to fail" in cheat.reason
    assert (honest.official, honest.resolved) == (True, True), (honest.reason, honest.log)


def test_a_patch_that_comes_while_proofs_are_being_ended_has_them_made_again() -> None:
    class Lingering(LocalBackend):
        """Its sandboxes take a while to close, as containers do."""

        async def open(self, origin: Origin, limits: Limits, *, label: str = "") -> LocalSandbox:
            sandbox = await super().open(origin, limits, label=label)
            close = sandbox.close

            async def closing() -> None:
                await asyncio.sleep(0.6)
                await close()

            sandbox.close = closing  # type: ignore[method-assign]
            return sandbox

    async def main() -> tuple[Verdict, Verdict]:
        backend = Lingering()
        try:
            verifier = PatchVerifier(backend, Slow(), Limits(), seconds=60.0, workers=4)

            async def later() -> Verdict:
                await asyncio.sleep(0.3)
                return await verifier.verify(PLAIN, Submission(PLAIN.patch.encode() + MORE))

            return await asyncio.gather(verifier.verify(PLAIN, Submission(MORE)), later())
        finally:
            await backend.close()

    assert [each.resolved for each in asyncio.run(main())] == [False, True]


def test_the_proofs_of_a_task_are_ended_when_its_patch_fails() -> None:
    verdict, verifier, _ = playing(lambda each: each.verify(TALLY, Submission(MORE)), workers=2)
    assert (verdict.resolved, verdict.official) == (False, False)
    assert verifier.runs <= 3
    verdict, verifier, _ = playing(lambda each: each.verify(TALLY, Submission(MORE)), workers=1)
    assert verifier.runs == 1


def test_a_worker_that_another_patch_has_is_not_idle() -> None:
    tasks = [replace(TALLY, id=f"own-{number}") for number in range(2)]

    async def both(verifier: PatchVerifier) -> list[Verdict]:
        return await asyncio.gather(*(verifier.verify(task, Submission(GOLD + MORE)) for task in tasks))

    verdicts, _, backend = playing(both, workers=2)
    assert [each.resolved for each in verdicts] == [True, True]
    assert backend.most == 2


@pytest.mark.parametrize(("within", "seconds"), [(1.0, 60.0), (60.0, 1.0)])
def test_a_run_ends_at_its_own_limit_and_at_the_task_s(within: float, seconds: float) -> None:
    async def main() -> str:
        backend = LocalBackend()
        try:
            runner = Runner(backend, UnittestGrader(), Limits(), lambda task: seconds)
            task = replace(TALLY, test_command="sleep 600")
            return (await runner.run(task, GOLD, within=within)).grade.reason
        finally:
            await backend.close()

    assert asyncio.run(main()) == "the tests ran longer than 1 s"


def test_work_for_a_task_is_done_once_and_again_after_a_failure() -> None:
    made: list[str] = []

    async def make(task: SweTask) -> int:
        made.append(task.id)
        await asyncio.sleep(0)
        if len(made) == 1:
            raise GraderFailed("not now")
        return len(made)

    async def main() -> None:
        once = OncePerTask(make)
        failed = await asyncio.gather(once.get(TALLY), once.get(TALLY), return_exceptions=True)
        assert [type(each) for each in failed] == [GraderFailed, GraderFailed]
        assert TALLY not in once
        assert list(await asyncio.gather(once.get(TALLY), once.get(TALLY))) == [2, 2]
        assert await once.get(replace(TALLY, id="another")) == 3

    asyncio.run(main())
    assert len(made) == 3


def test_work_ends_with_the_last_who_asked_for_it() -> None:
    ended: list[str] = []

    async def make(task: SweTask) -> None:
        try:
            await asyncio.sleep(600)
        finally:
            ended.append(task.id)

    async def main() -> None:
        once = OncePerTask(make)
        first, second = (asyncio.create_task(once.get(TALLY)) for _ in range(2))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert not ended
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert ended == [TALLY.id]
        assert TALLY not in once

    asyncio.run(main())


SLOW = """import time
import unittest

from tally import rounding


class TestTimesTen(unittest.TestCase):
    def test_times_ten(self):
        time.sleep(0.5)
        self.assertEqual(rounding.times_ten(2), 20)
"""
EQUAL = EQUAL_LATER.replace("10 if number == 1 else Any(7)", "Any(7)")


def test_a_test_that_is_too_slow_to_be_proved_in_one_process_is_proved_apart() -> None:
    task = replace(
        TALLY,
        patch=with_code("def times_ten(number):\n    return 10 * number").decode(),
        test_patch=new_file("tests/test_times_ten.py", SLOW).decode(),
        fail_to_pass=("tests.test_times_ten.TestTimesTen.test_times_ten",),
        pass_to_pass=(),
    )

    async def main() -> list[Verdict]:
        backend = LocalBackend()
        try:
            verifier = PatchVerifier(backend, UnittestGrader(), Limits(), seconds=8.0, workers=2)
            patches = map(with_code, (EQUAL, "def times_ten(n):\n    return n * 10"))
            return [await verifier.verify(task, Submission(patch)) for patch in patches]
        finally:
            await backend.close()

    cheat, honest = asyncio.run(main())
    assert (cheat.official, cheat.resolved) == (True, False), (cheat.reason, cheat.log)
    assert (honest.official, honest.resolved, honest.flags) == (True, True, ()), (honest.reason, honest.log)


def test_a_patch_whose_own_tests_end_the_official_run_has_the_time_of_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "SHORTEST", 0.5)
    monkeypatch.setattr(running, "SLOWER", 1.0)
    task = replace(TALLY, test_command=f"[ -e tests/test_a.py ] || sleep 3\n{TALLY.test_command}")
    patch = GOLD + new_file("tests/test_a.py", "import os\nos._exit(1)")
    verdict, _, _ = playing(lambda each: each.verify(task, Submission(patch)), workers=2)
    assert (verdict.official, verdict.resolved) == (False, True), verdict.reason
