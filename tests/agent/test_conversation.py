"""A conversation at the end of its window stops, or goes on without older results; its record tells what was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from agent.actions import make_actions
from agent.agent import AttemptScope
from agent.conversation import ELIDED, OURS, SUMMARY, WORTH, Conversation, as_sent
from agent.models import ContextExceeded, Reply
from agent.models.chat import ChatModel
from agent.models.scripted import Scripted, say
from agent.trajectory import Exit, Message, Trajectory, Usage, exchanges
from envs import Origin
from tests.helpers import Answer, ChatServer, begins, git_repository, play, said, workspace

OPENING: list[Message] = [{"role": "system", "content": "You fix."}, {"role": "user", "content": "Broken. " * 50}]
LOOK = say(("bash", {"command": "head -c 4000 /dev/zero | tr '\\0' x; echo new >> new.txt"}))


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    return git_repository(tmp_path_factory.mktemp("conversation") / "repository", {"a.txt": b"a\n"})


def characters(messages: Sequence[Message]) -> int:
    return sum(len(str(message)) for message in messages)


class Narrow(Scripted):
    """Looks without end; takes so many characters at most, and counts a token for four of them."""

    def __init__(self, most: int, turns: int = 30) -> None:
        super().__init__([LOOK] * turns)
        self.most, self.taken = most, list[list[Message]]()
        self.refused = 0

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
    ) -> Reply:
        size = characters(messages)
        if size > self.most:
            self.refused += 1
            raise ContextExceeded(f"{size} characters, and {self.most} are the most")
        self.taken.append([dict(message) for message in messages])
        reply = await super().reply(messages, tools, scope=scope)
        return Reply(reply.message, Usage(size // 4, 20))


def played(origin: Origin, model: Any, form: str = "native", **limits: Any) -> Trajectory:
    async def main() -> Trajectory:
        async with workspace(origin) as room:
            return await play(room, model, begins(OPENING, make_actions(form)), **limits)

    return asyncio.run(main())


def common(one: Sequence[Message], other: Sequence[Message]) -> int:
    """How many messages two requests begin with alike."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def test_an_attempt_ends_with_its_work_when_the_window_is_full(origin: Origin) -> None:
    trajectory = played(origin, Narrow(20_000))
    assert trajectory.exit is Exit.CONTEXT_LIMIT
    assert "20000 are the most" in trajectory.detail
    assert len(trajectory.turns) == 5
    assert b"+new" in trajectory.submission.body


def test_an_attempt_with_a_window_of_its_own_stops_before_the_server_refuses(origin: Origin) -> None:
    model = Narrow(10**9)
    trajectory = played(origin, model, window=5_000)
    assert trajectory.exit is Exit.CONTEXT_LIMIT
    assert "tokens of 5000" in trajectory.detail
    assert 3_000 < characters(model.taken[-1]) / 4 <= 5_000
    assert b"+new" in trajectory.submission.body


@pytest.mark.parametrize("window", [None, 5_000])
def test_an_attempt_that_may_elide_goes_on_for_as_long_as_it_likes(origin: Origin, window: int | None) -> None:
    model = Narrow(22_000)
    trajectory = played(origin, model, context="elide", window=window)
    assert trajectory.exit is Exit.SUBMITTED
    assert len(trajectory.turns) == 31
    assert window is None or model.refused == 0


def test_every_request_can_be_told_from_the_record_and_nothing_said_is_lost(origin: Origin) -> None:
    model = Narrow(20_000)
    trajectory = played(origin, model, context="elide")
    ends = [len(OPENING), *(turn.end for turn in trajectory.turns)]
    for request, end in zip(model.taken, ends, strict=False):
        assert request == as_sent(trajectory.messages[:end])
    seen = [message["content"] for message in trajectory.messages if message["role"] == "tool"]
    assert [len(text) for text in seen[:-1]] == [4001] * 30
    assert any(ELIDED in message for message in trajectory.messages)
    assert not any(ELIDED in message for request in model.taken for message in request)


def test_the_prefix_changes_seldom_and_only_after_what_was_elided_before(origin: Origin) -> None:
    model = Narrow(40_000)
    played(origin, model, context="elide")
    kept = [common(one, other) for one, other in zip(model.taken, model.taken[1:], strict=False)]
    breaks = [(at, same) for at, same in enumerate(kept) if same < len(model.taken[at])]
    assert 2 <= len(breaks) <= 30 / 4, "in large steps"
    assert [same for _, same in breaks] == sorted({same for _, same in breaks}), "each begins where the last ended"
    reused = sum(characters(request[:same]) for request, same in zip(model.taken, kept, strict=False))
    assert reused / sum(map(characters, model.taken[1:])) > 0.7


def test_the_newest_results_are_sent_whole_even_if_nothing_else_is_left(origin: Origin) -> None:
    trajectory = played(origin, Narrow(4_500), context="elide")
    assert trajectory.exit is Exit.CONTEXT_LIMIT
    assert ELIDED not in trajectory.messages[-1]
    assert len(trajectory.turns) > 0


def test_what_is_short_and_what_the_model_said_and_the_opening_are_not_elided() -> None:
    said_so = Conversation(OPENING)
    for text in ("short", "x" * WORTH, "y" * 5000):
        said_so.add({"role": "assistant", "content": "z" * 5000}, {"role": "user", "content": text})
    said_so.add({"role": "assistant", "content": "last"}, {"role": "user", "content": "n" * 5000})
    before = said_so.sent()
    assert said_so.elide()
    after = said_so.sent()
    assert [at for at, (one, other) in enumerate(zip(before, after, strict=True)) if one != other] == [5, 7]
    assert after[5]["content"].startswith("[elided to make room: 1 lines")
    assert not said_so.elide()


