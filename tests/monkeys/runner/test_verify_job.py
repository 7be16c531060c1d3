"""`monkeys verify`: patches from elsewhere become a run, once each, whatever ends the command on its way."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from agent.swe import main as sample
from monkeys.commands.main import main
from monkeys.formats.calibration import Calibrated, Calibration, Runs
from monkeys.store import Store, StoreError
from tasks import load_tasks
from tasks.swe.task import SweTask, as_swe

TASKS = load_tasks("quick").select(["quick__tally-1", "quick__stash-1"])
STASH, TALLY = map(as_swe, TASKS.tasks)
HERE = Path(__file__).parents[3]


def bad(number: int) -> str:
    """A patch that changes nothing of what is tested."""
    return (
        f"diff --git a/new{number}.txt b/new{number}.txt\nnew file mode 100644\n"
        f"--- /dev/null\n+++ b/new{number}.txt\n@@ -0,0 +1 @@\n+{number}\n"
    )


def predict(path: Path, rows: Iterable[tuple[str, str]], model: str = "someone") -> Path:
    lines = [
        json.dumps({"instance_id": task, "model_name_or_path": model, "model_patch": patch}) for task, patch in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def passes(task: SweTask) -> str:
    """What unittest says where all of its tests pass."""
    names = (*task.fail_to_pass, *task.pass_to_pass)
    lines = "".join(f"{name.rpartition('.')[2]} ({name}) ... ok\n" for name in names)
    return f"{lines}Ran {len(names)} tests in 0.1s\n"


class Said:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def verified(self) -> int:
        """How many patches the command says it verified."""
        return self.judged[0]

    @property
    def judged(self) -> tuple[int, int, int]:
        """How many it verified, found among this machine's verdicts, and ran again to make sure."""
        found = re.search(r"^(\d+) verified, (\d+) found, (\d+) runs? to make sure", self.err, re.M)
        assert found, self.err
        return int(found[1]), int(found[2]), int(found[3])


Verify = Callable[..., Said]


