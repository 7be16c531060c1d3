"""Patches that other agents made: read from predictions files in SWE-bench's format, in the order they stand there.

`.jsonl` (a row a line), `.json` (a list, or an object by instance), or a folder of such
files in the order of their names. Several rows for one instance are several attempts at it.
A broken row is refused with its file and place, before anything is verified.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Prediction", "PredictionsError", "read_predictions"]


class PredictionsError(Exception):
    """Predictions cannot be read; the message names the file, the place and the remedy."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One attempt at `task`: `patch` as it was written, and the name of who made it."""

    task: str
    model: str
    patch: bytes


def read_predictions(path: Path) -> list[Prediction]:
    """All predictions in a file or a folder. Raises `PredictionsError`."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in (".json", ".jsonl") and file.is_file())
        if not files:
            raise PredictionsError(f"folder {path} holds no .json or .jsonl file")
    else:
        files = [path]
    found = [_prediction(where, row) for file in files for where, row in _rows(file)]
    if not found:
        raise PredictionsError(f"{path} holds no prediction; each row needs instance_id and model_patch")
    return found


def _rows(file: Path) -> Iterator[tuple[str, Any]]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise PredictionsError(f"{file} cannot be read ({error.strerror}); give a predictions file") from None
    except UnicodeDecodeError as error:
        raise PredictionsError(f"{file} is not UTF-8 ({error.reason}); save it as UTF-8") from None
    if file.suffix == ".json":
        whole = _json(str(file), text)
        if isinstance(whole, dict):
            yield from ((f"{file}: {key}", _keyed(key, row)) for key, row in whole.items())
        elif isinstance(whole, list):
            yield from ((f"{file}: item {number}", row) for number, row in enumerate(whole, 1))
        else:
            raise PredictionsError(f"{file}: neither a list nor an object of predictions")
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{file}:{number}", _json(f"{file}:{number}", line)


def _keyed(key: str, row: Any) -> Any:
    if isinstance(row, str):  # instance to patch, the shortest form about
        return {"instance_id": key, "model_patch": row}
    return {"instance_id": key, **row} if isinstance(row, dict) else row


def _json(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PredictionsError(f"{where}: not JSON ({error}); mend or remove it") from None


def _prediction(where: str, row: Any) -> Prediction:
    if not isinstance(row, dict) or not isinstance(row.get("instance_id"), str):
        raise PredictionsError(
            f"{where}: no instance_id; a prediction has instance_id, model_name_or_path, model_patch"
        )
    if "model_patch" not in row:
        raise PredictionsError(f"{where}: no model_patch for {row['instance_id']}; an empty patch is written as ''")
    patch = row["model_patch"]
    if patch is not None and not isinstance(patch, str):
        raise PredictionsError(f"{where}: model_patch of {row['instance_id']} is no text")
    return Prediction(
        row["instance_id"], str(row.get("model_name_or_path") or ""), (patch or "").encode("utf-8", "surrogateescape")
    )
