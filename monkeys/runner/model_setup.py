"""The model of a run: its source and server, its agent and scaffold, its prices, all chosen by the run's specification.

Guarantees: what cannot work together (a scaffold that the model cannot use, a limit in dollars without prices, a
recording that lacks attempts) is refused before anything is sampled. A digest of the file that a model plays is saved
with the run, so that a run goes on with the same file alone. A server that the run starts is up for as long as `served`
lasts, and is gone after it.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.agent import Agent
from agent.agents import AGENTS, AgentSetup, make_agent
from agent.feedback import FeedbackSetup, make_feedback
from agent.limits import AttemptLimits
from agent.models import Model
from agent.models.model import ModelRefused
from agent.models.recorded import Recorded
from agent.models.source import FileSource, ModelRequest, ModelSource
from agent.models.sources import check_suited, find_source, make_server
from agent.scaffolds import TURNS, Scaffold, ScaffoldSpec, Unsuited
from agent.servers import Serve
from agent.summary import summary_prompt
from agent.tools import TOOLS, EmbeddingsSpec
from envs.events import Sink, ignore
from envs.memory_budget import MemoryBudget, this_machine
from envs.secrets import keep_address, keep_environment, keep_fields, keep_secret
from monkeys.pricing.prices import PriceError, Quote, find_quote, how_to_price, served_at
from monkeys.runner.feedback_setup import CheckedFeedback, check_feedback, review_request, used_feedback
from monkeys.runner.recording import Recording
from monkeys.runner.task_group import task_group
from monkeys.spec import RunSpec
from monkeys.spec.option import places
from monkeys.store import Store
from tasks import TaskSet
from tasks.suite import Suite

if TYPE_CHECKING:
    from agent.servers.server import Server

__all__ = ["Asked", "ModelSetup", "scaffold_spec"]

SERVED_WORKERS = 64
SERVER_LOG = "server.log"  # in the run's folder
# Options that have an effect on some agents alone.
OF_SCAFFOLD = frozenset(
    f"agent.{key}" for key in ("scaffold", "actions", "feedback", "locate", "tools", "embeddings", "embeddings_model")
)
LIMITS = tuple(field.name for field in fields(AttemptLimits))
OF_TURNS = frozenset({"limits.turns", "limits.context", "agent.each_turn"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a model and how attempts are made, once all defaults are filled in. It can be pickled.

    `base_url` is the address of the server, also of one that the run starts. `recording` is the folder of the run that
    is replayed. With `extra_sandbox`, an attempt at times needs a sandbox beside its own.
    """

    spec: RunSpec
    agent: str
    scaffold: ScaffoldSpec | None
    limits: AttemptLimits
    base_url: tuple[str, ...] = ()
    own_server: bool = False
    recording: Path | None = None
    extra_sandbox: bool = False

    def make_scaffold(self) -> Scaffold | None:
        return self.scaffold.make() if self.scaffold else None

    def make_model(self, suite: Suite, tasks: TaskSet, events: Sink) -> Model:
        """The model, not yet asked. Raises `ModelRefused` and `StoreError`."""
        if self.recording is not None:
            recording = Recording(self.recording)
            return Recorded(recording.name, recording, strict=self.spec.model.replay_strict)
        request = _request(self.spec, self.make_scaffold(), suite, tasks, events)
        source = find_source(request)
        return source.model(
            replace(request, base_url=self.base_url, api_key=None if self.own_server else request.api_key)
        )

    def make_reviewer(self, suite: Suite, tasks: TaskSet, events: Sink) -> Model | None:
        """The model that reviews, None for the attempt's own, as in a replay. Raises `ModelRefused`."""
        if self.spec.agent.review_model is None or self.recording is not None:
            return None
        plain = _request(self.spec, None, suite, tasks, events)
        request = review_request(self.spec, plain, self.base_url)
        return find_source(request).model(request)

    def make_agent(self, suite: Suite, model: Model, feedback: FeedbackSetup) -> Agent:
        """The agent. Raises `UnknownName` and `Unsuited`."""
        setup = AgentSetup(
            model=model,
            shown=suite.shown,
            collect=suite.collect,
            limits=self.limits,
            scaffold=self.make_scaffold(),
            feedback=make_feedback(self.spec.agent.feedback, feedback),
            command_seconds=self.spec.sandbox.command_seconds,
            options=dict(self.spec.agent.options),
            each_turn=self.spec.agent.each_turn,
        )
        return make_agent(self.agent, setup, sandbox=suite.needs_sandbox)


