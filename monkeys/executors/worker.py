"""A worker: makes attempts and verifies submissions in the process that it lives in."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent.agent import Agent, AttemptBudget, AttemptScope, AttemptSpec
from agent.models import Model
from agent.models.recorded import RecordedAttempts
from agent.trajectory import Exit, Trajectory, Usage
from envs import Backend, Limits, SandboxError, SandboxUnavailable
from monkeys.pricing.prices import Quote, tokens_of
from tasks.suite import Probing, Verifier
from tasks.task import Outcome, Submission, Task, Verdict

__all__ = ["Worker"]


def _untold(usage: Usage, dollars: float) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Worker:
    """Everything that attempts and verifications need, held open by whoever made it.

    `agent` and `model` are None where submissions are verified only, `verifier` where attempts are made only,
    `reviewer` where no other model reviews; `backend` and `limits` are None for a suite without sandboxes. `recording`
    holds the attempts that may be continued.
    """

    tasks: Mapping[str, Task]
    agent: Agent | None
    model: Model | None
    verifier: Verifier | None
    backend: Backend | None
    limits: Limits | None
    quote: Quote | None = None
    reviewer: Model | None = None
    recording: RecordedAttempts | None = None

    def scope(self, spec: AttemptSpec, paid: Callable[[Usage, float], None] = _untold) -> AttemptScope:
        """The scope of an attempt whose payments are told to `paid` as they are made."""
        quote = self.quote
        if quote is None:
            return AttemptScope(spec, AttemptBudget(paid=paid))

        def waste_price(usage: Usage) -> float:  # how long the prompts of useless answers were is not known
            return quote.prices.dollars(tokens_of(usage))

        return AttemptScope(spec, AttemptBudget(quote.request, waste_price, paid))

    async def check(self) -> None:
        """Whether the models can answer at all. Raises `ModelRefused`."""
        for model in (self.model, self.reviewer):
            if model is not None:
                await model.check()

    async def attempt(self, scope: AttemptScope) -> Trajectory:
        """Make an attempt in a fresh sandbox. Raises `SandboxUnavailable`, and what `Agent.run` does."""
        if self.agent is None:
            raise ValueError("this worker was opened to verify only")
        task = self.tasks[scope.spec.task]
        if self.recording and scope.spec.continues:
            scope.recorded = self.recording.trajectory(task.id, scope.spec.continues.index)
        if self.backend is None or self.limits is None or task.origin is None:
            return await self.agent.run(task, None, scope)
        began, label = time.monotonic(), f"{task.id} #{scope.spec.index}"
        try:
            sandbox = await self.backend.open(task.origin, self.limits, label=label)
        except SandboxUnavailable:
            raise
        except SandboxError as error:
            return Trajectory(Exit.SANDBOX_FAILED, (), (), Submission(), time.monotonic() - began, str(error))
        try:
            return await self.agent.run(task, sandbox, scope)
        finally:
            await sandbox.close()

    async def verify(self, task: str, submission: Submission, *, probe: bool = False) -> Verdict:
        """Verify a submission, or `probe` whether the task's tests can be run (see `VerifySpec`)."""
        if self.verifier is None:
            return Verdict(Outcome.INFRA_ERROR, "this worker has no verifier", {}, 0.0)
        if probe and isinstance(self.verifier, Probing):
            failure = await self.verifier.probe(self.tasks[task])
            return Verdict(Outcome.INFRA_ERROR if failure else Outcome.UNRESOLVED, failure, {}, 0.0)
        return await self.verifier.verify(self.tasks[task], submission)
