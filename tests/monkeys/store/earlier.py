"""Files as earlier versions made them: the runs kept beside this module, and any run taken back to version 2."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["FIXTURES", "RUNS", "copied", "flat", "to_version_2", "version"]

FIXTURES = Path(__file__).parent / "fixtures"
RUNS = sorted((FIXTURES / "runs").iterdir())
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


def to_version_2(folder: Path, *, answers: bool = True) -> None:
    """Take a run of this version back to version 2, whose early runs had no table of answers."""
    db = sqlite3.connect(folder / "run.sqlite")
    db.executescript(BACK)
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
