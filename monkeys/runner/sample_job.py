"""The main job: from the specification of a run to its attempts, each with a verdict, in a store on disk."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agent.agent import AttemptSpec
from agent.limits import AttemptLimits
from agent.models.replay import NOOP
from agent.trajectory import ORACLE, Usage
from envs.events import Sink, ignore
from envs.secrets import redacted
from monkeys.events import LimitReached
from monkeys.executors import ExecutorSetup, WorkerFacts, make_executor
from monkeys.executors.worker import Worker
from monkeys.pricing.cost_report import cost_report
from monkeys.runner.budget import RunBudget, RunLimits, Spent
from monkeys.runner.model_setup import Asked, ModelSetup
from monkeys.runner.resources import ResourceSpec
from monkeys.runner.sampler import Sampler, SamplerOptions
from monkeys.runner.session import Session, load_chosen, open_session
from monkeys.runner.verify_rules import VerifyRules
from monkeys.runner.worker_setup import RunWorkerSetup
from monkeys.spec import ConfigError, RunSpec, identity, merged
from monkeys.spec.option import places
from monkeys.spec.sections import BudgetOptions
from monkeys.store import Store
from monkeys.strategies import STRATEGIES, Strategy, make_strategy, strategy_config
from monkeys.text import several
from tasks import TaskSet
from tasks.suites import suite_of

__all__ = ["RunEnd", "open_worker", "run_limits", "sample_run", "strategy_of"]


PARAMETERS = {"strategy.first": "first", "strategy.narrow": "k"}  # options that are parameters of strategies


@dataclass(frozen=True, slots=True)
class RunEnd:
    """Where the run lies, and what it lacks.

    `stopped` is the limit at which it was stopped, in a line with what to do; empty if none. `given_up` attempts failed
    on our side again and again, up to the retries; `cause` is that of the last such failure. `unverified` says which
    submissions could not be verified, and why.
    """

    folder: Path
    stopped: str = ""
    given_up: int = 0
    unverified: str = ""
    cause: str = ""


def strategy_of(spec: RunSpec) -> Strategy:
    """The strategy of a run. Raises `UnknownName`, `StrategyError` and `ConfigError`."""
    options = spec.strategy
    _check_taken(spec)
    strategy = make_strategy(options.name, **{"first": options.first, "k": options.narrow, **options.options})
    if strategy.goes_by_verdicts and not spec.verify.enabled:
        raise ConfigError(
            f"--strategy {options.name} goes by verdicts: leave out --no-verify, or use --strategy independent"
        )
    return strategy


def _check_taken(spec: RunSpec) -> None:
    """Check that the strategy takes all that is given for it. Raises `UnknownName` and `ConfigError`."""
    name, options = spec.strategy.name, spec.strategy.options
    known = STRATEGIES.parameters(name)
    if known is None:
        return
    takes = f"strategy {name} takes {', '.join(known) if known else 'no options'}"
    if unknown := [key for key in options if key not in known]:
        raise ConfigError(f"--strategy-options: {takes}, and not {', '.join(unknown)}")
    for place in places(RunSpec):
        if place.path in spec.typed and place.path in PARAMETERS and PARAMETERS[place.path] not in known:
            raise ConfigError(f"{place.label} would have no effect: {takes}; leave out {place.label}")


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Everything that is known before a worker is opened."""

    setup: ModelSetup
    rules: VerifyRules
    tasks: TaskSet
    asked: Asked
    worker: RunWorkerSetup


def _prepare(setup: ModelSetup) -> _Prepared:
    """Raises a `MonkeysError` for what cannot work."""
    spec = setup.spec
    rules = VerifyRules.of(spec.verify)
    tasks = rules.select(load_chosen(spec.tasks))
    asked = setup.prepare(suite_of(tasks.suite), tasks)
    worker = RunWorkerSetup(
        tasks=tasks,
        resources=_resources(setup, asked.limits, max(map(rules.seconds_for, tasks.tasks))),
        rules=rules,
        verify=spec.verify if spec.verify.enabled else None,
        asked=asked,
        quote=setup.quote,
        seed=spec.tasks.seed,
        test_base=spec.model_name == NOOP,
    )
    return _Prepared(setup, rules, tasks, asked, worker)


