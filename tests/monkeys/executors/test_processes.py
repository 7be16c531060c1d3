"""The executor `processes`: the same attempts as in one process, and nothing lost or left when a process is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

import monkeys
from agent.models.scripted import say
from agent.trajectory import Exit
from monkeys.events import AttemptEnded, BudgetSpent, Event
from monkeys.executors import processes
from monkeys.store import Store
from tasks import Outcome
from tests.monkeys.runner.test_sample_job import (
    IDS,
    ROOT,
    command,
    descendants,
    environment,
    gone_within,
    job,
    recorded,
    until,
)

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
PROCESSES = ("--executor", "processes", "--worker-processes", "2")


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes its time, writes a file of its own and submits."""
    path = tmp_path_factory.mktemp("script") / "slow.json"
    path.write_text(json.dumps([say(("bash", {"command": "sleep 0.3; echo $RANDOM > a.txt"})), say(("submit", {}))]))
    return path


def workers_of(pid: int) -> list[int]:
    """The worker processes of a driver."""
    found = []
    for child in descendants(pid):
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"monkeys.executors.worker_process" in words:
            found.append(child)
    return sorted(found)


def attempts(folder: Path) -> dict[tuple[str, int], tuple[bytes, Outcome | None, int]]:
    store = Store.read(folder)
    rows = {(row.task, row.index): (row.digest, row.outcome, row.turns) for row in store.attempts()}
    store.close()
    return rows


def test_the_same_attempts_are_made_as_in_one_process(tmp_path: Path) -> None:
    options = ("--attempts", "4", "--ids", *IDS, "--quiet", "--no-verdict-cache")
    assert job(*options, "--run", "here", cwd=tmp_path).returncode == 0
    done = job(*options, "--run", "several", *PROCESSES, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert attempts(tmp_path / "runs/several") == attempts(tmp_path / "runs/here")
    # Where attempts are made is not part of what a run is: the other executor goes on with it.
    assert job(*options[2:], "--attempts", "5", "--run", "several", cwd=tmp_path).returncode == 0
    assert len(attempts(tmp_path / "runs/several")) == 10


def test_a_killed_worker_costs_infra_errors_that_are_filled_again(tmp_path: Path, slow: Path) -> None:
    options = ["--attempts", "40", "--ids", *IDS, "--model", f"scripted:{slow}", "--workers", "6", "--run", "run"]
    process = subprocess.Popen(
        command(*options, *PROCESSES), cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
    )
    until(lambda: recorded(tmp_path / "runs/run") >= 6)
    victim, *others = workers_of(process.pid)
    assert len(others) == 1
    family = descendants(victim) | {victim}
    os.kill(victim, signal.SIGKILL)
    assert gone_within(5, family), "a process outlived the killed worker"
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    assert "a worker process was lost; another one takes its place" in said
    store = Store.read(tmp_path / "runs/run")
    rows = list(store.attempts())
    store.close()
    lost = [row for row in rows if row.exit is Exit.WORKER_LOST]
    assert 1 <= len(lost) <= 6
    assert all(f"worker process {victim} was killed by signal 9" in row.detail for row in lost)
    assert Counter(row.task for row in rows if not row.exit.infra) == Counter(dict.fromkeys(IDS, 40))
    assert "/testbed" not in Path("/proc/self/mounts").read_text()


def test_workers_end_with_a_killed_driver_and_the_run_goes_on(tmp_path: Path, slow: Path) -> None:
    options = ["--attempts", "30", "--ids", IDS[0], "--model", f"scripted:{slow}", "--workers", "4", "--run", "run"]
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        command(*options, "--quiet", *PROCESSES), cwd=tmp_path, env=environment(TMPDIR=str(temporary))
    )
    until(lambda: recorded(tmp_path / "runs/run") >= 4)
    family = descendants(process.pid)
    process.kill()
    process.wait()
    assert gone_within(10, family), "a process outlived the driver"
    assert list(temporary.iterdir()) == [], "a directory outlived the driver"
    assert job(*options, "--quiet", *PROCESSES, cwd=tmp_path).returncode == 0
    assert sorted(index for _, index in attempts(tmp_path / "runs/run")) == list(range(30))


