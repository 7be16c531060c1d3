"""Each worked example of docs/extending.md, as an installed package: one file and one entry point, nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from monkeys.formats.design import run_design
from monkeys.store import AttemptRow, Store

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
ENTRY_POINTS = """
[coding_monkeys.suites]
anagrams = anagrams:AnagramSuite
[coding_monkeys.agents]
command = command_agent:CommandAgent
[coding_monkeys.tools]
count_lines = count_lines:CountLines
[coding_monkeys.models]
parrot = parrot:ParrotSource
[coding_monkeys.feedback]
size = patch_size:Size
[coding_monkeys.strategies]
last-two = last_two:LastTwo
[coding_monkeys.executors]
one-at-a-time = one_at_a_time:OneAtATime
[coding_monkeys.sandboxes]
bubblewrap = bubblewrap_backend:BubblewrapBackend
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples and the metadata that an installer writes."""
    site = tmp_path_factory.mktemp("site")
    info = site / "examples-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: examples\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    for file in EXAMPLES.glob("*.py"):
        shutil.copy(file, site)
    return site


def run(site: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent.swe", "--run", "run", *options],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": f"{site}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def rows(folder: Path) -> list[AttemptRow]:
    store = Store.read(folder / "runs" / "run")
    found = list(store.attempts())
    store.close()
    return found


def test_the_page_names_every_example_and_entry_point() -> None:
    page = (ROOT / "docs" / "extending.md").read_text("utf-8")
    assert set(re.findall(r"examples/(\w+\.py)", page)) == {file.name for file in EXAMPLES.glob("*.py")}
    for group in re.findall(r"\[coding_monkeys\.(\w+)\]", ENTRY_POINTS):
        assert f"| `{group}` |" in page


def test_a_suite_and_a_model_of_ones_own_go_the_whole_way(site: Path, tmp_path: Path) -> None:
    words = tmp_path / "few.words"
    words.write_text("listen\nabc\n")
    done = run(site, tmp_path, "--tasks", str(words), "--model", "parrot", "--attempts", "3")
    assert done.returncode == 0, done.stderr
    assert "0 of 2 solved" in done.stdout
    assert {(row.kind, str(row.outcome)) for row in rows(tmp_path)} == {("answer", "unresolved")}
    # The same suite with a model that knows one of the answers.
    script = tmp_path / "script.json"
    script.write_text(json.dumps([{"role": "assistant", "content": "Silent"}]))
    options = ("--tasks", str(words), "--model", f"scripted:{script}", "--attempts", "2")
    done = run(site, tmp_path, *options, "--run", "knows")
    assert done.returncode == 0, done.stderr
    assert "1 of 2 solved" in done.stdout


def test_an_agent_that_is_a_shell_command_solves_with_a_patch(site: Path, tmp_path: Path) -> None:
    options = json.dumps({"command": "cat > statement.txt; echo done"})
    done = run(
        site,
        tmp_path,
        *("--agent", "command", "--agent-options", options, "--model", "replay:empty"),
        *("--ids", "quick__ledger-1", "--attempts", "2"),
    )
    assert done.returncode == 0, done.stderr
    store = Store.read(tmp_path / "runs" / "run")
    [first, second] = store.attempts()
    assert b"+++ b/statement.txt" in store.submission(first).body
    assert store.config["agent"]["name"] == "command"
    store.close()
    assert {first.exit, second.exit} == {"submitted"}


def test_a_strategy_that_shows_earlier_patches_records_what_it_showed(site: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    write = {"name": "bash", "arguments": json.dumps({"command": "echo $RANDOM >> a.txt"})}
    call = {"id": "1", "type": "function", "function": write}
    script.write_text(json.dumps([{"role": "assistant", "content": None, "tool_calls": [call]}]))
    options = ("--strategy", "last-two", "--model", f"scripted:{script}", "--ids", "quick__ledger-1", "quick__spans-1")
    done = run(site, tmp_path, *options, "--attempts", "3", "--workers", "4")
    assert done.returncode == 0, done.stderr
    assert "attempts know of earlier ones (last-two)" in " ".join(done.stdout.split())
    done = run(site, tmp_path, *options, "--attempts", "4", "--quiet")
    assert done.returncode == 0, done.stderr
    store = Store.read(tmp_path / "runs" / "run")
    attempts = list(store.attempts("quick__ledger-1"))
    assert [row.parents for row in attempts] == [(), (0,), (0, 1), (1, 2)]
    assert run_design(store).kind == "dependent"
    shown = json.dumps(store.conversation(attempts[3]))
    for parent in attempts[1:3]:
        added = store.submission(parent).body.decode().splitlines()[-1]
        assert added in shown
        assert added in attempts[3].brief
    store.close()


def test_feedback_of_ones_own_is_said_and_holds_a_submission_back(site: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    calls = [("bash", {"command": "seq 9 > a.txt"}), ("submit", {})]
    functions = [{"name": name, "arguments": json.dumps(arguments)} for name, arguments in calls]
    message = {"role": "assistant", "content": None}
    script.write_text(
        json.dumps(
            [
                {**message, "tool_calls": [{"id": f"{at}", "type": "function", "function": function}]}
                for at, function in enumerate(functions)
            ]
        )
    )
    options = ("--model", f"scripted:{script}", "--ids", "quick__ledger-1", "--attempts", "1", "--no-verify")
    done = run(site, tmp_path, *options, "--feedback", "size:8")
    assert done.returncode == 0, done.stderr
    store = Store.read(tmp_path / "runs" / "run")
    (row,) = store.attempts()
    told = [message["content"] for message in store.conversation(row) if message.get("feedback") == "size"]
    assert told == ["[feedback: size]\nYour patch adds 9 lines and removes 0."]
    assert store.config["agent"]["feedback"] == ["size:8"]
    store.close()
    done = run(site, tmp_path, *options, "--feedback", "size:many")
    assert done.returncode == 2
    assert "error: feedback size takes a number of lines, not many" in done.stderr


def test_an_executor_of_ones_own_makes_the_attempts(site: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    call = {"id": "1", "type": "function", "function": {"name": "submit", "arguments": "{}"}}
    script.write_text(json.dumps([{"role": "assistant", "content": None, "tool_calls": [call]}]))
    options = ("--executor", "one-at-a-time", "--model", f"scripted:{script}", "--ids", "quick__ledger-1")
    done = run(site, tmp_path, *options, "--attempts", "4", "--events", "events.jsonl")
    assert done.returncode == 0, done.stderr
    assert [row.exit for row in rows(tmp_path)] == ["submitted"] * 4


def test_a_tool_of_ones_own_is_offered_beside_the_usual_ones(site: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    given = {"count_lines": {"path": "README.md"}, "find_function": {"name": "read"}, "submit": {}}
    calls = [
        {"id": name, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for name, arguments in given.items()
    ]
    script.write_text(json.dumps([{"role": "assistant", "content": None, "tool_calls": calls}]))
    options = ("--model", f"scripted:{script}", "--ids", "quick__ledger-1", "--attempts", "1")
    done = run(site, tmp_path, *options, "--tools", "default", "find_function", "count_lines")
    assert done.returncode == 0, done.stderr
    store = Store.read(tmp_path / "runs" / "run")
    usual = ["bash", "view", "search", "edit", "run_tests", "submit"]
    assert store.config["agent"]["tools"] == [*usual, "find_function", "count_lines"]
    told = json.dumps(store.conversation(next(iter(store.attempts()))))
    store.close()
    assert "[README.md has " in told
    assert "[ledger/reader.py:13-26 read]" in told
    refused = run(site, tmp_path, *options)
    assert refused.returncode == 2
    assert "has another configuration (--tools is not the same)" in refused.stderr


def test_a_model_that_cannot_call_tools_is_refused_for_an_agent_that_needs_them(site: Path, tmp_path: Path) -> None:
    done = run(site, tmp_path, "--model", "parrot", "--agent", "loop", "--ids", "quick__ledger-1")
    assert done.returncode == 2
    assert done.stderr == "error: model parrot cannot call tools; use --agent oneshot\n"