class ModelSetup:
    """Chosen by `spec`, which a recording may complete: read it from here.

    Raises `StoreError`, `ModelRefused`, `UnknownName`, `Unsuited` and `PriceError`.
    """

    def __init__(self, spec: RunSpec, events: Sink = ignore) -> None:
        self._events = events
        self.scaffold: Scaffold | None = None
        self.server: Server | None = None
        self.quote: Quote | None = None
        self.reserved_mb = 0  # of this machine's memory, for the server
        self._content, self._priced = "", False
        self._feedback = CheckedFeedback()
        self._memory: MemoryBudget | None = None
        if spec.model.base_url and spec.model.name is None and spec.server.serve is None:
            raise ModelRefused(
                f"--base-url names a server and no --model says which model to ask there; give --model NAME, one of "
                f"those that {spec.model.base_url[0].rstrip('/')}/models lists"
            )
        self.recording = None if spec.model.base_url else Recording.named(spec.model_name, spec.session.runs)
        self.spec = _as_recorded(spec, self.recording) if self.recording else spec

    def prepare(self, suite: Suite, tasks: TaskSet) -> Asked:
        """Fill in what depends on the tasks, and refuse what cannot work."""
        spec, recording = self.spec, self.recording
        source = None if recording else find_source(_request(spec, None, suite, tasks, self._events))
        name = spec.agent.name or ((source.agent if source else "loop") if suite.needs_sandbox else "oneshot")
        _check_used(spec, name)
        recipe = scaffold_spec(spec, name, source)
        self.scaffold = recipe.make() if recipe else None
        if source:
            check_suited(spec.model_name, source, self.scaffold)
        self.spec = spec = used_feedback(spec, self.scaffold)
        plain = _request(spec, None, suite, tasks, self._events)
        self._feedback = check_feedback(spec, self.scaffold, tasks, source, plain)
        limits = _limits(spec, self.scaffold)
        if recording is not None:
            if spec.budget.max_cost is not None or spec.limits.dollars is not None:
                raise PriceError("a replay costs nothing; leave out --max-cost and --max-attempt-cost")
            recording.require(tasks, spec.tasks.attempts)
        elif source:
            request = _request(spec, self.scaffold, suite, tasks, self._events)
            self.server = make_server(source, request)
            self._priced = source.priced and self.server is None
            if isinstance(source, FileSource) and (file := source.file(request)):
                self._content = _digest(file)
            self.quote = self._find_quote()
            self._reserve()
        return Asked(
            spec=spec,
            agent=name,
            scaffold=recipe,
            limits=limits,
            base_url=(self.server.url,) if self.server else spec.model.base_url,
            own_server=self.server is not None,
            recording=recording.folder if recording else None,
            extra_sandbox=self._feedback.extra_sandbox,
        )

    async def close(self) -> None:
        """Release the recording, the server and its memory. Idempotent."""
        if self.recording is not None:
            self.recording.close()
        if self._memory is not None:
            self._memory.close()
        if self.server is not None:
            await self.server.stop()

    @property
    def model_name(self) -> str:
        """As it is saved with the run."""
        if self.recording:
            return self.recording.name
        return _kind_and_name(self.spec.model_name) if self._content else self.spec.model_name

    @property
    def workers(self) -> int:
        """Attempts at once."""
        usual = (os.cpu_count() or 2) + 1
        if self.server is not None:
            usual = self.server.spec.at_once
        elif self.spec.model.base_url:
            usual = SERVED_WORKERS
        return self.spec.session.workers or usual

    @property
    def seeds(self) -> Callable[[str, int], int] | None:
        """The attempts' seeds, where they are given."""
        return self.recording.seed if self.recording else None

    def saved(self, asked: Asked) -> dict[str, Any]:
        """What of it is saved with a run, for its answers depend on it."""
        spec, scaffold = self.spec, self.scaffold
        agent: dict[str, Any] = {"name": asked.agent}
        if scaffold:
            agent |= {"scaffold": scaffold.name, "actions": scaffold.form, **scaffold.options}
            summary = {"summary": summary_prompt()} if spec.limits.context == "summarise" else {}
            prompts = {**scaffold.texts, **self._feedback.texts, **summary}
            agent |= {"prompts": prompts, "tools": list(scaffold.tools)}
        model: dict[str, Any] = {"name": self.model_name, "sampling": _sampling(spec, scaffold)}
        if spec.model.reasoning != "keep":
            model["reasoning"] = spec.model.reasoning
        if spec.model.first_turns > 1:
            model["first_turns"] = spec.model.first_turns
        if self.server:
            model["served"] = dict(self.server.spec.config)
        if self._content:
            model["content"] = self._content
        if file := self._feedback.review_file:
            agent |= {"review_model": _kind_and_name(spec.agent.review_model or ""), "review_content": _digest(file)}
        if self.recording:
            model["recording"] = {**self.recording.identity, "strict": spec.model.replay_strict}
        return {"agent": agent, "model": model}

    def environment(self) -> dict[str, Any]:
        """What may change from one session to the next, for answers do not depend on it."""
        return {
            **({"server": {"kind": self.server.spec.what, **self.server.spec.environment}} if self.server else {}),
            **({"prices": self.quote.record()} if self.quote else {}),
            **({"patch_each_turn": True} if self.spec.agent.each_turn else {}),
        }

    def lines(self, store: Store, tasks: TaskSet) -> list[str]:
        """What a person should know at the start."""
        lines = []
        if self.server:
            spec = self.server.spec
            lines += [f"starting {spec.what} for {spec.model}; its log: {store.folder / SERVER_LOG}", *spec.notes]
        if self.quote:
            lines.append(f"prices {self.quote}")
        elif not self.recording and self._priced:
            lines.append(f"{how_to_price(self.spec.model_name)}; this run's report shows no cost")
        if self.quote and self.spec.agent.review_model:
            lines.append(
                f"tokens of the review model {self.spec.agent.review_model} are counted, and priced as those of "
                f"{self.spec.model_name}"
            )
        if self.recording and (unlike := self.recording.differences(tasks, store.config)):
            lines.append(f"the replay differs from its recording in: {', '.join(unlike)}")
        return lines

    @asynccontextmanager
    async def served(self, folder: Path) -> AsyncIterator[None]:
        """Start the run's own server, if there is one, and keep it up while the block lasts. Raises `ServerLost`."""
        if self.server is None:
            yield
            return
        from agent.servers.server import serving

        async with serving(self.server, folder / SERVER_LOG), task_group() as group:
            keeping = group.create_task(self.server.keep())
            yield
            keeping.cancel()

    def _reserve(self) -> None:
        """Reserve the server's memory once for all processes of the run, if this machine has room for it."""
        if self.server is None or not self.server.spec.memory_mb:
            return
        machine, wanted = this_machine(), self.server.spec.memory_mb
        self._memory = MemoryBudget(machine.usable_mb, key=machine.key)
        if self._memory.try_reserve(wanted):
            self.reserved_mb = wanted

    def _find_quote(self) -> Quote | None:
        """What the model's tokens cost. Raises `PriceError` where a limit needs to know and nobody says."""
        spec = self.spec
        urls = served_at(spec.model.base_url) if self._priced else ()
        quote = find_quote(spec.model_name, urls, spec.model.prices)
        limits = {"--max-cost": spec.budget.max_cost, "--max-attempt-cost": spec.limits.dollars}
        if quote is None and (named := [name for name, limit in limits.items() if limit not in (None, math.inf)]):
            raise PriceError(f"{named[0]} cannot be kept: {how_to_price(spec.model_name)}")
        return quote


