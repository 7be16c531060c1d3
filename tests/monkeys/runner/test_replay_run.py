"""A run replayed against its recorded answers: the same attempts again, and nobody is asked."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.agent import AttemptScope
from agent.models import ModelRefused
from agent.models.recorded import UNLIKE, Recorded
from agent.models.scripted import say
from agent.trajectory import Exit, Message, Trajectory, Turn, Usage
from monkeys.store import Store
from tasks.task import Submission
from tests.helpers import Answer, ChatServer, attempt_scope, begins, git_repository, play, workspace
from tests.monkeys.runner.test_sample_job import IDS, command, environment, job, recorded, until
from tests.monkeys.store.earlier import to_version_2

TASK = IDS[0]
SERVED = ("--model", "tiny", "--ids", TASK, "--workers", "1", "--no-verify")
REPLAY = ("--ids", TASK, "--no-verify")


# Recording


def answers(*messages: Message | Answer, reasons: Mapping[int, str] | None = None) -> list[Answer]:
    """What a server says, one request after the other, each with its usage, token ids and log-probabilities."""
    found = []
    for number, message in enumerate(messages):
        if isinstance(message, Answer):
            found.append(message)
            continue
        choice = {
            "index": 0,
            "message": {**message, "annotations": [], "audio": None},
            "finish_reason": (reasons or {}).get(number, "stop"),
            "token_ids": [number, 7, 8],
            "logprobs": {"content": [{"token": "a", "logprob": -0.125 * number}, {"token": "b", "logprob": 0.0}]},
        }
        usage = {"prompt_tokens": 100 + number, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 64}}
        found.append(Answer(body={"choices": [choice], "usage": usage, "prompt_token_ids": list(range(40 + number))}))
    return found


def raw(arguments: str, name: str = "bash") -> Message:
    """A call whose arguments are not quite JSON."""
    return {"role": "assistant", "content": None, "tool_calls": [
        {"index": 0, "id": "x", "type": "function", "function": {"name": name, "arguments": arguments}}]}  # fmt: skip


def prose(text: str, **fields: Any) -> Message:
    return {"role": "assistant", "content": text, **fields}


def bash(text: str) -> Message:
    return say(("bash", {"command": text}))


SUBMIT = say(("submit", {}))
WASTED = Answer(body={"choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 5}})
TOO_LONG = Answer(400, {"error": {"message": "maximum context length is 8 tokens"}})
LINES = bash("seq 1 300")

NATIVE = answers(
    # 0: all that can be wrong with a call
    raw('{"command": "echo one > a.txt",}'),
    raw('{"command": "echo never > a.txt'),  # cut by its length
    raw("[1]"),
    raw('{"command": "ls"}', "no such tool!"),
    say(("bash", {"command": "echo two >> a.txt"}), ("view", {"path": "a.txt"}), text="two calls"),
    WASTED,
    SUBMIT,
    # 1: no call, until it is stopped
    *[prose(f"hm {number}", reasoning_content="I think") for number in range(4)],
    # 2: older results are left out, and then there is no more to leave out
    LINES,
    LINES,
    TOO_LONG,
    bash("echo three > c.txt"),
    TOO_LONG,
    TOO_LONG,
    # 3: goes on and on
    *[bash(f"echo {number} >> d.txt") for number in range(8)],
    reasons={1: "length"},
)
TEXT = answers(
    prose("So:\n```bash\necho one > a.txt\n```"),
    prose("```bash\necho never > a.txt"),  # cut by its length
    prose("<think>why</think>```create b.txt\nthree\n```\n```submit\n```"),
    *[prose("hm")] * 4,
    prose("```submit\n```"),
    reasons={1: "length"},
)
STRUCTURED = answers(
    prose('{"thought": "x", "action": {"tool": "bash", "command": "echo one > a.txt"}}'),
    prose('{"action": {"tool": "bash", "command": "echo never'),
    prose('```json\n{"tool": "submit", "arguments": {}}\n```'),
    *[prose("{}")] * 4,
    prose('{"tool": "submit"}'),
    reasons={1: "length"},
)
FORMS = {
    "native": (NATIVE, 4, ("--context", "elide", "--max-turns", "8")),
    "text": (TEXT, 3, ("--actions", "text")),
    "structured": (STRUCTURED, 3, ("--actions", "structured")),
}


def record(cwd: Path, script: Sequence[Answer], *options: str) -> None:
    """A run called `first` against a server that then is gone."""

    async def main() -> None:
        async with ChatServer(Answer(body={"data": []}), *script) as server:
            words = command(*SERVED, "--base-url", server.url, "--run", "first", "--quiet", *options)
            process = await asyncio.create_subprocess_exec(
                *words, cwd=cwd, env=environment(), stderr=asyncio.subprocess.PIPE
            )
            _, said = await process.communicate()
            assert process.returncode == 0, said.decode()

    asyncio.run(main())


def takes(folder: Path) -> list[Trajectory]:
    """The counted attempts of a run, without what their seconds were."""
    store = Store.read(folder)
    found = [store.trajectory(row) for row in store.attempts() if not row.exit.infra]
    store.close()
    return [
        replace(
            take, seconds=0.0, turns=tuple(replace(turn, model_seconds=0.0, tool_seconds=0.0) for turn in take.turns)
        )
        for take in found
    ]


@pytest.mark.parametrize("form", FORMS)
def test_a_replay_is_the_recorded_run_to_the_letter_and_so_is_a_replay_of_that(form: str, tmp_path: Path) -> None:
    script, attempts, options = FORMS[form]
    record(tmp_path, script, "--attempts", str(attempts), *options)
    first = takes(tmp_path / "runs/first")
    assert any(turn.finish_reason == "length" for take in first for turn in take.turns)
    assert all(turn.given and turn.tokens for take in first for turn in take.turns)
    if form == "native":
        assert [take.exit for take in first] == [Exit.SUBMITTED, Exit.STOPPED, Exit.CONTEXT_LIMIT, Exit.TURN_LIMIT]
        assert first[0].wasted == Usage(1000, 5)
        assert b"+two" in first[0].submission.body
        assert "elided_from" in str(first[2].messages)
    for model, run in (("replay:runs/first", "second"), ("replay:second", "third")):
        done = job("--model", model, "--no-verify", "--run", run, cwd=tmp_path)  # the rest is known from the record
        assert done.returncode == 0, done.stderr
        assert "unlike" not in done.stdout + done.stderr
        assert "differs from its recording" not in done.stdout + done.stderr
        assert takes(tmp_path / "runs" / run) == first


# Another way than it was recorded


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run `first`: in its attempts a command says something else each time."""
    cwd = tmp_path_factory.mktemp("strange")
    script = []
    for said in ("date +%s%N", "cat /proc/sys/kernel/random/uuid"):
        script += [bash(said), bash("echo kept > a.txt"), SUBMIT]
    record(cwd, answers(*script), "--attempts", "2")
    return cwd


