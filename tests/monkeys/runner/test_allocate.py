"""Runs whose attempts are allocated by outcomes: who is attempted, what resuming keeps, and what a report may say."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.loop import AttemptLimits
from agent.models.model import Call, ModelUnavailable, Reply
from agent.models.scripted import say
from agent.scaffolds import make_scaffold
from agent.trajectory import Exit, Message, Trajectory
from envs import Limits
from envs.local.backend import LocalBackend
from envs.memory_budget import MemoryBudget
from envs.pool import Pool
from envs.start_limiter import StartLimiter
from monkeys.formats.counts import CountsError, read_counts, read_outcomes
from monkeys.runner.progress import Progress
from monkeys.runner.sampler import Arm, Sampler
from monkeys.runner.scheduler import Adaptive, AllocationSpec, Scheduler, Slot, TaskByTask
from monkeys.science.coverage import pass_at_k, pass_at_k_stopped, until_success
from monkeys.store import Store
from tasks import Outcome, Submission, Task, TaskSet
from tasks.task import Verdict
from tests.helpers import quick_task
from tests.monkeys.report.test_report import drawn, make_task, summary_of
from tests.monkeys.runner.test_sample_job import IDS, command, environment, job

GOOD, BAD = Outcome.RESOLVED, Outcome.UNRESOLVED


def drained(plan: Scheduler) -> list[Slot]:
    slots = []
    while slot := plan.next():
        slots.append(slot)
    return slots


def indices(folder: Path) -> dict[str, list[int]]:
    store = Store.read(folder)
    found: dict[str, list[int]] = {task: [] for task in store.task_ids()}
    for row in store.attempts():
        if not row.exit.infra:
            found[row.task].append(row.index)
    store.close()
    return found


# plans


def test_waves_go_task_by_task_over_what_is_missing_and_a_slot_that_failed_comes_last() -> None:
    plan = TaskByTask(["a", "b"], 3, {"a": {1}, "b": {0, 1, 2}})
    assert plan.next() == ("a", 0)
    plan.again(("a", 0))
    assert drained(plan) == [("a", 2), ("a", 0)]
    assert drained(TaskByTask(["a", "b"], 2, {})) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


@pytest.mark.parametrize("rule", ["stop", "fewest", "variance"])
def test_gaps_are_filled_first_and_indices_leave_none(rule: str) -> None:
    sampled = {"a": {0, 3}, "c": {1}}
    plan = Adaptive(
        ["a", "b", "c"], AllocationSpec(rule, first=1).allocation(6, 3), 18, sampled, lambda: [0, 0, 0], seed=-1
    )
    slots = drained(plan)
    assert slots[:3] == [("a", 1), ("a", 2), ("c", 0)]
    made: dict[str, set[int]] = {"a": {0, 3}, "b": set(), "c": {1}}
    for task, index in slots:
        assert index not in made[task], "handed out twice"
        made[task].add(index)
    assert sum(map(len, made.values())) == 18
    assert all(done == set(range(len(done))) for done in made.values())


def test_a_task_that_is_solved_gets_no_more_under_stop_and_the_last_of_all_under_fewest() -> None:
    def tasks(rule: str) -> list[str]:
        """Of a, which every attempt resolves, and b, which none does."""
        made: list[str] = []
        choice = AllocationSpec(rule, first=2)
        plan = Adaptive(["a", "b"], choice.allocation(5, 2), 10, {}, lambda: [made.count("a"), 0], seed=0)
        while slot := plan.next():
            made.append(slot[0])
        return made

    assert sorted(tasks("stop")) == ["a", "b", "b", "b", "b", "b"]
    assert (sorted(tasks("fewest")[:4]), tasks("fewest")[4:]) == (["a", "a", "b", "b"], ["b"] * 6)


@pytest.mark.parametrize("rule", ["stop", "fewest", "variance"])
def test_curves_stay_unbiased_with_many_workers_late_verdicts_and_failures_of_ours(rule: str) -> None:
    p, cap, runs = np.array([0.0, 0.02, 0.1, 0.3, 0.8]), 10, 1_000
    rng, names, choice = np.random.default_rng(3), list("abcde"), AllocationSpec(rule, first=4, k=3)
    ks = [1, 3, 10] if rule == "stop" else [1, 3, 4]
    found = []
    for run in range(runs):
        outcomes = np.full((5, 5 * cap), np.nan)
        good = [0] * 5
        plan = Adaptive(names, choice.allocation(cap, 5), 5 * cap, {}, lambda good=good: good, run)  # type: ignore[misc]
        under_way: list[tuple[float, Slot, bool]] = []
        now = 0.0
        while True:
            while len(under_way) < 4 and (slot := plan.next()):
                under_way.append((now + rng.exponential(), slot, bool(rng.random() < p[names.index(slot[0])])))
            if not under_way:
                break
            now, slot, resolved = under_way.pop(under_way.index(min(under_way)))
            if rng.random() < 0.1:
                plan.again(slot)
                continue
            task = names.index(slot[0])
            good[task] += resolved
            outcomes[task, slot[1]] = resolved
        if rule == "stop":
            n, c, at = until_success(outcomes)
            found.append([pass_at_k_stopped(n, c, k, cap=at).mean() for k in ks])
        else:
            found.append([pass_at_k(4, np.nansum(outcomes[:, :4], axis=1).astype(int), k).mean() for k in ks])
    truth = [(1 - (1 - p) ** k).mean() for k in ks]
    error = np.std(found, axis=0) / np.sqrt(runs)
    assert (np.abs(np.mean(found, axis=0) - truth) < 4 * error).all(), (np.mean(found, axis=0), truth, error)


# sampling


class Lucky:
    """Writes a patch that is good where it is told, and fails on our side where it is told."""

    name = "lucky"

    def __init__(self, good: Mapping[str, set[int]], fails: Sequence[Slot] = ()) -> None:
        self._good, self._fails = good, list(fails)

    async def reply(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, call: Call) -> Reply:
        if (call.task, call.attempt) in self._fails:
            self._fails.remove((call.task, call.attempt))
            raise ModelUnavailable("away for a moment")
        if any(message["role"] == "assistant" for message in messages):
            return Reply(say(("submit", {})))
        word = "good" if call.attempt in self._good[call.task] else "bad"
        return Reply(say(("bash", {"command": f"echo {word} {call.attempt} > a.txt"})))

    async def check(self) -> None: ...

    async def close(self) -> None: ...


class Reads:
    """A verifier that goes by a word in the patch."""

    async def verify(self, task: Task, patch: bytes) -> Verdict:
        await asyncio.sleep(0.01)
        return Verdict(GOOD if b"+good" in patch else BAD, "", {}, 0.0, b"")


@asynccontextmanager
async def sampling(
    folder: Path, model: Lucky, choice: AllocationSpec, *, attempts: int, workers: int
) -> AsyncIterator[tuple[Sampler, Progress]]:
    tasks = TaskSet("two", tuple(quick_task(task.removeprefix("quick__").removesuffix("-1")) for task in IDS))
    store = Store.write(folder, {"allocate": choice.config()}, tasks, {})
    budget = MemoryBudget(10_000, key="test", folder=folder / "budget")
    pool = Pool(LocalBackend(), budget=budget, gate=StartLimiter(8))
    progress = Progress.start(store.task_ids(), attempts, choice.rule)
    arm = Arm(
        name="test",
        model=model,
        scaffold=make_scaffold(),
        attempt_limits=AttemptLimits(),
        sandbox_limits=Limits(memory_mb=512),
        seed=0,
    )
    try:
        yield Sampler(store, tasks, arm, pool, Reads(), progress, workers=workers, retries=3, choice=choice), progress
    finally:
        await pool.close()
        budget.close()
        store.close()


def sampled(folder: Path, model: Lucky, choice: AllocationSpec, *, attempts: int, workers: int) -> Progress:
    async def story() -> Progress:
        async with sampling(folder, model, choice, attempts=attempts, workers=workers) as (sampler, progress):
            await sampler.run()
            return progress

    return asyncio.run(story())


@pytest.mark.parametrize("workers", [1, 4])
def test_stop_leaves_a_task_alone_once_it_is_solved_and_is_late_by_no_more_than_its_workers(
    tmp_path: Path, workers: int
) -> None:
    model = Lucky({IDS[0]: {1}, IDS[1]: set()}, fails=[(IDS[0], 0), (IDS[1], 3)])
    progress = sampled(tmp_path / "run", model, AllocationSpec("stop"), attempts=9, workers=workers)
    made = indices(tmp_path / "run")
    assert made[IDS[1]] == list(range(9))
    assert made[IDS[0]] == list(range(len(made[IDS[0]])))
    assert 2 <= len(made[IDS[0]]) < 2 + workers
    assert progress.done == progress.total == sum(map(len, made.values()))
    assert [row.infra for row in progress.tasks.values()] == [1, 1]
    (counts,) = read_counts(tmp_path / "run")
    assert (counts.n.tolist(), counts.correct.tolist(), counts.stopped_at) == ([2, 9], [1, 0], 9)


def test_fewest_spends_the_whole_budget_where_least_is_solved_and_a_larger_one_tops_it_up(tmp_path: Path) -> None:
    model, choice = Lucky({IDS[0]: set(range(99)), IDS[1]: {0, 8}}), AllocationSpec("fewest", first=2)
    for attempts in (5, 7):
        progress = sampled(tmp_path / "run", model, choice, attempts=attempts, workers=2)
        made = indices(tmp_path / "run")
        assert sum(map(len, made.values())) == progress.done == progress.total == 2 * attempts
        assert all(each == list(range(len(each))) for each in made.values())
        assert len(made[IDS[0]]) < len(made[IDS[1]])
    (counts,) = read_counts(tmp_path / "run")
    assert counts.first is not None
    assert [column.tolist() for column in counts.first] == [[2, 2], [2, 1]]


def test_what_goes_by_verdicts_is_not_sampled_without_a_verifier(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop goes by verdicts"):
        Sampler(*[None] * 6, workers=1, retries=0, choice=AllocationSpec("stop"))  # type: ignore[arg-type]
    said = job("--allocate", "stop", "--no-verify", cwd=tmp_path)
    assert said.returncode == 2
    assert "goes by verdicts: leave --no-verify out" in said.stderr


# the main job


def test_a_job_that_allocates_goes_on_after_a_kill_and_tops_up_without_a_gap(tmp_path: Path) -> None:
    script = tmp_path / "slow.json"
    script.write_text(json.dumps([say(("bash", {"command": "sleep 0.05; echo x > a.txt"})), say(("submit", {}))]))
    options = ["--ids", *IDS, "--model", f"scripted:{script}", "--workers", "3", "--quiet", "--run", "run"]
    options += ["--allocate", "fewest", "--first", "3"]
    process = subprocess.Popen(command(*options, "--attempts", "30"), cwd=tmp_path, env=environment())
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if sum(map(len, indices(tmp_path / "runs/run").values())) >= 8:
                break
        except Exception:  # there is no run yet
            pass
        time.sleep(0.02)
    process.kill()
    process.wait()
    before = sum(map(len, indices(tmp_path / "runs/run").values()))
    assert 8 <= before < 40
    for attempts in (20, 22):
        done = job(*options, "--attempts", str(attempts), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        made = indices(tmp_path / "runs/run")
        assert sum(map(len, made.values())) == max(before, 2 * attempts)
        assert all(each == list(range(len(each))) for each in made.values())
        assert abs(len(made[IDS[0]]) - len(made[IDS[1]])) <= 1, "nothing is solved, so the fewest attempts are next"
    other = job(*options, "--allocate", "stop", "--attempts", "20", cwd=tmp_path)
    assert other.returncode == 2
    assert "another configuration (allocate was" in other.stderr


def test_stop_on_gold_makes_hardly_more_than_one_attempt_a_task_and_says_how_the_curve_came_about(
    tmp_path: Path,
) -> None:
    options = ("--ids", *IDS, "--model", "replay:gold", "--attempts", "50", "--workers", "2", "--run", "run")
    done = job(*options, "--allocate", "stop", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 2 <= sum(map(len, indices(tmp_path / "runs/run").values())) <= 4
    assert "attempts on an issue ended with its first success" in done.stdout
    assert "rate" not in done.stdout
    again = job(*options, "--allocate", "stop", "--quiet", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, "")


# reports


def run_of(folder: Path, allocate: dict[str, Any], tries: Mapping[str, str]) -> Path:
    """A run whose tries are letters: + resolved, - not, ? without a verdict, ! an infra error (in the place of one)."""
    tasks = TaskSet("quick", tuple(map(make_task, tries)))
    store = Store.write(folder, {"tasks": "quick", "model": "m", "allocate": allocate}, tasks, {})
    for task, letters in tries.items():
        for index, letter in enumerate(letters):
            patch = b"" if letter == "!" else f"{letter} {index}".encode()
            exit = Exit.SANDBOX_FAILED if letter == "!" else Exit.SUBMITTED
            store.record_attempt(task, index, 0, Trajectory(exit, (), (), Submission(patch), 1.0))
            if letter in "+-":
                store.record_verdict(task, patch, Verdict(GOOD if letter == "+" else BAD, "", {}, 0.1, b""))
    store.close()
    return folder


def test_the_curve_of_a_stopped_run_is_whether_tasks_were_solved_within_k(tmp_path: Path) -> None:
    # c has overshot its stop, d waits for a verdict and says nothing of what came after, e had a failure of ours.
    folder = run_of(
        tmp_path / "run", {"rule": "stop"}, {"a": "+", "b": "------", "c": "-+++-", "d": "---?++", "e": "-!-+"}
    )
    summary = summary_of(folder)
    assert summary.coverage is not None
    shares = {point.k: point.coverage for point in summary.coverage.points}
    assert shares == {1: 1 / 5, 2: 2 / 5, 3: 3 / 5}
    (counts,) = read_counts(folder)
    assert (counts.n.tolist(), counts.correct.tolist(), counts.attempts) == ([1, 3, 2, 3, 3], [1, 0, 1, 0, 1], 3)
    assert json.loads(summary.to_json())["allocate"] == "stop"
    with pytest.raises(CountsError, match="ended with a task's first success"):
        counts.fixed()
    with pytest.raises(CountsError, match="ended with a task's first success"):
        read_outcomes(folder)


def test_the_curve_of_an_allocated_run_is_of_the_first_attempts_alone(tmp_path: Path) -> None:
    tries = {"a": "+-+", "b": "---" + "-" * 20 + "+", "c": "-+-" + "-" * 9, "d": "!--" + "+" * 5}
    folder = run_of(tmp_path / "run", {"rule": "fewest", "first": 3}, tries)
    summary = summary_of(folder)
    assert summary.coverage is not None
    assert [point.k for point in summary.coverage.points] == [1, 2]
    assert [point.coverage for point in summary.coverage.points] == pytest.approx([1 / 4, 5 / 12])
    assert any("of the first 3 on each issue" in note for note in summary.notes)
    assert "rate" not in drawn(summary)
    (counts,) = read_counts(folder)
    assert counts.n.tolist() == [3, 24, 12, 7]
    assert counts.fixed().n.tolist() == [3, 3, 3, 2]
    (outcomes,) = read_outcomes(folder)
    assert np.bincount(outcomes.task).tolist() == [3, 3, 3, 2]


def test_the_commands_know_how_a_run_s_attempts_came_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from monkeys.commands.main import main

    tries = {name: "-" * at + "+" for at, name in enumerate("abcdefgh")} | {"z": "-" * 12}
    stopped = run_of(tmp_path / "stopped", {"rule": "stop"}, tries)

    def call(*words: object) -> tuple[int, str, str]:
        code = main(["--runs", str(tmp_path), *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    code, out, _ = call("coverage", stopped, "--k", "1,4,12", "--json")
    assert code == 0
    points = json.loads(out)["sets"]["stopped"]["points"]
    assert [point["value"] for point in points] == pytest.approx([1 / 9, 4 / 9, 8 / 9])
    code, _, err = call("export", stopped, "--format", "outcomes", "--out", tmp_path / "out")
    assert (code, "read the others with `monkeys coverage --stopped-at 12`" in err) == (0, True)
    exported = call("coverage", tmp_path / "out/outcomes.csv", "--stopped-at", "12", "--k", "1,4,12", "--json")[1]
    assert json.loads(exported)["sets"]["outcomes"]["points"] == points
    code, out, _ = call("fit", stopped, "--json")
    assert code == 0
    assert json.loads(out)["sets"]["stopped"]["law"]["k_max"] == 12
    code, out, _ = call("predict", stopped, "--k", "100", "--json")
    assert code == 0
    for words in (
        ["compare", stopped, stopped],
        ["cost", stopped, "--price", "1"],
        ["cost", stopped, "--against", "seconds"],
        ["select", stopped],
        ["coverage", stopped, "--estimate", "pass^k"],
        ["coverage", stopped, "--again"],
        ["predict", stopped, "--first", "3"],
    ):
        code, out, err = call(*words)
        assert (code, out, err.count("\n")) == (2, "", 1), words
        assert "first success" in err
