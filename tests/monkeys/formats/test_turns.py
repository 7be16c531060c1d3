"""A run at every turn: outcomes and costs as they were recorded, what is not known, and who does not count."""

from __future__ import annotations

import csv
from collections.abc import Callable
from math import nan
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.trajectory import EXCHANGE, Exchange, Exit, Message, Usage
from monkeys.commands.analyses.cost import run_work
from monkeys.formats import export
from monkeys.formats.counts import CountsError, read_counts, read_outcomes
from monkeys.formats.turns import RunTurns, attempt_turns, run_turns
from monkeys.report.summary import summarize
from monkeys.report.views import runs_view
from monkeys.report.views.branch import branch_view, branch_views
from monkeys.science.coverage import coverage_surface, turn_counts
from monkeys.store import Store
from monkeys.strategies import SamplingDesign
from tests.monkeys.formats.turn_runs import Played, write_turn_run
from tests.monkeys.report.test_report import CONFIG

Found = TypeVar("Found")


def opened(folder: Path, look: Callable[[Store], Found]) -> Found:
    store = Store.read(folder)
    try:
        return look(store)
    finally:
        store.close()


def turns_of(folder: Path) -> RunTurns:
    return opened(folder, lambda store: run_turns(store, attempt_turns(store)))


def same(found: RunTurns, expected: list[list[float]]) -> bool:
    return np.array_equal(found.outcomes, np.array(expected), equal_nan=True)


# Outcomes


def test_an_attempt_has_at_each_turn_what_was_last_taken_and_in_the_end_what_it_handed_in(tmp_path: Path) -> None:
    run = write_turn_run(
        tmp_path / "run",
        {"a": [Played("..+.-"), Played("+"), Played("-+"), Played("...."), Played("+.0.")], "b": [Played("-....")]},
    )
    found = turns_of(run)
    assert same(
        found,
        [
            [0, 0, 1, 1, 0],
            [1, 1, 1, 1, 1],
            [0, 1, 1, 1, 1],
            [0, 0, 0, 0, 0],
            [1, 1, 0, 0, 0],
            [0, 0, 0, 0, 0],
        ],
    )
    assert (found.task_ids, found.task.tolist(), found.lengths.tolist()) == (
        ("a", "b"),
        [0] * 5 + [1],
        [5, 1, 2, 4, 4, 5],
    )
    assert found.notes == ()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text("+-.0", min_size=1, max_size=6), min_size=1, max_size=6), st.integers(1, 6))
def test_stopping_in_the_record_is_stopping_when_played(
    tmp_path_factory: pytest.TempPathFactory, played: list[str], turns: int
) -> None:
    """The same attempts, none played further than `turns`, have the coverage that the surface has there."""
    folder = tmp_path_factory.mktemp("runs")
    whole = turns_of(write_turn_run(folder / "whole", {"a": [Played(one) for one in played]}))
    short = write_turn_run(folder / "short", {"a": [Played(one[:turns]) for one in played]})
    (counts,) = read_counts(short)
    at = min(turns, whole.outcomes.shape[1])
    found = coverage_surface(turn_counts(whole.task, whole.outcomes, sampling="independent"), [1], [at])
    assert found.coverage[0, 0] == counts.correct[0] / counts.n[0]


def test_what_is_not_known_is_no_failure(tmp_path: Path) -> None:
    """A verdict that is missing at one turn, and a submission that could not be taken, until the next one was."""
    run = write_turn_run(tmp_path / "run", {"a": [Played("+?.-."), Played("-!.+-")]})
    assert same(turns_of(run), [[1, nan, nan, 0, 0], [0, nan, nan, 1, 0]])


def test_attempts_without_a_verdict_are_left_out_as_in_coverage(tmp_path: Path) -> None:
    run = write_turn_run(tmp_path / "run", {"a": [Played("+?"), Played("-+")], "b": [Played("+?")]})
    found = turns_of(run)
    assert same(found, [[0, 1]])
    assert found.notes == (
        "left out: 2 attempts without a verdict",
        "left out: 1 task without an attempt that counts",
    )


def test_an_attempt_that_a_replay_did_not_repeat_is_left_out_and_said(tmp_path: Path) -> None:
    run = write_turn_run(tmp_path / "run", {"a": [Played("-+"), Played("..-", unlike=True)]})
    found = turns_of(run)
    assert same(found, [[0, 1]])
    assert "1 attempt whose actions showed something else" in found.notes[0]


def test_a_session_that_did_not_record_turns_is_left_out_whole_and_half_a_replay_is_unknown(tmp_path: Path) -> None:
    tasks = {"a": [Played("-+"), Played("+-")]}
    run = write_turn_run(tmp_path / "run", tasks)
    later = {"a": [*tasks["a"], Played("-.+", taken=False), Played("+", taken=False)]}
    write_turn_run(run, later, begun=2)
    found = turns_of(run)
    assert same(found, [[0, 1], [1, 0]])
    assert "2 attempts of sessions that did not record" in found.notes[0]
    half = write_turn_run(tmp_path / "half", {"a": [Played("-+"), Played("-.+", taken=False)]})
    assert same(turns_of(half), [[0, 1, 1], [nan, nan, 1]])


