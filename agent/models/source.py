"""The source of a model: the protocol `ModelSource`, and what a run asks of one. `agent.models.sources` finds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from agent.models.model import Model
from agent.servers.spec import Serve, ServerSpec
from envs.events import Sink, ignore
from tasks.task import Submission, Task

__all__ = ["Capabilities", "FileSource", "ModelRequest", "ModelSource"]


def _none_known(task: Task) -> Submission | None:
    return None


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """The model that a run asks for, with all that it says about it.

    `sampling` are fields of each request's body. `first_turns` of attempts at one task are asked for with one request.
    `tool_calls` says whether actions are native tool calls. `serve` describes a server of the run's own.
    `attempts` are asked for at each of `tasks`, and `kind` is that of their submissions. `known` gives the known
    solution of a task, for models that replay it. `events` receives what the model and its
    server have to tell. For the other fields see `agent.models.chat.ChatModel`.
    """

    name: str
    base_url: tuple[str, ...] = ()
    api_key: str | None = None
    serve: Serve = field(default_factory=Serve)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    scheduled: bool = False
    reasoning: str = "keep"
    first_turns: int = 1
    request_seconds: float = 600.0
    outage_seconds: float = 1800.0
    tool_calls: bool = True
    seed: int = 0
    tasks: tuple[Task, ...] = ()
    attempts: int = 1
    kind: str = "patch"
    known: Callable[[Task], Submission | None] = _none_known
    events: Sink = ignore


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can do.

    `forms` are the forms of actions that it writes (`agent.actions.FORMS` and those of scaffolds), None for any form
    and empty for a model that cannot act. `answers`: it replies in text to a request without tools.
    """

    forms: tuple[str, ...] | None = None
    answers: bool = True


class ModelSource(Protocol):
    """One kind of model. It is made without arguments and holds no state."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its names, for people: exact ones, or with the variable part in capitals, as in `scripted:FILE`."""
        ...

    @property
    def priced(self) -> bool:
        """Whether somebody charges for its tokens."""
        ...

    @property
    def agent(self) -> str:
        """The agent for it where the run names none."""
        ...

    @property
    def scaffold(self) -> str:
        """The scaffold for it where the run names none."""
        ...

    @property
    def capabilities(self) -> Capabilities: ...

    def takes(self, name: str) -> bool:
        """Whether `name` is one of its names."""
        ...

    def server(self, request: ModelRequest) -> ServerSpec | None:
        """The server that the run has to start for it; None if none. Raises `ModelRefused`."""
        ...

    def model(self, request: ModelRequest) -> Model:
        """The model. `base_url` holds the address of its server, if it has one. Raises `ModelRefused`."""
        ...


@runtime_checkable
class FileSource(Protocol):
    """What a source has in addition if its models play a file, whose content then identifies a run."""

    def file(self, request: ModelRequest) -> Path | None:
        """The file, or the folder of files; None if this model plays none.

        Raises `ModelRefused` if it cannot be read, or lacks what is asked for.
        """
        ...
