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
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from agent.loop import AttemptLimits
from agent.models import Model, ModelRefused, make_model
from agent.scaffolds import Scaffold, Unsuited, make_scaffold
from envs import Backend, Limits, SandboxUnavailable, backend
from envs.budget import Budget, Placed, this_machine
from envs.gate import Gate
from envs.pool import WARM_SECONDS, Pool
from monkeys.calibration import Calibration, CalibrationError
from monkeys.incidents import RunStopped
from monkeys.plan import Choice
from monkeys.progress import Progress
from monkeys.sampling import Arm, Sampler
from monkeys.store import Store, StoreError
from monkeys.together import together
from tasks import Task, TaskError, TaskSet, load_tasks
from tasks.grading import Grader, UnittestGrader
from tasks.swebench import SwebenchGrader
from tasks.verdicts import make_judge

__all__ = ["Choice", "Settings", "sample_run"]

PACKAGES = ("coding-monkeys", "openai", "docker", "swebench", "numpy", "scipy")
MEMORY_MB = {"local": 512}  # of a process
CONTAINER_MB = 2048  # of a whole sandbox, in Docker and whatever else there is
WARM_AT_MOST = 4
# What a sandbox lives on top of an attempt or a verification: its wait in the pool, and patches applied and taken.
MARGIN_SECONDS = WARM_SECONDS + 900.0


