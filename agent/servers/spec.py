"""What a server of the run's own is: its command line and its properties, apart from how it is run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.models.model import ModelError
from envs.events import Sink

__all__ = ["Serve", "ServerLost", "ServerSpec"]


class ServerLost(ModelError):
    """A server of the run's own died again and again; the message says why. Nothing recorded is lost."""


@dataclass(frozen=True, slots=True)
class Serve:
    """The options of a server of the run's own. `weights` are for vLLM; None for a model that brings its own server."""

    weights: str | None = None
    tensor_parallel: int = 1
    data_parallel: int = 1
    tool_parser: str | None = None
    args: tuple[str, ...] = ()
    start_seconds: float | None = None  # None: as usual for the kind of server, half an hour for vLLM


async def _nothing(events: Sink) -> None:
    return


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """One kind of server with one model. `command` gives the command line for a port.

    `config` is what the answers depend on; it belongs to the identity of a run. `environment` (versions, distribution
    over devices) does not. `at_once` is how many requests it serves well at the same time. `memory_mb` is what it takes
    of this machine's memory, 0 if that is not known. `fetch` downloads what it needs before the first start; it raises
    `ModelRefused`.
    """

    what: str  # its name for people: "vLLM"
    model: str  # the name under which it serves
    command: Callable[[int], Sequence[str]]
    start_seconds: float
    config: Mapping[str, Any]
    environment: Mapping[str, Any] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()  # environment variables that it must not see
    at_once: int = 64
    memory_mb: int = 0
    notes: tuple[str, ...] = ()  # what was chosen, a line each
    fetch: Callable[[Sink], Awaitable[None]] = _nothing
