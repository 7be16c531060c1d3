"""The submission after each turn of an attempt, and attempts that go on from a turn of another one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from agent.agent import AttemptScope, AttemptSpec, Branch
from agent.loop import ToolLoop
from agent.models import Model
from agent.models.scripted import Scripted, say
from agent.scaffolds import Unsuited
from agent.trajectory import Exit, Message, Trajectory, Usage
from agent.turn_submissions import TurnSubmissions, submission_after
from envs import Origin, Sandbox
from tasks import Submission, Task
from tests.helpers import agent_setup, attempt_scope, begins, collect, git_repository, workspace

OPENING = begins([{"role": "system", "content": "You mend things."}, {"role": "user", "content": "It is broken."}])
FILES = {"a.txt": b"one\n", ".gitignore": b"build/\n"}
COUNTED = Usage(prompt=10, completion=5)


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    tmp_path.chmod(0o755)
    return git_repository(tmp_path / "repository", FILES)


def bash(*scripts: str) -> list[Message]:
    return [say(("bash", {"command": script})) for script in scripts]


SUBMIT = say(("submit", {}))


def play(
    origin: Origin,
    model: Model,
    scope: AttemptScope | None = None,
    *,
    each_turn: bool = True,
    command_seconds: float = 20.0,
    **limits: float,
) -> Trajectory:
    """One attempt of the loop in a sandbox of its own."""

    async def story() -> Trajectory:
        async with workspace(origin, command_seconds=command_seconds) as room:
            agent = ToolLoop(replace(agent_setup(model, OPENING, **limits), each_turn=each_turn))
            task = Task(id="task", statement="It is broken.", origin=origin)
            return await agent.run(task, room.sandbox, scope or attempt_scope())

    return asyncio.run(story())


def bodies(trajectory: Trajectory) -> list[bytes | None]:
    """The last line of each turn's submission."""
    found = [turn.submission for turn in trajectory.turns]
    return [None if one is None else one.body.strip().rpartition(b"\n")[2] for one in found]


def test_a_submission_stands_at_each_turn_after_which_it_is_another_one(origin: Origin) -> None:
    script = ["ls", "echo two > a.txt", "cat a.txt; mkdir build; echo x > build/x", "echo one > a.txt"]
    model = Scripted([*bash(*script, "echo new > b.txt"), SUBMIT])
    trajectory = play(origin, model)
    assert trajectory.each_turn
    assert bodies(trajectory) == [None, b"+two", None, b"", b"+new", None]
    assert [turn.untaken for turn in trajectory.turns] == [""] * 6
    assert submission_after(trajectory, 6) == trajectory.submission
    plain = play(origin, model, each_turn=False)
    assert (plain.messages, plain.submission, plain.exit) == (
        trajectory.messages,
        trajectory.submission,
        trajectory.exit,
    )
    assert not any(turn.submission for turn in plain.turns)
    assert submission_after(plain, 1) is None


def test_stopping_after_so_many_turns_hands_in_what_was_taken_there(origin: Origin) -> None:
    model = Scripted(bash("echo 1 > a.txt", "true", "rm a.txt", "git stash -q; echo 2 > c; git add c", "echo 3 >> c"))
    whole = play(origin, model)
    for turns in range(1, 6):
        assert play(origin, model, each_turn=False, turns=turns).submission == submission_after(whole, turns)


def test_an_attempt_goes_on_where_its_submission_cannot_be_taken_in_passing(origin: Origin) -> None:
    script = ["echo two > a.txt", "rm .gitignore; mkfifo .gitignore", "rm .gitignore; echo build/ > .gitignore", "ls"]
    trajectory = play(origin, Scripted([*bash(*script), SUBMIT]))
    assert trajectory.exit is Exit.SUBMITTED
    assert bodies(trajectory) == [b"+two", None, b"+two", None, None]
    assert "would have to be changed first" in trajectory.turns[1].untaken
    assert submission_after(trajectory, 2) is None
    assert submission_after(trajectory, 4) == trajectory.submission


def test_the_last_turn_has_what_was_handed_in_however_the_attempt_ended(origin: Origin) -> None:
    cut = play(origin, Scripted(bash("echo two > a.txt", "echo three > a.txt; sleep 60")), seconds=1.5)
    assert cut.exit is Exit.TIME_LIMIT
    assert bodies(cut) == [b"+two", b"+three"]
    lost = play(origin, Scripted([*bash("echo two > a.txt", "echo x > b"), *bash("true")]), turns=3)
    assert lost.exit is Exit.TURN_LIMIT
    assert bodies(lost) == [b"+two", b"+x", None]


def test_the_clock_of_an_attempt_stands_still_while_a_submission_is_taken(origin: Origin) -> None:
    scope, stopped = attempt_scope(), []

    async def watched(task: Task, sandbox: Sandbox | None, reply: str) -> Submission:
        stopped.append(scope.clock.stopped)
        return await collect(task, sandbox, reply)

    async def story() -> Trajectory:
        async with workspace(origin) as room:
            setup = agent_setup(Scripted([*bash("echo two > a.txt"), SUBMIT]), OPENING)
            agent = ToolLoop(replace(setup, each_turn=True, collect=watched))
            return await agent.run(Task(id="task", statement="", origin=origin), room.sandbox, scope)

    assert len(asyncio.run(story()).turns) == 2
    assert stopped[0] is True


