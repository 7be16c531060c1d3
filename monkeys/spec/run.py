"""`RunSpec`: the configuration of one run of `python -m agent.swe`."""

from __future__ import annotations

from dataclasses import dataclass, field

from monkeys.spec.option import section
from monkeys.spec.sections import (
    AgentOptions,
    BudgetOptions,
    ExecutorOptions,
    ImageOptions,
    LimitOptions,
    ModelOptions,
    SandboxOptions,
    ServerOptions,
    SessionOptions,
    StrategyOptions,
    TaskOptions,
    VerifyOptions,
)

__all__ = ["RunSpec"]


@dataclass(frozen=True, slots=True)
class RunSpec:
    """Everything that decides about a run and about this session of it.

    `given` are the paths of the options that somebody gave, such as "limits.turns"; the others have their defaults, or
    what a replayed run has on record. `typed` are those among them that were given for this one session, on the command
    line or in Python, and not by a file or a variable that serves many runs.
    """

    tasks: TaskOptions = section(TaskOptions, "what is attempted")
    strategy: StrategyOptions = section(StrategyOptions, "how attempts are chosen")
    agent: AgentOptions = section(AgentOptions, "the agent")
    model: ModelOptions = section(ModelOptions, "the model")
    server: ServerOptions = section(ServerOptions, "a model server that the run starts, and that ends with it")
    limits: LimitOptions = section(LimitOptions, "limits of one attempt")
    budget: BudgetOptions = section(
        BudgetOptions,
        "limits of the whole run",
        "A run stops at a limit. The same command with a larger one goes on.",
    )
    sandbox: SandboxOptions = section(SandboxOptions, "the sandbox of an attempt")
    images: ImageOptions = section(ImageOptions, "Docker images")
    verify: VerifyOptions = section(VerifyOptions, "verification")
    executor: ExecutorOptions = section(ExecutorOptions, "where attempts run")
    session: SessionOptions = section(SessionOptions, "this session")
    given: frozenset[str] = frozenset()
    typed: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def model_name(self) -> str:
        """The model that is given, or the one that --serve starts, or the built-in one."""
        return self.model.name or self.server.serve or "monkey"
