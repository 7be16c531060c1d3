"""Runs against servers with quirks: which attempts count, what is told, and how the run ends."""

from __future__ import annotations

import asyncio
import json
import os
import string
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.actions import make_actions
from agent.models import ModelError
from agent.models.chat import ChatModel
from agent.trajectory import Exit, Message
from monkeys.report.failures import failure_notes
from monkeys.store import AttemptRow
from tasks import TaskSet
from tests.helpers import Answer, attempt_scope, begins, git_repository, play, quick_task, workspace
from tests.quirky_server import Body, Quirk, QuirkyServer, answer, call, refuse
from tests.sampling import open_sampling

ROOT = Path(__file__).parents[3]
QUICK: dict[str, Any] = {"request_seconds": 5.0, "retry_seconds": 0.3, "backoff_seconds": 0.001}


async def sampled(folder: Path, quirk: Quirk, *slugs: str, attempts: int = 12) -> tuple[list[AttemptRow], list[Body]]:
    """The tries of a run on these tasks against such a server."""
    tasks = TaskSet("some", tuple(map(quick_task, slugs or ("tally",))))
    async with QuirkyServer(quirk) as server:
        model = ChatModel("tiny", server.url, None, {}, **QUICK)
        try:
            async with open_sampling(folder, tasks, model, attempts=attempts, workers=4) as sampling:
                await sampling.sampler.run()
                return list(sampling.store.attempts()), server.bodies
        finally:
            await model.close()


def outgrown(refusal: Answer) -> Quirk:
    """A model whose attempts with even seeds look at much, and outgrow the window; the others submit."""

    def quirk(body: Body, turn: int) -> Answer | None:
        if sum(len(str(message.get("content"))) for message in body["messages"]) > 20_000:
            return refusal
        if body["seed"] % 2:
            return answer({"content": None, "tool_calls": [call("submit", {})]})
        return answer({"content": None, "tool_calls": [call("bash", {"command": "seq 9000"}, f"call_{turn}")]})

    return quirk


def test_two_servers_that_differ_in_words_alone_give_the_same_counts(tmp_path: Path) -> None:
    refusals = (
        refuse("This model's maximum context length is 131072 tokens.", code="context_length_exceeded"),
        Answer(400, {"error": "This model's maximum prompt length is 131072 but the request contains 180001 tokens."}),
        Answer(400, b"nein"),
        Answer(500, {"error": {"message": "Internal Server Error"}}),
    )
    found = []
    for number, refusal in enumerate(refusals):
        rows, _ = asyncio.run(sampled(tmp_path / str(number), outgrown(refusal), attempts=6))
        found.append({row.index: row.exit for row in rows if not row.exit.infra})
    assert set(found[0].values()) == {Exit.CONTEXT_LIMIT, Exit.SUBMITTED}
    assert len(found[0]) == 6
    assert found == [found[0]] * len(refusals)


def test_a_prompt_that_is_rejected_is_left_out_and_the_run_goes_on_with_the_others(tmp_path: Path) -> None:
    bad = quick_task("tally").statement[:60]

    def quirk(body: Body, turn: int) -> Answer | None:
        return refuse("no such talk here", 400) if any(bad in str(one["content"]) for one in body["messages"]) else None

    rows, _ = asyncio.run(sampled(tmp_path / "run", quirk, "tally", "ledger", "spans"))
    exits = Counter((row.task, row.exit) for row in rows)
    assert exits == {
        ("quick__tally-1", Exit.PROMPT_REJECTED): 12,
        ("quick__ledger-1", Exit.SUBMITTED): 12,
        ("quick__spans-1", Exit.SUBMITTED): 12,
    }
    [note] = failure_notes(rows)
    assert "12 tries did not count" in note
    assert "no such talk here" in note


def test_a_conversation_that_is_rejected_for_what_the_model_wrote_counts(tmp_path: Path) -> None:
    def quirk(body: Body, turn: int) -> Answer | None:
        if "unspeakable" in str(body["messages"]):
            return refuse("content policy", 400)
        if turn == 0 and body["seed"] % 3 == 0:
            return answer({"content": "unspeakable", "tool_calls": [call("bash", {"command": "true"})]})
        return None

    rows, _ = asyncio.run(sampled(tmp_path / "run", quirk))
    counted = [row for row in rows if not row.exit.infra]
    assert len(counted) == len({row.index for row in counted}) == 12
    assert {row.exit for row in counted} == {Exit.SUBMITTED, Exit.REJECTED}
    assert any("content policy" in note for note in failure_notes(rows))


