"""The verifier: a patch in, a verdict out, from a fresh sandbox.

Guarantees: nothing that ran in an attempt's sandbox takes part. The patch is applied to
the task's base with the same cascade of appliers as SWE-bench's harness, the test files
are restored, the hidden tests are added, and the log is read on this side. A sandbox that
fails gives an infra error, never "unresolved"; a patch that does not apply or tests that
outrun their time are the patch's own fault.
"""

from __future__ import annotations

import asyncio
import time

from envs import Backend, Command, Limits, SandboxError
from tasks.grading import Grader, GraderFailed
from tasks.task import Outcome, Task, Verdict

__all__ = ["Verifier"]

DOES_NOT_APPLY = 97
LOG_CAP = 16 << 20
APPLY_SECONDS = 120.0
# SWE-bench's cascade. A failed try may leave parts behind, a conflict in the index too, so all is reset between tries.
APPLY = f"""
for try in 'git apply' 'git apply --3way' 'git apply --reject' 'patch --batch --forward --fuzz=5 -p1 -i'; do
    $try /tmp/model.patch >/dev/null 2>&1 && exit 0
    git reset -q --hard; git clean -qfd
done
exit {DOES_NOT_APPLY}
"""


class Verifier:
    """Verifies patches in sandboxes of `backend`, at most `workers` at a time, each test run within `seconds`."""

    def __init__(self, backend: Backend, grader: Grader, limits: Limits, *, seconds: float, workers: int) -> None:
        self._backend, self._grader, self._limits, self._seconds = backend, grader, limits, seconds
        self._slots = asyncio.Semaphore(workers)

    async def verify(self, task: Task, patch: bytes) -> Verdict:
        """The verdict on `patch`. Never raises for what a patch or a sandbox does."""
        if not patch.strip():
            return Verdict(Outcome.UNRESOLVED, "empty patch", {}, 0.0)
        async with self._slots:
            began = time.monotonic()
            try:
                outcome, reason, tests, log = await self._run(task, patch)
            except (SandboxError, GraderFailed) as error:
                outcome, reason, tests, log = Outcome.INFRA_ERROR, str(error), {}, b""
            return Verdict(outcome, reason, tests, time.monotonic() - began, log)

    async def _run(self, task: Task, patch: bytes) -> tuple[Outcome, str, dict[str, str], bytes]:
        sandbox = await self._backend.open(task.origin, self._limits, label=f"verify {task.id}")
        try:
            await sandbox.write("/tmp/model.patch", patch)
            applied = await sandbox.run(Command(APPLY, timeout=APPLY_SECONDS))
            if applied.timed_out:
                return Outcome.UNRESOLVED, f"applying the patch took longer than {APPLY_SECONDS:.0f} s", {}, b""
            if applied.returncode == DOES_NOT_APPLY:
                return Outcome.UNRESOLVED, "the patch does not apply", {}, applied.output
            if applied.returncode:
                said = applied.output[-300:].decode("utf-8", "replace").strip()
                raise GraderFailed(f"the patch could not be tried (exit status {applied.returncode}): {said}")
            await sandbox.write("/tmp/tests.patch", task.test_patch.encode())
            await sandbox.write("/tmp/eval.sh", (await self._grader.script(task)).encode())
            ran = await sandbox.run(Command(("bash", "/tmp/eval.sh"), timeout=self._seconds, output_cap=LOG_CAP))
        finally:
            await sandbox.close()
        if ran.timed_out:
            return Outcome.UNRESOLVED, f"the tests ran longer than {self._seconds:.0f} s", {}, ran.output
        grade = await self._grader.grade(task, ran.output)
        failed = [name for name, status in grade.tests.items() if status != "passed"]
        reason = grade.reason or (f"{len(failed)} of {len(grade.tests)} expected tests do not pass" if failed else "")
        return Outcome.RESOLVED if grade.resolved else Outcome.UNRESOLVED, reason, grade.tests, ran.output
