"""Agents by name: the loop and the one-shot agent end alike, and an entry point brings one of another package."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.agent import AttemptScope
from agent.agents import AGENTS, AgentSetup, make_agent
from agent.models import ContextExceeded, Model, ModelRefused, ModelUnavailable, NoMoreAnswers, Reply
from agent.models.replay import Replay
from agent.models.scripted import Scripted, say
from agent.oneshot import OneShot
from agent.scaffolds import Unsuited, make_scaffold
from agent.trajectory import Exit, Message, Trajectory, Usage
from envs import Origin
from envs.registry import Registry, UnknownName
from tasks import Task
from tests.helpers import agent_setup, attempt_scope, git_repository, play, quick_task, tool_loop, workspace

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "command_agent.py"
TASK = Task(id="task", statement="How much is 6 times 7?", group="some/project", origin=Origin(""), test_command="true")
USAGE = Usage(20, 3)


class Says:
    """Answers every request in the same way, or fails, and keeps what it was sent."""

    name = "says"

    def __init__(self, answer: Message | Exception) -> None:
        self._answer = answer
        self.sent: list[list[Message]] = []
        self.tools: list[Sequence[dict[str, Any]]] = []

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
    ) -> Reply:
        self.sent.append(list(messages))
        self.tools.append(tools)
        if isinstance(self._answer, Exception):
            raise self._answer
        return Reply(self._answer, USAGE, "stop")

    async def check(self) -> None: ...

    async def close(self) -> None: ...


def asked(model: Model, scope: AttemptScope | None = None, **limits: Any) -> Trajectory:
    return asyncio.run(OneShot(agent_setup(model, **limits)).run(TASK, None, scope or attempt_scope()))


# one completion


def test_the_reply_is_the_submission_and_no_tool_is_on_offer() -> None:
    model = Says({"role": "assistant", "content": "<think>six sevens</think>\n42"})
    trajectory = asked(model)
    assert trajectory.exit is Exit.SUBMITTED
    assert trajectory.submission.body.strip() == b"42"
    assert model.sent == [[{"role": "user", "content": TASK.statement}]]
    assert model.tools == [[]]
    assert [message["role"] for message in trajectory.messages] == ["user", "assistant"]
    assert [turn.usage for turn in trajectory.turns] == [USAGE]
    assert trajectory.answers == [1]


def test_a_brief_follows_the_statement() -> None:
    model = Says({"role": "assistant", "content": "42"})
    asked(model, attempt_scope(brief="An earlier attempt said 48."))
    assert model.sent[0][0]["content"] == "How much is 6 times 7?\n\nAn earlier attempt said 48."


@pytest.mark.parametrize(
    ("error", "exit"),
    [
        (ModelUnavailable("HTTP 503"), Exit.MODEL_FAILED),
        (ContextExceeded("8192 tokens at most"), Exit.CONTEXT_LIMIT),
        (NoMoreAnswers(Exit.OFF_RECORD, "nothing left"), Exit.OFF_RECORD),
    ],
)
def test_what_goes_wrong_is_an_exit_as_in_the_loop(error: Exception, exit: Exit, tmp_path: Path) -> None:
    async def in_the_loop() -> Trajectory:
        async with workspace(git_repository(tmp_path / "repository", {"a": b"a\n"})) as room:
            return await play(room, Says(error), make_scaffold())

    for trajectory in (asked(Says(error)), asyncio.run(in_the_loop())):
        assert trajectory.exit is exit
        assert trajectory.detail == str(error)
        assert trajectory.submission.body == b""
        assert trajectory.turns == ()


def test_a_request_that_can_never_succeed_goes_through() -> None:
    with pytest.raises(ModelRefused, match="wrong key"):
        asked(Says(ModelRefused("wrong key")))


def test_the_window_is_kept() -> None:
    trajectory = asked(Says({"role": "assistant", "content": "42"}), window=5)
    assert trajectory.exit is Exit.CONTEXT_LIMIT
    assert "tokens of 5" in trajectory.detail


def test_a_closed_attempt_samples_nothing_and_one_broken_off_is_cancelled() -> None:
    class Slow(Says):
        async def reply(
            self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
        ) -> Reply:
            asyncio.get_running_loop().call_soon(lambda: scope.close(at_once=True))
            await asyncio.sleep(60)
            raise AssertionError

    closed, model = attempt_scope(), Says({"role": "assistant", "content": "42"})
    closed.close()
    assert asked(model, closed).exit is Exit.CANCELLED
    assert model.sent == []
    assert asked(Slow(ModelRefused(""))).exit is Exit.CANCELLED


def test_a_slow_answer_meets_the_time_limit_and_its_cleanup_is_done() -> None:
    class Slow(Says):
        async def reply(
            self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
        ) -> Reply:
            scope.cleanup.callback(done.append, "cleaned")
            scope.bill(Usage(5, 5))
            await asyncio.sleep(60)
            raise AssertionError

    done: list[str] = []
    trajectory = asked(Slow(ModelRefused("")), seconds=0.05)
    assert trajectory.exit is Exit.TIME_LIMIT
    assert trajectory.usage == Usage(5, 5)
    assert done == ["cleaned"]


def test_a_known_solution_is_said_without_tools_and_applied_with_them() -> None:
    model = Replay(lambda task, index: "42" if task == "task" else "", "replay:gold")
    assert asked(model).submission.body == b"42"
    assert asked(model, attempt_scope("another")).submission.body == b""
    with_tools = asyncio.run(model.reply([], [{"type": "function"}], scope=attempt_scope()))
    assert with_tools.message["tool_calls"]


# the loop


def test_the_loop_shows_a_brief_after_the_issue(tmp_path: Path) -> None:
    async def main() -> list[Trajectory]:
        async with workspace(git_repository(tmp_path / "repository", {"a.py": b"def f():\n    return 1\n"})) as room:
            briefed = [attempt_scope(brief="Two before failed."), attempt_scope()]
            return [await play(room, Scripted([]), make_scaffold(), scope) for scope in briefed]

    briefed, plain = asyncio.run(main())
    assert briefed.messages[1]["content"] == f"{plain.messages[1]['content']}\n\nTwo before failed."
    assert briefed.messages[0] == plain.messages[0]


def test_the_repair_scaffold_shows_a_brief_before_the_function(tmp_path: Path) -> None:
    async def main() -> str:
        async with workspace(git_repository(tmp_path / "repository", {"a.py": b"def f():\n    return 1\n"})) as room:
            opening = await make_scaffold("repair").opening(TASK, room, attempt_scope(brief="Two before failed."))
            return str(opening.messages[-1]["content"])

    text = asyncio.run(main())
    assert text.index(TASK.statement) < text.index("Two before failed.") < text.index("def f()")


# by name


def test_there_is_an_agent_of_each_name() -> None:
    setup = agent_setup(Scripted([]))
    assert [make_agent(name, setup, sandbox=True).name for name in ("loop", "oneshot")] == ["loop", "oneshot"]
    with pytest.raises(UnknownName, match="no agent 'lop'; did you mean loop"):
        make_agent("lop", setup, sandbox=True)


def test_the_loop_without_a_sandbox_is_refused_before_anything_is_sampled() -> None:
    setup = agent_setup(Scripted([]))
    with pytest.raises(Unsuited, match=r"^agent loop works in a sandbox.*; use --agent oneshot$"):
        make_agent("loop", setup, sandbox=False)
    assert make_agent("oneshot", setup, sandbox=False).name == "oneshot"
    with pytest.raises(Unsuited, match="use --agent oneshot"):
        asyncio.run(tool_loop(Scripted([say(("submit", {}))])).run(TASK, None, attempt_scope()))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The registry as it is where the example is an installed package."""
    site = tmp_path / "site"
    info = site / "command_agent-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: command-agent\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[coding_monkeys.agents]\ncommand = command_agent:CommandAgent\n")
    shutil.copy(EXAMPLE, site)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "command_agent", raising=False)
    fresh = Registry("agents", "agent", AGENTS.protocol, AGENTS.built_in)
    monkeypatch.setattr("agent.agents.AGENTS", fresh)
    return fresh


def test_the_example_is_found_by_its_entry_point_and_makes_an_attempt(installed: Registry) -> None:
    assert installed.names == ["loop", "oneshot", "command"]
    task = quick_task("tally")

    def attempt(command: str) -> Trajectory:
        async def main() -> Trajectory:
            setup: AgentSetup = replace(agent_setup(Scripted([])), options={"command": command})
            async with workspace(task.origin) as room:
                return await make_agent("command", setup, sandbox=True).run(task, room.sandbox, attempt_scope())

        return asyncio.run(main())

    done = attempt("head -n 1 > seen.txt; echo written")
    assert done.exit is Exit.SUBMITTED
    assert f"+{task.statement.splitlines()[0]}".encode() in done.submission.body
    assert done.messages[-1]["content"] == "written\n"
    assert attempt("exit 3").exit is Exit.STOPPED


def test_the_example_without_its_option_is_refused(installed: Registry) -> None:
    with pytest.raises(Unsuited, match="needs its option `command`"):
        make_agent("command", agent_setup(Scripted([])), sandbox=True)
