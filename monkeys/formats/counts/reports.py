"""Counts from SWE-bench's harness: its reports of single instances, and its summaries of a run.

Each pair of run and model is one attempt on each of its instances. Models whose names differ only in a suffix such as
`-attempt-007` are one set. What the harness calls an error has no verdict, except for a patch that does not apply,
which is a failure.

Guarantees: an instance that was never submitted is neither a failure nor left out unless that is asked for, because
either choice is another number; a summary that does not list all its verdicts is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from monkeys.formats.counts.cells import CountsError, as_object, listed, parse_json
from monkeys.formats.counts.reading import Reading
from monkeys.formats.counts.records import Found
from monkeys.formats.counts.sets import single_attempts

__all__ = ["is_summary", "read_reports", "read_summary"]

ATTEMPT_OF = re.compile(r"[-_]attempt[-_]?\d+$")
NOT_APPLIED = ">>>>> Patch Apply Failed"
# The lists of a summary that are verdicts, and the number beside each.
VERDICTS = {"resolved": True, "unresolved": False, "empty_patch": False}
SUMMARY_OF_VERDICTS = "resolved_ids"
# The lists of `results.json` beside `resolved`, as those of a summary.
PUBLISHED = {"no_generation": "empty_patch_ids", "generated": "completed_ids", "no_logs": "error_ids"}
_Attempt: TypeAlias = tuple[str, str, str]  # model, run, instance


def is_summary(data: Any) -> bool:
    """Whether a JSON value is a summary of the harness, of its present form or that of published results."""
    return isinstance(data, Mapping) and (SUMMARY_OF_VERDICTS in data or _is_published(data))


def _is_published(data: Mapping[str, Any]) -> bool:
    return isinstance(data.get("resolved"), list) and bool(PUBLISHED.keys() & data.keys())


def read_reports(path: Path, reading: Reading) -> list[Found]:
    """Reports `RUN/MODEL/INSTANCE/report.json` below a folder, summaries `MODEL.RUN.json` in it, or both."""
    found = _Attempts()
    _read_trees(path, found)
    known = {f"{model}.{run}": (model, run) for model, run, _ in {*found.verdicts, *found.errors}}
    for file in sorted(path.glob("*.json")):
        summary = parse_json(str(file), file.read_text("utf-8-sig"))
        if is_summary(summary):
            _read_summary(str(file), known.get(file.stem) or _model_and_run(file.stem), summary, found)
    return found.sets(str(path), reading)


def read_summary(place: str, name: str, data: Mapping[str, Any], reading: Reading) -> list[Found]:
    """One summary; `name` is `MODEL.RUN`."""
    found = _Attempts()
    _read_summary(place, _model_and_run(name), data, found)
    return found.sets(place, reading)


@dataclass
class _Attempts:
    """What is known of each attempt on an instance."""

    verdicts: dict[_Attempt, bool] = field(default_factory=dict)
    errors: set[_Attempt] = field(default_factory=set)
    unsubmitted: set[_Attempt] = field(default_factory=set)
    unnamed: Counter[str] = field(default_factory=Counter)
    """Instances that summaries of a model count and do not name."""

    def sets(self, place: str, reading: Reading) -> list[Found]:
        """A set for each model."""
        without = self.unsubmitted - self.verdicts.keys() - self.errors
        verdicts = dict(self.verdicts)
        if without or self.unnamed.total():
            if not reading.unsubmitted:
                raise self._unclear(place, without)
            if reading.unsubmitted == "unresolved":
                if absent := self.unnamed.total():
                    raise CountsError(
                        f"{place} does not name the {absent} instances that were never submitted, so that they cannot "
                        "be counted as unresolved; give the harness's summary with incomplete_ids"
                    )
                verdicts |= dict.fromkeys(without, False)
        lost = Counter(ATTEMPT_OF.sub("", key[0]) for key in self.errors if key not in verdicts)
        if lost and not verdicts:
            raise CountsError(f"{place} holds no verdict: all {lost.total()} attempts are errors of the harness")
        sets: dict[str, list[tuple[str, bool]]] = {}
        for (model, _, instance), resolved in sorted(verdicts.items()):
            sets.setdefault(ATTEMPT_OF.sub("", model), []).append((instance, resolved))
        left = self.unnamed + Counter(ATTEMPT_OF.sub("", key[0]) for key in without)
        return [
            _reported(place, model, rows, _notes(lost[model], left[model], reading)) for model, rows in sets.items()
        ]

    def _unclear(self, place: str, without: set[_Attempt]) -> CountsError:
        absent = len(without) + self.unnamed.total()
        known, resolved = len(self.verdicts), sum(self.verdicts.values())
        such = f", such as {min(without)[2]}" if without else ""
        shares = ""
        if known:
            shares = f": {resolved} resolved are {resolved / known:.1%} without them, {resolved / (known + absent):.1%}"
            shares += " with them"
        return CountsError(
            f"{place}: {absent} of {known + absent + len(self.errors)} instances were never submitted{such}{shares}. "
            "Say --unsubmitted unresolved to count them as failures, or --unsubmitted left-out"
        )


def _notes(lost: int, absent: int, reading: Reading) -> tuple[str, ...]:
    notes = [f"left out: {lost:,} attempts that the harness calls errors"] if lost else []
    if absent:
        how = "left out" if reading.unsubmitted == "left-out" else "counted as unresolved"
        notes.append(f"{how}: {absent:,} instances that were never submitted")
    return tuple(notes)


def _reported(place: str, model: str, rows: Sequence[tuple[str, bool]], notes: tuple[str, ...]) -> Found:
    names, outcomes = zip(*sorted(rows, key=lambda row: row[0]), strict=True)
    return replace(single_attempts(place, model, names, ("resolved", outcomes), {}), notes=notes)


def _model_and_run(stem: str) -> tuple[str, str]:
    model, _, run = stem.rpartition(".")
    return model or stem, run


def _read_trees(path: Path, found: _Attempts) -> None:
    def attempt(file: Path) -> _Attempt:
        instance = file.parent
        return instance.parent.name, instance.parent.parent.name, instance.name

    for log in sorted(path.rglob("run_instance.log")):
        if not (log.parent / "report.json").is_file():
            if NOT_APPLIED in log.read_text("utf-8", "replace"):
                found.verdicts[attempt(log)] = False
            else:
                found.errors.add(attempt(log))
    for file in sorted(path.rglob("report.json")):
        report = as_object(str(file), parse_json(str(file), file.read_text("utf-8-sig")))
        try:
            found.verdicts[attempt(file)] = bool(report[file.parent.name]["resolved"])
        except (KeyError, TypeError):
            found.errors.add(attempt(file))


def _read_summary(place: str, of: tuple[str, str], summary: Mapping[str, Any], found: _Attempts) -> None:
    model, run = of
    if SUMMARY_OF_VERDICTS not in summary:
        lists = {ours: summary[theirs] for theirs, ours in PUBLISHED.items() if theirs in summary}
        summary = {SUMMARY_OF_VERDICTS: summary["resolved"], **lists}
    ids = {key: _ids(place, summary, key) for key in (*VERDICTS, "error", "incomplete", "completed", "submitted")}
    verdicts: dict[str, bool] = {}
    for key, resolved in VERDICTS.items():
        if both := [one for one in ids[key] if verdicts.get(one, resolved) != resolved]:
            raise CountsError(f"{place} lists {listed(both)} as resolved and as {key}; give the harness's own summary")
        verdicts |= dict.fromkeys(ids[key], resolved)
    verdicts = {**dict.fromkeys(ids["completed"], False), **verdicts}
    told = {*verdicts, *ids["error"]}
    if unknown := [one for one in ids["submitted"] if one not in told]:
        raise CountsError(
            f"{place} lists {len(unknown)} submitted instances without a verdict, such as {unknown[0]}: the harness "
            "stopped early, or lists are missing; let it finish"
        )
    if not {"unresolved_ids", "completed_ids", "submitted_ids"} & summary.keys():
        raise CountsError(
            f"{place} names the resolved instances alone, so that the number of attempts is unknown; give the "
            "harness's summary with unresolved_ids"
        )
    for instance, resolved in verdicts.items():
        found.verdicts.setdefault((model, run, instance), resolved)
    found.errors |= {(model, run, instance) for instance in ids["error"]}
    found.unsubmitted |= {(model, run, instance) for instance in ids["incomplete"] if instance not in told}
    total = summary.get("total_instances")
    if isinstance(total, int):
        found.unnamed[ATTEMPT_OF.sub("", model)] += max(0, total - len({*told, *ids["incomplete"]}))


def _ids(place: str, summary: Mapping[str, Any], key: str) -> list[str]:
    """The ids of a list. Raises `CountsError` where the number beside the list is another one."""
    found = summary.get(f"{key}_ids") or []
    if not isinstance(found, list):
        raise CountsError(f"{place}: {key}_ids is not a list of instances; give a summary of SWE-bench's harness")
    number = summary.get(f"{key}_instances")
    if f"{key}_ids" in summary and isinstance(number, int) and number != len(set(map(str, found))):
        raise CountsError(
            f"{place}: {key}_instances = {number} beside {len(set(map(str, found)))} in {key}_ids; give the harness's "
            "own summary"
        )
    return [str(instance) for instance in found]
