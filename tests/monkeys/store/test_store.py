"""The store: what was recorded stays, an attempt counts once, one process writes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.agent import AttemptSpec
from agent.trajectory import Exit, Message, Trajectory, Turn, Usage
from monkeys.store import Store, StoreError, run_folder
from tasks import Outcome, Submission, TaskSet, Verdict, load_tasks
from tasks.swe.task import as_swe

ROOT = Path(__file__).parents[3]
TASKS = TaskSet("two", load_tasks("quick").tasks[:2])
ONE, TWO = (task.id for task in TASKS.tasks)
CONFIG: dict[str, Any] = {"model": {"name": "a model"}, "seed": 0}
SAME = Submission(b"same")
OPENING: list[Message] = [{"role": "system", "content": "Work."}, {"role": "user", "content": "Résumé \udcff"}]


def trajectory(text: str = "done", *, exit: Exit = Exit.SUBMITTED, patch: bytes = b"a patch\r\n\xff") -> Trajectory:
    messages = (*OPENING, {"role": "assistant", "content": text})
    return Trajectory(exit, messages, (Turn(3, Usage(10, 2, 5, 1), 0.5, 0.25),), Submission(patch), 1.5, "why")


def opened(folder: Path, config: dict[str, Any] = CONFIG, tasks: TaskSet = TASKS) -> Store:
    return Store.write(folder, config, tasks, {"python": "3"})


def test_what_was_recorded_is_read_back_as_it_was(tmp_path: Path) -> None:
    store = opened(tmp_path / "run")
    spec = AttemptSpec(ONE, 7, 99, "an arm", "Résumé \udcff", (3, 5))
    store.record_attempt(spec, replace(trajectory(), submission=Submission(b"42\r\n\xff", "answer")))
    store.close()
    reader = Store.read(tmp_path / "run")
    (row,) = reader.attempts()
    assert (row.task, row.index, row.tries, row.seed, row.exit, row.detail) == (ONE, 7, 0, 99, Exit.SUBMITTED, "why")
    assert row.outcome is None
    assert row.usage == Usage(10, 2, 5, 1)
    assert row.seconds == 1.5
    assert (row.kind, row.arm, row.brief, row.parents) == ("answer", "an arm", "Résumé \udcff", (3, 5))
    assert reader.submission(row) == Submission(b"42\r\n\xff", "answer")
    assert reader.conversation(row) == list(trajectory().messages)
    assert reader.config == CONFIG
    assert (reader.model, reader.task_set) == ("a model", "")
    assert reader.task_ids() == [ONE, TWO]
    reader.close()


texts = st.text(st.characters(codec=None), max_size=20)
conversations = st.lists(st.lists(st.builds(lambda t: {"role": "user", "content": t}, texts), max_size=6), max_size=5)


@settings(deadline=None)
@given(conversations)
def test_any_conversations_come_back_and_shared_prefixes_are_stored_once(
    tmp_path_factory: pytest.TempPathFactory, talks: list[list[Message]]
) -> None:
    folder = tmp_path_factory.mktemp("runs") / "run"
    store = opened(folder)
    for index, talk in enumerate(talks):
        store.record_attempt(AttemptSpec(ONE, index, 0), replace(trajectory(), messages=tuple(talk)))
    assert [store.conversation(row) for row in store.attempts()] == talks
    store.close()
    with closing(sqlite3.connect(folder / "run.sqlite")) as db:
        [stored] = db.execute("SELECT count(*) FROM messages").fetchone()
    prefixes = {repr(talk[: end + 1]) for talk in talks for end in range(len(talk))}
    assert stored == len(prefixes)


def test_an_infra_error_is_kept_and_its_slot_stays_open(tmp_path: Path) -> None:
    store = opened(tmp_path / "run")
    store.record_attempt(AttemptSpec(ONE, 0, 1), trajectory(exit=Exit.SANDBOX_FAILED))
    store.record_attempt(AttemptSpec(ONE, 0, 1), trajectory(exit=Exit.MODEL_FAILED))
    assert store.sampled() == {}
    store.record_attempt(AttemptSpec(ONE, 0, 1), trajectory())
    assert store.sampled() == {ONE: {0}}
    assert [(row.tries, row.outcome) for row in store.attempts()] == [
        (0, Outcome.INFRA_ERROR),
        (1, Outcome.INFRA_ERROR),
        (2, None),
    ]
    store.close()


def test_an_attempt_cannot_be_counted_twice(tmp_path: Path) -> None:
    store = opened(tmp_path / "run")
    store.record_attempt(AttemptSpec(ONE, 0, 1), trajectory())
    with pytest.raises(StoreError):
        store.record_attempt(AttemptSpec(ONE, 0, 1), trajectory("again"))
    assert len(list(store.attempts())) == 1
    store.close()


def test_recording_an_attempt_takes_no_more_work_when_many_are_on_record(tmp_path: Path) -> None:
    """Work is counted in steps of SQLite's virtual machine, which do not depend on the load of the machine."""
    steps = [0]

    def step() -> int:
        steps[-1] += 1
        return 0

    store = opened(tmp_path / "run")
    store._db.set_progress_handler(step, 1)
    for index in range(600):
        steps.append(0)
        store.record_attempt(AttemptSpec(ONE, index, 1), trajectory(str(index), patch=str(index).encode()))
    store.close()
    assert max(steps[-50:]) <= 1.1 * max(steps[10:60])


