"""`monkeys coverage|fit|predict|compare|cost|select` on files: what they print, for people and for machines."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from monkeys.commands.main import main
from monkeys.formats.counts import read_counts
from monkeys.science.cost import ModelShape, find_shape, request_flops
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
        (["coverage", "FILE", "--plot", "x.pdf"], ".svg, .png, .html"),
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
    assert re.fullmatch(r"error: server http://127\.0\.0\.1:9/v1/ cannot be reached [^\n]*\n", said.err)


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
        if name and name != "wide.csv":
            (counts,) = read_counts(written(tmp_path / name, text))
            found[name] = (counts.task_ids, tuple(counts.n), tuple(counts.correct))
    assert len(found) == 5
    assert set(found.values()) == {(("t1", "t2", "t3"), (4, 4, 2), (3, 0, 2))}
