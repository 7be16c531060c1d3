"""The feedback `oracle-tests` and `oracle-count`: what the hidden tests say of the patch so far.

The verifier runs the hidden tests in a fresh sandbox of its own, after each turn that changed the patch. So an attempt
sees what decides about it, which no attempt outside of a study can: such runs are named and reported apart.
"""

from __future__ import annotations

from agent.agent import AttemptScope
from agent.feedback.feedback import FeedbackSetup, Moment, Said, listed
from agent.scaffolds import Unsuited
from agent.tools import Workspace
from envs import SandboxLost
from tasks.task import Outcome, Task, Verdict

__all__ = ["OracleCount", "OracleTests"]

SHOWN = 30
PASSED = ("passed", "xfail")


class _Oracle:
    """What both kinds do: verify the patch so far."""

    name = ""
    instructions = ""
    extra_sandbox = True

    def __init__(self, setup: FeedbackSetup) -> None:
        if setup.argument:
            raise Unsuited(f"feedback {self.name} takes no argument; leave out :{setup.argument}")
        if setup.verify is None:
            raise Unsuited(
                f"feedback {self.name} runs the hidden tests, and nothing is verified; leave out --no-verify"
            )
        self._verify = setup.verify
        self.texts: dict[str, str] = {}

    async def begin(self, task: Task, workspace: Workspace, scope: AttemptScope) -> _Oracle:
        return self

    async def look(self, moment: Moment) -> Said | None:
        if not moment.changed:
            return None
        verdict = await self._verify(moment.task, moment.submission)
        if verdict.outcome is Outcome.INFRA_ERROR:
            raise SandboxLost(f"the hidden tests could not be run for feedback: {verdict.reason}")
        return self.told(verdict)

    def told(self, verdict: Verdict) -> Said:
        raise NotImplementedError


class OracleTests(_Oracle):
    """Names the hidden tests that do not pass."""

    name = "oracle-tests"

    def told(self, verdict: Verdict) -> Said:
        failing = [test for test, status in verdict.tests.items() if status not in PASSED]
        if failing:
            text = f"{len(failing)} of {len(verdict.tests)} hidden tests do not pass:\n{listed(failing, SHOWN)}"
            return Said(text, holds=True)
        return _rest(verdict)


class OracleCount(_Oracle):
    """Tells how many hidden tests do not pass."""

    name = "oracle-count"

    def told(self, verdict: Verdict) -> Said:
        failing = sum(status not in PASSED for status in verdict.tests.values())
        if failing:
            return Said(f"{failing} of {len(verdict.tests)} hidden tests do not pass.", holds=True)
        return _rest(verdict)


def _rest(verdict: Verdict) -> Said:
    """What is told where no hidden test is known to fail."""
    if verdict.resolved:
        return Said("All hidden tests pass." if verdict.tests else "The submission is right.")
    return Said("The submission does not resolve the issue.", holds=True)