@asynccontextmanager
async def open_worker(
    spec: RunSpec, events: Sink = ignore
) -> AsyncIterator[tuple[Worker, Callable[[str, int], AttemptSpec]]]:
    """A worker as a run has it, for attempts without a store, and what gives their specs by task and index.

    Raises a `MonkeysError` for everything that a person can mend.
    """
    setup = ModelSetup(spec, events)
    try:
        prepared = _prepare(setup)
        async with prepared.worker.open(events) as (worker, _):
            with TemporaryDirectory(prefix="monkeys-") as folder:
                async with setup.served(Path(folder)):
                    await worker.check()
                    yield worker, _sampler_options(setup, 1).spec
    finally:
        await setup.close()


async def sample_run(spec: RunSpec, events: Sink = ignore) -> RunEnd:
    """Do the job, or go on with it.

    Raises a `MonkeysError` for everything that a person can mend; what was recorded until then is kept.
    """
    strategy = strategy_of(spec)
    setup = ModelSetup(spec, events)
    try:
        prepared = _prepare(setup)
        processes = spec.executor.worker_processes or os.cpu_count() or 2
        executor = make_executor(spec.executor.name, ExecutorSetup(prepared.worker, setup.workers, processes, events))
        async with open_session(executor, events) as session:
            if setup.server is None:
                await executor.check()
            at_once = _at_once(prepared, session.facts.room)
            config = _config(prepared, strategy, session.facts)
            stem = f"{Path(config['tasks']['set']).name}-{config['model']['name']}"
            session.open_store(setup.spec.session, stem, config, prepared.tasks, setup.environment())
            return await _sample(session, prepared, strategy, at_once)
    finally:
        await setup.close()


async def _sample(session: Session, prepared: _Prepared, strategy: Strategy, at_once: int) -> RunEnd:
    setup, tasks = prepared.setup, prepared.tasks
    spec, store = setup.spec, session.store
    budget = RunBudget(
        run_limits(spec.budget), prepared.asked.limits, setup.quote, _spent(store), events=session.events
    )
    queue = None
    if spec.verify.enabled:
        queue = session.verify_queue(at_once=spec.verify.workers, retries=spec.session.retries, workers=at_once)
    sampler = Sampler(
        store,
        tasks,
        session.executor,
        strategy,
        queue,
        _sampler_options(setup, at_once),
        budget=budget,
        breaker=session.breaker,
        changed=session.changed,
        events=session.events,
    )
    lines = [*_lines(session, setup, strategy, tasks, at_once), *setup.lines(store, tasks)]
    title = f"{tasks.name} · {spec.model_name}"
    session.tell_began(title, tasks, spec.tasks.attempts, lines, [session.facts.warning, *relaxations(spec)])
    async with setup.served(store.folder):
        if setup.server is not None:
            await session.executor.check()
        await sampler.run()
    missing = sampler.missing
    stopped = budget.stopped if missing else ""
    if stopped:
        session.events(LimitReached(stopped))
    given_up = 0 if stopped else missing
    session.note = stopped.partition(";")[0] or (f"{several(given_up, 'attempt')} given up" if given_up else "done")
    unverified = queue.unverified if queue else ""
    return RunEnd(store.folder, stopped, given_up, unverified, sampler.cause)


def _at_once(prepared: _Prepared, room: int | None) -> int:
    """How many attempts run at once, where memory has room for `room` sandboxes. Raises `ConfigError`.

    An attempt keeps its sandbox while feedback waits for another one, so one is left free for those.
    """
    asked, wanted = prepared.asked, prepared.setup.workers
    if room is None:
        return wanted
    if asked.extra_sandbox and room < 2:
        raise ConfigError(
            f"--feedback {','.join(asked.spec.agent.feedback)} needs a second sandbox beside that of an attempt, "
            "and memory has room for one; give a smaller --memory-mb, or --overcommit"
        )
    return min(wanted, room - asked.extra_sandbox)


def _sampler_options(setup: ModelSetup, workers: int) -> SamplerOptions:
    spec = setup.spec
    return SamplerOptions(
        attempts=spec.tasks.attempts,
        workers=workers,
        retries=spec.session.retries,
        arm=setup.model_name,
        seed=spec.tasks.seed,
        seeds=setup.seeds,
    )


