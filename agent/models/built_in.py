"""The sources of the built-in models, and of served ones. Each model is imported when it is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from agent.models.model import Model
from agent.models.source import Capabilities, ModelRequest
from agent.servers.spec import ServerSpec
from envs.events import Warned

__all__ = ["HostedSource", "MonkeySource", "ReplaySource", "ScriptedSource", "ServedSource", "SmolLM2Source"]


class _Source:
    """The usual answers of a source."""

    names: tuple[str, ...] = ()
    priced = False
    agent = "loop"
    scaffold = "tools"
    capabilities = Capabilities()

    def takes(self, name: str) -> bool:
        return name in self.names

    def server(self, request: ModelRequest) -> ServerSpec | None:
        return None


class MonkeySource(_Source):
    """`monkey`: a policy without a language model."""

    names = ("monkey",)
    capabilities = Capabilities(forms=("native",), answers=False)

    def model(self, request: ModelRequest) -> Model:
        from agent.models.monkey import Monkey

        return Monkey()


class ReplaySource(_Source):
    """`replay:...`: submissions that are known already. Recorded runs (`replay:RUN`) are opened by the runner."""

    names = ("replay:gold", "replay:empty", "replay:noop", "replay:PREDICTIONS", "replay:RUN")
    capabilities = Capabilities(forms=("native",))

    def takes(self, name: str) -> bool:
        return bool(name.partition(":")[2])

    def file(self, request: ModelRequest) -> Path | None:
        from agent.models.replay import Predictions, replayed

        if not (what := replayed(request.name)):
            return None
        predictions = Predictions(Path(what), request.kind)
        predictions.require(request.tasks, request.attempts)
        for line in predictions.remarks(request.tasks, request.attempts):
            request.events(Warned(f"{what}: {line}", numbers=True))
        return Path(what)

    def model(self, request: ModelRequest) -> Model:
        from agent.models.replay import NOTHING, Predictions, Replay

        what = request.name.partition(":")[2]
        if what == "gold":
            known = {task.id: request.known(task) for task in request.tasks}
            solutions = {task: found.body.decode("utf-8", "replace") for task, found in known.items() if found}
            return Replay(lambda task, index: solutions.get(task, ""), request.name)
        if what in NOTHING:
            return Replay(lambda task, index: "", request.name)
        return Replay(Predictions(Path(what), request.kind).solution, f"replay:{Path(what).name}")


class ScriptedSource(_Source):
    """`scripted:FILE`: the same lines in each attempt."""

    names = ("scripted:FILE",)

    def takes(self, name: str) -> bool:
        return bool(name.partition(":")[2])

    def file(self, request: ModelRequest) -> Path:
        self.model(request)
        return _path(request)

    def model(self, request: ModelRequest) -> Model:
        from agent.models.scripted import Scripted

        return Scripted.from_file(_path(request))


def _path(request: ModelRequest) -> Path:
    return Path(request.name.partition(":")[2])


class ServedSource(_Source):
    """Any name that the chat-completions servers at `base_url` know, or OpenAI's."""

    priced = True

    def takes(self, name: str) -> bool:
        return True

    def model(self, request: ModelRequest) -> Model:
        from agent.models.chat import ChatModel

        model = ChatModel(
            request.name,
            request.base_url,
            request.api_key,
            request.sampling,
            scheduled=request.scheduled,
            reasoning=request.reasoning,
            request_seconds=request.request_seconds,
            outage_seconds=request.outage_seconds,
            events=request.events,
        )
        if request.first_turns == 1:
            return model
        from agent.models.shared_first_turn import SharedFirstTurn

        return SharedFirstTurn(model, request.first_turns, request.events)


class HostedSource(ServedSource):
    """A model that a vLLM of the run's own serves (`--serve`)."""

    priced = False

    def server(self, request: ModelRequest) -> ServerSpec:
        from agent.servers.vllm import vllm_spec

        serve = request.serve
        assert serve.weights is not None
        return vllm_spec(
            serve.weights,
            name=request.name,
            tensor_parallel=serve.tensor_parallel,
            data_parallel=serve.data_parallel,
            parser=serve.tool_parser,
            tools=request.tool_calls,
            args=serve.args,
            seed=request.seed,
            start_seconds=serve.start_seconds,
        )

    def model(self, request: ModelRequest) -> Model:
        return super().model(replace(request, api_key=None))


class SmolLM2Source(HostedSource):
    """`smollm2`: SmolLM2-135M, served by llama.cpp on this machine."""

    names = ("smollm2",)
    scaffold = "repair"

    def takes(self, name: str) -> bool:
        return name in self.names

    def server(self, request: ModelRequest) -> ServerSpec:
        from agent.servers.smollm2 import smollm2_spec

        return smollm2_spec(request.serve.args, start_seconds=request.serve.start_seconds)
