"""The recipe of a run's workers: it can be pickled, and opens the same worker in every process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.feedback import FeedbackSetup
from envs.events import Sink
from monkeys.executors import WorkerFacts
from monkeys.executors.worker import Worker
from monkeys.pricing.prices import Quote
from monkeys.runner.model_setup import Asked
from monkeys.runner.recording import Recording
from monkeys.runner.resources import ResourceSpec, open_resources
from monkeys.runner.verify_rules import VerifyRules
from monkeys.spec import VerifyOptions
from tasks import TaskSet
from tasks.suite import VerifierSetup
from tasks.suites import suite_of

__all__ = ["RunWorkerSetup"]


@dataclass(frozen=True, slots=True)
class RunWorkerSetup:
    """`asked` is None for workers that verify only, `verify` for those that make attempts only.

    With `test_base` they run a task's tests for an empty submission too. Attempts of the run in the folder `continued`
    may be continued.
    """

    tasks: TaskSet
    resources: ResourceSpec
    rules: VerifyRules
    verify: VerifyOptions | None = None
    asked: Asked | None = None
    quote: Quote | None = None
    seed: int = 0
    test_base: bool = False
    continued: Path | None = None

    @asynccontextmanager
    async def open(self, events: Sink) -> AsyncIterator[tuple[Worker, WorkerFacts]]:
        """A worker with everything that it needs. Raises a `MonkeysError` for what keeps it from working."""
        suite = suite_of(self.tasks.suite)
        async with AsyncExitStack() as stack:
            open_ = await stack.enter_async_context(open_resources(self.tasks, suite, self.resources, events))
            model = reviewer = agent = verifier = None
            if self.verify:
                verifier = suite.verifier(
                    VerifierSetup(
                        backend=open_.pool,
                        limits=open_.limits,
                        seconds=self.rules.seconds_for,
                        workers=self.verify.workers,
                        cache=self.verify.cache,
                        recheck=self.verify.recheck,
                        seed=self.seed,
                        repeats=self.rules.repeats_for,
                        test_base=self.test_base,
                        events=events,
                    )
                )
                stack.push_async_callback(verifier.close)
            if self.asked:
                model = self.asked.make_model(suite, open_.tasks, events)
                stack.push_async_callback(model.close)
                reviewer = self.asked.make_reviewer(suite, open_.tasks, events)
                if reviewer:
                    stack.push_async_callback(reviewer.close)
                feedback = FeedbackSetup(reviewer=reviewer, verify=verifier.verify if verifier else None)
                agent = self.asked.make_agent(suite, model, feedback)
            recording = None
            if self.continued:
                recording = Recording(self.continued)
                stack.callback(recording.close)
            tasks = {task.id: task for task in open_.tasks.tasks}
            worker = Worker(tasks, agent, model, verifier, open_.pool, open_.limits, self.quote, reviewer, recording)
            yield worker, open_.facts()
