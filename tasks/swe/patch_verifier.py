"""The patch verifier: from a patch to a verdict, in fresh sandboxes.

It gives two scores. *Official* is the result of the task's own harness, from its own script and log. *Strict*, the one
that counts, also holds against a patch that was written to pass the tests rather than to solve the issue:

    screened   test files, and hooks and settings of the test runner, are removed from the patch first
    explicit   every expected test is reported as passed, in one log with one beginning and one end
    mixed      in one more run, which holds true and falsified copies of the same tests, just the true ones pass

Guarantees: nothing that ran in an attempt's sandbox takes part. Nothing that runs in the verifier's sandbox writes the
verdict: logs are read outside. The patch is applied with the same cascade of appliers as in SWE-bench's harness, and
what was applied is what is examined. What installs or builds has ended, with all that it started, before a hidden test
is written. A patch that does not apply, tests that take longer than they may, and a sandbox that ends with this patch
again and again but not with the known solution, are failures of the patch; any other failure of a sandbox is an infra
error, never "unresolved". A patch that fails the official run costs nothing more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from envs import Backend, Limits, SandboxError, SandboxLost
from tasks.swe import mixed_run
from tasks.swe.grading import Grade, Grader, GraderFailed
from tasks.swe.mixed_run import Copies, Proofs
from tasks.swe.once import OncePerTask
from tasks.swe.proving import Prover
from tasks.swe.running import PATCH_CAP, MixedTests, Run, Runner, longest
from tasks.swe.screen import screen
from tasks.swe.task import SweTask, as_swe
from tasks.task import Outcome, Submission, Task, Verdict

__all__ = ["KIND", "VERSION", "Execution", "PatchVerifier"]

_Found = tuple[list[str], list[str]]  # tests that passed although falsified, and others that came out otherwise

KIND = "patch"
VERSION = 8  # of these rules; it is in every verdict key, so verdicts by other rules are not used
LOSSES = 2  # of its sandbox in a row before the known solution is tried
PATIENCE = 0.2  # seconds in which others may take an idle slot


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a task's own tests: nothing screened, nothing falsified. `seconds` is the script's time."""

    grade: Grade
    seconds: float
    log: bytes = field(repr=False)
    applied: bool


