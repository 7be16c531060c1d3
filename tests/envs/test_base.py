"""The base of an attempt: later work is found and scrubbed, and patches are compared with the starting tree."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from envs import SandboxUnavailable
from envs.base import assert_clean, scrubbed_copy

IDENTITY = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
# A history of two commits, the second of which is the base; then each way to leave something later behind.
HISTORY = """
git init -q -b main . && echo one > a.txt && git add -A && git commit -qm one && git tag v1
echo two > a.txt && git add -A && git commit -qm two && git tag -a v2 -m v2 && rm -rf .git/logs
"""
COMMIT_LATER = "echo fixed > a.txt && git commit -qam later"
BACK = "git reset -q --hard v2 && rm -rf .git/logs .git/ORIG_HEAD"
DIRT = {
    "a branch": f"git checkout -qb next && {COMMIT_LATER} && git checkout -q main && rm -rf .git/logs",
    "a tag": f"{COMMIT_LATER} && git tag v3 && {BACK}",
    "an annotated tag of nothing but a file": "git tag -a secret -m x $(echo fixed | git hash-object -w --stdin)",
    "a remote's branch": f"{COMMIT_LATER} && git update-ref refs/remotes/origin/main HEAD && {BACK}",
    "a packed ref": f"{COMMIT_LATER} && git tag v3 && git pack-refs --all && {BACK}",
    "a stash": "echo fixed > a.txt && git stash -q && rm -rf .git/logs/HEAD",
    "a note": "git notes add -m 'the fix is to write fixed' && rm -rf .git/logs",
    "a reflog": f"{COMMIT_LATER} && git reset -q --hard v2 && cp -r .git/logs logs && "
    "rm -rf .git/logs .git/ORIG_HEAD && git prune --expire=now && mv logs .git/logs",
    "a dangling commit": f"{COMMIT_LATER} && {BACK}",
    "a dangling commit in a pack": f"{COMMIT_LATER} && git tag x && git repack -adq && git tag -d x && {BACK}",
    "a dangling file": "echo fixed | git hash-object -w --stdin",
    "a staged file": "echo fixed > b.txt && git add b.txt && rm b.txt",
    "ORIG_HEAD": "git rev-parse HEAD > .git/ORIG_HEAD",
    "the message of a commit": "echo 'the fix' > .git/COMMIT_EDITMSG",
    "FETCH_HEAD": "echo later > .git/FETCH_HEAD",
    "a kept pack": f"{COMMIT_LATER} && git repack -adq && {BACK} && "
    "for p in .git/objects/pack/*.pack; do : > ${p%.pack}.keep; done",
    "another worktree": "git worktree add -q ../tree$$ && rm -rf .git/logs && git branch -D tree$$ 2>/dev/null || :",
    "a lender of objects": "git clone -q --bare . .lender && echo fixed | git -C .lender hash-object -w --stdin && "
    "echo $PWD/.lender/objects > .git/objects/info/alternates",
}


def repository(folder: Path, *scripts: str) -> Path:
    folder.mkdir(parents=True)
    environment = {**os.environ, **IDENTITY, "GIT_CONFIG_GLOBAL": os.devnull}
    for script in (HISTORY, *scripts):
        subprocess.run(["/bin/sh", "-ec", script], cwd=folder, env=environment, check=True, capture_output=True)
    return folder


def test_a_base_with_its_history_and_its_tags_is_clean(tmp_path: Path) -> None:
    assert_clean(repository(tmp_path / "r"), "v2")


def test_one_commit_on_top_of_the_base_is_the_images_own(tmp_path: Path) -> None:
    assert_clean(repository(tmp_path / "r", "git commit -q --allow-empty -m SWE-bench"), "v2")


def test_a_shallow_clone_is_refused_with_the_remedy(tmp_path: Path) -> None:
    whole = repository(tmp_path / "r")
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{whole}", tmp_path / "shallow"], check=True)
    with pytest.raises(SandboxUnavailable, match=r"shallow is a shallow clone.*`git fetch --unshallow`"):
        scrubbed_copy(tmp_path / "shallow", "HEAD", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_copy_has_the_object_names_of_its_source(tmp_path: Path) -> None:
    source = repository(tmp_path / "r", "rm -rf .git", HISTORY.replace("git init", "git init --object-format=sha256"))
    assert len(scrubbed_copy(source, "v2", tmp_path / "copy")) == 64
    assert_clean(tmp_path / "copy", "HEAD")


def test_git_keeps_its_log_of_what_is_done_in_a_scrubbed_copy(tmp_path: Path) -> None:
    scrubbed_copy(repository(tmp_path / "r"), "v2", tmp_path / "copy")
    assert not (tmp_path / "copy/.git/logs").exists()
    script = "git checkout -qb other && git checkout -q - && git symbolic-ref --short HEAD"
    done = subprocess.run(["/bin/sh", "-ec", script], cwd=tmp_path / "copy", check=True, capture_output=True, text=True)
    assert done.stdout == "base\n"


@pytest.mark.parametrize("dirt", DIRT)
def test_whatever_is_later_is_found_and_a_scrubbed_copy_has_none_of_it(dirt: str, tmp_path: Path) -> None:
    source = repository(tmp_path / "r", DIRT[dirt])
    with pytest.raises(SandboxUnavailable, match=r"holds more than its base commit reaches .*scrubbed_copy"):
        assert_clean(source, "v2")

    scrubbed_copy(source, "v2", tmp_path / "copy")

    assert_clean(tmp_path / "copy", "HEAD")
    assert (tmp_path / "copy/a.txt").read_text() == "two\n"
    log = subprocess.run(
        ["git", "log", "--format=%s"], cwd=tmp_path / "copy", check=True, capture_output=True, text=True
    )
    assert log.stdout.split() == ["two", "one"]


@pytest.mark.parametrize(
    ("commit", "why"),
    [
        ("v1~0", "2 commits ahead"),
        ("0" * 40, "does not hold the base commit"),
        ("later", "0 commits ahead and 1 behind"),
    ],
)
def test_a_repository_at_another_commit_is_refused(commit: str, why: str, tmp_path: Path) -> None:
    source = repository(tmp_path / "r", DIRT["a branch"].replace("next", "later"), "git commit -q --allow-empty -m 3")
    if commit == "later":
        subprocess.run(["git", "reset", "-q", "--hard", "v2"], cwd=source, check=True)
    with pytest.raises(SandboxUnavailable, match=why):
        assert_clean(source, commit)


def test_what_is_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailable, match="not a git repository"):
        assert_clean(tmp_path, "HEAD")