def test_a_run_that_did_not_record_turns_is_refused_with_the_command_that_takes_them(tmp_path: Path) -> None:
    run = write_turn_run(tmp_path / "run", {"a": [Played("-+", taken=False)]})
    with pytest.raises(CountsError, match="`monkeys verify run --each-turn`"):
        turns_of(run)
    one_turn = write_turn_run(tmp_path / "one", {"a": [Played("+", taken=False)]})
    assert same(turns_of(one_turn), [[1]])


@pytest.mark.parametrize(("kind", "said"), [("stopped", "first success"), ("dependent", "earlier ones")])
def test_attempts_that_are_not_independent_have_no_surface(tmp_path: Path, kind: str, said: str) -> None:
    config = {**CONFIG, "strategy": {"name": "a", "sampling": {"kind": kind}}}
    run = write_turn_run(tmp_path / "run", {"a": [Played("-+")]}, config=config)
    with pytest.raises(CountsError, match=said):
        turns_of(run)


def test_of_allocated_attempts_those_count_whose_number_was_fixed(tmp_path: Path) -> None:
    config = {**CONFIG, "strategy": {"name": "a", "sampling": SamplingDesign("adaptive", 1).to_json()}}
    run = write_turn_run(tmp_path / "run", {"a": [Played("-+"), Played("+.")]}, config=config)
    found = turns_of(run)
    assert same(found, [[0, 1]])
    assert "only the first 1" in found.notes[0]


def test_a_run_without_an_attempt_or_a_verdict_says_so(tmp_path: Path) -> None:
    for name, attempts, said in (
        ("none", [], "no attempt yet"),
        ("waiting", [Played("?")], "none of its attempts has"),
    ):
        run = write_turn_run(tmp_path / name, {"a": attempts})
        with pytest.raises(CountsError, match=said):
            turns_of(run)


# Costs


def test_costs_add_up_turn_by_turn_to_those_of_the_attempt(tmp_path: Path) -> None:
    run = write_turn_run(tmp_path / "run", {"a": [Played("..+"), Played("-")]}, priced=True)
    found = turns_of(run)
    assert found.spent["tokens"].tolist() == [[110, 320, 630], [110, 110, 110]]
    assert found.spent["seconds"].tolist() == [[5, 7, 9], [5, 5, 5]]
    dollars = [[100 + 100, 300 + 200, 600 + 300], [200, 200, 200]]  # millionths, at 1 and 10 a million tokens
    assert found.spent["dollars"] == pytest.approx(np.array(dollars) / 1e6)
    assert "dollars" not in turns_of(write_turn_run(tmp_path / "free", {"a": [Played("+")]})).spent


def test_tokens_of_unusable_answers_are_spread_over_the_turns(tmp_path: Path) -> None:
    run = write_turn_run(tmp_path / "run", {"a": [Played("..+", wasted=300)]})
    assert turns_of(run).spent["tokens"].tolist() == [[210, 520, 930]]


def test_tokens_of_reviews_and_summaries_cost_from_their_turn_on(tmp_path: Path) -> None:
    """What was asked for in the second turn is no cost of an attempt that was stopped after the first."""

    def asked(purpose: str, usage: Usage) -> Message:
        exchange = Exchange(purpose, "other", (), {"role": "assistant", "content": "no"}, usage)
        return {"role": "user", "content": "no", EXCHANGE: exchange.record()}

    # Each turn of these attempts ends with one message.
    messages: tuple[Message, ...] = (
        {"role": "user", "content": "an issue"},
        asked("review", Usage(50, 5)),
        {"role": "assistant", "content": "yes"},
        asked("summary", Usage(7, 1)),
    )
    run = write_turn_run(tmp_path / "run", {"a": [Played("..+", messages=messages, wasted=30)]}, priced=True)
    found = turns_of(run)
    assert found.spent["tokens"].tolist() == [[110 + 10, 110 + 210 + 20 + 55, 630 + 30 + 55 + 8]]
    dollars = [200 + 10, 500 + 20 + 100, 900 + 30 + 100 + 17]
    assert found.spent["dollars"] == pytest.approx(np.array([dollars]) / 1e6)


def test_a_run_that_heard_of_hidden_tests_says_so_in_its_name_and_notes(tmp_path: Path) -> None:
    config = {**CONFIG, "agent": {"name": "loop", "feedback": ["diff", "oracle-count"]}}
    run = write_turn_run(tmp_path / "run", {"a": [Played("-+")]}, config=config)
    found = turns_of(run)
    assert found.name == "run [oracle-count]"
    assert found.notes[0].startswith("ORACLE: the attempts were told what the hidden tests say (oracle-count)")
    (counts,) = read_counts(run)
    assert counts.name == found.name


