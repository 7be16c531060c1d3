"""Counts from files: every format, and every way in which a file can be wrong."""

from __future__ import annotations

import csv
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from monkeys.formats.counts import CountsError, read_counts, read_outcomes
from tests.monkeys.report.test_report import BAD, GOOD, make_run, outcomes
from tests.published import published_counts

NAMES, N, CORRECT = ("a", "b", "c"), (4, 4, 2), (3, 0, 2)
SINGLE = [("a", 1), ("a", 0), ("b", 0), ("a", 1), ("b", 0), ("c", 1), ("a", 1), ("b", 0), ("c", 1), ("b", 0)]


def written(path: Path, data: Any) -> Path:
    """A file in the format of its suffix: rows as dictionaries, anything else as JSON, text as it is."""
    if isinstance(data, str):
        path.write_text(data)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, list(data[0]))
            table.writeheader()
            table.writerows(data)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in data))
    elif path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(data), path)
    else:
        path.write_text(json.dumps(data))
    return path


COUNT_ROWS = [{"task": task, "n": n, "correct": c} for task, n, c in zip(NAMES, N, CORRECT, strict=True)]
OUTCOME_ROWS = [{"task": task, "correct": correct} for task, correct in SINGLE]
LIST_ROWS = [{"task": task, "is_corrects": [one == 1 for name, one in SINGLE if name == task]} for task in NAMES]


TABLES = {
    f"{name}{suffix}": (suffix, rows)
    for suffix in (".csv", ".json", ".jsonl", ".parquet")
    for name, rows in (("counts", COUNT_ROWS), ("outcomes", OUTCOME_ROWS), ("lists", LIST_ROWS))
    if name != "lists" or suffix != ".csv"  # a cell of CSV is no list
}


@pytest.mark.parametrize(("suffix", "rows"), TABLES.values(), ids=TABLES)
def test_counts_outcomes_and_lists_of_them_are_the_same_in_every_format(
    tmp_path: Path, suffix: str, rows: list[dict[str, Any]]
) -> None:
    (found,) = read_counts(written(tmp_path / f"mine{suffix}", rows))
    assert found.name == "mine"
    assert (found.task_ids, tuple(found.n), tuple(found.correct)) == (NAMES, N, CORRECT)


@pytest.mark.parametrize(
    "data",
    [
        {"a": [1, 0, 1, 1], "b": [0, 0, 0, 0], "c": [True, True]},
        {"a": {"n": 4, "correct": 3}, "b": {"n": 4, "correct": 0}, "c": {"n": 2, "correct": 2}},
        {"task": list(NAMES), "n": list(N), "correct": list(CORRECT)},
        {"issues": [{"id": task, "n": n, "resolved": c} for task, n, c in zip(NAMES, N, CORRECT, strict=True)]},
    ],
    ids=["task to outcomes", "task to counts", "columns", "a report"],
)
def test_json_is_read_by_its_shape(tmp_path: Path, data: Any) -> None:
    (found,) = read_counts(written(tmp_path / "x.json", data))
    assert (found.task_ids, tuple(found.n), tuple(found.correct)) == (NAMES, N, CORRECT)


def test_one_n_may_stand_for_all_tasks_and_sets_go_by_name(tmp_path: Path) -> None:
    data = {"MATH/x": {"n": 10, "problem_idx": [7, 9], "correct": [1, 2]}, "GSM8K/x": {"n": 5, "correct": [3]}}
    first, second = read_counts(written(tmp_path / "x.json", data))
    assert (first.name, first.task_ids, tuple(first.n)) == ("MATH/x", ("7", "9"), (10, 10))
    assert (second.name, second.task_ids, tuple(second.correct)) == ("GSM8K/x", ("task 0",), (3,))


def test_a_column_of_arms_makes_a_set_of_each(tmp_path: Path) -> None:
    rows = [{"arm": arm, **row} for arm in ("one", "two") for row in COUNT_ROWS]
    assert [found.name for found in read_counts(written(tmp_path / "x.csv", rows))] == ["one", "two"]


def test_the_published_counts_are_read_as_they_are() -> None:
    counts = published_counts()

    for found in read_counts(Path(os.environ["MONKEYS_PUBLISHED_COUNTS"])):
        assert found.correct.tolist() == counts[found.name]["correct"]
        assert found.attempts == 10_000


