"""The configurations of the commands of `monkeys` that share options with a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from monkeys.spec.kinds import FLAG, NAME, PATH, Many, Whole
from monkeys.spec.option import option, section
from monkeys.spec.sections import (
    BudgetOptions,
    ExecutorOptions,
    ImageOptions,
    ModelOptions,
    SandboxOptions,
    ServerOptions,
    SessionOptions,
    TaskOptions,
    VerifyOptions,
)

__all__ = [
    "BranchOptions",
    "BranchSpec",
    "CalibrateSpec",
    "ImagesSpec",
    "PredictionOptions",
    "PrefetchOptions",
    "PrefetchSpec",
    "RepeatOptions",
    "RunsSpec",
    "VerifyRunSpec",
]

TASKS, SANDBOX = "the tasks", "the sandbox of the tests"


@dataclass(frozen=True, slots=True)
class RunsSpec:
    """Where the runs are that a command reads."""

    session: SessionOptions = section(SessionOptions, "the runs", only=("runs",))
    given: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PredictionOptions:
    """The submissions that are verified."""

    source: str = option(
        "",
        "predictions",
        NAME,
        "SWE-bench predictions (.jsonl, .json, .parquet, a folder of these, or the output folder of mini-swe-agent or "
        "SWE-agent), or a run",
        "PREDICTIONS",
    )
    skip_unknown: bool = option(
        False, "skip-unknown", FLAG, "leave out predictions for tasks that are not in the task set"
    )
    each_turn: bool = option(
        False,
        "each-turn",
        FLAG,
        "in the run itself, verify the patch after every turn of its attempts; where these were not taken "
        "(--patch-each-turn), the recorded actions are carried out again, without a model. The tasks and the "
        "settings are then those of the run",
    )


@dataclass(frozen=True, slots=True)
class VerifyRunSpec:
    """Everything that decides about one `monkeys verify`. `given` is as in `RunSpec`."""

    predictions: PredictionOptions = section(PredictionOptions, "the predictions", positional=("source",))
    tasks: TaskOptions = section(TaskOptions, TASKS, only=("set", "ids"), set="")
    sandbox: SandboxOptions = section(SandboxOptions, SANDBOX, only=("name", "memory_mb"))
    verify: VerifyOptions = section(
        VerifyOptions,
        "verification",
        only=("seconds", "workers", "cache", "recheck", "calibration", "unstable"),
    )
    session: SessionOptions = section(SessionOptions, "this session", only=("run", "runs", "quiet"))
    given: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class BranchOptions:
    """Which attempt is continued, from which of its turns, and how often."""

    run: str = option("", "run", NAME, "the name of a run, or the path of its folder", "RUN")
    task: str = option("", "task", NAME, "the id of a task, or a part that only one id has", "TASK")
    attempt: int = option(0, "attempt", Whole(0), "the index of an attempt, from 0", "ATTEMPT")
    turns: tuple[int, ...] = option(
        (), "turn", Many(Whole(0)), "continue after so many turns; 0 is before the first one", "T"
    )
    every: int | None = option(
        None, "every", Whole(1), "continue after every K-th turn, from 0 on, instead of the turns of --turn", "K"
    )
    attempts: int = option(50, "attempts", Whole(1), "continuations of each turn")
    json: bool = option(False, "json", FLAG, "print JSON instead of a table")


@dataclass(frozen=True, slots=True)
class BranchSpec:
    """Everything that decides about one `monkeys branch`. `given` is as in `RunSpec`.

    What the record of the run holds is taken from there, and cannot be given.
    """

    branch: BranchOptions = section(BranchOptions, "what is continued", positional=("run", "task", "attempt"))
    tasks: TaskOptions = section(TaskOptions, TASKS, only=("set",), set="")
    model: ModelOptions = section(
        ModelOptions,
        "the model, where the record does not tell how it is reached",
        only=(
            "name",
            "base_url",
            "api_key_env",
            "extra_body",
            "scheduled",
            "request_seconds",
            "outage_seconds",
            "prices",
        ),
    )
    server: ServerOptions = section(ServerOptions, "a model server that is started, and that ends with the command")
    budget: BudgetOptions = section(BudgetOptions, "limits of this command")
    verify: VerifyOptions = section(
        VerifyOptions, "verification", only=("enabled", "workers", "cache", "recheck", "calibration")
    )
    executor: ExecutorOptions = section(ExecutorOptions, "where attempts run")
    session: SessionOptions = section(
        SessionOptions,
        "this session",
        only=("runs", "workers", "retries", "starts", "warm", "overcommit", "quiet", "events"),
    )
    given: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RepeatOptions:
    """How often tests are run, and where the result is written."""

    repeats: int = option(11, "repeats", Whole(1), "runs of each patch; the default is the paper's", "R")
    workers: int = option(1, "workers", Whole(1), "runs at once; with more of them, the measured times are longer")
    out: Path | None = option(
        None, "out", PATH, "the file to write", "FILE", shown="the set's name with .calibration.json"
    )
    json: bool = option(False, "json", FLAG, "print the file instead of a table")


@dataclass(frozen=True, slots=True)
class CalibrateSpec:
    """Everything that decides about one `monkeys calibrate`. `given` is as in `RunSpec`."""

    tasks: TaskOptions = section(TaskOptions, TASKS, only=("set", "ids"), positional=("set",))
    sandbox: SandboxOptions = section(SandboxOptions, SANDBOX, only=("name", "memory_mb"))
    verify: VerifyOptions = section(VerifyOptions, "verification", only=("seconds",))
    calibrate: RepeatOptions = section(RepeatOptions, "calibration")
    given: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ImagesSpec:
    """Which images `monkeys images` shows: those of a task set, or all that were pulled."""

    tasks: TaskOptions = section(TaskOptions, "show which images of these tasks are here", only=("set", "ids"), set="")
    given: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PrefetchOptions:
    """How images are pulled."""

    parallel: int = option(3, "parallel", Whole(1), "pulls at once")


@dataclass(frozen=True, slots=True)
class PrefetchSpec:
    """Which images `monkeys images prefetch` pulls, and from where."""

    tasks: TaskOptions = section(TaskOptions, TASKS, only=("set", "ids"), required=("set",))
    images: ImageOptions = section(ImageOptions, "Docker images")
    prefetch: PrefetchOptions = section(PrefetchOptions, "pulling")
    given: frozenset[str] = frozenset()
