"""Submodules in a local sandbox: their files are part of the patch, and it applies with git and with patch(1)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from envs import Command, Origin, Patch
from envs.local.backend import adopt
from tests.envs.support import local_sandboxes
from tests.envs.support.local_sandboxes import LocalHarness, git, tree_at, tree_in

harness = local_sandboxes.harness

IGNORED = {"lib/helpers/new.log"}  # what no patch is to have
ALLOWED = ("-c", "protocol.file.allow=always")


def repository(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        git(folder, "add", "-f", name)
    git(folder, "commit", "-qm", "first")
    return folder


def finished(folder: Path) -> Origin:
    """An origin at this repository; a copy of it lies beside, to apply patches to."""
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "base")
    git(folder, "config", "core.logAllRefUpdates", "false")
    for trace in ("logs", "ORIG_HEAD"):
        shutil.rmtree(folder / ".git" / trace, ignore_errors=True)
        (folder / ".git" / trace).unlink(missing_ok=True)
    git(folder, "prune", "--expire=now")
    shutil.copytree(folder, f"{folder}.checkout", symlinks=True)
    commit = git(folder, "rev-parse", "HEAD").decode().strip()
    adopt(folder)
    return Origin(commit, folder)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    """A repository with the submodule `lib/helpers`, another in that one, and one that nobody has checked out."""
    top = tmp_path_factory.mktemp("submodules")
    inner = repository(top / "inner", {"deep.py": "deep = 1\n"})
    helpers = repository(
        top / "helpers", {"util.py": "one = 1\n", "two words.py": "x\n", "kept.log": "log\n", ".gitignore": "*.log\n"}
    )
    git(helpers, *ALLOWED, "submodule", "-q", "add", str(inner), "inner")
    git(helpers, "commit", "-qm", "inner")
    main = repository(top / "main", {"a.txt": "one\n"})
    git(main, *ALLOWED, "submodule", "-q", "add", str(helpers), "lib/helpers")
    git(main, *ALLOWED, "submodule", "-q", "add", str(inner), "absent")
    git(main / "lib/helpers", *ALLOWED, "submodule", "-q", "update", "--init")
    git(main, "submodule", "-q", "deinit", "-f", "absent")
    return finished(main)


CHANGES = {
    "an edit": ("echo two >> lib/helpers/util.py", ["lib/helpers/util.py"]),
    "a new file": (
        "echo x > lib/helpers/new.py; echo x > lib/helpers/inner/new.py",
        ["lib/helpers/inner/new.py", "lib/helpers/new.py"],
    ),
    "a deletion": ("rm 'lib/helpers/two words.py'", ["lib/helpers/two words.py"]),
    "a submodule of a submodule": ("echo x >> lib/helpers/inner/deep.py", ["lib/helpers/inner/deep.py"]),
    "rules of its own": (
        "echo x > lib/helpers/new.log; echo x >> lib/helpers/kept.log; echo x > new.log",
        ["lib/helpers/kept.log", "new.log"],
    ),
    "work committed inside": (
        "cd lib/helpers; echo x >> util.py; git commit -qam x; cd ../..; git commit -qam x",
        ["lib/helpers/util.py"],
    ),
    "a commit of before": (
        "cd lib/helpers; git checkout -q HEAD~1; rm -rf inner",
        ["lib/helpers/.gitmodules", "lib/helpers/inner/deep.py"],
    ),
    "a repository inside": (
        "cd lib/helpers; git init -q n; echo x > n/f; cd n; git add -A; git commit -qm x",
        ["lib/helpers/n/f"],
    ),
    "its git folder gone": ("rm lib/helpers/.git; echo x >> lib/helpers/util.py", ["lib/helpers/util.py"]),
    "all of it gone": (
        "rm -rf lib a.txt",
        [
            "a.txt",
            "lib/helpers/.gitignore",
            "lib/helpers/.gitmodules",
            "lib/helpers/inner/deep.py",
            "lib/helpers/kept.log",
            "lib/helpers/two words.py",
            "lib/helpers/util.py",
        ],
    ),
    "a new submodule": (
        f"git {' '.join(ALLOWED)} submodule -q add file:///testbed/lib/helpers/inner new; git commit -qm x",
        [".gitmodules", "new/deep.py"],
    ),
    "files in a folder that was not checked out": ("echo x > absent/f", ["absent/f"]),
    "a repository in a folder that was not checked out": (
        "git clone -q file:///testbed/lib/helpers/inner absent; echo x > absent/f",
        ["absent/deep.py", "absent/f"],
    ),
    "attributes": (
        "echo '* text eol=crlf' > lib/helpers/.gitattributes; echo x >> lib/helpers/util.py",
        ["lib/helpers/.gitattributes", "lib/helpers/util.py"],
    ),
    "configuration": (
        "git config submodule.recurse true; git config diff.ignoreSubmodules all;"
        " git config submodule.lib/helpers.ignore all; echo x >> lib/helpers/util.py",
        ["lib/helpers/util.py"],
    ),
}  # each with the names that the patch is to have


@pytest.mark.parametrize(("script", "names"), CHANGES.values(), ids=CHANGES)
def test_what_is_changed_in_a_submodule_is_in_the_patch_and_applies(
    harness: LocalHarness, origin: Origin, tmp_path: Path, script: str, names: list[str]
) -> None:
    async def story() -> tuple[bytes, bytes, dict[str, tuple[str, bytes]]]:
        sandbox = await harness.open(origin)
        done = await sandbox.run(Command("touch a.txt lib/helpers/*"))
        untouched = await sandbox.diff()
        done = await sandbox.run(Command(f"set -e; {script}"))
        assert done.returncode == 0, done.output
        found = untouched, await sandbox.diff(), files(await tree_in(sandbox))
        await sandbox.close()
        return found

    untouched, patch, inside = harness(story())
    assert untouched == b""
    assert not getattr(patch, "left_out", ())
    for applier in (["git", "apply", "--whitespace=nowarn"], ["patch", "-p1", "--batch", "-s"]):
        checkout = tmp_path / applier[0]
        shutil.copytree(f"{origin.repository}.checkout", checkout, symlinks=True)
        before = files(tree_at(checkout))
        subprocess.run(applier, input=patch, cwd=checkout, check=True, capture_output=True)
        after = files(tree_at(checkout))
        assert sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)) == names
        assert {name: inside[name] for name in inside if name not in IGNORED} == after


def files(tree: dict[str, tuple[str, bytes]]) -> dict[str, tuple[str, bytes]]:
    """The files of a tree without those of git folders, by their paths."""
    paths = {name.removeprefix("./"): found for name, found in tree.items()}
    return {path: found for path, found in paths.items() if ".git" not in path.split("/")}


def test_changes_of_a_submodule_whose_base_cannot_be_seen_are_named(harness: LocalHarness, tmp_path: Path) -> None:
    main = repository(tmp_path / "main", {"a.txt": "one\n"})
    repository(main / "embedded", {"f": "x\n"})
    origin = finished(main)

    async def story() -> bytes:
        sandbox = await harness.open(origin)
        await sandbox.run(Command("echo more >> a.txt; echo more >> embedded/f"))
        patch = await sandbox.diff()
        await sandbox.close()
        return patch

    patch = harness(story())
    assert isinstance(patch, Patch)
    assert patch.count(b"diff --git") == patch.count(b"diff --git a/a.txt ") == 1
    assert patch.left_out == ("changes in embedded (a submodule whose objects are not in .git/modules)",)