def test_a_server_that_says_that_the_conversation_is_too_long_gets_a_shorter_one(origin: Origin) -> None:
    look, end = said("```bash\nseq 1000\n```"), said("```submit\n```")
    full = {"error": {"message": "This model's maximum context length is 100 tokens.", "code": 400}}
    # Refused, a short message taken, refused once more, and then the shorter conversation.
    refusal, done = Answer(400, full), Answer(body=end)
    server = ChatServer(Answer(body=look), Answer(body=look), refusal, done, refusal, done)

    async def main() -> Trajectory:
        async with server, workspace(origin) as room:
            model = ChatModel("tiny", server.url, None, {})
            try:
                return await play(room, model, begins(OPENING, make_actions("text")), context="elide")
            finally:
                await model.close()

    trajectory = asyncio.run(main())
    assert trajectory.exit is Exit.SUBMITTED
    assert len(trajectory.turns) == 3
    refused, short, again, taken = (request.body["messages"] for request in server.requests[2:])
    assert (len(short), again) == (1, refused)
    assert len(refused) == len(taken) == 6
    assert taken == as_sent(trajectory.messages[:6])
    assert (len(refused[3]["content"]), taken[3]["content"][:7]) == (3893 + len("Result of bash:\n"), "[elided")
    assert taken[5] == refused[5]


class Summarising(Narrow):
    """Views a file, changes it and looks on, in turn; tells what it did where it is asked for a summary."""

    def __init__(self, most: int, turns: int = 24) -> None:
        super().__init__(most, turns)
        self._lines = [
            say(("view", {"path": "a.txt"}), ("bash", {"command": f"head -c 4000 /dev/zero | tr '\\0' x; echo {at}"}))
            for at in range(turns)
        ]
        self.asked: list[list[Message]] = []

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
    ) -> Reply:
        if scope.purpose != "summary":
            return await super().reply(messages, tools, scope=scope)
        if characters(messages) > self.most:
            raise ContextExceeded("too long for a summary")
        self.asked.append(list(messages))
        return Reply({"role": "assistant", "content": f"summary {len(self.asked)}"}, Usage(1000, 7))


@pytest.mark.parametrize("window", [None, 5_000])
def test_an_attempt_that_may_summarise_goes_on_and_its_record_gives_every_request(
    origin: Origin, window: int | None
) -> None:
    model = Summarising(22_000)
    trajectory = played(origin, model, context="summarise", window=window)
    assert (trajectory.exit, len(trajectory.turns)) == (Exit.SUBMITTED, 25)
    # Each turn played its own line, so that the number of the turn was known all the time.
    commands = [str(message["tool_calls"]) for message in trajectory.messages if message["role"] == "assistant"]
    assert all(f"echo {at}" in commands[at] for at in range(24))
    replies = [at for at, message in enumerate(trajectory.messages) if message["role"] == "assistant"]
    assert model.taken == [as_sent(trajectory.messages[:at]) for at in replies]
    assert all(characters(request) <= 22_000 for request in model.taken)
    assert all(OURS.isdisjoint(message) for request in model.taken for message in request)
    summaries = [message for message in trajectory.messages if SUMMARY in message]
    assert len(summaries) == len(model.asked) > 1
    assert [list(one.messages) for one in exchanges(trajectory.messages)] == model.asked
    assert trajectory.aside == Usage(1000 * len(summaries), 7 * len(summaries))
    assert trajectory.usage.completion == 25 * 20 + trajectory.aside.completion


def test_a_summary_stands_behind_the_issue_and_lists_what_was_read(origin: Origin) -> None:
    model = Summarising(22_000)
    trajectory = played(origin, model, context="summarise")
    last = model.taken[-1]
    assert [message["role"] for message in last[:3]] == ["system", "user", "assistant"]
    issue, told = last[1]["content"].split("\n\n[summary of your work so far")
    assert issue == OPENING[1]["content"]
    assert f"summary {len(model.asked)}" in told
    assert "summary 1" not in told
    assert "You have viewed these lines" in told
    assert "- a.txt: lines 1-1" in told
    assert "[summary]\n[summary of your work so far" in model.asked[1][0]["content"]  # the next one knows the last
    assert len(trajectory.messages) > 2 * len(last)


def test_an_attempt_stops_where_there_is_nothing_left_to_summarise(origin: Origin) -> None:
    trajectory = played(origin, Summarising(4_500), context="summarise")
    assert trajectory.exit is Exit.CONTEXT_LIMIT
    assert len(trajectory.turns) == 1


def test_a_conversation_taken_up_in_the_midst_is_sent_and_elided_as_it_was() -> None:
    whole, sent = Conversation(OPENING), []
    for number in range(12):
        if number % 3 == 2:
            whole.elide()
        sent.append((len(whole.messages), whole.sent()))
        whole.add({"role": "assistant", "content": f"look {number}"}, {"role": "user", "content": f"{number} " * WORTH})
    for held, request in sent:
        resumed = Conversation.resumed(whole.messages[:held], len(OPENING))
        assert resumed.sent() == request
        again = Conversation.resumed(resumed.messages, len(OPENING))
        assert resumed.elide() == again.elide()
        assert resumed.messages[: len(OPENING)] == OPENING, "an opening is never elided"
