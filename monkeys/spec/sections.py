"""The sections of a configuration, with every option that more than one command may take."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monkeys.spec.kinds import (
    COMMAS,
    FLAG,
    GIGABYTES,
    NAME,
    NUMBER,
    OBJECT,
    PATH,
    POSITIVE,
    RUN_NAME,
    SHARE,
    TEXT,
    TIME,
    WHOLE,
    WORDS,
    Choice,
    Many,
    Whole,
)
from monkeys.spec.option import option

__all__ = [
    "AgentOptions",
    "BudgetOptions",
    "ExecutorOptions",
    "ImageOptions",
    "LimitOptions",
    "ModelOptions",
    "SandboxOptions",
    "ServerOptions",
    "SessionOptions",
    "StrategyOptions",
    "TaskOptions",
    "VerifyOptions",
]

NAMES, TEXTS = Many(NAME), Many(TEXT)
BODY = ("temperature", "top_p", "top_k", "min_p", "stop", "max_completion_tokens", "logprobs", "return_token_ids")
"""What goes into the body of each request by the same name, where it is given."""


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """Which tasks are attempted, and how often."""

    set: str = option(
        "quick",
        "tasks",
        NAME,
        "the task set: quick or quick-easy, which are built in; a .jsonl, .json or .parquet file in SWE-bench's "
        "format; or lite, verified, full, multilingual or the name of another data set on the Hugging Face hub, with "
        ":SPLIT for another split than test",
        "SET",
        saved="tasks.set",
    )
    ids: tuple[str, ...] = option((), "ids", NAMES, "only the tasks with these ids", "ID", saved="tasks.ids")
    suite: str | None = option(
        None, "suite", NAME, "the family of the tasks", "NAME", saved="suite", shown="found from the task set"
    )
    attempts: int = option(250, "attempts", Whole(1), "attempts per task")
    seed: int = option(
        0, "seed", WHOLE, "seed of the run, from which the seed of each attempt is derived", saved="seed"
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(dict.fromkeys(self.ids)))  # an id that is given twice is one task


@dataclass(frozen=True, slots=True)
class StrategyOptions:
    """Which attempt is made next."""

    name: str = option(
        "independent",
        "strategy",
        NAME,
        "how attempts are chosen. independent: N for each task. stop: until a task is resolved, at most N. fewest: to "
        "the tasks with the fewest successes. variance: to the tasks whose coverage is the least certain. fewest and "
        "variance make N per task on average",
        "NAME",
        saved="strategy.name",
        other=(("allocate", Choice("uniform", "stop", "fewest", "variance", meaning={"uniform": "independent"})),),
    )
    first: int = option(
        5,
        "first",
        Whole(1),
        "with fewest and variance: attempts on every task before outcomes decide; the coverage curve ends there",
        "M",
        saved="strategy.first",
        resolved=True,
    )
    narrow: int = option(
        10,
        "narrow",
        Whole(1),
        "with variance: the K at which coverage is to become more certain",
        "K",
        saved="strategy.k",
        resolved=True,
    )
    options: dict[str, Any] = option(
        {}, "strategy-options", OBJECT, "options of a strategy that a package brings", "JSON"
    )


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """Who makes an attempt."""

    name: str | None = option(
        None,
        "agent",
        NAME,
        "loop: many turns with tools in a sandbox. oneshot: one completion, whose text is handed in. Or the name of an "
        "agent that an installed package brings",
        "NAME",
        saved="agent.name",
        resolved=True,
        shown="loop; oneshot for tasks without a sandbox",
    )
    scaffold: str | None = option(
        None,
        "scaffold",
        Choice("tools", "repair"),
        "what an attempt starts with. tools: the issue, and tools to work with. repair: one function to correct, for "
        "very small models",
        saved="agent.scaffold",
        shown="tools; repair for smollm2",
    )
    locate: str | None = option(
        None,
        "locate",
        Choice("tests", "words"),
        "with scaffold repair: how the function to show is found. words: by the words that it shares with the issue. "
        "tests: also by what failing visible tests execute",
        saved="agent.locate",
        resolved=True,
        shown="tests",
    )
    actions: str | None = option(
        None,
        "actions",
        Choice("native", "text", "structured"),
        "how the model writes its actions. native: tool calls. text: fenced blocks, for servers without tool calls. "
        "structured: JSON under a schema, for weak models",
        saved="agent.actions",
        shown="native",
    )
    feedback: tuple[str, ...] = option(
        (),
        "feedback",
        COMMAS,
        "what an attempt is told beyond what its tools answer, with commas between several. none. check: what its "
        "changes broke, by a linter and parsers. diff: its patch so far. tests: visible tests that fail now and did "
        "not before, after each edit; tests:submit: at a submission. reproduce: a test that it wrote, run without and "
        "with its changes. review: what a model says of its patch. oracle-tests, oracle-count: hidden tests that "
        "fail, for studies alone",
        "KIND,KIND",
        saved="agent.feedback",
        shown="none",
    )
    review_model: str | None = option(
        None,
        "review-model",
        NAME,
        "with --feedback review: the model that reviews, by a name as for --model",
        "NAME",
        saved="agent.review_model",
        shown="the attempt's own",
    )
    review_base_url: tuple[str, ...] = option(
        (),
        "review-base-url",
        NAMES,
        "with --review-model: an OpenAI-compatible server of it, or several; that of --base-url where it is not given",
        "URL",
    )
    tools: tuple[str, ...] = option(
        (),
        "tools",
        NAMES,
        "the tools that the model has, by name: default stands for bash, view, search, edit, run_tests and submit; "
        "find_class, find_function, find_snippet, find_usages, semantic_search and view_spans look at an index of the "
        "repository; or tools that installed packages bring",
        "NAME",
        saved="agent.tools",
        resolved=True,
        shown="default",
    )
    embeddings: str | None = option(
        None,
        "embeddings",
        NAME,
        "with the tool semantic_search: the address of a server of embeddings that speaks OpenAI's protocol, such as "
        "http://127.0.0.1:8001/v1; without it, words are compared",
        "URL",
    )
    embeddings_model: str | None = option(
        None,
        "embeddings-model",
        NAME,
        "what the server of --embeddings calls its model",
        "NAME",
        saved="agent.embeddings",
        resolved=True,
    )
    options: dict[str, Any] = option(
        {}, "agent-options", OBJECT, "options of an agent that a package brings", "JSON", saved="agent.options"
    )
    each_turn: bool = option(
        False,
        "patch-each-turn",
        FLAG,
        "take and verify the patch after every turn that changed it, which tells what attempts of fewer turns "
        "would have reached; a run may turn this on for its further attempts",
    )


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which model answers, and what it is asked."""

    name: str | None = option(
        None,
        "model",
        NAME,
        "monkey (built in), smollm2, replay:gold (the known solutions), replay:empty (empty patches, for which no test "
        "is run), replay:noop (empty patches, and the tests are run on the base), "
        "replay:PREDICTIONS (the patches of a file), replay:RUN (the recorded answers of a run; its tasks, attempts, "
        "scaffold, actions and limits hold where they are not given), scripted:FILE, or the name of a served model",
        "NAME",
        saved="model.name",
        resolved=True,
        shown="monkey, or the model of --serve",
    )
    base_url: tuple[str, ...] = option(
        (),
        "base-url",
        NAMES,
        "an OpenAI-compatible server, such as http://127.0.0.1:8000/v1, or several that serve the same model",
        "URL",
    )
    api_key_env: str = option(
        "OPENAI_API_KEY", "api-key-env", NAME, "the environment variable that holds the server's key", "VAR"
    )
    temperature: float | None = option(
        None,
        "temperature",
        NUMBER,
        "sampling temperature",
        "T",
        saved="model.sampling.temperature",
        shown="the server's",
    )
    top_p: float | None = option(
        None, "top-p", NUMBER, "nucleus sampling", "P", saved="model.sampling.top_p", shown="the server's"
    )
    top_k: int | None = option(
        None,
        "top-k",
        WHOLE,
        "sample from the K likeliest",
        "K",
        saved="model.sampling.top_k",
        shown="the server's",
    )
    min_p: float | None = option(
        None,
        "min-p",
        NUMBER,
        "least probability of a token, as a share of the likeliest one's",
        "P",
        saved="model.sampling.min_p",
        shown="the server's",
    )
    stop: tuple[str, ...] = option(
        (), "stop", TEXTS, "texts at which a reply ends", "TEXT", saved="model.sampling.stop"
    )
    max_completion_tokens: int | None = option(
        None,
        "max-completion-tokens",
        Whole(1),
        "limit of one reply",
        saved="model.sampling.max_completion_tokens",
        shown="the server's",
    )
    logprobs: bool = option(
        False, "logprobs", FLAG, "ask for the log-probabilities of tokens", saved="model.sampling.logprobs"
    )
    return_token_ids: bool = option(
        False, "return-token-ids", FLAG, "ask for token ids (vLLM)", saved="model.sampling.return_token_ids"
    )
    extra_body: dict[str, Any] = option(
        {},
        "extra-body",
        OBJECT,
        """further fields of each request, such as '{"reasoning_effort": "low"}'; null takes a field away""",
        "JSON",
        saved="model.sampling",
    )
    scheduled: bool = option(
        False, "scheduled", FLAG, "send a priority with each request: vLLM then serves later turns first"
    )
    reasoning: str = option(
        "keep",
        "reasoning",
        Choice("keep", "drop"),
        "keep: send the model's reasoning back with the conversation, where the server takes it. drop: never",
        saved="model.reasoning",
    )
    first_turns: int = option(
        1,
        "first-turns",
        Whole(1),
        "ask for the first turns of up to N attempts on a task with one request, whose prompt is billed once",
        saved="model.first_turns",
    )
    request_seconds: float = option(600.0, "request-seconds", TIME, "limit of one request", "TIME")
    outage_seconds: float = option(
        1800.0, "outage-seconds", TIME, "how long to wait for a server that does not answer", "TIME"
    )
    prices: Path | None = option(
        None,
        "prices",
        PATH,
        "JSON or TOML file of dollars per million tokens by model",
        "FILE",
        shown="those of the package genai-prices, where it is installed",
    )
    replay_strict: bool = option(
        False,
        "replay-strict",
        FLAG,
        "with replay:RUN: end an attempt at the first request that is not as recorded; without this it goes on, and "
        "the report counts such attempts",
        saved="model.recording.strict",
        resolved=True,
    )

    @property
    def sampling(self) -> dict[str, Any]:
        """The fields of each request's body that are given."""
        given: dict[str, Any] = {}
        for name in BODY:
            value = getattr(self, name)
            if value is not None and value is not False and value != ():
                given[name] = list(value) if isinstance(value, tuple) else value
        return {**given, **self.extra_body}


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """A model server that the run starts, and that ends with it."""

    serve: str | None = option(
        None,
        "serve",
        NAME,
        "start vLLM with this model, which is a name on the hub or a folder",
        "MODEL",
        saved="model.served.weights",
        resolved=True,
    )
    tensor_parallel: int = option(1, "tensor-parallel", Whole(1), "GPUs that share one copy of the model")
    data_parallel: int = option(1, "data-parallel", Whole(1), "copies of the model")
    tool_parser: str | None = option(
        None,
        "tool-parser",
        NAME,
        "vLLM's name for the way in which the model writes tool calls",
        "NAME",
        saved="model.served.tool_parser",
        resolved=True,
        shown="found from the model's name",
    )
    serve_args: tuple[str, ...] = option(
        (),
        "serve-args",
        WORDS,
        "further options of the server, as in --serve-args='--max-model-len 32768'",
        "'OPTIONS'",
        saved="model.served.args",
        resolved=True,
    )
    serve_seconds: float | None = option(
        None,
        "serve-seconds",
        TIME,
        "how long the server may take until it answers; vLLM downloads its weights in this time",
        "TIME",
        shown="30m for vLLM, 5m for smollm2",
    )