def test_what_is_unlike_the_record_is_counted_and_the_attempt_goes_on(strange: Path) -> None:
    done = job("--model", "replay:first", *REPLAY, "--attempts", "2", "--run", "loose", cwd=strange)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert f"replay: 2 attempts of 2 had requests unlike the recorded; but for {TASK} 1 in numbers alone" in said
    first, loose = takes(strange / "runs/first"), takes(strange / "runs/loose")
    assert [(take.exit, take.submission) for take in loose] == [(take.exit, take.submission) for take in first]
    assert all(take.detail.startswith(f"{UNLIKE} from turn 1 on: message 3 (tool) at character") for take in loose)


def test_a_strict_replay_ends_an_attempt_where_it_leaves_the_record_and_says_where(strange: Path) -> None:
    words = ("--model", "replay:first", *REPLAY, "--attempts", "2", "--run", "strict", "--replay-strict")
    done = job(*words, cwd=strange)
    assert done.returncode == 0, done.stderr
    assert "2 attempts left the recording" in " ".join(done.stdout.split())
    for take in takes(strange / "runs/strict"):
        assert take.exit is Exit.OFF_RECORD
        assert len(take.turns) == 1
        assert take.submission.body == b""
        assert f"{UNLIKE} at turn 1: message 3 (tool)" in take.detail
        assert " then and " in take.detail


def test_settings_that_differ_from_the_recorded_are_named_in_one_line(strange: Path) -> None:
    words = ("--model", "replay:first", *REPLAY, "--attempts", "1", "--run", "other", "--actions", "text")
    done = job(*words, "--max-turns", "2", cwd=strange)
    assert done.returncode == 0, done.stderr
    assert "the replay differs from its recording in: agent.actions (was native), agent.prompts.actions" in done.stderr
    assert "limits.turns (was 40)" in done.stderr


