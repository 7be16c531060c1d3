"""The tests of a task on its untouched base, as the verdict on an empty patch.

An empty patch is unresolved whatever the tests say, so nothing is run for it. Where it is asked for (`replay:noop`),
`BaseTests` runs the tests once instead: the base of a sound task is unresolved, and the log shows that its tests run.
"""

from __future__ import annotations

import time

from envs import SandboxError
from tasks.swe.grading import Grade, GraderFailed
from tasks.swe.patch_verifier import KIND, PatchVerifier
from tasks.task import Outcome, Submission, Task, Verdict

__all__ = ["BaseTests"]


class BaseTests:
    """Verifies an empty patch by running the tests on the base, and any other as `verifier` does, which it closes."""

    def __init__(self, verifier: PatchVerifier) -> None:
        self._verifier = verifier

    async def verify(self, task: Task, submission: Submission) -> Verdict:
        """The verdict on a patch. Never raises for what a patch or a sandbox does.

        Resolved means that the task needs no patch; a flag says so.
        """
        if submission.kind != KIND or submission.body.strip():
            return await self._verifier.verify(task, submission)
        began = time.monotonic()
        try:
            done = await self._verifier.execute(task, b"")
        except (SandboxError, GraderFailed) as error:
            return Verdict(Outcome.INFRA_ERROR, str(error), {}, 0.0)
        resolved = done.grade.resolved and not done.grade.reason
        return Verdict(
            Outcome.RESOLVED if resolved else Outcome.UNRESOLVED,
            "" if resolved else _why(done.grade),
            done.grade.tests,
            time.monotonic() - began,
            done.log,
            official=done.grade.resolved,
            flags=("the base passes without a patch",) if resolved else (),
        )

    async def close(self) -> None:
        await self._verifier.close()


def _why(grade: Grade) -> str:
    bad = sum(status != "passed" for status in grade.tests.values())
    return grade.reason or f"{bad} of {len(grade.tests)} expected tests do not pass on the base"