@dataclass(frozen=True, slots=True)
class LimitOptions:
    """What one attempt may use. An attempt that reaches a limit ends, and its patch is verified."""

    turns: int | None = option(
        None,
        "max-turns",
        Whole(1),
        "turns of one attempt",
        saved="limits.turns",
        shown="40; 4 with --scaffold repair",
    )
    tokens: int = option(
        2_000_000,
        "max-attempt-tokens",
        Whole(1),
        "prompt and completion tokens of all turns of an attempt",
        saved="limits.tokens",
    )
    dollars: float | None = option(
        None,
        "max-attempt-cost",
        POSITIVE,
        "cost of one attempt, where prices are known",
        "USD",
        saved="limits.dollars",
        shown="no limit",
    )
    seconds: float = option(
        3600.0,
        "max-attempt-time",
        TIME,
        "time of one attempt, such as 90, 15m or 2h",
        "TIME",
        saved="limits.seconds",
        other=(("max-attempt-seconds", TIME),),
    )
    window: int | None = option(
        None,
        "context-window",
        Whole(1),
        "tokens of one request",
        saved="limits.window",
        shown="what the server takes",
    )
    context: str = option(
        "stop",
        "context",
        Choice("stop", "elide", "summarise"),
        "what happens when a conversation outgrows the window. stop: the attempt ends with its patch. elide: it goes "
        "on, and older observations are shortened. summarise: it goes on, and the model writes a summary that takes "
        "the place of older turns",
        saved="limits.context",
    )


