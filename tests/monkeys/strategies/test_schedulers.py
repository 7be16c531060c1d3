"""Schedulers: what every one guarantees, and in which order each strategy hands out its slots."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monkeys.science.coverage import pass_at_k, pass_at_k_stopped, until_success
from monkeys.strategies import STRATEGIES, Plan, SamplingDesign, Scheduler, Slot, Strategy, make_strategy
from monkeys.strategies.in_order import InOrder
from monkeys.strategies.independent import Independent, TaskByTask

TASKS = ("a", "b", "c")


class OneAfterAnother(Independent):
    """Independent attempts through `InOrder`, so that it is held to what every scheduler guarantees."""

    def scheduler(self, plan: Plan) -> Scheduler:
        return InOrder(plan)


EVERY = {name: make_strategy(name, first=2, k=3) for name in STRATEGIES.names} | {"in order": OneAfterAnother()}


def plan_of(
    tasks: Sequence[str],
    attempts: int,
    sampled: dict[str, set[int]] | None = None,
    resolved: Callable[[], Sequence[int]] | None = None,
    ended: dict[str, set[int]] | None = None,
    seed: int = 0,
) -> Plan:
    """`ended` is `sampled` unless it is given: a test that adds to it makes attempts end."""
    sampled = sampled or {}
    now = {task: set(indices) for task, indices in sampled.items()} if ended is None else ended
    return Plan(
        tasks, attempts, sampled, resolved or (lambda: [0] * len(tasks)), lambda task: now.setdefault(task, set()), seed
    )


def drained(scheduler: Scheduler, ended: dict[str, set[int]] | None = None) -> list[Slot]:
    """All its slots, each attempt ending before the next one begins where `ended` is given."""
    slots = []
    while slot := scheduler.next():
        slots.append(slot)
        if ended is not None:
            ended.setdefault(slot[0], set()).add(slot[1])
    return slots


@st.composite
def sessions(draw: st.DrawFn) -> tuple[dict[str, set[int]], int, int, int]:
    """What is recorded already, attempts wanted, attempts at once, and a seed for what happens."""
    sampled = {task: draw(st.sets(st.integers(0, 7), max_size=6)) for task in TASKS}
    return sampled, draw(st.integers(1, 9)), draw(st.integers(1, 5)), draw(st.integers(0, 2**32))


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=60, deadline=None)
@given(session=sessions())
def test_every_scheduler_keeps_its_guarantees_whatever_fails(
    name: str, session: tuple[dict[str, set[int]], int, int, int]
) -> None:
    sampled, attempts, workers, seed = session
    strategy, rng = EVERY[name], np.random.default_rng(seed)
    ended = {task: set(indices) for task, indices in sampled.items()}
    good = dict.fromkeys(TASKS, 0)
    plan = plan_of(TASKS, attempts, sampled, lambda: [good[task] for task in TASKS], ended, seed)
    scheduler = strategy.scheduler(plan)
    under_way: list[Slot] = []
    put_back: set[Slot] = set()
    while True:
        while len(under_way) < workers and (slot := scheduler.next()):
            task, index = slot
            assert slot not in under_way, "handed out while it is under way"
            assert index not in ended[task], "handed out after it was recorded"
            known = ended[task] | {at for of, at in [*under_way, *put_back] if of == task}
            if index > max(sampled[task], default=-1):
                assert set(range(index)) <= known, "an index was skipped, or a gap was not filled first"
            put_back.discard(slot)
            under_way.append(slot)
        if not under_way:
            break
        slot = under_way.pop(int(rng.integers(len(under_way))))
        if rng.random() < 0.2:
            scheduler.again(slot)
            put_back.add(slot)
        else:
            ended[slot[0]].add(slot[1])
            good[slot[0]] += rng.random() < 0.3
    made = [len(ended[task]) for task in TASKS]
    assert not put_back
    assert all(sum(indices) == sum(range(len(indices))) for task, indices in ended.items() if not sampled[task])
    assert strategy.done(attempts, made) == strategy.wanted(attempts, made, [good[task] for task in TASKS])


@pytest.mark.parametrize("name", EVERY)
def test_gaps_are_filled_first_and_indices_leave_none(name: str) -> None:
    sampled = {"a": {0, 3}, "c": {1}}
    ended = {task: set(indices) for task, indices in sampled.items()}
    slots = drained(EVERY[name].scheduler(plan_of(TASKS, 6, sampled, ended=ended, seed=-1)), ended)
    of = {task: [index for at, index in slots if at == task] for task in TASKS}
    assert (of["a"][:2], of["c"][:1]) == ([1, 2], [0])
    assert sum(map(len, ended.values())) == 18
    assert all(done == set(range(len(done))) for done in ended.values())


def test_independent_attempts_go_task_by_task_and_a_slot_that_failed_comes_last() -> None:
    scheduler = TaskByTask(plan_of("ab", 3, {"a": {1}, "b": {0, 1, 2}}))
    assert scheduler.next() == ("a", 0)
    scheduler.again(("a", 0))
    assert drained(scheduler) == [("a", 2), ("a", 0)]
    assert drained(TaskByTask(plan_of("ab", 2))) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


def test_a_task_that_is_solved_gets_no_more_under_stop_and_the_last_of_all_under_fewest() -> None:
    def tasks(rule: str) -> list[str]:
        """Of a, which every attempt resolves, and b, which none does."""
        made: list[str] = []
        plan = plan_of("ab", 5, resolved=lambda: [made.count("a"), 0])
        scheduler = make_strategy(rule, first=2).scheduler(plan)
        while slot := scheduler.next():
            made.append(slot[0])
        return made

    assert sorted(tasks("stop")) == ["a", "b", "b", "b", "b", "b"]
    assert (sorted(tasks("fewest")[:4]), tasks("fewest")[4:]) == (["a", "a", "b", "b"], ["b"] * 6)


def test_in_order_an_attempt_waits_for_the_one_before_it_and_other_tasks_do_not() -> None:
    ended: dict[str, set[int]] = {}
    scheduler = InOrder(plan_of("ab", 2, ended=ended))
    assert [scheduler.next() for _ in range(3)] == [("a", 0), ("b", 0), None]
    scheduler.again(("b", 0))
    assert [scheduler.next() for _ in range(2)] == [("b", 0), None]
    ended["a"] = {0}
    assert [scheduler.next() for _ in range(2)] == [("a", 1), None]
    ended["b"] = {0}
    assert [scheduler.next() for _ in range(2)] == [("b", 1), None]
    ended["a"], ended["b"] = {0, 1}, {0, 1}
    assert scheduler.next() is None


def test_in_order_a_slot_that_is_given_up_holds_up_its_task_alone() -> None:
    ended: dict[str, set[int]] = {}
    scheduler = InOrder(plan_of("ab", 3, ended=ended))
    assert scheduler.next() == ("a", 0)  # never ends, and is never put back
    assert drained(scheduler, ended) == [("b", 0), ("b", 1), ("b", 2)]


def test_in_order_a_gap_of_an_earlier_session_comes_before_tasks_that_have_none() -> None:
    sampled = {"a": {0, 1}, "b": {0, 2}}
    scheduler = InOrder(plan_of("ab", 4, sampled))
    assert [scheduler.next() for _ in range(2)] == [("b", 1), ("a", 2)]


@pytest.mark.parametrize("rule", ["stop", "fewest", "variance"])
def test_curves_stay_unbiased_with_many_workers_late_verdicts_and_failures_of_ours(rule: str) -> None:
    p, cap, runs = np.array([0.0, 0.02, 0.1, 0.3, 0.8]), 10, 1_000
    rng, names, strategy = np.random.default_rng(3), list("abcde"), make_strategy(rule, first=4, k=3)
    ks = [1, 3, 10] if rule == "stop" else [1, 3, 4]
    found = []
    for run in range(runs):
        outcomes = np.full((5, 5 * cap), np.nan)
        good = [0] * 5
        scheduler = strategy.scheduler(plan_of(names, cap, resolved=lambda good=good: good, seed=run))  # type: ignore[misc]
        under_way: list[tuple[float, Slot, bool]] = []
        now = 0.0
        while True:
            while len(under_way) < 4 and (slot := scheduler.next()):
                under_way.append((now + rng.exponential(), slot, bool(rng.random() < p[names.index(slot[0])])))
            if not under_way:
                break
            now, slot, resolved = under_way.pop(under_way.index(min(under_way)))
            if rng.random() < 0.1:
                scheduler.again(slot)
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


def test_a_run_wants_no_more_of_a_solved_task_under_stop_and_a_budget_in_all_under_the_others() -> None:
    counts = {"stop": (9 + 4, 4 + 4), "fewest": (18, 8), "variance": (18, 8), "independent": (18, 8)}
    for name, (wanted, done) in counts.items():
        strategy = make_strategy(name)
        assert (strategy.wanted(9, [4, 4], [1, 0]), strategy.done(9, [4, 4])) == (wanted, done), name
    uneven: dict[str, Strategy] = {name: make_strategy(name) for name in ("independent", "fewest")}
    assert {name: strategy.done(5, [9, 0]) for name, strategy in uneven.items()} == {"independent": 5, "fewest": 9}


def test_designs_say_how_attempts_came_about() -> None:
    assert make_strategy("independent").sampling == SamplingDesign("independent")
    assert make_strategy("stop").sampling == SamplingDesign("stopped")
    assert make_strategy("fewest", first=3).sampling == SamplingDesign("adaptive", 3)
