"""`monkeys coverage|fit|predict|compare|cost|select` on files: what they print, for people and for machines."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import monkeys.science.coverage as coverage_package
from monkeys.commands.main import main
from monkeys.commands.refusals import PHRASES
from monkeys.formats.counts import read_counts
from monkeys.science.cost import ModelShape, find_shape, request_flops
from monkeys.science.coverage import holm
from tests.helpers import Answer, ChatServer
from tests.monkeys.commands.test_commands import Said
from tests.monkeys.formats.test_counts import written
from tests.monkeys.report.test_report import BAD, GOOD, make_run
from tests.monkeys.science.test_selection import logprobs, patch
from tests.published import published_counts

# tau-bench, GPT-4o on airline: 50 tasks, 4 trials each (arXiv 2406.12045)
AIRLINE = "01100111000142021140430040220122003443413241222144"
COUNTS: list[dict[str, Any]] = [{"task": f"t{at}", "n": 4, "correct": int(c)} for at, c in enumerate(AIRLINE)]


@pytest.fixture
def monkeys(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("COLUMNS", "120")

    def call(*words: object) -> Said:
        code = main(["--runs", str(tmp_path), *map(str, words)])
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture
def counts(tmp_path: Path) -> Path:
    return written(tmp_path / "airline.csv", COUNTS)


def data(said: Said) -> Any:
    assert (said.code, said.err) == (0, "")
    return json.loads(said.out)


def candidates(tmp_path: Path) -> Path:
    """Two tasks; on the first the commonest patch is right and on the second it is wrong."""
    rows = []
    for task, values in (("a", [1, 1, 1, 2]), ("b", [2, 3, 3, 1])):
        for number, value in enumerate(values):
            hunk = f"@@ -1 +1 @@\n-x\n+{value}{'  # so' * (number % 2)}\n"
            rows.append({"task": task, "correct": value == 1, "patch": patch(hunk), "votes": value, "issue": "fix x"})
    return written(tmp_path / "patches.jsonl", rows)


# What is printed


def test_coverage_and_reliability_are_tau_bench_s(monkeys: Any, counts: Path) -> None:
    found = data(monkeys("coverage", counts, "--json", "--k", "1,2,3,4"))["sets"]["airline"]
    assert [round(row["value"], 3) for row in found["points"]] == [0.42, 0.567, 0.66, 0.72]
    assert all(row["low"] < row["value"] < row["high"] for row in found["points"])
    found = data(monkeys("coverage", counts, "--json", "--k", "1,2,3,4", "--estimate", "pass^k"))["sets"]["airline"]
    assert [round(row["value"], 3) for row in found["points"]] == [0.42, 0.273, 0.22, 0.2]


def test_coverage_draws_a_table_a_curve_and_says_what_the_interval_is(monkeys: Any, counts: Path) -> None:
    said = monkeys("coverage", counts)
    assert (said.code, said.err) == (0, "")
    assert "airline   50 tasks, 36 solved in 4 attempts each" in said.out
    assert re.search(r"\b4 +72\.00 %", said.out)
    assert "░" in said.out
    assert "95 % interval over 50 tasks, as a sample of such tasks: Gaffke bootstrap" in said.out


def test_fit_prints_the_law_of_the_paper(monkeys: Any) -> None:
    published_counts()
    path = os.environ["MONKEYS_PUBLISHED_COUNTS"]
    found = data(monkeys("fit", path, "--json", "--only", "Pythia 12B"))["sets"]["MATH/Pythia 12B"]
    assert (round(found["law"]["a"], 3), round(found["law"]["b"], 4)) == (-4.317, -0.3791)
    assert round(found["mixtures"]["beta"]["alpha"], 4) == 0.2955


def test_predict_says_what_it_does_not_know(monkeys: Any) -> None:
    published_counts()
    path = os.environ["MONKEYS_PUBLISHED_COUNTS"]
    found = data(monkeys("predict", path, "--json", "--first", "100", "--k", "10000"))["sets"]
    (gemma,) = found["CodeContests/Gemma 2B"]["predictions"]
    (pythia,) = found["MATH/Pythia 12B"]["predictions"]
    assert gemma["coverage"] is None
    assert "only" in gemma["reason"]
    assert pythia["low"] < pythia["measured"] < pythia["high"]


def test_compare_pairs_tasks_by_their_ids(monkeys: Any, tmp_path: Path, counts: Path) -> None:
    better = [{**row, "correct": min(4, row["correct"] + 1)} for row in reversed(COUNTS[1:])]
    other = written(tmp_path / "better.csv", better)
    found = data(monkeys("compare", counts, other, "--json", "--k", "1"))["differences"]["better"]
    assert (found["against"], found["tasks"], found["unpaired"]) == ("airline", 49, 1)
    assert found["difference"][0] > 0.15
    assert found["p_value"][0] < 0.01
    assert "left out: 1 task that only one of the two has" in monkeys("compare", counts, other).out


def test_cost_reproduces_the_paper_s_table_1(monkeys: Any) -> None:
    arms = ("DeepSeek-Coder-V2-Instruct:.0072:5:.2962", "GPT-4o:.13:1:.24", "Claude 3.5 Sonnet:.17:1:.267")
    said = monkeys("cost", *(word for arm in arms for word in ("--arm", arm)))
    rows = [" ".join(line.split()) for line in said.out.splitlines()]
    assert "DeepSeek-Coder-V2-Instruct 0.0072 5 29.62 10.8 1 1" in rows
    assert "GPT-4o 0.13 1 24.00 39 3.6 18" in rows
    assert "Claude 3.5 Sonnet 0.17 1 26.70 51 4.7 23" in rows


def test_cost_finds_the_cheapest_model_for_a_coverage(monkeys: Any, tmp_path: Path) -> None:
    rows = [
        {"arm": arm, "task": f"t{n}", "n": 100, "correct": c}
        for arm, c in (("weak", 5), ("strong", 50))
        for n in (0, 1)
    ]
    path = written(tmp_path / "x.csv", rows)
    found = data(monkeys("cost", path, "--price", "weak=.01", "--price", "1", "--want", ".9", "--json"))["cheapest"]
    assert [deal["model"] for deal in found["deals"]] == ["weak", "strong"]
    assert [deal["k"] for deal in found["deals"]] == [37, 4]
    flops = data(monkeys("cost", path, "--shape", "gemma-2b", "--prompt", 100, "--completion", 10, "--json"))
    assert flops["sets"]["weak"]["unit"] == "FLOPs"
    tokens = data(monkeys("cost", path, "--prices", "2,10,.5", "--prompt", 1000, "--completion", 100, "--json"))
    assert [row["a_task"] for row in tokens["sets"]["weak"]["points"][:2]] == pytest.approx([0.003, 0.0045])


def test_cost_draws_coverage_against_what_each_task_took(monkeys: Any, tmp_path: Path) -> None:
    rows = [
        {"task": "a", "n": 4, "correct": 4, "tokens": 400, "seconds": 8, "cost": 2},
        {"task": "b", "n": 4, "correct": 0, "tokens": 1200, "seconds": 16, "cost": 6},
    ]
    path = written(tmp_path / "x.csv", rows)
    for axis, unit, each in (("tokens", "tokens", 200), ("seconds", "seconds", 3), ("dollars", "$", 1)):
        found = data(monkeys("cost", path, "--against", axis, "--json"))["sets"]["x"]
        assert found["unit"] == unit
        assert [(point["k"], point["cost"], point["coverage"]) for point in found["points"]] == [
            (1, each, 0.5),
            (2, 2 * each, 0.5),
            (4, 4 * each, 0.5),
        ]
    stopped = data(monkeys("cost", path, "--against", "tokens", "--stop-on-success", "--json"))["sets"]["x"]["points"]
    assert [point["cost"] for point in stopped] == [200, 350, 650]
    priced = data(monkeys("cost", path, "--against", "dollars", "--price", "3", "--json"))["sets"]["x"]["points"]
    assert [point["cost"] for point in priced] == [3, 6, 12]
    assert "give --shape with a run" in monkeys("cost", path, "--against", "flops").err


def test_a_run_knows_what_its_tasks_took(monkeys: Any, tmp_path: Path) -> None:
    make_run(tmp_path / "run", {"a": [(b"x", GOOD), (b"y", BAD)], "b": [(b"x", BAD), (b"y", BAD)]})
    options = {"tokens": (), "seconds": (), "dollars": ("--prices", "2,10,.5"), "flops": ("--shape", "gemma-2b")}
    first = {}
    for axis, more in options.items():
        points = data(monkeys("cost", "run", "--against", axis, *more, "--json"))["sets"]["run"]["points"]
        first[axis] = points[0]["cost"]
    flops = request_flops(find_shape("gemma-2b"), 1000, 20, cached=400)
    assert first == {"tokens": 1020, "seconds": 0.5, "dollars": pytest.approx(0.0016), "flops": pytest.approx(flops)}


@pytest.mark.parametrize("words", [("compare", "--k", "1,10000"), ("predict", "--first", "100", "--k", "1000,10000")])
def test_on_a_narrow_terminal_numbers_stay_whole(
    monkeys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    rows = [
        {"model": f"some family/{arm}", "task": f"t{at}", "n": 10_000, "correct": c * at**3}
        for arm, c in (("small", 2), ("large", 5))
        for at in range(12)
    ]
    path = written(tmp_path / "x.csv", rows)
    monkeypatch.setenv("COLUMNS", "60")
    said = monkeys(words[0], path, *words[1:])
    assert said.code == 0
    table = [line for line in said.out.splitlines() if "10,000 " in line and "%" in line]
    assert table
    assert not any("…" in line for line in table)
    assert max(map(len, said.out.splitlines())) <= 60


def test_select_shows_rules_beside_coverage(monkeys: Any, tmp_path: Path) -> None:
    path = candidates(tmp_path)
    found = data(monkeys("select", path, "--json", "--k", "1,4"))["sets"]["patches"]
    assert found["coverage"] == [0.5, 1.0]
    assert found["rules"]["plurality"]["mean"][1] == 0.5
    assert found["rules"]["plurality"]["gap"][1] == 0.5
    assert "top 3 votes, shortest" in found["rules"]
    assert [share["plurality"] for share in found["shares"]] == [1.0, 0.0]
    said = monkeys("select", path, "--k", "1,4")
    assert "coverage (oracle)" in said.out
    assert "plurality  right on 1 of the 2 tasks with a correct candidate" in said.out


@pytest.mark.parametrize("score", ["0,5", "-0,25", "1.234,5", "1 234", "1,5e-3"])
def test_select_refuses_scores_with_decimal_commas_as_other_numbers_are(
    monkeys: Any, tmp_path: Path, score: str
) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"task;correct;answer;fit;version\na;1;x;n/a;1.2.3\na;0;y;{score};1.2.4\nb;1;z;1;1.2.3\n")
    said = monkeys("select", path)
    assert said.code
    assert f"column fit, row 2: '{score}' is no number; write it without separators of thousands, and" in said.err
    path.write_text(path.read_text().replace(score, "0.5"))
    rules = data(monkeys("select", path, "--json"))["sets"]["x"]["rules"]
    assert "best fit" in rules
    assert not any("version" in rule for rule in rules)


def test_select_on_a_run_compares_its_patches(monkeys: Any, tmp_path: Path) -> None:
    good, bad = (patch(f"@@ -1 +1 @@\n-x\n+{value}\n").encode() for value in (1, 2))
    make_run(tmp_path / "mine", {"a": [(good, GOOD), (bad, BAD), (b"", BAD)]})
    found = data(monkeys("select", "mine", "--json"))["sets"]["mine"]
    assert set(found["rules"]) == {"random", "plurality", "shortest"}
    assert found["rules"]["plurality"]["mean"][-1] == 0.5, "nothing handed in has no vote"
    assert "priced" in monkeys("cost", "mine", "--prices", "1,10").out
    flops = data(monkeys("cost", "mine", "--shape", "1e9,10,100", "--json"))["sets"]["mine"]["points"][0]["a_task"]
    assert flops == request_flops(ModelShape(10**9, 10, 100), 1000, 20, cached=400)
    assert data(monkeys("coverage", "mine", "--json"))["sets"]["mine"]["points"][0]["value"] == pytest.approx(1 / 3)


def test_a_run_is_found_by_its_name_also_where_that_ends_like_a_file(monkeys: Any, tmp_path: Path) -> None:
    tries = {name: [(b"x", GOOD), (b"y", BAD), (b"z", BAD)] for name in "ab"}
    for name in ("qa-scripted-script.json-21f3526e", "mine.json"):
        make_run(tmp_path / name, tries)
        for words in (["coverage"], ["select"], ["fit"], ["predict", "--k", "9"], ["cost", "--price", "1"]):
            assert list(data(monkeys(words[0], name, *words[1:], "--json"))["sets"]) == [name]
        picture = tmp_path / f"{name}.svg"
        assert monkeys("coverage", name, "--plot", picture).code == 0
        assert name in picture.read_text()
    said = monkeys("coverage", "qa-scripted-script.json-21f3526f")
    assert (said.code, "did you mean qa-scripted-script.json-21f3526e" in said.err) == (2, True)
    said = monkeys("coverage", "mine.jsonl")
    assert (said.code, "there is no mine.jsonl; give a table" in said.err) == (2, True)


def test_a_file_comes_before_a_run_of_the_same_name(
    monkeys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "both.csv", {"a": [(b"x", GOOD)]})
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    written(tmp_path / "here" / "both.csv", COUNTS)
    assert data(monkeys("coverage", "both.csv", "--json"))["sets"]["both"]["tasks"] == 50


@pytest.mark.parametrize(
    ("words", "answer", "rule", "questions"),
    [
        (["--judge", "m"], logprobs(YES=0.8, NO=0.2), "best judge", 6),  # of eight candidates six are distinct
        (["--judge", "m", "--pairs"], logprobs(A=0.8, B=0.2), "tournament", 6 + 12),
        (["--reward", "m"], {"data": [{"score": 0.5}]}, "reward-weighted plurality", 6),
    ],
)
def test_select_asks_models_once_and_keeps_what_they_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], answer: Any, rule: str, questions: int
) -> None:
    path, kept = candidates(tmp_path), tmp_path / "answers.jsonl"

    async def ask() -> tuple[Any, int]:
        async with ChatServer(Answer(body=answer)) as server:
            more = ["--base-url", server.url, "--answers", str(kept), "--json"]
            code = await asyncio.to_thread(main, ["select", str(path), *words, *more])
            found = data(Said(code, *capsys.readouterr()))
            return found, sum(request.method == "POST" for request in server.requests)

    found, asked = asyncio.run(ask())
    assert rule in found["sets"]["patches"]["rules"]
    assert asked == questions
    assert asyncio.run(ask())[1] == 0


@pytest.mark.parametrize("suffix", [".svg", ".png", ".html"])
def test_a_picture_is_one_file_that_needs_nothing_else(monkeys: Any, tmp_path: Path, counts: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / f"out{suffix}"
    data(monkeys("coverage", counts, "--json", "--plot", out))
    first = out.read_bytes()
    assert first.startswith({".svg": b"<?xml", ".png": b"\x89PNG", ".html": b"<!doctype html>"}[suffix])
    assert b"<script" not in first
    assert suffix == ".png" or b"airline" in first
    data(monkeys("coverage", counts, "--json", "--plot", out))
    assert out.read_bytes() == first


def test_without_matplotlib_a_picture_names_what_to_install(tmp_path: Path, counts: Path) -> None:
    script = (
        "import sys; sys.modules['matplotlib'] = None; "
        "from monkeys.commands.main import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "coverage", str(counts), "--plot", str(tmp_path / "x.svg")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(
        r"error: a picture needs matplotlib; install it with `pip install 'coding-monkeys\[plot\]'`\n", done.stderr
    )


def test_without_pyarrow_parquet_names_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    script = (
        "import sys; sys.modules['pyarrow'] = None; "
        "from monkeys.commands.main import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "coverage", str(tmp_path / "x.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'coding-monkeys[tables]'" in done.stderr


# Sets: their names, how many they are, and which are meant


def family(path: Path, names: list[str], *, tasks: int = 12, n: int = 100) -> Path:
    """Counts of several models on the same tasks, the later the better."""
    rows = [
        {"model": name, "task": f"t{task}", "n": n, "correct": min(n, task * task * (at + 1) // 4)}
        for at, name in enumerate(names)
        for task in range(tasks)
    ]
    return written(path, rows)


def test_sets_of_one_name_are_told_apart_by_their_paths(monkeys: Any, tmp_path: Path) -> None:
    for folder, correct in (("one", 1), ("two", 3)):
        (tmp_path / folder).mkdir()
        written(tmp_path / folder / "counts.csv", [{"task": f"t{at}", "n": 4, "correct": correct} for at in range(3)])
    files = [tmp_path / folder / "counts.csv" for folder in ("one", "two")]
    found = data(monkeys("coverage", *files, "--json", "--k", "1"))["sets"]
    assert {name: one["points"][0]["value"] for name, one in found.items()} == {"one/counts": 0.25, "two/counts": 0.75}
    said = monkeys("compare", *files)
    assert "two/counts less one/counts" in said.out
    assert list(data(monkeys("coverage", files[0], files[0], "--json"))["sets"]) == ["counts", "counts (2)"]
    (tmp_path / "one" / "counts.jsonl").write_text('{"task": "a", "n": 2, "correct": 1}\n')
    both = data(monkeys("coverage", files[0], tmp_path / "one" / "counts.jsonl", "--json"))["sets"]
    assert list(both) == ["counts.csv", "counts.jsonl"]
    arms = [family(tmp_path / f"{run}.csv", ["A", "B"]) for run in ("r1", "r2")]
    assert list(data(monkeys("coverage", *arms, "--json"))["sets"]) == ["r1/A", "r1/B", "r2/A", "r2/B"]
    priced = data(monkeys("cost", *arms, "--price", "r1/A=1", "--price", "2", "--json"))["sets"]
    assert [one["points"][0]["a_task"] for one in priced.values()] == [1, 2, 2, 2]


def test_only_takes_the_set_of_that_name_before_those_that_hold_it(monkeys: Any, tmp_path: Path) -> None:
    path = family(tmp_path / "x.csv", ["Pythia 1", "Pythia 12", "MATH/Pythia 1", "Gemma"])
    for names, expected in (
        (["pythia 1"], ["Pythia 1"]),
        (["pythia 12", "gemma"], ["Pythia 12", "Gemma"]),
        (["pythia"], ["Pythia 1", "Pythia 12", "MATH/Pythia 1"]),
        (["math"], ["MATH/Pythia 1"]),
    ):
        words = [word for name in names for word in ("--only", name)]
        assert list(data(monkeys("coverage", path, "--json", *words))["sets"]) == expected
    found = data(monkeys("compare", path, "--against", "Gemma", "--only", "Gemma", "--only", "Pythia 12", "--json"))
    assert found["differences"]["Pythia 12"]["against"] == "Gemma"
    said = monkeys("compare", path, "--against", "pyth")
    assert (said.code, "--against 'pyth' names 3 sets" in said.err) == (2, True)


@pytest.mark.parametrize(
    ("command", "sets"), [(["coverage"], 8), (["fit", "--summary"], 2), (["predict", "--k", "1000", "--summary"], 2)]
)
def test_many_sets_are_the_lines_of_one_table(
    monkeys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str], sets: int
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"some-family/model-number-{at:02}" for at in range(sets)]
    said = monkeys(command[0], family(tmp_path / "x.csv", names, tasks=6, n=20), *command[1:])
    assert (said.code, said.err) == (0, "")
    for name in names:
        assert len(re.findall(rf"^ {name}\b", said.out, re.MULTILINE)) == said.out.count(f" {names[0]} ") > 0
    assert len(said.out.splitlines()) < 30
    assert max(map(len, said.out.splitlines())) <= 80
    assert "each\n\n k" not in said.out


def test_few_sets_or_each_that_is_asked_for_are_shown_one_by_one(monkeys: Any, tmp_path: Path) -> None:
    path = family(tmp_path / "x.csv", list("ABCDEFGH"), tasks=3, n=5)
    assert "A   3 tasks" in monkeys("coverage", path, "--each").out
    assert "A   3 tasks" in monkeys("coverage", path, "--only", "A").out
    assert "A   3 tasks" not in monkeys("coverage", path, "--only", "A", "--summary").out


def test_pairs_of_many_sets_are_adjusted_after_holm(monkeys: Any, tmp_path: Path) -> None:
    path = family(tmp_path / "x.csv", ["A", "B", "C"])
    found = data(monkeys("compare", path, "--pairwise", "--k", "1,10", "--json"))["differences"]
    assert list(found) == ["B less A", "C less A", "C less B"]
    for at in (0, 1):
        values = [pair["p_value"][at] for pair in found.values()]
        assert [pair["p_holm"][at] for pair in found.values()] == pytest.approx(holm(values))
    said = monkeys("compare", path, "--pairwise", "--k", "1,10")
    assert "adjusted for 3 pairs, at each k" in said.out


def test_the_set_that_others_are_compared_with_is_kept_beside_those_that_are_named(
    monkeys: Any, tmp_path: Path
) -> None:
    path = family(tmp_path / "x.csv", ["A", "B", "C"])
    found = data(monkeys("compare", path, "--against", "A", "--only", "C", "--k", "1", "--json"))["differences"]
    assert {name: one["against"] for name, one in found.items()} == {"C": "A"}


def test_few_tasks_that_differ_are_said_to_decide_nothing(monkeys: Any, tmp_path: Path) -> None:
    for name, more in (("a", 0), ("b", 20)):
        rows = [{"task": t, "n": 100, "correct": c + more} for t, c in (("x", 10), ("y", 20), ("z", 50))]
        written(tmp_path / f"{name}.csv", rows)
    said = monkeys("compare", tmp_path / "a.csv", tmp_path / "b.csv", "--k", "1,2")
    assert "differ on 3 tasks alone, so that p is at least 0.25" in " ".join(said.out.split())
    found = data(monkeys("compare", tmp_path / "a.csv", tmp_path / "b.csv", "--k", "1,2", "--json"))["differences"]["b"]
    assert all(low <= 0 <= high for low, high in zip(found["low"], found["high"], strict=True))


def test_unknown_predictions_of_many_sets_have_their_reasons(monkeys: Any, tmp_path: Path) -> None:
    path = family(tmp_path / "x.csv", [f"m{number}" for number in range(7)])
    said = " ".join(monkeys("predict", path, "--first", "3", "--k", "10000").out.split())
    assert said.count("unknown") == said.count("note m")


def test_tasks_of_two_benchmarks_are_no_pairs_whatever_their_ids(monkeys: Any, tmp_path: Path) -> None:
    rows = [
        {"model": model, "benchmark": benchmark, "task": task, "n": 4, "correct": (task + len(benchmark)) % 5}
        for benchmark in ("GSM8K", "MATH")
        for model in "AB"
        for task in range(5)
    ]
    path = written(tmp_path / "x.csv", rows)
    said = monkeys("compare", path)
    assert list(data(monkeys("compare", path, "--json"))["differences"]) == ["GSM8K/B"]
    assert "no task in common: MATH/A and GSM8K/A, MATH/B and GSM8K/A" in said.out
    said = monkeys("compare", path, "--only", "GSM8K/A", "--only", "MATH/A")
    assert (said.code, "within one benchmark" in said.err) == (2, True)


# Names, screens and pictures


def test_selection_keeps_the_names_of_its_rules_at_80_columns(
    monkeys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rows = [
        {"task": t, "correct": a % 3 == 0, "answer": a % 3, "judge_score": a, "reward": a}
        for t in "ab"
        for a in range(60)
    ]
    said = monkeys("select", written(tmp_path / "x.jsonl", rows))
    for rule in ("coverage (oracle)", "reward-weighted plurality", "judge_score-weighted plurality"):
        assert re.search(rf"^ {re.escape(rule)} ", said.out, re.MULTILINE)
    assert "…" not in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    assert re.search(r"^ +100 % ┤", said.out, re.MULTILINE), "coverage is 100 % and is not cut off"


def test_a_comparison_of_long_names_keeps_its_columns(
    monkeys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"{maker}-instruct-temperature-1.6-with-a-scaffold-of-its-own" for maker in ("deepseek", "claude")]
    path = family(tmp_path / "x.csv", names)
    said = monkeys("compare", path, "--k", "1,100")
    table = [line for line in said.out.splitlines() if re.match(r" +100 ", line)]
    assert len(table) == 1
    assert len(re.findall(r"[\d.]+", table[0])) == 7, "k, two shares, points, two bounds, p"
    assert max(map(len, said.out.splitlines())) <= 80


def test_predictions_and_differences_are_drawn(monkeys: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = family(tmp_path / "x.csv", ["A", "B"])
    picture = tmp_path / "out.svg"
    data(monkeys("predict", path, "--k", "1000", "--json", "--plot", picture))
    assert "A, predicted" in picture.read_text()
    data(monkeys("compare", path, "--json", "--plot", picture))
    assert "B less A" in picture.read_text()
    assert "difference in coverage" in picture.read_text()
    single = written(tmp_path / "single.csv", [{"task": f"t{at}", "correct": at % 2} for at in range(6)])
    data(monkeys("coverage", single, "--json", "--plot", picture))
    assert "<use " in picture.read_text().split('id="line2d_')[-2] + picture.read_text()
    assert monkeys("coverage", single).out.count("1 attempt each") == 1


def test_the_legend_of_many_sets_leaves_room_for_the_curves(monkeys: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = family(tmp_path / "x.csv", [f"some-family/model-number-{at}" for at in range(59)], tasks=2, n=3)
    data(monkeys("coverage", path, "--json", "--plot", tmp_path / "out.png"))  # a warning would be an error


def test_predict_shows_the_regression_s_figure_and_both_estimates(monkeys: Any, tmp_path: Path) -> None:
    path = family(tmp_path / "x.csv", ["A"], tasks=20)
    (found,) = data(monkeys("predict", path, "--k", "1000", "--json"))["sets"]["A"]["predictions"]
    assert found["coverage"] == min(max(found["regression"], found["low"]), found["high"])
    assert found["low"] <= found["likelihood"] <= found["high"]
    out = " ".join(monkeys("predict", path, "--k", "1000").out.split())
    assert "k predicted 95 % interval log-log likelihood power law" in out


def test_predict_from_the_first_attempts_in_order(monkeys: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = [
        {"task": f"t{task}", "attempt": at, "correct": int(one)}
        for task, p in enumerate(rng.beta(0.5, 3, 20))
        for at, one in enumerate(rng.random(60) < p)
    ]
    path = written(tmp_path / "x.csv", rows)
    firsts = written(tmp_path / "y.csv", [row for row in rows if row["attempt"] < 20])
    words = ("--k", "60", "--json")
    found = data(monkeys("predict", path, "--first", "20", "--in-order", *words))["sets"]["x"]["predictions"][0]
    alone = data(monkeys("predict", firsts, *words))["sets"]["y"]["predictions"][0]
    assert (found["coverage"], found["low"]) == (alone["coverage"], alone["low"])
    assert (
        found["measured"] == data(monkeys("coverage", path, "--k", "60", "--json"))["sets"]["x"]["points"][0]["value"]
    )
    assert "--in-order out" in monkeys("predict", family(tmp_path / "c.csv", ["A"]), "--first", "5", "--in-order").err


def test_fit_has_intervals_of_a_and_b_at_the_level_asked_for(monkeys: Any, tmp_path: Path) -> None:
    path = family(tmp_path / "x.csv", ["A"], n=20)
    wide, narrow = (data(monkeys("fit", path, "--json", "--level", level))["sets"]["A"]["law"] for level in (0.95, 0.5))
    for law in (wide, narrow):
        assert law["a_low"] < law["a"] < law["a_high"]
        assert law["b_low"] < law["b"] < law["b_high"]
    assert narrow["b_high"] - narrow["b_low"] < wide["b_high"] - wide["b_low"]


def test_a_family_is_aligned_and_its_laws_are_compared(monkeys: Any, tmp_path: Path) -> None:
    path = family(tmp_path / "x.csv", ["weak", "strong"])
    found = data(monkeys("align", path, "--json"))
    assert (found["anchor"], found["sets"]["strong"]["shift"]) == ("strong", 1)
    assert found["sets"]["weak"]["shift"] > 1
    laws = data(monkeys("compare-laws", path, "--json", "--level", "0.9"))["laws"]["strong"]
    assert laws["exponent_low"] < laws["exponent"] < laws["exponent_high"]
    assert (laws["against"], laws["paired"], laws["level"]) == ("weak", True, 0.9)
    assert monkeys("compare-laws", path).code == monkeys("align", path).code == 0


def test_g_pass_at_k_and_methods_are_asked_for(monkeys: Any, counts: Path) -> None:
    words = ("coverage", counts, "--json", "--k", "4")
    found = data(monkeys(*words, "--estimate", "g-pass@k", "--tau", "0.5"))["sets"]["airline"]
    assert found["points"][0]["value"] == pytest.approx(sum(int(c) >= 2 for c in AIRLINE) / 50)
    assert "G-Pass@k, tau 0.5" in monkeys("coverage", counts, "--estimate", "g-pass@k").out
    assert "Korn-Graubard" in data(monkeys(*words, "--method", "korn-graubard"))["sets"]["airline"]["interval"]["what"]


# Other forms


def test_numbers_are_printed_as_one_table_of_csv(monkeys: Any, counts: Path, tmp_path: Path) -> None:
    said = monkeys("coverage", counts, "--csv", "--k", "1,4")
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert [(row["set"], row["k"], float(row["value"])) for row in rows] == [
        ("airline", "1", 0.42),
        ("airline", "4", 0.72),
    ]
    path = family(tmp_path / "x.csv", ["A", "B"], tasks=6, n=20)
    for words in (
        ["fit"],
        ["predict", "--k", "1000"],
        ["compare"],
        ["align"],
        ["compare-laws"],
        ["cost", "--price", "1"],
        ["cost", "--against", "attempts"],
    ):
        rows = list(csv.DictReader(io.StringIO(monkeys(words[0], path, *words[1:], "--csv").out)))
        assert rows
        assert all(None not in row and None not in row.values() and row["set"] in ("A", "B") for row in rows)


def test_tables_are_printed_for_a_latex_document(monkeys: Any, tmp_path: Path) -> None:
    said = monkeys("compare", family(tmp_path / "x.csv", ["a_1", "50% & more"]), "--latex")
    assert said.out.startswith("% 50% & more less a_1")
    assert r"k & a\_1 & 50\% \& more & points & 95 \% interval & p \\" in said.out
    assert said.out.count(r"\begin{tabular}{rrrrrr}") == said.out.count(r"\end{tabular}") == 1


def test_a_picture_may_be_a_pdf(monkeys: Any, tmp_path: Path, counts: Path) -> None:
    pytest.importorskip("matplotlib")
    data(monkeys("coverage", counts, "--json", "--plot", tmp_path / "x.pdf"))
    first = (tmp_path / "x.pdf").read_bytes()
    assert first.startswith(b"%PDF")
    data(monkeys("coverage", counts, "--json", "--plot", tmp_path / "x.pdf"))
    assert (tmp_path / "x.pdf").read_bytes() == first


@pytest.mark.parametrize(
    "text",
    [
        "task,n,correct\na,4,1\nb,4,2\n",
        '[{"task": "a", "n": 4, "correct": 1}, {"task": "b", "n": 4, "correct": 2}]',
        '{"task": "a", "n": 4, "correct": 1}\n{"task": "b", "n": 4, "correct": 2}\n',
        '{"a": [1, 0, 0, 0], "b": [1, 1, 0, 0]}',
        '{\n "a": [1, 0, 0, 0],\n "b": [1, 1, 0, 0]\n}\n',
    ],
)
def test_a_table_is_read_from_standard_input(text: str) -> None:
    command = [sys.executable, "-m", "monkeys", "coverage", "-", "--json", "--k", "1"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert json.loads(done.stdout)["sets"]["stdin"]["points"][0]["value"] == 0.375


def test_selection_by_agreement_on_tests(monkeys: Any, tmp_path: Path) -> None:
    told = ("110", "110", "110", "111", "000")
    rows = [{"task": "a", "correct": passes == "110", "passes": passes} for passes in told]
    for suffix in (".csv", ".jsonl"):
        path = written(tmp_path / f"x{suffix}", rows)
        found = data(monkeys("select", path, "--json"))["sets"]["x"]["rules"]
        assert set(found) == {"random", "agreement"}
        assert found["agreement"]["mean"][-1] == 1
    lists = [{**row, "passes": [int(one) for one in passes]} for row, passes in zip(rows, told, strict=True)]
    found = data(monkeys("select", written(tmp_path / "y.jsonl", lists), "--json"))["sets"]["y"]["rules"]
    assert found["agreement"]["mean"][-1] == 1
    said = monkeys("select", written(tmp_path / "z.jsonl", [*rows, {"task": "a", "correct": 0, "passes": "1"}]))
    assert (said.code, "different numbers of tests" in said.err) == (2, True)
    for cell in ("1x", 11, None, [2]):
        said = monkeys("select", written(tmp_path / "z.jsonl", [{"task": "a", "correct": 0, "passes": cell}]))
        assert (said.code, "such as 1011" in said.err) == (2, True)
    none = written(tmp_path / "none.jsonl", [{"task": "a", "correct": 0, "passes": []}] * 2)
    assert data(monkeys("select", none, "--json"))["sets"]["none"]["rules"]["agreement"]["mean"] == [0, 0]


# Refusals


STREAKS = "task,correct\n" + "".join(f"t{task},{at // 20 % 2}\n" for task in range(10) for at in range(100))
STOPPED = "task,n,correct\n" + "".join(f"t{at},{n},{int(n < 50)}\n" for at, n in enumerate([3, 9, 20, 30, 50, 50]))


@pytest.mark.parametrize(
    ("text", "words", "remedy"),
    [
        (STREAKS, ["coverage"], "--sampling independent"),
        (STOPPED, ["coverage"], "give --stopped-at N"),
        (STOPPED, ["predict"], "--stopped-at"),
        (STOPPED, ["coverage", "--stopped-at", "40"], "correct --stopped-at"),
        (STOPPED, ["compare", "FILE"], "--sampling independent"),
        (STOPPED, ["coverage", "--sampling", "adaptive"], "the first m attempts"),
        (STOPPED, ["coverage", "--again", "--method", "bca", "--sampling", "independent"], "leave --method"),
        (STOPPED, ["coverage", "--estimate", "g-pass@k", "--tau", "2", "--sampling", "independent"], "--tau 2.0"),
        (STOPPED, ["predict", "--sampling", "independent", "--k", "2"], "--k 2 is no extrapolation"),
        (STOPPED, ["coverage", "--sampling", "independent", "--k", "4"], "--k 4 is more than"),
        (STOPPED, ["coverage", "--sampling", "independent", "--k", "0"], "--k 0: coverage"),
        (STOPPED, ["coverage", "--tau", "0.5"], "add --estimate g-pass@k"),
        (STOPPED, ["coverage", "--level", "2"], "no level of an interval"),
        (STOPPED, ["coverage", "--columns", "task"], "MEANING=COLUMN"),
        (STOPPED, ["coverage", "--by", "colour"], "for --by"),
        (STOPPED, ["predict", "--in-order"], "give --first too"),
    ],
)
def test_a_refusal_names_the_option_and_no_argument_of_a_function(
    monkeys: Any, tmp_path: Path, text: str, words: list[str], remedy: str
) -> None:
    path = written(tmp_path / "x.csv", text)
    said = monkeys(words[0], path, *(path if word == "FILE" else word for word in words[1:]))
    assert (said.code, said.out) == (2, "")
    assert remedy in said.err
    assert not re.search(r"\w+_\w+`|sampling=|names=|paired=| = \"", said.err), said.err


def test_every_phrase_that_is_put_into_options_is_one_of_the_science() -> None:
    science = Path(coverage_package.__file__).parents[1]
    said = " ".join(path.read_text() for path in science.rglob("*.py"))
    said = re.sub(r"""["']\s*\n\s*f?["']""", "", said)  # a text over several lines
    for phrase, _ in PHRASES:
        assert phrase in said


# Extremes: a right answer, or one line


EXTREMES = {
    "one task": "task,n,correct\na,10,3\n",
    "all solved": "task,n,correct\na,10,10\nb,10,10\n",
    "none solved": "task,n,correct\na,10,0\nb,10,0\n",
    "one attempt": "task,n,correct\na,1,1\nb,1,0\n",
    "unequal n": "task,n,correct\na,100,10\nb,3,1\nc,50,0\n",
}


@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("words", [["coverage"], ["fit"], ["predict"], ["cost", "--price", "1", "--want", ".5"]])
def test_extreme_counts_get_a_right_answer_or_one_line(
    monkeys: Any, tmp_path: Path, name: str, words: list[str]
) -> None:
    path = written(tmp_path / "x.csv", EXTREMES[name])
    said = monkeys(words[0], path, *words[1:])
    if said.code:
        assert (said.code, said.out) == (2, "")
        assert re.fullmatch(r"error: [^\n]{20,}\n", said.err)
    else:
        assert said.err == ""
        assert "nan" not in said.out.lower()
    if words == ["coverage"]:
        expected = {"all solved": 1.0, "none solved": 0.0, "one task": 0.3, "one attempt": 0.5, "unequal n": 13 / 90}
        first = data(monkeys("coverage", path, "--json"))["sets"]["x"]["points"][0]
        assert math.isclose(first["value"], expected[name])


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["coverage"], "FILE"),
        (["coverage", "nowhere"], "no run"),
        (["coverage", "nowhere.csv"], "there is no"),
        (["coverage", "FILE", "--k", "0"], "k >= 1"),
        (["coverage", "FILE", "--k", "5"], "k <= 4"),
        (["coverage", "FILE", "--k", "x"], "not a whole number"),
        (["coverage", "FILE", "--level", "95"], "between 0 and 1"),
        (["coverage", "FILE", "--only", "zzz"], "there are airline"),
        (["coverage", "FILE", "--by-repo"], "add a column repo"),
        (["coverage", "FILE", "--plot", "x.gif"], ".svg, .pdf, .png, .html"),
        (["coverage", "FILE", "--stopped-at", "3"], "more than 3 attempts"),
        (["predict", "FILE", "--k", "2"], "no extrapolation"),
        (["predict", "FILE", "--first", "5"], "ask for 1 to 4"),
        (["compare", "FILE"], "needs two sets"),
        (["cost"], "--arm"),
        (["cost", "FILE"], "no price"),
        (["cost", "FILE", "--prompt", "1", "--completion", "1"], "no shape of 'airline'"),
        (["cost", "FILE", "--prompt", "1", "--completion", "1", "--shape", "1,2,x"], "parameters,layers,hidden"),
        (["cost", "FILE", "--price", "x=-1"], "is no price"),
        (["cost", "FILE", "--price", "1", "--want", "50"], "share in (0, 1]"),
        (["cost", "FILE", "--prices", "1"], "P,C"),
        (["cost", "FILE", "--prices", "1,-1"], "from 0"),
        (["cost", "--arm", "x"], "NAME:$:N:SHARE"),
        (["cost", "--arm", "x:1:1:5"], "divide per cents"),
        (["select", "FILE"], "single attempts are needed"),
        (["select", "FILE", "--pairs"], "--judge"),
    ],
)
def test_a_mistake_is_one_line_with_its_remedy(monkeys: Any, counts: Path, words: list[str], remedy: str) -> None:
    said = monkeys(*(str(counts) if word == "FILE" else word for word in words))
    assert (said.code, said.out) == (2, "")
    assert re.fullmatch(r"error: [^\n]*\n", said.err)
    assert remedy in said.err