@dataclass(frozen=True, slots=True)
class BudgetOptions:
    """What the whole run may use."""

    max_cost: float | None = option(
        None, "max-cost", POSITIVE, "cost of all sessions of the run, where prices are known", "USD", shown="no limit"
    )
    max_tokens: int | None = option(
        None,
        "max-tokens",
        Whole(1),
        "prompt and completion tokens of all sessions of the run",
        shown="no limit",
    )
    max_time: float | None = option(
        None, "max-time", TIME, "time of this session's sampling, such as 90, 15m or 2h", "TIME", shown="no limit"
    )


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """Where an attempt works, and what its commands may use."""

    name: str | None = option(
        None,
        "sandbox",
        NAME,
        "local, docker, or the name of a sandbox that an installed package brings",
        "NAME",
        saved="sandbox.name",
        resolved=True,
        shown="docker for tasks that name an image, else local",
    )
    memory_mb: int | None = option(
        None,
        "memory-mb",
        Whole(16),
        "memory of a container (docker) or of each process (local)",
        "MB",
        saved="sandbox.limits.memory_mb",
        shown="2048 for docker, 512 for local",
    )
    cpus: float = option(2.0, "cpus", POSITIVE, "processors of a container (docker)", saved="sandbox.limits.cpus")
    processes: int = option(
        256, "processes", Whole(8), "processes in a sandbox at once", saved="sandbox.limits.processes"
    )
    disk_mb: int = option(
        1024, "disk-mb", Whole(1), "size of written files (local)", "MB", saved="sandbox.limits.disk_mb"
    )
    network: str = option(
        "none",
        "network",
        NAME,
        "give commands a network: host for local, the name of a network for docker",
        "NAME",
        saved="sandbox.limits.network",
    )
    command_seconds: float = option(
        120.0, "command-seconds", TIME, "time of one command", "TIME", saved="sandbox.limits.command_seconds"
    )


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """Where Docker images come from, and how much of the disk they may take."""

    mirror: str = option("", "image-mirror", TEXT, "look for PREFIX/IMAGE first, then for IMAGE", "PREFIX")
    platform: str = option(
        "",
        "platform",
        TEXT,
        "platform of the images, such as linux/amd64",
        "P",
        saved="sandbox.platform",
        shown="the engine's own",
    )
    quota: float | None = option(
        None,
        "image-quota",
        GIGABYTES,
        "remove the least recently used of the images that this program pulled, to stay below this size",
        "GB",
        shown="remove none",
    )


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """How patches are verified."""

    enabled: bool = option(
        True,
        "no-verify",
        FLAG,
        "sample only; the same command without this option verifies later",
        negative=True,
    )
    seconds: float = option(
        1800.0, "verify-seconds", TIME, "time of one run of a task's hidden tests", "TIME", saved="verify.seconds"
    )
    workers: int = option(
        os.cpu_count() or 2, "verify-workers", Whole(1), "verifications at once", shown="the number of processors"
    )
    cache: bool = option(
        True,
        "no-verdict-cache",
        FLAG,
        "neither use nor keep the verdicts that are known on this machine",
        negative=True,
    )
    recheck: float = option(0.0, "recheck", SHARE, "share of known verdicts that are verified again", "RATE")
    calibration: Path | None = option(
        None,
        "calibration",
        PATH,
        "the file that `monkeys calibrate` wrote",
        "FILE",
        saved="verify.calibration",
        resolved=True,
    )
    unstable: str = option(
        "majority",
        "unstable",
        Choice("majority", "exclude", "keep"),
        "tasks whose tests the calibration found flaky. majority: the majority of several runs decides. exclude: "
        "leave them out. keep: treat them like the others",
        saved="verify.unstable",
    )