def test_repositories_are_read_from_a_column_or_from_swe_bench_s_ids(tmp_path: Path) -> None:
    rows = [{"instance_id": "astropy__astropy-6938", "n": 2, "resolved": 1}]
    assert read_counts(written(tmp_path / "x.csv", rows))[0].repositories == ("astropy/astropy",)
    rows = [{"task": "t", "n": 2, "correct": 1, "repo": "mine/own", "cost": 0.25}]
    (found,) = read_counts(written(tmp_path / "y.csv", rows))
    assert found.repositories == ("mine/own",)
    assert found.costs is not None
    assert found.costs.tolist() == [0.25]


def test_semicolons_a_byte_order_mark_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("\ufefftask;n;correct\r\n\r\na;2;1\r\n".encode())
    assert tuple(read_counts(path)[0].correct) == (1,)


def test_what_else_is_known_of_attempts_is_kept(tmp_path: Path) -> None:
    rows = [{"task": "a", "resolved": "resolved", "patch": "p" * 200_000, "reward": 0.5}]
    rows.append({"task": "a", "resolved": "infra error", "patch": "", "reward": 0.1})
    (found,) = read_outcomes(written(tmp_path / "x.csv", rows))
    assert found.columns["patch"] == ["p" * 200_000]
    assert found.columns["reward"] == ["0.5"]
    assert found.notes == ("left out: 1 rows that are infra errors or not verified",)


def test_a_run_is_read_as_counts_and_as_attempts_with_their_patches(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "mine", {"a": [(b"p", GOOD), (b"q", BAD), (b"r", None)], "b": outcomes(3, 2)})
    (counts,) = read_counts(folder)
    assert (counts.task_ids, tuple(counts.n), tuple(counts.correct)) == (("a", "b"), (2, 3), (1, 2))
    assert counts.notes == ("left out: 1 attempts without a verdict",)
    assert counts.tokens is not None
    assert counts.tokens.sum(axis=0).tolist() == [6000, 2400, 120]
    (single,) = read_outcomes(folder)
    assert single.columns["patch"] == ["p", "q", "patch 0", "patch 1", "patch 2"]
    assert single.correct.tolist() == [True, False, True, True, False]


# The Monkeys repository's YAML, SWE-bench's reports


def problem(folder: Path, name: str, corrects: list[bool]) -> None:
    lines = "".join(f"- {str(one).lower()}\n" for one in corrects)
    samples = "".join(
        f"- 'It is \\boxed{{{number}}}.\n\n  is_corrects:\n\n  - true'\n" for number, _ in enumerate(corrects)
    )
    (folder / f"{name}.yaml").write_text(f"gt_answer: '4'\nis_corrects:\n{lines}question: what?\nsamples:\n{samples}")


def test_the_monkeys_repository_s_yaml_is_one_problem_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "MATH"
    folder.mkdir()
    problem(folder, "12", [True, False, True])
    problem(folder, "3", [False, False])
    (found,) = read_counts(folder)
    assert (found.name, found.task_ids) == ("MATH", ("12", "3"))
    assert (tuple(found.n), tuple(found.correct)) == ((3, 2), (2, 0))
    pytest.importorskip("yaml")
    (single,) = read_outcomes(folder)
    assert [re.findall(r"\d+", text)[0] for text in single.columns["samples"]] == ["0", "1", "2", "0", "1"]


