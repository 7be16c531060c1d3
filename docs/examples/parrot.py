"""A model of one's own: it answers with the last word that it was told. `--model parrot`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.agent import AttemptScope
from agent.models import Model, Reply
from agent.models.source import Capabilities, ModelRequest
from agent.servers import ServerSpec
from agent.trajectory import Message, Usage


class ParrotSource:
    names = ("parrot",)
    priced = False
    agent = "oneshot"
    scaffold = "tools"
    capabilities = Capabilities(forms=())  # it cannot call tools

    def takes(self, name: str) -> bool:
        return name in self.names

    def server(self, request: ModelRequest) -> ServerSpec | None:
        return None

    def model(self, request: ModelRequest) -> Model:
        return Parrot()


class Parrot:
    name = "parrot"

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
    ) -> Reply:
        words = str(messages[-1]["content"]).split()
        return Reply({"role": "assistant", "content": words[-1]}, Usage(prompt=len(words), completion=1), "stop")

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        pass
