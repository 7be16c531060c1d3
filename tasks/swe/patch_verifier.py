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
import json
import re
import secrets
import shlex
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from envs import Backend, Command, Completed, FileProblem, Limits, Sandbox, SandboxError, SandboxLost
from envs.writable import WRITE_TRIAL, why_not_written
from tasks.swe import mixed_run
from tasks.swe.altering import EVERY, LEFT, RIGHT
from tasks.swe.appliers import DOES_NOT_APPLY, apply_first, apply_others
from tasks.swe.falsify import MixedFile
from tasks.swe.grading import NOT_PLACED, Grade, Grader, GraderFailed, Scripts
from tasks.swe.mixed_run import Change, Copies, Proof, Proofs, Sources
from tasks.swe.patches import is_canonical, touched_files
from tasks.swe.screen import screen
from tasks.swe.task import SweTask, as_swe
from tasks.task import Outcome, Submission, Task, Verdict

__all__ = ["KIND", "VERSION", "Execution", "PatchVerifier"]

T = TypeVar("T")

KIND = "patch"
VERSION = 6  # of these rules; it is in every verdict key, so verdicts by other rules are not used
LOG_CAP = 16 << 20
PATCH_CAP = 64 << 20  # as much as is taken from a sandbox; SWE-bench's largest solution has 1 MB
APPLY_SECONDS = 120.0
LOSSES = 2  # of its sandbox in a row before the known solution is tried
LONGER = 3.0  # how much longer than one run of the tests a mixed run may take
PATCH, SCRIPT, STATE = "/tmp/model.patch", "/tmp/eval.sh", "/tmp/eval.state"
# The shell reads a script and deletes it before the first of its lines runs, so that no file tells what is done.
EVALUATE = f'lines=$(<{SCRIPT}); rm -f {SCRIPT} {PATCH}; eval "unset lines; $lines"'
# At its end a preparing shell records its state, and later ones start in it.
RECORD = f'trap \'{{ {{ declare -p; declare -f; set +o; printf "cd %q\\n" "$PWD"; }} > {STATE}; }} 2>/dev/null\' EXIT\n'
RESUME = f"[ ! -f {STATE} ] || . {STATE} 2>/dev/null\n"
IGNORED = "git ls-files --others --ignored --exclude-standard -z"
# `git apply` refuses these paths, and patch(1) does not.
INSIDE_GIT = re.compile(
    rb"^(?:---|\+\+\+|diff --git|rename to|copy to|Index:).*(?:[ /\"])\.git(?:[/\s\"]|$)", re.M | re.I
)


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
    trace: str = ""


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
        self._proofs: dict[str, asyncio.Task[Proofs]] = {}
        self._solved: dict[str, asyncio.Task[Mapping[str, str]]] = {}
        self._ignored: dict[str, asyncio.Task[frozenset[str]]] = {}
        self._hidden: dict[str, asyncio.Task[Mapping[str, bytes | None]]] = {}
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
                verdict = await self._verdict_or_loss(issue, patch)
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

    async def _verdict_or_loss(self, task: SweTask, patch: bytes) -> Verdict:
        """The verdict, also on a patch whose code ends or cripples its sandbox. Raises `SandboxError`, `GraderFailed`.

        A fault of the machine ends the sandbox of the known solution too, or does not come again.
        """
        for _ in range(LOSSES):
            try:
                return await self._verdict(task, patch)
            except SandboxLost:
                continue
        await self._run(task, task.patch.encode())
        try:
            return await self._verdict(task, patch)
        except SandboxLost as error:
            reason = f"its code ends the sandbox, {LOSSES + 1} times of {LOSSES + 1}, and the known solution's does not"
            return Verdict(Outcome.UNRESOLVED, f"{reason} ({error})", {}, 0.0, official=False)

    async def _verdict(self, task: SweTask, patch: bytes) -> Verdict:
        official = await self._run(task, patch)
        if official.applied is None:
            return Verdict(Outcome.UNRESOLVED, official.grade.reason, {}, 0.0, official.log, official=False)
        screened = screen(task, official.applied)
        verdict = await self._strict(task, official, patch, screened.patch, screened.flags)
        if official.grade.resolved and not verdict.resolved and screened.fuller != screened.patch:
            # The code may need a file that is called like a test; mixed runs decide about it.
            return await self._strict(task, official, patch, screened.fuller, screened.flags)
        return verdict

    async def _strict(
        self, task: SweTask, official: _Run, whole: bytes, patch: bytes, flags: tuple[str, ...]
    ) -> Verdict:
        """The verdict on `patch`, what is scored of the `whole` one that ran officially."""
        run = official
        if patch != whole:  # what is examined must be what counts
            if not patch.strip():
                reason = "nothing is left of the patch without its changes to tests and their runner"
                return Verdict(Outcome.UNRESOLVED, reason, run.grade.tests, 0.0, run.log, run.grade.resolved, flags)
            run = await self._run(task, patch)
        reason = await self._why_unresolved(task, run.grade)
        if not reason and run.applied is not None:
            proofs = await self._once(self._proofs, task, self._prove)
            flags += proofs.flags(task.fail_to_pass)
            reason = await self._why_convicted(task, patch, proofs)
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

    async def _why_convicted(self, task: SweTask, patch: bytes, proofs: Proofs) -> str:
        """Why mixed runs show that the patch does not solve the task; "" if they do not."""
        if proofs.repeating:
            passed, other = await self._mixed(task, patch, proofs, mixed_run.together(proofs))
            if passed or not other:
                return _convicted(passed, other)
        elif not proofs.falsified:
            return ""
        # An honest patch may keep something between two runs of a test, so each test is run once in a process too.
        for copies in mixed_run.apart(proofs):
            passed, other = await self._mixed(task, patch, proofs, copies)
            if passed or other:
                return _convicted(passed, other)
        return ""

    async def _mixed(self, task: SweTask, patch: bytes, proofs: Proofs, copies: Copies) -> tuple[list[str], list[str]]:
        tests = mixed_run.ids_in(proofs.sources, copies)
        statuses, _ = await self._statuses(task, patch, proofs.write(copies), tests)
        return mixed_run.judge(proofs, copies, statuses)

    async def _statuses(
        self, task: SweTask, patch: bytes, files: Mapping[str, MixedFile], tests: Collection[str], trace: str = ""
    ) -> tuple[Mapping[str, str], str]:
        """The statuses of these tests in one run with `patch` and these files, none if its log cannot be read.

        And the text of the file at `trace`.
        """
        run = await self._run(_asking(task, tests), patch, files, trace)
        return ({} if run.grade.reason else run.grade.tests), run.trace

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

    async def _prove(self, task: SweTask) -> Proofs:
        """Find out with the known solution which tests can be falsified, and how."""
        hidden_tests = await self._once(self._hidden, task, self._hidden_tests)
        python = {
            name: text.decode("utf-8", "replace")
            for name, text in hidden_tests.items()
            if text and name.endswith(".py")
        }
        sources = Sources.of(python, task.fail_to_pass, task.pass_to_pass)
        chosen = list(sources.fail_to_pass)[: mixed_run.MOST_FALSIFIED]
        if not chosen:
            return Proofs(sources)
        if not task.patch.strip():  # nothing can be proved: each test fails at its end, and runs once in a process
            assumed = {
                name: Proof({mixed_run.AT_END: dict.fromkeys(ids, "")}, ids, repeats=False, hidden=False)
                for name, ids in sources.fail_to_pass.items()
            }
            return Proofs(sources, assumed)
        base = mixed_run.single(dict.fromkeys(chosen, mixed_run.TRUTH))
        places = mixed_run.failing_places(base, (await self._traced(task, sources, base, b"", chosen))[1])
        others = sorted(sources.others)
        others = secrets.SystemRandom().sample(others, min(mixed_run.MOST_OTHERS, len(others)))
        proofs: dict[str, Proof] = {}
        left, hidden = chosen, chosen
        for hidden in (chosen, []):  # some tests need their own text
            copies = mixed_run.proving(left, others if hidden else [], places)
            statuses, trace = await self._traced(task, sources, copies, task.patch.encode(), hidden)
            proofs |= mixed_run.judge_proof(sources, copies, statuses, trace, hidden=hidden, places=places)
            left = [name for name in chosen if name not in proofs or not proofs[name].repeats]
            if not left:
                break
        await self._prove_apart(task, sources, proofs, [name for name in left if name in proofs])
        return Proofs(sources, proofs)

    async def _prove_apart(
        self, task: SweTask, sources: Sources, proofs: dict[str, Proof], names: Collection[str]
    ) -> None:
        """Prove what cannot run twice in a process: a run for each change, until one makes it fail."""
        first = {name: Change.drawn(RIGHT, min(proofs[name].places, default=proofs[name].last)) for name in names}
        for name in names:
            proofs[name] = replace(proofs[name], changes={})
        for change in (None, Change.drawn(RIGHT, EVERY), Change.drawn(LEFT, EVERY), mixed_run.AT_END):
            changes = {name: change or first[name] for name in names if not proofs[name].changes}
            if not changes:
                return
            copies = mixed_run.single(changes, {name: proofs[name].seed for name in changes})
            statuses, _ = await self._traced(task, sources, copies, task.patch.encode(), [])
            for name, tried in changes.items():
                found = {test: statuses.get(test, "") for test in proofs[name].passing}
                failed = {test: status for test, status in found.items() if status in mixed_run.FAILING}
                proofs[name] = replace(proofs[name], changes={tried: failed} if failed else {})

    async def _traced(
        self, task: SweTask, sources: Sources, copies: Copies, patch: bytes, hidden: Collection[str]
    ) -> tuple[Mapping[str, str], str]:
        """The statuses and the trace of a run with these copies, to be believed where the code is trusted."""
        path = f"/tmp/{secrets.token_hex(8)}"
        tests = mixed_run.ids_in(sources, copies)
        return await self._statuses(task, patch, sources.write(copies, hidden, path), tests, path)

    async def _hidden_tests(self, task: SweTask) -> Mapping[str, bytes | None]:
        """The files of the hidden tests as they are with the test patch; None for one that it deletes."""
        sandbox = await self._backend.open(task.origin, self._limits, label=f"examine {task.id}")
        try:
            apply = Command(("git", "apply"), stdin=task.test_patch.encode(), timeout=APPLY_SECONDS)
            applied = await sandbox.run(apply)
            if applied.returncode:
                said = applied.output[-300:].decode("utf-8", "replace").strip()
                raise GraderFailed(f"the hidden tests of {task.id} do not apply to its base: {said}")
            files: dict[str, bytes | None] = {}
            for name in touched_files(task.test_patch):
                try:
                    files[name] = await sandbox.read(name)
                except FileProblem:
                    files[name] = None
            return files
        finally:
            await sandbox.close()

    async def _run(
        self, task: SweTask, patch: bytes, files: Mapping[str, MixedFile] | None = None, trace: str = ""
    ) -> _Run:
        """Apply `patch` in a fresh sandbox and run the hidden tests, with `files` in their place if given.

        `trace` is the path of a file that is read afterwards, where there is one.
        """
        seconds = self._seconds(task) * (LONGER if files else 1.0)
        scripts = await self._grader.scripts(task)
        placed: dict[str, bytes | None] = {}
        if files:
            hidden = await self._once(self._hidden, task, self._hidden_tests)
            placed.update(hidden)
            placed |= {name: file.source.encode("utf-8", "surrogateescape") for name, file in files.items()}
            placed |= {file.secret_path: file.secret.encode() for file in files.values()}
        sandbox = await self._backend.open(task.origin, self._limits, label=f"verify {task.id}")
        try:
            await sandbox.write(PATCH, patch)
            applied, refusal = await self._apply(task, sandbox, patch)
            if applied is None:
                return _Run(None, Grade(False, {}, refusal), b"")
            self.runs += 1
            ran = await _execute(sandbox, scripts, placed, seconds)
            traced = await _read(sandbox, trace) if trace else ""
        finally:
            await sandbox.close()
        self.test_seconds += ran.seconds
        if ran.timed_out:
            slow = Grade(False, {}, f"the tests ran longer than {seconds:.0f} s")
            return _Run(applied, slow, ran.output, ran.seconds)
        return _Run(applied, await self._grader.grade(task, ran.output), ran.output, ran.seconds, traced)

    async def _apply(self, task: SweTask, sandbox: Sandbox, patch: bytes) -> tuple[bytes | None, str]:
        """Apply the file at PATCH. Gives the patch as the repository then shows it; or None, and why it failed."""
        if not patch.strip():
            return b"", ""
        first = done = await sandbox.run(Command(apply_first(PATCH), timeout=APPLY_SECONDS))
        if done.returncode and not done.timed_out:
            if INSIDE_GIT.search(patch):
                return None, "the patch does not apply, and names a file of git's own folder"
            done = await sandbox.run(Command(apply_others(PATCH), timeout=APPLY_SECONDS))
        if done.timed_out:
            return None, f"applying the patch took longer than {APPLY_SECONDS:.0f} s"
        if done.returncode == DOES_NOT_APPLY:
            if why := why_not_written(await sandbox.run(WRITE_TRIAL)):  # no applier could have taken any patch
                raise GraderFailed(f"no patch can be applied in the verifier's sandbox: {why}")
            return None, "the patch does not apply"
        if done.returncode:
            said = done.output[-300:].decode("utf-8", "replace").strip()
            raise GraderFailed(f"the patch could not be tried (exit status {done.returncode}): {said}")
        if done is first and is_canonical(patch):
            return patch, ""
        # Another applier, or headers that git would not write, may have changed other files than the patch names.
        return await sandbox.diff() + await self._ignored_files(task, sandbox), ""

    async def _ignored_files(self, task: SweTask, sandbox: Sandbox) -> bytes:
        """The files that an applier made and that .gitignore names, as a patch; `diff` leaves them out."""
        before = await self._once(self._ignored, task, self._ignored_at_base)
        new = sorted(await _ignored(sandbox) - before)
        if not new:
            return b""
        words = " ".join(shlex.quote(name) for name in new)
        script = f'for name in {words}; do git diff --no-index --binary --full-index -- /dev/null "$name"; done; true'
        return (await sandbox.run(Command(script, timeout=APPLY_SECONDS, output_cap=PATCH_CAP))).output

    async def _ignored_at_base(self, task: SweTask) -> frozenset[str]:
        sandbox = await self._backend.open(task.origin, self._limits, label=f"examine {task.id}")
        try:
            return await _ignored(sandbox)
        finally:
            await sandbox.close()


