"""Predictions in the formats of the programs that make them: submissions of other agents, in the order of the file.

    {"instance_id": "psf__requests-863", "model_name_or_path": "mine", "model_patch": "diff --git ..."}
    {"instance_id": "times-1", "model_name_or_path": "mine", "answer": "42"}

A file is SWE-bench's (`tasks.row_files` says which forms it may have) or an object from instance to patch, row or list
of these; OpenHands' rows are taken too, and single trajectories (`.traj.json`, `.traj`, `.pred`). A folder is the
output of mini-swe-agent or SWE-agent, the logs of SWE-bench's harness (`INSTANCE/patch.diff`), or holds such files or
patches (`INSTANCE.diff`), which are read in the order of their names (`_prediction_files`). Several rows for one
instance are several attempts at it. A submission that is no patch stands under the name of its kind, such as `answer`,
or under `submission` or `model_patch`.

Guarantees: every reader of predictions in this program gets the same submissions of the same file. A patch ends with a
line feed, whether or not its writer stripped it; nothing else in it is changed. A broken row is refused with its file
and place, before anything is verified.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from math import isnan
from pathlib import Path
from typing import Any

from envs.errors import MonkeysError
from tasks.diffs import is_diff, kind_of_text
from tasks.row_files import is_path, row_files_in, rows_of_file
from tasks.task import Submission

__all__ = [
    "PATCH",
    "Prediction",
    "PredictionsError",
    "check_diffs",
    "holds_predictions",
    "is_predictions",
    "read_predictions",
    "remarks_on",
]

PATCH = "patch"
PATCH_FIELD = "model_patch"
NAMED = 4  # fields in a message
ELSEWHERE = ("git_patch", "patch", "diff", "submission", "prediction")  # names that other programs give a patch
TASK_FIELDS = frozenset({"problem_statement", "test_patch", "FAIL_TO_PASS"})  # of a task, whose patch is its solution
WHOLE_SETS = ("preds.json", "all_preds.jsonl")  # what a finished run of an agent has in its folder
EMPTY = 64  # bytes: the most of an empty list or object, with its white space
TRAJECTORIES = (".traj.json", ".traj")
SINGLE = (".pred", *TRAJECTORIES)  # one prediction a file, named after the instance
DIFFS = (".diff", ".patch")  # a patch alone, named after the instance, or as in SWE-bench's logs:
LOGGED = "patch.diff"  # in a folder that is named after the instance
# What tells the attempts of one model apart, in its name.
ATTEMPT = re.compile(r"[-_. ]*(?:attempt|run|sample|seed|trial|try|pass|rollout|epoch)[-_. ]*\d+$", re.IGNORECASE)


class PredictionsError(MonkeysError):
    """Predictions cannot be read, or written of this run; the message names the place, the cause and the remedy."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One attempt at `task`: the submission as it was written, and the name of the model that made it."""

    task: str
    model: str
    submission: Submission


def is_predictions(source: str) -> bool:
    """Whether `source` is meant as predictions: a path, and not the folder of a run."""
    path = Path(source)
    return (is_path(source) or path.name.endswith(SINGLE)) and not (path / "run.sqlite").is_file()


def holds_predictions(folder: Path) -> bool:
    """Whether a folder holds a file of predictions, at any depth."""
    return next(_prediction_files(folder), None) is not None


def read_predictions(path: Path, kind: str = PATCH) -> list[Prediction]:
    """All predictions in a file or a folder, whose submissions are of this kind. Raises `PredictionsError`."""
    try:
        files = list(_prediction_files(path)) if path.is_dir() else [path]
    except OSError as error:
        raise PredictionsError(f"{error.filename} cannot be read ({error.strerror}); make it readable") from None
    if not files:
        raise PredictionsError(f"folder {path} holds no .json, .jsonl or .parquet file, and no output of an agent")
    fields = (PATCH_FIELD,) if kind == PATCH else (kind, "submission", PATCH_FIELD)
    found = [_prediction(where, row, kind, fields) for file in files for where, row in _rows(file, fields[0])]
    if not found:
        raise PredictionsError(f"{path} holds no prediction; each row needs instance_id and {' or '.join(fields)}")
    return found