class PatchVerifier:
    """Verifies patches in sandboxes of `backend`, at most `workers` at a time; closes `grader` in the end.

    `seconds` is how long one run of the tests may take: a number, or a function of the task. The proofs of a task are
    made beside the official run of its first patch where a worker is idle. `runs` counts the test runs so far;
    `test_seconds` is the time that these took, without opening sandboxes, applying patches and grading.
    """

    def __init__(
        self,
        backend: Backend,
        grader: Grader,
        limits: Limits,
        *,
        seconds: float | Callable[[Task], float],
        workers: int,
    ) -> None:
        self._grader = grader
        self._runner = Runner(backend, grader, limits, seconds if callable(seconds) else _always(seconds))
        self._prover = Prover(self._runner)
        self._solved = OncePerTask(self._solve)
        self._slots = asyncio.Semaphore(workers)

    @property
    def runs(self) -> int:
        return self._runner.runs

    @property
    def test_seconds(self) -> float:
        return self._runner.test_seconds

    async def close(self) -> None:
        await self._grader.close()

    async def verify(self, task: Task, submission: Submission) -> Verdict:
        """The verdict on a patch. Never raises for what a patch or a sandbox does."""
        issue, patch = as_swe(task), submission.body
        if submission.kind != KIND:
            reason = f"the submission is of the kind {submission.kind}, and this task needs a {KIND}"
            return Verdict(Outcome.UNRESOLVED, reason, {}, 0.0, official=False)
        if not patch.strip():
            return Verdict(Outcome.UNRESOLVED, "empty patch", {}, 0.0, official=False)
        if len(patch) > PATCH_CAP:
            reason = f"the patch has {len(patch) / 2**20:.1f} MB, and the most that is tried is {PATCH_CAP >> 20} MB"
            return Verdict(Outcome.UNRESOLVED, reason, {}, 0.0, official=False)
        async with self._slots:
            began = time.monotonic()
            try:
                async with self._proving_beside(issue):
                    verdict = await self._verdict_or_loss(issue, patch)
            except (SandboxError, GraderFailed) as error:
                verdict = Verdict(Outcome.INFRA_ERROR, str(error), {}, 0.0)
            return replace(verdict, seconds=time.monotonic() - began)

    async def execute(self, task: Task, patch: bytes) -> Execution:
        """Run the task's tests once with `patch`, or on the base if it is empty.

        Raises `SandboxError` and `GraderFailed`.
        """
        async with self._slots:
            run = await self._runner.run(as_swe(task), patch)
        return Execution(run.grade, run.seconds, run.log, run.applied is not None)

    @asynccontextmanager
    async def _proving_beside(self, task: SweTask) -> AsyncIterator[None]:
        """Make the task's proofs meanwhile, if a slot stays idle. What nobody needs any more is ended."""

        async def prove() -> None:
            await asyncio.sleep(PATIENCE)
            if self._slots.locked() or self._prover.begun(task):
                return
            async with self._slots:
                with suppress(SandboxError, GraderFailed):  # whoever needs them makes them again
                    await self._prover.proofs(task)

        beside = asyncio.create_task(prove())
        try:
            yield
        finally:
            beside.cancel()
            await asyncio.gather(beside, return_exceptions=True)

    async def _verdict_or_loss(self, task: SweTask, patch: bytes) -> Verdict:
        """The verdict, also on a patch whose code ends or cripples its sandbox. Raises `SandboxError`, `GraderFailed`.

        A fault of the machine ends the sandbox of the known solution too, or does not come again.
        """
        for _ in range(LOSSES):
            try:
                return await self._verdict(task, patch)
            except SandboxLost:
                continue
        await self._runner.run(task, task.patch.encode())
        try:
            return await self._verdict(task, patch)
        except SandboxLost as error:
            reason = f"its code ends the sandbox, {LOSSES + 1} times of {LOSSES + 1}, and the known solution's does not"
            return Verdict(Outcome.UNRESOLVED, f"{reason} ({error})", {}, 0.0, official=False)

    async def _verdict(self, task: SweTask, patch: bytes) -> Verdict:
        official = await self._runner.run(task, patch)
        if official.applied is None:
            return Verdict(Outcome.UNRESOLVED, official.grade.reason, {}, 0.0, official.log, official=False)
        screened = screen(task, official.applied)
        verdict = await self._strict(task, official, patch, screened.patch, screened.flags)
        if official.grade.resolved and not verdict.resolved and screened.fuller != screened.patch:
            # The code may need a file that is called like a test; mixed runs decide about it.
            return await self._strict(task, official, patch, screened.fuller, screened.flags)
        return verdict

    async def _strict(
        self, task: SweTask, official: Run, whole: bytes, patch: bytes, flags: tuple[str, ...]
    ) -> Verdict:
        """The verdict on `patch`, what is scored of the `whole` one that ran officially."""
        run, within = official, longest(official)
        if patch != whole:  # what is examined must be what counts
            if not patch.strip():
                reason = "nothing is left of the patch without its changes to tests and their runner"
                return Verdict(Outcome.UNRESOLVED, reason, run.grade.tests, 0.0, run.log, run.grade.resolved, flags)
            # What was removed may have ended the official run early, and then its time says nothing.
            run = await self._runner.run(task, patch, within=within if official.grade.resolved else None)
            within = max(within, longest(run))
        reason = await self._why_unresolved(task, run.grade)
        if not reason and run.applied is not None:
            proofs, reason = await self._why_convicted(task, patch, within)
            flags += proofs.flags(task.fail_to_pass)
        outcome = Outcome.UNRESOLVED if reason else Outcome.RESOLVED
        return Verdict(outcome, reason, run.grade.tests, 0.0, run.log, official.grade.resolved, flags)

    async def _why_unresolved(self, task: SweTask, grade: Grade) -> str:
        """Why this one run does not show that the patch resolves the task; "" if it does."""
        if grade.reason:
            return grade.reason
        bad = {name: status for name, status in grade.tests.items() if status != "passed"}
        if grade.resolved and bad and not bad.keys() & set(task.fail_to_pass) and task.patch.strip():
            # The harness accepts that a test which passed before is skipped; here, only if the known solution skips it.
            known = await self._solved.get(task)
            bad = {name: status for name, status in bad.items() if known.get(name) != status}
        if bad:
            return f"{len(bad)} of {len(grade.tests)} expected tests do not pass"
        return "" if grade.resolved else "the harness does not count it as resolved"

    async def _solve(self, task: SweTask) -> Mapping[str, str]:
        """The status of each test with the known solution."""
        return (await self._runner.run(task, task.patch.encode())).grade.tests

    async def _why_convicted(self, task: SweTask, patch: bytes, within: float) -> tuple[Proofs, str]:
        """The proofs of the task, and why mixed runs show that the patch does not solve it; "" if they do not."""
        proofs, found = await self._proved_beside(task, patch, within)
        if patch == task.patch.encode():  # the proofs are its mixed run
            return proofs, ""
        if proofs.repeating:
            passed, other = found or await self._mixed(task, patch, proofs, mixed_run.together(proofs), within)
            if passed or not other:
                return proofs, _convicted(passed, other)
        elif not proofs.falsified:
            return proofs, ""
        # An honest patch may keep something between two runs of a test, so each test is run once in a process too.
        for copies in mixed_run.apart(proofs):
            passed, other = await self._mixed(task, patch, proofs, copies, within)
            if passed or other:
                return proofs, _convicted(passed, other)
        return proofs, ""

    async def _proved_beside(self, task: SweTask, patch: bytes, within: float) -> tuple[Proofs, _Found | None]:
        """The proofs; and what a mixed run shows that was made beside the proving run, if another slot makes that."""
        if not self._prover.under_way(task) or patch == task.patch.encode():
            return await self._prover.proofs(task), None
        proving = asyncio.create_task(self._prover.proofs(task))
        try:
            expected = await self._prover.expected(task)
            if expected is None or proving.done():
                return await proving, None
            copies = mixed_run.together(expected)
            statuses = await self._statuses(task, patch, expected, copies, within)
            proofs = await proving
        finally:
            proving.cancel()
            await asyncio.gather(proving, return_exceptions=True)
        covered = mixed_run.is_covered(proofs, expected, copies)
        return proofs, mixed_run.judge(proofs, copies, statuses) if covered else None

    async def _mixed(self, task: SweTask, patch: bytes, proofs: Proofs, copies: Copies, within: float) -> _Found:
        return mixed_run.judge(proofs, copies, await self._statuses(task, patch, proofs, copies, within))

    async def _statuses(
        self, task: SweTask, patch: bytes, proofs: Proofs, copies: Copies, within: float
    ) -> Mapping[str, str]:
        """The status of each copy in one run with `patch`."""
        tests = MixedTests(proofs.write(copies), mixed_run.ids_in(proofs.sources, copies))
        return (await self._runner.run(task, patch, tests, within=within)).statuses


def _convicted(passed: list[str], other: list[str]) -> str:
    """A reason that names the first of these tests."""
    found = passed or other
    if not found:
        return ""
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    if passed:
        return f"{found[0]}{more} passes although it was made to fail"
    return f"{found[0]}{more} does not pass and fail as it should in a run that also holds falsified tests"


def _always(seconds: float) -> Callable[[Task], float]:
    return lambda task: seconds