def row(index: int, turns: int, exit: Exit) -> AttemptRow:
    fields: dict[str, Any] = dict.fromkeys(("outcome", "usage", "digest"))
    return AttemptRow(
        key=index, task="t", index=index, tries=0, seed=0, exit=exit, detail="boom", reason="", turns=turns,
        seconds=1.0, **fields,
    )  # fmt: skip


def test_infra_errors_that_grow_with_the_turn_are_told_and_those_that_do_not_are_not() -> None:
    done = [row(index, 6, Exit.SUBMITTED) for index in range(40)]
    late = [row(100 + index, 5, Exit.MODEL_FAILED) for index in range(10)]
    early = [row(200 + index, index % 6, Exit.MODEL_FAILED) for index in range(12)]
    assert any("grow with the turn" in note for note in failure_notes([*done, *late]))
    assert not any("grow with the turn" in note for note in failure_notes([*done, *early]))
    assert list(failure_notes(done)) == []


# The command line


@dataclass(frozen=True)
class Ran:
    """The exit code of the main job, all that it printed, and the server that it asked."""

    code: int
    said: str
    server: QuirkyServer


def ran(quirk: Quirk, folder: Path, *options: str, address: str = "http://{}/v1", **more: str) -> Ran:
    """The main job against such a server, whose host and port are put into `address`."""

    async def main() -> Ran:
        async with QuirkyServer(quirk) as server:
            url = address.format(server.url.removeprefix("http://").removesuffix("/v1"))
            words = ("--base-url", url, "--model", "m", "--ids", "quick__tally-1", "--run", "x", "--no-verify")
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "300", **more}
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "agent.swe", *words, *options, cwd=folder, env=environment,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            said, _ = await process.communicate()
            return Ran(process.returncode or 0, said.decode(), server)

    return asyncio.run(main())


def test_a_run_that_measured_nothing_ends_with_the_cause_and_not_with_0(tmp_path: Path) -> None:
    done = ran(lambda body, turn: refuse("one turn is enough") if turn else None, tmp_path, "--attempts", "2")
    assert done.code == 1
    assert "infra error, which does not count: model failed" in done.said
    assert done.said.count("one turn is enough") >= 3  # while it runs, on the screen, and at the end
    assert "no attempt has been made yet that counts" in done.said
    assert "--no-verify" not in done.said


def test_an_address_with_a_query_and_a_password_is_used_and_the_password_is_nowhere_to_be_seen(tmp_path: Path) -> None:
    address = "http://alice:s3cr3tpw@{}/v1?api-version=2024-10-21"
    done = ran(lambda body, turn: None, tmp_path, "--attempts", "1", address=address, COLUMNS="0")
    assert done.code == 0
    assert "submitted 1" in done.said  # also where COLUMNS is 0
    assert set(done.server.paths) == {"/v1/chat/completions?api-version=2024-10-21"}
    assert {headers["authorization"] for headers in done.server.headers} == {"Basic YWxpY2U6czNjcjN0cHc="}
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"s3cr3tpw" in data for data in (*written, done.said.encode()))


def test_replies_without_an_action_are_told_with_their_share_and_a_remedy(tmp_path: Path) -> None:
    done = ran(lambda body, turn: answer({"content": "I would list files."}, "stop"), tmp_path, "--attempts", "2")
    assert done.code == 0
    assert "100.0 % of 8 replies held no action that could be read" in done.said
    assert "--actions text" in done.said


