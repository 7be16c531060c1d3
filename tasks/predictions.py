"""Predictions files in SWE-bench's format: submissions that other agents made, in the order of the file.

    {"instance_id": "psf__requests-863", "model_name_or_path": "mine", "model_patch": "diff --git ..."}
    {"instance_id": "times-1", "model_name_or_path": "mine", "answer": "42"}

A file is `.jsonl` (a row a line) or `.json` (a list, or an object by instance); a folder of such files is read in the
order of their names. Several rows for one instance are several attempts at it. A submission that is no patch stands
under the name of its kind, such as `answer`, or under `submission` or `model_patch`. A broken row is refused with its
file and place, before anything is verified.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from envs.errors import MonkeysError
from tasks.task import Submission

__all__ = ["Prediction", "PredictionsError", "read_predictions"]

PATCH = "patch"
PATCH_FIELD = "model_patch"


class PredictionsError(MonkeysError):
    """Predictions cannot be read, or written of this run; the message names the place, the cause and the remedy."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One attempt at `task`: the submission as it was written, and the name of the model that made it."""

    task: str
    model: str
    submission: Submission


def read_predictions(path: Path, kind: str = PATCH) -> list[Prediction]:
    """All predictions in a file or a folder, whose submissions are of this kind. Raises `PredictionsError`."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in (".json", ".jsonl") and file.is_file())
        if not files:
            raise PredictionsError(f"folder {path} holds no .json or .jsonl file")
    else:
        files = [path]
    fields = (PATCH_FIELD,) if kind == PATCH else (kind, "submission", PATCH_FIELD)
    found = [_prediction(where, row, kind, fields) for file in files for where, row in _rows(file, fields[0])]
    if not found:
        raise PredictionsError(f"{path} holds no prediction; each row needs instance_id and {' or '.join(fields)}")
    return found


def _rows(file: Path, field: str) -> Iterator[tuple[str, Any]]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise PredictionsError(f"{file} cannot be read ({error.strerror}); give a predictions file") from None
    except UnicodeDecodeError as error:
        raise PredictionsError(f"{file} is not UTF-8 ({error.reason}); save it as UTF-8") from None
    if file.suffix == ".json":
        whole = _json(str(file), text)
        if isinstance(whole, dict):
            yield from ((f"{file}: {key}", _keyed(key, row, field)) for key, row in whole.items())
        elif isinstance(whole, list):
            yield from ((f"{file}: item {number}", row) for number, row in enumerate(whole, 1))
        else:
            raise PredictionsError(f"{file}: neither a list nor an object of predictions")
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{file}:{number}", _json(f"{file}:{number}", line)


def _keyed(key: str, row: Any, field: str) -> Any:
    if isinstance(row, dict):
        return {"instance_id": key, **row}
    return {"instance_id": key, field: row}  # from instance to submission, the shortest form in use


def _json(where: str, text: str) -> Any:
    try:
        return json.loads(text, parse_float=Decimal)  # a number is taken as it is written
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise PredictionsError(f"{where}: not JSON ({error}); mend or remove it") from None


def _prediction(where: str, row: Any, kind: str, fields: Sequence[str]) -> Prediction:
    if not isinstance(row, dict) or not isinstance(row.get("instance_id"), str):
        raise PredictionsError(
            f"{where}: no instance_id; a prediction has instance_id, model_name_or_path, {fields[0]}"
        )
    field = next((field for field in fields if field in row), None)
    if field is None:
        raise PredictionsError(
            f"{where}: no {' or '.join(fields)} for {row['instance_id']}; an empty {kind} is written as ''"
        )
    value = row[field]
    if kind != PATCH and isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        value = str(value)
    if value is not None and not isinstance(value, str):
        raise PredictionsError(f"{where}: {field} of {row['instance_id']} is not a text; write it as a string")
    try:
        body = (value or "").encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise PredictionsError(
            f"{where}: {field} of {row['instance_id']} holds half a character (a lone surrogate); correct the text"
        ) from None
    return Prediction(row["instance_id"], str(row.get("model_name_or_path") or ""), Submission(body, kind))
