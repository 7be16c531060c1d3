"""Predictions are the same submissions in every form that they come in, or refused with the place and the remedy."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.predictions import Prediction, PredictionsError, check_diffs, is_predictions, read_predictions, remarks_on
from tasks.row_files import rows_of_file
from tasks.task import Submission, TaskError

PATCHES = {"a-1": "diff --git a/x b/x\n+ä\n", "b-2": "diff --git a/y b/y\r\n+y\r\n"}
ROWS = [{"instance_id": task, "model_name_or_path": "m", "model_patch": patch} for task, patch in PATCHES.items()]
LINES = "\n".join(map(json.dumps, ROWS))


def refusal(path: Path) -> str:
    with pytest.raises(PredictionsError) as refused:
        read_predictions(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def patches(path: Path) -> list[tuple[str, str]]:
    return [(one.task, one.submission.body.decode()) for one in read_predictions(path)]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("p.jsonl", LINES.encode()),
        ("P.JSONL", f"{LINES}\n".encode()),
        ("crlf.jsonl", f"\r\n{LINES}\r\n \r\n".replace("\n", "\r\n").encode()),
        ("mark.jsonl", b"\xef\xbb\xbf" + LINES.encode()),
        ("two-marks.jsonl", "\n".join(f"\ufeff{line}" for line in LINES.split("\n")).encode()),
        (
            "utf16.jsonl",
            json.dumps(ROWS[0], ensure_ascii=False).encode("utf-16")
            + f"\n{LINES.split(chr(10))[1]}".encode("utf-16-le"),
        ),
        ("utf16-unmarked.json", json.dumps(ROWS).encode("utf-16-be")),
        ("utf32.json", json.dumps(ROWS).encode("utf-32")),
        ("packed.jsonl.gz", gzip.compress(LINES.encode())),
        ("packed-unnamed.jsonl", gzip.compress(LINES.encode())),
        ("list.json", json.dumps(ROWS, indent=1).encode()),
        ("list.jsonl", json.dumps(ROWS).encode()),
        ("lines.json", LINES.encode()),
        ("short.json", json.dumps(PATCHES).encode()),
        ("by-id.json", json.dumps({row["instance_id"]: row for row in ROWS}).encode()),
        ("lists.json", json.dumps({task: [patch] for task, patch in PATCHES.items()}).encode()),
        ("columns.json", json.dumps({key: [row[key] for row in ROWS] for key in ROWS[0]}).encode()),
        (
            "pandas.json",
            json.dumps({key: {str(at): row[key] for at, row in enumerate(ROWS)} for key in ROWS[0]}).encode(),
        ),
        ("hub.json", json.dumps({"rows": [{"row_idx": at, "row": row} for at, row in enumerate(ROWS)]}).encode()),
        ("wrapped.json", json.dumps({"predictions": ROWS}).encode()),
        ("diff.jsonl", "\n".join(json.dumps({"instance_id": t, "diff": p}) for t, p in PATCHES.items()).encode()),
        ("moatless.json", json.dumps({task: {"submission": patch} for task, patch in PATCHES.items()}).encode()),
        (
            "openhands.jsonl",
            "\n".join(
                json.dumps({"instance_id": t, "test_result": {"git_patch": p}}) for t, p in PATCHES.items()
            ).encode(),
        ),
    ],
)
def test_every_form_of_a_file_holds_the_same_patches(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert patches(tmp_path / name) == list(PATCHES.items())
    assert is_predictions(str(tmp_path / name))


@pytest.mark.parametrize("packed", [False, True])
def test_parquet_is_read_and_what_is_missing_in_it_is_an_empty_patch(tmp_path: Path, packed: bool) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "p.parquet"
    parquet.write_table(arrow.Table.from_pylist([*ROWS, {"instance_id": "c-3"}]), path)
    if packed:
        path = tmp_path / "p.parquet.gz"
        path.write_bytes(gzip.compress((tmp_path / "p.parquet").read_bytes()))
    assert patches(path) == [*PATCHES.items(), ("c-3", "")]
    whole = (tmp_path / "p.parquet").read_bytes()
    path.write_bytes(whole[:-20])
    assert f"{path}: not a whole Parquet file (" in refusal(path)


def write_folder(folder: Path, files: Mapping[str, Any]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def trajectory(patch: str | None) -> dict[str, Any]:
    return {"info": {"exit_status": "Submitted", "submission": patch}, "messages": []}


MINI = {f"{task}/{task}.traj.json": trajectory(patch) for task, patch in PATCHES.items()}
SWE_AGENT = {f"{row['instance_id']}/{row['instance_id']}.pred": row for row in ROWS} | {
    f"{task}/{task}.traj": {**trajectory("another"), "trajectory": []} for task in PATCHES
}


@pytest.mark.parametrize(
    "files",
    [
        {"preds.json": {row["instance_id"]: row for row in ROWS}, "minisweagent.log": "-", **MINI},
        MINI,  # a run that was killed before it wrote the file of all
        {"preds.json": {row["instance_id"]: row for row in ROWS}, "all_preds.jsonl": LINES, **SWE_AGENT},
        {"all_preds.jsonl": LINES, "args.yaml": "-", **SWE_AGENT},
        SWE_AGENT,
        {"attempt-000.jsonl": LINES},
        {"run/preds.json": {row["instance_id"]: row for row in ROWS}},
    ],
    ids=["mini", "mini-killed", "swe-agent", "swe-agent-before", "swe-agent-killed", "files", "below"],
)
def test_an_agent_s_folder_has_each_of_its_predictions_once(tmp_path: Path, files: Mapping[str, Any]) -> None:
    assert patches(write_folder(tmp_path, files)) == list(PATCHES.items())


def test_folders_of_several_runs_give_several_attempts_and_it_is_said(tmp_path: Path) -> None:
    one = {row["instance_id"]: row for row in ROWS}
    write_folder(
        tmp_path, {"run-1/preds.json": one, "run-2/preds.json": {**one, "a-1": {**ROWS[0], "model_patch": ""}}}
    )
    found = read_predictions(tmp_path)
    assert [one.task for one in found] == ["a-1", "b-2", "a-1", "b-2"]
    told = remarks_on(found)
    assert told[0].startswith("2 of 2 issues have more than one prediction, such as a-1: each counts as an attempt")
    assert told[1:] == ["1 of 4 predictions are empty, and count as unresolved"]
    assert remarks_on(found[2:3]) == ["1 of 1 predictions are empty, and count as unresolved"]
    assert remarks_on(found[:2]) == []


def test_a_trajectory_that_submitted_nothing_is_an_empty_patch(tmp_path: Path) -> None:
    (tmp_path / "a-1.traj.json").write_text(json.dumps({"info": {"exit_status": "LimitsExceeded"}, "messages": []}))
    assert patches(tmp_path / "a-1.traj.json") == [("a-1", "")]


def test_an_attempt_of_openhands_that_ended_with_an_error_is_an_empty_patch(tmp_path: Path) -> None:
    rows = [{"instance_id": "a-1", "test_result": {}, "error": "no runtime"}, ROWS[0]]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert patches(tmp_path / "p.jsonl")[0] == ("a-1", "")


def test_columns_of_unequal_length_and_summaries_of_results_are_refused(tmp_path: Path) -> None:
    for whole, why in (
        ({"instance_id": ["a", "b"], "model_patch": ["x"]}, "p.json: column model_patch has other rows"),
        ({"instance_id": {"0": "a"}, "model_patch": {"1": "x"}}, "p.json: column model_patch has other rows"),
        ({"total_instances": 1, "submitted_ids": ["a"]}, "p.json: a summary of results, which holds no patches"),
    ):
        (tmp_path / "p.json").write_text(json.dumps(whole))
        assert why in refusal(tmp_path / "p.json")


def test_the_last_line_feed_is_put_back_and_nothing_else_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"a": "x", "b": "x\r\n\n", "c": " ", "d": "\udcff\n"}))
    bodies = [one.submission.body for one in read_predictions(path)]
    assert bodies == [b"x\n", b"x\r\n\n", b" ", b"\xff\n"]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"instance_id": "a", "model_patch": "x\ud800"}, "1: model_patch of a holds half a character"),
        ({"instance_id": "a"}, "1: no model_patch for a; an empty patch is written as ''"),
        ({"instance_id": "a", "model_patch": 5}, "1: model_patch of a is not a text"),
        ({"instance_id": "a", "patch": "x", "problem_statement": "y"}, "1: a row of a task set, and not a prediction"),
        ({"instance_id": "a", "patch": "x", "FAIL_TO_PASS": "[]"}, "1: a row of a task set, and not a prediction"),
        ({"id": "a", "model_patch": ""}, "1: no instance_id (there are id, model_patch)"),
        ([], "1: no instance_id"),
    ],
)
def test_a_broken_row_is_refused_with_its_place(tmp_path: Path, row: Any, why: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(f"{json.dumps(row)}\n")
    assert refusal(path).startswith(f"{path}:{why}" if isinstance(row, dict) else f"{path}: item ") or row == []


def test_an_instance_that_an_object_names_twice_is_refused_and_not_lost(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"a-1": "x", "b-2": "y", "a-1": "z"}')
    assert "the name 'a-1' is there twice in one object" in refusal(tmp_path / "p.json")
    (tmp_path / "p.jsonl").write_text('{"instance_id": "a-1", "model_patch": "x", "model_patch": "y"}')
    assert "p.jsonl:1: not JSON (the name 'model_patch' is there twice" in refusal(tmp_path / "p.jsonl")


@pytest.mark.parametrize(
    ("write", "why"),
    [
        (lambda path: path.write_bytes(gzip.compress(LINES.encode())[:-9]), "is packed with gzip and damaged"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "not UTF-16"),
        (lambda path: path.write_text(""), "holds no prediction"),
        (lambda path: path.mkdir(), "holds no .json, .jsonl or .parquet file, and no output of an agent"),
        (lambda path: None, "no file"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_name(tmp_path: Path, write: Callable[[Path], Any], why: str) -> None:
    path = tmp_path / "p.jsonl"
    write(path)
    text = refusal(path)
    assert why in text
    assert str(path) in text


@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"\x1f\x8b")
@example(b"PAR1" + b"\0" * 20 + b"PAR1")
@example(b"[" * 100_000)
@example(b'{"instance_id": "a", "model_patch": 1e999999999999}')
@example(b'{"a": {"b": NaN}}')
@example(b"\0\0\0")
def test_no_file_makes_a_traceback(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("any")
    for name in ("x.json", "x.jsonl", "x.parquet", "x", "x.traj"):
        path = folder / name
        path.write_bytes(data)
        for reads, refuses in ((read_predictions, PredictionsError), (rows_of_file, TaskError)):
            said = ""
            try:
                list(reads(path))
            except refuses as error:
                said = str(error)
            assert "\n" not in said


def test_patches_alone_are_named_after_their_instance(tmp_path: Path) -> None:
    for name in ("a-1", "b-1"):
        logs = tmp_path / "logs" / "mine" / name
        logs.mkdir(parents=True)
        (logs / "patch.diff").write_bytes(b"diff --git \xe9")
        (logs / "report.json").write_text(json.dumps({name: {"resolved": True}}), "utf-8")
        (tmp_path / "plain").mkdir(exist_ok=True)
        (tmp_path / "plain" / f"{name}.diff").write_bytes(b"diff --git \xe9")
    for folder, model in (("logs", "mine"), ("plain", "")):
        found = read_predictions(tmp_path / folder)
        assert [(one.task, one.model) for one in found] == [("a-1", model), ("b-1", model)]
        assert found[0].submission.body == b"diff --git \xe9\n"


@pytest.mark.parametrize(("other", "told"), [("gpt-5", True), ("gpt-4-attempt-001", False), ("gpt-4", False)])
def test_rows_of_two_models_are_told_of_before_they_are_counted_together(
    tmp_path: Path, other: str, told: bool
) -> None:
    rows = [{"instance_id": "a", "model_name_or_path": name, "model_patch": "x"} for name in ("gpt-4", other)]
    file = tmp_path / "both.json"
    file.write_text(json.dumps(rows), "utf-8")
    assert any("2 models (gpt-4, gpt-5)" in line for line in remarks_on(read_predictions(file))) == told


DIFF = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"
NO_DIFFS = {
    "base64": base64.b64encode(DIFF.encode()).decode(),
    "base64 of addresses, in lines": base64.urlsafe_b64encode(DIFF.encode())
    .decode()
    .rstrip("=")
    .replace("i", "i\n", 1),
    "escaped": DIFF.replace("\n", "\\n"),
    "escaped twice, quoted": json.dumps(DIFF.replace("\n", "\\n")),
    "prose": "I would change x so that\n--- it works ---\n--- and this ---\n",
    "code": "def f():\n    return 1\n",
}
DIFFS = [
    DIFF,
    DIFF.replace("\n", "\r\n"),
    f"Here it is:\n```diff\n{DIFF}```\n",
    "--- a/x\n+++ b/x\n@@ ... @@\n-a\n+b\n",
    "*** x\n--- x\n***************\n*** 1 ****\n! a\n--- 1 ----\n! b\n",
    "diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n",
    "diff --git a/x b/x\nold mode 100644\nnew mode 100755\n",
    "".join(f"    {line}\n" for line in DIFF.splitlines()),
]


def of(*patches: str) -> list[Prediction]:
    return [Prediction(f"t-{at}", "m", Submission(patch.encode(), "patch")) for at, patch in enumerate(patches)]


@pytest.mark.parametrize("name", NO_DIFFS)
def test_patches_that_are_no_diffs_are_remarked_on_with_what_they_hold(name: str) -> None:
    [line] = remarks_on(of(DIFF, NO_DIFFS[name], DIFF))
    assert line.startswith("no diff in 1 of 3 predictions, which cannot be applied: that of t-1 holds ")
    assert ("base64" in line) == ("base64" in name)
    assert (r"written as \n" in line) == ("escaped" in name)
    assert "\n" not in line


@pytest.mark.parametrize("name", NO_DIFFS)
def test_predictions_without_one_diff_are_refused_and_one_alone_may_be_a_model_s(name: str) -> None:
    with pytest.raises(PredictionsError, match=r"p\.jsonl: none of its 2 patches is a diff; that of t-1 holds"):
        check_diffs("p.jsonl", of("", NO_DIFFS[name], NO_DIFFS[name]))
    check_diffs("p.jsonl", of("", NO_DIFFS[name]))
    check_diffs("p.jsonl", of(DIFF, NO_DIFFS[name], NO_DIFFS[name]))


@pytest.mark.parametrize("diff", DIFFS)
def test_what_an_applier_may_take_is_a_diff(diff: str) -> None:
    assert not remarks_on(of(diff))


@given(st.binary(max_size=80))
def test_any_text_is_a_diff_or_is_described_in_one_line(body: bytes) -> None:
    found = [Prediction("t", "m", Submission(body, "patch"))]
    assert all("\n" not in line for line in remarks_on(found))


def test_answers_are_not_asked_for_diffs() -> None:
    answers = [Prediction("t", "m", Submission(b"42", "answer"))] * 2
    check_diffs("p.jsonl", answers)
    assert not any("diff" in line for line in remarks_on(answers))


@pytest.mark.parametrize("empty", ["", "{}", "[]\n", "\ufeff{ }"])
@pytest.mark.parametrize("name", ["preds.json", "all_preds.jsonl"])
def test_an_empty_file_of_a_whole_run_hides_no_trajectories(tmp_path: Path, name: str, empty: str) -> None:
    for path, held in MINI.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(json.dumps(held))
    (tmp_path / name).write_text(empty)
    assert patches(tmp_path) == list(PATCHES.items())