def test_yaml_in_another_hand_is_read_by_pyyaml(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    (tmp_path / "1.yaml").write_text("{is_corrects: [true, false], samples: [a, b]}\n")
    assert tuple(read_counts(tmp_path)[0].correct) == (1,)
    (tmp_path / "1.yaml").write_text("samples: [a, b]\n")
    with pytest.raises(CountsError, match="no list is_corrects"):
        read_counts(tmp_path)


def report(folder: Path, run: str, model: str, instance: str, resolved: bool | None, log: str = "") -> None:
    place = folder / "logs" / "run_evaluation" / run / model / instance
    place.mkdir(parents=True)
    (place / "run_instance.log").write_text(log)
    if resolved is not None:
        (place / "report.json").write_text(json.dumps({instance: {"resolved": resolved, "patch_exists": True}}))


def test_reports_of_swe_bench_are_attempts_of_their_model(tmp_path: Path) -> None:
    for number, resolved in enumerate([True, False]):
        report(tmp_path, "r1", f"m-attempt-{number:03}", "o__r-1", resolved)
    report(tmp_path, "r1", "m-attempt-000", "o__r-2", None, ">>>>> Patch Apply Failed:\nno")
    report(tmp_path, "r1", "m-attempt-001", "o__r-2", None, "the daemon went away")
    report(tmp_path, "r1", "other", "o__r-1", True)
    summary = {"resolved_ids": ["o__r-1"], "unresolved_ids": [], "empty_patch_ids": ["o__r-3"], "error_ids": []}
    (tmp_path / "m-attempt-000.r1.json").write_text(json.dumps(summary))
    m, other = read_counts(tmp_path)
    assert (m.name, m.task_ids, tuple(m.n), tuple(m.correct)) == (
        "m",
        ("o__r-1", "o__r-2", "o__r-3"),
        (2, 1, 1),
        (1, 0, 0),
    )
    assert m.notes == ("left out: 1 attempts that the harness calls errors",)
    assert (other.name, tuple(other.n)) == ("other", (1,))


def test_a_summary_of_swe_bench_alone_is_one_attempt_each(tmp_path: Path) -> None:
    summary = {"resolved_ids": ["o__r-1"], "unresolved_ids": ["o__r-2"], "error_ids": ["o__r-4"]}
    path = written(tmp_path / "m.r1.json", summary)
    for where in (path, tmp_path):
        (found,) = read_counts(where)
        assert (found.name, found.task_ids, tuple(found.correct)) == ("m", ("o__r-1", "o__r-2"), (1, 0))


# What is refused


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.csv", "", "is empty"),
        ("x.csv", "task,n,correct\n", "is empty"),
        ("x.csv", "1,2,3\n4,5,6\n", "no header"),
        ("x.csv", "task,n,correct\na,10,11\n", r"task a: more attempts correct than made \(11 of 10\)"),
        ("x.csv", "task,n,correct\na,-1,0\n", "n = -1"),
        ("x.csv", "task,n,correct\na,10,-2\n", "correct = -2"),
        ("x.csv", "task,n,correct\na,10,2.5\n", "row 1: '2.5' is no whole number"),
        ("x.csv", "task,n,correct\na,10,nan\n", "'nan' is no number; a missing count is not zero"),
        ("x.csv", "task,n,correct\na,10,\n", "'' is no number"),
        ("x.csv", "task,n,correct\na,10,inf\n", "'inf' is no number"),
        ("x.csv", "task,n,correct\na,ten,1\n", "'ten' is no number"),
        ("x.csv", "task,n,correct\na,99999999999999999999,1\n", "is no number"),
        ("x.csv", "task,n,correct\na,10,1\na,10,2\n", "more than one row of counts for a"),
        ("x.csv", "task,n,correct\na,10\n", "row 2: 2 cells under 3 columns"),
        ("x.csv", "task,n,N,correct\na,10,10,1\n", "more than one column n"),
        ("x.csv", "task,correct\na,3\n", "3.* is no outcome"),
        ("x.csv", "task,correct\na,\n", "'' is no outcome"),
        ("x.csv", "task,correct\na,0.5\n", "'0.5' is no outcome"),
        ("x.csv", "task,correct\na,infra error\n", "no task has an attempt"),
        ("x.csv", "task,n,correct\na,0,0\n", "no task has an attempt"),
        ("x.csv", "colour,size\nred,3\n", "columns colour, size"),
        ("x.json", "", "is empty"),
        ("x.json", "[]", "is empty"),
        ("x.json", "{}", "known shapes"),
        ("x.json", "3", "known shapes"),
        ("x.json", "{", "not JSON"),
        ("x.json", '{"n": 10, "correct": [NaN]}', "no number"),
        ("x.json", '{"n": 10, "correct": [true]}', "True is no number"),
        ("x.json", '{"n": 10, "correct": ["x"]}', "'x' is no number"),
        ("x.json", '{"n": [1, 2], "correct": [1]}', "column n has 2 values beside 1"),
        ("x.json", '{"a": [], "b": []}', "every list of outcomes is empty"),
        ("x.json", '{"a": [null]}', "None is no single value"),
        ("x.jsonl", '{"task": "a", "correct": 1}\n{"task"\n', "line 2 is not JSON"),
        ("x.jsonl", "3\n", "line 1: an object"),
        ("x.txt", "a", "no known kind"),
        ("x.yaml", "is_corrects: 3\n", "no list is_corrects"),
        ("x.parquet", "no such thing", "not a Parquet file"),
    ],
)
def test_a_bad_file_is_one_line_that_names_the_place(tmp_path: Path, name: str, data: str, message: str) -> None:
    with pytest.raises(CountsError, match=message) as refusal:
        read_counts(written(tmp_path / name, data))
    assert "\n" not in str(refusal.value)