@runtime_checkable
class Reports(Protocol):
    """A back end or a model that tells in one line what it is at, such as an image being pulled or an
    outage; nothing once that is over."""

    progress: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that one run is told. See `python -m agent.swe --help` for each."""

    tasks: str = "quick"
    ids: tuple[str, ...] = ()
    model: str = "monkey"
    base_url: str | Sequence[str] | None = None
    api_key_env: str = "OPENAI_API_KEY"
    sampling: dict[str, Any] = field(default_factory=dict)  # temperature, top_p, max_tokens, ...
    scaffold: str = "tools"  # what an attempt starts with and may do, one of `agent.scaffolds.SCAFFOLDS`
    actions: str = "native"  # how a model writes them, one of `agent.actions.FORMS`, where the scaffold leaves it open
    scheduled: bool = False  # the server takes a priority with each request
    attempts: int = 250
    allocate: Choice = field(default_factory=Choice)  # but for waves it needs `verify`
    workers: int | None = None  # None: 8 for a served model, processors + 1 for a built-in one
    retries: int = 3
    seed: int = 0
    attempt: AttemptLimits = field(default_factory=AttemptLimits)
    sandbox: str | None = None  # None: what the tasks need
    limits: dict[str, Any] = field(default_factory=dict)  # those of `Limits` that are to be other than usual
    overcommit: bool = False
    warm: int | None = None  # None: as many as workers, at most WARM_AT_MOST, for Docker; none for local
    starts: int = 8
    image_mirror: str = ""  # a registry and prefix to look in first
    platform: str = ""  # of images; empty: the engine's own
    image_quota_gb: float | None = None
    verify: bool = True
    verify_seconds: float = 1800.0
    verify_workers: int = 2
    remember: bool = True  # verdicts, for all runs on this machine
    recheck: float = 0.0
    calibration: Path | None = None
    unstable: str = "majority"
    run: str | None = None  # None: named after the tasks, the model and the configuration
    runs: Path = Path("runs")
    quiet: bool = False


def sample_run(settings: Settings) -> int:
    """Do the job. Returns the exit code: 0 done, 1 stopped on the way, 2 a mistake in the settings, 130 interrupted."""
    try:
        return asyncio.run(_Job(settings).main())
    except (TaskError, CalibrationError, ModelRefused, Unsuited, SandboxUnavailable, StoreError) as error:
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
        self.scaffold = chosen_scaffold(settings)
        self.calibration: Calibration | None = None

    def allowed(self, task: Task) -> float:
        """Seconds for one run of the task's hidden tests."""
        seconds = self.settings.verify_seconds
        return self.calibration.seconds(task.id, seconds) if self.calibration else seconds

    def repeats(self, task: Task) -> int:
        """How many runs of them decide on a patch."""
        return self.calibration.repeats(task.id) if self.calibration and self.settings.unstable == "majority" else 1

    @property
    def workers(self) -> int:
        return self.settings.workers or (8 if self.settings.base_url else (os.cpu_count() or 2) + 1)

    async def main(self) -> int:
        settings = self.settings
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _interrupt)
        tasks = load_tasks(settings.tasks)
        if settings.ids:
            tasks = tasks.select(list(settings.ids))
        if settings.calibration:
            self.calibration = Calibration.load(settings.calibration)
            tasks = self.calibration.select(tasks, settings.unstable)
            longest = max(settings.attempt.seconds, *map(self.allowed, tasks.tasks))
            limits = {"lifetime_seconds": longest + MARGIN_SECONDS, **settings.limits}
            self.settings = settings = replace(settings, limits=limits)
        sandbox = settings.sandbox or ("docker" if any(task.origin.image for task in tasks.tasks) else "local")
        model = make_model(
            settings.model,
            tasks,
            base_url=settings.base_url,
            api_key=os.environ.get(settings.api_key_env),
            sampling={**self.scaffold.body, **self.scaffold.sampling, **settings.sampling},
            scheduled=settings.scheduled,
        )
        rooms = backend(sandbox, **self.options(sandbox))
        grader: Grader = SwebenchGrader() if "log_parser" in tasks.tasks[0].instance else UnittestGrader()
        try:
            return await self.sample(tasks, model, rooms, grader)
        finally:
            await rooms.close()
            await grader.close()
            await model.close()

    def options(self, sandbox: str) -> dict[str, Any]:
        """What a back end is told beyond its name."""
        if sandbox != "docker":
            return {}
        from envs.images import Images

        told = self.settings
        brought = partial(Images, mirror=told.image_mirror, platform=told.platform, quota_gb=told.image_quota_gb)
        return {"images": brought}

    async def sample(self, tasks: TaskSet, model: Model, rooms: Backend, grader: Grader) -> int:
        # Each of these takes a moment and needs none of the others.
        async with together() as group:
            ready = group.create_task(self.prepared(tasks))
            group.create_task(rooms.start())
            group.create_task(model.check())
        tasks = ready.result()
        for task in tasks.tasks:
            rooms.check(task.origin)
        async with self.pooled(rooms) as pool:
            return await self.carry_out(tasks, model, pool, grader)

    @asynccontextmanager
    async def pooled(self, rooms: Backend) -> AsyncIterator[Pool]:
        """The sandboxes of attempts and verifications alike, within one budget of the machine that they run on."""
        settings = self.settings
        machine = rooms.machine if isinstance(rooms, Placed) else this_machine()
        budget = Budget(machine.usable_mb, key=machine.key, overcommit=settings.overcommit)
        budget.check(sandbox_limits(settings, rooms.name).memory_mb)
        usual = min(self.workers, WARM_AT_MOST) if rooms.name == "docker" else 0
        warm = usual if settings.warm is None else settings.warm
        pool = Pool(rooms, budget=budget, gate=Gate(settings.starts), warm=warm)
        try:
            yield pool
        finally:
            await pool.close()
            budget.close()

    async def carry_out(self, tasks: TaskSet, model: Model, pool: Pool, grader: Grader) -> int:
        settings, limits = self.settings, sandbox_limits(self.settings, pool.name)
        config = self.config(tasks, pool.name, model)
        name = settings.run or default_name(config)
        store = Store.write(settings.runs / name, config, tasks, environment(pool))
        note, judge = "stopped", None
        try:
            progress = Progress.start(store.task_ids(), settings.attempts, settings.allocate.rule)
            for one in (pool.backend, model):
                if isinstance(one, Reports):
                    one.progress = lambda text: setattr(progress, "note", text)
            arm = Arm(
                name=model.name,
                model=model,
                scaffold=self.scaffold,
                attempt_limits=settings.attempt,
                sandbox_limits=limits,
                seed=settings.seed,
            )
            if settings.verify:
                judge = make_judge(
                    pool,
                    grader,
                    limits,
                    seconds=self.allowed,
                    workers=settings.verify_workers,
                    remember=settings.remember,
                    recheck=settings.recheck,
                    seed=settings.seed,
                    repeats=self.repeats,
                    warn=lambda line: None if settings.quiet else print(line, file=sys.stderr),
                )
            sampler = Sampler(
                store,
                tasks,
                arm,
                pool,
                judge,
                progress,
                workers=self.workers,
                verify_workers=settings.verify_workers,
                retries=settings.retries,
                choice=settings.allocate,
            )
            with nullcontext() if settings.quiet else self.screen(progress, tasks, pool, store):
                await sampler.run()
                progress.note = ""  # nothing is under way any more
            note = "done"
            if not settings.quiet:
                show_summary(store)
        finally:
            if judge:
                judge.close()
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
            "sampling": {**self.scaffold.sampling, **settings.sampling},
            "seed": settings.seed,
            "attempt_limits": asdict(settings.attempt),
            "sandbox": sandbox,
            "platform": settings.platform,
            "sandbox_limits": asdict(sandbox_limits(settings, sandbox)),
            "verify_seconds": settings.verify_seconds,
            "scaffold": self.scaffold.name,
            "actions": self.scaffold.form,
            "prompts": dict(self.scaffold.texts),
            "tools": list(self.scaffold.tools),
            **({"allocate": settings.allocate.config()} if settings.allocate.looks else {}),
            **({"calibration": self.calibration.digest, "unstable": settings.unstable} if self.calibration else {}),
        }

    def screen(self, progress: Progress, tasks: TaskSet, pool: Pool, store: Store) -> AbstractContextManager[object]:
        """The first lines, which say what was chosen and how to choose otherwise; then the live display."""
        from rich.console import Console

        from monkeys.report.screen import make_screen

        settings, console = self.settings, Console(stderr=True)
        done = sum(len(indices) for indices in store.sampled().values())
        choice = settings.allocate
        allotted = f", allocated by outcomes ({choice.rule})" if choice.looks else ""
        why = "as told" if settings.sandbox else "what these tasks need"
        lines = [
            f"{len(tasks)} issues ({tasks.name}) x {settings.attempts} attempts{allotted}, "
            f"model {settings.model}, {self.workers} at once",
            f"sandbox {pool.name} ({pool.describe()['isolation']}), {why}; --sandbox local or docker to choose",
            f"run {store.folder}" + (f", going on after {done} attempts" if done else ""),
        ]
        limits = sandbox_limits(settings, pool.name)
        fit = pool.budget.total // limits.memory_mb
        if fit < self.workers and not settings.overcommit:
            lines.append(
                f"memory for {fit} sandboxes of {limits.memory_mb} MB at once; --memory-mb or --overcommit for more"
            )
        for line in lines:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        for warning in (pool.warning, *relaxations(settings)):
            if warning:
                console.print(warning, style="bold red", markup=False, soft_wrap=True)
        return make_screen(progress, title=f"{tasks.name} · {settings.model}", quiet=False, console=console)


