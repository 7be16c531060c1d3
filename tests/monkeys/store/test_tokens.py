"""What a server answered is kept with each turn: how it ended, as it came, its token ids and log-probabilities."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.agent import AttemptSpec
from agent.trajectory import Exit, Message, Tokens, Trajectory, Turn, Usage
from monkeys.commands.main import main
from monkeys.store import Store
from tasks.task import Submission
from tests.monkeys.store.earlier import to_version_2
from tests.monkeys.store.test_store import ONE, OPENING, opened

PROMPT = tuple(range(100, 1100))


def answered(*turns: Turn, **fields: Any) -> Trajectory:
    """An attempt in which each answer is followed by one observation."""
    messages = list(OPENING)
    placed = []
    for number, turn in enumerate(turns):
        kept = {"role": "assistant", "content": f"answer {number}"}
        messages += [kept, {"role": "tool", "tool_call_id": "0", "content": f"result {number}"}]
        placed.append(replace(turn, end=len(messages)))
    return replace(Trajectory(Exit.SUBMITTED, tuple(messages), tuple(placed), Submission(b"patch"), 1.5), **fields)


def turn(**fields: Any) -> Turn:
    return replace(Turn(0, Usage(10, 2, 5, 1), 0.5, 0.25), **fields)


def kept(folder: Path, *trajectories: Trajectory) -> Store:
    store = opened(folder)
    for index, trajectory in enumerate(trajectories):
        store.record_attempt(AttemptSpec(ONE, index, 7), trajectory)
    return store


def grown(turns: int) -> list[Turn]:
    """Turns of which each has the one before and some more as its prompt, with wide log-probabilities."""
    found, prompt = [], PROMPT
    for number in range(turns):
        completion = tuple((number * 7919 + n * 104729) % 150_000 for n in range(100))
        found.append(turn(tokens=Tokens(prompt, completion, tuple(-n / 64 for n in range(100)))))
        prompt += (*completion, 11, 12, 13)
    return found


ids = st.lists(st.integers(-1, 2**33), max_size=12).map(tuple)
floats = st.floats(width=32, allow_nan=False)
tokens = st.builds(Tokens, ids, ids, st.lists(floats, max_size=6).map(tuple))
values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(st.characters(codec=None), max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
submissions = st.builds(Submission, st.binary(max_size=9), st.sampled_from(["patch", "answer", "program", "proof"]))
given_messages = st.dictionaries(st.text(max_size=9), values, max_size=4)
turns = st.builds(
    turn,
    usage=st.builds(Usage, *[st.integers(0, 10**6)] * 4),
    finish_reason=st.sampled_from(["", "stop", "length", "tool_calls"]),
    shared=st.integers(0, 9),
    given=st.none() | given_messages,
    tokens=st.none() | tokens,
    submission=st.none() | submissions,
)


@settings(deadline=None)
@given(st.lists(st.lists(turns, max_size=5), max_size=3), st.builds(Usage, *[st.integers(0, 99)] * 4), submissions)
def test_any_attempt_comes_back_as_it_was_recorded(
    tmp_path_factory: pytest.TempPathFactory, attempts: list[list[Turn]], wasted: Usage, submission: Submission
) -> None:
    trajectories = [answered(*each, detail="why", wasted=wasted, submission=submission) for each in attempts]
    store = kept(tmp_path_factory.mktemp("runs") / "run", *trajectories)
    rows = list(store.attempts())
    assert [store.trajectory(row) for row in rows] == trajectories
    assert [store.tokens(row) for row in rows] == [[one.tokens for one in each] for each in attempts]
    store.close()


def test_what_repeats_from_turn_to_turn_and_from_attempt_to_attempt_is_kept_once(tmp_path: Path) -> None:
    trajectories = [answered(*grown(20)) for _ in range(30)]
    store = kept(tmp_path / "run", *trajectories)
    assert [store.trajectory(row) for row in store.attempts()] == trajectories
    store.close()
    db = sqlite3.connect(tmp_path / "run" / "run.sqlite")
    size, floats = db.execute("SELECT sum(length(ids)), sum(length(logprobs)) FROM answers").fetchone()
    openings = db.execute("SELECT count(DISTINCT opening), count(opening) FROM answers").fetchone()
    db.close()
    new = 30 * 20 * 103
    assert openings == (1, 30)
    assert size < 4 * new, "prompts come to fifty times as many"
    assert floats <= 4.2 * 30 * 20 * 100


def test_a_turn_of_which_no_more_is_known_than_its_message_takes_no_row_and_one_that_ended_takes_few_bytes(
    tmp_path: Path,
) -> None:
    def size(name: str, one: Turn) -> int:
        kept(tmp_path / name, answered(*[one] * 4000)).close()
        db = sqlite3.connect(tmp_path / name / "run.sqlite")
        pages, page = (db.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "page_size"))
        db.close()
        return int(pages * page)

    assert size("ended", turn(finish_reason="tool_calls")) - size("bare", turn()) < 4000 * 48


def test_a_submission_that_a_turn_does_not_change_is_kept_once(tmp_path: Path) -> None:
    patch = Submission(bytes(range(256)) * 40)
    trajectory = answered(*[turn(submission=patch)] * 20, submission=patch)
    store = kept(tmp_path / "run", trajectory)
    assert store.trajectory(next(iter(store.attempts()))) == trajectory
    store.close()
    db = sqlite3.connect(tmp_path / "run" / "run.sqlite")
    assert db.execute("SELECT count(*) FROM blobs").fetchone() == (1,)
    db.close()


def test_an_answer_that_is_nearly_its_message_takes_a_few_bytes(tmp_path: Path) -> None:
    text = " ".join(str(number * number) for number in range(2000))
    came: Message = {"role": "assistant", "content": text, "annotations": [], "refusal": ""}
    trajectory = answered(turn(given=came))
    trajectory = replace(trajectory, messages=(*OPENING, {"role": "assistant", "content": text}, *OPENING[:1]))
    store = kept(tmp_path / "run", trajectory)
    assert store.trajectory(next(iter(store.attempts()))) == trajectory
    store.close()
    db = sqlite3.connect(tmp_path / "run" / "run.sqlite")
    assert db.execute("SELECT length(given) FROM answers").fetchone()[0] < 200
    db.close()


def test_an_answer_that_is_no_json_is_kept_as_the_message_that_was_made_of_it(tmp_path: Path) -> None:
    store = kept(tmp_path / "run", answered(turn(given={"content": object()}, finish_reason="stop")))
    (told,) = store.trajectory(next(iter(store.attempts()))).turns
    assert (told.given, told.finish_reason) == (None, "stop")
    store.close()


def test_a_run_that_was_begun_without_answers_is_read_and_gone_on_with(tmp_path: Path) -> None:
    old = answered(turn(finish_reason="stop", tokens=Tokens((1,), (2,))))
    kept(tmp_path / "run", old).close()
    to_version_2(tmp_path / "run", answers=False)
    reader = Store.read(tmp_path / "run")
    (row,) = reader.attempts()
    assert not reader.holds_answers
    assert reader.tokens(row) == [None]
    assert reader.trajectory(row) == replace(old, turns=(replace(old.turns[0], finish_reason="", tokens=None),))
    reader.close()
    store = opened(tmp_path / "run")
    store.record_attempt(AttemptSpec(ONE, 1, 7), old)
    assert [store.tokens(row) for row in store.attempts()] == [[None], [Tokens((1,), (2,))]]
    store.close()


def exported(tmp_path: Path, *options: str) -> list[dict[str, Any]]:
    words = ["--runs", str(tmp_path), "export", "run", "--format", "trajectories", "--out", str(tmp_path / "out")]
    assert main([*words, *options]) == 0
    return [json.loads(line) for line in (tmp_path / "out" / "trajectories.jsonl").read_text().splitlines()]


def test_trajectories_are_exported_with_their_tokens_where_they_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = turn(finish_reason="length", tokens=Tokens((1, 2), (3, 4), (-0.5, nan)))
    second = turn(given={"role": "assistant", "content": None})
    kept(
        tmp_path / "run",
        answered(first, second),
        answered(exit=Exit.MODEL_FAILED),
        answered(submission=Submission(b"\xff")),
    ).close()
    (plain, binary), (whole, _) = exported(tmp_path), exported(tmp_path, "--tokens")
    assert "2 trajectories in" in capsys.readouterr().out
    assert binary["patch"] is None
    assert (whole["task"], whole["attempt"], whole["exit"], whole["resolved"]) == (ONE, 0, "submitted", None)
    assert whole["patch"] == "patch"
    usage = {"prompt": 10, "completion": 2, "cached": 5, "reasoning": 1}
    assert whole["turns"] == [
        {
            "request": 2,
            "end": 4,
            "finish_reason": "length",
            "usage": usage,
            "prompt_token_ids": [1, 2],
            "token_ids": [3, 4],
            "logprobs": [-0.5, None],
        },
        {"request": 4, "end": 6, "finish_reason": None, "usage": usage, "given": second.given},
    ]
    assert [message["role"] for message in whole["messages"]] == ["system", "user", *["assistant", "tool"] * 2]
    assert "token_ids" not in plain["turns"][0]
    assert main(["--runs", str(tmp_path), "export", "run", "--tokens", "--out", str(tmp_path / "out")]) == 2
    assert "--format trajectories" in capsys.readouterr().err


def test_the_answers_of_an_attempt_are_found_behind_examples_in_its_opening() -> None:
    example: Sequence[Message] = [{"role": "user", "content": "2 + 2"}, {"role": "assistant", "content": "4"}]
    messages = (*example, *answered(turn(), turn()).messages)
    trajectory = Trajectory(Exit.SUBMITTED, messages, (turn(end=6), turn(end=8)), Submission(b""), 1.0)
    assert trajectory.answers == [4, 6]