def test_an_attempt_without_a_turn_costs_what_it_cost(tmp_path: Path) -> None:
    run = write_turn_run(tmp_path / "run", {"a": [Played("", exit=Exit.CONTEXT_LIMIT, wasted=50), Played("-+")]})
    found = turns_of(run)
    assert found.spent["tokens"][0].tolist() == [50, 50]
    assert found.outcomes[0].tolist() == [0, 0]


# Who does not count


def test_continuations_are_nobody_s_attempts(tmp_path: Path) -> None:
    attempts = {"a": [Played("-+"), Played("--")], "b": [Played(".-"), Played("-.")]}
    plain = write_turn_run(tmp_path / "plain" / "run", attempts, priced=True)
    branched = write_turn_run(
        tmp_path / "branched" / "run", attempts, priced=True, continuations={("b", 0, 1): "++++-", ("a", 0, 1): "+?"}
    )
    ours, theirs = (opened(run, summarize) for run in (branched, plain))
    assert (ours.issues, ours.solved, ours.attempts, ours.exits) == (theirs.issues, 1, 4, theirs.exits)
    assert (ours.coverage, ours.cost, ours.usage, ours.sampling) == (
        theirs.coverage,
        theirs.cost,
        theirs.usage,
        theirs.sampling,
    )
    for run in (plain, branched):
        (counts,) = read_counts(run)
        assert (counts.n.tolist(), counts.correct.tolist()) == ([2, 2], [1, 0])
        (single,) = read_outcomes(run)
        assert single.correct.tolist() == [True, False, False, False]
        assert turns_of(run).outcomes.tolist() == [[0, 1], [0, 0], [0, 0], [0, 0]]
        (row,) = runs_view([run]).runs
        assert (row.attempts, row.solved) == (4, 1)
    done = opened(branched, lambda store: export.predictions(store, tmp_path / "out"))
    assert (done.rows, len(done.files)) == (4, 2)
    assert done.left_out == ("continuations of attempts, from 2 turns: they are no attempts",)


def test_an_arm_that_was_told_of_the_hidden_tests_is_a_set_of_its_own_beside_others(tmp_path: Path) -> None:
    told = [Played("+", arm="oracle-tests"), Played("-+", arm="oracle-tests")]
    run = write_turn_run(tmp_path / "run", {"a": [Played("-+"), Played("--"), *told], "b": [Played("-"), *told]})
    own, other = read_counts(run)
    assert (own.name, own.n.tolist(), own.correct.tolist()) == ("run", [2, 1], [1, 0])
    assert (other.name, other.n.tolist(), other.correct.tolist()) == ("run/oracle-tests", [2, 2], [2, 2])
    assert [one.name for one in read_outcomes(run)] == ["run", "run/oracle-tests"]
    summary = opened(run, summarize)
    assert [(issue.n, issue.resolved) for issue in summary.issues] == [(2, 1), (1, 0)]
    assert any("4 attempts of the arm oracle-tests" in note for note in summary.notes)
    done = opened(run, lambda store: export.outcomes(store, tmp_path / "out"))
    with done.files[0].open(newline="") as file:
        assert [row["n"] for row in csv.DictReader(file)] == ["2", "1"]
    assert done.left_out == ("the attempts of the arm oracle-tests, which was told of the hidden tests",)
    work = run_work(run)
    assert {name: {task: own.tokens for task, own in tasks.items()} for name, tasks in work.items()} == {
        "run": {"a": 2 * 320, "b": 110},
        "run/oracle-tests": {"a": 110 + 320, "b": 110 + 320},
    }
    alone = write_turn_run(tmp_path / "alone", {"a": told})
    (only,) = read_counts(alone)
    assert (only.name, only.n.tolist()) == ("alone", [2])


# The value of a turn


def test_the_value_of_a_turn_is_read_from_the_continuations_of_each_attempt(tmp_path: Path) -> None:
    run = write_turn_run(
        tmp_path / "run",
        {"a": [Played("-.+"), Played("---")], "b": [Played("-")]},
        continuations={("a", 1, 2): "+---?", ("a", 1, 1): "++--", ("b", 0, 1): "-", ("a", 0, 1): "??"},
    )
    waiting, first, second = opened(run, branch_views)
    assert (first.task, first.index, first.outcome, first.turns, first.fresh) == ("a", 1, "unresolved", 3, (2, 1))
    values = [(one.turn, one.n, one.solved, one.unverified, one.p) for one in first.values]
    assert values == [(1, 4, 2, 0, 0.5), (2, 4, 1, 1, 0.25)]
    for one in first.values:
        bounds = (one.band_low, one.low, one.p, one.high, one.band_high)
        assert list(bounds) == sorted(bound for bound in bounds if bound is not None)
    assert (second.task, second.values[0].p) == ("b", 0.0)
    assert [(one.turn, one.n, one.unverified, one.p, one.band_low) for one in waiting.values] == [(1, 0, 2, None, None)]
    (only,) = opened(run, lambda store: branch_view(store, "a", 1, [2])).values
    assert (only.p, only.low, only.band_low) == (0.25, first.values[1].low, only.low)
