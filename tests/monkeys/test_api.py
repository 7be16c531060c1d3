"""The interface for Python: docs/python.md as it stands, in a script and where a loop is running already."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import monkeys

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "python.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)


def test_every_block_of_the_page_runs(tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text("\n".join(BLOCKS))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "submitted True" in done.stdout
    assert "TaskError no task set 'qick'" in done.stdout
    assert (tmp_path / "runs" / "mine" / "run.sqlite").is_file()


def test_an_attempt_and_a_run_take_about_ten_lines() -> None:
    for block in BLOCKS[:2]:
        assert len([line for line in block.splitlines() if line.strip()]) <= 10


async def in_a_running_loop(folder: Path) -> None:
    result = monkeys.attempt("quick__ledger-1", model="replay:gold")
    assert result.resolved
    run = monkeys.run(ids=["quick__ledger-1"], attempts=2, model="replay:gold", runs=folder, run="loop")
    assert run.coverage().coverage.tolist() == [1.0, 1.0]


def test_the_plain_forms_work_where_a_loop_is_running(tmp_path: Path) -> None:
    asyncio.run(in_a_running_loop(tmp_path))


def test_an_attempt_is_the_one_that_a_run_makes(tmp_path: Path) -> None:
    run = monkeys.run(ids=["quick__ledger-1"], attempts=2, runs=tmp_path, run="run", verify=False)
    rows = run.attempts()
    again = monkeys.attempt("quick__ledger-1", 1, verify=False)
    assert again.verdict is None
    assert not again.resolved
    assert again.trajectory.submission.body == rows[1]["submission"]
    assert rows[0]["submission"] != rows[1]["submission"]


def test_one_attempt_needs_the_rows_up_to_its_own(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps([{"instance_id": "quick__ledger-1", "model_patch": ""}] * 2))
    assert not monkeys.attempt("quick__ledger-1", 1, model=f"replay:{path}").resolved
    with pytest.raises(monkeys.MonkeysError, match="have 2 rows for quick__ledger-1 to replay, not 3"):
        monkeys.attempt("quick__ledger-1", 2, model=f"replay:{path}")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"atempts": 3}, "there is no option atempts; did you mean attempts?"),
        ({"attempts": 0}, "attempts: must be at least 1, not 0"),
        ({"attempts": "many"}, "tasks.attempts: needs a whole number, not a string"),
        ({"ids": ["quick__nothing-1"]}, "no task quick__nothing-1 in quick"),
        ({"ids": {"quick__ledger-1"}}, "tasks.ids: needs a list, each of them a string, not a set"),
        ({"tasks": Path("none.jsonl")}, "no file none.jsonl"),
        ({"run": "../x"}, "session.run: '../x' cannot be a run's name, for it has '/'"),
        ({"agent_options": {"a": 1}}, "agent loop takes no options; leave out --agent-options (a)"),
        (
            {"agent": "oneshot", "max_turns": 3, "actions": "text", "scaffold": "tools", "context": "stop"},
            "agent oneshot makes one completion without tools: --scaffold and --actions and --max-turns and --context "
            "would have no effect; leave out these options",
        ),
        ({"strategy_options": {"dept": 1}}, "--strategy-options: strategy independent takes no options, and not dept"),
        (
            {"strategy": "variance", "strategy_options": {"dept": 1}},
            "--strategy-options: strategy variance takes first, k, and not dept",
        ),
        (
            {"strategy": "fewest", "strategy_options": {"first": "x"}},
            "strategy fewest: first = x, and it is a whole number from 1",
        ),
        ({"strategy": "fewest", "narrow": 3}, "--narrow would have no effect: strategy fewest takes first"),
        ({"model": "monky"}, "there is no model 'monky' (did you mean monkey?)"),
    ],
)
def test_a_mistake_is_one_error_of_the_tree(options: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(monkeys.MonkeysError) as error:
        monkeys.run(runs=tmp_path, **options)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_run_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(monkeys.MonkeysError, match="no run 'nothing'"):
        monkeys.open_run("nothing", tmp_path)


def test_an_interrupt_in_a_notebook_stops_the_run(tmp_path: Path) -> None:
    """Where a loop is running that leaves SIGINT to Python, as a notebook's does."""
    script = tmp_path / "cell.py"
    script.write_text(
        "import asyncio, json, os, signal, threading, monkeys\n"
        "from agent.models.scripted import say\n"
        "slow = [say(('bash', {'command': 'sleep 0.5'})), say(('submit', {}))]\n"
        "open('slow.json', 'w').write(json.dumps(slow))\n"
        "def watch(event):\n"
        "    if type(event).__name__ == 'AttemptEnded':\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "async def cell():\n"
        "    monkeys.run(ids=['quick__ledger-1'], attempts=80, workers=2, run='cell', model='scripted:slow.json',\n"
        "                verify=False, events=watch)\n"
        "try:\n"
        "    asyncio.new_event_loop().run_until_complete(cell())\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped', len(monkeys.open_run('cell').attempts()))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("stopped "), done.stderr
    assert int(done.stdout.split()[1]) < 20
