"""Runs of earlier versions open, report, resume, are topped up and exported, and survive a migration that is killed."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.agent import AttemptSpec
from agent.trajectory import Exit, Trajectory, Turn, Usage
from monkeys.commands.main import main
from monkeys.spec.identity import differences
from monkeys.store import Store, StoreError
from monkeys.store.finding import find_same
from monkeys.store.schema import VERSION
from tasks import Outcome, Submission, TaskSet, Verdict, load_tasks
from tests.monkeys.store.earlier import FIXTURES, RUNS, copied, flat, to_version_2, to_version_4, version
from tests.monkeys.store.test_store import CONFIG, ONE, TASKS, TWO, opened
from tests.monkeys.store.test_tokens import answered, submissions, turns

ROOT = Path(__file__).parents[3]
SAMPLED, STOPPED, VERIFIED = RUNS
each_run = pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)


def expected(run: Path) -> dict[str, Any]:
    """What the version that made a run printed and exported."""
    found: dict[str, Any] = json.loads((FIXTURES / f"{run.name}.json").read_text())
    return found


def told(store: Store) -> dict[str, Any]:
    """Everything that a store tells of its attempts."""
    rows = list(store.attempts())
    return {
        "config": store.config,
        "tasks": store.task_digests(),
        "created": store.created,
        "rows": rows,
        "trajectories": [store.trajectory(row) for row in rows],
        "verdicts": [store.verdict_detail(row.task, store.submission(row)) for row in rows],
        "tallies": store.tallies(),
        "usages": store.usages(),
        "unverified": store.unverified(),
        "answers": store.holds_answers,
    }


def read(folder: Path) -> dict[str, Any]:
    store = Store.read(folder)
    try:
        return told(store)
    finally:
        store.close()


def tables(folder: Path) -> dict[str, list[Any]]:
    """Columns by table, and what each index covers."""
    db = sqlite3.connect(folder / "run.sqlite")
    names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'index')")]
    found = {name: db.execute(f"SELECT * FROM pragma_table_info('{name}')").fetchall() for name in names}
    found |= {f"{name}, index": db.execute(f"SELECT * FROM pragma_index_info('{name}')").fetchall() for name in names}
    db.close()
    return found


def verdicts(folder: Path) -> list[Any]:
    """The rows of the table of verdicts, one for each verification."""
    db = sqlite3.connect(folder / "run.sqlite")
    found = db.execute("SELECT * FROM verdicts").fetchall()
    db.close()
    return found


def run_tasks(run: Path) -> TaskSet:
    store = Store.read(run)
    try:
        ids = store.task_ids()
    finally:
        store.close()
    return load_tasks("quick").select(ids)


def opened_again(folder: Path) -> Store:
    """The run with its own configuration and tasks, to go on with it."""
    store = Store.read(folder)
    config = store.config
    store.close()
    return Store.write(folder, config, run_tasks(folder), {})


# Reading


@each_run
def test_a_run_of_the_version_before_reports_what_it_reported_then(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(run, tmp_path)
    assert main(["--runs", str(tmp_path), "report", run.name, "--json"]) == 0
    report, then = json.loads(capsys.readouterr().out), expected(run)["report"]
    rule = then.pop("allocate")  # which is called the strategy since
    assert report["strategy"] == {"uniform": "independent"}.get(rule, rule)
    assert {key: report[key] for key in then} == then
    assert version(folder) == 2, "reading does not migrate"


@each_run
def test_a_run_of_the_version_before_is_exported_as_it_was_then(run: Path, tmp_path: Path) -> None:
    copied(run, tmp_path)
    assert main(["--runs", str(tmp_path), "export", run.name, "--out", str(tmp_path / "out")]) == 0
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (tmp_path / "out").iterdir()}
    assert digests == expected(run)["exported"]
    words = ["--format", "trajectories", "--out", str(tmp_path / "whole")]
    assert main(["--runs", str(tmp_path), "export", run.name, *words]) == 0
    lines = (tmp_path / "whole/trajectories.jsonl").read_text().splitlines()
    assert len(lines) == expected(run)["report"]["attempts"]


@each_run
def test_a_run_in_a_folder_that_cannot_be_written_is_read_and_not_touched(run: Path, tmp_path: Path) -> None:
    folder = copied(run, tmp_path)
    before = (folder / "run.sqlite").read_bytes()
    (folder / "run.sqlite").chmod(0o444)
    folder.chmod(0o555)
    try:
        assert len(read(folder)["rows"]) == expected(run)["report"]["attempts"]
    finally:
        folder.chmod(0o755)
    assert (folder / "run.sqlite").read_bytes() == before


# Migrating


@each_run
def test_migrating_changes_nothing_that_is_read(run: Path, tmp_path: Path) -> None:
    folder = copied(run, tmp_path)
    before = read(folder)
    opened_again(folder).close()
    assert version(folder) == VERSION
    assert read(folder) == before


@pytest.mark.parametrize("answers", [True, False])
def test_a_migrated_run_has_the_tables_of_a_new_one(tmp_path: Path, answers: bool) -> None:
    opened(tmp_path / "new").close()
    opened(tmp_path / "old").close()
    new = tables(tmp_path / "new")
    assert tables(tmp_path / "old") == new
    to_version_2(tmp_path / "old", answers=answers)
    assert tables(tmp_path / "old") != new
    opened(tmp_path / "old").close()
    assert tables(tmp_path / "old") == new


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.sampled_from([ONE, TWO]), st.lists(turns, max_size=3), submissions), max_size=4))
def test_any_run_reads_the_same_before_and_after_its_migration(
    tmp_path_factory: pytest.TempPathFactory, attempts: list[tuple[str, list[Turn], Submission]]
) -> None:
    folder = tmp_path_factory.mktemp("runs") / "run"
    store = opened(folder)
    for index, (task, each, submission) in enumerate(attempts):
        store.record_attempt(AttemptSpec(task, index, 7), answered(*each, submission=submission))
        if index % 2:
            store.record_verdict(task, submission, Verdict(Outcome.RESOLVED, "", {"t": "passed"}, 1.0, b"log"))
    store.close()
    to_version_2(folder)
    before = read(folder)
    assert version(folder) == 2
    opened(folder).close()
    assert version(folder) == VERSION
    assert read(folder) == before


@pytest.mark.parametrize("named", [3, 4])
def test_a_run_of_version_3_or_4_is_read_and_migrated(tmp_path: Path, named: int) -> None:
    folder = tmp_path / "run"
    store = opened(folder)
    store.record_attempt(AttemptSpec(ONE, 0, 7), Trajectory(Exit.REJECTED, (), (), Submission(b"x"), 1.0, "no"))
    store.close()
    whole, before = tables(folder), read(folder)
    to_version_4(folder, named)
    assert (version(folder), read(folder)) == (named, before)
    opened(folder).close()
    assert (version(folder), tables(folder), read(folder)) == (VERSION, whole, before)


def test_a_run_that_is_refused_is_not_migrated(tmp_path: Path) -> None:
    folder = copied(SAMPLED, tmp_path)
    with closing(Store.read(folder)) as store:
        config = store.config
    with pytest.raises(StoreError, match=r"seed was 0 and is now 1.*nothing was changed"):
        Store.write(folder, {**config, "seed": 1}, run_tasks(folder), {})
    assert version(folder) == 2


KILLED = """
import itertools, os, signal, sys
from pathlib import Path
import monkeys.store.store as store
from tests.monkeys.store.test_migrations import opened_again

