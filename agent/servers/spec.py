"""What a server of ours is, apart from the running of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.models.model import ModelError

__all__ = ["ServerLost", "Spec", "Tell"]

Tell = Callable[[str], None]  # takes one line for the display; an empty one when there is nothing to say


class ServerLost(ModelError):
    """A server of ours died again and again; the message says why. Nothing recorded is lost."""


async def _nothing(tell: Tell) -> None:
    return


@dataclass(frozen=True, slots=True)
class Spec:
    """One kind of server with one model. `command` makes the command line for a port.

    `config` is what its answers depend on, and belongs to the identity of a run; `environment`
    (versions, how it is spread over devices) does not. `at_once` is how many requests it serves well
    at a time, `memory_mb` what it takes of this machine's memory, 0 if that is not known.
    `fetch` brings what it needs, before it is started for the first time; raises `ModelRefused`.
    """

    what: str  # for people: "vLLM"
    model: str  # the name under which it serves
    command: Callable[[int], Sequence[str]]
    start_seconds: float
    config: Mapping[str, Any]
    environment: Mapping[str, Any] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()  # environment variables that it must not see
    at_once: int = 64
    memory_mb: int = 0
    notes: tuple[str, ...] = ()  # what was chosen, a line each
    fetch: Callable[[Tell], Awaitable[None]] = _nothing
