"""The main job as a person runs it: real processes, killed, interrupted, resumed, misused."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, closing, nullcontext
from pathlib import Path
from typing import Any

import pytest

from agent.agent import AttemptScope
from agent.models import Model
from agent.models.model import ModelUnavailable, Reply
from agent.models.scripted import Scripted, say
from agent.trajectory import Exit, Message
from envs import SandboxLost
from envs.memory_budget import this_machine
from monkeys.events import Progress
from monkeys.runner.circuit_breaker import INCIDENT_SECONDS, INCIDENTS_IN_A_ROW, CircuitBreaker, RunStopped
from monkeys.store import Store, StoreError
from tasks import Outcome, Submission, Task, TaskSet, Verdict
from tests.helpers import quick_task
from tests.sampling import Sampling, open_sampling

ROOT = Path(__file__).parents[3]
IDS = ("quick__ledger-1", "quick__spans-1")


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "agent.swe", *options]


def environment(**more: str) -> dict[str, str]:
    unset = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "DOCKER_HOST")
    return {key: value for key, value in os.environ.items() if key not in unset} | {"PYTHONPATH": str(ROOT)} | more


def job(*options: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*options), cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def slow_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes its time, writes a file of its own and submits."""
    path = tmp_path_factory.mktemp("script") / "slow.json"
    path.write_text(json.dumps([say(("bash", {"command": "sleep 0.1; echo $RANDOM > a.txt"})), say(("submit", {}))]))
    return path


def recorded(folder: Path) -> int:
    """How many attempts a run holds so far."""
    try:
        store = Store.read(folder)
    except StoreError:
        return 0
    try:
        return sum(len(indices) for indices in store.sampled().values())
    finally:
        store.close()


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def until_recorded(folder: Path, count: int) -> None:
    until(lambda: recorded(folder) >= count)


