"""`monkeys calibrate`: what cannot be trusted is found, kept, and used."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monkeys.commands.main import main
from monkeys.formats.calibration import Calibrated, Calibration, CalibrationError, Runs
from tasks import Task, TaskSet, load_tasks
from tasks.quick.repositories import FORM
from tests.helpers import git_repository

HERE = Path(__file__).parents[3]
SOLVED = """diff --git a/sum.py b/sum.py
--- a/sum.py
+++ b/sum.py
@@ -1,2 +1,2 @@
 def add(a, b):
-    return a
+    return a + b
"""
USELESS = """diff --git a/new.txt b/new.txt
new file mode 100644
--- /dev/null
+++ b/new.txt
@@ -0,0 +1 @@
+x
"""
ADDS = "self.assertEqual(sum_.add(1, 2), 3)"
CERTAIN = "self.assertTrue(True)"
LUCKY = "self.assertGreater(random.random(), 0.2)"
ORDERED = "self.assertEqual(''.join({'a', 'b'}), 'ab')"


def row(cache: Path, name: str, tests: dict[str, str], *, patch: str = SOLVED) -> dict[str, Any]:
    """A task whose hidden tests these are; the first of them is to pass once it is solved."""
    folder = cache / "building" / name
    origin = git_repository(folder, {"sum.py": b"def add(a, b):\n    return a\n", "tests/__init__.py": b""})
    place = cache / "coding-monkeys" / "repositories" / f"{name}-{origin.commit[:12]}-{FORM}"
    place.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(place)
    lines = ["import random, unittest", "import sum as sum_", "class T(unittest.TestCase):"]
    for test, body in tests.items():
        lines += [f"    def test_{test}(self):", f"        {body}"]
    hunk = "".join(f"+{line}\n" for line in lines)
    ids = [f"tests.test_sum.T.test_{test}" for test in tests]
    return {
        "instance_id": name,
        "repo": "own/own",
        "base_commit": origin.commit,
        "problem_statement": "It does not add.",
        "patch": patch,
        "test_patch": "diff --git a/tests/test_sum.py b/tests/test_sum.py\nnew file mode 100644\n--- /dev/null\n"
        f"+++ b/tests/test_sum.py\n@@ -0,0 +1,{len(lines)} @@\n{hunk}",
        "FAIL_TO_PASS": ids[:1],
        "PASS_TO_PASS": ids[1:],
        "test_command": "python3 -m unittest -v",
    }


def task_file(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    path = tmp_path / "own.jsonl"
    path.write_text("".join(f"{json.dumps(one)}\n" for one in rows))
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "140")
    return tmp_path / "cache"


def test_it_finds_flaky_tests_of_two_kinds_a_broken_task_a_weak_one_and_how_long_the_good_one_takes(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One test that fails by chance may pass all the time; that several do is not to be expected in a lifetime.
    lucky = {f"lucky_{n}": LUCKY for n in range(6)}
    ordered = {f"ordered_{n}": ORDERED for n in range(4)}
    tasks = task_file(
        tmp_path,
        row(cache, "lucky", {"adds": ADDS, "certain": CERTAIN, **lucky}),
        row(cache, "ordered", {"adds": ADDS, "certain": CERTAIN, **ordered}),
        row(cache, "broken", {"adds": ADDS, "certain": CERTAIN}, patch=USELESS),
        row(cache, "weak", {"certain": CERTAIN, "adds": CERTAIN}),
        row(cache, "steady", {"adds": ADDS, "certain": CERTAIN}),
    )
    out = tmp_path / "found.json"
    assert main(["calibrate", str(tasks), "--repeats", "6", "--workers", "2", "--out", str(out)]) == 0
    said = capsys.readouterr()
    found = Calibration.load(out)

    def flaky(task: str) -> set[str]:
        return {name.rpartition(".")[2].rstrip("0123456789") for name in found.issues[task].flaky}

    assert flaky("lucky") == {"test_lucky_"}
    assert flaky("ordered") == {"test_ordered_"}
    assert not any(flaky(task) for task in ("broken", "weak", "steady"))
    seen = next(iter(found.issues["lucky"].flaky.values()))
    assert all(set(statuses) == {"passed", "failed"} and sum(statuses.values()) == 6 for statuses in seen.values())
    assert [task for task, one in found.issues.items() if one.weak] == ["weak"]
    assert {task for task, one in found.issues.items() if one.broken} - {"lucky", "ordered"} == {"broken"}
    steady = found.issues["steady"]
    assert (steady.gold, steady.empty, steady.unsteady) == (Runs(6, 6), Runs(6, 0), False)
    assert 0 < steady.seconds_median <= steady.seconds_max
    assert (found.repeats("lucky"), found.repeats("ordered"), found.repeats("steady")) == (6, 6, 1)
    assert found.seconds("steady", 1800.0) == 60.0
    assert found.seconds("broken", 1800.0) == 1800.0

    assert re.search(r"broken +0/6 +0/6 .* broken: some expected tests do not pass", said.out)
    assert re.search(r"weak +6/6 +6/6 .* weak: the empty patch passes", said.out)
    assert re.search(r"flaky: lucky tests\.test_sum\.T\.test_lucky_\d \(gold (passed|failed) \d, ", said.out)
    assert "5 times the longest run of the gold patch, at least 60 s" in said.out
    assert "60 of 60 runs" in said.err


def test_killed_on_its_way_it_goes_on_and_more_repeats_add_to_what_is_there(cache: Path, tmp_path: Path) -> None:
    tasks = task_file(tmp_path, row(cache, "steady", {"adds": ADDS, "certain": CERTAIN}))
    journal = tmp_path / "own.calibration.json.runs.jsonl"

    def begin(repeats: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "monkeys", "calibrate", str(tasks), "--repeats", str(repeats), "--json"]
        return subprocess.Popen(
            command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(HERE)}, stdout=-1, stderr=-1, text=True
        )

    killed, deadline = begin(20), time.monotonic() + 60
    while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
        assert killed.poll() is None, killed.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    with journal.open("ab") as file:
        file.write(b'{"key": "cut sh')  # as if it had been killed while it wrote
    there = journal.read_bytes().count(b"\n")
    for repeats in (6, 7):
        again = begin(repeats)
        out, err = again.communicate(timeout=60)
        assert again.returncode == 0, err
        assert json.loads(out)["issues"]["steady"]["gold"] == {"runs": repeats, "resolved": repeats}
        assert re.search(r"(\d+) of \1 runs", err)
    made = Counter(json.loads(line)["patch"] for line in journal.read_text().splitlines())
    assert made == {"gold": max(there, 7), "empty": 7}


@pytest.fixture
def tasks() -> TaskSet:
    return load_tasks("quick").select(["quick__tally-1", "quick__stash-1", "quick__spans-1"])


def known(tasks: TaskSet, **changed: dict[str, Any]) -> Calibration:
    """All steady, but for what is given by a part of a task's id."""

    def one(task: Task) -> Calibrated:
        usual = Calibrated(task.id, task.digest, Runs(5, 5), Runs(5, 0), {}, 10.0, 20.0)
        return replace(usual, **next((what for part, what in changed.items() if part in task.id), {}))

    return Calibration("quick", "local", 5, {task.id: one(task) for task in tasks.tasks})