def _request(spec: RunSpec, scaffold: Scaffold | None, suite: Suite, tasks: TaskSet, events: Sink) -> ModelRequest:
    model, server = spec.model, spec.server
    return ModelRequest(
        name=spec.model_name,
        base_url=model.base_url,
        api_key=_key(spec),
        serve=Serve(
            server.serve,
            server.tensor_parallel,
            server.data_parallel,
            server.tool_parser,
            server.serve_args,
            server.serve_seconds,
        ),
        sampling={**(scaffold.body if scaffold else {}), **_sampling(spec, scaffold)},
        scheduled=model.scheduled,
        reasoning=model.reasoning,
        first_turns=model.first_turns,
        request_seconds=model.request_seconds,
        outage_seconds=model.outage_seconds,
        tool_calls=scaffold is not None and scaffold.form == "native",
        seed=spec.tasks.seed,
        tasks=tasks.tasks,
        attempts=spec.tasks.attempts,
        kind=suite.kind,
        known=suite.known,
        events=events,
    )


def _kind_and_name(model: str) -> str:
    """The name of a model that plays a file, wherever the file lies."""
    kind, _, file = model.partition(":")
    return f"{kind}:{Path(file).name}"


def _key(spec: RunSpec) -> str | None:
    """The key of the server. From now on it is known as a secret, and so is whatever else the options hold of them."""
    model, key = spec.model, os.environ.get(spec.model.api_key_env)
    keep_secret(key)
    keep_environment()
    for address in model.base_url:
        keep_address(address)
    keep_fields({"body": model.extra_body, "agent": spec.agent.options})
    return key


