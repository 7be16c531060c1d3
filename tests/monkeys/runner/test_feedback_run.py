"""Feedback in a run: what is recorded and shown of it, played again, and how a run with hidden tests is named."""

from __future__ import annotations

import asyncio
import csv
import json
from contextlib import chdir, closing, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from agent.conversation import as_sent
from agent.models.scripted import say
from agent.swe import main as sample
from agent.trajectory import Usage, exchanges
from envs.memory_budget import this_machine
from monkeys.api import open_run
from monkeys.commands.main import main
from monkeys.store import Store
from tasks.swe.task import as_swe
from tests.helpers import Answer, ChatServer, quick_task
from tests.monkeys.runner.test_sample_job import job

TASK = "quick__ledger-1"
SUBMIT = say(("submit", {}))


def bash(text: str) -> dict[str, Any]:
    return say(("bash", {"command": text}))


def script(folder: Path, *lines: dict[str, Any], name: str = "script.json") -> str:
    (folder / name).write_text(json.dumps(lines))
    return f"scripted:{name}"


def run(folder: Path, model: str, *options: str, code: int = 0) -> str:
    """What a run of one attempt in `folder` says."""
    out, error = StringIO(), StringIO()
    with chdir(folder), redirect_stdout(out), redirect_stderr(error):
        ended = sample(["--model", model, "--ids", TASK, "--attempts", "1", *options])
    said = out.getvalue() + error.getvalue()
    assert ended == code, said
    return said


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run `told`, whose attempt hears of the hidden tests, and `plain`, whose attempt does not."""
    folder = tmp_path_factory.mktemp("oracle")
    patch = as_swe(quick_task("ledger")).patch
    wrong = bash("echo '# nothing' >> ledger/book.py")
    right = bash(f"git checkout -q . && git apply <<'END'\n{patch}END")
    model = script(folder, wrong, right, SUBMIT)
    said = run(folder, model, "--run", "told", "--feedback", "oracle-count,oracle-tests")
    assert "ORACLE: attempts are told what the hidden tests say (oracle-count, oracle-tests)" in said
    run(folder, model, "--run", "plain")
    return folder


def shown(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words, "--runs", str(folder / "runs")]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_the_oracle_says_what_the_verifier_found_of_each_patch(oracle: Path) -> None:
    store = Store.read(oracle / "runs/told")
    (row,) = store.attempts()
    said = [message["content"] for message in store.conversation(row) if "feedback" in message]
    task = as_swe(quick_task("ledger"))
    expected = len(task.fail_to_pass) + len(task.pass_to_pass)
    assert said[0].startswith(
        f"[feedback: oracle-tests]\n{len(task.fail_to_pass)} of {expected} hidden tests do not pass:"
    )
    assert all(test in said[0] for test in task.fail_to_pass)
    assert said[1] == f"[feedback: oracle-count]\n{len(task.fail_to_pass)} of {expected} hidden tests do not pass."
    assert [text.partition("\n")[2] for text in said[2:]] == ["All hidden tests pass."] * 2
    assert str(row.outcome) == "resolved"
    store.close()


def test_a_run_that_heard_of_hidden_tests_says_so_wherever_it_is_shown(
    oracle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    kinds = ["oracle-count", "oracle-tests"]
    assert "ORACLE: the attempts were told what the hidden tests say" in shown(oracle, capsys, "report", "told")
    report = json.loads(shown(oracle, capsys, "report", "told", "--json"))
    assert report["oracle"] == kinds
    assert json.loads(shown(oracle, capsys, "report", "plain", "--json"))["oracle"] == []
    assert "oracle 100" in shown(oracle, capsys, "runs")
    rows = {row["run"]: row for row in json.loads(shown(oracle, capsys, "runs", "--json"))["runs"]}
    assert (rows["told"]["oracle"], rows["plain"]["oracle"]) == (kinds, [])
    name = "told [oracle-count, oracle-tests]"
    sets = json.loads(shown(oracle, capsys, "coverage", "told", "plain", "--json"))["sets"]
    assert {name: one.get("oracle") for name, one in sets.items()} == {name: kinds, "plain": None}
    assert "report it apart" in str(sets[name]["notes"])
    both = shown(oracle, capsys, "coverage", "told", "plain", "--summary")
    assert both.count("pass@k of 1 set") == 2  # a table for each, not one for both
    for analysis in ("select", "surface"):
        assert list(json.loads(shown(oracle, capsys, analysis, "told", "--json"))["sets"]) == [name]
    assert "ORACLE: the attempts were told" in shown(oracle, capsys, "surface", "told")
    assert f"{name} less plain" in shown(oracle, capsys, "compare", "plain", "told")
    assert f"plain less {name}" in shown(oracle, capsys, "compare", "plain", "told", "--against", "told")
    assert "feedback: oracle-count" in shown(oracle, capsys, "show", "told", TASK, "0")
    assert open_run(oracle / "runs/told").counts().name == name


def test_what_is_exported_of_such_a_run_keeps_its_name(
    oracle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for form in ("outcomes", "predictions", "trajectories"):
        shown(oracle, capsys, "export", "told", "--format", form, "--out", str(tmp_path / form))
    shown(oracle, capsys, "export", "plain", "--format", "outcomes", "--out", str(tmp_path / "plain"))
    with (tmp_path / "outcomes/outcomes.csv").open() as file:
        assert [row["arm"] for row in csv.DictReader(file)] == ["oracle-count+oracle-tests"]
    assert "arm" not in (tmp_path / "plain/outcomes.csv").read_text()
    sets = json.loads(shown(oracle, capsys, "coverage", str(tmp_path / "outcomes/outcomes.csv"), "--json"))["sets"]
    assert list(sets) == ["oracle-count+oracle-tests"]
    line = json.loads((tmp_path / "predictions/attempt-000.jsonl").read_text())
    assert line["model_name_or_path"] == "scripted:script.json+oracle-count+oracle-tests-attempt-000"
    trajectory = json.loads((tmp_path / "trajectories/trajectories.jsonl").read_text())
    assert trajectory["arm"] == "oracle-count+oracle-tests"
    assert "oracle-tests" in {message.get("feedback") for message in trajectory["messages"]}


def test_feedback_is_part_of_what_identifies_a_run(tmp_path: Path) -> None:
    model = script(tmp_path, SUBMIT)
    run(tmp_path, model, "--run", "r", "--no-verify", "--feedback", "check,diff")
    assert "--feedback was check diff and is now not set" in run(tmp_path, model, "--run", "r", "--no-verify", code=2)
    run(tmp_path, model, "--run", "r", "--no-verify", "--feedback", "diff, check")  # the order means nothing
    run(tmp_path, model, "--run", "none", "--no-verify")
    run(tmp_path, model, "--run", "none", "--no-verify", "--feedback", "none")


REFUSED = {
    ("--feedback", "oracle-tests", "--no-verify"): "leave out --no-verify",
    ("--feedback", "reproduce", "--scaffold", "repair"): "use --scaffold tools",
    ("--review-model", "scripted:review.json"): "--review-model is for --feedback review",
    ("--feedback", "review", "--review-model", "monkey"): "model monkey writes no text of its own",
    ("--feedback", "review", "--review-model", "replay:gold"): "writes no text of its own",
    ("--feedback", "review", "--review-model", "smollm2"): "needs a server of its own to review",
    ("--feedback", "review", "--review-base-url", "http://127.0.0.1:9/v1"): "name that with --review-model",
    ("--feedback", "check", "--agent", "oneshot"): "--feedback would have no effect",
}


@pytest.mark.parametrize("options", REFUSED, ids=" ".join)
def test_what_cannot_work_is_refused_in_one_line_before_anything_is_sampled(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    said = run(tmp_path, script(tmp_path, SUBMIT), *options, code=2)
    assert REFUSED[options] in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_feedback_with_a_sandbox_of_its_own_needs_room_for_two(tmp_path: Path) -> None:
    most = str(int(0.7 * this_machine().usable_mb))
    said = run(tmp_path, "monkey", "--feedback", "oracle-count", "--memory-mb", most, code=2)
    assert "needs a second sandbox beside that of an attempt, and memory has room for one" in said
    assert not (tmp_path / "runs").exists()


def test_what_a_file_for_many_runs_names_is_left_out_where_it_has_no_effect(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(
        '[agent]\nfeedback = ["review", "diff"]\nreview_model = "scripted:gone.json"\n'
    )
    run(tmp_path, script(tmp_path, SUBMIT), "--config", "study.toml", "--feedback", "diff", "--no-verify", "--run", "r")
    store = Store.read(tmp_path / "runs/r")
    assert store.config["agent"]["feedback"] == ["diff"]
    assert "review_model" not in store.config["agent"]
    store.close()


def test_the_monkey_cannot_summarise(tmp_path: Path) -> None:
    assert "cannot summarise its work; use --context elide" in run(tmp_path, "monkey", "--context", "summarise", code=2)


def test_reviews_and_summaries_are_recorded_counted_and_played_again_to_the_letter(tmp_path: Path) -> None:
    script(tmp_path, {"role": "assistant", "content": "Think again.\nREVISE"}, name="review.json")
    look = bash("head -c 4000 /dev/zero | tr '\\0' x")
    edit = bash("echo '# changed' >> ledger/book.py")
    model = script(tmp_path, look, look, edit, SUBMIT, SUBMIT)
    options = ("--feedback", "review,diff", "--review-model", "scripted:review.json", "--no-verify")
    said = run(tmp_path, model, "--run", "first", *options, "--context", "summarise", "--context-window", "3000")
    assert "error" not in said

    def taken(name: str) -> Any:
        store = Store.read(tmp_path / "runs" / name)
        (row,) = store.attempts()
        found = store.trajectory(row)
        store.close()
        return found

    first = taken("first")
    assert [one.purpose for one in exchanges(first.messages)] == ["summary", "review"]
    assert first.wasted == Usage()
    run(tmp_path, "replay:first", "--run", "again", "--no-verify", "--replay-strict")
    again = taken("again")
    assert (again.exit, again.detail, again.submission) == (first.exit, first.detail, first.submission)
    assert as_sent(again.messages) == as_sent(first.messages)
    asked = [[(one.messages, one.reply) for one in exchanges(take.messages)] for take in (first, again)]
    assert asked[0] == asked[1]
    with chdir(tmp_path):
        assert main(["verify", "first", "--each-turn", "--quiet"]) == 0
    with closing(Store.read(tmp_path / "runs/first")) as store:
        assert [row.knows_turns for row in store.attempts()] == [True]


def test_the_tokens_of_a_review_are_in_the_costs_of_its_attempt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def reply(message: dict[str, Any], prompt: int) -> Answer:
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return Answer(body={"choices": [choice], "usage": {"prompt_tokens": prompt, "completion_tokens": 10}})

    async def main_() -> None:
        models = Answer(body={"data": []})
        edit = bash("echo '# changed' >> ledger/book.py")
        judged = {"role": "assistant", "content": "ACCEPT"}
        answers = [models, reply(edit, 100), reply(SUBMIT, 200), reply(judged, 1000)]
        async with ChatServer(*answers) as server:
            options = ["--model", "tiny", "--ids", TASK, "--attempts", "1", "--run", "served", "--no-verify"]
            options += ["--base-url", server.url, "--feedback", "review"]
            done = await asyncio.to_thread(job, *options, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            review = server.requests[-1].body
            assert [message["role"] for message in review["messages"]] == ["user"]
            assert "tools" not in review

    asyncio.run(main_())
    store = Store.read(tmp_path / "runs/served")
    (row,) = store.attempts()
    trajectory = store.trajectory(row)
    assert row.usage == trajectory.usage == Usage(1300, 30)
    assert (trajectory.wasted, trajectory.aside) == (Usage(), Usage(1000, 10))
    store.close()
    text = shown(tmp_path, capsys, "show", "served", TASK, "0")
    assert "feedback: review 1.0 k in, 10 out ACCEPT" in text
