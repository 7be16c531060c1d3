"""The store: what was recorded stays, an attempt counts once, one process writes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.trajectory import Exit, Message, Trajectory, Turn, Usage
from monkeys.store import Store, StoreError
from tasks import Outcome, Submission, TaskSet, Verdict, load_tasks

ROOT = Path(__file__).parents[3]
TASKS = TaskSet("two", load_tasks("quick").tasks[:2])
ONE, TWO = (task.id for task in TASKS.tasks)
CONFIG: dict[str, Any] = {"model": "a model", "seed": 0}
OPENING: list[Message] = [{"role": "system", "content": "Work."}, {"role": "user", "content": "Résumé \udcff"}]


def trajectory(text: str = "done", *, exit: Exit = Exit.SUBMITTED, patch: bytes = b"a patch\r\n\xff") -> Trajectory:
    messages = (*OPENING, {"role": "assistant", "content": text})
    return Trajectory(exit, messages, (Turn(3, Usage(10, 2, 5, 1), 0.5, 0.25),), Submission(patch), 1.5, "why")


def opened(folder: Path, config: dict[str, Any] = CONFIG, tasks: TaskSet = TASKS) -> Store:
    return Store.write(folder, config, tasks, {"python": "3"})


def test_what_was_recorded_is_read_back_as_it_was(tmp_path: Path) -> None:
    store = opened(tmp_path / "run")
    store.record_attempt(ONE, 7, 99, trajectory())
    store.close()
    reader = Store.read(tmp_path / "run")
    (row,) = reader.attempts()
    assert (row.task, row.index, row.tries, row.seed, row.exit, row.detail) == (ONE, 7, 0, 99, Exit.SUBMITTED, "why")
    assert row.outcome is None
    assert row.usage == Usage(10, 2, 5, 1)
    assert row.seconds == 1.5
    assert reader.patch(row) == b"a patch\r\n\xff"
    assert reader.conversation(row) == list(trajectory().messages)
    assert reader.config == CONFIG
    assert reader.task_ids() == [ONE, TWO]
    reader.close()


texts = st.text(st.characters(codec=None), max_size=20)
conversations = st.lists(st.lists(st.builds(lambda t: {"role": "user", "content": t}, texts), max_size=6), max_size=5)


@given(conversations)
def test_any_conversations_come_back_and_shared_prefixes_are_stored_once(
    tmp_path_factory: pytest.TempPathFactory, talks: list[list[Message]]
) -> None:
    folder = tmp_path_factory.mktemp("runs") / "run"
    store = opened(folder)
    for index, talk in enumerate(talks):
        store.record_attempt(ONE, index, 0, replace(trajectory(), messages=tuple(talk)))
    assert [store.conversation(row) for row in store.attempts()] == talks
    store.close()
    stored = sqlite3.connect(folder / "run.sqlite").execute("SELECT count(*) FROM messages").fetchone()[0]
    prefixes = {repr(talk[: end + 1]) for talk in talks for end in range(len(talk))}
    assert stored == len(prefixes)


def test_an_infra_error_is_kept_and_its_slot_stays_open(tmp_path: Path) -> None:
    store = opened(tmp_path / "run")
    store.record_attempt(ONE, 0, 1, trajectory(exit=Exit.SANDBOX_FAILED))
    store.record_attempt(ONE, 0, 1, trajectory(exit=Exit.MODEL_FAILED))
    assert store.sampled() == {}
    store.record_attempt(ONE, 0, 1, trajectory())
    assert store.sampled() == {ONE: {0}}
    assert [(row.tries, row.outcome) for row in store.attempts()] == [
        (0, Outcome.INFRA_ERROR),
        (1, Outcome.INFRA_ERROR),
        (2, None),
    ]
    store.close()


def test_an_attempt_cannot_be_counted_twice(tmp_path: Path) -> None:
    store = opened(tmp_path / "run")
    store.record_attempt(ONE, 0, 1, trajectory())
    with pytest.raises(StoreError):
        store.record_attempt(ONE, 0, 1, trajectory("again"))
    assert len(list(store.attempts())) == 1
    store.close()


def test_a_verdict_holds_for_every_attempt_with_the_same_patch_at_the_same_task(tmp_path: Path) -> None:
    store = opened(tmp_path / "run")
    for index in range(3):
        store.record_attempt(ONE, index, 1, trajectory(patch=b"same"))
    store.record_attempt(TWO, 0, 1, trajectory(patch=b"same"))
    assert sorted(store.unverified()) == sorted([(ONE, b"same", 3), (TWO, b"same", 1)])
    store.record_verdict(ONE, b"same", Verdict(Outcome.INFRA_ERROR, "the disk", {}, 1.0))
    assert len(store.unverified()) == 2, "a failure of ours is no verdict"
    store.record_verdict(ONE, b"same", Verdict(Outcome.RESOLVED, "", {"t": "passed"}, 1.0, b"log \xff"))
    assert store.unverified() == [(TWO, b"same", 1)]
    assert [row.outcome for row in store.attempts(ONE)] == [Outcome.RESOLVED] * 3
    assert store.verdict_of(ONE, b"same") == (Outcome.RESOLVED, "")
    assert store.verdict_detail(ONE, b"same") == ({"t": "passed"}, "log \ufffd")
    store.close()


def test_a_run_goes_on_under_the_same_configuration_and_counts_its_sessions(tmp_path: Path) -> None:
    for index in range(2):
        store = opened(tmp_path / "run")
        store.record_attempt(ONE, index, 1, trajectory())
        store.end_session("done")
        store.close()
    reader = Store.read(tmp_path / "run")
    assert [session["attempts"] for session in reader.sessions()] == [1, 1]
    assert [session["note"] for session in reader.sessions()] == ["done", "done"]
    reader.close()


@pytest.mark.parametrize(
    ("config", "tasks", "said"),
    [
        ({**CONFIG, "seed": 1}, TASKS, "seed was 0 and is now 1"),
        ({**CONFIG, "more": True}, TASKS, "more was None"),
        (CONFIG, TaskSet("one", TASKS.tasks[:1]), "other tasks"),
        (CONFIG, TaskSet("other", (TASKS.tasks[0], replace(TASKS.tasks[1], test_patch="x"))), "other tasks"),
    ],
)
def test_a_run_of_another_configuration_is_refused(
    tmp_path: Path, config: dict[str, Any], tasks: TaskSet, said: str
) -> None:
    opened(tmp_path / "run").close()
    with pytest.raises(StoreError, match=said) as refused:
        opened(tmp_path / "run", config, tasks)
    assert "nothing was changed" in str(refused.value)
    opened(tmp_path / "run").close()


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    store = opened(tmp_path / "run")
    with pytest.raises(StoreError, match="being written by another process"):
        opened(tmp_path / "run")
    Store.read(tmp_path / "run").close()
    store.close()
    opened(tmp_path / "run").close()


def test_what_was_recorded_before_a_sigkill_is_there_after_it(tmp_path: Path) -> None:
    script = (
        "import os, signal; from pathlib import Path; from tests.monkeys.store import test_store as t; "
        f"s = t.opened(Path({str(tmp_path / 'run')!r})); "
        "[s.record_attempt(t.ONE, i, 1, t.trajectory()) for i in range(20)]; os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert killed.returncode == -9
    store = opened(tmp_path / "run")
    assert store.sampled() == {ONE: set(range(20))}
    store.close()


def test_a_run_killed_while_it_was_being_made_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    sqlite3.connect(tmp_path / "run" / "run.sqlite").close()
    (tmp_path / "run" / "lock").touch()
    store = opened(tmp_path / "run")
    store.record_attempt(ONE, 0, 1, trajectory())
    store.close()


@pytest.mark.parametrize("name", ["..", ".hidden", "a b", "x/../y\n", ""])
def test_a_name_that_is_no_good_for_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="is no good"):
        opened(tmp_path / name if name else Path("/"))


def test_a_file_that_is_no_run_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.sqlite").write_bytes(b"not a database at all, but long enough to look at" * 40)
    for open_it in (Store.read, opened):
        with pytest.raises(StoreError, match=r"run\.sqlite") as refused:
            open_it(tmp_path / "run")
        assert "\n" not in str(refused.value)
    with pytest.raises(StoreError, match="no run at"):
        Store.read(tmp_path / "nothing")


def test_a_full_disk_loses_nothing_that_was_recorded(tmp_path: Path) -> None:
    """A quota on the file's size stands in for the disk: SQLite meets the same refusal in its write."""
    script = (
        "import resource, signal; from pathlib import Path; from tests.monkeys.store import test_store as t\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"s = t.opened(Path({str(tmp_path / 'run')!r}))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "try:\n"
        "    for i in range(10_000): s.record_attempt(t.ONE, i, 1, t.trajectory(str(i) * 50, patch=str(i).encode()))\n"
        "except t.StoreError as error: print(i, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    recorded, _, said = done.stdout.partition(" ")
    assert "cannot be written" in said
    assert "kept" in said
    assert said.count("\n") == 1
    store = opened(tmp_path / "run")
    assert store.sampled() == {ONE: set(range(int(recorded)))}
    store.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named_with_the_remedy(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(StoreError, match="--runs"):
        opened(tmp_path / "run")


def test_a_runs_folder_that_is_a_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(StoreError, match="--runs"):
        opened(tmp_path / "runs" / "run")
