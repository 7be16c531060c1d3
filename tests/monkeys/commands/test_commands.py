"""`monkeys`: what each command prints and writes, and what a mistake gets; from real stores in a temporary folder."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from agent.actions.native import schemas
from agent.models.replay import Predictions, Replay
from agent.models.scripted import say
from agent.tools import TOOLS
from agent.trajectory import Exit, Message
from envs.base import prepare_image
from envs.docker.orphans import orphans, owner_labels
from envs.docker.prepared_images import prepared_images as found_prepared
from envs.docker.prepared_images import remove_prepared
from monkeys.commands import housekeeping, prepared_images
from monkeys.commands.main import main
from monkeys.report.summary import summarize
from monkeys.store import Store
from tests.envs.support.docker_image import full_image
from tests.envs.support.image_registry import MINE, LocalRegistry, engine, serving
from tests.helpers import attempt_scope
from tests.monkeys.report.test_report import BAD, GOOD, Tries, make_run, outcomes

PATCH = b"diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,3 @@\n-x = 1\n+x = 2\n+y = 3\n z = 4\n"
LATIN = b"diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-caf\xe9\n+th\xe9\n"


def conversation() -> tuple[Message, ...]:
    """Three turns with every kind of action, the last of which was cut short."""
    edit = {"command": "replace", "path": "a.py", "old": "x = 1\nz = 4", "new": "x = 2\nz = 4"}
    first = say(("bash", {"command": "cat a.py"}), ("search", {"pattern": r"def \w+"}), text="I look first.")
    second = say(("edit", edit), ("view", {"path": "a.py", "start": 3, "end": 9}), ("run_tests", {}))
    third = say(("bash", {"command": "sleep 999"}))
    return (
        {"role": "system", "content": "You are an engineer."},
        {"role": "user", "content": "\n".join(f"issue line {number}" for number in range(60))},
        first,
        {"role": "tool", "tool_call_id": "call_0", "content": "x = 1\nz = 4\n\x1b[2J\x1b[31m"},
        {"role": "tool", "tool_call_id": "call_1", "content": "[no match]"},
        second,
        {"role": "tool", "tool_call_id": "call_0", "content": "[a.py written]"},
        {"role": "tool", "tool_call_id": "call_1", "content": "nothing"},
        {"role": "tool", "tool_call_id": "call_2", "content": "\n".join(f"output {number}" for number in range(99))},
        {"role": "user", "content": "Call a tool, please."},
        third,
    )


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with the run `first`: one task with every kind of outcome, one never resolved."""
    tries: dict[str, Tries] = {
        "repo__task-1": [(PATCH, GOOD), Exit.SANDBOX_FAILED, (b"", BAD), (LATIN, BAD), (b"unjudged", None)],
        "repo__task-2": outcomes(4, 0),
    }
    make_run(tmp_path / "runs" / "first", tries, conversation())
    return tmp_path / "runs"


