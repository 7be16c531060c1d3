"""Counts, attempts and exports of a run, by the sampling design that it records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.agent import AttemptSpec
from agent.trajectory import Exit, Trajectory
from monkeys.commands.main import main
from monkeys.formats import export
from monkeys.formats.counts import CountsError, read_counts, read_outcomes
from monkeys.formats.design import design_of, sampling_of
from monkeys.store import Store
from monkeys.strategies import SamplingDesign
from tasks import Outcome, Submission, TaskSet
from tasks.predictions import PredictionsError
from tasks.task import Verdict
from tests.monkeys.report.test_report import drawn, make_task, summary_of

GOOD, BAD = Outcome.RESOLVED, Outcome.UNRESOLVED


def run_of(folder: Path, sampling: dict[str, Any], tries: Mapping[str, str]) -> Path:
    """A run whose tries are letters: + resolved, - not, ? without a verdict, ! an infra error (in the place of one)."""
    tasks = TaskSet("quick", tuple(map(make_task, tries)))
    store = Store.write(
        folder,
        {"tasks": {"set": "quick"}, "model": {"name": "m"}, "strategy": {"name": "any", "sampling": sampling}},
        tasks,
        {},
    )
    for task, letters in tries.items():
        for index, letter in enumerate(letters):
            patch = b"" if letter == "!" else f"{letter} {index}".encode()
            exit = Exit.SANDBOX_FAILED if letter == "!" else Exit.SUBMITTED
            store.record_attempt(AttemptSpec(task, index, 0), Trajectory(exit, (), (), Submission(patch), 1.0))
            if letter in "+-":
                verdict = Verdict(GOOD if letter == "+" else BAD, "", {}, 0.1, b"")
                store.record_verdict(task, Submission(patch), verdict)
    store.close()
    return folder


def test_the_curve_of_a_stopped_run_is_whether_tasks_were_solved_within_k(tmp_path: Path) -> None:
    # c has overshot its stop, d waits for a verdict and says nothing of what came after, e had a failure of ours.
    folder = run_of(
        tmp_path / "run", {"kind": "stopped"}, {"a": "+", "b": "------", "c": "-+++-", "d": "---?++", "e": "-!-+"}
    )
    summary = summary_of(folder)
    assert summary.coverage is not None
    shares = {point.k: point.coverage for point in summary.coverage.points}
    assert shares == {1: 1 / 5, 2: 2 / 5, 3: 3 / 5}
    (counts,) = read_counts(folder)
    assert (counts.n.tolist(), counts.correct.tolist(), counts.attempts) == ([1, 3, 2, 3, 3], [1, 0, 1, 0, 1], 3)
    assert summary.sampling == SamplingDesign("stopped")
    with pytest.raises(CountsError, match="ended with a task's first success"):
        counts.fixed()
    with pytest.raises(CountsError, match="ended with a task's first success"):
        read_outcomes(folder)


def test_the_curve_of_an_allocated_run_is_of_the_first_attempts_alone(tmp_path: Path) -> None:
    tries = {"a": "+-+", "b": "---" + "-" * 20 + "+", "c": "-+-" + "-" * 9, "d": "!--" + "+" * 5}
    folder = run_of(tmp_path / "run", {"kind": "adaptive", "first": 3}, tries)
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


@pytest.mark.parametrize(
    ("tries", "cause"),
    [({}, "it holds no attempt yet"), ({"a": "!"}, "it holds no attempt yet"), ({"a": "??"}, "none of its attempts")],
)
def test_a_run_without_candidates_is_named_with_the_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tries: Mapping[str, str], cause: str
) -> None:
    run_of(tmp_path / "mine", {"kind": "independent"}, tries)
    assert main(["--runs", str(tmp_path), "select", "mine"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: run mine has no candidates to select from: {cause}")
    assert said.count("\n") == 1


def test_the_commands_know_how_a_run_s_attempts_came_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:

    tries = {name: "-" * at + "+" for at, name in enumerate("abcdefgh")} | {"z": "-" * 12}
    stopped = run_of(tmp_path / "stopped", {"kind": "stopped"}, tries)

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


# attempts that know of earlier ones


def test_the_design_is_what_the_configuration_records_unless_attempts_have_parents() -> None:
    assert sampling_of({}) == SamplingDesign("independent")
    assert sampling_of({"strategy": {"name": "x", "sampling": {"kind": "adaptive", "first": 4}}}).first == 4
    assert design_of({}, any_parents=False) == SamplingDesign("independent")
    assert design_of({"strategy": {"sampling": {"kind": "stopped"}}}, any_parents=True) == SamplingDesign("dependent")


TRIES = {name: "-" * at + "+-+" + "-" * (9 - at) for at, name in enumerate("abcdefgh")} | {"z": "-" * 12}


def test_the_curve_of_dependent_attempts_is_of_the_procedure_as_it_was_run(tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", {"kind": "dependent"}, TRIES)
    (counts,) = read_counts(folder)
    assert (counts.n.tolist(), counts.correct.tolist()) == ([*range(1, 9), 12], [1] * 8 + [0])
    assert (counts.dependent, counts.attempts) == (True, 12)
    assert any("pass@k of single attempts is refused" in note for note in counts.notes)
    summary = summary_of(folder)
    assert summary.coverage is not None
    assert {point.k: point.coverage for point in summary.coverage.points}[4] == pytest.approx(4 / 9)
    assert any("know of earlier ones" in note for note in summary.notes)
    assert "rate" not in drawn(summary)


def test_what_dependent_attempts_cannot_carry_is_refused_in_one_line_with_what_would_be_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_of(tmp_path / "run", {"kind": "dependent"}, TRIES)

    def call(*words: object) -> tuple[int, str, str]:
        code = main(["--runs", str(tmp_path), *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    code, out, _ = call("coverage", folder, "--k", "1,4,12", "--json")
    points = json.loads(out)["sets"]["run"]["points"]
    assert [point["value"] for point in points] == pytest.approx([1 / 9, 4 / 9, 8 / 9])
    code, out, _ = call("fit", folder, "--json")
    assert code == 0
    assert json.loads(out)["sets"]["run"]["law"]["k_max"] == 12
    assert "a task has no pass@1" in json.loads(out)["sets"]["run"]["mixtures_missing"]
    for words in (
        ["predict", folder, "--k", "100"],
        ["predict", folder, "--first", "3"],
        ["compare", folder, folder],
        ["cost", folder, "--price", "1"],
        ["cost", folder, "--against", "seconds"],
        ["select", folder],
        ["coverage", folder, "--estimate", "pass^k"],
        ["coverage", folder, "--again"],
    ):
        code, out, err = call(*words)
        assert (code, out, err.count("\n")) == (2, "", 1), words
        assert "attempts know of earlier ones" in err
        assert "independent" in err, "it says what would be right"
    code, _, err = call("export", folder, "--format", "outcomes", "--out", tmp_path / "out")
    assert (code, "`monkeys coverage --stopped-at 12`" in err) == (0, True)
    exported = call("coverage", tmp_path / "out/outcomes.csv", "--stopped-at", "12", "--k", "1,4,12", "--json")[1]
    assert json.loads(exported)["sets"]["outcomes"]["points"] == points


# answers


def answered(folder: Path, answers: Mapping[str, list[tuple[str, Outcome]]]) -> Path:
    """A run whose submissions are texts, with their verdicts."""
    tasks = TaskSet("sums", tuple(map(make_task, answers)))
    store = Store.write(folder, {"suite": "answers", "tasks": {"set": "sums"}, "model": {"name": "m"}}, tasks, {})
    for task, attempts in answers.items():
        for index, (text, outcome) in enumerate(attempts):
            submission = Submission(text.encode(), "answer")
            store.record_attempt(AttemptSpec(task, index, 0), Trajectory(Exit.SUBMITTED, (), (), submission, 1.0))
            store.record_verdict(task, submission, Verdict(outcome, "", {}, 0.1, b""))
    store.close()
    return folder


def test_answers_are_selected_by_plurality_over_their_canonical_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answered(
        tmp_path / "run",
        {
            "a": [("1,000", GOOD), ("$1000", GOOD), ("7", BAD), ("", BAD)],
            "b": [("3", BAD), ("3.", BAD), ("4", GOOD), ("", BAD)],
        },
    )
    assert main(["--runs", str(tmp_path), "select", "run", "--k", "4", "--json"]) == 0
    rules = json.loads(capsys.readouterr().out)["sets"]["run"]["rules"]
    assert set(rules) == {"random", "plurality"}, "an answer that is a number is no score"
    assert rules["plurality"]["mean"] == [0.5]


def test_answers_are_exported_as_outcomes_and_trajectories_and_not_as_predictions(tmp_path: Path) -> None:
    answered(tmp_path / "run", {"a": [("1", GOOD), ("7", BAD)]})
    store = Store.read(tmp_path / "run")
    with pytest.raises(PredictionsError, match=r"kind answer, and predictions are patches; .* --format trajectories"):
        export.predictions(store, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (path,) = export.trajectories(store, tmp_path / "out").files
    assert [json.loads(line)["answer"] for line in path.read_text().splitlines()] == ["1", "7"]
    (path,) = export.outcomes(store, tmp_path / "out").files
    assert path.read_text() == "task,n,resolved\na,2,1\n"
    store.close()
