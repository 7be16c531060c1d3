"""Models: who answers. `make_model` finds one by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.models.model import (
    Call,
    ContextExceeded,
    Meter,
    Model,
    ModelError,
    ModelRefused,
    ModelUnavailable,
    NoMoreAnswers,
    Reply,
    Tokens,
)
from tasks.task import TaskSet

__all__ = [
    "BUILT_IN",
    "Call",
    "ContextExceeded",
    "Meter",
    "Model",
    "ModelError",
    "ModelRefused",
    "ModelUnavailable",
    "NoMoreAnswers",
    "Reply",
    "Tokens",
    "make_model",
]

BUILT_IN = ("monkey", "smollm2", "replay:gold", "replay:empty", "replay:PREDICTIONS", "replay:RUN", "scripted:FILE")


def make_model(
    name: str,
    tasks: TaskSet,
    *,
    base_url: str | Sequence[str] | None = None,
    api_key: str | None = None,
    sampling: Mapping[str, Any] | None = None,
    scheduled: bool = False,
    reasoning: str = "keep",
    first_turns: int = 1,
    request_seconds: float = 600.0,
    outage_seconds: float = 1800.0,
) -> Model:
    """The model called `name`: one of `BUILT_IN`, or one that the chat-completions servers at `base_url` know.

    `sampling` are body fields of a request; servers that are `scheduled` are told to take later turns first.
    A replay:RUN is made where runs can be read, by `agent.models.recorded`.
    `first_turns` of attempts on one issue are asked for with one request; for the rest see `agent.models.chat`.
    Raises `ModelRefused` when there is none.
    """
    kind, _, rest = name.partition(":")
    urls = (base_url,) if isinstance(base_url, str) else tuple(base_url or ())
    if not urls:
        from agent.models.scripted import Replay, Scripted

        if name == "monkey":
            from agent.models.monkey import Monkey

            return Monkey()
        if name == "replay:gold":
            return Replay({task.id: [task.patch] for task in tasks.tasks}, name)
        if name == "replay:empty":
            return Replay({}, name)
        if kind == "replay" and rest:
            return Replay.from_predictions(Path(rest))
        if kind == "scripted" and rest:
            return Scripted.from_file(Path(rest))
        if not api_key:
            raise ModelRefused(
                f"there is no model {name!r}: built in are {', '.join(BUILT_IN)}; "
                "for a served model give --base-url URL, or set OPENAI_API_KEY for the OpenAI endpoint"
            )
    from agent.models.chat import ChatModel

    model = ChatModel(
        name,
        urls,
        api_key,
        sampling or {},
        scheduled=scheduled,
        reasoning=reasoning,
        request_seconds=request_seconds,
        outage_seconds=outage_seconds,
    )
    if first_turns == 1:
        return model
    from agent.models.shared_first_turn import SharedFirstTurn

    return SharedFirstTurn(model, first_turns)
