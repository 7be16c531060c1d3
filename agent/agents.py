"""The agents by name: `loop`, `oneshot`, and those of installed packages.

What is registered is a class, or a function, that takes an `AgentSetup` and gives an `Agent`. A package registers its
own under the entry point `coding_monkeys.agents`:

    [project.entry-points."coding_monkeys.agents"]
    command = "command_agent:CommandAgent"
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from agent.agent import Agent
from agent.feedback import Feedback
from agent.limits import AttemptLimits
from agent.models.model import Model
from agent.scaffolds import Scaffold, Unsuited
from envs import Sandbox
from envs.registry import Registry
from tasks.task import Submission, Task

__all__ = ["AGENTS", "AgentSetup", "Collect", "Shown", "make_agent"]

AGENTS = Registry("agents", "agent", Agent, {"loop": "agent.loop:ToolLoop", "oneshot": "agent.oneshot:OneShot"})

Collect: TypeAlias = Callable[[Task, Sandbox | None, str], Awaitable[Submission]]
"""Takes the submission of an attempt from its sandbox, or else from the text of its last reply: `Suite.collect`."""

Shown: TypeAlias = Callable[[Task], str]
"""The statement of a task as an agent reads it: `Suite.shown`."""


@dataclass(frozen=True, slots=True)
class AgentSetup:
    """What an agent is made with.

    `scaffold` is what an attempt of the loop starts with, None for the usual one, and `feedback` is what it is told
    beyond what its tools answer. `command_seconds` is how long one command in the sandbox may take. `options` are for
    the agent alone; a built-in agent has none. With `each_turn` the submission is wanted after each turn, as
    `Trajectory.each_turn` has it, from an agent that can give it.
    """

    model: Model
    shown: Shown
    collect: Collect
    limits: AttemptLimits = field(default_factory=AttemptLimits)
    scaffold: Scaffold | None = None
    feedback: tuple[Feedback, ...] = ()
    command_seconds: float = 120.0
    options: Mapping[str, Any] = field(default_factory=dict)
    each_turn: bool = False


def make_agent(name: str, setup: AgentSetup, *, sandbox: bool) -> Agent:
    """The agent called `name`. `sandbox` says whether its attempts get one.

    Raises `UnknownName`, and `Unsuited` for an agent that cannot work without a sandbox or with these options.
    """
    if setup.options and name in AGENTS.built_in:
        raise Unsuited(f"agent {name} takes no options; leave out --agent-options ({', '.join(setup.options)})")
    agent: Agent = AGENTS.make(name, setup)
    if agent.needs_sandbox and not sandbox:
        raise Unsuited(f"agent {name} works in a sandbox, and these tasks have none; use --agent oneshot")
    return agent