def test_ctrl_c_records_what_is_under_way_as_cancelled(tmp_path: Path, slow: Path) -> None:
    options = ["--attempts", "60", "--ids", IDS[0], "--model", f"scripted:{slow}", "--workers", "4", "--run", "run"]
    process = subprocess.Popen(
        command(*options, *PROCESSES),
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(lambda: recorded(tmp_path / "runs/run") >= 4)
    family = descendants(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "same command" in said
    assert gone_within(5, family)
    store = Store.read(tmp_path / "runs/run")
    infra = [row for row in store.attempts() if row.exit.infra]
    store.close()
    assert infra
    assert {row.exit for row in infra} == {Exit.CANCELLED}


def test_a_limit_of_the_run_stops_the_workers_too(tmp_path: Path) -> None:
    done = job(*("--attempts", "50", "--ids", *IDS, "--max-tokens", "200000", "--run", "run"), *PROCESSES, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "stopped at --max-tokens 200 k" in done.stderr
    store = Store.read(tmp_path / "runs/run")
    used = sum(row.usage.total for row in store.attempts())
    store.close()
    assert used < 300_000


def test_what_keeps_a_worker_from_opening_is_one_line(tmp_path: Path) -> None:
    done = job("--sandbox", "nowhere", "--ids", IDS[0], *PROCESSES, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no sandbox 'nowhere'")
    assert len(done.stderr.splitlines()) == 1


def test_an_unknown_executor_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    done = job("--executor", "proceses", cwd=tmp_path)
    assert done.returncode == 2
    assert "there is no executor 'proceses'; did you mean processes? There are here, processes" in done.stderr


def test_what_a_lost_worker_has_paid_counts_and_a_slot_that_is_given_up_is_told(tmp_path: Path) -> None:
    options = ["--attempts", "12", "--ids", *IDS, "--workers", "4", "--run", "run", "--retries", "0", "--no-verify"]
    process = subprocess.Popen(
        command(*options, *PROCESSES), cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
    )
    until(lambda: recorded(tmp_path / "runs/run") >= 6)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    said = process.communicate(timeout=60)[1]
    store = Store.read(tmp_path / "runs/run")
    lost = [row for row in store.attempts() if row.exit is Exit.WORKER_LOST]
    store.close()
    assert any(row.usage.total > 0 and row.seconds > 0 for row in lost)
    assert process.returncode == 1
    given_up = re.search(r"(\d+) attempts? given up after infra errors", said)
    assert given_up
    assert 1 <= int(given_up[1]) <= len(lost)
    assert job(*options, "--quiet", cwd=tmp_path).returncode == 0
    assert len([key for key, row in attempts(tmp_path / "runs/run").items()]) == 24


def test_a_worker_that_falls_silent_is_ended(tmp_path: Path, slow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "SILENT_SECONDS", 3.0)
    monkeypatch.setattr(processes, "LOOK_SECONDS", 0.2)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    stopped: list[int] = []

    def stop_one(event: Event) -> None:
        if isinstance(event, AttemptEnded) and not stopped:
            stopped.append(workers_of(os.getpid())[0])
            os.kill(stopped[0], signal.SIGSTOP)

    options = {"ids": [IDS[0]], "attempts": 16, "workers": 4, "model": f"scripted:{slow}", "verify": False}
    run = monkeys.run(executor="processes", worker_processes=2, runs=tmp_path, run="run", events=stop_one, **options)
    rows = run.attempts()
    assert any(row["exit"] == "worker lost" for row in rows)
    assert len([row for row in rows if row["exit"] == "submitted"]) == 16
    assert gone_within(1, set(stopped))


def test_a_failing_event_sink_ends_the_run_with_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def fail(event: Event) -> None:
        if isinstance(event, BudgetSpent) and event.tokens:
            raise ValueError("no more")

    options = {"ids": [IDS[0]], "attempts": 12, "workers": 2, "verify": False, "runs": tmp_path, "run": "run"}
    with pytest.raises(ValueError, match="no more"):
        monkeys.run(executor="processes", worker_processes=2, events=fail, **options)
    assert gone_within(5, set(workers_of(os.getpid())))


def test_a_machine_that_cannot_start_so_many_is_told_in_one_line(tmp_path: Path) -> None:
    options = ("--executor", "processes", "--worker-processes", "30", "--workers", "30", "--ids", IDS[0])
    words = ["sh", "-c", 'ulimit -n 48; exec "$@"', "sh", *command(*options)]
    done = subprocess.run(
        words, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "use fewer --worker-processes" in done.stderr.splitlines()[-1]
