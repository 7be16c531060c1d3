"""What a run of ours gets out of a vLLM that is up, by the server's own counters and its own benchmark.

    python benchmarks/vllm.py prefix     --base-url URL --model NAME [--issues 4] [--prompt 1500] [--attempts 32]
    python benchmarks/vllm.py throughput --base-url URL --model NAME --bench-python PYTHON --tokenizer FOLDER

`prefix` samples multi-turn attempts in the sampler's order, issue by issue, and in the other one, attempt by attempt
over all issues, and prints which share of the prompt tokens the server found in its prefix cache. Only with a cache
smaller than all the prompts does the order matter (`--num-gpu-blocks-override`).

`throughput` divides the output tokens a second of a run by those of `vllm bench serve` with the same number of
requests, as many at once, and the same lengths, in turns, so that a busy machine troubles both. The benchmark's
random prompts are as long as ours were on average, and share as many blocks of it as were found in the cache. A run
ends with fewer attempts than there are places, and the benchmark, whose requests are all alike, does not; so the part
of ours in which attempts were left to begin is told apart. So is the CPU time of our side, which on a machine without
a GPU the server does not have. `--bench-python` is the interpreter that has vllm.

Both play real trajectories: our sampler, loop, client, and local sandboxes. Only the actions are set: whatever the
model says, for exactly `--output` tokens, a turn runs a command that prints `--observation` words. A server that was
started with VLLM_SERVER_DEV_MODE=1 has its prefix cache emptied before each run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

from agent.actions import Action, ActionError
from agent.actions.actions import Result, in_one_message
from agent.actions.sanitize import sendable
from agent.agent import AttemptScope
from agent.agents import AgentSetup
from agent.limits import AttemptLimits
from agent.loop import ToolLoop
from agent.models import Reply
from agent.models.admission import Admission
from agent.models.chat import ChatModel
from agent.models.http import HttpTransport
from agent.prompts import opening
from agent.scaffolds.tools import Tools
from agent.tools import TOOLS
from agent.trajectory import Message, Usage
from envs import Limits, Sandbox
from envs.local.backend import LocalBackend
from monkeys.events import Progress, Sink
from monkeys.executors import ExecutorSetup, WorkerFacts
from monkeys.executors.here import Here
from monkeys.executors.worker import Worker
from monkeys.runner.budget import RunBudget, RunLimits
from monkeys.runner.sampler import Sampler, SamplerOptions
from monkeys.runner.session import open_session
from monkeys.spec import SessionOptions
from monkeys.strategies import Plan, Scheduler, Strategy
from monkeys.strategies.independent import Independent, TaskByTask
from tasks import Submission, Task, TaskSet, load_tasks
from tasks.quick.repositories import with_repositories

# Each is one token of most vocabularies, with the space before it.
WORDS = ("time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school", "state")
OWN = 8  # tokens of a benchmark's prompt that no other has, at least
BLOCK = 32  # tokens of the server's cache that are found or computed together
TAIL = 8  # tokens of a template behind a prompt, at most
LOOK_SECONDS = 0.05
COUNTERS = {
    "prompt": "prefix_cache_queries_total",
    "cached": "prefix_cache_hits_total",
    "output": "generation_tokens_total",
    "preemptions": "num_preemptions_total",
    "steps": "iteration_tokens_total_count",
}
# The module form of `vllm bench serve`: a distribution of another name has no such command.
BENCH = """
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.benchmarks.serve import add_cli_args, main
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("prefix", "throughput"))
    parser.add_argument("--base-url", required=True, help="with its /v1")
    parser.add_argument("--model", required=True)
    parser.add_argument("--issues", type=int, default=4, help="of prefix; throughput has one")
    parser.add_argument("--attempts", type=int, default=32, help="per issue (default %(default)s)")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of an attempt's first prompt")
    parser.add_argument("--output", type=int, default=64, help="tokens of each reply")
    parser.add_argument("--observation", type=int, default=64, help="words of each result")
    parser.add_argument("--turns", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--tool-seconds", type=float, default=0.0, help="that each command sleeps")
    parser.add_argument("--at-once", type=int, default=32, help="requests in flight, at most")
    parser.add_argument("--workers", type=int, help="attempts at once (default: as many as requests)")
    parser.add_argument("--from-start", action="store_true", help="in flight from the first request on, not found")
    parser.add_argument("--no-seed", action="store_true", help="leave the seed out of our requests")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bench-python", default=sys.executable)
    parser.add_argument("--tokenizer", help="the model's folder, for the benchmark")
    told = parser.parse_args()
    if told.what == "throughput" and not told.tokenizer:
        parser.error("throughput wants --tokenizer")
    if told.what == "throughput" and told.attempts <= (told.workers or told.at_once):
        parser.error("throughput wants more --attempts than there are --workers")
    asyncio.run(prefix(told) if told.what == "prefix" else throughput(told))


async def prefix(told: argparse.Namespace) -> None:
    server = Server(told.base_url)
    tasks = await issues(server, told, told.issues)
    print(f"{told.issues} issues x {told.attempts} attempts, {told.prompt} tokens each, {told.at_once} at once")
    for turns in told.turns:
        for name, strategy in (("issue by issue", Independent()), ("attempt by attempt", AttemptMajor())):
            one, _ = await run(server, tasks, told, turns, strategy)
            print(f"  {turns} turns, {name:18}  {one}", flush=True)
    await server.close()


async def throughput(told: argparse.Namespace) -> None:
    server = Server(told.base_url)
    tasks = await issues(server, told, 1)
    for turns in told.turns:
        print(f"{told.attempts} attempts of {turns} turns, {told.at_once} requests at once, {told.output} tokens each")
        ratios = []
        for number in range(told.rounds):
            ours, beginning = await run(server, tasks, told, turns, Independent())
            theirs = await bench(server, told, ours, number)
            ratios.append(Ratio.of(ours, beginning, theirs))
            print(f"  ours   {ours}\n  begin  {beginning}\n  theirs {theirs}")
            print(f"  {ratios[-1]}; load {os.getloadavg()[0]:.1f}", flush=True)
        print(f"median of {told.rounds}, of the server's own benchmark: {Ratio.median(ratios)}")
    await server.close()


# the server


class Server:
    """Its counters, its tokenizer, its cache."""

    def __init__(self, url: str) -> None:
        self.url, self._wire = url, HttpTransport(url, None)
        self._beside = HttpTransport(url.removesuffix("/v1"), None)

    async def counters(self) -> dict[str, float]:
        page = (await self._wire.get("/metrics", 30.0, beside=True)).content.decode()
        return {
            ours: sum(map(float, re.findall(rf"^vllm:{theirs}(?:{{.*}})? (\S+)$", page, re.MULTILINE)))
            for ours, theirs in COUNTERS.items()
        }

    async def count(self, model: str, messages: Sequence[Message]) -> int:
        """How many tokens these messages are as a prompt."""
        answer = await self._beside.post("/tokenize", {"model": model, "messages": messages}, 30.0)
        return int(json.loads(answer.content)["count"])

    async def empty(self) -> None:
        """Its prefix cache, if it lets us."""
        answer = await self._beside.post("/reset_prefix_cache", {}, 30.0)
        if answer.status != 200:
            print("  the prefix cache was not emptied: start the server with VLLM_SERVER_DEV_MODE=1", file=sys.stderr)

    async def close(self) -> None:
        await self._wire.close()
        await self._beside.close()


@dataclass(frozen=True, slots=True)
class Ran:
    """What one run or benchmark came to, by the server's counters; tokens but for the first two and the last three."""

    requests: int
    seconds: float
    output: float
    prompt: float  # asked of the prefix cache
    cached: float  # of these found there
    preemptions: float
    steps: float  # of the engine, each a token for every request that runs
    cpu: float = 0.0  # seconds of our side: client, sampler, store, sandboxes

    @property
    def rate(self) -> float:
        return self.output / self.seconds

    @property
    def computed(self) -> float:
        """Tokens of a prompt that were not in the cache."""
        return (self.prompt - self.cached) / self.requests

    @property
    def batch(self) -> float:
        """How full the server was kept, which a busy machine does not change."""
        return self.output / self.steps

    def __str__(self) -> str:
        return (
            f"{self.requests} requests of {self.prompt / self.requests:.0f} tokens, "
            f"{self.cached / self.prompt:.1%} cached ({self.computed:.0f} computed), "
            f"{self.output:.0f} out in {self.seconds:.1f} s: {self.rate:.1f} tokens/s, "
            f"{self.batch:.2f} a step, {self.preemptions:.0f} preemptions"
            + (f", {self.cpu:.1f} CPU s of our side" if self.cpu else "")
        )


@dataclass(slots=True)
class Beginning:
    """A run until its last attempt had begun."""

    began: float
    full_after: float = math.nan  # seconds until as many were in flight as may be
    in_flight: float = math.nan  # on the average
    ran: Ran | None = None

    async def watch(
        self, model: Watched, server: Server, progress: Progress, workers: int, full: int, before: Mapping[str, float]
    ) -> None:
        looks: list[int] = []
        all_at_work = False
        while not all_at_work or progress.active == workers:
            all_at_work = all_at_work or progress.active == workers
            await asyncio.sleep(LOOK_SECONDS)
            looks.append(model.admission.in_flight)
            if looks[-1] >= full and math.isnan(self.full_after):
                self.full_after = time.monotonic() - self.began
        seconds, requests = time.monotonic() - self.began, model.requests
        self.in_flight = statistics.mean(looks)
        self.ran = Ran(requests, seconds, **difference(before, await server.counters()))

    def __str__(self) -> str:
        return f"{self.ran}, full after {self.full_after:.1f} s, {self.in_flight:.1f} in flight"


@dataclass(frozen=True, slots=True)
class Ratio:
    """What a run of ours got out of the server, of what the server's own benchmark did."""

    clock: float  # output tokens a second
    step: float  # output tokens a step of the engine
    begun: float  # by the clock, while attempts were left to begin

    @classmethod
    def of(cls, ours: Ran, beginning: Beginning, theirs: Ran) -> Ratio:
        assert beginning.ran
        return cls(ours.rate / theirs.rate, ours.batch / theirs.batch, beginning.ran.rate / theirs.rate)

    @classmethod
    def median(cls, ratios: Sequence[Ratio]) -> Ratio:
        return cls(*map(statistics.median, zip(*map(astuple, ratios), strict=True)))

    def __str__(self) -> str:
        return (
            f"{self.clock:.1%} by the clock, {self.begun:.1%} until the last attempt had begun, "
            f"{self.step:.1%} by the step"
        )


# the run


class Lengths:
    """Actions of which only the lengths are the matter: each reply stands for the same command."""

    name = "lengths"
    instructions = ""

    def __init__(self, output: int, words: int, seconds: float) -> None:
        said = " ".join(random.Random(1).choices(WORDS, k=words))
        self._action = Action("", TOOLS[0], {"command": f"sleep {seconds}; echo {said}" if seconds else f"echo {said}"})
        self.schemas: list[dict[str, Any]] = []
        self.body: dict[str, Any] = {"max_tokens": output, "min_tokens": output, "ignore_eos": True}

    def read(self, message: Message, *, cut: bool = False) -> tuple[Message, list[Action | ActionError]]:
        return sendable(message), [self._action]

    def observations(self, results: Sequence[Result]) -> list[Message]:
        return in_one_message(results)


class AttemptMajor(Independent):
    """The other order: each attempt's index over all issues, then the next index."""

    def scheduler(self, plan: Plan) -> Scheduler:
        return AttemptByAttempt(plan)


class AttemptByAttempt(TaskByTask):
    """The slots of `TaskByTask` in the order of their indices."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._slots = deque(sorted(self._slots, key=lambda slot: slot[1]))


async def nothing(task: Task, sandbox: Sandbox | None, reply: str) -> Submission:
    """These attempts change nothing."""
    return Submission()


class OfLengths(Tools):
    """The usual opening, and actions of given lengths."""

    def __init__(self, actions: Lengths) -> None:
        super().__init__()
        self._actions, self.form, self.body = actions, actions.name, actions.body


class Watched(ChatModel):
    """The client as it is, with what it used and had in flight."""

    used, requests = Usage(), 0

    @property
    def admission(self) -> Admission:
        return self._replicas.all[0].admission

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
    ) -> Reply:
        reply = await super().reply(messages, tools, scope=scope)
        self.used += reply.usage
        self.requests += 1
        return reply


@dataclass(frozen=True)
class Opened:
    """The recipe of the one worker, whose model and back end are closed with it."""

    worker: Worker

    @asynccontextmanager
    async def open(self, events: Sink) -> AsyncIterator[tuple[Worker, WorkerFacts]]:
        assert self.worker.model is not None
        assert self.worker.backend is not None
        try:
            yield self.worker, WorkerFacts()
        finally:
            await self.worker.model.close()
            await self.worker.backend.close()


async def issues(server: Server, told: argparse.Namespace, count: int) -> TaskSet:
    """So many embedded tasks, whose statements make prompts of `told.prompt` tokens and share no beginning."""
    found = with_repositories(load_tasks("quick")).tasks
    tasks = []
    for number in range(count):
        words = [str(number), *random.Random(number).choices(WORDS, k=told.prompt)]
        over = 0
        while True:
            del words[len(words) - over :]
            task = replace(found[number % len(found)], id=f"issue-{number}", statement=" ".join(words))
            over = await server.count(told.model, opening(task)) - told.prompt
            if over <= 0:
                break
            if over >= len(words):
                raise SystemExit(f"--prompt {told.prompt} is less than what every prompt begins with")
        tasks.append(task)
    return TaskSet("lengths", tuple(tasks))


async def run(
    server: Server, tasks: TaskSet, told: argparse.Namespace, turns: int, strategy: Strategy
) -> tuple[Ran, Beginning]:
    """Sample all of it, in a folder that goes away."""
    actions = Lengths(told.output, told.observation, told.tool_seconds)
    sampling = {"temperature": 0.8, **actions.body, **({"seed": None} if told.no_seed else {})}
    model = Watched(told.model, server.url, None, sampling)
    workers = told.workers or told.at_once
    start = {"start": told.at_once} if told.from_start else {}
    model._replicas.all[0].admission = Admission(most=told.at_once, **start)
    await model.check()
    setup = AgentSetup(
        model,
        shown=lambda task: task.statement,
        collect=nothing,
        limits=AttemptLimits(turns=turns),
        scaffold=OfLengths(actions),
    )
    backend, progress = LocalBackend(), Progress(wanted=strategy.wanted, done_of=strategy.done)
    made = {task.id: task for task in tasks.tasks}
    worker = Worker(made, ToolLoop(setup), model, None, backend, Limits(memory_mb=512))
    executor = Here(ExecutorSetup(Opened(worker), workers))
    with tempfile.TemporaryDirectory() as folder:
        async with open_session(executor, progress.take) as session:
            store = session.open_store(SessionOptions(runs=Path(folder), run="run"), "", {}, tasks)
            session.tell_began("lengths", tasks, told.attempts, [], [])
            sampler = Sampler(
                store,
                tasks,
                executor,
                strategy,
                None,
                SamplerOptions(told.attempts, workers, retries=0, arm="lengths", seed=time.time_ns()),
                budget=RunBudget(RunLimits(), AttemptLimits(), events=session.events),
                breaker=session.breaker,
                changed=session.changed,
                events=session.events,
            )
            await server.empty()
            before, began, cpu = await server.counters(), time.monotonic(), cpu_seconds()
            beginning = Beginning(began)
            full = min(workers, told.at_once)
            watching = asyncio.create_task(beginning.watch(model, server, progress, workers, full, before))
            try:
                await sampler.run()
            finally:
                seconds = time.monotonic() - began
                watching.cancel()
    cpu = cpu_seconds() - cpu
    found = await settled(server, before)
    if found["output"] != model.used.completion:
        print(f"  we counted {model.used.completion}, the server {found['output']:.0f}", file=sys.stderr)
    return Ran(model.requests, seconds, **found, cpu=cpu), beginning


def cpu_seconds() -> float:
    """Of this process and of all that it has waited for."""
    return sum(os.times()[:4])


async def bench(server: Server, told: argparse.Namespace, ours: Ran, seed: int) -> Ran:
    """The server's own benchmark, of as many requests of the lengths that ours had."""
    prompt, blocks = round(ours.prompt / ours.requests), round(ours.cached / ours.requests / BLOCK)
    own = max(OWN, prompt - blocks * BLOCK - TAIL)
    around = await server.count(told.model, [{"role": "user", "content": ""}])  # what the template adds
    shared = max(0, prompt - own - around)
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "backend": "openai-chat",
            "endpoint": "/v1/chat/completions",
            "base-url": server.url.removesuffix("/v1"),
            "model": told.model,
            "tokenizer": str(Path(told.tokenizer).resolve()),
            "dataset-name": "random",
            "random-prefix-len": shared,
            "random-input-len": own,
            "random-output-len": told.output,
            "num-prompts": ours.requests,
            "max-concurrency": told.at_once,
            "temperature": 0.8,
            "seed": seed,
            "result-dir": folder,
            "result-filename": "result.json",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        await server.empty()
        before = await server.counters()
        process = await asyncio.create_subprocess_exec(
            told.bench_python,
            *("-c", BENCH, "--ignore-eos", "--save-result", "--disable-tqdm", *words),
            cwd=folder,  # where no module of ours is taken for vllm
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        try:
            result = json.loads((Path(folder) / "result.json").read_text())
        except OSError:
            raise SystemExit(f"the benchmark failed:\n{output.decode('utf-8', 'replace')[-3000:]}") from None
    found = await settled(server, before)
    # It asks once before it begins, which is in the counters but not in its own numbers.
    found["steps"] -= found["output"] - result["total_output_tokens"]
    found["output"] = result["total_output_tokens"]
    return Ran(result["completed"], result["duration"], **found)


async def settled(server: Server, before: Mapping[str, float]) -> dict[str, float]:
    await asyncio.sleep(1.0)  # the counters follow the answers
    return difference(before, await server.counters())


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: after[name] - before[name] for name in COUNTERS}


if __name__ == "__main__":
    main()