def test_an_attempt_that_wants_more_than_was_recorded_is_off_the_record(tmp_path: Path) -> None:
    record(tmp_path, answers(*[bash("echo x >> a.txt")] * 2), "--attempts", "1", "--max-turns", "2")
    done = job("--model", "replay:first", *REPLAY, "--max-turns", "40", "--run", "more", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (first,), (more,) = takes(tmp_path / "runs/first"), takes(tmp_path / "runs/more")
    assert (first.exit, more.exit) == (Exit.TURN_LIMIT, Exit.OFF_RECORD)
    assert more.detail == "2 turns were recorded, which ended with 'turn limit', and this attempt goes on"
    assert more.submission == first.submission
    assert more.turns == first.turns


def test_a_run_of_an_earlier_version_is_replayed_as_well_as_it_can_be(tmp_path: Path) -> None:
    script = [bash("echo one > a.txt"), raw('{"command": "echo never'), SUBMIT]
    record(tmp_path, answers(*script, reasons={1: "length"}), "--attempts", "1")
    to_version_2(tmp_path / "runs/first", answers=False)
    done = job("--model", "replay:first", *REPLAY, "--attempts", "1", "--run", "again", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "how answers ended, which this run's version did not record" in done.stderr
    (first,), (again,) = takes(tmp_path / "runs/first"), takes(tmp_path / "runs/again")
    assert (again.exit, again.submission, again.usage) == (first.exit, first.submission, first.usage)
    assert UNLIKE in again.detail, "that the call was cut is not known any more"


def test_a_replay_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    lines = [line for number in range(9) for line in (bash(f"sleep 0.1; echo {number} > a.txt"), SUBMIT)]
    record(tmp_path, answers(*lines), "--attempts", "9")
    words = ("--model", "replay:first", "--no-verify", "--run", "again", "--quiet", "--workers", "1")
    process = subprocess.Popen(command(*words), cwd=tmp_path, env=environment(), start_new_session=True)
    until(lambda: recorded(tmp_path / "runs/again") >= 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    there = recorded(tmp_path / "runs/again")
    assert 2 <= there < 9
    assert job(*words, cwd=tmp_path).returncode == 0
    assert takes(tmp_path / "runs/again") == takes(tmp_path / "runs/first")


# What cannot be replayed


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("--model", "replay:first", "--attempts", "250"), "has 2 attempts at quick__ledger-1 to replay, not 250"),
        (("--model", "replay:first", "--ids", *IDS), f"has no attempts at 1 task, such as {IDS[1]}"),
        (("--model", "replay:runs"), "no run at runs"),
        (("--model", "replay:frist"), "no run of that name to replay"),
    ],
)
def test_what_the_record_does_not_have_is_refused_before_anything_is_sampled(
    strange: Path, words: tuple[str, ...], remedy: str
) -> None:
    before = set((strange / "runs").iterdir())
    done = job(*words, cwd=strange)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert remedy in done.stderr
    assert set((strange / "runs").iterdir()) == before


def test_a_run_without_conversations_is_refused_with_what_verifies_it(strange: Path) -> None:
    rows = [{"instance_id": TASK, "model_name_or_path": "x", "model_patch": ""}]
    (strange / "p.json").write_text(json.dumps(rows))
    monkeys = [sys.executable, "-m", "monkeys", "verify", "p.json", "--tasks", "quick", "--run", "verified", "--quiet"]
    subprocess.run(monkeys, cwd=strange, env=environment(), check=True, capture_output=True, timeout=60)
    done = job("--model", "replay:verified", "--ids", TASK, "--attempts", "1", cwd=strange)
    assert done.returncode == 2
    assert "holds patches without conversations" in done.stderr


def test_gold_is_gold_also_where_a_run_has_that_name(strange: Path) -> None:
    words = ("--model", "replay:gold", *REPLAY, "--attempts", "1", "--run", "gold", "--quiet")
    assert job(*words, cwd=strange).returncode == 0
    assert job(*words[:-3], "--run", "again", "--quiet", cwd=strange).returncode == 0
    (again,) = takes(strange / "runs/again")
    assert again.submission.body
    store = Store.read(strange / "runs/again")
    assert "recording" not in store.config["model"]
    store.close()


# The model itself


class One:
    """A recording of one attempt, the first at one task."""

    def __init__(self, take: Trajectory) -> None:
        self.take = take

    def trajectory(self, task: str, index: int) -> Trajectory | None:
        return self.take if (task, index) == ("task", 0) else None

    def close(self) -> None:
        pass


def test_an_attempt_that_ran_out_of_time_does_so_again_and_one_that_is_not_there_stops_the_run(tmp_path: Path) -> None:
    origin = git_repository(tmp_path / "repository", {"old.txt": b"old\n"})
    opening: list[Message] = [{"role": "user", "content": "go"}]
    messages = (*opening, bash("echo new > a.txt"), {"role": "tool", "tool_call_id": "call_0", "content": "[exit 0]"})
    wasted = Usage(5, 5)
    turn = Turn(3, Usage(1, 1), 1.0, 1.0, "tool_calls")
    model = Recorded("replay:it", One(Trajectory(Exit.TIME_LIMIT, messages, (turn,), Submission(b""), 9.0, "", wasted)))

    async def main(scope: AttemptScope) -> Trajectory:
        async with workspace(origin) as room:
            return await play(room, model, begins(opening), scope)

    played = asyncio.run(main(attempt_scope()))
    assert played.exit is Exit.TIME_LIMIT
    assert played.detail.startswith("the recorded attempt came to its time limit here")
    assert played.usage == Usage(6, 6)
    assert b"+new" in played.submission.body
    with pytest.raises(ModelRefused, match="replay:it has no attempt 1 at task"):
        asyncio.run(main(attempt_scope("task", 1)))
