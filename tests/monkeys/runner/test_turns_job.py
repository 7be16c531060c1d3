"""The patch of each turn, taken at once or by a replay, and branches, as a person runs them; killed and resumed."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent.models.scripted import say
from agent.turn_submissions import submission_after
from monkeys.commands.main import main
from monkeys.store import AttemptRow, Store, submission_digest
from tasks import Outcome
from tests.monkeys.runner.test_sample_job import IDS, descendants, environment, gone_within, job, until

TASK = IDS[0]  # quick__ledger-1
ROOT = Path(__file__).parents[3]
FEWER = 3  # turns
RUN = ("--ids", TASK, "--run", "run", "--quiet")


def monkeys(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "monkeys", *words],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )


def rows(folder: Path) -> list[AttemptRow]:
    with closing(Store.read(folder)) as store:
        return list(store.attempts())


def taken(folder: Path) -> list[Any]:
    """What a run knows of the turns of its attempts."""
    with closing(sqlite3.connect(folder / "run.sqlite")) as db:
        return db.execute(
            "SELECT a.task, a.idx, t.turn, t.submission, t.untaken FROM attempts a JOIN turns t ON t.attempt = a.id "
            "ORDER BY 1, 2, 3"
        ).fetchall()


def verifications(folder: Path) -> Counter[Any]:
    with closing(sqlite3.connect(folder / "run.sqlite")) as db:
        return Counter(db.execute("SELECT task, submission FROM verdicts").fetchall())


def after(folder: Path, turns: int) -> dict[tuple[str, int], Outcome]:
    """The outcome of each attempt if it had stopped after so many turns."""
    with closing(Store.read(folder)) as store:
        verdicts, found = store.verdicts(), {}
        for row in store.attempts():
            submission = submission_after(store.trajectory(row), turns)
            assert submission is not None
            found[row.task, row.index] = verdicts.get((row.task, submission_digest(submission)), Outcome.UNRESOLVED)
        return found


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with a run of the monkey whose patches were taken after each turn."""
    folder = tmp_path_factory.mktemp("live")
    done = job(*RUN, "--attempts", "5", "--patch-each-turn", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run without that."""
    folder = tmp_path_factory.mktemp("plain")
    done = job(*RUN, "--attempts", "5", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def cut(live: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first one played again with fewer turns."""
    folder = tmp_path_factory.mktemp("cut")
    model = f"replay:{(live / 'runs/run').resolve()}"
    done = job("--model", model, "--max-turns", str(FEWER), "--run", "cut", "--quiet", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def live_copy(live: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(live, tmp_path / "copy"))


@pytest.fixture
def plain_copy(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "copy"))


# Each turn


def test_each_submission_of_a_turn_is_known_and_verified_once(live: Path, plain: Path) -> None:
    there, without = rows(live / "runs/run"), rows(plain / "runs/run")
    assert all(row.each_turn == "taken" for row in there)
    assert not any(row.each_turn for row in without)
    assert [(row.index, row.seed, row.digest, row.outcome) for row in there] == [
        (row.index, row.seed, row.digest, row.outcome) for row in without
    ], "the attempts are those without"
    known = {(task, digest) for task, _, _, digest, _ in taken(live / "runs/run") if digest}
    assert len(known) > 5
    assert verifications(live / "runs/run") == Counter(known | {(row.task, row.digest) for row in there})


def test_a_run_may_turn_it_on_for_further_attempts(plain_copy: Path) -> None:
    done = job(*RUN, "--attempts", "6", "--patch-each-turn", cwd=plain_copy)
    assert done.returncode == 0, done.stderr
    assert [row.each_turn for row in rows(plain_copy / "runs/run")] == [""] * 5 + ["taken"]
    with closing(Store.read(plain_copy / "runs/run")) as store:
        assert [session["environment"].get("patch_each_turn") for session in store.sessions()] == [None, True]


def test_fewer_turns_played_again_reach_what_was_taken_there(live: Path, cut: Path) -> None:
    with closing(Store.read(cut / "runs/cut")) as store:
        played = {(row.task, row.index): (row.outcome, store.submission(row)) for row in store.attempts()}
    with closing(Store.read(live / "runs/run")) as store:
        known = {(row.task, row.index): submission_after(store.trajectory(row), FEWER) for row in store.attempts()}
    assert {key: submission for key, (_, submission) in played.items()} == known
    assert {key: outcome for key, (outcome, _) in played.items()} == after(live / "runs/run", FEWER)


def test_the_turns_of_a_finished_run_are_taken_by_a_replay(live: Path, plain_copy: Path) -> None:
    folder = plain_copy / "runs/run"
    before = rows(folder)
    done = monkeys("verify", "run", "--each-turn", cwd=plain_copy)
    assert done.returncode == 0, done.stderr
    assert "5 attempts replayed, 0 unlike the record" in done.stderr
    assert taken(folder) == taken(live / "runs/run"), "as they were taken while the attempts went on"
    assert verifications(folder) == verifications(live / "runs/run")
    assert [row.each_turn for row in rows(folder)] == ["replayed"] * 5
    assert [(row.outcome, row.usage) for row in rows(folder)] == [(row.outcome, row.usage) for row in before]
    again = monkeys("verify", str(folder), "--each-turn", cwd=plain_copy.parent)
    assert (again.returncode, "0 attempts replayed" in again.stderr) == (0, True)
    assert verifications(folder) == verifications(live / "runs/run")


def test_killed_in_the_midst_it_goes_on_and_takes_and_verifies_nothing_twice(live: Path, plain_copy: Path) -> None:
    folder = plain_copy / "runs/run"
    words = [sys.executable, "-m", "monkeys", "verify", "run", "--each-turn", "--quiet", "--verify-workers", "1"]
    process = subprocess.Popen(words, cwd=plain_copy, env=environment(), stderr=subprocess.DEVNULL)
    until(lambda: any(row.each_turn for row in rows(folder)) or process.poll() is not None, 90)
    below = descendants(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert gone_within(30, below), "no sandbox is left"
    done = [row.index for row in rows(folder) if row.each_turn]
    told = monkeys("verify", "run", "--each-turn", cwd=plain_copy)
    assert told.returncode == 0, told.stderr
    assert f"of which {5 - len(done)} are replayed" in told.stderr
    assert taken(folder) == taken(live / "runs/run")
    assert verifications(folder) == verifications(live / "runs/run")


def test_a_replay_unlike_its_attempt_is_told_and_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = [say(("bash", {"command": "cat /proc/sys/kernel/random/uuid > a.txt"})), say(("submit", {}))]
    (tmp_path / "script.json").write_text(json.dumps(script))
    assert job(*RUN, "--attempts", "1", "--model", "scripted:script.json", "--no-verify", cwd=tmp_path).returncode == 0
    for replayed in ("1 are replayed", "0 are replayed"):
        done = monkeys("verify", "run", "--each-turn", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert replayed in done.stderr
        (row,) = rows(tmp_path / "runs/run")
        assert row.each_turn == "unlike: its submission is another one"
        assert row.outcome is Outcome.UNRESOLVED, "what it handed in is verified all the same"
    assert not any(digest for *_, digest, _ in taken(tmp_path / "runs/run"))
    monkeypatch.chdir(tmp_path)
    assert main(["report", "run"]) == 0
    report = " ".join(capsys.readouterr().out.split())
    assert f"each turn: 1 attempt not used, since a replay was unlike the record: {TASK} 0" in report


def test_attempts_of_another_scaffold_are_replayed_and_continued_too(tmp_path: Path) -> None:
    """Its form of actions is saved under a name that no option takes."""
    (tmp_path / "script.json").write_text(json.dumps([{"role": "assistant", "content": "I do not know."}] * 2))
    words = (*RUN, "--attempts", "1", "--model", "scripted:script.json", "--scaffold", "repair", "--locate", "words")
    assert job(*words, "--max-turns", "2", "--no-verify", cwd=tmp_path).returncode == 0
    done = monkeys("verify", "run", "--each-turn", cwd=tmp_path)
    assert (done.returncode, "1 attempt replayed, 0 unlike" in done.stderr) == (0, True), done.stderr
    done = monkeys("branch", "run", TASK, "0", "--turn", "1", "--attempts", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with closing(Store.read(tmp_path / "runs/run")) as store:
        assert [row.exit.infra for row in store.continuations()] == [False]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verify", "other", "--each-turn"], "no run 'other'"),
        (["verify", "run", "--each-turn", "--run", "x"], "leave out --run"),
        (["verify", "run", "--each-turn", "--memory-mb", "900"], "leave out --memory-mb"),
        (["verify", "run"], "--tasks must be given"),
        (["branch", "run", "ledger", "0", "--turn", "99"], "cannot be continued|can be continued after 0 to"),
        (["branch", "run", "ledger", "0"], "say from which turns"),
        (["branch", "run", "ledger", "0", "--turn", "1", "--every", "1"], "say from which turns"),
        (["branch", "run", "ledger", "70", "--turn", "1"], "no attempt 70"),
        (["branch", "run", "other", "0", "--turn", "1"], "no task 'other'"),
        (["branch", "run", "ledger", "0", "--turn", "1", "--model", "replay:gold"], "--model was monkey"),
        (["branch", "run"], "must be given"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    live: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    before = (live / "runs/run/run.sqlite").read_bytes()
    monkeypatch.chdir(live)
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert any(one in line for one in said.split("|")), line
    assert (live / "runs/run/run.sqlite").read_bytes() == before


# Branches


def continued(folder: Path) -> list[AttemptRow]:
    with closing(Store.read(folder)) as store:
        return list(store.continuations())


def test_continuations_are_kept_apart_and_topped_up_and_no_reader_counts_them(
    live_copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(live_copy)

    def shown() -> list[tuple[int, str]]:
        return [(main(words), capsys.readouterr().out) for words in outputs]

    folder = live_copy / "runs/run"
    outputs = [
        ["report", "run"],
        ["coverage", "runs/run"],
        ["runs"],
        ["export", "run", "--format", "outcomes", "--out", "out"],
        ["export", "run", "--format", "trajectories", "--out", "out"],
        ["select", "runs/run", "--subsets", "2"],
        ["compare", "runs/run", "runs/run"],
        ["show", "run", TASK],
    ]
    before = shown()
    assert [code for code, _ in before] == [0] * len(outputs), before
    words = ["branch", "run", "ledger", "0", "--turn", "0", "2", "--json"]
    first = json.loads(monkeys(*words, "--attempts", "2", cwd=live_copy).stdout)
    assert [(value["turn"], value["n"], value["unverified"]) for value in first["values"]] == [(0, 2, 0), (2, 2, 0)]
    kept = {row.key: row for row in continued(folder)}
    done = monkeys(*words, "--attempts", "3", cwd=live_copy)
    assert done.returncode == 0, done.stderr
    there = continued(folder)
    assert {row.key: row for row in there if row.key in kept} == kept, "nothing is made twice"
    assert [(row.branch_turn, row.index) for row in there] == [(t, i) for t in (0, 2) for i in (0, 1, 2)]
    assert {row.arm for row in there} == {f"branch:{TASK}:0:{turn}" for turn in (0, 2)}
    assert {row.parents for row in there} == {(0,)}
    assert len({row.seed for row in there}) == 6
    with closing(Store.read(folder)) as store:
        parent = store.trajectory(next(iter(store.attempts())))
        for row in there:
            held = 2 if not row.branch_turn else parent.turns[row.branch_turn - 1].end
            assert tuple(store.conversation(row)[:held]) == parent.messages[:held]
        assert not store.any_parents
    assert shown() == before
    topped = job(*RUN, "--attempts", "6", cwd=live_copy)
    assert topped.returncode == 0, topped.stderr
    assert [row.index for row in rows(folder)] == list(range(6))


def test_a_killed_branch_goes_on_and_samples_nothing_twice(live_copy: Path) -> None:
    folder = live_copy / "runs/run"
    words = ["branch", "run", TASK, "1", "--every", "2", "--attempts", "4", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "monkeys", *words, "--quiet"],
        cwd=live_copy,
        env=environment(),
        stderr=subprocess.DEVNULL,
    )
    until(lambda: len(continued(folder)) >= 2 or process.poll() is not None, 90)
    below = descendants(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert gone_within(30, below), "no sandbox is left"
    kept = {row.key: (row.branch_turn, row.index, row.seed) for row in continued(folder)}
    done = monkeys(*words, cwd=live_copy)
    assert done.returncode == 0, done.stderr
    there = continued(folder)
    assert {row.key: (row.branch_turn, row.index, row.seed) for row in there if row.key in kept} == kept
    assert max(Counter((row.branch_turn, row.index) for row in there).values()) == 1
    assert all(row.outcome in (Outcome.RESOLVED, Outcome.UNRESOLVED) for row in there)
    assert max(verifications(folder).values()) == 1
    assert "P(solved)" in done.stdout


def test_a_branch_of_a_run_of_replays_is_refused(
    cut: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(cut)
    assert main(["branch", "cut", "ledger", "0", "--turn", "0"]) == 2
    assert "a replay has the recorded answers alone" in capsys.readouterr().err
