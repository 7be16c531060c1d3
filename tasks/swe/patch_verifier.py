"""The patch verifier: from a patch to a verdict, in fresh sandboxes.

It gives two scores. *Official* is the result of the task's own harness, from its own script and log. *Strict*, the one
that counts, also holds against a patch that was written to pass the tests rather than to solve the issue:

    screened   test files, and hooks and settings of the test runner, are removed from the patch first
    explicit   every expected test is reported as passed, in one log with one beginning and one end
    falsified  in one more run, with the same tests changed so that they must fail, none of them passes

Guarantees: nothing that ran in an attempt's sandbox takes part. Nothing that runs in the verifier's sandbox writes the
verdict: logs are read outside. The patch is applied with the same cascade of appliers as in SWE-bench's harness. A
sandbox that fails gives an infra error, never "unresolved". A patch that does not apply, and tests that take longer
than they may, are failures of the patch. A patch that fails the official run costs nothing more.
"""

from __future__ import annotations

import asyncio
import secrets
import shlex
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from envs import Backend, Command, FileProblem, Limits, Sandbox, SandboxError
from tasks.swe.falsify import falsify, function_of
from tasks.swe.grading import Grade, Grader, GraderFailed
from tasks.swe.patches import is_canonical, touched_files
from tasks.swe.screen import screen
from tasks.swe.task import SweTask, as_swe
from tasks.task import Outcome, Submission, Task, Verdict

__all__ = ["KIND", "VERSION", "Execution", "PatchVerifier"]

T = TypeVar("T")

KIND = "patch"
VERSION = 4  # of these rules; it is in every verdict key, so verdicts by other rules are not used
DOES_NOT_APPLY = 97
LOG_CAP = 16 << 20
PATCH_CAP = 8 << 20  # SWE-bench's largest solution has 1 MB
APPLY_SECONDS = 120.0
PATCH, SCRIPT = "/tmp/model.patch", "/tmp/eval.sh"
# The tests must not be able to see whether a run is a falsified one, nor to find the hidden tests in another file. So
# the shell reads the script, which holds both, and deletes it before the first of its lines runs.
EVALUATE = f'script=$(<{SCRIPT}); rm -f {SCRIPT} {PATCH}; eval "$script"'
# SWE-bench's cascade. A failed try may leave changes and conflicts behind, so all is reset between tries.
FIRST = ("git", "apply", PATCH)
OTHERS = f"""
for try in 'git apply --3way' 'git apply --reject' 'patch --batch --forward --fuzz=5 -p1 -i'; do
    git reset -q --hard; git clean -qfd
    $try {PATCH} >/dev/null 2>&1 && exit 0
done
exit {DOES_NOT_APPLY}
"""


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a task's own tests: nothing screened, nothing falsified. `seconds` is the script's time."""

    grade: Grade
    seconds: float
    log: bytes = field(repr=False)
    applied: bool


@dataclass(frozen=True, slots=True)
class _Run:
    """One execution of the tests. `applied` is the patch as the repository then shows it, None if it did not apply."""

    applied: bytes | None
    grade: Grade
    log: bytes = field(repr=False)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _FalsifiedTests:
    """A task's falsified test files, and the expected tests that are known to fail in them."""

    files: Mapping[str, str]
    must_fail: frozenset[str]
    flags: tuple[str, ...] = ()