@dataclass(frozen=True, slots=True)
class ExecutorOptions:
    """Where attempts run."""

    name: str = option(
        "here", "executor", NAME, "here: in this process. processes: in several processes of this machine", "NAME"
    )
    worker_processes: int | None = option(
        None,
        "worker-processes",
        Whole(1),
        "with --executor processes: how many",
        shown="the number of processors",
    )


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How one session of a run goes about it, and where the run is kept."""

    run: str | None = option(
        None, "run", RUN_NAME, "name of the run", "NAME", shown="from the tasks, the model and the configuration"
    )
    runs: Path = option(Path("runs"), "runs", PATH, "folder of the runs", "DIR")
    workers: int | None = option(
        None,
        "workers",
        Whole(1),
        "attempts at once",
        shown="64 for a served model, as many as its server takes for smollm2, processors + 1 for a built-in model",
    )
    retries: int = option(3, "retries", Whole(0), "how often an attempt is made again after an infra error")
    starts: int = option(
        8,
        "starts",
        Whole(1),
        "sandboxes that may start at once, in each worker process; a run begins with 2 and adapts up to this",
    )
    warm: int | None = option(
        None,
        "warm",
        Whole(0),
        "sandboxes that are started ahead, in each worker process",
        shown="as many as --workers, at most 4, for docker; none for local",
    )
    overcommit: bool = option(
        False,
        "overcommit",
        FLAG,
        "let the memory limits of all sandboxes add up to more than the machine has",
    )
    quiet: bool = option(False, "quiet", FLAG, "print nothing but errors, and what changes the meaning of a number")
    events: Path | None = option(None, "events", PATH, "append every event of the run to FILE, as JSON lines", "FILE")
