"""`python -m tasks.quick`: brings every `task.toml` up to date after a repository or a patch was edited.

It builds the repository, runs its tests as the verifier does, without and with the known solution, and writes
`base_commit`, FAIL_TO_PASS and PASS_TO_PASS. Identity and level are read from the file and kept.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tasks.quick import SETS, TEST_COMMAND, build_repository, folder_of, instances

_RESULT = re.compile(r"^\w+ \((?P<test>[\w.]+)\) \.\.\. (?P<outcome>ok|FAIL|ERROR)$", re.MULTILINE)


def outcomes(repository: Path) -> dict[str, bool]:
    """Whether each test of the repository passes, by its dotted name."""
    done = subprocess.run(
        [sys.executable, *TEST_COMMAND.split()[1:]],
        cwd=repository,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,  # tests that fail are a result
    )
    return {match["test"]: match["outcome"] == "ok" for match in _RESULT.finditer(done.stderr)}


def apply(patch: str, repository: Path) -> None:
    """Apply a patch to the files, as the verifier does."""
    subprocess.run(["git", "apply", "-"], cwd=repository, input=patch.encode(), check=True, capture_output=True)


def main() -> int:
    """Rewrite all task files and print a line for each. Returns 1 if the solution of a task makes no test pass."""
    faulty = 0
    for instance in (instance for tasks in SETS for instance in instances(tasks)):
        with tempfile.TemporaryDirectory() as folder:
            repository = Path(folder)
            instance["base_commit"] = build_repository(instance["instance_id"], repository)
            apply(instance["test_patch"], repository)
            before = outcomes(repository)
            apply(instance["patch"], repository)
            after = outcomes(repository)
        instance["FAIL_TO_PASS"] = sorted(test for test in after if after[test] and not before.get(test))
        instance["PASS_TO_PASS"] = sorted(test for test in after if after[test] and before.get(test))
        broken = sorted(test for test in after if not after[test])
        faulty += not instance["FAIL_TO_PASS"] or bool(broken)
        _write(instance)
        print(
            f"{instance['instance_id']:<26} level {instance['level']}  {instance['base_commit'][:12]}"
            f"  {len(instance['FAIL_TO_PASS'])} + {len(instance['PASS_TO_PASS'])} tests"
            + "".join(f"\n    fails with the known solution: {test}" for test in broken)
        )
    return 1 if faulty else 0


def _write(instance: dict[str, Any]) -> None:
    lines = [
        *(_line(key, instance[key]) for key in ("instance_id", "repo", "version", "base_commit", "level")),
        _line("FAIL_TO_PASS", instance["FAIL_TO_PASS"]),
        _line("PASS_TO_PASS", instance["PASS_TO_PASS"]),
    ]
    path = folder_of(instance["instance_id"]) / "task.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _line(key: str, value: str | int | Iterable[str]) -> str:
    """One setting, written as JSON, which for these values is TOML as well."""
    if isinstance(value, (str, int)):
        return f"{key} = {json.dumps(value)}"
    return f"{key} = [\n" + "".join(f"    {json.dumps(item)},\n" for item in value) + "]"


if __name__ == "__main__":
    sys.exit(main())
