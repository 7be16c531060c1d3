"""Files as earlier versions made them: the runs kept beside this module, and any run taken back to version 2."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["FIXTURES", "RUNS", "copied", "flat", "to_version_2", "to_version_4", "version"]

FIXTURES = Path(__file__).parent / "fixtures"
RUNS = sorted((FIXTURES / "runs").iterdir())
# From version 5 to 4, and from there to 2.
FROM_5 = """
DROP INDEX tried;
DROP INDEX tried_on;
DROP INDEX counted;
DROP INDEX counted_on;
ALTER TABLE attempts RENAME TO attempts_5;
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY, session INTEGER NOT NULL, task TEXT NOT NULL, idx INTEGER NOT NULL, try INTEGER NOT NULL,
    seed INTEGER NOT NULL, exit TEXT NOT NULL, detail TEXT NOT NULL, infra INTEGER NOT NULL, submission BLOB NOT NULL,
    last_message INTEGER NOT NULL, turns INTEGER NOT NULL, seconds REAL NOT NULL, finished REAL NOT NULL,
    prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL, kind TEXT NOT NULL DEFAULT 'patch', arm TEXT NOT NULL DEFAULT '', brief BLOB,
    parents TEXT NOT NULL DEFAULT '[]', UNIQUE (task, idx, try));
INSERT INTO attempts SELECT id, session, task, idx, try, seed, exit, detail, infra, submission, last_message, turns,
    seconds, finished, prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens, kind, arm, brief, parents
    FROM attempts_5;
DROP TABLE attempts_5;
CREATE UNIQUE INDEX counted ON attempts (task, idx) WHERE NOT infra;
ALTER TABLE turns DROP COLUMN untaken;
"""
BACK = """
ALTER TABLE attempts RENAME COLUMN submission TO patch;
ALTER TABLE attempts DROP COLUMN kind;
ALTER TABLE attempts DROP COLUMN arm;
ALTER TABLE attempts DROP COLUMN brief;
ALTER TABLE attempts DROP COLUMN parents;
ALTER TABLE turns DROP COLUMN submission;
ALTER TABLE turns DROP COLUMN kind;
ALTER TABLE verdicts RENAME COLUMN submission TO patch;
DROP INDEX verified;
CREATE UNIQUE INDEX judged ON verdicts (task, patch) WHERE outcome != 'infra error';
UPDATE meta SET value = '2' WHERE key = 'schema';
"""
# Where a setting is, what it is called there, and what it was called.
FLAT = (
    ("tasks", "set", "tasks"),
    ("tasks", "ids", "ids"),
    *(("agent", name, name) for name in ("scaffold", "actions", "prompts", "tools")),
    ("model", "name", "model"),
    *(("model", name, name) for name in ("sampling", "reasoning", "first_turns", "served", "recording")),
    ("sandbox", "name", "sandbox"),
    ("sandbox", "platform", "platform"),
    ("sandbox", "limits", "sandbox_limits"),
    ("verify", "seconds", "verify_seconds"),
    ("verify", "calibration", "calibration"),
    ("verify", "unstable", "unstable"),
)


def copied(run: Path, folder: Path) -> Path:
    """A copy of a run in `folder`, to be changed."""
    return Path(shutil.copytree(run, folder / run.name))


def to_version_4(folder: Path, named: int = 4) -> None:
    """Take a run of this version back to version 4, whose tables are those of version 3 too."""
    db = sqlite3.connect(folder / "run.sqlite")
    db.executescript(f"{FROM_5} UPDATE meta SET value = '{named}' WHERE key = 'schema';")
    db.close()


def to_version_2(folder: Path, *, answers: bool = True) -> None:
    """Take a run of this version back to version 2, whose early runs had no table of answers."""
    db = sqlite3.connect(folder / "run.sqlite")
    db.executescript(FROM_5 + BACK)
    (config,) = db.execute("SELECT value FROM meta WHERE key = 'config'").fetchone()
    db.execute("UPDATE meta SET value = ? WHERE key = 'config'", (json.dumps(flat(json.loads(config))),))
    if not answers:
        db.execute("DROP TABLE answers")
    db.commit()
    db.close()


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as version 2 had it."""
    found = {new: config[group][old] for group, old, new in FLAT if old in config.get(group, {})}
    strategy = config.get("strategy", {})
    if strategy.get("name", "independent") != "independent":
        parameters = {key: strategy[key] for key in ("first", "k") if key in strategy}
        found["allocate"] = {"rule": strategy["name"], **parameters}
    found |= {"attempt_limits": config["limits"]} if "limits" in config else {}
    return found | ({"seed": config["seed"]} if "seed" in config else {})


def version(folder: Path) -> int:
    """The version of a run's file as it lies on the disk."""
    db = sqlite3.connect(folder / "run.sqlite")
    (found,) = db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    db.close()
    return int(found)