def test_what_is_broken_or_weak_is_refused_or_left_out_and_what_is_flaky_is_decided_by_the_majority(
    tasks: TaskSet,
) -> None:
    flaky = {"test": {"gold": {"passed": 4, "failed": 1}}}
    bad = known(tasks, tally={"gold": Runs(5, 2)}, stash={"empty": Runs(5, 3)}, spans={"flaky": flaky})
    with pytest.raises(CalibrationError, match=r"quick__stash-1 \(weak\).*quick__tally-1 \(broken\).*exclude"):
        bad.select(tasks, "majority")
    with pytest.raises(CalibrationError, match="no task of quick is left"):
        bad.select(tasks, "exclude")
    assert bad.select(tasks, "keep") is tasks
    some = known(tasks, spans={"flaky": flaky})
    assert some.select(tasks, "majority") is tasks
    assert [some.repeats(task.id) for task in tasks.tasks if "spans" in task.id] == [5]
    assert {some.repeats(task.id) for task in tasks.tasks if "spans" not in task.id} == {1}
    left = some.select(tasks, "exclude")
    assert len(left) == 2
    assert not any("spans" in task.id for task in left.tasks)


def test_time_follows_from_the_longest_run_and_a_task_that_is_not_known_has_what_is_usual(tasks: TaskSet) -> None:
    found = known(tasks)
    assert found.seconds("quick__tally-1", 7.0) == 100.0
    assert found.seconds("another", 7.0) == 7.0
    assert found.repeats("another") == 1


def test_what_was_calibrated_with_other_contents_is_not_used(tasks: TaskSet) -> None:
    with pytest.raises(CalibrationError, match="quick__tally-1 had other contents"):
        known(tasks, tally={"digest": "another"}).select(tasks, "keep")


def test_a_calibration_is_read_as_it_was_written_and_a_bad_file_is_refused(tasks: TaskSet, tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    found = known(tasks, spans={"flaky": {"test": {"empty": {"passed": 4, "missing": 1}}}})
    path.write_text(found.to_json())
    assert Calibration.load(path) == found
    assert Calibration.load(path).digest == found.digest
    whole = json.loads(found.to_json())
    for text in (
        "",
        "[]",
        "{}",
        json.dumps({**whole, "version": 99}),
        json.dumps({**whole, "issues": {"x": {}}}),
        json.dumps({**whole, "issues": []}),
    ):
        path.write_text(text)
        with pytest.raises(CalibrationError, match=r"found\.json .*calibrat"):
            Calibration.load(path)
    with pytest.raises(CalibrationError, match="cannot be read"):
        Calibration.load(tmp_path / "nowhere.json")
