"""Model servers that the program starts itself, and that end with it. `make_server` makes one where one is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.models.model import ModelRefused
from agent.servers.spec import ServerLost, Spec

if TYPE_CHECKING:
    from agent.servers.server import Server

__all__ = ["SMALL", "Serve", "ServerLost", "Spec", "make_server"]

SMALL = "smollm2"  # the model that brings its own


@dataclass(frozen=True, slots=True)
class Serve:
    """What a person says of a server of ours. `weights` are for vLLM, None for the model's own server if it has one."""

    weights: str | None = None
    tensor_parallel: int = 1
    data_parallel: int = 1
    tool_parser: str | None = None
    args: tuple[str, ...] = ()
    start_seconds: float | None = None  # None: half an hour for vLLM


def make_server(model: str, serve: Serve, *, served: bool, tools: bool, seed: int) -> Server | None:
    """The server that `model` needs, not yet started; None for one that is built in or that others serve (`served`).

    `tools` are wanted if its actions are tool calls. Raises `ModelRefused` for what cannot work.
    """
    spec = _spec(model, serve, served, tools, seed)
    if spec is None:
        return None
    from agent.servers.server import Server  # what follows takes a moment, and other models do without

    return Server(spec)


def _spec(model: str, serve: Serve, served: bool, tools: bool, seed: int) -> Spec | None:
    if serve.weights is not None:
        if served:
            raise ModelRefused("--serve starts a server and --base-url names one that runs; give one of them")
        from agent.servers.vllm import vllm_spec

        return vllm_spec(
            serve.weights,
            name=model,
            tensor_parallel=serve.tensor_parallel,
            data_parallel=serve.data_parallel,
            parser=serve.tool_parser,
            tools=tools,
            args=serve.args,
            seed=seed,
            start_seconds=serve.start_seconds,
        )
    if model == SMALL and not served:
        from agent.servers.smollm2 import smollm2_spec

        return smollm2_spec(serve.args, start_seconds=serve.start_seconds)
    if serve != Serve():
        raise ModelRefused(
            f"model {model} has no server of its own, so leave out what is said about one, or --serve it"
        )
    return None
