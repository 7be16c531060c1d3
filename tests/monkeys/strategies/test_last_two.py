"""The documented example of a strategy: found as an installed package, and what its attempts are shown."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.trajectory import Exit
from envs.registry import Registry
from monkeys.strategies import STRATEGIES, Brief, PastAttempt, Plan, SamplingDesign, Strategy, make_strategy, registry
from tasks import Submission, Task
from tests.helpers import quick_task

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "last_two.py"
FIRST = b"--- a/x\n+++ b/x\n"


class Run:
    """The attempts of a run so far, as a strategy sees them."""

    def __init__(self) -> None:
        self._attempts: dict[str, dict[int, PastAttempt]] = {}

    def ended(self, task: str) -> set[int]:
        return set(self._attempts.get(task, {}))

    def record(self, task: str, index: int, patch: bytes) -> None:
        past = PastAttempt(index, Exit.SUBMITTED, Submission(patch), list)
        self._attempts.setdefault(task, {})[index] = past

    def attempts(self, task: str) -> Sequence[PastAttempt]:
        return [past for _, past in sorted(self._attempts.get(task, {}).items())]


@pytest.fixture
def strategy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Strategy:
    """The example as an installed package: its module and the metadata that an installer writes."""
    site = tmp_path / "site"
    info = site / "last_two-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: last-two\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[coding_monkeys.strategies]\nlast-two = last_two:LastTwo\n")
    shutil.copy(EXAMPLE, site)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "last_two", raising=False)
    monkeypatch.setattr(
        registry, "STRATEGIES", Registry("strategies", "strategy", STRATEGIES.protocol, STRATEGIES.built_in)
    )
    return make_strategy("last-two", first=5, k=10)


@pytest.fixture
def task() -> Task:
    return quick_task("tally")


def test_it_is_found_by_its_name_and_says_that_its_attempts_depend(strategy: Strategy) -> None:
    assert "last-two" in registry.STRATEGIES.names
    assert (strategy.name, strategy.sampling) == ("last-two", SamplingDesign("dependent"))
    assert not strategy.goes_by_verdicts
    assert strategy.identity() == {}


def test_an_attempt_is_shown_the_two_patches_before_it_and_has_them_for_parents(strategy: Strategy, task: Task) -> None:
    run = Run()
    assert strategy.brief(task, 0, run) == Brief()
    for index, patch in enumerate((FIRST + b"+one", b"", FIRST + b"+\xff three")):
        run.record(task.id, index, patch)
    run.record("another task", 0, FIRST + b"+other")
    brief = strategy.brief(task, 3, run)
    assert brief.parents == (1, 2)
    assert "Attempt 1:\nno change" in brief.text
    assert "Attempt 2:\n--- a/x\n+++ b/x\n+\ufffd three" in brief.text
    assert "one" not in brief.text
    assert "other" not in brief.text
    assert strategy.brief(task, 1, run).parents == (0,), "a gap that is filled knows of smaller indices alone"


def test_each_attempt_begins_once_the_one_before_it_has_ended(strategy: Strategy, task: Task) -> None:
    run = Run()
    plan = Plan([task.id, "b"], 3, {}, lambda: [0, 0], run.ended, 0)
    scheduler = strategy.scheduler(plan)
    parents = []
    while slot := scheduler.next():
        if slot[0] == task.id:
            parents.append(strategy.brief(task, slot[1], run).parents)
        run.record(*slot, FIRST)
    assert parents == [(), (0,), (0, 1)]
    assert strategy.done(3, [3, 3]) == strategy.wanted(3, [3, 3], [0, 0]) == 6
