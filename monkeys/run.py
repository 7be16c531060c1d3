"""The main job: from settings to a run on disk and its curve on the screen.

Puts the rooms together (tasks, model, sandboxes, verifier, store, sampling, report) and
turns what can go wrong into one line for a person. Nothing here knows how any of them
works.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import platform
import signal
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from agent.loop import AttemptLimits
from agent.models import Model, ModelRefused, make_model
from agent.prompts import opening, prompt_texts
from agent.tools import TOOLS
from envs import Backend, Limits, SandboxUnavailable, backend
from monkeys.progress import Progress
from monkeys.sampling import Arm, RunStopped, Sampler
from monkeys.store import Store, StoreError
from monkeys.together import together
from tasks import TaskError, TaskSet, load_tasks
from tasks.grading import Grader, UnittestGrader
from tasks.swebench import SwebenchGrader
from tasks.verify import Verifier

__all__ = ["Settings", "sample_run"]

PACKAGES = ("coding-monkeys", "openai", "docker", "swebench", "numpy", "scipy")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that one run is told. See `python -m agent.swe --help` for each."""

    tasks: str = "quick"
    ids: tuple[str, ...] = ()
    model: str = "monkey"
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    sampling: dict[str, Any] = field(default_factory=dict)  # temperature, top_p, max_tokens, ...
    attempts: int = 250
    workers: int | None = None  # None: 8 for a served model, processors + 1 for a built-in one
    retries: int = 3
    seed: int = 0
    attempt: AttemptLimits = field(default_factory=AttemptLimits)
    sandbox: str | None = None  # None: what the tasks need
    limits: Limits = field(default_factory=Limits)
    verify: bool = True
    verify_seconds: float = 1800.0
    verify_workers: int = 2
    run: str | None = None  # None: named after the tasks, the model and the configuration
    runs: Path = Path("runs")
    quiet: bool = False


def sample_run(settings: Settings) -> int:
    """Do the job. Returns the exit code: 0 done, 1 stopped on the way, 2 a mistake in the settings, 130 interrupted."""
    try:
        return asyncio.run(_Job(settings).main())
    except (TaskError, ModelRefused, SandboxUnavailable, StoreError) as error:
        return _complain(error, 2)
    except RunStopped as error:
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
        self.settings = settings

    @property
    def workers(self) -> int:
        return self.settings.workers or (8 if self.settings.base_url else (os.cpu_count() or 2) + 1)

    async def main(self) -> int:
        settings = self.settings
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _interrupt)
        tasks = load_tasks(settings.tasks)
        if settings.ids:
            tasks = tasks.select(list(settings.ids))
        sandbox = settings.sandbox or ("docker" if any(task.origin.image for task in tasks.tasks) else "local")
        model = make_model(
            settings.model,
            tasks,
            base_url=settings.base_url,
            api_key=os.environ.get(settings.api_key_env),
            sampling=settings.sampling,
        )
        rooms = backend(sandbox)
        grader: Grader = SwebenchGrader() if "log_parser" in tasks.tasks[0].instance else UnittestGrader()
        try:
            return await self.sample(tasks, sandbox, model, rooms, grader)
        finally:
            await rooms.close()
            await grader.close()
            await model.close()

    async def sample(self, tasks: TaskSet, sandbox: str, model: Model, rooms: Backend, grader: Grader) -> int:
        settings = self.settings
        # Each of these takes a moment and needs none of the others.
        async with together() as group:
            ready = group.create_task(self.prepared(tasks))
            group.create_task(rooms.start())
            group.create_task(model.check())
        tasks = ready.result()
        for task in tasks.tasks:
            rooms.check(task.origin)
        config = self.config(tasks, sandbox, model)
        name = settings.run or default_name(config)
        store = Store.write(settings.runs / name, config, tasks, environment(rooms))
        note = "stopped"
        try:
            progress = Progress.start(store.task_ids(), settings.attempts)
            arm = Arm(
                name=model.name,
                model=model,
                openings={task.id: opening(task) for task in tasks.tasks},
                attempt_limits=settings.attempt,
                sandbox_limits=settings.limits,
                seed=settings.seed,
            )
            verifier = None
            if settings.verify:
                verifier = Verifier(
                    rooms, grader, settings.limits, seconds=settings.verify_seconds, workers=settings.verify_workers
                )
            sampler = Sampler(
                store, tasks, arm, rooms, verifier, progress, workers=self.workers, retries=settings.retries
            )
            with nullcontext() if settings.quiet else self.screen(progress, tasks, sandbox, rooms, store):
                await sampler.run()
            note = "done"
            if not settings.quiet:
                show_summary(store)
        finally:
            try:
                store.end_session(note)
            finally:
                store.close()
        return 0

    async def prepared(self, tasks: TaskSet) -> TaskSet:
        from tasks.repositories import with_repositories

        return await asyncio.to_thread(with_repositories, tasks)

    def config(self, tasks: TaskSet, sandbox: str, model: Model) -> dict[str, Any]:
        """What must be the same for attempts to belong to one run."""
        settings = self.settings
        return {
            "tasks": tasks.name,
            "ids": list(settings.ids),
            "model": model.name,
            "sampling": settings.sampling,
            "seed": settings.seed,
            "attempt_limits": asdict(settings.attempt),
            "sandbox": sandbox,
            "sandbox_limits": asdict(settings.limits),
            "verify_seconds": settings.verify_seconds,
            "prompts": prompt_texts(),
            "tools": [tool.name for tool in TOOLS],
        }

    def screen(
        self, progress: Progress, tasks: TaskSet, sandbox: str, rooms: Backend, store: Store
    ) -> AbstractContextManager[object]:
        """The first lines, which say what was chosen and how to choose otherwise; then the live display."""
        from rich.console import Console

        from monkeys.report.screen import make_screen

        settings, console = self.settings, Console(stderr=True)
        done = sum(len(indices) for indices in store.sampled().values())
        why = "as told" if settings.sandbox else "what these tasks need"
        lines = [
            f"{len(tasks)} issues ({tasks.name}) x {settings.attempts} attempts, "
            f"model {settings.model}, {self.workers} at once",
            f"sandbox {sandbox} ({rooms.describe()['isolation']}), {why}; --sandbox local or docker to choose",
            f"run {store.folder}" + (f", going on after {done} attempts" if done else ""),
        ]
        for line in lines:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        if warning := getattr(rooms, "warning", ""):
            console.print(warning, style="bold red", markup=False, soft_wrap=True)
        return make_screen(progress, title=f"{tasks.name} · {settings.model}", quiet=False, console=console)


def show_summary(store: Store) -> None:
    from rich.console import Console

    from monkeys.report.closing import render
    from monkeys.report.summary import summarize

    render(summarize(store), Console())


def default_name(config: dict[str, Any]) -> str:
    """The same settings give the same name, so that the same command goes on with its run."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
    parts = "".join(c if c.isalnum() or c in "._" else "-" for c in f"{Path(config['tasks']).name}-{config['model']}")
    return f"{parts[:80].strip('-.')}-{digest}"


def environment(rooms: Backend) -> dict[str, Any]:
    """What may differ between two sessions of one run, kept with each."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **rooms.describe(),
        **found,
    }


def _interrupt() -> None:
    """SIGTERM ends a run as Ctrl-C does."""
    signal.raise_signal(signal.SIGINT)
