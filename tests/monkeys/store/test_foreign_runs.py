"""Run files of other people: whatever one holds, every command that reads runs ends in time, without a traceback."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.agent import AttemptSpec
from agent.trajectory import Exit, Message, Tokens, Trajectory, Turn, Usage
from envs.errors import MonkeysError
from monkeys.commands.main import main
from monkeys.runner.recording import Recording
from monkeys.runner.verify_job import read_given
from monkeys.store import Store, StoreError
from monkeys.store.checks import to_message
from tasks import Outcome, Submission, TaskSet, Verdict, load_tasks
from tests.monkeys.store.earlier import RUNS, copied

TASKS = TaskSet("quick", load_tasks("quick").tasks[:2])
ONE, TWO = (task.id for task in TASKS.tasks)
PATCH = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"
OTHER = PATCH.replace(b"+b", b"+c")
CONFIG: dict[str, Any] = {
    "suite": "swe",
    "tasks": {"set": "quick", "ids": [ONE, TWO]},
    "agent": {"name": "loop", "scaffold": "tools", "actions": "native", "prompts": {"system": "Work."}},
    "model": {"name": "m", "sampling": {"temperature": 1.0}},
    "limits": {"turns": 4, "tokens": 1000, "seconds": 60.0, "window": None, "context": "stop", "dollars": None},
    "sandbox": {"name": "local"},
    "verify": {"seconds": 60.0},
    "strategy": {"name": "independent", "sampling": {"kind": "independent"}},
}
PRICES = {"source": "a file", "prompt": 1.0, "completion": 2.0, "longer": [{"above": 5, "prompt": 2, "completion": 3}]}
ENVIRONMENT = {"command": ["x"], "prices": PRICES}


def talk(said: str) -> tuple[Message, ...]:
    call = {"id": "c", "type": "function", "function": {"name": "bash", "arguments": json.dumps({"command": "ls"})}}
    return (
        {"role": "system", "content": "Work."},
        {"role": "user", "content": "It is broken."},
        {"role": "assistant", "content": said, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "a b"},
    )


def attempt(said: str, patch: bytes = PATCH) -> Trajectory:
    turn = Turn(4, Usage(10, 2, 5, 1), 0.5, 0.25, "stop", 0, {"role": "assistant"}, Tokens((1, 2), (3,), (-0.5,)))
    return Trajectory(Exit.SUBMITTED, talk(said), (turn,), Submission(patch), 1.5, "why")


def make(folder: Path, said: str = "done") -> Path:
    """A small run: two tasks, three attempts each and an infra error besides, and their verdicts."""
    store = Store.write(folder, CONFIG, TASKS, ENVIRONMENT)
    for task in (ONE, TWO):
        lost = attempt(said)
        store.record_attempt(AttemptSpec(task, 0, 1), Trajectory(Exit.MODEL_FAILED, lost.messages, (), Submission(), 1))
        store.record_attempt(AttemptSpec(task, 0, 1, "m"), attempt(said))
        for index in (1, 2):
            store.record_attempt(AttemptSpec(task, index, 2, "m"), attempt(f"{said} too", OTHER))
        verdict = Verdict(Outcome.RESOLVED, "", {"t": "PASSED"}, 1.0, b"log", official=True, flags=("look",))
        store.record_verdict(task, Submission(PATCH), verdict)
        store.record_verdict(task, Submission(OTHER), Verdict(Outcome.UNRESOLVED, "no", {}, 1.0))
    store.end_session("done")
    store.close()
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("runs") / "run")


def commands(folder: Path, out: Path) -> Iterator[list[str]]:
    """A call of every command that reads a run."""
    run = str(folder)
    yield ["report", run]
    yield ["report", run, "--json"]
    yield ["show", run]
    yield ["show", run, "--json"]
    yield ["show", run, ONE]
    yield ["show", run, TWO, "0", "--log"]
    yield ["show", run, ONE, "1", "--full", "--json"]
    yield ["runs", "--runs", str(folder.parent)]
    yield ["export", run, "--out", str(out)]
    yield ["export", run, "--format", "outcomes", "--out", str(out)]
    yield ["export", run, "--format", "trajectories", "--tokens", "--out", str(out)]
    yield ["coverage", run]
    yield ["compare", run, run]
    yield ["predict", run, "--k", "10"]
    yield ["fit", run]
    yield ["select", run, "--subsets", "2"]
    yield ["cost", run, "--against", "dollars"]
    yield ["surface", run]
    yield ["surface", run, "--against", "dollars", "--json"]


def read_all(
    folder: Path, out: Path, capsys: pytest.CaptureFixture[str], chosen: Sequence[int] | None = None
) -> set[str]:
    """Carry out all of them, or those chosen; the error lines that they end with. Any other end fails."""
    complaints = set()
    every = list(commands(folder, out))
    for command in every if chosen is None else [every[number % len(every)] for number in chosen]:
        began = time.process_time()
        code = main(command)
        said = capsys.readouterr()
        assert code in (0, 1, 2)
        assert time.process_time() - began < 10, command
        if code:
            [line] = [line for line in said.err.splitlines() if line.startswith("error: ")]
            complaints.add(line)
        assert "Traceback" not in said.out + said.err
    with suppress(MonkeysError):
        read_given(str(folder), folder.parent, "patch")
    with suppress(MonkeysError), closing(Recording(folder)) as recording:
        for index in range(3):
            recording.trajectory(ONE, index)
            recording.trajectory(TWO, index)
    return complaints


def changed(whole: Path, place: Path, *statements: str, values: tuple[Any, ...] = ()) -> Path:
    """A copy of the run with these changes."""
    folder = place / "changed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    with closing(sqlite3.connect(folder / "run.sqlite", isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement, values)
    return folder


def test_a_whole_run_is_read_by_every_command(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Two attempts on each of two tasks are too few for a law.
    assert read_all(whole, tmp_path, capsys) == set()


CELLS = [
    (table, column)
    for table, columns in {
        "meta": "key value",
        "sessions": "id began ended pid host environment note",
        "tasks": "position id digest repo",
        "blobs": "digest body",
        "messages": "id parent digest body",
        "attempts": "id session task idx try seed exit detail infra submission last_message turns seconds finished "
        "prompt_tokens cached_tokens completion_tokens reasoning_tokens kind arm brief parents",
        "turns": "attempt turn messages model_seconds tool_seconds prompt_tokens cached_tokens completion_tokens "
        "reasoning_tokens submission kind",
        "answers": "attempt turn finish_reason shared given opening ids logprobs",
        "verdicts": "id session task submission outcome official flaky cached flags reason tests seconds log finished",
    }.items()
    for column in columns.split()
]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner)
)
parts = st.sampled_from([json.dumps(CONFIG), json.dumps(ENVIRONMENT), "3", json.dumps(talk("x")[2])])


@st.composite
def edited(draw: st.DrawFn) -> str:
    """A JSON text that the program writes, with one value in it replaced."""
    document = json.loads(draw(parts))
    here = document
    while isinstance(here, dict) and here:
        key = draw(st.sampled_from(sorted(here)))
        if not isinstance(here[key], dict) or draw(st.booleans()):
            here[key] = draw(documents)
            break
        here = here[key]
    return json.dumps(document)


jsons = documents.map(json.dumps) | edited()
values = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.binary(max_size=40)
    | jsons
    | jsons.map(lambda text: zlib.compress(text.encode("utf-8", "surrogatepass")))
)
changes = st.lists(st.tuples(st.sampled_from(CELLS), values, st.integers(0, 5)), min_size=1, max_size=2)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes, st.lists(st.integers(0, 99), min_size=2, max_size=2))
def test_a_run_with_any_value_in_any_cell_is_read_or_refused_in_a_line(
    whole: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: list[tuple[tuple[str, str], Any, int]],
    chosen: list[int],
) -> None:
    folder = changed(whole, tmp_path)
    with closing(sqlite3.connect(folder / "run.sqlite", isolation_level=None)) as db:
        db.execute("PRAGMA writable_schema = ON")  # so that no constraint keeps a value out
        db.execute("UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '') WHERE type = 'table'")
        db.execute("PRAGMA writable_schema = RESET")
        for (table, column), value, row in changes:
            keys = [found[0] for found in db.execute("SELECT name FROM pragma_table_info(?) WHERE pk", (table,))]
            key = ", ".join(keys) or "rowid"
            try:
                db.execute(
                    f"UPDATE {table} SET {column} = ? WHERE ({key}) IN "
                    f"(SELECT {key} FROM {table} LIMIT 1 OFFSET (? % (SELECT max(1, count(*)) FROM {table})))",
                    (value, row),
                )
            except sqlite3.Error:
                continue  # of a type or a key that SQLite keeps out by itself
    read_all(folder, tmp_path / "out", capsys, chosen)


REFUSED: dict[str, tuple[str, str]] = {
    "a view": ("CREATE VIEW v AS SELECT 1", "it holds the view 'v'"),
    "a trigger": ("CREATE TRIGGER t AFTER INSERT ON tasks BEGIN SELECT 1; END", "it holds the trigger 't'"),
    "computed": ("ALTER TABLE tasks ADD COLUMN c AS (zeroblob(1000))", "'tasks' has columns that are computed"),
    "no table": ("DROP TABLE verdicts", "it has no table 'verdicts'"),
    "no column": ("ALTER TABLE attempts DROP COLUMN detail", "'attempts' has no column 'detail'"),
    "another time": ("UPDATE meta SET value = '99' WHERE key = 'schema'", "has store format 99"),
    "no JSON": ("UPDATE meta SET value = '{' WHERE key = 'config'", "its config is not JSON"),
    "a text": ("UPDATE attempts SET seconds = 'long' WHERE id = 2", "attempts.seconds is 'long'"),
    "infinite": ("UPDATE attempts SET seconds = 9e999 WHERE id = 2", "attempts.seconds is inf"),
    "negative": ("UPDATE attempts SET prompt_tokens = -5 WHERE id = 2", "attempts.prompt_tokens is -5"),
    "unknown exit": ("UPDATE attempts SET exit = 'left' WHERE id = 2", "attempts.exit is 'left'"),
    "hidden failure": ("UPDATE attempts SET infra = 1 WHERE id = 2", "attempts.infra is 1"),
    "a task of nobody": ("UPDATE attempts SET task = 'x' WHERE id = 2", "attempts.task is 'x'"),
    "a limit": (
        """UPDATE meta SET value = json_set(value, '$.limits.turns', 'many') WHERE key = 'config'""",
        "limits.turns in its configuration is 'many', not a whole number",
    ),
    "prices": (
        """UPDATE sessions SET environment = '{"prices": {"source": "x", "prompt": -1}}'""",
        "the prices of session 1 are none",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_run_cannot_hold_is_named(
    name: str, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    statement, told = REFUSED[name]
    folder = changed(whole, tmp_path, statement)
    before = (folder / "run.sqlite").read_bytes()
    assert main(["report", str(folder)]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"error: run {folder}")
    assert told in line
    assert main(["runs", "--runs", str(tmp_path)]) == 0
    assert "unreadable" in capsys.readouterr().out or name in ("a limit", "prices")
    assert (folder / "run.sqlite").read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "zeros"])
def test_a_file_that_is_no_run_is_refused_by_every_command(
    damage: str, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = changed(whole, tmp_path)
    path = folder / "run.sqlite"
    data = path.read_bytes()
    path.write_bytes(
        {"truncated": data[: len(data) // 2], "text": b"no run\n" * 99, "empty": b"", "zeros": bytes(9999)}[damage]
    )
    assert read_all(folder, tmp_path / "out", capsys)


@pytest.mark.parametrize("part", ["wal", "shm", "journal"])
def test_a_pipe_beside_a_run_is_refused_and_not_waited_for(
    part: str, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = changed(whole, tmp_path)
    pipe = folder / f"run.sqlite-{part}"
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    assert main(["report", str(folder)]) == 2
    assert f"run.sqlite-{part} beside it is no file" in capsys.readouterr().err
    assert main(["runs", "--runs", str(tmp_path)]) == 0
    assert "unreadable" in capsys.readouterr().out


def packed(size: int, value: Callable[[bytes], bytes]) -> bytes:
    """A message of this size under zlib, made without holding it."""
    before, after = value(b"\0").split(b"\0")
    packer = zlib.compressobj(1)
    packed = packer.compress(before)
    for _ in range(size // 2**20):
        packed += packer.compress(b"x" * 2**20)
    return packed + packer.compress(after) + packer.flush()


def said(text: bytes) -> bytes:
    return b'{"role": "assistant", "content": "%b"}' % text


CIRCLES = {
    "itself": "UPDATE messages SET parent = id WHERE id = (SELECT last_message FROM attempts WHERE id = 2)",
    "a circle": "UPDATE messages SET parent = (SELECT max(id) FROM messages) WHERE parent = 0",
    "nobody": "UPDATE messages SET parent = 999 WHERE parent = 2",
}


@pytest.mark.parametrize("name", CIRCLES)
def test_a_conversation_that_goes_in_a_circle_is_refused(
    name: str, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = changed(whole, tmp_path, CIRCLES[name])
    assert main(["show", str(folder), ONE, "0"]) == 2
    assert f"the messages of attempt 0 at {ONE} form no path" in capsys.readouterr().err


def limited(*command: str) -> subprocess.CompletedProcess[str]:
    """A command that may have 1 GB of address space, most of which the interpreter and its libraries take."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9))

    return subprocess.run(
        [sys.executable, "-m", "monkeys", *command],
        capture_output=True,
        text=True,
        preexec_fn=limit,
        env={"PYTHONPATH": str(Path(__file__).parents[3]), "OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
        check=False,
        timeout=120,
    )


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(whole: Path, tmp_path: Path) -> None:
    bomb = packed(600 * 2**20, said)
    last = "(SELECT last_message FROM attempts WHERE id = 2)"
    folder = changed(whole, tmp_path, f"UPDATE messages SET body = ? WHERE id = {last}", values=(bomb,))
    done = limited("show", str(folder), ONE, "0")
    assert done.returncode == 2
    assert "unpacks to more than 134,217,728 bytes" in done.stderr


def test_a_reply_of_50_megabytes_in_one_line_is_shown_abridged_at_once(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = "(SELECT last_message FROM attempts WHERE id = 2)"
    reply = packed(50 * 2**20, said)
    folder = changed(whole, tmp_path, f"UPDATE messages SET body = ? WHERE id = {last}", values=(reply,))
    began = time.process_time()
    assert main(["show", str(folder), ONE, "0"]) == 0
    assert time.process_time() - began < 6  # about one, on a quiet machine
    shown = capsys.readouterr().out
    assert "… 52,424,800 more characters" in " ".join(shown.split())
    assert len(shown) < 20_000


@pytest.mark.parametrize("value", ['"\\ud800"', "[]"])
@pytest.mark.parametrize("key", ["model", "seed", "allocate", "tasks", "sandbox_limits"])
def test_a_run_of_an_earlier_version_is_read_or_refused_in_a_line(
    key: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(RUNS[0], tmp_path)
    with closing(sqlite3.connect(folder / "run.sqlite", isolation_level=None)) as db:
        [[text]] = db.execute("SELECT value FROM meta WHERE key = 'config'")
        config = {**json.loads(text), key: json.loads(value)}
        db.execute("UPDATE meta SET value = ? WHERE key = 'config'", (json.dumps(config),))
    read_all(folder, tmp_path / "out", capsys, [0, 2, 4])


EXCHANGED = {
    "purpose": "review",
    "model": "m",
    "messages": [{"role": "user", "content": "?"}],
    "reply": {"role": "assistant", "content": "!"},
    "usage": {"prompt": 1, "completion": 2, "cached": 0, "reasoning": 0},
}
MARKED = {"role": "user", "content": "text"}


@pytest.mark.parametrize(
    "mark",
    [
        {"feedback": 3},
        {"summarises": [1]},
        {"summarises": [1, "2"]},
        {"summarises": [-1, 2]},
        {"elided_from": "2"},
        {"feedback": "tests", "content": None},
        {"exchange": "none"},
        {"exchange": {**EXCHANGED, "usage": {"prompt": "1"}}},
        {"exchange": {**EXCHANGED, "reply": "!"}},
        {"exchange": {**EXCHANGED, "messages": [3]}},
        {"exchange": {**EXCHANGED, "more": 1}},
    ],
    ids=str,
)
def test_a_mark_of_another_form_is_refused_with_the_message_that_has_it(mark: dict[str, Any]) -> None:
    good = {**MARKED, "feedback": "review", "summarises": [1, 2], "elided_from": 3, "exchange": EXCHANGED}
    assert to_message(good, "run r", "message 7") == good
    with pytest.raises(StoreError, match="message 7"):
        to_message({**MARKED, **mark}, "run r", "message 7")