def test_submissions_of_turns_are_kept_up_to_a_size() -> None:
    bodies = iter([b"x" * 600_000, b"y" * 600_000, b"z", b"z"])

    async def story() -> list[tuple[int | None, str]]:
        async def next_one(reply: str) -> Submission:
            return Submission(next(bodies))

        turns = TurnSubmissions(next_one, most=1 << 20)
        taken = [await turns.take("") for _ in range(4)]
        return [(None if one is None else len(one.body), why) for one, why in taken]

    too_many = "the patches of turns have more than 1 MB together"
    assert asyncio.run(story()) == [(600_000, ""), (None, too_many), (1, ""), (None, "")]


class Opaque:
    """A sandbox of another kind, which gives its patch at the end alone."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.run, self.read, self.write, self.diff = sandbox.run, sandbox.read, sandbox.write, sandbox.diff
        self.quiet, self.snapshot, self.close = sandbox.quiet, sandbox.snapshot, sandbox.close


def test_a_kind_of_sandbox_that_cannot_do_it_is_refused(origin: Origin) -> None:
    async def story() -> None:
        async with workspace(origin) as room:
            agent = ToolLoop(replace(agent_setup(Scripted([SUBMIT]), OPENING), each_turn=True))
            await agent.run(Task(id="task", statement="", origin=origin), Opaque(room.sandbox), attempt_scope())

    with pytest.raises(Unsuited, match="leave out --patch-each-turn"):
        asyncio.run(story())


# Continuations


def going_on(recorded: Trajectory, turn: int, index: int = 0) -> AttemptScope:
    """The scope of continuation `index`."""
    scope = AttemptScope(AttemptSpec("task", index, 99 + index, "branch", parents=(0,), continues=Branch(0, turn, 1)))
    scope.recorded = recorded
    return scope


class Seen:
    """Answers with one script and keeps what it was asked."""

    name = "seen"

    def __init__(self, *script: Message) -> None:
        self._scripted, self.asked = Scripted(script, COUNTED), list[list[Message]]()

    async def reply(self, messages, tools, *, scope):  # type: ignore[no-untyped-def]
        self.asked.append(list(messages))
        return await self._scripted.reply(messages, tools, scope=scope)

    async def check(self) -> None: ...
    async def close(self) -> None: ...


RECORDED = bash(
    "echo two > a.txt; mkdir build; echo x > build/x; (sleep 1000 &) > /dev/null 2>&1", "date +%s%N", "rm a.txt"
)


def test_a_continuation_has_the_recorded_conversation_and_the_files_and_processes_of_then(origin: Origin) -> None:
    recorded = play(origin, Scripted([*RECORDED, SUBMIT], COUNTED))
    look = "cat a.txt build/x; grep -l sleep /proc/[0-9]*/comm | wc -l"
    seen = Seen(*RECORDED[:2], *bash(look), SUBMIT)
    went_on = play(origin, seen, going_on(recorded, 2), each_turn=False)
    assert went_on.exit is Exit.SUBMITTED
    assert seen.asked[0] == list(recorded.messages[: recorded.turns[1].end])
    assert went_on.messages[: recorded.turns[1].end] == recorded.messages[: recorded.turns[1].end]
    assert went_on.messages[recorded.turns[1].end + 1]["content"] == "two\nx\n1\n"
    assert [len(turns) for turns in (went_on.turns, went_on.answers)] == [2, 2], "its own turns alone"
    assert went_on.usage == COUNTED + COUNTED
    assert went_on.submission == submission_after(recorded, 2)
    assert b"+two" in went_on.submission.body


def test_a_continuation_has_the_turns_and_tokens_that_were_left(origin: Origin) -> None:
    recorded = play(origin, Scripted(RECORDED * 2, COUNTED), turns=6)
    endless = Seen(*bash(*["true"] * 20))
    assert len(play(origin, endless, going_on(recorded, 2), turns=6).turns) == 4
    assert len(play(origin, endless, going_on(recorded, 0), turns=6).turns) == 6
    limited = play(origin, endless, going_on(recorded, 2), tokens=60)
    assert (limited.exit, len(limited.turns)) == (Exit.TOKEN_LIMIT, 2)


def test_the_replies_without_an_action_before_a_turn_count_after_it(origin: Origin) -> None:
    idle: Message = {"role": "assistant", "content": "I wonder."}
    recorded = play(origin, Scripted([*bash("true"), idle, idle, *bash("true")]))
    went_on = play(origin, Seen(*bash("true"), *[idle] * 9), going_on(recorded, 3))
    assert (went_on.exit, len(went_on.turns)) == (Exit.STOPPED, 2)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("cat /proc/sys/kernel/random/uuid", "does not behave as recorded at turn 0"),
        ("cat /proc/sys/kernel/random/uuid > a.txt", "the submission before turn 1 is not as recorded"),
    ],
)
def test_where_the_sandbox_is_not_as_it_was_nothing_is_continued(origin: Origin, script: str, said: str) -> None:
    recorded = play(origin, Scripted(bash(script, "true")))
    went_on = play(origin, Seen(*bash("true")), going_on(recorded, 1))
    assert went_on.exit is Exit.SANDBOX_FAILED, "a failure of ours, which counts for nothing"
    assert said in went_on.detail
    assert went_on.turns == ()


def test_a_turn_that_is_not_on_record_is_not_continued(origin: Origin) -> None:
    recorded = play(origin, Scripted(bash("true")), turns=1)
    assert "not on record" in play(origin, Seen(SUBMIT), going_on(recorded, 1)).detail