async def _execute(sandbox: Sandbox, scripts: Scripts, placed: Mapping[str, bytes | None], seconds: float) -> Completed:
    """Prepare, place the hidden tests and run them; the result is that of all parts.

    Files that are given are put in place from outside, by nothing that the patch could have changed; without any, the
    task's own script places the tests.
    """
    whole = Completed(0, b"", 0, False, 0.0)

    async def run(part: str) -> Completed:
        await sandbox.write(SCRIPT, part.encode())
        left = max(seconds - whole.seconds, 0.1)
        done = await sandbox.run(Command(("bash", "-c", EVALUATE), timeout=left, output_cap=LOG_CAP))
        log, spent = whole.output + done.output, whole.seconds + done.seconds
        return Completed(done.returncode, log, whole.dropped + done.dropped, done.timed_out, spent)

    if scripts.prepare.strip():
        whole = await run(RECORD + scripts.prepare)
        await sandbox.quiet()  # nobody is left who could read the tests before they are run
    if whole.timed_out:
        return whole
    if placed:
        try:
            await _place(sandbox, placed)
        except FileProblem as error:
            return replace(whole, output=whole.output + f"the hidden tests cannot be put in place: {error}\n".encode())
    elif scripts.place.strip():
        whole = await run(RESUME + scripts.place)
        if whole.timed_out or whole.returncode == NOT_PLACED:
            return whole
    return await run(RESUME + scripts.run)


async def _place(sandbox: Sandbox, files: Mapping[str, bytes | None]) -> None:
    gone = [name for name, content in files.items() if content is None]
    if gone:
        await sandbox.run(Command(("rm", "-f", "--", *gone)))
    for name, content in files.items():
        if content is not None:
            await sandbox.write(name, content)


async def _read(sandbox: Sandbox, path: str) -> str:
    try:
        return (await sandbox.read(path)).decode("utf-8", "replace")
    except FileProblem:
        return ""  # no copy of a test came to its end


async def _ignored(sandbox: Sandbox) -> frozenset[str]:
    """The files there that .gitignore names."""
    done = await sandbox.run(Command(IGNORED, timeout=APPLY_SECONDS, output_cap=LOG_CAP))
    return frozenset(name.decode("utf-8", "surrogateescape") for name in done.output.split(b"\0") if name)


def _asking(task: SweTask, tests: Collection[str]) -> SweTask:
    """The task with these tests as the expected ones, for a grader."""
    instance = {**task.instance, "FAIL_TO_PASS": json.dumps(list(tests)), "PASS_TO_PASS": "[]"}
    return replace(task, fail_to_pass=tuple(tests), pass_to_pass=(), instance=instance)


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