@pytest.fixture
def verify(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Verify:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")

    def call(source: Path | str, *words: str) -> Said:
        code = main(["verify", str(source), "--tasks", "quick", "--runs", str(tmp_path / "runs"), *words])
        return Said(code, *capsys.readouterr())

    return call


def outcomes(folder: Path) -> dict[tuple[str, int], Any]:
    store = Store.read(folder)
    try:
        return {(row.task, row.index): row.outcome for row in store.attempts()}
    finally:
        store.close()


def both(*, of: Path) -> list[tuple[str, str]]:
    return [(row["instance_id"], row["model_patch"]) for row in map(json.loads, of.read_text().splitlines())]


def test_what_weakens_a_verdict_is_told_also_by_a_quiet_command(
    verify: Verify, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = predict(tmp_path / "p.jsonl", [(TALLY.id, TALLY.patch)])
    assert verify(given, "--quiet").err == ""
    rows = tmp_path / "unsolved.jsonl"  # without a known solution nothing shows which assertion to alter
    rows.write_text(json.dumps({**TALLY.instance, "patch": ""}) + "\n")
    told = f"a weaker strict verdict on {TALLY.id}: falsified at its end only"
    for _ in range(2):  # kept verdicts too
        said = verify(given, "--quiet", "--tasks", str(rows), "--run", "weak")
        assert (said.code, said.out) == (0, "")
        assert said.err.startswith(told)
    assert main(["show", str(tmp_path / "runs/weak"), TALLY.id, "0"]) == 0
    assert "falsified at its end only" in capsys.readouterr().out


def test_predictions_become_a_run_that_every_command_reads(
    verify: Verify, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [
        (TALLY.id, TALLY.patch),
        (STASH.id, ""),
        (TALLY.id, "no patch"),
        (TALLY.id, TALLY.patch),
        (STASH.id, bad(1)),
    ]
    said = verify(predict(tmp_path / "p.jsonl", given), "--run", "mine")
    assert said.code == 0, said.err
    folder = tmp_path / "runs" / "mine"
    assert outcomes(folder) == {
        (STASH.id, 0): "unresolved",
        (STASH.id, 1): "unresolved",
        (TALLY.id, 0): "resolved",
        (TALLY.id, 1): "unresolved",
        (TALLY.id, 2): "resolved",
    }
    assert "1 of 12 solved" in said.out
    assert "5/5 attempts" in said.err
    assert said.verified == 3  # the empty one needs no run

    assert main(["report", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["model"], told["attempts"]) == ("someone", 5)
    assert main(["show", str(folder), TALLY.id, "1"]) == 0
    assert "the patch does not apply" in capsys.readouterr().out
    assert main(["export", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert both(of=tmp_path / "out" / "attempt-000.jsonl") == [(STASH.id, ""), (TALLY.id, TALLY.patch)]


def test_verifying_and_replaying_predictions_gives_the_same_verdicts_and_the_same_remarks(
    verify: Verify, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [(TALLY.id, TALLY.patch.replace("\n", "\r\n")), (STASH.id, STASH.patch.rstrip("\n"))]
    source = predict(tmp_path / "p.jsonl", [*given, (TALLY.id, "no patch"), (STASH.id, "")])
    said = verify(source, "--run", "verified")
    options = ["--tasks", "quick", "--ids", TALLY.id, STASH.id, "--attempts", "2", "--runs", str(tmp_path / "runs")]
    assert sample(["--model", f"replay:{source}", *options, "--run", "replayed"]) == 0
    replayed = capsys.readouterr()
    assert outcomes(tmp_path / "runs" / "verified") == {
        (TALLY.id, 0): "resolved",
        (STASH.id, 0): "resolved",
        (TALLY.id, 1): "unresolved",
        (STASH.id, 1): "unresolved",
    }
    assert outcomes(tmp_path / "runs" / "replayed") == outcomes(tmp_path / "runs" / "verified")
    for told in (said.err, replayed.err):
        assert "2 of 2 issues have more than one prediction, such as " in told
        assert "1 of 4 predictions are empty, and count as unresolved" in told
        assert f"no diff in 1 of 4 predictions, which cannot be applied: that of {TALLY.id} holds 'no patch'" in told
    assert main(["show", str(tmp_path / "runs" / "replayed"), TALLY.id, "1"]) == 0
    assert "the replayed patch does not apply, so nothing is handed in" in " ".join(capsys.readouterr().out.split())


def test_a_file_whose_field_holds_no_diffs_is_refused_before_anything_is_run(
    verify: Verify, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = predict(tmp_path / "p.jsonl", [(one.id, one.patch.replace("\n", "\\n")) for one in (TALLY, STASH)])
    said = verify(source, "--quiet")
    assert said.code == 2
    replay = ["--model", f"replay:{source}", "--tasks", "quick", "--ids", TALLY.id, "--runs", str(tmp_path / "runs")]
    assert sample([*replay, "--attempts", "1"]) == 2
    for told in (said.err, capsys.readouterr().err):
        assert "none of its 2 patches is a diff; " in told
        assert r"holds a diff whose line ends are written as \n: 'diff --git" in told
    assert not (tmp_path / "runs").exists()


ENDS_ITS_SANDBOX = """diff --git a/tally/__init__.py b/tally/__init__.py
--- a/tally/__init__.py
+++ b/tally/__init__.py
@@ -7,1 +7,4 @@
 __all__ = ["Currency", "Exchange", "Money", "currency"]
+import os, resource, signal
+resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))
+os.kill(-1, signal.SIGKILL)
"""


def test_a_patch_that_ends_its_sandbox_is_unresolved_and_stops_no_other(verify: Verify, tmp_path: Path) -> None:
    given = [(TALLY.id, ENDS_ITS_SANDBOX), (TALLY.id, TALLY.patch)]
    said = verify(predict(tmp_path / "p.jsonl", given), "--run", "mine", "--no-verdict-cache")
    assert said.code == 0, said.err
    assert outcomes(tmp_path / "runs" / "mine") == {(TALLY.id, 0): "unresolved", (TALLY.id, 1): "resolved"}


def test_what_was_taken_out_of_a_patch_is_shown_beside_the_score_with_it(
    verify: Verify, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deaf = (
        "diff --git a/tests/conftest.py b/tests/conftest.py\nnew file mode 100644\n--- /dev/null\n"
        "+++ b/tests/conftest.py\n@@ -0,0 +1 @@\n+import unittest\n"
    )
    fooling = (
        "diff --git a/unittest.py b/unittest.py\nnew file mode 100644\n--- /dev/null\n+++ b/unittest.py\n"
        f"@@ -0,0 +1 @@\n+import sys; sys.stderr.write({passes(TALLY)!r})\n"
    )
    source = predict(tmp_path / "p.jsonl", [(TALLY.id, TALLY.patch + deaf), (TALLY.id, fooling)])
    said = verify(source, "--run", "mine")
    assert "the harness's own score counts 2 attempts as resolved, not 1" in " ".join(said.out.split())
    shown = []
    for index in ("0", "1"):
        assert main(["show", str(tmp_path / "runs" / "mine"), TALLY.id, index]) == 0
        shown.append(capsys.readouterr().out)
    for out, verdict, file in zip(shown, ("resolved", "unresolved"), ("tests/conftest.py", "unittest.py"), strict=True):
        assert f"verdict: {verdict}" in out
        assert "by the harness's own score: resolved" in out
        assert f"so taken out: {file}" in out


def test_the_same_command_goes_on_and_predictions_that_were_added_top_it_up(verify: Verify, tmp_path: Path) -> None:
    given = [(TALLY.id, TALLY.patch), (TALLY.id, bad(1))]
    source = predict(tmp_path / "p.jsonl", given)
    assert verify(source).verified == 2
    again = verify(source)
    assert (again.code, again.verified) == (0, 0)
    assert "going on after 2 verdicts" in again.err
    more = verify(predict(source, [*given, (STASH.id, STASH.patch), (TALLY.id, bad(1)), (TALLY.id, bad(2))]))
    assert more.verified == 2
    [folder] = (tmp_path / "runs").iterdir()
    assert sum(outcome == "resolved" for outcome in outcomes(folder).values()) == 2
    assert len(outcomes(folder)) == 5


def test_what_one_run_verified_another_one_finds_unless_told_not_to(verify: Verify, tmp_path: Path) -> None:
    source = predict(tmp_path / "p.jsonl", [(TALLY.id, TALLY.patch), (TALLY.id, "no patch")])
    assert verify(source, "--run", "first").judged == (2, 0, 1)
    assert verify(source, "--run", "second").judged == (0, 2, 0)
    assert verify(source, "--run", "third", "--recheck", "1").judged == (0, 2, 2)
    assert verify(source, "--run", "fourth", "--no-verdict-cache").judged == (2, 0, 1)
    assert all(outcomes(folder) == outcomes(tmp_path / "runs" / "first") for folder in (tmp_path / "runs").iterdir())


@pytest.mark.parametrize(
    ("now", "complaint"),
    [
        ([(TALLY.id, "no patch"), (TALLY.id, bad(9))], "differs from what it was when"),
        ([(TALLY.id, "no patch")], "is gone; it was there when"),
    ],
)
def test_predictions_that_are_not_as_they_were_change_nothing(
    verify: Verify, tmp_path: Path, now: list[tuple[str, str]], complaint: str
) -> None:
    source = predict(tmp_path / "p.jsonl", [(TALLY.id, "no patch"), (TALLY.id, bad(1))])
    assert verify(source).code == 0
    [file] = (tmp_path / "runs").glob("*/run.sqlite")
    before = file.read_bytes()
    said = verify(predict(source, now))
    assert said.code == 2
    assert re.fullmatch(rf"error: prediction 1 for {TALLY.id} {complaint} run .*\n", said.err)
    assert file.read_bytes() == before


def test_a_run_is_verified_again_and_what_it_exports_gets_the_same_verdicts(
    verify: Verify, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    source = predict(tmp_path / "p.jsonl", [(TALLY.id, bad(1)), (TALLY.id, "no patch"), (STASH.id, "")])
    verify(source, "--run", "first")
    assert main(["export", str(runs / "first"), "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    for again, name in (("first", "second"), (runs / "first", "third"), (tmp_path / "out", "fourth")):
        assert verify(again, "--run", name).code == 0
        assert outcomes(runs / name) == outcomes(runs / "first")
    store = Store.read(runs / "fourth")
    assert store.model == "someone"
    store.close()


def test_a_run_whose_attempts_were_allocated_by_outcomes_is_refused(verify: Verify, tmp_path: Path) -> None:
    config = {"strategy": {"name": "stop", "sampling": {"kind": "stopped"}}}
    Store.write(tmp_path / "runs/allocated", config, load_tasks("quick"), {}).close()
    said = verify("allocated")
    assert said.code == 2
    assert "sampled with --strategy stop, so its attempts are stopped" in said.err


def test_predictions_for_other_tasks_are_an_error_that_names_them_unless_they_are_to_be_skipped(
    verify: Verify, tmp_path: Path
) -> None:
    source = predict(tmp_path / "p.jsonl", [("sympy__sympy-1", ""), (TALLY.id, ""), ("sympy__sympy-2", "")])
    said = verify(source)
    assert said.code == 2
    assert re.fullmatch(r"error: .* sympy__sympy-1, sympy__sympy-2, not in quick; .*--skip-unknown\n", said.err)
    assert not (tmp_path / "runs").exists()
    assert verify(source, "--skip-unknown").code == 0
    assert "holds no prediction" in verify(source, "--skip-unknown", "--ids", STASH.id).err


def calibration(path: Path, **changed: Any) -> Path:
    """What is known of the two tasks: TALLY is steady but for what is given."""
    seconds = {"seconds_median": 0.2, "seconds_max": 0.3}
    rows = {
        task.id: Calibrated(
            task.id,
            task.digest,
            **{"gold": Runs(3, 3), "empty": Runs(3, 0), "flaky": {}, **seconds, **(changed if task is TALLY else {})},
        )
        for task in TASKS.tasks
    }
    path.write_text(Calibration("quick", "local", 3, rows).to_json())
    return path


def test_a_calibration_refuses_or_leaves_out_tasks_and_has_the_majority_decide(verify: Verify, tmp_path: Path) -> None:
    source = predict(tmp_path / "p.jsonl", [(TALLY.id, bad(1)), (STASH.id, "")])
    broken = calibration(tmp_path / "broken.json", gold=Runs(3, 1))
    said = verify(source, "--calibration", str(broken))
    assert said.code == 2
    assert f"{TALLY.id} (broken) can verify no attempt; leave these tasks out with --unstable exclude" in said.err
    verify(source, "--calibration", str(broken), "--unstable", "exclude", "--run", "left")
    assert list(outcomes(tmp_path / "runs" / "left")) == [(STASH.id, 0)]
    assert verify(source, "--calibration", str(broken), "--unstable", "keep", "--run", "kept").code == 0

    flaky = calibration(tmp_path / "flaky.json", flaky={"a test": {"gold": {"passed": 2, "failed": 1}}})
    said = verify(source, "--calibration", str(flaky), "--run", "majority")
    assert said.judged == (1, 0, 1)  # of three runs, the third could change nothing
    assert verify(source, "--run", "majority").code == 2


def test_two_commands_at_once_verify_each_patch_once_between_them_and_say_the_same(tmp_path: Path) -> None:
    given = [(task.id, patch) for n in range(4) for task in (STASH, TALLY) for patch in (bad(n), bad(n), task.patch)]
    source = predict(tmp_path / "p.jsonl", given)
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "monkeys", "verify", str(source), "--tasks", "quick", "--runs", str(tmp_path)]
    runs = [
        subprocess.Popen([*command, "--run", name], env=environment, stdout=-1, stderr=-1, text=True, cwd=HERE)
        for name in ("one", "other")
    ]
    said = [Said(0, *run.communicate(timeout=120)) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], [each.err for each in said]
    # What one of them verified, the other one found.
    assert sum(each.judged[0] for each in said) == sum(each.judged[1] for each in said) == len(set(given))
    assert outcomes(tmp_path / "one") == outcomes(tmp_path / "other")
    assert sum(outcome == "resolved" for outcome in outcomes(tmp_path / "one").values()) == len(given) // 3


def test_killed_on_its_way_it_goes_on_to_the_same_verdicts_and_verifies_none_twice(tmp_path: Path) -> None:
    given = [(task.id, patch) for n in range(4) for task in (STASH, TALLY) for patch in (bad(n), bad(n), task.patch)]
    source = predict(tmp_path / "p.jsonl", given)
    command = [sys.executable, "-m", "monkeys", "verify", str(source), "--tasks", "quick", "--verify-workers", "1"]
    command += ["--runs", str(tmp_path), "--run", "killed"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def begin() -> subprocess.Popen[str]:
        return subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True, cwd=HERE)

    def there() -> int:
        try:
            return sum(outcome is not None for outcome in outcomes(tmp_path / "killed").values())
        except StoreError:
            return 0  # it is being made

    killed, deadline = begin(), time.monotonic() + 60
    while there() < 4:
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()

    store = Store.read(tmp_path / "killed")
    rows = list(store.attempts())
    store.close()
    assert len(rows) == len(given)
    left = {(row.task, row.digest) for row in rows if row.outcome is None}
    assert left
    again = begin()
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    # It may have been killed after a verdict was kept for all runs and before it was recorded in this one.
    verified, found, _ = Said(0, out, err).judged
    assert verified + found == len(left)
    assert found <= 1
    # In each group of three predictions for a task the last is its gold patch.
    expected = {(row.task, row.index): "resolved" if row.index % 3 == 2 else "unresolved" for row in rows}
    assert outcomes(tmp_path / "killed") == expected


# submissions that are no patches


QUESTIONS = [
    {"question": "What is 6 times 7?", "answer": 42, "id": "times"},
    {"question": "Which city is the capital of France?", "answer": "Paris", "id": "france"},
]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in QUESTIONS))
    return path


@pytest.mark.parametrize("field", ["answer", "submission", "model_patch"])
def test_answers_are_verified_as_answers(verify: Verify, questions: Path, tmp_path: Path, field: str) -> None:
    rows = [("times", "42.0"), ("times", 41), ("times", 42), ("france", "paris"), ("france", None)]
    source = tmp_path / "p.json"
    source.write_text(json.dumps([{"instance_id": task, field: answer} for task, answer in rows]))
    said = verify(source, "--tasks", str(questions), "--run", "mine")
    assert said.code == 0, said.err
    assert outcomes(tmp_path / "runs/mine") == {
        ("times", 0): "resolved",
        ("times", 1): "unresolved",
        ("times", 2): "resolved",
        ("france", 0): "resolved",
        ("france", 1): "unresolved",
    }
    again = verify("mine", "--tasks", str(questions), "--run", "again")
    assert again.code == 0, again.err
    assert outcomes(tmp_path / "runs/again") == outcomes(tmp_path / "runs/mine")


def test_the_shortest_form_of_a_file_of_answers_is_read(verify: Verify, questions: Path, tmp_path: Path) -> None:
    source = tmp_path / "p.json"
    source.write_text('{"times": 42, "france": {"answer": "Rome"}}')
    assert verify(source, "--tasks", str(questions), "--run", "mine").code == 0
    assert outcomes(tmp_path / "runs/mine") == {("times", 0): "resolved", ("france", 0): "unresolved"}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"instance_id": "times"}, "p.jsonl:1: no answer or submission or model_patch for times; an empty answer is"),
        (
            {"answer": "42"},
            "p.jsonl:1: no instance_id (there are answer); a prediction has instance_id, model_name_or_path, answer",
        ),
        ({"instance_id": "times", "answer": [42]}, "p.jsonl:1: answer of times is not a text; write it as a string"),
        ({"instance_id": "times", "answer": True}, "p.jsonl:1: answer of times is not a text"),
        ({"instance_id": "times", "answer": "\ud800"}, "p.jsonl:1: answer of times holds half a character"),
    ],
)
def test_a_row_without_an_answer_is_refused(
    verify: Verify, questions: Path, tmp_path: Path, row: dict[str, Any], why: str
) -> None:
    (tmp_path / "p.jsonl").write_text(json.dumps(row))
    said = verify(tmp_path / "p.jsonl", "--tasks", str(questions))
    assert said.code == 2
    assert why in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_patch_stands_under_its_own_name_alone(verify: Verify, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(json.dumps({"instance_id": TALLY.id, "answer": TALLY.patch}))
    said = verify(tmp_path / "p.jsonl")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert f"p.jsonl:1: no model_patch for {TALLY.id}; an empty patch is written as ''" in said.err