def check_diffs(source: str | Path, predictions: Sequence[Prediction]) -> None:
    """Refuse patches of which not one is a diff: a field that holds something else. One alone may be a model's fault.

    Raises:
        PredictionsError: with what the field holds in place of diffs.
    """
    without = _without_diff(predictions)
    if len(without) > 1 and len(without) == sum(bool(one.submission.body.strip()) for one in predictions):
        raise PredictionsError(
            f"{source}: none of its {len(without)} patches is a diff; {_such_as(without)}; give unified diffs, as "
            "`git diff` writes them, and '' where an attempt made none; nothing was run"
        )


def _without_diff(predictions: Sequence[Prediction]) -> list[Prediction]:
    """The patches that hold something, and no diff."""
    return [
        one
        for one in predictions
        if one.submission.kind == PATCH and one.submission.body.strip() and not is_diff(one.submission.body)
    ]


def _such_as(without: Sequence[Prediction]) -> str:
    return f"that of {without[0].task} holds {kind_of_text(without[0].submission.body)}"


def remarks_on(predictions: Sequence[Prediction]) -> list[str]:
    """What a person should know of predictions before their numbers are read, a line each."""
    rows = Counter(one.task for one in predictions)
    lines = []
    if several := [task for task, count in rows.items() if count > 1]:
        lines.append(
            f"{len(several)} of {len(rows)} issues have more than one prediction, such as {several[0]}: each counts as "
            "an attempt of its own, in the order of the file"
        )
    models = {ATTEMPT.sub("", one.model): one.model for one in predictions if one.model}
    if len(models) > 1:
        first, second, *more = sorted(models.values())
        lines.append(
            f"the rows name {len(models)} models ({first}, {second}{', ...' if more else ''}), and are counted "
            "together: give the rows of each model in a file of its own"
        )
    if empty := sum(not one.submission.body.strip() for one in predictions):
        lines.append(f"{empty} of {len(predictions)} predictions are empty, and count as unresolved")
    if without := _without_diff(predictions):
        lines.append(
            f"no diff in {len(without)} of {len(predictions)} predictions, which cannot be applied: {_such_as(without)}"
        )
    return lines


def _prediction_files(folder: Path) -> Iterator[Path]:
    """The files that hold the predictions of a folder, each prediction once.

    The file that an agent writes for its whole run goes before what lies beside and below it. Without one, or where it
    is empty because the run was killed, a folder for each instance has its `.pred` or else its trajectory.
    """
    if whole := [folder / name for name in WHOLE_SETS if _holds_rows(folder / name)]:
        yield whole[0]
        return
    entries = sorted(folder.iterdir())
    files = [entry for entry in entries if entry.is_file()]
    made = [file for file in files if file.suffix == ".pred"] or [file for file in files if _is_trajectory(file)]
    logged = [file for file in files if file.name == LOGGED]
    rows = [file for file in row_files_in(folder) if file.name not in WHOLE_SETS]
    yield from made or logged or rows or [file for file in files if file.suffix in DIFFS]
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            yield from _prediction_files(entry)


def _holds_rows(file: Path) -> bool:
    """Whether a file is there and holds more than an empty list or object."""
    if not file.is_file():
        return False
    return file.stat().st_size > EMPTY or re.sub(rb"\s|\xef\xbb\xbf", b"", file.read_bytes()) not in (b"", b"{}", b"[]")


def _is_trajectory(file: Path) -> bool:
    return file.name.endswith(TRAJECTORIES)