def test_a_folder_without_counts_a_missing_file_and_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CountsError, match=r"no run .*, no problems .* and no reports"):
        read_counts(tmp_path)
    with pytest.raises(CountsError, match="there is no"):
        read_counts(tmp_path / "nowhere.csv")
    (tmp_path / "x.csv").write_bytes(b"task,n\n\xff\xfe,1\n")
    with pytest.raises(CountsError, match="not UTF-8"):
        read_counts(tmp_path / "x.csv")


def test_counts_do_not_know_their_attempts(tmp_path: Path) -> None:
    with pytest.raises(CountsError, match="single attempts are needed"):
        read_outcomes(written(tmp_path / "x.csv", COUNT_ROWS))


def test_tasks_without_attempts_are_left_out_and_named(tmp_path: Path) -> None:
    (found,) = read_counts(written(tmp_path / "x.csv", "task,n,correct\na,5,1\nb,0,0\n"))
    assert found.task_ids == ("a",)
    assert found.notes == ("left out: no attempt that counts on b",)


def test_a_million_rows_are_read_in_about_a_second(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    rows = np.random.default_rng(0).random(1_000_000) < 0.2
    path.write_text("task,attempt,correct\n" + "".join(f"t{i // 250},{i % 250},{c:d}\n" for i, c in enumerate(rows)))
    began = time.process_time()
    (found,) = read_counts(path)
    seconds = time.process_time() - began
    assert (len(found.task_ids), int(found.n.sum()), int(found.correct.sum())) == (4000, 1_000_000, int(rows.sum()))
    assert seconds < 5, "a second on a quiet machine; the garbage collector alone once took four"


CELLS = st.one_of(st.none(), st.booleans(), st.integers(-2, 12), st.floats(), st.text(max_size=3))
KEYS = st.sampled_from(
    ["task", "n", "correct", "is_corrects", "outcomes", "arm", "repo", "cost", "issues", "resolved_ids", "x"]
)
VALUES = st.recursive(
    CELLS, lambda one: st.lists(one, max_size=4) | st.dictionaries(KEYS, one, max_size=4), max_leaves=12
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(VALUES)
def test_any_json_is_counts_or_one_line(tmp_path: Path, value: Any) -> None:
    for suffix, text in (
        (".json", json.dumps(value)),
        (".jsonl", "\n".join(json.dumps(one) for one in [value, value])),
    ):
        counts_or_one_line(written(tmp_path / f"x{suffix}", text))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(
    st.lists(
        st.sampled_from(["task", "n", "correct", "a", "b", "1", "0", "3.0", "-1", "nan", ",", "\n", '"', ";", ""]),
        max_size=25,
    )
)
@example(pieces=['"', "task", "\n", '"', "task", "\n", "task"])
def test_any_table_is_counts_or_one_line(tmp_path: Path, pieces: list[str]) -> None:
    counts_or_one_line(written(tmp_path / "x.csv", "".join(pieces)))


def counts_or_one_line(path: Path) -> None:
    try:
        for found in read_counts(path):
            assert found.n.min() > 0
            assert (found.correct <= found.n).all()
            assert len(found.task_ids) == found.n.size
        read_outcomes(path)
    except CountsError as error:
        refusal = str(error)
    else:
        refusal = ""
    assert "\n" not in refusal
