"""An attempt ends with the right status whatever happens, and its work so far is salvaged at every exit."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.actions.native import NO_CALL
from agent.agent import AttemptScope
from agent.loop import USELESS_IN_A_ROW
from agent.models import ContextExceeded, Model, ModelRefused, ModelUnavailable, Reply
from agent.models.replay import Predictions, Replay
from agent.models.scripted import Scripted, say
from agent.tools import Workspace
from agent.trajectory import Exit, Message, Trajectory, Usage
from envs import Origin
from tests.helpers import begins, git_repository, play, workspace

OPENING: list[Message] = [{"role": "system", "content": "You fix."}, {"role": "user", "content": "It is broken."}]
EDIT = say(("edit", {"command": "create", "path": "new.txt", "new": "kept\n"}))
SLEEP = say(("bash", {"command": "sleep 60"}))
USAGE = Usage(100, 10, 50, 5)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    return git_repository(tmp_path_factory.mktemp("loop") / "repository", {"old.txt": b"old\n"})


class Breaking(Scripted):
    """Plays its lines, then raises."""

    def __init__(self, lines: Sequence[Message], error: Exception) -> None:
        super().__init__(lines, USAGE)
        self._error = error

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
    ) -> Reply:
        if sum(message["role"] == "assistant" for message in messages) == len(self._lines):
            raise self._error
        return await super().reply(messages, tools, scope=scope)


def played(origin: Origin, model: Model, **limits: Any) -> Trajectory:
    async def main() -> Trajectory:
        async with workspace(origin) as room:
            return await play(room, model, begins(OPENING), **limits)

    return asyncio.run(main())


def holds_the_new_file(patch: bytes) -> bool:
    return b"+++ b/new.txt\n@@ -0,0 +1 @@\n+kept\n" in patch


def roles(trajectory: Trajectory) -> list[str]:
    return [message["role"] for message in trajectory.messages]


def test_an_attempt_that_submits_hands_in_what_it_changed(origin: Origin) -> None:
    trajectory = played(origin, Scripted([EDIT, say(("submit", {}))], USAGE))
    assert trajectory.exit is Exit.SUBMITTED
    assert not trajectory.exit.infra
    assert holds_the_new_file(trajectory.submission.body)
    assert trajectory.detail == ""


def test_a_model_that_calls_no_tool_is_told_so_and_stopped_after_some_times(origin: Origin) -> None:
    trajectory = played(origin, Scripted([EDIT, *[{"role": "assistant", "content": "Hm."}] * 9], USAGE))
    assert trajectory.exit is Exit.STOPPED
    assert len(trajectory.turns) == 1 + USELESS_IN_A_ROW
    assert [m["content"] for m in trajectory.messages if m["role"] == "user"][1:] == [
        f"[error] {NO_CALL}"
    ] * USELESS_IN_A_ROW
    assert holds_the_new_file(trajectory.submission.body)


def test_one_usable_call_starts_the_count_of_useless_replies_anew(origin: Origin) -> None:
    idle: Message = {"role": "assistant", "content": "Hm."}
    lines = [*[idle] * (USELESS_IN_A_ROW - 1), EDIT, *[idle] * (USELESS_IN_A_ROW - 1), say(("submit", {}))]
    assert played(origin, Scripted(lines)).exit is Exit.SUBMITTED


def test_calls_that_cannot_be_carried_out_are_no_usable_ones(origin: Origin) -> None:
    trajectory = played(origin, Scripted([say(("sing", {}))] * 9))
    assert trajectory.exit is Exit.STOPPED
    assert trajectory.messages[3]["content"].startswith("[error] there is no tool 'sing'")


def test_the_turn_limit_ends_an_attempt_with_its_work(origin: Origin) -> None:
    trajectory = played(origin, Scripted([EDIT] * 9), turns=2)
    assert trajectory.exit is Exit.TURN_LIMIT
    assert len(trajectory.turns) == 2
    assert holds_the_new_file(trajectory.submission.body)


def test_the_token_limit_counts_prompt_and_completion_of_all_turns(origin: Origin) -> None:
    trajectory = played(origin, Scripted([EDIT] * 9, USAGE), tokens=3 * USAGE.total)
    assert trajectory.exit is Exit.TOKEN_LIMIT
    assert len(trajectory.turns) == 3
    assert holds_the_new_file(trajectory.submission.body)


def test_the_time_limit_cuts_a_command_short_and_the_turn_still_counts(origin: Origin) -> None:
    trajectory = played(origin, Scripted([EDIT, SLEEP], USAGE), seconds=0.5)
    assert trajectory.exit is Exit.TIME_LIMIT
    assert trajectory.seconds < 10
    assert len(trajectory.turns) == 2
    assert trajectory.usage == USAGE + USAGE
    assert holds_the_new_file(trajectory.submission.body)


def test_the_time_limit_cuts_a_slow_model_short(origin: Origin) -> None:
    class Slow(Scripted):
        async def reply(
            self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
        ) -> Reply:
            if messages[-1]["role"] == "tool":
                await asyncio.sleep(60)
            return await super().reply(messages, tools, scope=scope)

    trajectory = played(origin, Slow([EDIT], USAGE), seconds=0.5)
    assert trajectory.exit is Exit.TIME_LIMIT
    assert trajectory.usage == USAGE
    assert holds_the_new_file(trajectory.submission.body)


def test_a_conversation_that_outgrew_the_model_is_over_with_its_work(origin: Origin) -> None:
    trajectory = played(origin, Breaking([EDIT], ContextExceeded("8192 tokens at most")))
    assert trajectory.exit is Exit.CONTEXT_LIMIT
    assert trajectory.detail == "8192 tokens at most"
    assert not trajectory.exit.infra
    assert holds_the_new_file(trajectory.submission.body)


def test_a_server_that_fails_is_an_infra_error_and_the_work_is_kept_as_evidence(origin: Origin) -> None:
    trajectory = played(origin, Breaking([EDIT], ModelUnavailable("HTTP 503")))
    assert trajectory.exit is Exit.MODEL_FAILED
    assert trajectory.exit.infra
    assert trajectory.detail == "HTTP 503"
    assert trajectory.usage == USAGE
    assert holds_the_new_file(trajectory.submission.body)


def test_a_request_that_can_never_succeed_goes_through(origin: Origin) -> None:
    with pytest.raises(ModelRefused, match="wrong key"):
        played(origin, Breaking([], ModelRefused("wrong key")))


def test_a_sandbox_that_dies_is_an_infra_error_that_the_model_never_reads(origin: Origin) -> None:
    async def main() -> Trajectory:
        async with workspace(origin) as room:
            attempt = asyncio.create_task(play(room, Scripted([EDIT, SLEEP], USAGE), begins(OPENING)))
            await asyncio.sleep(0.3)
            await room.sandbox.close()
            return await attempt

    trajectory = asyncio.run(main())
    assert trajectory.exit is Exit.SANDBOX_FAILED
    assert trajectory.exit.infra
    assert "is lost" in trajectory.detail
    assert trajectory.submission.body == b""
    assert len(trajectory.turns) == 2
    assert roles(trajectory)[-1] == "assistant"
    assert not any("lost" in str(message["content"]) for message in trajectory.messages)


def test_a_sandbox_that_dies_before_the_patch_is_taken_is_an_infra_error_too(origin: Origin) -> None:
    class Closing(Scripted):
        async def reply(
            self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
        ) -> Reply:
            await rooms[0].sandbox.close()
            return Reply({"role": "assistant", "content": "Hm."})

    async def main() -> Trajectory:
        async with workspace(origin) as room:
            rooms.append(room)
            return await play(room, Closing([]), begins(OPENING), turns=1)

    rooms: list[Workspace] = []
    trajectory = asyncio.run(main())
    assert trajectory.exit is Exit.SANDBOX_FAILED
    assert "is lost" in trajectory.detail


def test_a_cancelled_attempt_returns_with_its_work(origin: Origin) -> None:
    async def main() -> Trajectory:
        async with workspace(origin) as room:
            attempt = asyncio.create_task(play(room, Scripted([EDIT, SLEEP], USAGE), begins(OPENING)))
            await asyncio.sleep(0.3)
            attempt.cancel()
            return await attempt

    trajectory = asyncio.run(main())
    assert trajectory.exit is Exit.CANCELLED
    assert trajectory.exit.infra
    assert len(trajectory.turns) == 2
    assert holds_the_new_file(trajectory.submission.body)


def test_an_attempt_cancelled_while_its_patch_is_taken_keeps_what_was_said(origin: Origin) -> None:
    class Telling(Scripted):
        async def reply(
            self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
        ) -> Reply:
            if messages[-1]["role"] == "tool":
                submits.set()
            return await super().reply(messages, tools, scope=scope)

    async def main() -> Trajectory:
        async with workspace(origin) as room:
            heavy = say(("bash", {"command": "head -c 20000000 /dev/urandom > heavy"}))  # takes git a second
            attempt = asyncio.create_task(play(room, Telling([heavy], USAGE), begins(OPENING)))
            await submits.wait()
            await asyncio.sleep(0.1)
            attempt.cancel()
            return await attempt

    submits = asyncio.Event()
    trajectory = asyncio.run(main())
    assert trajectory.exit is Exit.CANCELLED
    assert trajectory.usage == USAGE + USAGE
    assert roles(trajectory) == ["system", "user", "assistant", "tool", "assistant", "tool"]


def test_several_calls_are_carried_out_in_order_and_submit_ends_them(origin: Origin) -> None:
    reply = say(
        ("bash", {"command": "echo first > new.txt"}),
        ("view", {"path": "new.txt"}),
        ("submit", {}),
        ("bash", {"command": "echo after > new.txt"}),
    )
    trajectory = played(origin, Scripted([reply]))
    assert trajectory.exit is Exit.SUBMITTED
    assert roles(trajectory) == ["system", "user", "assistant", "tool", "tool", "tool"]
    assert trajectory.messages[4]["content"] == "     1\tfirst"
    assert b"+first" in trajectory.submission.body
    assert b"after" not in trajectory.submission.body


def test_messages_are_recorded_as_they_were_sent(origin: Origin) -> None:
    class Recording(Scripted):
        async def reply(
            self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
        ) -> Reply:
            sent.append([dict(message) for message in messages])
            return await super().reply(messages, tools, scope=scope)

    sent: list[list[Message]] = []
    broken = say(("bash", {}))
    broken["tool_calls"][0]["function"]["arguments"] = '{"command": '
    trajectory = played(origin, Recording([broken, EDIT, say(("view", {"path": "no"}))], USAGE))
    assert [len(messages) for messages in sent] == [2, 4, 6, 8]
    for messages in sent:
        assert messages == list(trajectory.messages[: len(messages)])
    assert [turn.end for turn in trajectory.turns] == [4, 6, 8, 10]
    assert sent[0] == OPENING  # the caller's own list is left alone
    for call, answer in zip(trajectory.messages[2::2], trajectory.messages[3::2], strict=True):
        assert [one["id"] for one in call["tool_calls"]] == [answer["tool_call_id"]]


def test_usage_is_summed_over_the_turns(origin: Origin) -> None:
    trajectory = played(origin, Scripted([EDIT, EDIT], USAGE))
    assert trajectory.usage == Usage(300, 30, 150, 15)
    assert trajectory.usage.total == 330
    assert all(turn.model_seconds >= 0 and turn.tool_seconds >= 0 for turn in trajectory.turns)
    assert sum(turn.model_seconds + turn.tool_seconds for turn in trajectory.turns) <= trajectory.seconds


@pytest.mark.parametrize(
    "lines",
    [
        [{}],
        [{"role": "assistant", "content": None, "tool_calls": None}],
        [{"content": 5, "tool_calls": "bash"}],
        [{"tool_calls": [None, 3, {"function": 7}]}],
    ],
    ids=repr,
)
def test_nonsense_from_a_model_is_answered_and_the_attempt_goes_on(
    origin: Origin, lines: list[Mapping[str, Any]]
) -> None:
    trajectory = played(origin, Scripted([*[dict(line) for line in lines], EDIT]))
    assert trajectory.exit is Exit.SUBMITTED
    assert holds_the_new_file(trajectory.submission.body)


def test_an_attempt_that_changes_nothing_has_an_empty_patch(origin: Origin) -> None:
    assert played(origin, Scripted([])).submission.body == b""


def test_the_patch_is_taken_as_bytes(origin: Origin, tmp_path: Path) -> None:
    write = say(
        ("bash", {"command": r"printf 'caf\xe9\r\n' > old.txt; printf '\x00\xff' > image.bin; chmod +x old.txt"})
    )
    patch = played(origin, Scripted([write])).submission.body
    assert b"+caf\xe9\r\n" in patch
    assert b"GIT binary patch" in patch
    assert b"new mode 100755" in patch


def test_a_replayed_prediction_is_handed_in_to_the_byte(origin: Origin, tmp_path: Path) -> None:
    write = say(("bash", {"command": r"printf '\x00\xff' > image.bin; echo END_OF_PATCH > old.txt; printf a > open"}))
    patch = played(origin, Scripted([write])).submission.body
    file = tmp_path / "predictions.jsonl"
    rows = [{"instance_id": "other\u2028", "model_patch": None}, {"instance_id": "task", "model_patch": patch.decode()}]
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    trajectory = played(origin, Replay(Predictions(file).solution))
    assert trajectory.exit is Exit.SUBMITTED
    assert trajectory.submission.body == patch


def test_a_limit_is_kept_to_within_a_moment(origin: Origin) -> None:
    began = time.monotonic()
    trajectory = played(origin, Scripted([SLEEP]), seconds=0.2)
    assert trajectory.exit is Exit.TIME_LIMIT
    assert time.monotonic() - began < 5
