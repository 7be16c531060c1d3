"""Runs whose attempts are allocated by outcomes: which tasks are attempted, and what resuming keeps."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.agent import AttemptScope
from agent.models.model import ModelUnavailable, Reply
from agent.models.scripted import say
from agent.trajectory import Message
from monkeys.events import Progress
from monkeys.formats.counts import read_counts
from monkeys.store import Store
from monkeys.strategies import Slot, Strategy, make_strategy
from tasks import Outcome, Submission, Task, TaskSet, Verdict
from tasks.suite import Verifier
from tests.helpers import quick_task
from tests.monkeys.runner.test_sample_job import IDS, command, environment, job
from tests.sampling import open_sampling

GOOD, BAD = Outcome.RESOLVED, Outcome.UNRESOLVED


def indices(folder: Path) -> dict[str, list[int]]:
    store = Store.read(folder)
    found: dict[str, list[int]] = {task: [] for task in store.task_ids()}
    for row in store.attempts():
        if not row.exit.infra:
            found[row.task].append(row.index)
    store.close()
    return found


# sampling


class Lucky:
    """Writes a patch that is good where it is told, and fails on our side where it is told."""

    name = "lucky"

    def __init__(self, good: Mapping[str, set[int]], fails: Sequence[Slot] = ()) -> None:
        self._good, self._fails = good, list(fails)

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
    ) -> Reply:
        if (scope.spec.task, scope.spec.index) in self._fails:
            self._fails.remove((scope.spec.task, scope.spec.index))
            raise ModelUnavailable("away for a moment")
        if any(message["role"] == "assistant" for message in messages):
            return Reply(say(("submit", {})))
        word = "good" if scope.spec.index in self._good[scope.spec.task] else "bad"
        return Reply(say(("bash", {"command": f"echo {word} {scope.spec.index} > a.txt"})))

    async def check(self) -> None: ...

    async def close(self) -> None: ...


class Reads:
    """A verifier that goes by a word in the patch."""

    async def verify(self, task: Task, submission: Submission) -> Verdict:
        patch = submission.body
        await asyncio.sleep(0.01)
        return Verdict(GOOD if b"+good" in patch else BAD, "", {}, 0.0, b"")

    async def close(self) -> None: ...


READS = Reads()


def sampled(
    folder: Path, model: Lucky, strategy: Strategy, *, attempts: int, workers: int, verifier: Verifier | None = READS
) -> Progress:
    tasks = TaskSet("two", tuple(quick_task(task.removeprefix("quick__").removesuffix("-1")) for task in IDS))

    async def story() -> Progress:
        how = {"attempts": attempts, "workers": workers}
        async with open_sampling(folder, tasks, model, strategy=strategy, verifier=verifier, **how) as it:
            await it.sampler.run()
            return it.progress

    return asyncio.run(story())


@pytest.mark.parametrize("workers", [1, 4])
def test_stop_leaves_a_task_alone_once_it_is_solved_and_is_late_by_no_more_than_its_workers(
    tmp_path: Path, workers: int
) -> None:
    model = Lucky({IDS[0]: {1}, IDS[1]: set()}, fails=[(IDS[0], 0), (IDS[1], 3)])
    progress = sampled(tmp_path / "run", model, make_strategy("stop"), attempts=9, workers=workers)
    made = indices(tmp_path / "run")
    assert made[IDS[1]] == list(range(9))
    assert made[IDS[0]] == list(range(len(made[IDS[0]])))
    assert 2 <= len(made[IDS[0]]) < 2 + workers
    assert progress.done == progress.total == sum(map(len, made.values()))
    assert [row.infra for row in progress.tasks.values()] == [1, 1]
    (counts,) = read_counts(tmp_path / "run")
    assert (counts.n.tolist(), counts.correct.tolist(), counts.stopped_at) == ([2, 9], [1, 0], 9)


def test_fewest_spends_the_whole_budget_where_least_is_solved_and_a_larger_one_tops_it_up(tmp_path: Path) -> None:
    model, strategy = Lucky({IDS[0]: set(range(99)), IDS[1]: {0, 8}}), make_strategy("fewest", first=2)
    for attempts in (5, 7):
        progress = sampled(tmp_path / "run", model, strategy, attempts=attempts, workers=2)
        made = indices(tmp_path / "run")
        assert sum(map(len, made.values())) == progress.done == progress.total == 2 * attempts
        assert all(each == list(range(len(each))) for each in made.values())
        assert len(made[IDS[0]]) < len(made[IDS[1]])
    (counts,) = read_counts(tmp_path / "run")
    assert counts.first is not None
    assert [column.tolist() for column in counts.first] == [[2, 2], [2, 1]]


def test_what_goes_by_verdicts_is_not_sampled_without_a_verifier(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop goes by verdicts"):
        sampled(tmp_path / "run", Lucky({}), make_strategy("stop"), attempts=1, workers=1, verifier=None)
    said = job("--allocate", "stop", "--no-verify", cwd=tmp_path)
    assert said.returncode == 2
    assert "goes by verdicts: leave out --no-verify" in said.stderr


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
    other = job(*options, "--allocate", "variance", "--attempts", "20", cwd=tmp_path)
    assert other.returncode == 2
    assert "another configuration (--strategy was fewest and is now variance" in other.stderr


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
