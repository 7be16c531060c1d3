"""From the tables of an earlier version to those of this one, a step for each version.

Guarantees: a file is changed in one transaction, when it is first opened for writing, and only if the run goes on; a
process that is killed meanwhile leaves the file as it was. Reading changes no file: the same steps are applied to a
copy. `config_of` applies to the configuration alone what a step does to it, so that many runs can be looked through
without a copy of each.

To add a version: raise `VERSION` and change the tables in `monkeys.store.schema`, add a `Step` here, and keep a small
run of the version before as a fixture of the tests.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monkeys.store.errors import StoreError
from monkeys.store.schema import VERSION

__all__ = ["check_version", "config_of", "meta", "migrate", "version_of"]

Config = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One step to `version`, from the one before.

    `tables` changes the tables inside the transaction that is open, and is given the configuration as it was before.
    `config` gives the configuration as it is afterwards.
    """

    version: int
    tables: Callable[[sqlite3.Connection, Config], None]
    config: Callable[[Config], Config]


def meta(db: sqlite3.Connection, key: str) -> Any:
    """A value of the table `meta`, None where it has none. Raises `sqlite3.Error`."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    try:
        return json.loads(row[0]) if row else None
    except (ValueError, TypeError, RecursionError):
        raise sqlite3.DatabaseError(f"its {key} is not JSON") from None


def version_of(db: sqlite3.Connection) -> int:
    """The version of its tables. Raises `sqlite3.DatabaseError` if it names none."""
    version = meta(db, "schema")
    if type(version) is not int:
        raise sqlite3.DatabaseError("it names no store format")
    return version


def check_version(db: sqlite3.Connection, folder: Path) -> None:
    """Raises `StoreError` for a version that cannot be read."""
    version = version_of(db)
    if version > VERSION:
        raise StoreError(
            f"run {folder} has store format {version}, and this program reads formats {OLDEST} to {VERSION}; "
            f"use {_writer(db) or 'the version of coding-monkeys that wrote it'}, or a later one; nothing was changed"
        )
    if version < OLDEST:
        raise StoreError(
            f"run {folder} has store format {version}, and this program reads formats {OLDEST} to {VERSION}; "
            f"use {_writer(db) or 'the version of coding-monkeys that made it'}; nothing was changed"
        )


def config_of(db: sqlite3.Connection) -> Config:
    """The configuration of a run of any version, in the form of this one."""
    config, version = _saved_config(db), version_of(db)
    for step in STEPS:
        if step.version > version:
            config = _stepped(step, config)
    return config


def migrate(db: sqlite3.Connection) -> None:
    """Bring the tables to this version, inside the transaction that is open."""
    for step in STEPS:
        if step.version > version_of(db):
            config = _saved_config(db)
            step.tables(db, config)
            for key, value in (("config", _stepped(step, config)), ("schema", step.version)):
                _set_meta(db, key, value)


def _saved_config(db: sqlite3.Connection) -> Config:
    config = meta(db, "config")
    if not isinstance(config, dict):
        raise sqlite3.DatabaseError("its configuration is not an object")
    return config


def _stepped(step: Step, config: Config) -> Config:
    try:
        return step.config(config)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise sqlite3.DatabaseError(f"its configuration is not one of format {step.version - 1}") from None


def _set_meta(db: sqlite3.Connection, key: str, value: Any) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))


def _writer(db: sqlite3.Connection) -> str:
    """The version of the program that wrote last, as that of another format recorded it; empty if it cannot be told."""
    try:
        row = db.execute("SELECT environment FROM sessions ORDER BY id DESC LIMIT 1").fetchone()
        version = str(json.loads(row[0])["coding-monkeys"])[:40]
    except (sqlite3.Error, ValueError, KeyError, TypeError, RecursionError):
        return ""
    return f"coding-monkeys {version}"


# Version 3: submissions of any kind, what a strategy gave an attempt, and a nested configuration

TO_3 = (
    "ALTER TABLE attempts RENAME COLUMN patch TO submission",
    "ALTER TABLE attempts ADD COLUMN kind TEXT NOT NULL DEFAULT 'patch'",
    "ALTER TABLE attempts ADD COLUMN arm TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE attempts ADD COLUMN brief BLOB",
    "ALTER TABLE attempts ADD COLUMN parents TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE turns ADD COLUMN submission BLOB",
    "ALTER TABLE turns ADD COLUMN kind TEXT",
    "ALTER TABLE verdicts RENAME COLUMN patch TO submission",
    "DROP INDEX judged",
    "CREATE UNIQUE INDEX verified ON verdicts (task, submission) WHERE outcome != 'infra error'",
)
ANSWERS = """
CREATE TABLE answers (
    attempt INTEGER NOT NULL, turn INTEGER NOT NULL, finish_reason TEXT NOT NULL, shared INTEGER NOT NULL,
    given BLOB, opening BLOB, ids BLOB, logprobs BLOB, UNIQUE (attempt, turn))