def _rows(file: Path, field: str) -> Iterator[tuple[str, Any]]:
    if file.suffix in DIFFS:
        logged = file.name == LOGGED
        model = file.parent.parent.name if logged else ""
        patch = file.read_bytes().decode("utf-8", "surrogateescape")
        name = file.parent.name if logged else file.stem
        yield str(file), {"instance_id": name, "model_name_or_path": model, field: patch}
        return
    if not file.name.endswith(SINGLE):
        try:
            yield from rows_of_file(file, read_float=Decimal, whole=partial(_rows_of, field), error=PredictionsError)
        except PredictionsError as error:
            if str(file) in str(error):
                raise
            raise PredictionsError(f"{file}: {error}") from None
        return
    name = next(file.name.removesuffix(end) for end in SINGLE if file.name.endswith(end))
    for where, row in rows_of_file(file, whole=lambda found: [("", found)], error=PredictionsError):
        yield where, {"instance_id": name, **row} if isinstance(row, Mapping) else row


def _rows_of(field: str, found: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """The rows of an object: from instance to submission, to row, or to a list of these; or one row alone."""
    if "resolved_ids" in found or "submitted_ids" in found:
        raise PredictionsError("a summary of results, which holds no patches; give the predictions it was made from")
    if isinstance(found.get("instance_id"), list | dict):
        yield from _transposed(found)
        return
    if "instance_id" in found:
        yield "", found
        return
    for key, value in found.items():
        for row in value if isinstance(value, list) else [value]:
            if isinstance(row, Mapping) and isinstance(row.get("row"), Mapping):  # as the hub shows rows
                row = row["row"]
            yield key, {"instance_id": key, **(row if isinstance(row, Mapping) else {field: row})}


def _transposed(found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The rows of columns, each a list or, as pandas writes it, an object from place to value."""
    columns = {key: values for key, values in found.items() if isinstance(values, list | dict)}
    places = list(range(len(found["instance_id"]))) if isinstance(found["instance_id"], list) else found["instance_id"]
    for key, values in columns.items():
        if len(values) != len(places) or (isinstance(values, dict) and not all(place in values for place in places)):
            raise PredictionsError(f"column {key} has other rows than instance_id; the columns must be equally long")
    for place in places:
        yield f"row {place}", {key: values[place] for key, values in columns.items()}


def _prediction(where: str, row: Any, kind: str, fields: Sequence[str]) -> Prediction:
    if not isinstance(row, Mapping) or not isinstance(row.get("instance_id"), str):
        there = f" (there are {', '.join(list(map(str, row))[:NAMED])})" if isinstance(row, Mapping) and row else ""
        raise PredictionsError(
            f"{where}: no instance_id{there}; a prediction has instance_id, model_name_or_path, {fields[0]}"
        )
    if kind == PATCH and PATCH_FIELD not in row:
        row = {**row, **_patch_elsewhere(where, row)}
    field = next((field for field in fields if field in row), None)
    if field is None:
        raise PredictionsError(
            f"{where}: no {' or '.join(fields)} for {row['instance_id']}; an empty {kind} is written as ''"
        )
    value = row[field]
    if kind != PATCH and isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, float) and isnan(value):  # how tables write that there is none
        value = None
    if value is not None and not isinstance(value, str):
        raise PredictionsError(f"{where}: {field} of {row['instance_id']} is not a text; write it as a string")
    try:
        body = (value or "").encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise PredictionsError(
            f"{where}: {field} of {row['instance_id']} holds half a character (a lone surrogate); correct the text"
        ) from None
    if kind == PATCH and body.strip() and not body.endswith(b"\n"):
        body += b"\n"
    return Prediction(row["instance_id"], str(row.get("model_name_or_path") or ""), Submission(body, kind))


def _patch_elsewhere(where: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """The patch of a row of another program under SWE-bench's name; empty if there is none. Refuses a task's row."""
    if TASK_FIELDS & row.keys():
        raise PredictionsError(
            f"{where}: a row of a task set, and not a prediction; give it as --tasks, and for the known solutions "
            "--model replay:gold"
        )
    if isinstance(info := row.get("info"), Mapping):  # a trajectory, which may have ended without a submission
        return {PATCH_FIELD: info.get("submission")}
    result = row.get("test_result")
    for place in (row, result if isinstance(result, Mapping) else {}):
        for name in ELSEWHERE:
            if name in place:
                return {PATCH_FIELD: place[name]}
    return {PATCH_FIELD: None} if result == {} else {}  # of OpenHands, where an attempt ended with an error