def _digest(path: Path) -> str:
    """Identity by content of a file, or of the files in a folder."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _sampling(spec: RunSpec, scaffold: Scaffold | None) -> dict[str, Any]:
    return {**(scaffold.sampling if scaffold else {}), **spec.model.sampling}


def _uses_scaffold(agent: str) -> bool:
    return bool(getattr(AGENTS.get(agent), "uses_scaffold", False))


def _check_used(spec: RunSpec, agent: str) -> None:
    """Check that each option typed for this run has an effect on the agent. Raises `Unsuited`."""
    unused = frozenset[str]() if _uses_scaffold(agent) else OF_SCAFFOLD
    if agent == "oneshot":
        unused = OF_SCAFFOLD | OF_TURNS
    if given := [place.label for place in places(RunSpec) if place.path in unused & spec.typed]:
        why = "makes one completion without tools" if agent == "oneshot" else "uses no scaffold"
        raise Unsuited(f"agent {agent} {why}: {' and '.join(given)} would have no effect; leave out these options")


def scaffold_spec(spec: RunSpec, agent: str, source: ModelSource | None) -> ScaffoldSpec | None:
    """The scaffold of an agent that uses one. Raises `Unsuited`."""
    if not _uses_scaffold(agent):
        return None
    name = spec.agent.scaffold
    if name is None:
        name = "tools" if spec.agent.actions or source is None else source.scaffold
    url, model = spec.agent.embeddings, spec.agent.embeddings_model
    if (url is None) != (model is None):
        raise Unsuited("--embeddings and --embeddings-model need one another: give the server's address and its model")
    embeddings = EmbeddingsSpec(url, model) if url and model else None
    return ScaffoldSpec(name, spec.agent.actions or "native", spec.agent.locate, spec.agent.tools, embeddings)


def _limits(spec: RunSpec, scaffold: Scaffold | None) -> AttemptLimits:
    limits = spec.limits
    turns = limits.turns or (TURNS[scaffold.name] if scaffold else AttemptLimits().turns)
    return AttemptLimits(turns, limits.tokens, limits.seconds, limits.window, limits.context, limits.dollars)


def _as_recorded(spec: RunSpec, recording: Recording) -> RunSpec:
    """The specification of a replay: what it does not give is taken from the record."""
    config, given = recording.config, spec.given
    agent, limits, tasks = config.get("agent", {}), config.get("limits", {}), config.get("tasks", {})

    def left(section: str, values: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in values.items() if f"{section}.{key}" not in given}

    found = left("agent", {key: agent[key] for key in ("name", "scaffold", "actions", "review_model") if key in agent})
    found |= left("agent", {"feedback": tuple(agent["feedback"])} if agent.get("feedback") else {})
    if found.get("scaffold", spec.agent.scaffold) in (None, "tools"):
        tools = tuple(agent.get("tools", ()))
        found |= left("agent", {"tools": () if tools == tuple(tool.name for tool in TOOLS) else tools})
    if found.get("scaffold", spec.agent.scaffold) not in (None, "tools"):
        found.pop("actions", None)  # such a scaffold has a form of its own, under whose name it was recorded
        found |= left("agent", {"locate": agent.get("locate", "words")})  # what runs did that saved nothing of it
    set_ = left("tasks", {"set": tasks.get("set", spec.tasks.set)})
    ids = spec.tasks.ids
    if "tasks.ids" not in given and {"set": spec.tasks.set, **set_}["set"] == tasks.get("set"):
        ids = tuple(tasks.get("ids", ()))
    attempts = recording.attempts(ids) if "tasks.attempts" not in given else 0
    return replace(
        spec,
        agent=replace(spec.agent, **found),
        tasks=replace(spec.tasks, ids=ids, attempts=attempts or spec.tasks.attempts, **set_),
        limits=replace(spec.limits, **left("limits", {key: limits[key] for key in LIMITS if key in limits})),
    )