def test_a_verdict_holds_for_every_attempt_with_the_same_patch_at_the_same_task(tmp_path: Path) -> None:
    store = opened(tmp_path / "run")
    for index in range(3):
        store.record_attempt(AttemptSpec(ONE, index, 1), trajectory(patch=b"same"))
    store.record_attempt(AttemptSpec(TWO, 0, 1), trajectory(patch=b"same"))
    assert {(task, each, count) for task, each, count in store.unverified()} == {(ONE, SAME, 3), (TWO, SAME, 1)}
    store.record_verdict(ONE, SAME, Verdict(Outcome.INFRA_ERROR, "the disk", {}, 1.0))
    assert len(store.unverified()) == 2, "a failure of ours is no verdict"
    store.record_verdict(ONE, SAME, Verdict(Outcome.RESOLVED, "", {"t": "passed"}, 1.0, b"log \xff"))
    assert store.unverified() == [(TWO, SAME, 1)]
    assert [row.outcome for row in store.attempts(ONE)] == [Outcome.RESOLVED] * 3
    assert store.verdict_of(ONE, SAME) == (Outcome.RESOLVED, "")
    assert store.verdict_detail(ONE, SAME) == ({"t": "passed"}, "log \ufffd")
    store.close()


def test_a_run_goes_on_under_the_same_configuration_and_counts_its_sessions(tmp_path: Path) -> None:
    for index in range(2):
        store = opened(tmp_path / "run")
        store.record_attempt(AttemptSpec(ONE, index, 1), trajectory())
        store.end_session("done")
        store.close()
    reader = Store.read(tmp_path / "run")
    assert [session["attempts"] for session in reader.sessions()] == [1, 1]
    assert [session["note"] for session in reader.sessions()] == ["done", "done"]
    reader.close()


def test_a_resumed_run_names_every_difference_up_to_ten(tmp_path: Path) -> None:
    opened(tmp_path / "run").close()
    for number in (4, 13):
        sampling = {f"key{each:02}": each for each in range(number)}
        with pytest.raises(StoreError, match="another configuration") as refused:
            opened(tmp_path / "run", {**CONFIG, "model": {"name": "a model", "sampling": sampling}})
        assert str(refused.value).count("--extra-body key") == min(number, 10)
        assert ("; and 3 more)" in str(refused.value)) == (number == 13)


def test_a_path_is_no_name(tmp_path: Path) -> None:
    for name in ("../x", "a/b", "/tmp/x"):
        with pytest.raises(StoreError, match="for it has '/'"):
            run_folder(tmp_path, name)
    assert run_folder(tmp_path, "_x-1.Y") == tmp_path / "_x-1.Y"


@pytest.mark.parametrize(
    ("config", "tasks", "said"),
    [
        ({**CONFIG, "seed": 1}, TASKS, "--seed was 0 and is now 1"),
        ({**CONFIG, "more": True}, TASKS, "more was not set"),
        ({**CONFIG, "model": {"name": "another"}}, TASKS, "--model was a model and is now another"),
        (CONFIG, TaskSet("one", TASKS.tasks[:1]), "other tasks"),
        (CONFIG, TaskSet("other", (TASKS.tasks[0], replace(as_swe(TASKS.tasks[1]), test_patch="x"))), "other tasks"),
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
        "[s.record_attempt(t.AttemptSpec(t.ONE, i, 1), t.trajectory()) for i in range(20)]; "
        "os.kill(os.getpid(), signal.SIGKILL)"
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
    store.record_attempt(AttemptSpec(ONE, 0, 1), trajectory())
    store.close()


@pytest.mark.parametrize("name", ["..", ".hidden", "a b", "x/../y\n"])
def test_a_name_that_cannot_be_a_folders_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match=r"cannot be a run's name.*; nothing was changed$"):
        opened(tmp_path / name)


def test_a_folder_without_a_name_is_refused() -> None:
    with pytest.raises(StoreError, match=r"the name of a run is empty; .*; nothing was changed$"):
        opened(Path("/"))


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
        "    for i in range(10_000):\n"
        "        one = t.trajectory(str(i) * 50, patch=str(i).encode())\n"
        "        s.record_attempt(t.AttemptSpec(t.ONE, i, 1), one)\n"
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