def _resources(setup: ModelSetup, limits: AttemptLimits, verify_seconds: float) -> ResourceSpec:
    spec = setup.spec
    return ResourceSpec(
        sandbox=spec.sandbox.name,
        limits=ResourceSpec.limits_of(spec.sandbox),
        workers=setup.workers,
        starts=spec.session.starts,
        warm=spec.session.warm,
        overcommit=spec.session.overcommit,
        images=spec.images,
        seconds=max(limits.seconds, verify_seconds),
        taken_mb=setup.reserved_mb,
    )


def _config(prepared: _Prepared, strategy: Strategy, facts: WorkerFacts) -> dict[str, Any]:
    """What must be the same for attempts to belong to one run: what the options say, and what was found for them.

    Secrets in it, such as a key in --extra-body, are left out.
    """
    spec, tasks = prepared.setup.spec, prepared.tasks
    sandbox: dict[str, Any] = {"name": facts.sandbox}
    if facts.limits:
        sandbox |= {"platform": spec.images.platform, "limits": asdict(facts.limits)}
    found = {
        "suite": tasks.suite,
        "tasks": {"set": tasks.name},
        "limits": asdict(prepared.asked.limits),
        "sandbox": sandbox,
        "verify": prepared.rules.saved(),
        "strategy": strategy_config(strategy),
        **prepared.setup.saved(prepared.asked),
    }
    config: dict[str, Any] = redacted({**merged(identity(spec), found), "sandbox": sandbox})
    return config


def run_limits(budget: BudgetOptions) -> RunLimits:
    """What the options say that a run may use."""
    return RunLimits(
        math.inf if budget.max_cost is None else budget.max_cost,
        math.inf if budget.max_tokens is None else budget.max_tokens,
        math.inf if budget.max_time is None else budget.max_time,
    )


def _spent(store: Store) -> Spent:
    """What the run has cost before."""
    tallies, report = store.tallies(), cost_report(store)
    return Spent(
        sum((tally.usage for tally in tallies), Usage()).total,
        report.total if report else 0.0,
        sum(tally.resolved + tally.unresolved + tally.unverified for tally in tallies),
        sum(tally.seconds for tally in tallies),
    )


def _lines(session: Session, setup: ModelSetup, strategy: Strategy, tasks: TaskSet, at_once: int) -> list[str]:
    """What was chosen, and how to choose otherwise."""
    spec, facts, store = setup.spec, session.facts, session.store
    done = sum(len(indices) for indices in store.sampled().values())
    by = f", allocated by outcomes ({strategy.name})" if strategy.goes_by_verdicts else ""
    lines = [
        f"{several(len(tasks), 'issue')} ({tasks.name}) x {several(spec.tasks.attempts, 'attempt')}{by}, "
        f"model {spec.model_name}, {at_once} at once"
    ]
    if facts.sandbox:
        why = "as told" if spec.sandbox.name else "what these tasks need"
        lines.append(
            f"sandbox {facts.sandbox} ({facts.described.get('isolation', '')}), {why}; --sandbox local or docker to "
            "choose"
        )
    lines.append(f"run {store.folder}" + (f", going on after {done} attempts" if done else ""))
    if facts.limits and at_once < setup.workers:
        lines.append(
            f"memory for {several(at_once, 'sandbox', 'es')} of {facts.limits.memory_mb} MB, so not {setup.workers} "
            "at once; --memory-mb or --overcommit for more"
        )
    return lines


def relaxations(spec: RunSpec) -> list[str]:
    """What was given up of the usual protection, a line for each."""
    lines, network = [], spec.sandbox.network
    if network != "none":
        lines.append(
            f"NETWORK: commands in the sandboxes reach {network!r}, where a fix may be found too; "
            "it is recorded with the run. --network none shuts them in."
        )
    if spec.session.overcommit:
        lines.append("OVERCOMMIT: memory limits may add up to more than the machine has, so sandboxes may be lost.")
    if oracles := [kind for kind in spec.agent.feedback if kind.startswith(ORACLE)]:
        lines.append(
            f"ORACLE: attempts are told what the hidden tests say ({', '.join(oracles)}); the run is named so wherever "
            "it is shown, and compares with no ordinary run."
        )
    return lines