connect, statements, last = store.open_to_write, itertools.count(), int(sys.argv[2])

def connected(path):
    db = connect(path)
    db.execute("PRAGMA cache_size = 1")  # changes reach the disk before the end of the transaction
    db.set_trace_callback(lambda text: os.kill(os.getpid(), signal.SIGKILL) if next(statements) == last else None)
    return db

store.open_to_write = connected
opened_again(Path(sys.argv[1])).close()
"""


def test_a_migration_that_is_killed_at_any_statement_leaves_the_run_readable_and_resumable(tmp_path: Path) -> None:
    folder = copied(SAMPLED, tmp_path)
    before, kills = read(folder), 0
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for last in itertools.count(0, 3):
        words = [sys.executable, "-c", KILLED, str(folder), str(last)]
        code = subprocess.run(words, env=environment, check=False).returncode
        if code == 0:
            break
        assert code == -9
        kills += version(folder) == 2
        assert read(folder) == before
    assert kills > 5
    assert version(folder) == VERSION
    store = opened_again(folder)
    store.record_attempt(AttemptSpec("quick__spans-1", 3, 1), answered(Turn(0, Usage(), 0.1, 0.1)))
    store.close()
    assert read(folder)["rows"][:6] == before["rows"]


# Going on


def job(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cwd / "cache")}
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_that_made_a_run_finds_it_again_and_tops_it_up(tmp_path: Path) -> None:
    folder = copied(SAMPLED, tmp_path / "runs")
    before = read(folder)["rows"]
    words = ("agent.swe", "--ids", "quick__ledger-1", "quick__spans-1", "--attempts")
    done = job(*words, "3", cwd=tmp_path)
    assert (done.returncode, [run.name for run in (tmp_path / "runs").iterdir()]) == (0, [folder.name]), done.stderr
    assert read(folder)["rows"] == before
    done = job(*words, "4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "going on after 6 attempts" in done.stderr
    rows = read(folder)["rows"]
    assert [(row.index, row.arm) for row in rows] == [(index, "monkey") for index in range(4)] * 2
    assert all(row.outcome for row in rows)
    assert [row for row in rows if row.index < 3] == before
    assert job(*words, "4", "--run", "anew", "--quiet", cwd=tmp_path).returncode == 0
    anew = [(row.seed, row.digest, row.outcome) for row in read(tmp_path / "runs/anew")["rows"]]
    assert anew == [(row.seed, row.digest, row.outcome) for row in rows]


def test_a_run_of_version_4_goes_on_and_its_turns_become_known(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURES / "version-4", tmp_path / "runs/run"))
    before = read(folder)
    assert (version(folder), [row.turns for row in before["rows"]]) == (4, [4, 5])
    assert not any(row.each_turn or row.branch_turn for row in before["rows"])
    done = job("monkeys", "verify", "run", "--each-turn", cwd=tmp_path)
    assert (done.returncode, version(folder)) == (0, VERSION), done.stderr
    assert "2 attempts replayed, 0 unlike the record" in done.stderr
    rows = read(folder)["rows"]
    assert [dataclasses.replace(row, each_turn="") for row in rows] == before["rows"]
    words = ("agent.swe", "--ids", "quick__ledger-1", "--run", "run", "--attempts", "3", "--quiet")
    done = job(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [(row.index, row.each_turn) for row in read(folder)["rows"]] == [(0, "replayed"), (1, "replayed"), (2, "")]


def test_an_allocated_run_of_the_version_before_is_not_sampled_on_after_its_success(tmp_path: Path) -> None:
    folder = copied(STOPPED, tmp_path / "runs")
    words = ("agent.swe", "--model", "replay:gold", "--allocate", "stop", "--attempts", "2")
    done = job(*words, "--ids", "quick__spans-1", "quick__tally-1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [run.name for run in (tmp_path / "runs").iterdir()] == [folder.name]
    assert len(read(folder)["rows"]) == expected(STOPPED)["report"]["attempts"]


def test_a_run_of_verdicts_of_the_version_before_goes_on_with_its_predictions(tmp_path: Path) -> None:
    folder = copied(VERIFIED, tmp_path / "runs")
    before, lines = read(folder)["rows"], (FIXTURES / "predictions.jsonl").read_text().splitlines(keepends=True)
    known = len(verdicts(folder))
    predictions = tmp_path / "predictions.jsonl"
    predictions.write_text("".join([*lines, lines[0]]))
    words = ("monkeys", "verify", "predictions.jsonl", "--tasks", "quick", "--no-verdict-cache")
    done = job(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(verdicts(folder)) == known, "an equal prediction has its verdict"
    assert "5/5 attempts" in done.stderr
    assert "0 verified" in done.stderr
    assert [run.name for run in (tmp_path / "runs").iterdir()] == [folder.name]
    rows = read(folder)["rows"]
    assert len(rows) == len(before) + 1
    assert [row for row in rows if row in before] == before
    predictions.write_text("".join(lines[1:]))
    done = job(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs").iterdir())) == 2, "other predictions are another run"


def test_a_run_is_found_again_by_its_configuration_and_tasks_alone(tmp_path: Path) -> None:
    folder = copied(SAMPLED, tmp_path)
    copied(STOPPED, tmp_path)
    (tmp_path / "quick-monkey-00000000").mkdir()
    (tmp_path / "quick-monkey-00000000/run.sqlite").write_bytes(b"not a run")
    config, tasks = read(folder)["config"], run_tasks(folder)
    assert find_same(tmp_path, "quick-monkey", config, tasks) == folder
    assert version(folder) == 2
    assert find_same(tmp_path, "quick", config, tasks) is None
    assert find_same(tmp_path, "quick-monkey", {**config, "seed": 1}, tasks) is None
    assert find_same(tmp_path, "quick-monkey", config, TaskSet("quick", tasks.tasks[:1])) is None
    assert find_same(tmp_path, "quick-monkey", config, tasks, lambda store: False) is None
    assert find_same(tmp_path / "nowhere", "quick-monkey", config, tasks) is None
    folder.rename(tmp_path / "quick-monkey-mine")
    assert find_same(tmp_path, "quick-monkey", config, tasks) is None, "a person chose that name"


# Configurations

PARTS: dict[str, Any] = {
    "suite": "swe",
    "tasks": {"set": "quick", "ids": ["a"]},
    "agent": {"name": "loop", "scaffold": "tools", "actions": "text", "prompts": {"a": "b"}, "tools": ["bash"]},
    "model": {
        "name": "m",
        "sampling": {"top_p": 0.5},
        "reasoning": "drop",
        "first_turns": 4,
        "served": {"model": "x"},
        "recording": {"run": "r"},
    },
    "limits": {"turns": 4, "window": None},
    "sandbox": {"name": "local", "platform": "", "limits": {"memory_mb": 512}},
    "verify": {"seconds": 9.0, "calibration": "digest", "unstable": "exclude"},
    "strategy": {"name": "independent", "sampling": {"kind": "independent"}},
    "seed": 3,
}


@pytest.mark.parametrize(
    "strategy",
    [
        {"name": "independent", "sampling": {"kind": "independent"}},
        {"name": "stop", "sampling": {"kind": "stopped"}},
        {"name": "fewest", "sampling": {"kind": "adaptive", "first": 5}, "first": 5},
        {"name": "variance", "sampling": {"kind": "adaptive", "first": 4}, "first": 4, "k": 10},
    ],
    ids=lambda strategy: str(strategy["name"]),
)
def test_a_flat_configuration_becomes_the_nested_one(tmp_path: Path, strategy: dict[str, Any]) -> None:
    config = {**PARTS, "strategy": strategy}
    Store.write(tmp_path / "run", config, TASKS, {}).close()
    to_version_2(tmp_path / "run")
    assert read(tmp_path / "run")["config"] == config
    Store.write(tmp_path / "run", config, TASKS, {}).close()
    assert read(tmp_path / "run")["config"] == config


def test_a_run_of_verdicts_has_neither_agent_nor_strategy(tmp_path: Path) -> None:
    folder = copied(VERIFIED, tmp_path)
    db = sqlite3.connect(folder / "run.sqlite")
    (was,) = db.execute("SELECT value FROM meta WHERE key = 'config'").fetchone()
    db.close()
    config = read(folder)["config"]
    assert list(config) == ["suite", "tasks", "model", "sandbox", "verify"]
    assert flat(config) == json.loads(was)


def test_what_is_missing_or_empty_means_the_default() -> None:
    assert not differences({}, {"suite": "swe", "tasks": {"ids": []}, "limits": {"tokens": 2_000_000, "window": None}})
    assert not differences({"model": {"sampling": {}}}, {"model": {"reasoning": "keep", "stop": ()}, "seed": 0})
    assert differences({"tasks": {"ids": ["a"]}}, {"tasks": {"ids": ("a", "b")}, "limits": {"tokens": 4}}) == [
        "--ids was a and is now a b",
        "--max-attempt-tokens was 2000000 and is now 4",
    ]


# Other versions


@pytest.mark.parametrize(
    ("number", "environment", "said"),
    [
        (
            9,
            '{"coding-monkeys": "7.1"}',
            "format 9.*reads formats 2 to 5; use coding-monkeys 7.1, or a later one",
        ),
        (9, "{}", "use the version of coding-monkeys that wrote it, or a later one"),
        (1, "{}", "format 1.*use the version of coding-monkeys that made it"),
    ],
)
def test_a_run_of_another_version_is_refused_with_the_version_that_is_needed(
    tmp_path: Path, number: int, environment: str, said: str
) -> None:
    opened(tmp_path / "run").close()
    db = sqlite3.connect(tmp_path / "run/run.sqlite")
    db.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (str(number),))
    db.execute("UPDATE sessions SET environment = ?", (environment,))
    db.commit()
    db.close()
    for open_it in (Store.read, opened):
        with pytest.raises(StoreError, match=said):
            open_it(tmp_path / "run")
    assert version(tmp_path / "run") == number
    assert find_same(tmp_path, "run", CONFIG, TASKS) is None
