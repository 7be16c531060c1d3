"""The main job: from settings to a run on disk and its curve on the screen.

Puts the rooms together (tasks, who answers, sandboxes, verifier, store, sampling, report)
and turns what can go wrong into one line for a person. Nothing here knows how any of them
works.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from agent.models import Model, ModelRefused
from agent.scaffolds import Unsuited
from agent.servers import ServerLost
from agent.trajectory import Usage
from envs import SandboxUnavailable
from monkeys.pricing.cost_report import cost_report
from monkeys.pricing.prices import PriceError
from monkeys.report.terminal.final_screen import show
from monkeys.runner.budget import RunBudget, Spent
from monkeys.runner.calibration import Calibration, CalibrationError
from monkeys.runner.circuit_breaker import RunStopped
from monkeys.runner.environment import environment
from monkeys.runner.interruption import run_to_the_end
from monkeys.runner.model_setup import ModelSetup
from monkeys.runner.progress import Progress
from monkeys.runner.resources import Reports, ResourceSpec, RunResources, open_resources
from monkeys.runner.sampler import Arm, Sampler
from monkeys.runner.settings import Settings
from monkeys.store import Store, StoreError
from tasks import Task, TaskError, TaskSet, load_tasks
from tasks.swe.cached_verifier import CachedVerifier, make_verifier

__all__ = ["sample_run"]


@runtime_checkable
class Warns(Protocol):
    """A model that says what a person should know once, such as a field that the server does not take."""

    warn: Callable[[str], None]


def sample_run(settings: Settings) -> int:
    """Do the job. Returns the exit code.

    0 done, 1 stopped on the way, 2 a mistake in the settings, 3 stopped at a limit of the run, 130 interrupted.
    """
    try:
        return run_to_the_end(_Job(settings).main())
    except (TaskError, CalibrationError, PriceError, ModelRefused, Unsuited, SandboxUnavailable, StoreError) as error:
        return _complain(error, 2)
    except (RunStopped, ServerLost) as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        print("interrupted: all that was recorded is kept; give the same command again to go on", file=sys.stderr)
        return 130


def _complain(error: Exception, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


class _Job:
    """One session of a run."""

    def __init__(self, settings: Settings) -> None:
        self.answering = ModelSetup(settings)
        self.settings = self.answering.settings
        self.calibration: Calibration | None = None

    def allowed(self, task: Task) -> float:
        """Seconds for one run of the task's hidden tests."""
        seconds = self.settings.verify_seconds
        return self.calibration.seconds(task.id, seconds) if self.calibration else seconds

    def repeats(self, task: Task) -> int:
        """How many runs of them decide on a patch."""
        return self.calibration.repeats(task.id) if self.calibration and self.settings.unstable == "majority" else 1

    async def main(self) -> int:
        try:
            tasks = self.tasks()
            model = self.answering.model(tasks)
            try:
                return await self.sample(tasks, model)
            finally:
                await model.close()
        finally:
            await self.answering.close()

    def tasks(self) -> TaskSet:
        settings = self.settings
        tasks = load_tasks(settings.tasks)
        if settings.ids:
            tasks = tasks.select(list(settings.ids))
        if settings.calibration:
            self.calibration = Calibration.load(settings.calibration)
            tasks = self.calibration.select(tasks, settings.unstable)
        return tasks

    async def sample(self, tasks: TaskSet, model: Model) -> int:
        longest = max(self.settings.attempt.seconds, *map(self.allowed, tasks.tasks))
        # A server of our own is not up yet, and is checked once it is.
        beside = None if self.answering.server else model.check
        async with open_resources(tasks, self.venue(), seconds=longest, beside=beside) as court:
            return await self.carry_out(court, model)

    def venue(self) -> ResourceSpec:
        told = self.settings
        from envs.docker.images import Images

        images = partial(Images, mirror=told.image_mirror, platform=told.platform, quota_gb=told.image_quota_gb)
        return ResourceSpec(
            sandbox=told.sandbox,
            limits=told.limits,
            workers=self.answering.workers,
            starts=told.starts,
            warm=told.warm,
            overcommit=told.overcommit,
            options={"images": images},
            taken_mb=self.answering.memory_mb,
        )

    async def carry_out(self, court: RunResources, model: Model) -> int:
        settings, answering = self.settings, self.answering
        config = self.config(court, model)
        folder = settings.runs / (settings.run or default_name(config))
        store = Store.write(folder, config, court.tasks, {**environment(court.pool), **answering.environment()})
        note, judge = "stopped", None
        try:
            progress = Progress.start(store.task_ids(), settings.attempts, settings.allocate.rule)
            ledger = RunBudget(settings.spend, settings.attempt, answering.quote, spent(store))
            progress.spending = ledger.status
            for one in (court.pool, court.pool.backend, model):
                if isinstance(one, Reports):
                    one.progress = lambda text: setattr(progress, "note", text)
            if isinstance(model, Warns):
                model.warn = self.warn
            arm = Arm(
                name=model.name,
                model=model,
                scaffold=answering.scaffold,
                attempt_limits=settings.attempt,
                sandbox_limits=court.limits,
                seed=settings.seed,
                seeds=answering.seeds,
            )
            judge = self.judge(court) if settings.verify else None
            sampler = Sampler(
                store,
                court.tasks,
                arm,
                court.pool,
                judge,
                progress,
                workers=court.at_once,
                verify_workers=settings.verify_workers,
                retries=settings.retries,
                choice=settings.allocate,
                ledger=ledger,
            )
            with nullcontext() if settings.quiet else self.screen(progress, court, store):
                async with answering.served(model, store, progress):
                    await sampler.run()
                progress.note = ""  # nothing is under way any more
            stopped = ledger.stopped if progress.done < progress.total else ""
            note = stopped.partition(";")[0] or "done"
            if not settings.quiet:
                show(store)
        finally:
            if judge:
                judge.close()
            try:
                store.end_session(note)
            finally:
                store.close()
        if stopped:
            print(stopped, file=sys.stderr)
        return 3 if stopped else 0

    def judge(self, court: RunResources) -> CachedVerifier:
        settings = self.settings
        return make_verifier(
            court.pool,
            court.grader,
            court.limits,
            seconds=self.allowed,
            workers=settings.verify_workers,
            remember=settings.remember,
            recheck=settings.recheck,
            seed=settings.seed,
            repeats=self.repeats,
            warn=self.warn,
        )

    def warn(self, line: str) -> None:
        if not self.settings.quiet:
            print(line, file=sys.stderr)

    def config(self, court: RunResources, model: Model) -> dict[str, Any]:
        """What must be the same for attempts to belong to one run."""
        settings = self.settings
        return {
            "tasks": court.tasks.name,
            "ids": list(settings.ids),
            "model": model.name,
            "seed": settings.seed,
            "attempt_limits": asdict(settings.attempt),
            "sandbox": court.pool.name,
            "platform": settings.platform,
            "sandbox_limits": asdict(court.limits),
            "verify_seconds": settings.verify_seconds,
            **self.answering.config(),
            **({"allocate": settings.allocate.config()} if settings.allocate.looks else {}),
            **({"calibration": self.calibration.digest, "unstable": settings.unstable} if self.calibration else {}),
        }

    def screen(self, progress: Progress, court: RunResources, store: Store) -> AbstractContextManager[object]:
        """The first lines, which say what was chosen and how to choose otherwise; then the live display."""
        from rich.console import Console

        from monkeys.report.terminal.live import make_screen

        settings, tasks, pool, console = self.settings, court.tasks, court.pool, Console(stderr=True)
        done = sum(len(indices) for indices in store.sampled().values())
        choice, wanted = settings.allocate, self.answering.workers
        allotted = f", allocated by outcomes ({choice.rule})" if choice.looks else ""
        why = "as told" if settings.sandbox else "what these tasks need"
        lines = [
            f"{len(tasks)} issues ({tasks.name}) x {settings.attempts} attempts{allotted}, "
            f"model {settings.model}, {court.at_once} at once",
            f"sandbox {pool.name} ({pool.describe()['isolation']}), {why}; --sandbox local or docker to choose",
            f"run {store.folder}" + (f", going on after {done} attempts" if done else ""),
            *self.answering.lines(store, tasks),
        ]
        if court.at_once < wanted:
            lines.append(
                f"memory for {court.at_once} sandboxes of {court.limits.memory_mb} MB, so not "
                f"{wanted} at once; --memory-mb or --overcommit for more"
            )
        for line in lines:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        for warning in (pool.warning, *relaxations(settings)):
            if warning:
                console.print(warning, style="bold red", markup=False, soft_wrap=True)
        return make_screen(progress, title=f"{tasks.name} · {settings.model}", quiet=False, console=console)


def relaxations(settings: Settings) -> list[str]:
    """What was given up of the usual protection, a line for each."""
    lines, network = [], settings.limits.get("network", "none")
    if network != "none":
        lines.append(
            f"NETWORK: commands in the sandboxes reach {network!r}, where a fix may be found too; "
            "it is recorded with the run. --network none shuts them in."
        )
    if settings.overcommit:
        lines.append("OVERCOMMIT: memory limits may add up to more than the machine has, so sandboxes may be lost.")
    return lines


def default_name(config: dict[str, Any]) -> str:
    """The same settings give the same name, so that the same command goes on with its run."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
    parts = "".join(c if c.isalnum() or c in "._" else "-" for c in f"{Path(config['tasks']).name}-{config['model']}")
    return f"{parts[:80].strip('-.')}-{digest}"


def spent(store: Store) -> Spent:
    """What the run has cost before."""
    tallies, bill = store.tallies(), cost_report(store)
    return Spent(
        sum((tally.usage for tally in tallies), Usage()).total,
        bill.total if bill else 0.0,
        sum(tally.resolved + tally.unresolved + tally.unverified for tally in tallies),
        sum(tally.seconds for tally in tallies),
    )