def chosen_scaffold(settings: Settings) -> Scaffold:
    """Raises `Unsuited` for one that the model cannot use."""
    try:
        scaffold = make_scaffold(settings.scaffold, settings.actions)
    except ValueError as error:
        raise Unsuited(str(error)) from None
    if not settings.base_url and settings.model.startswith(("monkey", "replay:")):
        if scaffold.name != "tools":
            raise Unsuited(f"model {settings.model} works with the tools; leave out --scaffold {scaffold.name}")
        if scaffold.form != "native":
            raise Unsuited(f"model {settings.model} calls tools natively; leave out --actions {scaffold.form}")
    return scaffold


def sandbox_limits(settings: Settings, sandbox: str) -> Limits:
    """What each sandbox of a run may use, as told, or else as suits the sandbox and the longest use of it."""
    longest = max(settings.attempt.seconds, settings.verify_seconds)
    usual = {"memory_mb": MEMORY_MB.get(sandbox, CONTAINER_MB), "lifetime_seconds": longest + MARGIN_SECONDS}
    return Limits(**{**usual, **settings.limits})


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


def environment(pool: Pool) -> dict[str, Any]:
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
        **pool.describe(),
        "memory_budget_mb": None if pool.budget.overcommit else pool.budget.total,
        **found,
    }


def _interrupt() -> None:
    """SIGTERM ends a run as Ctrl-C does."""
    signal.raise_signal(signal.SIGINT)
