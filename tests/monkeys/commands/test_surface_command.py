"""`monkeys surface`: what it prints of real stores, for people and for machines, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.models.scripted import say
from agent.trajectory import Exit, Message
from monkeys.commands.analyses.branches import branch_result
from monkeys.commands.main import main
from monkeys.formats.turns import attempt_turns, run_turns
from monkeys.report.picture import draw
from monkeys.report.result import to_csv, to_json
from monkeys.report.views.branch import branch_views
from monkeys.report.views.endings import Endings, endings_view
from monkeys.science.coverage import coverage_surface, turn_counts
from monkeys.store import Store
from tasks import load_tasks
from tasks.swe.patches import touched_files
from tasks.swe.task import as_swe
from tests.monkeys.commands.test_commands import Said
from tests.monkeys.formats.turn_runs import Played, write_turn_run

MARKS = {
    "a": ["..+......", "-+", "...-.+.-", "0.......+", ".-.....", "+-......"],
    "b": ["--------", "...-", ".......-", ".+..-...", "--", "-......+"],
    "c": ["-.......", "-.-.-.-.", "0", "...-..", "-", "........"],
}
QUICK = as_swe(load_tasks("quick").select(["quick__ledger-1"]).tasks[0])
PAGE = Path(__file__).parents[3] / "docs/surface.md"
CONTINUED = {("a", 2, 6): "++++++++--", ("a", 2, 8): "----------", ("b", 1, 2): "+---?"}


@pytest.fixture
def monkeys(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("COLUMNS", "80")

    def call(*words: object) -> Said:
        code = main(["--runs", str(tmp_path), *map(str, words)])
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture
def run(tmp_path: Path) -> Path:
    tasks = {task: [Played(one) for one in own] for task, own in MARKS.items()}
    return write_turn_run(tmp_path / "run", tasks, priced=True)


def data(said: Said) -> Any:
    assert (said.code, said.err) == (0, "")
    (found,) = json.loads(said.out)["sets"].values()
    return found


# What is printed


def test_the_screen_has_a_sentence_the_cells_with_their_costs_and_the_best_for_each_budget(
    monkeys: Any, run: Path
) -> None:
    said = monkeys("surface", "run")
    assert (said.code, said.err) == (0, "")
    assert max(map(len, said.out.splitlines())) <= 80
    words = " ".join(said.out.split())
    assert "run 3 tasks, 6 attempts each of up to 9 turns" in words
    assert "answer at about the same cost, 1 x 9 turns (2.7 k tokens a task) solve 22.2 % of the tasks and" in words
    assert "5 x 3 turns (2.7 k tokens) 61.1 %: a difference of +38.9 points" in words
    assert "and the tasks do not tell which is better (95 % interval" in words
    rows = {
        line.split()[0]: line.split()[1:]
        for line in said.out.splitlines()
        if re.fullmatch(r" +\d+(?: +\d+\.\d [a-f]){4}", line)
    }
    assert list(rows) == ["1", "2", "5", "9"]
    assert [float(cell) for cell in rows["9"][::2]] == pytest.approx([22.2, 37.8, 61.1, 66.7], abs=0.05)
    letters = [cells[1::2] for cells in rows.values()]
    assert all(own == sorted(own) for own in letters)  # more attempts cost more, and so do more turns
    assert all(own == sorted(own) for own in map(list, zip(*letters, strict=True)))
    assert "a up to" in words
    assert "95 % interval over 3 tasks, each cell by itself: Gaffke bootstrap" in words
    assert re.search(r"budget +best +cost +coverage +held out +95 % +turns", said.out)
    assert "where attempts die 18 with a verdict, 4 resolved" in words


def test_the_numbers_are_those_of_the_science_and_every_form_has_them(monkeys: Any, run: Path) -> None:
    found = data(monkeys("surface", "run", "--k", "1,3", "--turns", "2,7", "--json", "--seed", "4"))
    store = Store.read(run)
    turns = run_turns(store, attempt_turns(store))
    store.close()
    expected = coverage_surface(turn_counts(turns.task, turns.outcomes, sampling="independent"), [1, 3], [2, 7], seed=4)
    cells = found["cells"]
    assert [(cell["turns"], cell["k"]) for cell in cells] == [(2, 1), (2, 3), (7, 1), (7, 3)]
    for name, values in (("coverage", expected.coverage), ("low", expected.low), ("high", expected.high)):
        assert [cell[name] for cell in cells] == values.ravel().tolist()
    tokens = np.array([turns.spent["tokens"][turns.task == task].mean(axis=0) for task in range(3)]).mean(axis=0)
    assert [cell["tokens"] for cell in cells] == pytest.approx([tokens[1], 3 * tokens[1], tokens[6], 3 * tokens[6]])
    assert all(cell["dollars"] > 0 and cell["seconds"] > 0 for cell in cells)
    rows = list(csv.DictReader(io.StringIO(monkeys("surface", "run", "--k", "1,3", "--turns", "2,7", "--csv").out)))
    assert [float(row["coverage"]) for row in rows if row["part"] == "cells"] == expected.coverage.ravel().tolist()
    assert {row["part"] for row in rows} >= {"budgets", "differences", "endings/shares", "endings/turns"}
    assert r"\toprule" in monkeys("surface", "run", "--latex").out


def test_a_picture_has_a_curve_for_each_number_of_turns_and_a_map_and_is_the_same_each_time(
    monkeys: Any, run: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    words = ("surface", "run", "--k", "1,2", "--turns", "5,9", "--budget", "1500,5000", "--json", "--plot")
    assert monkeys(*words, tmp_path / "out.svg").code == 0
    first = (tmp_path / "out.svg").read_bytes()
    for name in (b"5 turns", b"tokens a task", b"turns t", b"5.0 k tokens"):
        assert name in first
    assert monkeys(*words, tmp_path / "out.svg").code == 0
    assert (tmp_path / "out.svg").read_bytes() == first


def test_budgets_and_costs_are_in_the_unit_that_is_asked_for(monkeys: Any, run: Path) -> None:
    for unit, budget in (("tokens", 2000.0), ("seconds", 40.0), ("dollars", 0.003)):
        found = data(monkeys("surface", "run", "--against", unit, "--budget", budget, "--json"))
        (best,) = found["budgets"]
        assert (found["unit"], best["budget"]) == (unit, budget)
        assert best["cost"] <= budget
        assert best["low"] <= best["held_out"] <= best["high"]
        (cell,) = data(monkeys("surface", "run", "--json", "--k", best["k"], "--turns", best["turns"]))["cells"]
        assert (cell["coverage"], cell[unit]) == pytest.approx((best["coverage"], best["cost"]))


def test_cells_that_are_named_are_compared(monkeys: Any, run: Path) -> None:
    found = data(monkeys("surface", "run", "--compare", "2x9,6x2,1x1", "--json"))["differences"]
    assert [(one["k"], one["turns"], one["other_k"], one["other_turns"]) for one in found] == [
        (2, 9, 6, 2),
        (2, 9, 1, 1),
    ]
    assert found[0]["difference"] == pytest.approx(found[0]["coverage"] - found[0]["other_coverage"])
    assert found[0]["low"] <= found[0]["difference"] <= found[0]["high"]


def test_a_clear_difference_is_told_as_such(monkeys: Any, tmp_path: Path) -> None:
    tasks = {
        f"t{number}": [Played("........+"), Played("+..-....." if number else "+........")] * 3 for number in range(8)
    }
    write_turn_run(tmp_path / "clear", tasks)
    words = " ".join(monkeys("surface", "clear", "--compare", "4x1,4x5").out.split())
    assert re.search(r"4 x 1 is better by \d+\.\d points \(95 % interval \d+\.\d–\d+\.\d\)", words)


# What is not known


def test_a_missing_verdict_gives_bounds_and_never_a_failure(monkeys: Any, tmp_path: Path) -> None:
    write_turn_run(tmp_path / "run", {"a": [Played("+?-"), Played("-.+")], "b": [Played("--+"), Played("-.!-")]})
    found = data(monkeys("surface", "run", "--k", "1", "--turns", "1,2,3", "--json"))
    cells = [(cell["coverage"], cell["low"] is None, cell["at_least"], cell["at_most"]) for cell in found["cells"]]
    assert cells == [(0.25, False, 0.25, 0.25), (None, True, 0.0, 0.25), (None, True, 0.5, 0.75)]
    words = " ".join(monkeys("surface", "run", "--k", "1", "--turns", "2").out.split())
    assert "0.0–25.0" in words
    assert "two numbers: between these" in words


def test_a_run_without_its_turns_shows_how_attempts_ended_and_how_to_get_a_surface(
    monkeys: Any, tmp_path: Path
) -> None:
    write_turn_run(tmp_path / "run", {"a": [Played("-+", taken=False), Played("-", Exit.TURN_LIMIT, taken=False)]})
    said = monkeys("surface", "run")
    words = " ".join(said.out.split())
    assert (said.code, said.err) == (0, "")
    assert "`monkeys verify run --each-turn`" in words
    assert "ended: turn limit 2 50.0 % 0.0 % 100.0 %" in words
    found = data(monkeys("surface", "run", "--json"))
    assert (found["cells"], "verify run --each-turn" in found["surface_missing"]) == ([], True)
    said = monkeys("surface", "run", "--k", "1")
    assert (said.code, said.out) == (2, "")
    assert "`monkeys verify run --each-turn`" in said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--k", "7"), "--k 7 is more than the attempts on a, b, c"),
        (("--k", "0"), "--k 0"),
        (("--turns", "10"), "the longest of these has 9"),
        (("--turns", "0"), "at least one turn"),
        (("--budget", "50"), "pays for no attempt: the cheapest costs 110"),
        (("--budget", "-1"), "--budget"),
        (("--budget", "much"), "'much' is not a number"),
        (("--compare", "250x40"), "two or more pairs"),
        (("--compare", "24x9,96x2"), "give --compare 1x9,6x2"),
        (("--level", "95"), "no level of an interval"),
        (("--against", "attempts"), "invalid choice"),
    ],
)
def test_what_the_run_cannot_answer_is_refused_in_one_line(monkeys: Any, run: Path, words: Any, said: str) -> None:
    found = monkeys("surface", "run", *words)
    assert (found.code, found.out) == (2, "")
    assert said in found.err
    assert found.err.count("\n") == 1


def test_without_prices_nothing_is_told_in_dollars(monkeys: Any, tmp_path: Path) -> None:
    write_turn_run(tmp_path / "run", {"a": [Played("-+")]})
    found = monkeys("surface", "run", "--against", "dollars")
    assert (found.code, "has no prices" in found.err) == (2, True)
    assert "dollars" not in data(monkeys("surface", "run", "--json"))["cells"][0]


def test_a_run_whose_server_told_no_tokens_has_a_surface_without_costs(monkeys: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_turn_run(tmp_path / "run", {"a": [Played("-+"), Played("+-")]}, counted=False)
    words = " ".join(monkeys("surface", "run", "--plot", tmp_path / "out.svg").out.split())
    assert "no tokens were spent; give --against another unit" in words
    assert "cost a task" not in words
    assert b"attempts k" in (tmp_path / "out.svg").read_bytes()


def test_one_task_with_one_attempt_of_one_turn_has_a_surface(monkeys: Any, tmp_path: Path) -> None:
    write_turn_run(tmp_path / "run", {"a": [Played("+")]})
    said = monkeys("surface", "run")
    assert (said.code, said.err) == (0, "")
    assert "one task: no other one judges the choice" in said.out
    (cell,) = data(monkeys("surface", "run", "--json"))["cells"]
    assert (cell["coverage"], cell["high"]) == (1.0, 1.0)


def test_arms_that_were_told_of_the_hidden_tests_are_left_out_and_said(monkeys: Any, tmp_path: Path) -> None:
    told = Played("+", arm="oracle-count")
    write_turn_run(tmp_path / "both", {"a": [Played("-+"), told]})
    found = data(monkeys("surface", "both", "--json"))
    assert (found["attempts"], found["notes"]) == (
        1,
        ["left out: the arm oracle-count, which was told of the hidden tests"],
    )


# Where attempts die


def endings_of(folder: Path, *shown: int) -> Endings:
    store = Store.read(folder)
    try:
        attempts = attempt_turns(store)
        return endings_view(store, attempts, run_turns(store, attempts), shown)
    finally:
        store.close()


def test_attempts_are_counted_by_what_they_had_and_lost_what_they_touched_and_ran(tmp_path: Path) -> None:
    known = touched_files(QUICK.patch)[0]
    file, name = "tests/test_reader.py", "test_empty_lines_are_counted"
    asked: Message = {"role": "user", "content": f"{name} fails"}

    def ran(shown: str, command: str = "pytest") -> tuple[Message, ...]:
        return (
            asked,
            say(("bash", {"command": command})),
            {"role": "tool", "tool_call_id": "call_0", "content": shown},
        )

    attempts = [
        Played("-.+", file=known, messages=ran(f"{file} ..F")),
        Played("-+-", Exit.TURN_LIMIT, file=known, messages=ran(f"{name} ... FAIL")),
        Played("-.-", Exit.TURN_LIMIT, file="b.py", messages=ran(file, "ls tests")),
        Played("...", file="b.py", messages=ran("no tests ran")),
        Played("?", file="b.py"),
    ]
    run = write_turn_run(tmp_path / "run", {QUICK.id: attempts}, known=[QUICK])
    found = endings_of(run, 1, 3)
    shares = {one.what: (one.resolved, one.of_resolved, one.unresolved, one.of_unresolved) for one in found.shares}
    assert (found.attempts, found.resolved) == (4, 1)
    assert shares == {
        "solved_at_some_turn": (1, 1, 1, 3),
        "broke_it_again": (0, 1, 1, 3),
        "touched_no_file_of_the_known_patch": (0, 1, 2, 3),
        "ran_the_file_of_a_failing_test": (1, 1, 1, 3),
        "ran_a_failing_test": (0, 1, 1, 3),
    }
    assert {one.what: one.count for one in found.exits} == {"submitted": 2, "turn limit": 2}
    assert [(one.turn, one.going_on, one.solved, one.ever_solved) for one in found.turns] == [
        (1, 1.0, 0.0, 0.0),
        (3, 0.0, 0.25, 0.5),
    ]
    assert found.notes == ()


def test_a_task_whose_contents_are_others_now_tells_nothing_of_files_and_tests(tmp_path: Path) -> None:
    run = write_turn_run(tmp_path / "run", {"a": [Played("-+")]})
    found = endings_of(run)
    assert [one.what for one in found.shares] == ["solved_at_some_turn", "broke_it_again"]
    assert found.notes == ("no task of the run has a known patch here, so that files and tests are not known",)


# The value of a turn


def test_the_value_of_turns_that_were_branched_is_shown(monkeys: Any, tmp_path: Path) -> None:
    tasks = {task: [Played(one) for one in own] for task, own in MARKS.items()}
    run = write_turn_run(tmp_path / "run", tasks, continuations=CONTINUED)
    said = monkeys("surface", "run")
    words = " ".join(said.out.split())
    assert "the value of a turn: attempt 2 at a, unresolved after 8 turns" in words
    assert re.search(r"\b6 +10 +8 +80\.0 % +49\.0 – +94\.3 %", said.out)
    assert "fresh attempts 3 of 6 solved it, 50.0 %" in words
    assert "left out: 1 continuation without a verdict" in words
    rows = data(monkeys("surface", "run", "--json"))["branches"]
    assert [(row["task"], row["attempt"], row["turn"], row["n"], row["solved"]) for row in rows] == [
        ("a", 2, 6, 10, 8),
        ("a", 2, 8, 10, 0),
        ("b", 1, 2, 4, 1),
    ]
    store = Store.read(run)
    result = branch_result(branch_views(store))
    store.close()
    assert json.loads(to_json(result))["sets"]["run"]["branches"] == rows
    assert to_csv(result).count("\n") >= len(rows)
    pytest.importorskip("matplotlib")
    draw(result, tmp_path / "value.svg", "run")
    assert "P(solved | turn)" in (tmp_path / "value.svg").read_text()


def test_the_page_s_commands_are_understood_and_its_example_in_python_runs(
    monkeys: Any, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = PAGE.read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^monkeys surface RUN(.*)$", text, re.MULTILINE)
    assert len(commands) == 5
    for options in commands:
        said = monkeys("surface", "run", *options.split())
        assert "usage" not in said.err
        assert "argument" not in said.err
    exec(text.partition("```python\n")[2].partition("```")[0], {})
    assert "BestCell" in capsys.readouterr().out


def test_a_picture_that_cannot_be_drawn_is_refused_before_anything_is_sampled(monkeys: Any, run: Path) -> None:
    found = monkeys("branch", "run", "a", "0", "--turn", "1", "--plot", "value.gif")
    assert (found.code, found.out) == (2, "")
    assert "value.gif: a picture needs one of these suffixes" in found.err
