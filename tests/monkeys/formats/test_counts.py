"""Counts from files: every format, and every way in which a file can be wrong."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from monkeys.formats.counts import CountsError, Reading, read_counts, read_outcomes
from monkeys.science.coverage import CoverageError
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


@pytest.mark.parametrize("first", [True, False])
def test_a_total_of_the_others_is_no_task(tmp_path: Path, first: bool) -> None:
    rows = [("a", 10, 3), ("b", 10, 5), ("c", 10, 0)]
    for total, refused in (
        ("Total", True),
        ("**Overall**", True),
        ("Gesamt", True),
        ("Total général", True),
        ("d", False),
    ):
        some = [(total, 30, 8), *rows] if first else [*rows, (total, 30, 8)]
        file = written(tmp_path / "counts.csv", [{"task": t, "n": n, "correct": c} for t, n, c in some])
        if refused:
            with pytest.raises(CountsError, match="the sum of the others"):
                read_counts(file)
        else:
            assert len(read_counts(file)[0].task_ids) == 4


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


def summary(path: Path, **lists: Any) -> Path:
    return written(path, {key if key.endswith("instances") else f"{key}_ids": value for key, value in lists.items()})


def test_instances_that_were_never_submitted_are_asked_about(tmp_path: Path) -> None:
    path = summary(
        tmp_path / "m.r1.json",
        total_instances=10,
        resolved=["o__r-1", "o__r-2"],
        unresolved=["o__r-3"],
        error=["o__r-4"],
        incomplete=[f"o__r-{number}" for number in range(5, 11)],
    )
    for where in (path, tmp_path):
        with pytest.raises(
            CountsError, match=r"6 of 10 .* never submitted, such as .*66\.7% .*22\.2% .*--unsubmitted"
        ) as no:
            read_counts(where)
        assert "\n" not in str(no.value)
        (left,) = read_counts(where, Reading(unsubmitted="left-out"))
        (failed,) = read_counts(where, Reading(unsubmitted="unresolved"))
        assert (int(left.n.sum()), int(left.correct.sum())) == (3, 2)
        assert (int(failed.n.sum()), int(failed.correct.sum())) == (9, 2)
        assert left.notes[-1] == "left out: 6 instances that were never submitted"
        assert failed.notes[-1] == "counted as unresolved: 6 instances that were never submitted"


def test_an_instance_that_one_of_two_attempts_left_out_is_asked_about_too(tmp_path: Path) -> None:
    summary(tmp_path / "m-attempt-0.r.json", resolved=["o__r-1"], unresolved=["o__r-2"])
    summary(tmp_path / "m-attempt-1.r.json", resolved=["o__r-1"], unresolved=[], incomplete=["o__r-2"])
    with pytest.raises(CountsError, match=r"1 of 4 instances were never submitted, such as o__r-2"):
        read_counts(tmp_path)
    (found,) = read_counts(tmp_path, Reading(unsubmitted="unresolved"))
    assert (tuple(found.n), tuple(found.correct)) == ((2, 2), (2, 0))


@pytest.mark.parametrize(
    ("lists", "why"),
    [
        ({"resolved": ["a"]}, "names the resolved instances alone"),
        ({"resolved": ["a"], "unresolved": ["a"]}, "a as resolved and as unresolved"),
        ({"resolved": ["a"], "unresolved": [], "resolved_instances": 2}, "resolved_instances = 2 beside 1"),
        ({"resolved": ["a"], "submitted": ["a", "b"]}, "1 submitted instances without a verdict, such as b"),
        ({"resolved": [], "unresolved": [], "error": ["a"]}, "all 1 attempts are errors"),
        ({"resolved": ["a"], "unresolved": ["b"], "total_instances": 9}, "7 of 9 instances were never submitted"),
    ],
)
def test_a_summary_whose_denominator_is_unknown_is_refused(tmp_path: Path, lists: dict[str, Any], why: str) -> None:
    with pytest.raises(CountsError, match=why):
        read_counts(summary(tmp_path / "m.r.json", **lists))


def test_instances_that_a_summary_counts_and_does_not_name_cannot_be_failures(tmp_path: Path) -> None:
    path = summary(tmp_path / "m.r.json", resolved=["a"], unresolved=["b"], total_instances=9)
    (found,) = read_counts(path, Reading(unsubmitted="left-out"))
    assert found.notes == ("left out: 7 instances that were never submitted",)
    with pytest.raises(CountsError, match="does not name the 7 instances"):
        read_counts(path, Reading(unsubmitted="unresolved"))


def test_published_results_of_the_harness_are_read_where_they_name_all_attempts(tmp_path: Path) -> None:
    (found,) = read_counts(
        written(tmp_path / "results.json", {"generated": ["a", "b"], "applied": [], "resolved": ["b"]})
    )
    assert (found.task_ids, tuple(found.correct)) == (("a", "b"), (0, 1))
    with pytest.raises(CountsError, match="names the resolved instances alone"):
        read_counts(written(tmp_path / "results.json", {"no_generation": [], "no_logs": [], "resolved": ["b"]}))


# What spreadsheets and other programs make of a table


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.csv", "task,attempt_1,attempt_2,attempt_3\na,1,0,1\nb,0,0,\n"),
        ("x.csv", 'task,is_corrects\na,"[True, False, True]"\nb,"[0, 0]"\n'),
        ("x.jsonl", '{"task": "a", "outcomes": "TFT"}\n{"task": "b", "outcomes": "FF"}\n'),
        ("x.csv", "task|correct\na|1\na|0\nb|F\na |yes\nb|n\n"),
        ("x.csv", "sep=;\ntask;correct\na;WAHR\na;FALSCH\nb;FAUX\na;VRAI\nb;falso\n"),
        ("x.csv", "task,n,correct\na,3,2\nb,2,0\n".encode("utf-16")),
        ("x.csv", "task;correct\na;ja\na;nein\nb;non\na;oui\nb;não\n"),
        ("x.csv", "task;correct\na;1,0\na;0,0\nb;0,0\na;1,0\nb;0,0\n"),
        ("x.csv", ",n,correct\na,3,2\nb,2,0\n"),
        ("x.csv", '"name","n","correct"\n"a",3,2\n"b",2,0\n'),
        ("x.csv", "id,instance,correct\n0,a,1\n1,a,0\n2,b,0\n3,a,1\n4,b,0\n"),
        ("x.json", '{"task": "a", "n": 3, "correct": 2}\n{"task": "b", "n": 2, "correct": 0}\n'),
        ("x.jsonl", '[{"task": "a", "n": 3, "correct": 2},\n {"task": "b", "n": 2, "correct": 0}]\n'),
        ("x.json", '{"columns": ["task", "n", "correct"], "index": [0, 1], "data": [["a", 3, 2], ["b", 2, 0]]}'),
        ("x.json", '{"columns": ["task", "correct"], "data": [["a", 1], ["b", 0], ["a", 0], ["b", 0], ["a", 1]]}'),
        ("x.json", '{"task": {"0": "a", "1": "b"}, "n": {"0": 3, "1": 2}, "correct": {"0": 2, "1": 0}}'),
        ("x.json", '{"n": {"a": 3, "b": 2}, "correct": {"a": 2, "b": 0}}'),
        (
            "x.json",
            '{"schema": {}, "data": [{"task": "a", "n": 3, "correct": 2}, {"task": "b", "n": 2, "correct": 0}]}',
        ),
    ],
)
def test_a_table_is_read_in_the_forms_that_programs_write(tmp_path: Path, name: str, data: str | bytes) -> None:
    (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    (found,) = read_counts(tmp_path / name, Reading(sampling="independent"))
    assert (found.task_ids, tuple(found.n), tuple(found.correct)) == (("a", "b"), (3, 2), (2, 0))


def test_columns_of_several_attempts_are_read_from_parquet_too(tmp_path: Path) -> None:
    rows = [{"task": "a", "seed_0": True, "seed_1": False}, {"task": "b", "seed_0": True, "seed_1": None}]
    (found,) = read_counts(written(tmp_path / "x.parquet", rows))
    assert (tuple(found.n), tuple(found.correct)) == ((2, 1), (1, 1))


def test_json_from_task_to_one_outcome_is_one_attempt_each(tmp_path: Path) -> None:
    for data in ({"a": True, "b": False}, {"a": {"resolved": True}, "b": {"resolved": False}}):
        (found,) = read_counts(written(tmp_path / "x.json", data))
        assert (found.task_ids, tuple(found.correct)) == (("a", "b"), (1, 0))


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int8", "uint64", "bool_"])
def test_every_kind_of_number_in_parquet_is_the_same_outcome(tmp_path: Path, kind: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    outcomes = pyarrow.array(np.array([1, 0, 0, 1, 0], kind))
    table = pyarrow.table(
        {"task": ["a", "a", "b", "a", "b"], "score": pyarrow.chunked_array([outcomes[:2], outcomes[2:]])}
    )
    parquet.write_table(table, tmp_path / "x.parquet", row_group_size=2)
    (found,) = read_counts(tmp_path / "x.parquet")
    assert (tuple(found.n), tuple(found.correct)) == ((3, 2), (2, 0))


def test_a_task_without_an_attempt_in_its_list_is_named(tmp_path: Path) -> None:
    rows = [{"task": "a", "is_corrects": [1, 0]}, {"task": "b", "is_corrects": []}]
    (found,) = read_counts(written(tmp_path / "x.jsonl", rows))
    assert (found.task_ids, found.notes) == (("a",), ("left out: no attempt that counts on b",))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (
            "task,n,correct,cost\na,9,2,1.000\nb,9,3,2.500\n",
            "column cost, row 1: '1.000' may be 1000 or 1; write it in dig",
        ),
        ("task;n;correct\na;1.000;12\nb;1.000;3\n", "column n, row 1: '1.000' may be 1000 or 1; write it in digits"),
        ("task;n;correct\na;10;3,0\n", "row 1: '3,0' is no number; write it without separators"),
        ("task,n,correct,tokens\na,2,1,1.500\n", "column tokens, row 1: '1.500' may be 1500 or 1.5"),
        ("task,correct\na,1\n,0\n,1\n", "column task, row 2: the id is empty"),
        ("task,n,correct\na,10,2\nb,10,4\nAverage,10,3\n", "the row 'Average' is the mean of the others"),
        ('task,outcomes\na,"[1 0]"\n', "row 1: '[1 0]' is no list"),
        ("task,outcomes\na,1011\nb,11\n", "zeros at their beginning may be lost"),
        ("task,run1,run2,resolved\na,1,0,1\nb,0,0,0\n", "resolved stands beside run1, run2, and may sum up"),
        ("task,n,correct\na,10,30%\n", "row 1: '30%' is no number; give a number in digits alone"),
        ("task,n,correct,cost\na,10,3,-1\n", "task a: cost = -1 is less than nothing"),
        ("task,n,correct\na,0,1\na,1,0\n", "if n numbers the attempts, say --columns attempt=n,outcome=correct"),
        ("task,n,,\na,1,,\n", "more than one column without a name"),
    ],
)
def test_what_may_mean_two_numbers_is_refused(tmp_path: Path, data: str, why: str) -> None:
    with pytest.raises(CountsError, match=re.escape(why)):
        read_counts(written(tmp_path / "x.csv", data))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("x.csv.xz", "unxz"), ("x.xlsx", "save the sheet as CSV"), ("x.zip", "unpack it"), ("x.feather", "as Parquet")],
)
def test_files_of_other_kinds_are_refused_with_what_to_do(tmp_path: Path, name: str, remedy: str) -> None:
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(CountsError, match=remedy):
        read_counts(tmp_path / name)


# Sets that a table holds, and what its columns mean


def by_name(path: Path, **reading: Any) -> dict[str, tuple[int, int]]:
    found = read_counts(path, Reading(**reading))
    return {one.name: (int(one.n.sum()), int(one.correct.sum())) for one in found}


def test_benchmarks_with_the_same_task_ids_are_sets_of_their_own(tmp_path: Path) -> None:
    rows = [
        {"model": model, "benchmark": benchmark, "task": task, "correct": int(benchmark == "GSM8K")}
        for model in ("A", "B")
        for benchmark in ("GSM8K", "MATH")
        for task in (1, 2)
    ]
    expected = {"GSM8K/A": (2, 2), "MATH/A": (2, 0), "GSM8K/B": (2, 2), "MATH/B": (2, 0)}
    for suffix in (".csv", ".parquet", ".jsonl"):
        assert by_name(written(tmp_path / f"x{suffix}", rows)) == expected
    only = [row for row in rows if row["model"] == "A"]
    assert by_name(written(tmp_path / "y.csv", only)) == {"GSM8K/A": (2, 2), "MATH/A": (2, 0)}
    without = [{key: value for key, value in row.items() if key != "model"} for row in only]
    assert by_name(written(tmp_path / "z.csv", without)) == {"GSM8K": (2, 2), "MATH": (2, 0)}
    nested = {benchmark: {model: {"t": [1, 0]} for model in "AB"} for benchmark in ("GSM8K", "MATH")}
    assert list(by_name(written(tmp_path / "n.json", nested))) == ["GSM8K/A", "GSM8K/B", "MATH/A", "MATH/B"]


def test_any_column_makes_sets_and_settings_that_are_pooled_are_noted(tmp_path: Path) -> None:
    rows = [{"task": "t", "temperature": at, "correct": int(at > 1)} for at in (0.2, 1.6, 1.6)]
    for suffix in (".csv", ".parquet", ".json"):
        path = written(tmp_path / f"x{suffix}", rows)
        (found,) = read_counts(path)
        assert found.notes == (
            "attempts at one task differ in temperature (2 values) and are counted together; --by temperature makes a "
            "set of each",
        )
        assert by_name(path, by="Temperature") == {"Temperature=0.2": (1, 0), "Temperature=1.6": (2, 2)}
    with pytest.raises(CountsError, match="no column 'colour' for --by; there are task, temperature, correct"):
        read_counts(written(tmp_path / "x.csv", rows), Reading(by="colour"))


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_an_attempt_that_comes_twice_is_refused_unless_it_is_said_to_be_none(tmp_path: Path, suffix: str) -> None:
    rows = [{"task": task, "Attempt Idx": at, "correct": at} for task in "ab" for at in (1, 0)]
    assert by_name(written(tmp_path / f"x{suffix}", rows)) == {"x": (4, 2)}
    path = written(tmp_path / f"y{suffix}", [*rows, *rows[:1]])
    with pytest.raises(CountsError, match="Attempt Idx 1 of task a comes more than once"):
        read_counts(path)
    assert by_name(path, columns={"attempt": ""}) == {"y": (5, 3)}
    missing = [{**row, "Attempt Idx": None} for row in rows]
    assert by_name(written(tmp_path / f"m{suffix}", missing)) == {"m": (4, 2)}
    retried = [{**rows[0], "correct": "infra error"}, *rows]
    assert by_name(written(tmp_path / "z.csv", retried)) == {"z": (4, 2)}, "what does not count is made again"


def test_counts_that_stopped_on_success_are_refused_until_it_is_said_how_they_came_about(tmp_path: Path) -> None:
    made, solved = [3, 5, 1, 10, 10, 2, 7], [1, 1, 1, 0, 0, 1, 1]

    def table(made: list[int], solved: list[int]) -> Path:
        rows = [{"task": f"t{at}", "n": n, "correct": c} for at, (n, c) in enumerate(zip(made, solved, strict=True))]
        return written(tmp_path / "x.csv", rows)

    with pytest.raises(CountsError, match="Say --stopped-at 10, or --sampling independent"):
        read_counts(table(made, solved))
    for how in (Reading(stopped_at=10), Reading(sampling="independent")):
        assert read_counts(table(made, solved), how)[0].n.tolist() == made
    for n, c in (
        (made, [2, *solved[1:]]),
        ([10] * 7, solved),
        ([*made[:4], 9, *made[5:]], solved),
        ([3, 5, 10], [1] * 3),
    ):
        assert read_counts(table(n, c))[0].n.tolist() == n


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("column", ["seed", "run", "sample_id"])
def test_rows_that_repeat_others_are_refused_where_a_column_may_number_attempts(
    tmp_path: Path, column: str, suffix: str
) -> None:
    rows = [{"task": task, column: at, "correct": int(task == "a")} for task in "ab" for at in range(3)]
    path = tmp_path / f"x{suffix}"
    with pytest.raises(CountsError, match=f"{column} 0 of task a comes more than once .* earlier one: 6"):
        read_counts(written(path, rows * 2))
    with pytest.raises(CountsError, match=f"{column} 0 of task a comes more than once .* earlier one: 6"):
        read_counts(written(path, [{**row, "patch": "+x"} for row in rows * 2]))
    (found,) = read_counts(written(path, rows * 2), Reading(columns={"attempt": ""}))
    assert found.n.tolist() == [6, 6]
    same = [{**row, column: 42} for row in rows]  # one for all
    timed = [{**row, "at": at} for at, row in enumerate(rows * 2)]
    for some, n in ((rows, 3), (same, 3), (timed, 6)):
        (found,) = read_counts(written(path, some))
        assert found.n.tolist() == [n, n]


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
@pytest.mark.parametrize("column", ["question", "Problem_Statement", "prompt"])
def test_an_id_of_its_own_in_each_row_beside_questions_that_repeat_is_asked_about(
    tmp_path: Path, column: str, suffix: str
) -> None:
    rows = [{"id": at, column: f"what is {at // 3}?", "correct": at % 2} for at in range(6)]
    path = written(tmp_path / f"x{suffix}", rows)
    with pytest.raises(CountsError, match=f"each of 6 rows, and {column} has 2 values: say --columns task={column} "):
        read_counts(path)
    for task, n in ((column, [3, 3]), ("id", [1] * 6)):
        (found,) = read_counts(path, Reading(columns={"task": task}))
        assert found.n.tolist() == n
    several = [{**row, "id": at // 3} for at, row in enumerate(rows)]
    single = [{**row, column: f"what is {at}?"} for at, row in enumerate(rows)]
    named = [{**row, "task": at // 3} for at, row in enumerate(rows)]
    for some, n in ((several, [3, 3]), (single, [1] * 6), (named, [3, 3])):
        (found,) = read_counts(written(path, some))
        assert found.n.tolist() == n


def test_what_sums_up_attempts_is_told_from_an_outcome_by_its_column(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "task,run1,run2,resolved\na,1,0,1\nb,0,0,0\n")
    for column, n in (("", [2, 2]), ("resolved", [1, 1])):
        (found,) = read_counts(path, Reading(columns={"outcome": column}))
        assert (found.n.tolist(), found.correct.tolist()) == (n, [1, 0])


def test_a_value_within_objects_is_named_by_its_path(tmp_path: Path) -> None:
    rows = [{"task": {"id": task}, "eval": {"report": {"resolved": task == "a"}}} for task in "aba"]
    path = written(tmp_path / "x.jsonl", rows)
    with pytest.raises(CountsError, match=r"a value within task is named as task\.NAME"):
        read_counts(path)
    (found,) = read_counts(path, Reading(columns={"task": "task.id", "outcome": "eval.report.resolved"}))
    assert (found.task_ids, found.n.tolist(), found.correct.tolist()) == (("a", "b"), [2, 1], [2, 0])


def test_a_task_with_two_lists_of_outcomes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CountsError, match="more than one row of outcomes for a"):
        read_counts(written(tmp_path / "x.jsonl", [LIST_ROWS[0], LIST_ROWS[0]]))
    with pytest.raises(CountsError, match="row 1: n = 10 beside 3 outcomes in correct"):
        read_counts(written(tmp_path / "x.json", [{"task": "a", "n": 10, "correct": [1, 0, 1]}]))
    (found,) = read_counts(written(tmp_path / "x.json", [{"task": "a", "n": 3, "correct": [1, 0, 1]}]))
    assert (found.n.tolist(), found.correct.tolist()) == ([3], [2])


@pytest.mark.parametrize(
    "rows",
    [
        [{"task_id": "a", "passed": 9, "total": 10}, {"task_id": "b", "passed": 10, "total": 10}],
        [{"task_id": "a", "passed": 1, "num_tests": 3}, {"task_id": "b", "passed": 0, "num_tests": 3}],
        [{"task": "a", "correct": 3, "Total": 4}],
        [{"task": "a", "passed": 3, "failed": 1}],
        [{"task": "a", "passed": 1, "failed": 0}, {"task": "a", "passed": 0, "failed": 1}],
        [{"task": "a", "score": 1, "max score": 20}],
    ],
)
def test_numbers_that_may_be_of_tests_are_refused_until_their_meaning_is_given(
    tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    for suffix in (".csv", ".json", ".parquet"):
        with pytest.raises(CountsError, match=r"may count tests.*--columns n=.*--columns outcome="):
            read_counts(written(tmp_path / f"x{suffix}", rows))


def test_words_and_plain_outcomes_beside_numbers_of_tests_are_read(tmp_path: Path) -> None:
    for outcome in ("passed", "failed"):
        rows = [{"task": "a", "passed": outcome, "tests": 12}]
        assert by_name(written(tmp_path / "x.csv", rows)) == {"x": (1, int(outcome == "passed"))}
    assert by_name(written(tmp_path / "y.json", [{"task": "a", "passed": True, "total": 3}])) == {"y": (1, 1)}
    assert by_name(written(tmp_path / "z.csv", [{"task": "a", "resolved": 1, "failed": 0}])) == {"z": (1, 1)}


@pytest.mark.parametrize("part", ["test", "Test Name", "nodeid", "step", "turn_idx"])
def test_rows_that_may_be_parts_of_one_attempt_are_refused_until_their_meaning_is_given(
    tmp_path: Path, part: str
) -> None:
    rows = [
        {"task": "a", part: 1, "passed": 1},
        {"task": "a", part: 2, "passed": 0},
        {"task": "b", part: 1, "passed": 1},
    ]
    for suffix in (".csv", ".json", ".parquet"):
        path = written(tmp_path / f"x{suffix}", rows)
        with pytest.raises(CountsError, match=r"may be parts of one attempt.*--columns outcome=passed"):
            read_counts(path)
        assert len(read_counts(path, Reading(columns={"outcome": "passed"}))) == 1


def test_what_is_the_same_for_several_attempts_is_no_part_of_one(tmp_path: Path) -> None:
    rows = [{"task": "a", "test": "t", "passed": passed} for passed in (1, 0)]
    assert by_name(written(tmp_path / "x.csv", rows)) == {"x": (2, 1)}
    once = [{"task": name, "step": 3 + number, "passed": number} for number, name in enumerate("ab")]
    assert by_name(written(tmp_path / "y.csv", once)) == {"y": (2, 1)}


def test_columns_are_given_by_name(tmp_path: Path) -> None:
    rows = [
        {"who": "a", "passed": 9, "total": 10, "correct": "?"},
        {"who": "b", "passed": 0, "total": 10, "correct": "?"},
    ]
    for suffix in (".csv", ".json", ".parquet"):
        path = written(tmp_path / f"x{suffix}", rows)
        given = {"task": "who", "n": "total", "correct": "passed"}
        (found,) = read_counts(path, Reading(columns=given))
        assert (found.task_ids, found.n.tolist(), found.correct.tolist()) == (("a", "b"), [10, 10], [9, 0])
    with pytest.raises(CountsError, match="has no column 'nowhere'; there are who, passed"):
        read_counts(path, Reading(columns={"task": "nowhere"}))
    with pytest.raises(CountsError, match="'colour' is no meaning of a column; there are task, n, correct"):
        Reading(columns={"colour": "x"})
    single = [{"n": 7, "id": "a", "ok": 1}, {"n": 7, "id": "a", "ok": 0}]
    (found,) = read_counts(written(tmp_path / "y.csv", single), Reading(columns={"outcome": "ok"}))
    assert (found.n.tolist(), found.correct.tolist()) == ([2], [1])


def test_names_of_columns_are_matched_without_case_blanks_and_underscores(tmp_path: Path) -> None:
    rows = [{"Task Id": "a", "N Samples": 10, "Num-Correct": 2}, {"Task Id": "b", "N Samples": 10, "Num-Correct": 0}]
    for suffix in (".csv", ".json", ".parquet"):
        assert by_name(written(tmp_path / f"x{suffix}", rows)) == {"x": (20, 2)}
    with pytest.raises(CountsError, match="'task id' and 'task_id' both read as task_id; rename one"):
        read_counts(written(tmp_path / "y.csv", [{"task id": "a", "task_id": "b", "correct": 1}]))


def test_what_is_packed_is_read_as_what_it_holds(tmp_path: Path) -> None:
    for suffix in (".csv", ".jsonl", ".parquet"):
        plain = written(tmp_path / f"mine{suffix}", COUNT_ROWS)
        packed = tmp_path / f"mine{suffix}.gz"
        packed.write_bytes(gzip.compress(plain.read_bytes()))
        (found,) = read_counts(packed)
        assert (found.name, found.task_ids, tuple(found.n)) == ("mine", NAMES, N)
        packed.write_bytes(packed.read_bytes()[:-9])
        with pytest.raises(CountsError, match="no whole gzip file"):
            read_counts(packed)


# The order of attempts


def streaks(tasks: int = 10) -> list[dict[str, Any]]:
    return [{"task": f"t{task}", "correct": at // 20 % 2} for task in range(tasks) for at in range(100)]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_attempts_that_look_dependent_or_stopped_are_refused(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"x{suffix}", streaks())
    with pytest.raises(CoverageError, match="look dependent"):
        read_counts(path)
    assert by_name(path, sampling="independent") == {"x": (1000, 400)}
    assert by_name(path, stopped_at=100) == {"x": (210, 10)}
    batches = [
        {"task": f"t{task}", "correct": int(at == 10 * (task % 4) + 3)}
        for task in range(16)
        for at in range(10 * (task % 4 + 1))
    ]
    with pytest.raises(CoverageError, match="look stopped on success"):
        read_counts(written(tmp_path / f"y{suffix}", batches))


def test_lists_of_outcomes_are_in_order(tmp_path: Path) -> None:
    lists: dict[str, list[int]] = {}
    for row in streaks():
        lists.setdefault(row["task"], []).append(row["correct"])
    with pytest.raises(CoverageError, match="look dependent"):
        read_counts(written(tmp_path / "x.json", lists))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_order_is_that_of_a_column_where_there_is_one(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = [
        {"task": f"t{task}", "attempt": at, "correct": int(correct)}
        for task in range(10)
        for at, correct in enumerate(rng.random(100) < 0.4)
    ]
    by_outcome = sorted(rows, key=lambda row: (row["correct"], row["task"]))  # sorted in this way they seem dependent
    path = written(tmp_path / f"x{suffix}", by_outcome)
    assert by_name(path) == {"x": (1000, sum(row["correct"] for row in rows))}
    first = sum(row["correct"] for row in rows if row["attempt"] < 5)
    assert by_name(path, first=5) == {"x": (50, first)}
    with pytest.raises(CountsError, match="101 attempts cannot be taken of 100"):
        read_counts(path, Reading(first=101))


# EvalPlus and Inspect


def test_results_of_evalplus_are_a_set_for_its_base_tests_and_one_for_all(tmp_path: Path) -> None:
    rows = [("pass", "pass"), ("pass", "fail"), ("fail", "fail")]
    data: dict[str, Any] = {
        "date": "2026-01-01",
        "eval": {"HumanEval/0": [{"base_status": base, "plus_status": plus, "solution": "x"} for base, plus in rows]},
    }
    assert by_name(written(tmp_path / "x.json", data)) == {"x base": (3, 2), "x plus": (3, 1)}
    for row in data["eval"]["HumanEval/0"]:
        row["plus_status"] = None
    assert by_name(written(tmp_path / "x.json", data)) == {"x base": (3, 2)}


def inspect_samples() -> list[dict[str, Any]]:
    return [
        {"id": task, "epoch": epoch, "scores": {"match": {"value": value}}}
        for task, values in (("a", "CIC"), ("b", "IIN"))
        for epoch, value in enumerate(values, 1)
    ]


def test_logs_of_inspect_are_read_as_json_and_packed(tmp_path: Path) -> None:
    samples = inspect_samples()
    assert by_name(written(tmp_path / "x.json", {"eval": {"task": "t"}, "results": {}, "samples": samples})) == {
        "x": (6, 2)
    }
    with zipfile.ZipFile(tmp_path / "x.eval", "w") as packed:
        packed.writestr("header.json", "{}")
        for sample in samples:
            packed.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))
    assert by_name(tmp_path / "x.eval") == {"x": (6, 2)}
    samples[0]["scores"]["match"]["value"] = "P"
    with pytest.raises(CountsError, match="'P' is no outcome"):
        read_counts(written(tmp_path / "x.json", {"eval": {}, "results": {}, "samples": samples}))
    (tmp_path / "y.eval").write_text("no zip")
    with pytest.raises(CountsError, match="inspect log convert"):
        read_counts(tmp_path / "y.eval")


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
    [
        *("task", "n", "correct", "is_corrects", "outcomes", "arm", "repo", "cost", "issues", "resolved_ids", "x"),
        *("total", "attempt", "benchmark", "temperature", "eval", "samples", "results", "base_status", "scores", "id"),
    ]
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
        st.sampled_from(
            [
                "task",
                "n",
                "correct",
                "attempt",
                "total",
                "a",
                "b",
                "1",
                "0",
                "3.0",
                "-1",
                "nan",
                ",",
                "\n",
                '"',
                ";",
                "",
            ]
        ),
        max_size=25,
    )
)
@example(pieces=['"', "task", "\n", '"', "task", "\n", "task"])
def test_any_table_is_counts_or_one_line(tmp_path: Path, pieces: list[str]) -> None:
    counts_or_one_line(written(tmp_path / "x.csv", "".join(pieces)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(["task", "n", "correct", "attempt", "model", "benchmark", "cost", "total", "temperature"]),
        st.sampled_from(["text", "whole", "float", "flag", "lists"]),
        min_size=1,
    ),
    st.integers(0, 12),
    st.randoms(use_true_random=False),
)
def test_any_parquet_is_counts_or_one_line(tmp_path: Path, kinds: dict[str, str], rows: int, random: Any) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    cells = {
        "text": lambda: random.choice(["a", "b", "1", "passed", None]),
        "whole": lambda: random.choice([0, 1, 2, None]),
        "float": lambda: random.choice([0.0, 1.0, 0.5, float("nan"), None]),
        "flag": lambda: random.choice([True, False, None]),
        "lists": lambda: random.choice([[True], [False, True], [], None]),
    }
    types = {
        "text": pyarrow.string(),
        "whole": pyarrow.int64(),
        "float": pyarrow.float64(),
        "flag": pyarrow.bool_(),
        "lists": pyarrow.list_(pyarrow.bool_()),
    }
    columns = {name: pyarrow.array([cells[kind]() for _ in range(rows)], types[kind]) for name, kind in kinds.items()}
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    counts_or_one_line(tmp_path / "x.parquet")


def counts_or_one_line(path: Path) -> None:
    try:
        for found in read_counts(path):
            assert found.n.min() > 0
            assert (found.correct <= found.n).all()
            assert len(found.task_ids) == found.n.size
        read_outcomes(path)
    except (CountsError, CoverageError) as error:
        refusal = str(error)
    else:
        refusal = ""
    assert "\n" not in refusal