"""


def _tables_3(db: sqlite3.Connection, config: Config) -> None:
    for statement in TO_3:
        db.execute(statement)
    if "seed" in config:  # sampled, so that each attempt's seed was derived from the name of the model
        arm = str(config.get("model", "")).encode("utf-8", "replace").decode()
        db.execute("UPDATE attempts SET arm = ?", (arm,))
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'answers'").fetchone():
        db.execute(ANSWERS)
        last = db.execute("SELECT coalesce(max(id), 0) FROM attempts").fetchone()[0]
        _set_meta(db, "last_attempt_without_answers", last)


def _config_3(flat: Config) -> Config:
    left = dict(flat)

    def group(*names: str, **renamed: str) -> Config:
        """Those of the settings that there are, under their new names."""
        pairs = [*((name, name) for name in names), *renamed.items()]
        return {new: left.pop(old) for new, old in pairs if old in left}

    agent = group("scaffold", "actions", "prompts", "tools")
    nested = {
        "suite": "swe",
        "tasks": group("ids", set="tasks"),
        "agent": {"name": "loop", **agent} if agent else {},
        "model": group("sampling", "reasoning", "first_turns", "served", "recording", name="model"),
        "limits": left.pop("attempt_limits", {}),
        "sandbox": group("platform", name="sandbox", limits="sandbox_limits"),
        "verify": group("calibration", "unstable", seconds="verify_seconds"),
        "strategy": _strategy_3(left.pop("allocate", None)) if "seed" in flat else {},
        **left,
    }
    return {key: value for key, value in nested.items() if value != {}}


def _strategy_3(allocate: Config | None) -> Config:
    if allocate is None:
        return {"name": "independent", "sampling": {"kind": "independent"}}
    parameters = {key: value for key, value in allocate.items() if key != "rule"}
    if allocate["rule"] == "stop":
        sampling = {"kind": "stopped"}
    else:
        sampling = {"kind": "adaptive", "first": allocate["first"]}
    return {"name": allocate["rule"], "sampling": sampling, **parameters}


# Version 4: the same tables, in which attempts may end as "conversation rejected" and "prompt rejected"


def _tables_4(db: sqlite3.Connection, config: Config) -> None:
    pass


def _same(config: Config) -> Config:
    return config


# Version 5: submissions of each turn, and continuations of attempts

COLUMNS_4 = (
    "id, session, task, idx, try, seed, exit, detail, infra, submission, last_message, turns, seconds, finished, "
    "prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens, kind, arm, brief, parents"
)
TO_5 = (
    "DROP INDEX IF EXISTS counted",
    "ALTER TABLE attempts RENAME TO attempts_4",  # made anew, for a constraint of a table cannot be changed
    """
    CREATE TABLE attempts (
        id INTEGER PRIMARY KEY, session INTEGER NOT NULL, task TEXT NOT NULL, idx INTEGER NOT NULL,
        try INTEGER NOT NULL, seed INTEGER NOT NULL, exit TEXT NOT NULL, detail TEXT NOT NULL, infra INTEGER NOT NULL,
        submission BLOB NOT NULL, last_message INTEGER NOT NULL, turns INTEGER NOT NULL, seconds REAL NOT NULL,
        finished REAL NOT NULL, prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL, kind TEXT NOT NULL DEFAULT 'patch',
        arm TEXT NOT NULL DEFAULT '', brief BLOB, parents TEXT NOT NULL DEFAULT '[]',
        each_turn TEXT NOT NULL DEFAULT '', branch_of INTEGER, branch_turn INTEGER)
    """,
    f"INSERT INTO attempts ({COLUMNS_4}) SELECT {COLUMNS_4} FROM attempts_4",
    "DROP TABLE attempts_4",
    "CREATE UNIQUE INDEX tried ON attempts (task, idx, try) WHERE branch_of IS NULL",
    "CREATE UNIQUE INDEX tried_on ON attempts (branch_of, branch_turn, idx, try) WHERE branch_of IS NOT NULL",
    "CREATE UNIQUE INDEX counted ON attempts (task, idx) WHERE NOT infra AND branch_of IS NULL",
    "CREATE UNIQUE INDEX counted_on ON attempts (branch_of, branch_turn, idx) "
    "WHERE NOT infra AND branch_of IS NOT NULL",
    "ALTER TABLE turns ADD COLUMN untaken TEXT NOT NULL DEFAULT ''",
)


def _tables_5(db: sqlite3.Connection, config: Config) -> None:
    for statement in TO_5:
        db.execute(statement)


STEPS = (Step(3, _tables_3, _config_3), Step(4, _tables_4, _same), Step(5, _tables_5, _same))
OLDEST = STEPS[0].version - 1