def descendants(pid: int) -> set[int]:
    """Every process below one, as they are now."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in found} | found
        grown, found = more != found, more
    return found - {pid}


def gone_within(seconds: float, pids: set[int]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.02)
    return False


def outcomes(folder: Path) -> Counter[tuple[str, Outcome | None]]:
    store = Store.read(folder)
    rows = Counter((row.task, row.outcome) for row in store.attempts())
    store.close()
    return rows


def test_gold_resolves_every_embedded_task_and_the_empty_patch_none(tmp_path: Path) -> None:
    done = job("--model", "replay:gold", "--attempts", "2", "--run", "gold", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(outcomes(tmp_path / "runs/gold").values()) == {2}
    assert {outcome for _, outcome in outcomes(tmp_path / "runs/gold")} == {Outcome.RESOLVED}
    done = job("--model", "replay:empty", "--attempts", "2", "--run", "empty", "--quiet", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == done.stderr == ""
    assert {outcome for _, outcome in outcomes(tmp_path / "runs/empty")} == {Outcome.UNRESOLVED}


def test_noop_runs_the_tests_of_each_task_on_its_base(tmp_path: Path) -> None:
    done = job("--model", "replay:noop", "--ids", *IDS, "--attempts", "2", "--run", "noop", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(tmp_path / "runs/noop/run.sqlite")) as store:
        rows = store.execute("SELECT outcome, reason FROM verdicts").fetchall()
    assert len(rows) == len(IDS)  # once for each task, however many attempts
    for outcome, reason in rows:
        assert outcome == "unresolved"
        assert "expected tests do not pass on the base" in reason


def test_verification_keeps_pace_where_memory_has_room_for_few(slow_script: Path, tmp_path: Path) -> None:
    room = this_machine().usable_mb // 2
    options = ("--model", f"scripted:{slow_script}", "--ids", IDS[0], "--attempts", "16", "--workers", "16")
    done = job(*options, "--memory-mb", str(room), "--run", "one", cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert f"memory for 2 sandboxes of {room} MB, so not 16 at once; --memory-mb" in done.stderr
    with closing(sqlite3.connect(tmp_path / "runs" / "one" / "run.sqlite")) as store:
        [[verified]] = store.execute("SELECT min(finished) FROM verdicts")
        [[later]] = store.execute("SELECT count(*) FROM attempts WHERE finished > ?", [verified])
    assert later >= 8


def test_the_screen_of_a_job_says_what_was_chosen_and_ends_with_the_curve(tmp_path: Path) -> None:
    done = job("--attempts", "6", "--ids", *IDS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 issues (quick) x 6 attempts, model monkey" in done.stderr
    assert "--sandbox local or docker to choose" in done.stderr
    assert "pass@k" in done.stdout
    assert "runs/quick-monkey-" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr, "no control codes where there is no terminal"


def test_the_same_seed_gives_the_same_patches_and_another_one_others(tmp_path: Path) -> None:
    def patches(run: str, seed: str) -> list[bytes]:
        options = ("--attempts", "6", "--ids", IDS[0], "--no-verify", "--quiet", "--run", run, "--seed", seed)
        assert job(*options, cwd=tmp_path).returncode == 0
        store = Store.read(tmp_path / "runs" / run)
        found = [row.digest for row in store.attempts()]
        store.close()
        return found

    assert patches("a", "1") == patches("b", "1")
    assert patches("a2", "2") != patches("b", "1")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
def test_a_job_killed_at_any_moment_goes_on_and_no_attempt_counts_twice(tmp_path: Path, slow_script: Path) -> None:
    attempts = 60
    options = ["--attempts", str(attempts), "--ids", *IDS, "--model", f"scripted:{slow_script}", "--workers", "6"]
    options += ["--quiet", "--run", "run"]
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    kept, folder = 0, tmp_path / "runs/run"
    for moment, more in ((0.15, 0), (0.5, 0), (0.0, 1), (0.2, 10), (0.0, 40)):
        process = subprocess.Popen(command(*options), cwd=tmp_path, env=environment(TMPDIR=str(temporary)))
        time.sleep(moment)
        if more:
            until_recorded(folder, kept + more)
        family = descendants(process.pid)
        process.kill()
        process.wait()
        assert gone_within(5, family), "a process outlived the job"
        assert list(temporary.iterdir()) == [], "a directory outlived the job"
        assert "/testbed" not in Path("/proc/self/mounts").read_text(), "a mount outlived the job"
        try:
            now = sum(outcomes(folder).values())
        except StoreError:
            now = 0  # killed before there was a run
        assert now >= kept, "something recorded was lost"
        kept = now
    assert 0 < kept < 2 * attempts
    assert job(*options, cwd=tmp_path).returncode == 0
    store = Store.read(tmp_path / "runs/run")
    rows = list(store.attempts())
    sessions = store.sessions()
    store.close()
    assert sorted((row.task, row.index) for row in rows) == sorted((task, i) for task in IDS for i in range(attempts))
    assert all(row.tries == 0 for row in rows), "an attempt was sampled again after it was recorded"
    assert all(row.outcome is Outcome.UNRESOLVED for row in rows)
    assert sum(session["attempts"] for session in sessions) == 2 * attempts
    assert sum(session["attempts"] > 0 for session in sessions) >= 3, "the kills fell into the sampling"


@pytest.mark.parametrize(
    ("how", "shell"), [(signal.SIGINT, ""), (signal.SIGTERM, ""), (signal.SIGTERM, "trap '' INT;")]
)
def test_an_interrupted_job_keeps_everything_says_so_and_goes_on(
    tmp_path: Path, slow_script: Path, how: signal.Signals, shell: str
) -> None:
    """Also one that ignores Ctrl-C, as what a script starts in its background does."""
    options = ["--attempts", "80", "--ids", IDS[0], "--model", f"scripted:{slow_script}", "--workers", "4"]
    options += ["--run", "run", "--no-verify"]
    words = ["sh", "-c", f'{shell} exec "$@"', "sh", *command(*options)]
    process = subprocess.Popen(words, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    until(lambda: recorded(tmp_path / "runs/run") > 0)
    process.send_signal(how)
    said = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "same command" in said
    store = Store.read(tmp_path / "runs/run")
    kept = store.sampled()[IDS[0]]
    cancelled = [row for row in store.attempts() if row.outcome is Outcome.INFRA_ERROR]
    store.close()
    assert 0 < len(kept) < 80
    assert all(row.exit == "cancelled" for row in cancelled)
    assert job(*options, "--quiet", cwd=tmp_path).returncode == 0
    store = Store.read(tmp_path / "runs/run")
    assert store.sampled()[IDS[0]] == set(range(80))
    store.close()


def test_a_larger_number_of_attempts_tops_a_run_up_and_verifying_can_come_later(tmp_path: Path) -> None:
    options = ("--ids", *IDS, "--model", "replay:gold", "--quiet", "--run", "run")
    assert job(*options, "--attempts", "2", "--no-verify", cwd=tmp_path).returncode == 0
    assert outcomes(tmp_path / "runs/run") == Counter({(task, None): 2 for task in IDS})
    assert job(*options, "--attempts", "5", cwd=tmp_path).returncode == 0
    assert outcomes(tmp_path / "runs/run") == Counter({(task, Outcome.RESOLVED): 5 for task in IDS})
    before = (tmp_path / "runs/run/run.sqlite").stat().st_size
    assert job(*options, "--attempts", "3", cwd=tmp_path).returncode == 0, "fewer than there are is no mistake"
    assert sum(outcomes(tmp_path / "runs/run").values()) == 10
    assert (tmp_path / "runs/run/run.sqlite").stat().st_size == before


@pytest.mark.parametrize("model", ["scripted:played.json", "replay:played.json"])
def test_a_run_goes_on_with_the_file_that_it_began_with(tmp_path: Path, model: str) -> None:
    def write(text: str) -> None:
        rows = [{"role": "assistant", "content": text, "instance_id": "times", "answer": text}] * 3
        (tmp_path / "played.json").write_text(json.dumps(rows))

    (tmp_path / "sums.jsonl").write_text('{"question": "What is 6 times 7?", "answer": 42, "id": "times"}\n')
    options = ("--tasks", "sums.jsonl", "--model", model, "--quiet", "--executor", "here")
    write("42")
    assert job(*options, "--attempts", "1", "--run", "run", cwd=tmp_path).returncode == 0
    assert job(*options, "--attempts", "2", "--run", "run", cwd=tmp_path).returncode == 0
    write("41")
    done = job(*options, "--attempts", "3", "--run", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert "another configuration (the content of the file that --model names was " in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert outcomes(tmp_path / "runs/run") == Counter({("times", Outcome.RESOLVED): 2})
    for text, runs in (("41", 2), ("42", 3), ("41", 3)):  # without a name, each content has a run of its own
        write(text)
        assert job(*options, "--attempts", "1", cwd=tmp_path).returncode == 0
        assert len(list((tmp_path / "runs").iterdir())) == runs


def test_more_attempts_than_a_predictions_file_has_are_refused_before_anything_is_sampled(tmp_path: Path) -> None:
    rows = [{"instance_id": IDS[0], "model_patch": ""}] * 2
    (tmp_path / "p.json").write_text(json.dumps(rows))
    for options, why in (
        (
            ("--ids", IDS[0]),
            f"have 2 rows for {IDS[0]} to replay, not 250; give --attempts 2, leave that task out with",
        ),
        (("--ids", *IDS, "--attempts", "1"), f"have no row for {IDS[1]} to replay; choose other tasks with --ids"),
    ):
        done = job("--model", "replay:p.json", *options, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert why in done.stderr
    assert not (tmp_path / "runs").exists()


def test_what_is_given_up_of_the_protection_is_said_first_and_recorded(tmp_path: Path) -> None:
    options = ("--attempts", "1", "--ids", IDS[0], "--model", "replay:empty", "--no-verify")
    usual = job(*options, "--run", "usual", cwd=tmp_path)
    assert "NETWORK" not in usual.stderr
    assert "OVERCOMMIT" not in usual.stderr
    loose = job(*options, "--run", "loose", "--network", "host", "--overcommit", cwd=tmp_path)
    assert "NETWORK: commands in the sandboxes reach 'host'" in loose.stderr
    assert "OVERCOMMIT: memory limits may add up to more than the machine has" in loose.stderr
    configs, sessions = [], []
    for run in ("usual", "loose"):
        store = Store.read(tmp_path / "runs" / run)
        configs.append(store.config["sandbox"]["limits"])
        sessions.append(store.sessions()[0]["environment"])
        store.close()
    assert [config["network"] for config in configs] == ["none", "host"]
    assert sessions[0]["memory_budget_mb"] > 0
    assert sessions[1]["memory_budget_mb"] is None


def test_the_limits_of_a_sandbox_are_as_told_and_its_lifetime_covers_its_longest_use(tmp_path: Path) -> None:
    def limits(run: str, *options: str) -> dict[str, Any]:
        what = ("--attempts", "1", "--ids", IDS[0], "--model", "replay:empty", "--no-verify", "--quiet", "--run", run)
        assert job(*what, *options, cwd=tmp_path).returncode == 0
        store = Store.read(tmp_path / "runs" / run)
        found: dict[str, Any] = store.config["sandbox"]["limits"]
        store.close()
        return found

    usual = limits("usual")
    assert (usual["memory_mb"], usual["processes"], usual["disk_mb"], usual["cpus"]) == (512, 256, 1024, 2.0)
    assert 3600 < usual["lifetime_seconds"] < 2 * 3600
    told = limits("told", "--memory-mb", "700", "--processes", "99", "--disk-mb", "50", "--cpus", "1.5")
    assert (told["memory_mb"], told["processes"], told["disk_mb"], told["cpus"]) == (700, 99, 50, 1.5)
    assert limits("long", "--max-attempt-time", "25h")["lifetime_seconds"] > 90000
    assert limits("slow", "--verify-seconds", "90000")["lifetime_seconds"] > 90000


def test_warm_sandboxes_do_for_attempts_what_others_do(tmp_path: Path) -> None:
    options = ("--model", "replay:gold", "--attempts", "3", "--ids", *IDS, "--quiet", "--run", "run")
    assert job(*options, "--warm", "2", "--starts", "1", cwd=tmp_path).returncode == 0
    assert outcomes(tmp_path / "runs/run") == Counter({(task, Outcome.RESOLVED): 3 for task in IDS})


# what fails on our side


def sampling(
    folder: Path, model: Model, *, attempts: int, workers: int, retries: int = 3
) -> AbstractAsyncContextManager[Sampling]:
    """A run of one embedded task in local sandboxes, sampled only."""
    tasks = TaskSet("one", (quick_task("tally"),))
    return open_sampling(folder, tasks, model, attempts=attempts, workers=workers, retries=retries)


class Failing:
    """Fails where told to, with an identifier of its own each time; else submits."""

    name = "failing"

    def __init__(self, fails: Callable[[AttemptScope, int], bool]) -> None:
        self._fails, self._ids = fails, itertools.count()

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
    ) -> Reply:
        turn = sum(message["role"] == "assistant" for message in messages)
        if self._fails(scope, turn):
            raise ModelUnavailable(f"server error (request id req-{next(self._ids)})")
        return Reply(say(("bash", {"command": "true"})) if turn == 0 else say(("submit", {})))

    async def check(self) -> None: ...

    async def close(self) -> None: ...


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
def test_a_run_survives_the_loss_of_all_its_sandboxes_at_once_and_more_than_once(tmp_path: Path) -> None:
    async def story() -> Progress:
        model = Scripted([say(("bash", {"command": "sleep 0.3; echo $RANDOM > a.txt"}))])
        before = descendants(os.getpid())
        async with sampling(tmp_path / "run", model, attempts=24, workers=8) as it:
            run = asyncio.create_task(it.sampler.run())
            for kills in range(1, 4):
                deadline = time.monotonic() + 20
                while time.monotonic() < deadline and not run.done():
                    sleeping = [pid for pid in descendants(os.getpid()) - before if is_running(pid, "sleep")]
                    if len(sleeping) >= 8 - 2 * kills:
                        break
                    await asyncio.sleep(0.005)
                assert not run.done()
                for pid in descendants(os.getpid()) - before:
                    if parent(pid) == os.getpid():
                        os.kill(pid, signal.SIGKILL)
            await run
            return it.progress

    (counts,) = asyncio.run(story()).tasks.values()
    assert counts.sampled == 24
    assert counts.infra >= 12


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def is_running(pid: int, program: str) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == program
    except OSError:
        return False


def test_when_nothing_works_any_more_the_run_stops_whatever_identifiers_the_failures_hold(tmp_path: Path) -> None:
    async def story() -> Progress:
        async with sampling(tmp_path / "run", Failing(lambda *_: True), attempts=100, workers=4) as it:
            with pytest.raises(RunStopped, match=r"model failed \d+ times .* server error \(request id req-\d+\)"):
                await it.sampler.run()
            return it.progress

    (counts,) = asyncio.run(story()).tasks.values()
    assert counts.sampled == 0
    assert 4 * (INCIDENTS_IN_A_ROW - 1) < counts.infra <= 4 * INCIDENTS_IN_A_ROW


def test_an_outage_does_not_use_up_the_tries_of_the_slots_that_are_left(tmp_path: Path) -> None:
    failures = itertools.count()

    async def story() -> Progress:
        away = Failing(lambda call, turn: turn == 0 and next(failures) < 10)
        async with sampling(tmp_path / "run", away, attempts=2, workers=2, retries=1) as it:
            await it.sampler.run()
            return it.progress

    (counts,) = asyncio.run(story()).tasks.values()
    assert (counts.sampled, counts.infra) == (2, 10)


def test_an_attempt_that_fails_each_time_is_given_up_and_the_others_are_not(tmp_path: Path) -> None:
    async def story() -> Progress:
        model = Failing(lambda scope, turn: scope.spec.index == 3 and turn == 1)
        async with sampling(tmp_path / "run", model, attempts=10, workers=3, retries=2) as it:
            await it.sampler.run()
            return it.progress

    (counts,) = asyncio.run(story()).tasks.values()
    assert (counts.sampled, counts.infra) == (9, 3)


class Reckless(Failing):
    """Loses the sandbox at its second turn, where told to."""

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
    ) -> Reply:
        try:
            return await super().reply(messages, tools, scope=scope)
        except ModelUnavailable:
            raise SandboxLost("the sandbox is gone") from None


class Steady:
    """A verifier to which every submission is unresolved, and whose tests run if `works`."""

    def __init__(self, works: bool) -> None:
        self._works = works

    async def verify(self, task: Task, submission: Submission) -> Verdict:
        return Verdict(Outcome.UNRESOLVED, "", {}, 0.0)

    async def probe(self, task: Task) -> str:
        return "" if self._works else "no sandbox opens"

    async def close(self) -> None: ...


@pytest.mark.parametrize("works", [True, False])
def test_attempts_that_end_their_own_sandboxes_count_and_stop_the_run_only_if_nothing_else_works(
    works: bool, tmp_path: Path
) -> None:
    async def story() -> tuple[Progress, dict[Exit, int], bool]:
        tasks, model = TaskSet("one", (quick_task("tally"),)), Reckless(lambda scope, turn: turn == 1)
        run = open_sampling(
            tmp_path / "run", tasks, model, attempts=6, workers=2, retries=2, verifier=Steady(works=works)
        )
        async with run as it:
            with nullcontext() if works else pytest.raises(RunStopped, match="the sandbox is gone"):
                await it.sampler.run()
            return it.progress, it.store.exits(), it.sampler.missing == 0

    progress, exits, whole = asyncio.run(story())
    (counts,) = progress.tasks.values()
    assert whole is works
    if works:
        assert (counts.sampled, counts.unresolved) == (6, 6)
        assert exits == {Exit.SANDBOX_FAILED: 12, Exit.SANDBOX_ENDED: 6}
    else:
        assert counts.sampled == 0
        assert set(exits) <= {Exit.SANDBOX_FAILED, Exit.CANCELLED}  # what was under way is called off


def test_what_is_lost_in_one_moment_is_one_incident() -> None:
    now = 0.0
    incidents = CircuitBreaker(clock=lambda: now)
    assert [incidents.failed("sandbox failed", "c", 8) for _ in range(8)] == [(1, i) for i in range(1, 9)]
    assert incidents.failed("sandbox failed", "c", 8) == (2, 9), "no more than were under way"
    now = INCIDENT_SECONDS
    assert incidents.failed("sandbox failed", "c", 8) == (3, 10), "later"
    assert incidents.failed("model failed", "c", 8) == (4, 1), "of another kind"
    assert incidents.failed("sandbox failed", "c", 8) == (3, 11)
    incidents.worked()
    assert incidents.failed("sandbox failed", "c", 8) == (5, 1)


def test_failures_that_come_slowly_one_by_one_stop_a_run_too() -> None:
    now = 0.0
    incidents = CircuitBreaker(clock=lambda: now)
    for _ in range(INCIDENTS_IN_A_ROW - 1):
        incidents.failed("sandbox failed", "away", 100)
        now += 600
    with pytest.raises(RunStopped, match="away"):
        incidents.failed("sandbox failed", "away", 100)


ROW = {
    "instance_id": "a__b-1",
    "repo": "a/b",
    "base_commit": "c",
    "problem_statement": "p",
    "patch": "",
    "test_patch": "",
    "FAIL_TO_PASS": '["test_it"]',
    "PASS_TO_PASS": "[]",
}
EMBEDDED = json.dumps({**ROW, "test_command": "true"})
IMAGED = json.dumps(
    {
        **ROW,
        "image": "an-image-that-is-not-there",
        "log_parser": "parse_log_pytest",
        "eval_type": "pass_and_fail",
        "eval_script": ": '>>>>> Start Test Output'\npytest\n: '>>>>> End Test Output'\n",
    }
)
FILES = {
    "broken.jsonl": f"{EMBEDDED}\n{{nonsense\n",
    "twice.jsonl": f"{EMBEDDED}\n{EMBEDDED}\n",
    "missing.jsonl": json.dumps({key: ROW[key] for key in ("instance_id", "repo", "base_commit")}),
    "old.jsonl": json.dumps(ROW),
    "empty.json": "[]",
    "empty.jsonl": "",
    "imaged.jsonl": IMAGED,
    "a_file": "",
}
MISTAKES = {
    "unknown model": (["--model", "gpt-99"], "there is no model 'gpt-99'"),
    "unnamed model": (
        ["--base-url", "http://127.0.0.1:9/v1/"],
        "no --model says which model to ask there; give --model",
    ),
    "unreachable server": (["--model", "m", "--base-url", "http://127.0.0.1:9/v1"], "cannot be reached"),
    "missing file": (["--tasks", "nothing.jsonl"], "no file nothing.jsonl"),
    "unknown set": (["--tasks", "nonsense"], "no task set 'nonsense'"),
    "unknown id": (["--ids", "nonsense"], "no task nonsense"),
    "broken line": (["--tasks", "broken.jsonl"], "broken.jsonl:2: not JSON"),
    "missing field": (["--tasks", "missing.jsonl"], "missing.jsonl:1: field 'problem_statement' is missing"),
    "old schema": (["--tasks", "old.jsonl"], "rows before swebench 5"),
    "no instances": (["--tasks", "empty.jsonl"], "empty.jsonl holds no task"),
    "duplicate ids": (["--tasks", "twice.jsonl"], "twice.jsonl:2: the id a__b-1 is there twice"),
    "no attempts": (["--attempts", "0"], "must be at least 1, not 0"),
    "half an attempt": (["--attempts", "2.5"], "not a whole number"),
    "runs is a file": (["--runs", "a_file"], "cannot be written"),
    "bad run name": (["--run", "a b"], "cannot be a run's name, for it has ' '"),
    "unreadable script": (["--model", "scripted:nothing.json"], "cannot be read"),
    "unreadable predictions": (["--model", "replay:nothing.jsonl"], "cannot be read"),
    "empty script": (["--model", "scripted:empty.json"], "script empty.json holds no message"),
    "no amount of memory": (["--memory-mb", "99999999"], "give less with --memory-mb"),
    "no processor": (["--cpus", "0"], "must be a positive number"),
    "docker for quick": (["--sandbox", "docker"], "use --sandbox local"),
    "no local copy": (["--tasks", "imaged.jsonl", "--sandbox", "local"], "use --sandbox docker"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_line_with_the_remedy_and_changes_nothing(tmp_path: Path, name: str) -> None:
    for path, text in FILES.items():
        (tmp_path / path).write_text(text)
    options, said = MISTAKES[name]
    done = job("--quiet", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(("error: ", "python -m agent.swe: error: "))
    assert done.stdout == ""
    assert {path.name for path in tmp_path.iterdir()} - {"runs"} == set(FILES)


def test_no_docker_engine_gets_one_line_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text(IMAGED)
    done = job("--tasks", "one.jsonl", "--no-verify", cwd=tmp_path, DOCKER_HOST="unix:///nonexistent.sock")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no Docker engine answers at unix:///nonexistent.sock")
    assert done.stderr.count("\n") == 1


def test_help_answers_at_once_and_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys; import agent.swe; print(sorted(m for m in sys.modules if m in "
    code += "('numpy', 'scipy', 'openai', 'docker', 'swebench', 'rich', 'git', 'asyncio', 'sqlite3')))"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    done = job("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "--attempts" in done.stdout