class Said:
    """What one call of the command line came to."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def monkeys(runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("COLUMNS", "120")

    def call(*words: str) -> Said:
        code = main(["--runs", str(runs), *words])
        return Said(code, *capsys.readouterr())

    return call


# The door itself


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    heavy = {"numpy", "scipy", "rich", "openai", "docker", "swebench", "git", "sqlite3"}
    script = "import sys; from monkeys.commands.main import main; main(['--help']); "
    script += f"sys.exit(bool({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    commands = ("report", "show", "export", "runs", "verify", "calibrate", "images", "clean")
    assert all(command in done.stdout for command in commands)


def test_python_m_monkeys_is_the_same_door(runs: Path) -> None:
    command = [sys.executable, "-m", "monkeys", "runs", "--runs", str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "first" in done.stdout


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ([], "--help"),
        (["dance"], "choose from"),
        (["report"], "RUN"),
        (["report", "frist"], "did you mean first?"),
        (["report", "zzzz"], "the runs there are first"),
        (["show", "first", "task-3"], "its tasks are repo__task-1, repo__task-2"),
        (["show", "first", "repo"], "give more of the id"),
        (["show", "first", "task-1", "77"], "has attempts 0 to 3"),
        (["show", "first", "task-1", "x"], "not a whole number"),
        (["show", "first", "task-1", "1", "--try", "5"], "there are 2, counted from 0"),
        (["export", "first", "--out", "x", "--format", "parquet"], "choose from"),
        (["export", "first"], "--out"),
        (["verify", "p.jsonl"], "--tasks"),
        (["verify", "nowhere.jsonl", "--tasks", "quick"], "no file nowhere.jsonl"),
        (["verify", "frist", "--tasks", "quick"], "did you mean first?"),
        (["verify", "first", "--tasks", "quick"], "has predictions for repo__task-1, repo__task-2, not in quick"),
        (["verify", "first", "--tasks", "quick", "--recheck", "2"], "a share from 0 to 1"),
        (["verify", "first", "--tasks", "quick", "--verify-seconds", "0"], "is no time: give seconds"),
        (["verify", "first", "--tasks", "quick", "--calibration", "x.json"], "`monkeys calibrate` makes such a file"),
        (["verify", "first", "--tasks", "quick", "--unstable", "maybe"], "choose from"),
        (["calibrate"], "TASKS"),
        (["calibrate", "nowhere.jsonl"], "no file nowhere.jsonl"),
        (["calibrate", "quick", "--repeats", "0"], "at least 1"),
        (["calibrate", "quick", "--ids", "x"], "no task x in quick"),
        (["images", "--tasks", "nowhere.jsonl"], "no file nowhere.jsonl"),
        (["images", "--tasks", "quick", "--ids", "x"], "no task x in quick"),
        (["images", "prefetch"], "--tasks"),
        (["images", "prefetch", "--tasks", "quick", "--image-quota", "much"], "not a number of gigabytes"),
        (["images", "prefetch", "--tasks", "quick", "--parallel", "0"], "at least 1"),
        (["images", "remove"], "--quota --all --prepared"),
        (["clean", "everything"], "unrecognized"),
    ],
)
def test_a_mistake_is_one_line_with_its_remedy_and_exit_code_2(monkeys: Any, words: list[str], remedy: str) -> None:
    said = monkeys(*words)
    assert said.code == 2
    assert said.out == ""
    assert re.fullmatch(r"error: .*\n", said.err)
    assert remedy in said.err


def test_a_folder_of_runs_that_is_not_there_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--runs", str(tmp_path / "nowhere")]) == 2
    assert "--runs" in capsys.readouterr().err


def test_a_damaged_run_is_one_line_and_exit_code_1_or_2(monkeys: Any, runs: Path) -> None:
    file = runs / "first" / "run.sqlite"
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    said = monkeys("report", "first")
    assert said.code in (1, 2)
    assert re.fullmatch(r"error: .*\n", said.err)
    file.write_bytes(b"not a database at all" * 99)
    said = monkeys("report", "first")
    assert said.code == 2
    assert re.fullmatch(r"error: .*\n", said.err)


def test_a_reader_that_goes_away_is_no_error(runs: Path) -> None:
    command = f"{sys.executable} -m monkeys --runs {runs} show first repo__task-1 0 --full | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# report, runs


def test_report_draws_the_final_screen(monkeys: Any) -> None:
    said = monkeys("report", "first")
    assert (said.code, said.err) == (0, "")
    assert "1 of 2 solved" in said.out
    assert "pass@k" in said.out


def test_report_takes_the_path_of_a_run_too(monkeys: Any, runs: Path) -> None:
    assert "1 of 2 solved" in monkeys("report", str(runs / "first")).out


def test_report_json_is_the_summary_for_machines(monkeys: Any, runs: Path) -> None:
    store = Store.read(runs / "first")
    expected = summarize(store).to_json()
    store.close()
    assert json.loads(monkeys("report", "first", "--json").out) == expected


def test_runs_lists_every_run_and_says_which_cannot_be_read(monkeys: Any, runs: Path) -> None:
    (runs / "broken").mkdir()
    (runs / "broken" / "run.sqlite").write_bytes(b"no database" * 99)
    (runs / "README.md").write_text("not a run")
    said = monkeys("runs")
    lines = {line.split()[0]: line for line in said.out.splitlines() if line.strip()}
    assert said.code == 0
    assert lines["first"].split()[3:] == ["monkey", "quick", "2", "8", "50.0", "%"]
    assert lines["broken"].endswith("unreadable")
    assert "README.md" not in lines


def test_a_folder_without_runs_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--runs", str(tmp_path)]) == 0
    assert "agent.swe" in capsys.readouterr().out


# show


def test_show_run_tells_its_settings_its_sessions_and_its_tasks(monkeys: Any) -> None:
    out = monkeys("show", "first").out
    assert re.search(r"model +monkey", out)
    assert re.search(r"prompts +system", out)
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d +0:00 +9 +done", out)
    assert re.search(r"repo__task-1 +3 +1 +33.3 % +1 +1 +3\n", out)


def test_show_task_has_a_line_for_every_try(monkeys: Any) -> None:
    out = monkeys("show", "first", "task-1").out
    rows = [line.split() for line in out.splitlines() if re.match(r" +\d", line)]
    assert [(row[0], row[1]) for row in rows] == [
        ("0", "resolved"),
        ("1", "infra"),
        ("1", "unresolved"),
        ("2", "unresolved"),
        ("3", "unverified"),
    ]
    assert rows[0][2:9] == ["submitted", "3", "3.1", "k", "0.5", "s", "+2"]
    assert "empty" in rows[2]
    assert "the sandbox died" in out
    assert "4 attempts, 1 resolved, 1 infra error besides" in out


def test_show_attempt_reads_from_the_issue_to_the_verdict(monkeys: Any) -> None:
    out = monkeys("show", "first", "task-1", "0").out
    order = [
        "You are an engineer.",
        "issue line 0",
        "… 46 more lines",
        "turn 0",
        "1.0 k in, 20 out, 0.2 s model, 0.3 s tools",
        "I look first.",
        "$ cat a.py",
        "   x = 1",
        r"search def \w+ in .",
        "turn 1",
        "edit a.py: replace",
        "   -x = 1",
        "   +x = 2",
        "    z = 4",
        "view a.py:3-9",
        "run_tests",
        "output 9",
        "… 81 more lines",
        "output 98",
        "Call a tool, please.",
        "turn 2",
        "$ sleep 999",
        "no observation: the attempt ended here",
        "\npatch\n",
        "\n+y = 3\n",
        "verdict: resolved",
        "passed   test_a",
    ]
    place = -1
    for piece in order:
        place = out.find(piece.replace("\npatch\n", "\n patch\n"), place + 1)
        assert place >= 0, f"{piece!r} is not there, or not where it should be"
    assert "\x1b" not in out
    assert "Ran 2 tests" not in out


def test_show_attempt_full_leaves_nothing_out(monkeys: Any) -> None:
    out = monkeys("show", "first", "task-1", "0", "--full").out
    assert all(f"issue line {number}\n" in out for number in range(60))
    assert all(f"output {number}\n" in out for number in range(99))
    assert "more lines" not in out


def test_show_attempt_log_ends_with_the_verifiers_log(monkeys: Any) -> None:
    assert monkeys("show", "first", "task-1", "0", "--log").out.endswith("verifier's log\nRan 2 tests\n\n")


def test_show_attempt_puts_failing_tests_first(monkeys: Any) -> None:
    out = monkeys("show", "first", "task-2", "1").out
    assert out.index("failed   test_a") < out.index("passed   test_b")
    assert "1 of 2 expected tests do not pass" in out


def test_show_attempt_shows_the_try_that_counts_unless_told_otherwise(monkeys: Any) -> None:
    counted = monkeys("show", "first", "task-1", "1").out
    assert re.search(r"outcome +unresolved", counted)
    assert re.search(r"try +1, of 2", counted)
    failed = monkeys("show", "first", "task-1", "1", "--try", "0").out
    assert re.search(r"outcome +infra error", failed)
    assert "verdict: none" in failed


# export


def predictions(folder: Path) -> dict[str, list[dict[str, str]]]:
    return {path.name: [json.loads(line) for line in path.read_text("utf-8").splitlines()] for path in folder.iterdir()}


def test_predictions_are_one_file_for_each_attempt_index_without_infra_errors(monkeys: Any, tmp_path: Path) -> None:
    said = monkeys("export", "first", "--format", "predictions", "--out", str(tmp_path / "out"))
    written = predictions(tmp_path / "out")
    assert sorted(written) == [f"attempt-00{index}.jsonl" for index in range(4)]
    assert written["attempt-000.jsonl"][0] == {
        "instance_id": "repo__task-1",
        "model_name_or_path": "monkey-attempt-000",
        "model_patch": PATCH.decode(),
    }
    assert [row["model_patch"] for row in written["attempt-001.jsonl"]] == ["", "patch 1"]
    assert all(len({row["instance_id"] for row in rows}) == len(rows) for rows in written.values())
    assert said.out.startswith("7 predictions in ")


def test_a_patch_that_is_not_utf_8_is_left_out_with_a_warning(monkeys: Any, tmp_path: Path) -> None:
    said = monkeys("export", "first", "--out", str(tmp_path / "out"))
    assert said.code == 0
    assert said.err == "warning: left out: repo__task-1 attempt 2: the patch is not UTF-8\n"
    assert [row["instance_id"] for row in predictions(tmp_path / "out")["attempt-002.jsonl"]] == ["repo__task-2"]


def test_what_is_exported_can_be_replayed(monkeys: Any, tmp_path: Path) -> None:
    monkeys("export", "first", "--out", str(tmp_path / "out"))
    model = Replay(Predictions(tmp_path / "out" / "attempt-000.jsonl").solution)
    reply = asyncio.run(model.reply([], schemas(TOOLS), scope=attempt_scope("repo__task-1")))
    [call] = reply.message["tool_calls"]
    assert PATCH.decode() in json.loads(call["function"]["arguments"])["command"]


def test_outcomes_are_counts_of_attempts_with_a_verdict(monkeys: Any, tmp_path: Path) -> None:
    said = monkeys("export", "first", "--format", "outcomes", "--out", str(tmp_path))
    with (tmp_path / "outcomes.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["task", "n", "resolved"],
            ["repo__task-1", "3", "1"],
            ["repo__task-2", "4", "0"],
        ]
    assert "repo__task-1: 1 attempt without a verdict" in said.err


def test_a_folder_that_cannot_be_written_is_one_line_and_exit_code_1(monkeys: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = monkeys("export", "first", "--out", str(tmp_path / "file" / "out"))
    assert said.code == 1
    assert re.fullmatch(r"error: .*\n", said.err)


# images, clean: in processes of their own, on a real engine with a real registry


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    with engine() as client:
        yield client


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRegistry]:
    with serving(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


def task_file(path: Path, *images: str) -> str:
    """A task set of one instance for each image."""
    rows = [
        {
            "instance_id": f"owner__name-{number}",
            "repo": "owner/name",
            "base_commit": "abc",
            "problem_statement": "It breaks.",
            "patch": "",
            "test_patch": "",
            "FAIL_TO_PASS": ["test_a"],
            "PASS_TO_PASS": [],
            "image": image,
            "eval_script": ": '>>>>> Start Test Output'\npytest\n: '>>>>> End Test Output'\n",
            "log_parser": "parse_log_pytest",
            "eval_type": "pass_and_fail",
        }
        for number, image in enumerate(images)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    return str(path)


class Machine:
    """Calls `python -m monkeys` with a cache of its own."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def __call__(self, *words: str, **environment: str) -> Said:
        done = subprocess.run(
            [sys.executable, "-m", "monkeys", *words],
            env={**os.environ, "XDG_CACHE_HOME": str(self.cache), "COLUMNS": "160", **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "cache")


def test_images_are_fetched_before_a_run_listed_and_removed(
    registry: LocalRegistry, client: docker.DockerClient, machine: Machine, tmp_path: Path
) -> None:
    images = [registry.push(f"cli-{number}") for number in range(2)]
    tasks = task_file(tmp_path / "two.jsonl", *images)
    said = machine("images", "--tasks", tasks)
    assert (said.code, said.err) == (0, "")
    assert said.out.count("missing\n") == 2
    assert "0 of 2 images are here" in said.out
    assert re.search(r"the missing images take about 5 MB at most; .* are free at /", said.out)

    said = machine("images", "prefetch", "--tasks", tasks, "--parallel", "2")
    assert (said.code, said.err) == (0, "")
    assert all(f"pulling {image}: 1.0 of 1.0 MB" in said.out for image in images)
    assert said.out.endswith("2 of 2 images are here\n")
    again = machine("images", "prefetch", "--tasks", tasks, "--parallel", "1")  # in their order
    assert (again.code, again.out) == (0, "2 of 2 images are here\n2 of 2 images are here\n")

    listed = machine("images").out
    assert all(re.search(rf"{image} +1 MB +20\d\d-\d\d-\d\d \d\d:\d\d +20\d\d-", listed) for image in images)
    assert "2 images, 2 MB: a layer that several images share is counted once" in listed
    assert "would be removed" in machine("images", "remove", "--quota", "0.0015", "--dry-run").out
    assert "1 image, 1 MB at most, with what was prepared: " in machine("images", "remove", "--quota", "0.0015").out
    container = client.api.create_container(images[1], labels={MINE: ""})["Id"]
    said = machine("images", "remove", "--all")
    assert said.code == 0
    assert f"in use by containers or by other images:\n  {images[1]}" in said.out
    client.api.remove_container(container)
    assert re.search(rf"{images[1]} .* removed\n", machine("images", "remove", "--all").out)
    assert "there is no image that this program pulled" in machine("images").out


def test_prepared_images_are_listed_and_removed_and_clean_tells_of_them(
    client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    origin = full_image(client)
    container = client.api.create_container(origin.image, ["true"], labels={MINE: ""})["Id"]
    name = f"coding-monkeys-test-prepared-{os.getpid()}"
    client.api.commit(container, name, changes=["LABEL made=now"])
    client.api.remove_container(container)
    # Only what this test made is looked at: what other runs prepared is theirs.
    monkeypatch.setattr(
        prepared_images,
        "prepared_images",
        lambda *at: [one for one in found_prepared(*at) if one.image == f"{name}:latest"],
    )
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(housekeeping, "orphans", lambda *at: [])

    def said(*words: str) -> str:
        assert main(list(words)) == 0
        return capsys.readouterr().out

    try:
        assert "prepared" not in said("images")
        prepared = prepare_image(client, name, origin, {})
        assert prepared.commit
        listed = said("images")
        assert re.search(rf"{name}:latest +(<1|\d+) MB\n", listed)
        assert re.search(r"1 prepared image, .* MB beside their images; `monkeys images remove --prepared` ", listed)
        assert re.search(r"1 prepared image, (<1|\d+) MB beside their images, are kept for the next run", said("clean"))
        assert re.search(rf"{name}:latest .* would be removed\n", said("images", "remove", "--prepared", "--dry-run"))
        user = client.api.create_container(
            prepared.image,
            ["true"],
            labels={MINE: ""},
            host_config=client.api.create_host_config(binds=[f"{prepared.volume}:/base:ro"]),
        )["Id"]
        assert "1 prepared image stays, in use" in said("images", "remove", "--prepared")
        client.api.remove_container(user)
        assert re.search(rf"{name}:latest .* removed\n", said("images", "remove", "--prepared"))
        assert "there is no prepared image to remove" in said("images", "remove", "--prepared")
    finally:
        for one in found_prepared(client, 0):
            if one.image == f"{name}:latest":
                remove_prepared(client, one)
        client.api.remove_image(name, force=True)


def test_images_that_cannot_be_had_are_exit_code_1_with_their_causes_and_the_others_come(
    registry: LocalRegistry, client: docker.DockerClient, machine: Machine, tmp_path: Path
) -> None:
    good, bad = registry.push("cli-good"), f"{registry.host}/{MINE}:cli-bad"
    said = machine("images", "prefetch", "--tasks", task_file(tmp_path / "two.jsonl", bad, good))
    assert said.code == 1
    assert re.fullmatch(rf"error: image {bad} .*not found.*\n", said.err)
    assert said.out.endswith("1 of 2 images are here\n")
    assert client.images.get(good)


def test_images_come_through_a_mirror_and_for_a_platform(
    registry: LocalRegistry, client: docker.DockerClient, machine: Machine, tmp_path: Path
) -> None:
    plain = f"{MINE}/cli-mirrored:v1"
    registry.push("v1", path=f"hub/{MINE}/cli-mirrored", machine="both")
    tasks = task_file(tmp_path / "one.jsonl", plain)
    mirror = ("--image-mirror", f"{registry.host}/hub", "--platform", "linux/arm64")
    assert machine("images", "prefetch", "--tasks", tasks, *mirror).code == 0
    assert client.images.get(plain).attrs["Architecture"] == "arm64"
    said = machine("images", "prefetch", "--tasks", tasks, "--platform", "linux/amd64")
    assert said.code == 1
    assert re.fullmatch(r"error: .* is here for linux/arm64, .*\n", said.err)


def test_more_than_the_quota_lets_stay_is_refused_before_anything_is_pulled(
    registry: LocalRegistry, client: docker.DockerClient, machine: Machine, tmp_path: Path
) -> None:
    images = [registry.push(f"cli-much-{number}") for number in range(2)]
    tasks = task_file(tmp_path / "two.jsonl", *images)
    said = machine("images", "prefetch", "--tasks", tasks, "--image-quota", "0.004")
    assert said.code == 1
    assert re.fullmatch(r"error: the missing images take about 5 MB, more than --image-quota 0.004 .*\n", said.err)
    assert "0 of 2" in machine("images", "--tasks", tasks).out


def test_tasks_without_images_need_no_engine(machine: Machine) -> None:
    nowhere = "unix:///nowhere.sock"
    for words in (("images", "--tasks", "quick"), ("images", "prefetch", "--tasks", "quick")):
        said = machine(*words, DOCKER_HOST=nowhere)
        assert (said.code, said.out, said.err) == (0, "these tasks need no image\n", "")
    said = machine("images", DOCKER_HOST=nowhere)
    assert said.code == 1
    assert re.fullmatch(rf"error: no Docker engine answers at {nowhere} .*\n", said.err)


def test_clean_removes_half_built_folders_of_dead_processes_with_or_without_an_engine(machine: Machine) -> None:
    old, young = (machine.cache / "coding-monkeys" / "repositories" / f".building-{age}" for age in ("old", "young"))
    for folder in (old, young):
        (folder / "repository").mkdir(parents=True)
    os.utime(old, (1e9, 1e9))
    said = machine("clean", "--dry-run", DOCKER_HOST="unix:///nowhere.sock")
    assert (said.code, said.out) == (0, f"would be removed: half-built {old}\n")
    assert re.fullmatch(r"warning: containers were not checked: no Docker engine answers .*\n", said.err)
    assert old.is_dir()
    assert machine("clean", DOCKER_HOST="unix:///nowhere.sock").out == f"removed: half-built {old}\n"
    assert not old.exists()
    assert young.is_dir()


MARK = """
import json, sys
from envs.docker.orphans import owner_labels
print(json.dumps(owner_labels('gone', sys.argv[1], 60)))
"""


def test_clean_removes_what_dead_runs_left_and_tells_what_it_leaves_alone(
    registry: LocalRegistry,
    client: docker.DockerClient,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Only what this test made is looked at: other people's leftovers are theirs to clean.
    monkeypatch.setattr(housekeeping, "orphans", lambda *at: [one for one in orphans(*at) if one.run == "gone"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(machine.cache))
    monkeypatch.setenv("COLUMNS", "200")
    image = registry.push("cli-clean")
    client.api.pull(image)
    dead = json.loads(subprocess.run([sys.executable, "-c", MARK, MINE], capture_output=True, check=True).stdout)
    left = client.api.create_container(image, labels={MINE: "", **dead})["Id"]
    kept = client.api.create_container(image, labels={MINE: "", **owner_labels("going", f"{MINE}-task", 60)})["Id"]

    assert main(["clean", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"container .* gone .* dead +would be removed\n", out)
    assert re.search(rf"of a run that is alive(.|\n)*container +{MINE}-task +going", out)
    assert main(["clean"]) == 0
    assert re.search(r"container .* gone .* dead +removed\n", capsys.readouterr().out)
    there = {container["Id"] for container in client.api.containers(all=True, filters={"label": MINE})}
    assert (left in there, kept in there) == (False, True)
    assert main(["clean"]) == 0
    assert "no run that is dead left anything" in capsys.readouterr().out
