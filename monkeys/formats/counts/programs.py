"""Single attempts from the results of other programs: EvalPlus, and the logs of Inspect as `.json` or `.eval`."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from monkeys.formats.counts.cells import CountsError, as_object, parse_json
from monkeys.formats.counts.reading import Reading
from monkeys.formats.counts.records import Found
from monkeys.formats.counts.sets import sets_in
from monkeys.formats.counts.source import Source

__all__ = ["read_eval", "read_program"]

GRADES = {"C": True, "I": False, "N": False}  # correct, incorrect, no answer; P, partly correct, is no outcome
SAMPLES = "samples/"


def read_program(place: str, name: str, data: Any, reading: Reading) -> list[Found] | None:
    """The sets in what another program wrote; None where it is of none of them."""
    if not isinstance(data, Mapping):
        return None
    if isinstance(found := data.get("eval"), Mapping):
        if found and all(isinstance(rows, list) for rows in found.values()):
            return _evalplus(place, name, found, reading)
        if isinstance(samples := data.get("samples"), list) and "results" in data:
            return _inspect(place, name, samples, reading)
    return None


def read_eval(source: Source, reading: Reading) -> list[Found]:
    """A log of Inspect in its packed form."""
    with source.opened() as file:
        try:
            with zipfile.ZipFile(file) as packed:
                samples = [
                    parse_json(f"{source.place}, {member}", packed.read(member).decode())
                    for member in packed.namelist()
                    if member.startswith(SAMPLES) and member.endswith(".json")
                ]
        except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
            raise CountsError(
                f"{source.place} is no log that can be unpacked ({error}); `inspect log convert --to json` makes one"
            ) from None
    return _inspect(source.place, source.name, samples, reading)


def _evalplus(place: str, name: str, tasks: Mapping[str, Sequence[Any]], reading: Reading) -> list[Found]:
    """A set for the base tests, and one for the base and the additional ones where both were run."""
    rows = [
        (str(task), at, as_object(f"{place}, {task}", row))
        for task, rows in tasks.items()
        for at, row in enumerate(rows)
    ]
    if not rows:
        return []
    found: list[Found] = []
    for tests, keys in (("base", ("base_status",)), ("plus", ("base_status", "plus_status"))):
        if not all(isinstance(row.get(key), str) for _, _, row in rows for key in keys):
            if tests == "base":
                raise CountsError(f"{place} has samples without base_status: evaluate them with EvalPlus first")
            continue
        columns: dict[str, list[Any]] = {
            "task": [task for task, _, _ in rows],
            "attempt": [at for _, at, _ in rows],
            "outcome": ["passed" if all(row[key] == "pass" for key in keys) else "failed" for _, _, row in rows],
            "program": [row.get("solution") for _, _, row in rows],
        }
        found += sets_in(place, f"{name} {tests}", columns, reading)
    return found


def _inspect(place: str, name: str, samples: Sequence[Any], reading: Reading) -> list[Found]:
    """A set for each scorer; an epoch is an attempt. Samples that ended in an error have no verdict."""
    by_scorer: dict[str, list[tuple[str, Any, str]]] = {}
    for number, sample in enumerate(samples, 1):
        where = f"{place}, sample {number}"
        one = as_object(where, sample)
        scores = one.get("scores")
        for scorer, score in (scores if isinstance(scores, Mapping) else {}).items():
            outcome = "infra error" if one.get("error") else _graded(where, score)
            row = str(one.get("id", number)), one.get("epoch", 1), outcome
            by_scorer.setdefault(str(scorer), []).append(row)
    if not by_scorer:
        raise CountsError(f"{place} has no scored sample: score the log first")
    found: list[Found] = []
    for scorer, rows in by_scorer.items():
        task, epoch, outcomes = zip(*rows, strict=True)
        columns = {"task": list(task), "attempt": list(epoch), "outcome": list(outcomes)}
        found += sets_in(place, name if len(by_scorer) == 1 else f"{name} {scorer}", columns, reading)
    return found


def _graded(place: str, score: Any) -> str:
    value = score.get("value") if isinstance(score, Mapping) else score
    if isinstance(value, str) and value in GRADES:
        return "correct" if GRADES[value] else "incorrect"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise CountsError(
        f"{place}: a score of {json.dumps(value, default=str):.60} is no outcome; use a scorer with one value"
    )