def test_a_server_that_is_not_there_is_one_line(monkeys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = candidates(tmp_path)
    said = monkeys("select", path, "--reward", "m", "--base-url", "http://127.0.0.1:9/v1", "--reward-path", "/pooling")
    assert said.code == 2
    assert re.fullmatch(r"error: server http://127\.0\.0\.1:9/v1/? cannot be reached [^\n]*\n", said.err)


CELLS = {
    "task": ["a", "b", "c", "1", ""],
    "n": ["1", "2", "3", "10", "0", "x"],
    "correct": ["0", "1", "2", "3", "passed", ""],
    "attempt": ["1", "2", "3", "x", ""],
    "model": ["A", "B", "", "A/B"],
    "benchmark": ["X", "Y"],
    "total": ["1", "2"],
    "reward": ["0.5", "1", "-1", ""],
    "answer": ["x", "y", ""],
    "cost": ["1", "0", "x"],
    "repo": ["r"],
    "temperature": ["0.2", "1"],
}
ANY_COMMAND = st.sampled_from(
    [
        *(["coverage"], ["coverage", "--k", "1", "--summary"], ["coverage", "--estimate", "g-pass@k", "--by-repo"]),
        *(["fit"], ["predict", "--k", "100"], ["predict", "--first", "1", "--in-order", "--k", "3", "--csv"]),
        *(["compare"], ["compare", "--pairwise", "--latex"], ["align", "--csv"], ["compare-laws"]),
        *(["cost", "--price", "1", "--csv"], ["cost", "--against", "dollars", "--latex"], ["select", "--subsets", "3"]),
        *(["coverage", "--by", "temperature", "--csv"], ["coverage", "--columns", "outcome=reward"]),
        *(["coverage", "--stopped-at", "3"], ["coverage", "--sampling", "independent", "--again"]),
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    ANY_COMMAND,
    st.lists(st.sampled_from(sorted(CELLS)), min_size=2, max_size=6, unique=True),
    st.integers(0, 12),
    st.randoms(use_true_random=False),
)
def test_no_table_makes_a_traceback(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], columns: list[str], rows: int, random: Any
) -> None:
    lines = [",".join(random.choice(CELLS[name]) for name in columns) for _ in range(rows)]
    path = written(tmp_path / "x.csv", "\n".join([",".join(columns), *lines]))
    code = main(["--runs", str(tmp_path), words[0], str(path), *words[1:]])
    said = Said(code, *capsys.readouterr())
    assert code in (0, 2)
    if code:
        assert re.fullmatch(r"error: [^\n]{20,}\n", said.err)
    assert "nan" not in said.out.lower()


KEYS = [
    *("instance_id", "model_patch", "task", "n", "correct", "is_corrects", "resolved_ids", "unresolved_ids", "eval"),
    *(
        "incomplete_ids",
        "total_instances",
        "samples",
        "question",
        "answer",
        "FAIL_TO_PASS",
        "info",
        "image",
        "resolved",
    ),
]
LEAVES = (
    st.none() | st.booleans() | st.integers(-2, 9) | st.floats() | st.sampled_from(["", "a", "1.000", "[1]", "\ud800"])
)
ANY_JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)
ANY_BYTES = st.one_of(
    st.binary(max_size=40),
    ANY_JSON.map(lambda value: json.dumps(value).encode()),
    st.lists(ANY_JSON, max_size=3).map(lambda rows: "\n".join(map(json.dumps, rows)).encode()),
    st.sampled_from(
        [b"PAR1PAR1", b"\x1f\x8b\x08", b"PK\x03\x04", b"\xff\xfea", b"version https://git-lfs", b"sep=;\n"]
    ),
)
READERS = (
    "coverage",
    "fit",
    "predict",
    "compare",
    "align",
    "compare-laws",
    "cost",
    "select",
    "verify",
    "replay",
    "sample",
)
ENDINGS = (
    ".csv",
    ".json",
    ".jsonl",
    ".parquet",
    ".eval",
    ".yaml",
    ".json.gz",
    ".traj.json",
    ".pred",
    ".diff",
    ".xlsx",
    "",
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.sampled_from(READERS), st.sampled_from(ENDINGS), st.booleans(), ANY_BYTES)
def test_no_file_makes_a_traceback_in_any_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, ending: str, packed: bool, content: bytes
) -> None:
    path = tmp_path / f"x{ending}"
    path.write_bytes(gzip.compress(content) if packed else content)
    words = {
        "verify": ["verify", str(path), "--tasks", "quick"],
        "replay": ["sample", "--model", f"replay:{path}", "--attempts", "1"],
        "sample": ["sample", "--model", "replay:gold", "--tasks", str(path), "--attempts", "1"],
    }.get(command, [command, str(path)])
    code = main([*words, "--runs", str(tmp_path / "runs")])
    said = Said(code, *capsys.readouterr())
    assert code in (0, 2), said.err
    if code:
        assert re.fullmatch(r"error: [^\n]{20,}\n", said.err)


# The documentation


DOCS = Path(__file__).parents[3] / "docs"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["counts.md", "cost.md", "selection.md"])
def test_every_command_and_example_of_the_documentation_works(
    monkeys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall((DOCS / page).read_text())
    for _, name, text in blocks:
        if name:
            Path(name).write_text(text)
    commands = [line for kind, _, text in blocks if kind == "sh" for line in text.splitlines()]
    assert commands
    for command in commands:
        said = monkeys(*shlex.split(command)[1:])
        assert (said.code, said.err) == (0, ""), command
    for kind, _, text in blocks:
        if kind == "python":
            exec(text, {})


def test_the_forms_of_one_table_in_the_documentation_are_the_same(tmp_path: Path) -> None:
    found = {}
    for _, name, text in BLOCK.findall((DOCS / "counts.md").read_text()):
        if name and name not in ("wide.csv", "stronger.csv", "graded.csv"):
            (counts,) = read_counts(written(tmp_path / name, text))
            found[name] = (counts.task_ids, tuple(counts.n), tuple(counts.correct))
    assert len(found) == 5
    assert set(found.values()) == {(("t1", "t2", "t3"), (4, 4, 2), (3, 0, 2))}
