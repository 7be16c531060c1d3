"""The embedded task sets, "quick" and "quick-easy": small repositories with one bug each, in SWE-bench's format.

The tasks of "quick" lie beside this file, those of "quick-easy" in `tasks/quick_easy`. Each task is a folder of files:
`task.toml` (identity, level, test lists), `issue.md` (the problem statement), `gold.patch` (the known solution),
`tests.patch` (the hidden tests) and `repo/`, the repository at its base commit with the bug in it. A file that would
affect the surrounding git repository is stored under another name (`_STORED_AS`).

Guarantees, held by tests/tasks/test_quick_tasks.py:
- A repository is built without network. Its one commit has the same sha on every machine, whatever the git
  configuration, the environment, the umask or the clock there. That sha is the `base_commit`.
- At the base with `tests.patch`, every FAIL_TO_PASS test fails and every PASS_TO_PASS test passes. With `gold.patch` as
  well, all pass. `gold.patch` touches no test, and `tests.patch` only tests.
- The repositories need only Python 3.11 or newer, and their test suites run in milliseconds.

Levels: 1 one wrong token; 2 a small mistake, such as swapped arguments or lines; 3 a missing statement or condition;
4 two edits in different files that help only together. In five tasks of "quick" one visible test fails at the base
already, as in a project whose last push broke the build; in the others only hidden tests fail.

The tasks of "quick-easy" are for very small models: all of level 1, one module of five functions, one wrong line in a
function of one statement, and a statement of two sentences. In thirteen of the sixteen one visible test fails at the
base.

Any change under a `repo/` changes its base commit: `python -m tasks.quick` brings the task files up to date.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

__all__ = ["SETS", "TEST_COMMAND", "build_repository", "folder_of", "instances"]

TEST_COMMAND = "python -S -m unittest discover -v -s tests -t ."
"""Runs all tests of any of these repositories, the visible ones and in verification. The tests do not need the module
`site`, and without it a run takes a fifth less time."""

SETS = {"quick": Path(__file__).parent, "quick-easy": Path(__file__).parents[1] / "quick_easy"}
"""The folder of each embedded set. `envs/local/shown.py` hides folders of these names from sandboxes."""

_STORED_AS = {".gitignore": "gitignore"}
_IDENTITY = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (
        ("NAME", "Quick Tasks"),
        ("EMAIL", "quick@example.org"),
        ("DATE", "2024-01-01T00:00:00+0000"),
    )
}


def instances(tasks: str = "quick") -> list[dict[str, Any]]:
    """Every task of one of `SETS` as a SWE-bench instance, by level, then by name.

    The fields `level` and `test_command` are added. Raises `KeyError` for an unknown set.
    """
    found = [_instance(path.parent) for path in SETS[tasks].glob("*/task.toml")]
    return sorted(found, key=lambda instance: (instance["level"], instance["instance_id"]))


def build_repository(name: str, target: Path) -> str:
    """Create the repository of a task, given its slug or instance id, in an absent or empty folder.

    Returns the sha of its only commit, on the branch `main`. Raises `KeyError` for an unknown task, and
    `FileExistsError`, with nothing written, for a folder that is not empty.
    """
    from git import Git

    source = folder_of(name) / "repo"
    target = Path(target).resolve()
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise FileExistsError(f"{target} is not empty; nothing was written")
    _copy(source, target)
    shell = Git(target)
    shell.update_environment(**_environment(target))
    shell.init("--quiet", "--template=", "--initial-branch=main")
    shell.add("--all", "--force")
    # Without the option, git would start a background process that maintains the new repository.
    shell(c="maintenance.auto=false").commit("--quiet", "--no-verify", "--message", "Import")
    return str(shell.rev_parse("HEAD"))


def folder_of(name: str) -> Path:
    """The folder of a task: `quick__ledger-1` and `ledger` are the same one. Raises `KeyError` for an unknown task."""
    folders = {}
    for tasks, place in SETS.items():
        for folder in sorted(file.parent for file in place.glob("*/task.toml")):
            folders[folder.name] = folders[f"{tasks}__{folder.name}-1"] = folder
    if name not in folders:
        known = ", ".join(known for known in folders if "__" not in known)
        raise KeyError(f"no task {name!r} in the embedded sets; there are {known}")
    return folders[name]


def _instance(folder: Path) -> dict[str, Any]:
    facts = tomllib.loads((folder / "task.toml").read_text(encoding="utf-8"))
    return {
        "instance_id": facts["instance_id"],
        "repo": facts["repo"],
        "base_commit": facts["base_commit"],
        "version": facts["version"],
        "problem_statement": (folder / "issue.md").read_text(encoding="utf-8"),
        "patch": (folder / "gold.patch").read_text(encoding="utf-8"),
        "test_patch": (folder / "tests.patch").read_text(encoding="utf-8"),
        "FAIL_TO_PASS": facts["FAIL_TO_PASS"],
        "PASS_TO_PASS": facts["PASS_TO_PASS"],
        "level": facts["level"],
        "test_command": TEST_COMMAND,
    }


def _copy(source: Path, target: Path) -> None:
    """Copy the files byte by byte, each with mode 644 and under the name that it has in the repository."""
    names = {stored: name for name, stored in _STORED_AS.items()}
    for path in sorted(source.rglob("*")):
        if not path.is_file() or "__pycache__" in path.parts:
            continue  # left by a test suite that was run in this folder
        relative = path.relative_to(source)
        copy = target / relative.with_name(names.get(relative.name, relative.name))
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
        copy.chmod(0o644)


def _environment(target: Path) -> dict[str, str]:
    """The environment for git in which nothing outside can change a byte of the commit.

    GitPython can set variables but not unset them. So every variable that might be inherited, for example by a run
    inside a git hook, is overwritten.
    """
    metadata = target / ".git"
    return _IDENTITY | {
        "GIT_DIR": str(metadata),
        "GIT_WORK_TREE": str(target),
        "GIT_INDEX_FILE": str(metadata / "index"),
        "GIT_OBJECT_DIRECTORY": str(metadata / "objects"),
        "GIT_DEFAULT_HASH": "sha1",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_COUNT": "0",
        "GIT_CONFIG_PARAMETERS": "",
        "GIT_ATTR_NOSYSTEM": "1",
        "HOME": os.devnull,
        "XDG_CONFIG_HOME": os.devnull,
    }
