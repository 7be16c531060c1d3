"""Shared by several test files: a quick task, a repository, a sandbox with a workspace, an attempt, a server."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from agent.actions import Actions, make_actions
from agent.agent import AttemptScope, AttemptSpec
from agent.agents import AgentSetup
from agent.limits import AttemptLimits
from agent.loop import ToolLoop
from agent.models import Model
from agent.scaffolds import Opening, Scaffold
from agent.tools import Workspace
from agent.trajectory import Message, Trajectory
from envs import Limits, Origin, Sandbox
from envs.events import Event, Status, Warned
from envs.local.backend import LocalBackend, adopt
from tasks import Submission, Task, load_tasks
from tasks.quick.repositories import with_repositories
from tasks.swe.task import SweTask, as_swe

__all__ = [
    "Answer",
    "ChatServer",
    "Heard",
    "agent_setup",
    "attempt_scope",
    "begins",
    "collect",
    "completion",
    "git_repository",
    "play",
    "quick_task",
    "said",
    "tool_loop",
    "workspace",
]

COMMIT = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "maintenance.auto=false", "commit", "-qm", "base")


def quick_task(slug: str) -> SweTask:
    """One embedded task with its repository on this machine."""
    return as_swe(with_repositories(load_tasks("quick").select([f"quick__{slug}-1"])).tasks[0])


def git_repository(folder: Path, files: Mapping[str, bytes]) -> Origin:
    """A repository of one commit that holds `files`, for local sandboxes."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-c", "core.autocrlf=false", *words], cwd=folder, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q", "--template=")
    git("add", "-Af")
    git(*COMMIT)
    commit = git("rev-parse", "HEAD")
    adopt(folder)
    return Origin(commit, repository=folder)


@asynccontextmanager
async def workspace(
    origin: Origin, test_command: str = "true", *, command_seconds: float = 20.0, limits: Limits | None = None
) -> AsyncIterator[Workspace]:
    """A local sandbox at `origin`, as an attempt has it."""
    backend = LocalBackend()
    try:
        sandbox = await backend.open(origin, limits or Limits(), label="test")
        yield Workspace(sandbox, test_command, command_seconds)
    finally:
        await backend.close()


class FixedOpening:
    """A scaffold that begins every attempt with the same messages."""

    name, tools = "fixed", ()

    def __init__(self, messages: Sequence[Message], actions: Actions) -> None:
        self._opening, self.form, self.body = Opening(tuple(messages), actions), actions.name, actions.body
        self.texts: dict[str, str] = {}
        self.options: dict[str, Any] = {}
        self.sampling: dict[str, Any] = {}

    async def opening(self, task: Task, workspace: Workspace, scope: AttemptScope) -> Opening:
        return self._opening


def begins(messages: Sequence[Message], actions: Actions | None = None) -> FixedOpening:
    """The scaffold of an attempt that begins with these messages; its actions are native tool calls if not given."""
    return FixedOpening(messages, actions or make_actions())


def attempt_scope(task: str = "task", index: int = 0, seed: int = 1, **fields: Any) -> AttemptScope:
    """The scope of one attempt."""
    return AttemptScope(AttemptSpec(task, index, seed, **fields))


async def collect(task: Task, sandbox: Sandbox | None, reply: str) -> Submission:
    """What an attempt changed in its sandbox, or else its last reply."""
    return Submission(await sandbox.diff()) if sandbox else Submission(reply.encode(), "answer")


def agent_setup(
    model: Model, scaffold: Scaffold | None = None, *, command_seconds: float = 20.0, **limits: Any
) -> AgentSetup:
    """What an agent is made with in tests; `limits` are those of an attempt."""
    return AgentSetup(
        model,
        shown=lambda task: task.statement,
        collect=collect,
        limits=AttemptLimits(**limits),
        scaffold=scaffold,
        command_seconds=command_seconds,
    )


def tool_loop(model: Model, scaffold: Scaffold | None = None, **limits: Any) -> ToolLoop:
    return ToolLoop(agent_setup(model, scaffold, **limits))


async def play(
    room: Workspace, model: Model, scaffold: Scaffold, attempt: AttemptScope | None = None, **limits: Any
) -> Trajectory:
    """One attempt of the loop in this workspace."""
    agent = tool_loop(model, scaffold, command_seconds=room.command_seconds, **limits)
    task = Task(id="task", statement="It is broken.", origin=Origin(""), test_command=room.test_command)
    return await agent.run(task, room.sandbox, attempt or attempt_scope())


class Heard:
    """A sink that keeps the texts of statuses and warnings in order."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, event: Event) -> None:
        assert isinstance(event, Status | Warned)
        self.texts.append(event.text)


def said(content: str | None = "hello", **fields: Any) -> dict[str, Any]:
    """The body of a chat completion whose one choice says `content`."""
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    message = {"role": "assistant", "content": content}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage, **fields}


@dataclass(frozen=True)
class Answer:
    """What a server does with one request: waits, answers, or cuts the line after `cut` bytes of the body."""

    status: int = 200
    body: Any = field(default_factory=said)
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0
    cut: int | None = None

    def encoded(self) -> bytes:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), **self.headers}
        lines = [f"HTTP/1.1 {self.status} Reason", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + (body if self.cut is None else body[: self.cut])


def completion(status: int = 200, **fields: Any) -> Answer:
    """A proper chat completion with further fields in its body."""
    return Answer(status, said(**fields))


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


class Listener:
    """A real HTTP server on loopback, as an asynchronous context manager; `stop` and `start` to restart it.

    Whoever inherits answers one request at a time: `_one`, False to hang up.
    """

    def __init__(self, port: int = 0) -> None:
        self.url = ""
        self.connections = 0  # that there were
        self._port = port
        self._connections: set[asyncio.Task[None]] = set()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}/v1"

    async def stop(self) -> None:
        """As a server that is killed: connections break off, and new ones are refused."""
        self._server.close()
        self.drop()
        while self._connections:  # every handler ends before the loop does
            await asyncio.sleep(0.001)

    def drop(self) -> None:
        """Close every connection, as servers do with idle ones."""
        for task in list(self._connections):
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task: asyncio.Task[None] | None = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is gone, or we are to go
        finally:
            self._connections.discard(task)
            writer.transport.abort()


class ChatServer(Listener):
    """Gives the answers it was told, the last one again and again."""

    def __init__(self, *answers: Answer, port: int = 0) -> None:
        super().__init__(port)
        self._answers = list(answers) or [Answer()]
        self.requests: list[Request] = []

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        data = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append(Request(method, path, headers, json.loads(data) if data else None))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        await asyncio.sleep(answer.wait)
        writer.write(answer.encoded())
        await writer.drain()
        return answer.cut is None