# Whatever a server does

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable, max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "choices", "message", "usage", "code", "content", "id"]), inner)
    ),
    max_leaves=6,
)
CALLS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "id": JUNK,
            "function": st.fixed_dictionaries(
                {}, optional={"name": st.sampled_from(["bash", "functions.view", ""]) | JUNK, "arguments": JUNK}
            )
            | JUNK,
        },
    )
    | JUNK,
    max_size=2,
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "content": JUNK,
        "tool_calls": CALLS | JUNK,
        "function_call": JUNK,
        "reasoning_content": JUNK,
        "role": JUNK,
    },
)
CHOICES = st.fixed_dictionaries(
    {"message": MESSAGES}, optional={"finish_reason": JUNK, "logprobs": JUNK, "token_ids": JUNK, "error": JUNK}
)
COMPLETIONS = st.fixed_dictionaries(
    {"choices": st.lists(CHOICES, min_size=1, max_size=2)}, optional={"usage": JUNK, "error": JUNK}
)
CHUNKS = st.lists(
    st.fixed_dictionaries(
        {
            "choices": st.lists(
                st.fixed_dictionaries({}, optional={"index": JUNK, "delta": MESSAGES | JUNK}), max_size=2
            )
        },
        optional={"usage": JUNK, "error": JUNK},
    )
    | JUNK,
    max_size=3,
)
STREAMS = st.builds(
    lambda chunks, end: ("".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + end).encode(),
    CHUNKS,
    st.sampled_from(["data: [DONE]\n\n", "", "data: {", ": wait\n\n"]),
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "retry-after": st.sampled_from(["0", "-1", "nan", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", "0.001"]),
        "content-encoding": st.sampled_from(["gzip", "deflate", "identity", "br", "none"]),
        "content-type": st.sampled_from(["text/html", "text/event-stream", "application/json; charset=latin-1", ""]),
        "location": st.sampled_from(["/v1/chat/completions", "/v1/models", "", "http://[", "ftp://x/"]),
        "connection": st.sampled_from(["close", "keep-alive"]),
        "x-long": st.just("x" * 20_000),
    },
)
ANYTHING = st.builds(
    Answer,
    status=st.sampled_from(
        [200, 200, 200, 201, 204, 301, 302, 307, 400, 403, 404, 413, 422, 424, 429, 451, 500, 501, 503, 508, 529, 999]
    ),
    body=COMPLETIONS | JUNK | STREAMS | st.binary(max_size=60),
    headers=HEADERS,
    cut=st.none() | st.none() | st.integers(0, 40),
)
SOME = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@SOME
@given(answers=st.lists(ANYTHING, min_size=1, max_size=4))
def test_no_answer_of_a_server_is_more_than_a_reply_or_an_error_of_the_model(answers: list[Answer]) -> None:
    later: list[Message] = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [call("bash", {"command": "ls"})]},
        {"role": "tool", "tool_call_id": "call_a1", "content": "a.py"},
    ]

    async def main() -> None:
        count = iter(range(10**6))
        async with QuirkyServer(lambda body, turn: answers[next(count) % len(answers)]) as server:
            model = ChatModel("tiny", server.url, None, {}, **{**QUICK, "retry_seconds": 0.01})
            for messages in (later[:1], later):
                try:
                    reply = await model.reply(messages, [], scope=attempt_scope())
                    make_actions().read(reply.message)
                except ModelError as error:
                    texts.append(str(error))
            await model.close()

    texts: list[str] = []
    asyncio.run(main())
    assert all(text and "\n" not in text for text in texts)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return git_repository(tmp_path_factory.mktemp("origin"), {"a.py": b"x = 1\n"})


def test_whatever_a_model_writes_its_attempt_counts(origin: Any) -> None:
    """A reply that was paid for is the model's, however odd; what comes of it is never an infra error."""
    finish = st.sampled_from(["stop", "length", "tool_calls", None, "content_filter", "MALFORMED_FUNCTION_CALL"])

    async def one(messages: list[Message], finishes: list[str | None]) -> Exit:
        def quirk(body: Body, turn: int) -> Answer | None:
            at = turn % len(messages)
            return answer(messages[at], finishes[at % len(finishes)])  # type: ignore[arg-type]

        async with QuirkyServer(quirk) as server, workspace(origin) as room:
            model = ChatModel("tiny", server.url, None, {}, **QUICK)
            actions = make_actions()
            trajectory = await play(room, model, begins([{"role": "user", "content": "go"}], actions), turns=4)
            await model.close()
            return trajectory.exit

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(MESSAGES, min_size=1, max_size=3), st.lists(finish, min_size=1, max_size=3))
    def check(messages: list[Message], finishes: list[str | None]) -> None:
        assert not asyncio.run(one(messages, finishes)).infra

    check()