class PatchVerifier:
    """Verifies patches in sandboxes of `backend`, at most `workers` at a time; closes `grader` in the end.

    `seconds` is how long one run of the tests may take: a number, or a function of the task. `runs` counts the test
    runs so far; `test_seconds` is the time that these took, without opening sandboxes, applying patches and grading.
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
        self._backend, self._grader, self._limits = backend, grader, limits
        self._seconds = seconds if callable(seconds) else _always(seconds)
        self._slots = asyncio.Semaphore(workers)
        self._falsified: dict[str, asyncio.Task[_FalsifiedTests]] = {}
        self._solved: dict[str, asyncio.Task[Mapping[str, str]]] = {}
        self.runs = 0
        self.test_seconds = 0.0

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
                verdict = await self._verdict(issue, patch)
            except (SandboxError, GraderFailed) as error:
                verdict = Verdict(Outcome.INFRA_ERROR, str(error), {}, 0.0)
            return replace(verdict, seconds=time.monotonic() - began)

    async def execute(self, task: Task, patch: bytes) -> Execution:
        """Run the task's tests once with `patch`, or on the base if it is empty.

        Raises `SandboxError` and `GraderFailed`.
        """
        async with self._slots:
            run = await self._run(as_swe(task), patch)
        return Execution(run.grade, run.seconds, run.log, run.applied is not None)

    async def _verdict(self, task: SweTask, patch: bytes) -> Verdict:
        official = run = await self._run(task, patch)
        if run.applied is None:
            return Verdict(Outcome.UNRESOLVED, run.grade.reason, {}, 0.0, run.log, official=False)
        screened = screen(task, run.applied)
        flags = screened.flags
        if screened.dropped:
            if not screened.patch.strip():
                reason = "nothing is left of the patch without its changes to tests and their runner"
                return Verdict(Outcome.UNRESOLVED, reason, run.grade.tests, 0.0, run.log, run.grade.resolved, flags)
            run = await self._run(task, screened.patch)
        reason = await self._why_unresolved(task, run.grade)
        if not reason and run.applied is not None:
            tests = await self._once(self._falsified, task, self._falsify)
            flags += tests.flags
            reason = await self._passes_falsified(task, screened.patch, tests)
        outcome = Outcome.UNRESOLVED if reason else Outcome.RESOLVED
        return Verdict(outcome, reason, run.grade.tests, 0.0, run.log, official.grade.resolved, flags)

    async def _why_unresolved(self, task: SweTask, grade: Grade) -> str:
        """Why this one run does not show that the patch resolves the task; "" if it does."""
        if grade.reason:
            return grade.reason
        bad = {name: status for name, status in grade.tests.items() if status != "passed"}
        if grade.resolved and bad and not bad.keys() & set(task.fail_to_pass) and task.patch.strip():
            # The harness accepts that a test which passed before is skipped; here, only if the known solution skips it.
            known = await self._once(self._solved, task, self._solve)
            bad = {name: status for name, status in bad.items() if known.get(name) != status}
        if bad:
            return f"{len(bad)} of {len(grade.tests)} expected tests do not pass"
        return "" if grade.resolved else "the harness does not count it as resolved"

    async def _solve(self, task: SweTask) -> Mapping[str, str]:
        """The status of each test with the known solution."""
        return (await self._run(task, task.patch.encode())).grade.tests

    async def _passes_falsified(self, task: SweTask, patch: bytes, tests: _FalsifiedTests) -> str:
        """Which falsified tests pass with `patch`, as a reason; "" if none does."""
        if not tests.must_fail:
            return ""
        run = await self._run(task, patch, tests.files)
        passed = sorted(name for name in tests.must_fail if run.grade.tests.get(name) == "passed")
        if not passed:
            return ""
        more = f" and {len(passed) - 1} more" if len(passed) > 1 else ""
        return f"{passed[0]}{more} passes although it was made to fail"

    async def _once(
        self, made: dict[str, asyncio.Task[T]], task: SweTask, make: Callable[[SweTask], Coroutine[Any, Any, T]]
    ) -> T:
        """The result of `make` for a task, made by the first caller; after a failure the next caller tries again."""
        if task.id not in made:
            made[task.id] = asyncio.create_task(make(task))
        try:
            return await asyncio.shield(made[task.id])
        except (SandboxError, GraderFailed):
            made.pop(task.id, None)
            raise

    async def _falsify(self, task: SweTask) -> _FalsifiedTests:
        """Falsify the task's tests, and find out with the known solution which of them then fail."""
        sources = await self._test_sources(task)
        # Not all of them: a patch that counts failures could recognise a run in which everything fails.
        few = -(-len(task.pass_to_pass) // 3)
        expected = (*task.fail_to_pass, *secrets.SystemRandom().sample(task.pass_to_pass, few))
        chosen = {name for test in expected for name in _names(test)}
        spared = {name for test in task.pass_to_pass for name in _names(test)} - chosen
        nonce = secrets.token_hex(4)
        bluntly: set[str] = set() if task.patch.strip() else chosen
        must_fail: set[str] = set()
        for _ in range(2):
            files, tests = _falsified(sources, nonce, bluntly, spared)
            covered = {test for test in expected if not tests.isdisjoint(_names(test))}
            if not covered or not task.patch.strip():
                must_fail = covered
                break
            proof = (await self._run(task, task.patch.encode(), files)).grade.tests
            must_fail = {test for test in covered if proof.get(test) in ("failed", "error")}
            if must_fail == covered:
                break
            bluntly |= {name for test in covered - must_fail for name in _names(test)}
        bare = [test for test in task.fail_to_pass if test not in must_fail]
        flags = (f"{len(bare)} of {len(task.fail_to_pass)} tests could not be falsified",) if bare else ()
        return _FalsifiedTests(files, frozenset(must_fail), flags)

    async def _test_sources(self, task: SweTask) -> dict[str, str]:
        """The hidden tests' Python files with their contents."""
        sandbox = await self._backend.open(task.origin, self._limits, label=f"examine {task.id}")
        try:
            apply = Command(("git", "apply"), stdin=task.test_patch.encode(), timeout=APPLY_SECONDS)
            applied = await sandbox.run(apply)
            if applied.returncode:
                said = applied.output[-300:].decode("utf-8", "replace").strip()
                raise GraderFailed(f"the hidden tests of {task.id} do not apply to its base: {said}")
            sources = {}
            for name in touched_files(task.test_patch):
                if name.endswith(".py"):
                    try:
                        sources[name] = (await sandbox.read(name)).decode("utf-8", "replace")
                    except FileProblem:
                        continue  # the patch deletes it
            return sources
        finally:
            await sandbox.close()

    async def _run(self, task: SweTask, patch: bytes, files: Mapping[str, str] | None = None) -> _Run:
        """Apply `patch` in a fresh sandbox and run the hidden tests, with `files` in their place if given."""
        seconds = self._seconds(task)
        script = await self._grader.script(task, _in_place(task, files) if files else "")
        sandbox = await self._backend.open(task.origin, self._limits, label=f"verify {task.id}")
        try:
            await asyncio.gather(sandbox.write(PATCH, patch), sandbox.write(SCRIPT, script.encode()))
            applied, refusal = await self._apply(sandbox, patch)
            if applied is None:
                return _Run(None, Grade(False, {}, refusal), b"")
            self.runs += 1
            ran = await sandbox.run(Command(("bash", "-c", EVALUATE), timeout=seconds, output_cap=LOG_CAP))
        finally:
            await sandbox.close()
        self.test_seconds += ran.seconds
        if ran.timed_out:
            slow = Grade(False, {}, f"the tests ran longer than {seconds:.0f} s")
            return _Run(applied, slow, ran.output, ran.seconds)
        return _Run(applied, await self._grader.grade(task, ran.output), ran.output, ran.seconds)

    async def _apply(self, sandbox: Sandbox, patch: bytes) -> tuple[bytes | None, str]:
        """Apply the file at PATCH. Gives the patch as the repository then shows it; or None, and why it failed."""
        if not patch.strip():
            return b"", ""
        first = done = await sandbox.run(Command(FIRST, timeout=APPLY_SECONDS))
        if done.returncode and not done.timed_out:
            done = await sandbox.run(Command(OTHERS, timeout=APPLY_SECONDS))
        if done.timed_out:
            return None, f"applying the patch took longer than {APPLY_SECONDS:.0f} s"
        if done.returncode == DOES_NOT_APPLY:
            return None, "the patch does not apply"
        if done.returncode:
            said = done.output[-300:].decode("utf-8", "replace").strip()
            raise GraderFailed(f"the patch could not be tried (exit status {done.returncode}): {said}")
        # Another applier, or headers that git would not write, may have changed other files than the patch names.
        return (patch if done is first and is_canonical(patch) else await sandbox.diff()), ""


def _always(seconds: float) -> Callable[[Task], float]:
    return lambda task: seconds


def _in_place(task: SweTask, files: Mapping[str, str]) -> str:
    """A command that writes these files over the tests, by the shell alone: a program could have been replaced."""
    writes = (
        f"printf %s {shlex.quote(text)} > {shlex.quote(f'{task.origin.workdir}/{name}')}\n"
        for name, text in files.items()
    )
    return f"(set +x\n{''.join(writes)}) 2>/dev/null"


def _names(test: str) -> set[str]:
    """The names that a test may have in a test file: the function's name, or the first line of its docstring."""
    return {function_of(test), test.strip()}


def _falsified(
    sources: Mapping[str, str], nonce: str, bluntly: set[str], spared: set[str]
) -> tuple[dict[str, str], set[str]]:
    files: dict[str, str] = {}
    tests: set[str] = set()
    for name, source in sources.items():
        try:
            made = falsify(source, nonce, bluntly=bluntly, spared=spared)
            compile(made.source, name, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError):
            continue  # Python of another version; a flag says that its tests are not falsified
        files[name] = made.source
        tests |= made.tests
    return files, tests
