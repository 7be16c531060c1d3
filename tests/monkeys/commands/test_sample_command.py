"""A run as programs see it: the log of its events, and what the commands that read it print as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.models.scripted import say
from monkeys import events
from monkeys.store import Store
from monkeys.store.finding import find_attempt

ROOT = Path(__file__).parents[3]
IDS = ("quick__ledger-1", "quick__spans-1")


def call(module: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


def strict(text: str) -> Any:
    """JSON without NaN and infinity."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(name))


def parsed(log: bytes) -> list[dict[str, Any]]:
    assert log.endswith(b"\n")
    return [strict(line) for line in log.decode().splitlines()]


@dataclass(frozen=True)
class Sampled:
    """A run of two issues in `folder`: two attempts each, then a third. `first` is the log of the first session."""

    folder: Path
    first: bytes
    log: bytes

    def ask(self, *words: str) -> Any:
        """What `monkeys` prints with --json."""
        done = call("monkeys", *words, "--json", cwd=self.folder)
        assert (done.returncode, done.stderr) == (0, "")
        return strict(done.stdout)


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Sampled:
    folder = tmp_path_factory.mktemp("sampled")
    (folder / "script.json").write_text(json.dumps([say(("bash", {"command": "echo $RANDOM > a.txt"}))]))
    path, logs = folder / "events.jsonl", []
    for attempts in ("2", "3"):
        words = (
            "--ids",
            *IDS,
            "--attempts",
            attempts,
            "--model",
            "scripted:script.json",
            "--run",
            "run",
            "--workers",
            "2",
        )
        done = call("agent.swe", *words, "--quiet", "--events", str(path), cwd=folder)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        logs.append(path.read_bytes())
    return Sampled(folder, *logs)


# Events


def test_every_line_of_the_log_is_an_event_with_its_time(sampled: Sampled) -> None:
    rows = parsed(sampled.log)
    kinds = {
        kind.__name__ for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)
    }
    assert {row["event"] for row in rows} <= kinds
    assert {"RunBegan", "AttemptBegan", "AttemptEnded", "VerifyEnded", "SessionEnded"} <= {row["event"] for row in rows}
    times = [row["t"] for row in rows]
    assert all(isinstance(time, float) for time in times)
    assert times == sorted(times)


def test_an_attempt_begins_and_ends_in_the_log_as_it_is_recorded(sampled: Sampled) -> None:
    rows = parsed(sampled.log)

    def places(event: str) -> dict[tuple[str, int], int]:
        found = [((row["task"], row["index"]), at) for at, row in enumerate(rows) if row["event"] == event]
        assert len(dict(found)) == len(found), f"no attempt has two of {event}"
        return dict(found)

    began, ended = places("AttemptBegan"), places("AttemptEnded")
    assert set(began) == set(ended) == {(task, index) for task in IDS for index in range(3)}
    store = Store.read(sampled.folder / "runs" / "run")
    for (task, index), at in ended.items():
        row, kept = rows[at], find_attempt(store, task, index, None)
        assert began[task, index] < at
        assert (row["exit"], row["turns"], row["counted"]) == (kept.exit, kept.turns, True)
        assert row["seconds"] == kept.seconds
    store.close()
    reached = Counter[str]()
    for row in rows:
        reached[row.get("task", "")] += row["count"] if row["event"] == "VerdictReached" else 0
    assert [reached[task] for task in IDS] == [3, 3]


def test_a_resumed_run_appends_what_it_adds_and_says_what_was_there(sampled: Sampled) -> None:
    assert sampled.log.startswith(sampled.first)
    first, again = parsed(sampled.first), parsed(sampled.log[len(sampled.first) :])
    for rows, attempts, before in ((first, 2, 0), (again, 3, 2)):
        (began,) = (row for row in rows if row["event"] == "RunBegan")
        assert (began["run"], began["tasks"], began["attempts"]) == ("run", list(IDS), attempts)
        recorded = [(row["task"], row["sampled"]) for row in rows if row["event"] == "Recorded"]
        assert recorded == [(task, before) for task in IDS]
        indices = sorted(row["index"] for row in rows if row["event"] == "AttemptBegan")
        assert indices == sorted([*range(before, attempts)] * 2)
        assert (rows[-1]["event"], rows[-1]["note"]) == ("SessionEnded", "done")


def test_a_log_that_cannot_be_written_is_one_line_and_nothing_is_sampled(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    done = call("agent.swe", "--ids", IDS[0], "--attempts", "1", "--events", "folder", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: events cannot be written to folder (Is a directory); name a file")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


# JSON


def test_the_commands_that_read_a_run_print_the_same_numbers(sampled: Sampled) -> None:
    report, shown, (listed,) = sampled.ask("report", "run"), sampled.ask("show", "run"), sampled.ask("runs")["runs"]
    assert shown["summary"] == report
    assert [(issue["id"], issue["n"], issue["unverified"]) for issue in report["issues"]] == [(id, 3, 0) for id in IDS]
    assert (report["kind"], report["strategy"], report["attempts"]) == ("patch", "independent", 6)
    for key in ("run", "folder", "model", "tasks", "attempts", "solved"):
        assert listed[key] == report[key], key
    assert (listed["issues"], listed["error"]) == (2, "")
    assert [(session["note"], session["tries"]) for session in shown["sessions"]] == [("done", 4), ("done", 2)]
    assert listed["began"] == shown["sessions"][0]["began"]
    assert shown["configuration"]["model"]["name"] == report["model"]


def test_a_task_and_an_attempt_are_printed_with_all_that_is_recorded(sampled: Sampled) -> None:
    task = sampled.ask("show", "run", "ledger")
    assert [(one["index"], one["submission_kind"]) for one in task["tries"]] == [(index, "patch") for index in range(3)]
    attempt = sampled.ask("show", "run", "ledger", "2")
    assert attempt["attempt"] == task["tries"][2]
    assert [[made["tool"] for made in turn["calls"]] for turn in attempt["turns"]] == [["bash"], ["submit"]]
    store = Store.read(sampled.folder / "runs" / "run")
    row = find_attempt(store, IDS[0], 2, None)
    assert attempt["submission"]["body"].encode() == store.submission(row).body
    assert attempt["tests"] == store.verdict_detail(row.task, store.submission(row))[0]
    store.close()
