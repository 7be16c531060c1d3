"""One run of a task's tests: a patch is applied in a fresh sandbox, hidden tests are placed and run, the log is graded.

Guarantees: what installs or builds has ended, with all that it started, before a hidden test is written. The patch is
applied with the same cascade of appliers as in SWE-bench's harness, and `applied` is the patch as the repository then
shows it. Nothing that runs in the sandbox writes the grade: logs are read outside.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from envs import Backend, Command, Completed, FileProblem, Limits, Sandbox
from envs.writable import WRITE_TRIAL, why_not_written
from tasks.swe.appliers import DOES_NOT_APPLY, apply_first, apply_others
from tasks.swe.falsify import MixedFile
from tasks.swe.grading import NOT_PLACED, Grade, Grader, GraderFailed, Scripts
from tasks.swe.once import OncePerTask
from tasks.swe.patches import is_canonical, touched_files
from tasks.swe.task import SweTask
from tasks.task import Task

__all__ = ["PATCH", "PATCH_CAP", "MixedTests", "Room", "Run", "Runner", "longest"]

LOG_CAP = 16 << 20
PATCH_CAP = 64 << 20  # as much as is taken from a sandbox; SWE-bench's largest solution has 1 MB
APPLY_SECONDS = 120.0
SLOWER = 20.0  # than the run of the tests themselves its other runs may be: they hold up to 16 copies of one test
SHORTEST = 30.0  # seconds that they may always take, since a machine may be busier than it was
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
class Run:
    """The result of one run. `applied` is the patch as the repository then shows it, None if it did not apply.

    `seconds` is the time that the scripts took, and `trace` the text of the file that was asked for. `timed_out` says
    whether they were ended at their limit.
    """

    applied: bytes | None
    grade: Grade
    log: bytes = field(repr=False)
    seconds: float = 0.0
    trace: str = ""
    timed_out: bool = False

    @property
    def statuses(self) -> Mapping[str, str]:
        """The status of each test that was asked for, none if the log as a whole cannot be believed."""
        return {} if self.grade.reason else self.grade.tests


@dataclass(frozen=True, slots=True)
class MixedTests:
    """Files that are placed instead of the task's hidden tests, and the ids of the tests whose statuses are wanted.

    `trace` is the path of a file that is read afterwards, where there is one.
    """

    files: Mapping[str, MixedFile]
    ids: Collection[str]
    trace: str = ""


def longest(run: Run) -> float:
    """How long the runs of altered tests may take, after the run of the tests themselves."""
    return max(SHORTEST, SLOWER * run.seconds)


class Runner:
    """Runs tests in sandboxes of `backend`.

    `seconds` is the most that one run of a task's tests may take. `runs` counts the runs so far; `test_seconds` is the
    time that their scripts took, without opening sandboxes, applying patches and grading.
    """

    def __init__(self, backend: Backend, grader: Grader, limits: Limits, seconds: Callable[[Task], float]) -> None:
        self.backend, self.grader, self.limits, self.seconds = backend, grader, limits, seconds
        self.hidden = OncePerTask(self._hidden_tests)
        self.ignored = OncePerTask(self._ignored_at_base)
        self.runs = 0
        self.test_seconds = 0.0

    async def run(
        self,
        task: SweTask,
        patch: bytes,
        tests: MixedTests | None = None,
        *,
        within: float | None = None,
    ) -> Run:
        """Apply `patch` in a fresh sandbox and run the hidden tests, or `tests` in their place.

        They may take `within` seconds, and never more than the task's limit. Raises `SandboxError` and `GraderFailed`.
        """
        async with self.room(task) as room:
            applied, refusal = await room.apply(patch)
            if applied is None:
                return Run(None, Grade(False, {}, refusal), b"")
            return replace(await room.run(tests, within=within), applied=applied)

    @asynccontextmanager
    async def room(self, task: SweTask) -> AsyncIterator[Room]:
        """A fresh sandbox for runs of one task's tests, closed at the end."""
        scripts = await self.grader.scripts(task)
        sandbox = await self.backend.open(task.origin, self.limits, label=f"verify {task.id}")
        try:
            yield Room(self, task, scripts, sandbox)
        finally:
            await sandbox.close()

    async def _hidden_tests(self, task: SweTask) -> Mapping[str, bytes | None]:
        """The files of the hidden tests as they are with the test patch; None for one that it deletes."""
        sandbox = await self.backend.open(task.origin, self.limits, label=f"examine {task.id}")
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

    async def _ignored_at_base(self, task: SweTask) -> frozenset[str]:
        sandbox = await self.backend.open(task.origin, self.limits, label=f"examine {task.id}")
        try:
            return await _ignored(sandbox)
        finally:
            await sandbox.close()


class Room:
    """An open sandbox in which the tests of one task are run, once or, with trusted code, several times."""

    def __init__(self, runner: Runner, task: SweTask, scripts: Scripts, sandbox: Sandbox) -> None:
        self._runner, self._task, self._scripts, self._sandbox = runner, task, scripts, sandbox

    async def apply(self, patch: bytes) -> tuple[bytes | None, str]:
        """Apply a patch. Gives the patch as the repository then shows it; or None, and why it failed."""
        sandbox = self._sandbox
        await sandbox.write(PATCH, patch)
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
        return await sandbox.diff() + await self._ignored_files(), ""

    async def run(self, tests: MixedTests | None = None, *, within: float | None = None, prepare: bool = True) -> Run:
        """Run the hidden tests as the repository is now; see `Runner.run`.

        Without `prepare`, what an earlier run here has installed and built is used.
        """
        runner, task = self._runner, self._task
        limit = runner.seconds(task)
        seconds = limit if within is None else min(within, limit)
        placed: dict[str, bytes | None] = {}
        if tests:
            placed.update(await runner.hidden.get(task))
            placed |= {name: file.source.encode("utf-8", "surrogateescape") for name, file in tests.files.items()}
            placed |= {file.secret_path: file.secret.encode() for file in tests.files.values()}
            task = _asking(task, tests.ids)
        runner.runs += 1
        scripts = self._scripts
        if not prepare:
            scripts = replace(scripts, prepare="")
            await self._sandbox.quiet()  # nothing is left of the run before
        ran = await _execute(self._sandbox, scripts, placed, seconds)
        traced = await _read(self._sandbox, tests.trace) if tests and tests.trace else ""
        runner.test_seconds += ran.seconds
        if ran.timed_out:
            slow = Grade(False, {}, f"the tests ran longer than {seconds:.0f} s")
            return Run(b"", slow, ran.output, ran.seconds, traced, timed_out=True)
        return Run(b"", await runner.grader.grade(task, ran.output), ran.output, ran.seconds, traced)

    async def _ignored_files(self) -> bytes:
        """The files that an applier made and that .gitignore names, as a patch; `diff` leaves them out."""
        before = await self._runner.ignored.get(self._task)
        new = sorted(await _ignored(self._sandbox) - before)
        if not new:
            return b""
        words = " ".join(shlex.quote(name) for name in new)
        script = f'for name in {words}; do git diff --no-index --binary --full-index -- /dev/null "$name"; done; true'
        done = await self._sandbox.run(Command(script, timeout=APPLY_SECONDS, output_cap=PATCH_CAP))
        return done.output


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
